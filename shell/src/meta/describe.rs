//! What there is: `\d`, `\dt`, `\dv`, `\dn`, `\l`, read from `information_schema`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;

use super::pattern::Pattern;
use crate::render::{Expanded, Format};
use crate::session::Session;
use crate::session::failure::Failure;

/// Schemas that are listed only on demand.
const SYSTEM_SCHEMAS: &str = "('information_schema', 'system')";

/// One of these commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    what: What,
    /// Also what belongs to the system.
    system: bool,
    /// More of each.
    verbose: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Relations { tables: bool, views: bool },
    Schemas,
    Catalogs,
}

/// Rows of text.
type Rows = Vec<Vec<Option<String>>>;

impl Request {
    /// The request that a command name makes.
    pub(super) fn parse(name: &str) -> Option<Self> {
        if name == "l" || name == "list" {
            return Some(Self { what: What::Catalogs, system: false, verbose: false });
        }
        let letters = name.strip_prefix('d')?;
        let kinds: String = letters.chars().filter(|letter| !matches!(letter, 'S' | '+')).collect();
        let what = match kinds.as_str() {
            "" | "tv" | "vt" => What::Relations { tables: true, views: true },
            "t" => What::Relations { tables: true, views: false },
            "v" => What::Relations { tables: false, views: true },
            "n" => What::Schemas,
            _ => return None,
        };
        Some(Self { what, system: letters.contains('S'), verbose: letters.contains('+') })
    }

    /// The condition on a column that leaves out the schemas of the system, unless they are asked for.
    fn visible(self, schema_column: &str, asked: bool) -> Option<String> {
        (!self.system && !asked).then(|| format!("{schema_column} NOT IN {SYSTEM_SCHEMAS}"))
    }
}

/// Runs one request; `\d` with a name describes, all others list.
pub(super) async fn run(session: &mut Session, request: Request, pattern: Option<String>) -> Result<(), Failure> {
    let name = pattern.unwrap_or_default();
    let pattern = Pattern::parse(&name).map_err(Failure::Command)?;
    match request.what {
        What::Relations { tables: true, views: true } if !pattern.is_empty() => {
            describe(session, request, &pattern, &name).await
        }
        What::Relations { tables, views } => {
            let rows = relations(session, request, &pattern, tables, views).await?;
            list_relations(session, request, &name, rows)
        }
        What::Schemas => list_schemas(session, request, &pattern).await,
        What::Catalogs => list_catalogs(session, &pattern).await,
    }
}

/// Catalog, schema, name and type of each table and view that fits.
async fn relations(
    session: &mut Session,
    request: Request,
    pattern: &Pattern,
    tables: bool,
    views: bool,
) -> Result<Rows, Failure> {
    let kind = match (tables, views) {
        (true, false) => Some("table_type <> 'VIEW'".to_owned()),
        (false, true) => Some("table_type = 'VIEW'".to_owned()),
        _ => None,
    };
    let visible = request.visible("table_schema", pattern.has_schema());
    let mut conditions: Vec<_> = kind.into_iter().chain(visible).collect();
    conditions.extend(pattern.conditions(&["table_catalog", "table_schema", "table_name"]));
    let sql = format!(
        "SELECT table_catalog, table_schema, table_name, table_type FROM {}.tables{} \
         ORDER BY table_catalog, table_schema, table_name",
        information_schema(pattern.first_of(3).as_deref()),
        where_clause(&conditions)
    );
    rows(session, &sql).await
}

fn list_relations(session: &mut Session, request: Request, name: &str, rows: Rows) -> Result<(), Failure> {
    if rows.is_empty() {
        let said = match name {
            "" => "Did not find any relations.".to_owned(),
            name => format!("Did not find any relation named \"{name}\"."),
        };
        // As in psql, an empty list is no failure.
        if !session.is_quiet() {
            session.warn(&said);
        }
        return Ok(());
    }
    let rows = rows.into_iter().map(|mut row| {
        if let Some(kind) = row.get_mut(3) {
            *kind = kind.as_deref().map(kind_name);
        }
        row
    });
    list(session, request, "List of relations", &["Schema", "Name", "Type"], rows.collect())
}

async fn list_schemas(session: &mut Session, request: Request, pattern: &Pattern) -> Result<(), Failure> {
    let mut conditions: Vec<_> = request.visible("schema_name", !pattern.is_empty()).into_iter().collect();
    conditions.extend(pattern.conditions(&["catalog_name", "schema_name"]));
    let sql = format!(
        "SELECT catalog_name, schema_name FROM {}.schemata{} ORDER BY catalog_name, schema_name",
        information_schema(pattern.first_of(2).as_deref()),
        where_clause(&conditions)
    );
    let rows = rows(session, &sql).await?;
    list(session, request, "List of schemas", &["Name"], rows)
}

async fn list_catalogs(session: &mut Session, pattern: &Pattern) -> Result<(), Failure> {
    let conditions = pattern.conditions(&["catalog_name"]);
    let sql = format!(
        "SELECT catalog_name FROM information_schema.catalogs{} ORDER BY catalog_name",
        where_clause(&conditions)
    );
    let rows = rows(session, &sql).await?;
    let format = titled(&session.format, "List of databases");
    show(session, &format, &["Name"], &rows)
}

/// That of a catalog, or else of the session's.
fn information_schema(catalog: Option<&str>) -> String {
    let catalog = catalog.map_or_else(String::new, |catalog| format!("\"{}\".", catalog.replace('"', "\"\"")));
    format!("{catalog}information_schema")
}

/// Prints rows that start with a catalog, which is shown if there are several or more is asked for.
fn list(session: &mut Session, request: Request, title: &str, names: &[&str], rows: Rows) -> Result<(), Failure> {
    let format = titled(&session.format, title);
    let catalog = |row: &Vec<Option<String>>| row.first().cloned().flatten();
    let several = rows.iter().any(|row| catalog(row) != rows.first().and_then(catalog));
    if several || request.verbose {
        return show(session, &format, &[&["Catalog"], names].concat(), &rows);
    }
    let rows: Rows = rows.into_iter().map(|row| row.into_iter().skip(1).collect()).collect();
    show(session, &format, names, &rows)
}

/// Prints the columns of each table and view that fits.
async fn describe(session: &mut Session, request: Request, pattern: &Pattern, name: &str) -> Result<(), Failure> {
    let found = relations(session, request, pattern, true, true).await?;
    if found.is_empty() {
        return Err(Failure::Command(format!("Did not find any relation named \"{name}\".")));
    }
    for relation in found {
        let [catalog, schema, table, kind] = relation.as_slice() else { continue };
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let conditions: Vec<_> = [("table_catalog", catalog), ("table_schema", schema), ("table_name", table)]
            .iter()
            .map(|(column, value)| format!("{column} = {}", Pattern::literal(&text(value))))
            .collect();
        let default = if request.verbose { ", column_default AS \"Default\"" } else { "" };
        let sql = format!(
            "SELECT column_name, data_type, CASE is_nullable WHEN 'NO' THEN 'not null' ELSE '' END{default} \
             FROM {}.columns{} ORDER BY ordinal_position",
            information_schema(catalog.as_deref()),
            where_clause(&conditions)
        );
        let columns = rows(session, &sql).await?;
        let kind = if kind.as_deref() == Some("VIEW") { "View" } else { "Table" };
        let title = format!("{kind} \"{}.{}\"", text(schema), text(table));
        let format = Format { expanded: Expanded::Off, footer: false, ..titled(&session.format, &title) };
        let names = if request.verbose { ["Column", "Type", "Nullable", "Default"].as_slice() } else { &COLUMNS };
        show(session, &format, names, &columns)?;
    }
    Ok(())
}

/// What is told of each column.
const COLUMNS: [&str; 3] = ["Column", "Type", "Nullable"];

fn titled(format: &Format, title: &str) -> Format {
    Format { title: Some(title.to_owned()), null: String::new(), ..format.clone() }
}

/// `BASE TABLE` is `table` to psql, and so on.
fn kind_name(kind: &str) -> String {
    match kind {
        "BASE TABLE" => "table".to_owned(),
        "LOCAL TEMPORARY" => "temporary table".to_owned(),
        other => other.to_lowercase(),
    }
}

fn where_clause(conditions: &[String]) -> String {
    if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) }
}

/// The rows of a statement as text.
async fn rows(session: &mut Session, sql: &str) -> Result<Rows, Failure> {
    let mut rows = Vec::new();
    for batch in session.query(sql).await? {
        let columns: Result<Vec<_>, _> = batch.columns().iter().map(|column| cast(column, &DataType::Utf8)).collect();
        let columns = columns.map_err(value_failure)?;
        for row in 0..batch.num_rows() {
            let values = columns.iter().map(|column| column.as_string::<i32>());
            rows.push(values.map(|column| column.is_valid(row).then(|| column.value(row).to_owned())).collect());
        }
    }
    Ok(rows)
}

fn show(session: &mut Session, format: &Format, names: &[&str], rows: &Rows) -> Result<(), Failure> {
    let column = |index: usize| -> ArrayRef {
        let values = rows.iter().map(|row| row.get(index).and_then(Option::as_deref));
        Arc::new(values.collect::<StringArray>())
    };
    let fields: Vec<_> = names.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect();
    let columns = (0..names.len()).map(column).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(value_failure)?;
    session.show(format, batch)
}

fn value_failure(error: ArrowError) -> Failure {
    Failure::Value(error.to_string())
}
