//! Keys of tables, in the shapes of Flight SQL: primary keys as declared, and no foreign keys, which we do not have.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::sql::CommandGetPrimaryKeys;
use engine::{Result, SchemaName, Session};

use crate::flight::metadata::unencodable;

/// Columns of an answer to `GetPrimaryKeys`.
pub(crate) static PRIMARY_KEYS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("catalog_name", DataType::Utf8, true),
        Field::new("db_schema_name", DataType::Utf8, true),
        Field::new("table_name", DataType::Utf8, false),
        Field::new("column_name", DataType::Utf8, false),
        Field::new("key_name", DataType::Utf8, true),
        Field::new("key_sequence", DataType::Int32, false),
    ]))
});

/// Columns of an answer to `GetImportedKeys`, `GetExportedKeys` and `GetCrossReference`.
pub(crate) static FOREIGN_KEYS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name: &str, is_nullable| Field::new(name, DataType::Utf8, is_nullable);
    Arc::new(Schema::new(vec![
        text("pk_catalog_name", true),
        text("pk_db_schema_name", true),
        text("pk_table_name", false),
        text("pk_column_name", false),
        text("fk_catalog_name", true),
        text("fk_db_schema_name", true),
        text("fk_table_name", false),
        text("fk_column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        text("fk_key_name", true),
        text("pk_key_name", true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ]))
});

/// The columns of a table's primary key, in order; nothing for a table that is not there or has none.
///
/// # Errors
/// Those of the catalog.
pub(crate) async fn primary_keys(session: &Session, command: &CommandGetPrimaryKeys) -> Result<RecordBatch> {
    let default = session.default_schema();
    let catalog = command.catalog.clone().filter(|catalog| !catalog.is_empty()).unwrap_or(default.catalog);
    let schema = SchemaName::new(catalog, command.db_schema.clone().unwrap_or(default.schema));
    let columns = session.primary_key(&schema, &command.table).await?;
    let rows = columns.len();
    let text = |value: &str| Arc::new(StringArray::from(vec![value; rows])) as ArrayRef;
    let sequence: Vec<i32> = (1..).take(rows).collect();
    let arrays = vec![
        text(&schema.catalog),
        text(&schema.schema),
        text(&command.table),
        Arc::new(StringArray::from(columns)) as ArrayRef,
        Arc::new(StringArray::new_null(rows)) as ArrayRef,
        Arc::new(Int32Array::from(sequence)) as ArrayRef,
    ];
    RecordBatch::try_new(SchemaRef::clone(&PRIMARY_KEYS), arrays).map_err(unencodable)
}

/// No foreign keys.
pub(crate) fn foreign_keys() -> RecordBatch {
    RecordBatch::new_empty(SchemaRef::clone(&FOREIGN_KEYS))
}
