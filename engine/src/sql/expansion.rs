//! Statements whose plans would be far larger than their texts, or far slower to make: a query after WITH is planned
//! wherever it is named, CUBE groups by every subset, and DataFusion compares each column of a SELECT with all others.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as Syntax;
use datafusion::sql::sqlparser::ast::{Expr, ObjectName, Query, Select, SelectItem, VisitorMut};

use crate::limits::{LayeredLimits, Limit};
use crate::sql::walk::walk;
use crate::{Error, ErrorKind, Result};

/// Columns of a CUBE: there are 4,096 subsets of so many, the most that DataFusion takes of other grouping sets.
const CUBE_COLUMNS_MAX: usize = 12;
/// Nodes of a plan, at the least, for a query or a table that is named.
const NODES_OF_A_NAME: u64 = 3;

/// Whether the statement takes all columns of a table somewhere, however many there are.
///
/// # Errors
/// `Exhausted` for a statement that would be planned without end.
pub(crate) fn refuse_explosions(syntax: &mut Syntax, limits: &LayeredLimits) -> Result<bool> {
    let names_max = limits.limit(Limit::PlanNodes).map_or(u64::MAX, |nodes| nodes / NODES_OF_A_NAME);
    let columns_max = limits.limit(Limit::Columns).unwrap_or(u64::MAX);
    let (defined, definitions, open) = (HashMap::new(), HashMap::new(), vec![0]);
    let mut names = Names { names_max, columns_max, has_star: false, defined, definitions, open };
    match walk(syntax, &mut names) {
        ControlFlow::Continue(()) => Ok(names.has_star),
        ControlFlow::Break(reason) => Err(Error::new(ErrorKind::Exhausted, reason)),
    }
}

/// # Errors
/// `Exhausted` if `what`, all of which a statement takes, has more columns than it may.
pub(crate) fn refuse_columns(columns: usize, what: &str, limits: &LayeredLimits) -> Result<()> {
    match limits.limit(Limit::Columns) {
        Some(most) if columns as u64 > most => Err(Error::new(
            ErrorKind::Exhausted,
            format!("{what} has {columns} columns, more than {} = {most}: name those that are needed", Limit::Columns),
        )),
        _ => Ok(()),
    }
}

/// Counts names with what they stand for.
struct Names {
    names_max: u64,
    columns_max: u64,
    has_star: bool,
    /// How many names there are in a query after WITH, by its name. A name that is used twice means the later one, which
    /// is as good as any for a bound.
    defined: HashMap<String, u64>,
    /// Names of queries after WITH, by their places in memory: the tree stays where it is.
    definitions: HashMap<*const Query, String>,
    /// Of each query that is open.
    open: Vec<u64>,
}

impl Names {
    fn add(&mut self, names: u64) -> ControlFlow<String> {
        let Some(open) = self.open.last_mut() else { return ControlFlow::Continue(()) };
        *open = open.saturating_add(names);
        if *open <= self.names_max {
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(format!(
            "the queries after WITH are named so often that the plan would have more than {} nodes: store one of them \
             with CREATE TABLE AS",
            Limit::PlanNodes
        ))
    }
}

impl VisitorMut for Names {
    type Break = String;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<String> {
        for table in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.definitions.insert(std::ptr::from_ref(table.query.as_ref()), table.alias.name.value.to_lowercase());
        }
        self.open.push(1);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<String> {
        let names = self.open.pop().unwrap_or_default();
        match self.definitions.remove(&std::ptr::from_ref(query)) {
            Some(name) => {
                self.defined.insert(name, names);
                ControlFlow::Continue(())
            }
            None => self.add(names),
        }
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<String> {
        let is_star = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
        self.has_star |= select.projection.iter().any(is_star);
        let (columns, most) = (select.projection.len(), self.columns_max);
        if columns as u64 <= most {
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(format!("a SELECT gives {columns} columns, more than {} = {most}", Limit::Columns))
    }

    fn pre_visit_relation(&mut self, name: &mut ObjectName) -> ControlFlow<String> {
        let known = match name.0.as_slice() {
            [part] => part.as_ident().and_then(|part| self.defined.get(&part.value.to_lowercase())),
            _ => None,
        };
        let names = known.copied().unwrap_or(1);
        self.add(names)
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        match expr {
            Expr::Cube(columns) if columns.len() > CUBE_COLUMNS_MAX => ControlFlow::Break(format!(
                "CUBE of {} columns groups by too many subsets: at most {CUBE_COLUMNS_MAX} columns, or name the subsets \
                 with GROUPING SETS",
                columns.len()
            )),
            _ => ControlFlow::Continue(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parser::samples::planned;

    fn refused(sql: &str) -> Option<String> {
        refuse_explosions(&mut planned(sql), &LayeredLimits::default()).err().map(|error| error.message)
    }

    fn doubling(levels: usize) -> String {
        let tables: Vec<_> =
            (1..=levels).map(|n| format!("c{n} AS (SELECT * FROM c{0} UNION ALL SELECT * FROM c{0})", n - 1)).collect();
        format!("WITH c0 AS (SELECT 1), {} SELECT count(*) FROM c{levels}", tables.join(", "))
    }

    #[test]
    fn doubling_has_an_end() {
        assert_eq!(refused(&doubling(8)), None);
        for levels in [14, 25, 200] {
            assert!(refused(&doubling(levels)).unwrap().contains("plan_nodes_max"), "{levels}");
        }
        // Many that are named once.
        let chain: Vec<_> = (1..500).map(|n| format!("c{n} AS (SELECT * FROM c{})", n - 1)).collect();
        assert_eq!(refused(&format!("WITH c0 AS (SELECT 1), {} SELECT * FROM c499", chain.join(", "))), None);
    }

    #[test]
    fn columns_have_an_end_and_stars_are_seen() {
        let columns = |count: usize| format!("SELECT {}", vec!["1"; count].join(", "));
        assert_eq!(refused(&columns(10_000)), None);
        assert!(refused(&columns(10_001)).unwrap().contains("select_columns_max = 10000"));
        let has_star = |sql: &str| refuse_explosions(&mut planned(sql), &LayeredLimits::default()).unwrap();
        assert!(has_star("SELECT * FROM t") && has_star("SELECT 1 FROM (SELECT t.* FROM t)"));
        assert!(!has_star("SELECT count(*) FROM t"));
    }

    #[test]
    fn a_cube_has_few_columns() {
        let cube = |columns: usize| {
            let names: Vec<_> = (0..columns).map(|n| format!("c{n}")).collect();
            format!("SELECT count(*) FROM t GROUP BY CUBE({})", names.join(", "))
        };
        assert_eq!(refused(&cube(12)), None);
        assert!(refused(&cube(13)).unwrap().contains("GROUPING SETS"));
    }
}
