//! Facts about the server and its tables, in the shapes that drivers expect.

use std::sync::LazyLock;

use arrow::array::RecordBatch;
use arrow_flight::sql::metadata::{
    GetCatalogsBuilder, SqlInfoData, SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder,
};
use arrow_flight::sql::{
    CommandGetDbSchemas, CommandGetTableTypes, CommandGetTables, Nullable, Searchable, SqlInfo,
    SqlSupportedTransaction, XdbcDataType,
};
use engine::{CATALOG, Error, Result, Session};

/// The one catalog.
pub(crate) fn catalogs() -> Result<RecordBatch> {
    let mut builder = GetCatalogsBuilder::new();
    builder.append(CATALOG);
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
        builder.append(CATALOG, schema);
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
            "BASE TABLE" => "TABLE".to_owned(),
            other => other.to_owned(),
        };
    }
    let include_schema = command.include_schema;
    let mut builder = command.into_builder();
    for table in session.tables(include_schema).await? {
        builder.append(CATALOG, table.schema, table.name, table.kind, &table.columns).map_err(unencodable)?;
    }
    builder.build().map_err(unencodable)
}

/// What the server is and can do.
pub(crate) fn sql_info() -> &'static Result<SqlInfoData> {
    static INFO: LazyLock<Result<SqlInfoData>> = LazyLock::new(|| {
        let mut builder = SqlInfoDataBuilder::new();
        builder.append(SqlInfo::FlightSqlServerName, "Grappe");
        builder.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
        builder.append(SqlInfo::FlightSqlServerArrowVersion, "1.3");
        builder.append(SqlInfo::FlightSqlServerReadOnly, false);
        builder.append(SqlInfo::FlightSqlServerSql, true);
        builder.append(SqlInfo::FlightSqlServerSubstrait, false);
        builder.append(SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::None as i32);
        builder.append(SqlInfo::FlightSqlServerCancel, true);
        builder.append(SqlInfo::FlightSqlServerBulkIngestion, false);
        builder.append(SqlInfo::FlightSqlServerStatementTimeout, 0i32);
        builder.append(SqlInfo::FlightSqlServerTransactionTimeout, 0i32);
        builder.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
        builder.build().map_err(unencodable)
    });
    &INFO
}

/// SQL types, by their JDBC numbers.
pub(crate) fn xdbc_types() -> &'static Result<XdbcTypeInfoData> {
    static TYPES: LazyLock<Result<XdbcTypeInfoData>> = LazyLock::new(|| {
        let mut builder = XdbcTypeInfoDataBuilder::new();
        for (name, data_type, column_size) in [
            ("BOOLEAN", XdbcDataType::XdbcBit, 1),
            ("SMALLINT", XdbcDataType::XdbcSmallint, 5),
            ("INTEGER", XdbcDataType::XdbcInteger, 10),
            ("BIGINT", XdbcDataType::XdbcBigint, 19),
            ("REAL", XdbcDataType::XdbcReal, 7),
            ("DOUBLE", XdbcDataType::XdbcDouble, 15),
            ("DECIMAL", XdbcDataType::XdbcDecimal, 38),
            ("VARCHAR", XdbcDataType::XdbcVarchar, i32::MAX),
            ("DATE", XdbcDataType::XdbcDate, 10),
            ("TIMESTAMP", XdbcDataType::XdbcTimestamp, 29),
            ("BYTEA", XdbcDataType::XdbcVarbinary, i32::MAX),
        ] {
            builder.append(XdbcTypeInfo {
                type_name: name.to_owned(),
                data_type,
                column_size: Some(column_size),
                literal_prefix: None,
                literal_suffix: None,
                create_params: None,
                nullable: Nullable::NullabilityNullable,
                case_sensitive: true,
                searchable: Searchable::Full,
                unsigned_attribute: None,
                fixed_prec_scale: false,
                auto_increment: None,
                local_type_name: Some(name.to_owned()),
                minimum_scale: None,
                maximum_scale: None,
                sql_data_type: data_type,
                datetime_subcode: None,
                num_prec_radix: None,
                interval_precision: None,
            });
        }
        builder.build().map_err(unencodable)
    });
    &TYPES
}

pub(crate) fn unencodable(error: impl std::fmt::Display) -> Error {
    Error::internal(format!("metadata cannot be encoded: {error}"))
}
