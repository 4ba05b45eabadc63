//! PostgreSQL's SQL where the engine's parser and planner do not know it: queries of `pg_catalog`, and functions that are
//! called without parentheses or by their schema.
//!
//! The rules for catalog queries give up parts that DataFusion cannot plan: they are for those queries only, never for a
//! query that reads a table of ours.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{ObjectName, Statement, Visit, Visitor};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion_pg_catalog::pg_catalog::PG_CATALOG_TABLES;
use datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use datafusion_pg_catalog::sql::rules::{
    CurrentUserVariableToSessionUserFunctionCall, RewriteRegCastToSubquery, SqlStatementRewriteRule,
    StripCallableQualifier,
};
use engine::Spelling;

use crate::postgres::browsing::PG_CATALOG;

/// Words without which a statement is as the engine knows it.
const WORDS: [&str; 10] = [
    "pg_",
    "current_schema",
    "current_user",
    "session_user",
    "current_catalog",
    "version",
    "regclass",
    "regtype",
    "regproc",
    "regnamespace",
];

/// Rewrites what looks like PostgreSQL's own.
#[derive(Debug)]
pub(super) struct PostgresSpelling {
    catalog: PostgresCompatibilityParser,
    harmless: Vec<Box<dyn SqlStatementRewriteRule>>,
}

impl PostgresSpelling {
    pub(super) fn new() -> Self {
        Self {
            catalog: PostgresCompatibilityParser::new(),
            harmless: vec![
                Box::new(StripCallableQualifier),
                Box::new(CurrentUserVariableToSessionUserFunctionCall),
                Box::new(RewriteRegCastToSubquery::new()),
            ],
        }
    }

    fn rewritten(&self, sql: &str) -> Option<String> {
        let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).ok()?;
        let statement = statements.pop().filter(|statement| matches!(statement, Statement::Query(_)))?;
        if !statements.is_empty() {
            return None;
        }
        let mut relations = Relations::default();
        let _ = statement.visit(&mut relations);
        if relations.has_catalog {
            // The catalog keeps a type's input function by its name, as it is shown.
            let mut statements =
                self.catalog.parse(&sql.replace("'pg_catalog.array_in'::regproc", "'array_in'")).ok()?;
            return statements.pop().map(|statement| statement.to_string());
        }
        Some(self.harmless.iter().fold(statement, |statement, rule| rule.rewrite(statement)).to_string())
    }
}

impl Spelling for PostgresSpelling {
    fn rewrite(&self, sql: &str) -> Option<String> {
        let lower = sql.to_ascii_lowercase();
        let rewritten = WORDS.iter().any(|word| lower.contains(word)).then(|| self.rewritten(sql))??;
        (rewritten != sql).then_some(rewritten)
    }
}

/// Looks for tables of `pg_catalog`.
#[derive(Debug, Default)]
struct Relations {
    has_catalog: bool,
}

impl Visitor for Relations {
    type Break = ();

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
        let parts: Vec<String> =
            name.0.iter().filter_map(|part| part.as_ident()).map(|part| part.value.to_lowercase()).collect();
        self.has_catalog |= match parts.as_slice() {
            [table] => PG_CATALOG_TABLES.contains(&table.as_str()),
            [.., schema, _] => schema == PG_CATALOG,
            [] => false,
        };
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_of_our_tables_keeps_its_meaning() {
        let spelling = PostgresSpelling::new();
        assert_eq!(spelling.rewrite("SELECT a, a FROM t WHERE b = 1"), None);
        let sql = "SELECT (SELECT max(x) FROM u WHERE u.id = t.id), pg_catalog.current_schema() FROM t";
        let rewritten = spelling.rewrite(sql).unwrap();
        assert!(rewritten.contains("SELECT max(x) FROM u WHERE u.id = t.id"), "{rewritten}");
        assert!(!rewritten.contains("pg_catalog"), "{rewritten}");
    }

    #[test]
    fn a_query_of_the_catalog_is_brought_to_what_can_be_planned() {
        let spelling = PostgresSpelling::new();
        let rewritten = spelling.rewrite("SELECT relname FROM pg_class WHERE oid = 'people'::regclass").unwrap();
        assert!(rewritten.contains("pg_catalog.pg_class") && !rewritten.contains("regclass"), "{rewritten}");
    }
}
