//! The catalog, schemas and tables, in the shapes that drivers expect.

use arrow::array::RecordBatch;
use arrow_flight::sql::metadata::GetCatalogsBuilder;
use arrow_flight::sql::{CommandGetDbSchemas, CommandGetTableTypes, CommandGetTables};
use engine::{Error, Result, Session};

use crate::flight::types::described;

/// All catalogs.
///
/// # Errors
/// Those of the catalog.
pub(crate) async fn catalogs(session: &Session) -> Result<RecordBatch> {
    let mut builder = GetCatalogsBuilder::new();
    session.catalogs().await?.into_iter().for_each(|catalog| builder.append(catalog));
    builder.build().map_err(unencodable)
}

/// Kinds of tables.
pub(crate) fn table_types(command: CommandGetTableTypes) -> Result<RecordBatch> {
    let mut builder = command.into_builder();
    builder.append("TABLE");
    builder.append("VIEW");
    builder.build().map_err(unencodable)
}

/// Schemas that match the command.
///
/// # Errors
/// Those of the catalog.
pub(crate) async fn schemas(session: &Session, command: CommandGetDbSchemas) -> Result<RecordBatch> {
    let mut builder = command.into_builder();
    for schema in session.schemas().await? {
        builder.append(schema.catalog, schema.schema);
    }
    builder.build().map_err(unencodable)
}

/// Tables that match the command.
///
/// # Errors
/// Those of the catalog.
pub(crate) async fn tables(session: &Session, mut command: CommandGetTables) -> Result<RecordBatch> {
    // Tools write the types in their own ways; the builder compares exactly.
    for name in &mut command.table_types {
        *name = match name.to_uppercase().as_str() {
            "BASE TABLE" | "LOCAL TABLE" | "SYSTEM TABLE" => "TABLE".to_owned(),
            other => other.to_owned(),
        };
    }
    let include_schema = command.include_schema;
    let mut builder = command.into_builder();
    for table in session.tables(include_schema).await? {
        let columns = described(&table.columns, &table.schema, &table.name);
        builder
            .append(table.schema.catalog, table.schema.schema, table.name, table.kind, &columns)
            .map_err(unencodable)?;
    }
    builder.build().map_err(unencodable)
}

/// Metadata that does not fit its own schema: our fault.
pub(crate) fn unencodable(error: impl std::fmt::Display) -> Error {
    Error::internal(format!("metadata cannot be encoded: {error}"))
}
