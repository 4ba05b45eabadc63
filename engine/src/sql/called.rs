//! Which names in FROM are calls of functions: `FROM range(10)`. DataFusion looks for a table of that name too.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as Syntax;
use datafusion::sql::sqlparser::ast::{ObjectName, Statement as Ast, TableFactor, VisitorMut};

use crate::sql::Names;
use crate::sql::walk::walk;

/// Names that a query calls and does not read: no table of that name is meant. Other statements than queries look at the
/// catalog anyway.
pub(crate) fn only_called(syntax: &mut Syntax, names: Names) -> Vec<String> {
    if !matches!(syntax, Syntax::Statement(statement) if matches!(statement.as_ref(), Ast::Query(_))) {
        return Vec::new();
    }
    let mut uses = Uses { names, called: BTreeSet::new(), reads: BTreeMap::new() };
    let ControlFlow::Continue(()) = walk(syntax, &mut uses) else { return Vec::new() };
    let Uses { called, reads, .. } = uses;
    called.into_iter().filter(|name| reads.get(name).is_none_or(|reads| *reads == 0)).collect()
}

struct Uses {
    names: Names,
    called: BTreeSet<String>,
    /// How often each name stands where a table may stand, but for its calls.
    reads: BTreeMap<String, isize>,
}

impl Uses {
    fn add(&mut self, name: &ObjectName, reads: isize) -> Option<String> {
        let last = name.0.last()?.as_ident()?;
        let name = self.names.name(last);
        *self.reads.entry(name.clone()).or_default() += reads;
        Some(name)
    }
}

impl VisitorMut for Uses {
    type Break = ();

    fn pre_visit_relation(&mut self, name: &mut ObjectName) -> ControlFlow<()> {
        self.add(name, 1);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, args: Some(_), .. } = factor
            && let Some(called) = self.add(name, -1)
        {
            self.called.insert(called);
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use datafusion::config::ConfigOptions;
    use datafusion::sql::parser::DFParserBuilder;

    use super::*;

    #[test]
    fn a_name_that_is_read_anywhere_is_a_table() {
        let called = |sql: &str| {
            let mut syntax = DFParserBuilder::new(sql).build().unwrap().parse_statement().unwrap();
            only_called(&mut syntax, Names::of(&ConfigOptions::default()))
        };
        assert_eq!(
            called("SELECT * FROM range(1) JOIN generate_series(2) USING (value)"),
            ["generate_series", "range"]
        );
        assert_eq!(called("SELECT (SELECT max(value) FROM Range(1)) FROM t"), ["range"]);
        assert!(called("SELECT * FROM range(1), range").is_empty());
        assert!(called("SELECT * FROM range(1) WHERE value IN (SELECT x FROM public.range)").is_empty());
        assert!(called("INSERT INTO range SELECT * FROM range(1)").is_empty());
    }
}
