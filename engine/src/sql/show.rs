//! `SHOW` for what DataFusion has no `SHOW` for: a query of the information schema.

use datafusion::common::TableReference;
use datafusion::sql::parser::{DFParser, Statement as Syntax};
use datafusion::sql::sqlparser::ast::{
    Ident, ShowCreateObject, ShowStatementFilter, ShowStatementFilterPosition, ShowStatementIn,
    ShowStatementInParentType, ShowStatementOptions, Statement as Ast, Value,
};

use crate::sql::Names;
use crate::{Error, Result};

/// Makes a query of a `SHOW`; DataFusion plans the others: `SHOW TABLES`, `SHOW COLUMNS`, `SHOW CREATE TABLE`, `SHOW
/// FUNCTIONS` and settings.
///
/// # Errors
/// `Invalid` for clauses that are not supported.
pub(crate) fn rewrite_show(syntax: &mut Syntax, names: Names) -> Result<()> {
    let Syntax::Statement(statement) = syntax else { return Ok(()) };
    let query = match statement.as_ref() {
        Ast::ShowSchemas { show_options, history: false, .. } => schemas(show_options, names)?,
        Ast::ShowCatalogs { show_options, history: false, .. }
        | Ast::ShowDatabases { show_options, history: false, .. } => catalogs(show_options, names)?,
        Ast::ShowViews { show_options, materialized: false, .. } => tables(show_options, names, Some("VIEW"))?,
        Ast::ShowTables { show_options, extended: false, full: false, history: false, external: false, .. }
            if *show_options != plain() =>
        {
            tables(show_options, names, None)?
        }
        Ast::ShowColumns { show_options, .. }
            if show_options.filter_position.is_some() || names_catalog(show_options) =>
        {
            columns(show_options, names)?
        }
        Ast::ShowCreate { obj_type: ShowCreateObject::Table | ShowCreateObject::View, obj_name }
            if obj_name.0.len() == PARTS_MAX =>
        {
            definition(&names.table(obj_name)?)
        }
        _ => return Ok(()),
    };
    if let Some(rewritten) = DFParser::parse_sql(&query)?.pop_front() {
        *syntax = rewritten;
    }
    Ok(())
}

/// Parts of a name that says its catalog. DataFusion looks into the information schema of the session's.
const PARTS_MAX: usize = 3;

fn names_catalog(options: &ShowStatementOptions) -> bool {
    let parent = options.show_in.as_ref().and_then(|parent| parent.parent_name.as_ref());
    parent.is_some_and(|name| name.0.len() == PARTS_MAX)
}

/// As DataFusion's `SHOW CREATE TABLE`, of a table in any catalog.
fn definition(table: &TableReference) -> String {
    let conditions: Vec<_> = [("table_schema", table.schema()), ("table_name", Some(table.table()))]
        .into_iter()
        .filter_map(|(column, name)| Some(equals(column, name?)))
        .collect();
    let shown = "table_catalog, table_schema, table_name, definition";
    query(shown, table.catalog(), "views", &conditions, "table_name")
}

fn plain() -> ShowStatementOptions {
    ShowStatementOptions { show_in: None, starts_with: None, limit: None, limit_from: None, filter_position: None }
}

fn schemas(options: &ShowStatementOptions, names: Names) -> Result<String> {
    let catalog = parent(options, names, &[ShowStatementInParentType::Database])?.pop();
    let conditions: Vec<String> = filter(options, "schema_name")?.into_iter().collect();
    Ok(query("DISTINCT schema_name", catalog.as_deref(), "schemata", &conditions, "schema_name"))
}

fn catalogs(options: &ShowStatementOptions, names: Names) -> Result<String> {
    if !parent(options, names, &[])?.is_empty() {
        return Err(Error::invalid("SHOW CATALOGS and SHOW DATABASES take no IN or FROM: leave it away"));
    }
    let conditions: Vec<String> = filter(options, "catalog_name")?.into_iter().collect();
    Ok(query("catalog_name", None, "catalogs", &conditions, "catalog_name"))
}

fn tables(options: &ShowStatementOptions, names: Names, kind: Option<&str>) -> Result<String> {
    let mut conditions = Vec::new();
    let mut parts = parent(options, names, &[ShowStatementInParentType::Schema, ShowStatementInParentType::Database])?;
    conditions.extend(parts.pop().map(|schema| equals("table_schema", &schema)));
    let catalog = parts.pop();
    conditions.extend(kind.map(|kind| equals("table_type", kind)));
    conditions.extend(filter(options, "table_name")?);
    Ok(query("*", catalog.as_deref(), "tables", &conditions, "table_schema, table_name"))
}

fn columns(options: &ShowStatementOptions, names: Names) -> Result<String> {
    let mut conditions = Vec::new();
    let mut parts = parent(options, names, &[ShowStatementInParentType::Table, ShowStatementInParentType::View])?;
    conditions.extend(parts.pop().map(|table| equals("table_name", &table)));
    conditions.extend(parts.pop().map(|schema| equals("table_schema", &schema)));
    let catalog = parts.pop();
    conditions.extend(filter(options, "column_name")?);
    let shown = "table_catalog, table_schema, table_name, column_name, data_type, is_nullable";
    Ok(query(shown, catalog.as_deref(), "columns", &conditions, "table_schema, table_name, ordinal_position"))
}

/// Of the information schema of this catalog, or of the session's.
fn query(shown: &str, catalog: Option<&str>, table: &str, conditions: &[String], order: &str) -> String {
    let catalog = catalog.map_or_else(String::new, |catalog| format!("{}.", Ident::with_quote('"', catalog)));
    let condition = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
    format!("SELECT {shown} FROM {catalog}information_schema.{table}{condition} ORDER BY {order}")
}

fn equals(column: &str, value: &str) -> String {
    format!("{column} = {}", quoted(value))
}

fn quoted(text: &str) -> String {
    Value::SingleQuotedString(text.to_owned()).to_string()
}

/// The parts of the name after `IN` or `FROM`.
fn parent(options: &ShowStatementOptions, names: Names, kinds: &[ShowStatementInParentType]) -> Result<Vec<String>> {
    let Some(ShowStatementIn { parent_type, parent_name, .. }) = &options.show_in else { return Ok(Vec::new()) };
    if parent_type.as_ref().is_some_and(|kind| !kinds.contains(kind)) {
        return Err(Error::invalid("after IN or FROM of SHOW stands a name: write SHOW TABLES IN s"));
    }
    let Some(name) = parent_name else {
        return Err(Error::invalid("after IN or FROM of SHOW stands a name: write SHOW TABLES IN s"));
    };
    let parts: Option<Vec<&Ident>> = name.0.iter().map(|part| part.as_ident()).collect();
    Ok(parts.unwrap_or_default().into_iter().map(|part| names.name(part)).collect())
}

fn filter(options: &ShowStatementOptions, column: &str) -> Result<Option<String>> {
    if options.starts_with.is_some() || options.limit.is_some() || options.limit_from.is_some() {
        return Err(Error::invalid("SHOW takes LIKE '...' or WHERE, not STARTS WITH or LIMIT"));
    }
    let Some(position) = &options.filter_position else { return Ok(None) };
    let (ShowStatementFilterPosition::Infix(filter) | ShowStatementFilterPosition::Suffix(filter)) = position;
    Ok(Some(match filter {
        ShowStatementFilter::Like(pattern) | ShowStatementFilter::NoKeyword(pattern) => {
            format!("{column} LIKE {}", quoted(pattern))
        }
        ShowStatementFilter::ILike(pattern) => format!("{column} ILIKE {}", quoted(pattern)),
        ShowStatementFilter::Where(condition) => format!("({condition})"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parser::samples::planned;

    fn shown(sql: &str) -> String {
        let mut syntax = planned(sql);
        rewrite_show(&mut syntax, Names::default()).unwrap_or_else(|error| panic!("{sql}: {}", error.message));
        syntax.to_string()
    }

    #[test]
    fn show_becomes_a_query() {
        let schemas = "SELECT DISTINCT schema_name FROM information_schema.schemata";
        let catalogs = "SELECT catalog_name FROM information_schema.catalogs";
        let tables = "SELECT * FROM information_schema.tables WHERE";
        let tables_in_order = "ORDER BY table_schema, table_name";
        for (sql, wanted) in [
            ("SHOW SCHEMAS", format!("{schemas} ORDER BY schema_name")),
            ("SHOW DATABASES", format!("{catalogs} ORDER BY catalog_name")),
            ("SHOW SCHEMAS LIKE 'a''%'", format!("{schemas} WHERE schema_name LIKE 'a''%' ORDER BY schema_name")),
            ("SHOW CATALOGS ILIKE 'A%'", format!("{catalogs} WHERE catalog_name ILIKE 'A%' ORDER BY catalog_name")),
            (
                "SHOW SCHEMAS IN g",
                "SELECT DISTINCT schema_name FROM \"g\".information_schema.schemata ORDER BY schema_name".to_owned(),
            ),
            ("SHOW TABLES IN S", format!("{tables} table_schema = 's' {tables_in_order}")),
            ("SHOW TABLES FROM SCHEMA s", format!("{tables} table_schema = 's' {tables_in_order}")),
            (
                "SHOW TABLES FROM g.\"S'\" LIKE 'x'",
                format!(
                    "SELECT * FROM \"g\".information_schema.tables WHERE table_schema = 'S''' AND table_name LIKE 'x' \
                     {tables_in_order}"
                ),
            ),
            ("SHOW TABLES LIKE 'x'", format!("{tables} table_name LIKE 'x' {tables_in_order}")),
            (
                "SHOW TABLES WHERE table_type = 'VIEW' OR true",
                format!("{tables} (table_type = 'VIEW' OR true) {tables_in_order}"),
            ),
            ("SHOW VIEWS", format!("{tables} table_type = 'VIEW' {tables_in_order}")),
            (
                "SHOW VIEWS IN s LIKE 'x'",
                format!(
                    "{tables} table_schema = 's' AND table_type = 'VIEW' AND table_name LIKE 'x' {tables_in_order}"
                ),
            ),
        ] {
            assert_eq!(shown(sql), wanted, "{sql}");
        }
        let columns = shown("SHOW COLUMNS FROM g.s.t");
        let from = "FROM \"g\".information_schema.columns WHERE table_name = 't' AND table_schema = 's' ORDER";
        assert!(columns.contains(from), "{columns}");
        let definition = shown("SHOW CREATE TABLE g.s.v");
        let from = "FROM \"g\".information_schema.views WHERE table_schema = 's' AND table_name = 'v' ORDER";
        assert!(definition.contains(from), "{definition}");
        let columns = shown("SHOW COLUMNS FROM s.t LIKE 'a%'");
        assert!(
            columns.contains("WHERE table_name = 't' AND table_schema = 's' AND column_name LIKE 'a%'"),
            "{columns}"
        );
    }

    #[test]
    fn what_datafusion_shows_stays() {
        for sql in ["SHOW TABLES", "SHOW COLUMNS FROM t", "SHOW CREATE TABLE t", "SHOW ALL", "SHOW FUNCTIONS"] {
            assert_eq!(shown(sql), planned(sql).to_string());
        }
    }

    #[test]
    fn errors_say_what_to_write() {
        for (sql, reason) in [
            ("SHOW TABLES LIMIT 5", "SHOW takes LIKE '...' or WHERE"),
            ("SHOW SCHEMAS STARTS WITH 'a'", "SHOW takes LIKE '...' or WHERE"),
            ("SHOW TABLES IN ACCOUNT", "write SHOW TABLES IN s"),
            ("SHOW CATALOGS IN x", "leave it away"),
        ] {
            let refusal = rewrite_show(&mut planned(sql), Names::default()).unwrap_err().message;
            assert!(refusal.contains(reason), "{sql}: {refusal}");
        }
    }
}
