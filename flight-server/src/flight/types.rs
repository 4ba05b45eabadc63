//! SQL's names for Arrow's types, and the facts about types that drivers ask for.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema};
use arrow_flight::sql::metadata::{XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{Nullable, Searchable, XdbcDataType};
use engine::{Result, SchemaName};

use crate::flight::metadata::unencodable;

/// What `CAST(x AS ...)` calls the type.
pub(crate) fn sql_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INTEGER".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::UInt8 => "TINYINT UNSIGNED".to_owned(),
        DataType::UInt16 => "SMALLINT UNSIGNED".to_owned(),
        DataType::UInt32 => "INTEGER UNSIGNED".to_owned(),
        DataType::UInt64 => "BIGINT UNSIGNED".to_owned(),
        DataType::Float16 | DataType::Float32 => "REAL".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => format!("DECIMAL({precision},{scale})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "BYTEA".to_owned()
        }
        DataType::Date32 | DataType::Date64 => "DATE".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "TIME".to_owned(),
        DataType::Timestamp(_, None) => "TIMESTAMP".to_owned(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE".to_owned(),
        DataType::Interval(_) | DataType::Duration(_) => "INTERVAL".to_owned(),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => format!("{}[]", sql_name(item.data_type())),
        DataType::Struct(_) => "STRUCT".to_owned(),
        DataType::Map(..) => "MAP".to_owned(),
        DataType::Dictionary(_, value) => sql_name(value),
        DataType::RunEndEncoded(_, value) => sql_name(value.data_type()),
        DataType::Union(..) => "UNION".to_owned(),
        DataType::Null => "NULL".to_owned(),
    }
}

/// Digits of a number, or those after the point: what Flight SQL calls precision and scale.
fn digits(data_type: &DataType) -> Option<(i64, i64)> {
    Some(match data_type {
        DataType::Int8 | DataType::UInt8 => (3, 0),
        DataType::Int16 | DataType::UInt16 => (5, 0),
        DataType::Int32 | DataType::UInt32 => (10, 0),
        DataType::Int64 => (19, 0),
        DataType::UInt64 => (20, 0),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => (i64::from(*precision), i64::from(*scale)),
        _ => return None,
    })
}

/// `columns` with what drivers read of each: its table, the SQL name of its type, and how it may be used.
pub(crate) fn described(columns: &Schema, schema: &SchemaName, table: &str) -> Schema {
    let described = |field: &Arc<Field>| {
        let mut facts: HashMap<String, String> = field.metadata().clone();
        let mut tell = |name: &str, value: String| facts.insert(format!("ARROW:FLIGHT:SQL:{name}"), value);
        tell("CATALOG_NAME", schema.catalog.clone());
        tell("SCHEMA_NAME", schema.schema.clone());
        tell("TABLE_NAME", table.to_owned());
        tell("TYPE_NAME", sql_name(field.data_type()));
        if let Some((precision, scale)) = digits(field.data_type()) {
            tell("PRECISION", precision.to_string());
            tell("SCALE", scale.to_string());
        }
        tell("IS_AUTO_INCREMENT", "0".to_owned());
        tell("IS_CASE_SENSITIVE", u8::from(field.data_type().is_string()).to_string());
        tell("IS_READ_ONLY", "0".to_owned());
        tell("IS_SEARCHABLE", "1".to_owned());
        field.as_ref().clone().with_metadata(facts)
    };
    Schema::new_with_metadata(columns.fields().iter().map(described).collect::<Vec<_>>(), columns.metadata().clone())
}

/// SQL types, by their JDBC numbers.
pub(crate) fn xdbc_types() -> &'static Result<XdbcTypeInfoData> {
    static TYPES: LazyLock<Result<XdbcTypeInfoData>> = LazyLock::new(|| {
        let mut builder = XdbcTypeInfoDataBuilder::new();
        for (name, data_type, column_size, quote) in [
            ("BOOLEAN", XdbcDataType::XdbcBit, 1, None),
            ("TINYINT", XdbcDataType::XdbcTinyint, 3, None),
            ("SMALLINT", XdbcDataType::XdbcSmallint, 5, None),
            ("INTEGER", XdbcDataType::XdbcInteger, 10, None),
            ("BIGINT", XdbcDataType::XdbcBigint, 19, None),
            ("REAL", XdbcDataType::XdbcReal, 7, None),
            ("DOUBLE", XdbcDataType::XdbcDouble, 15, None),
            ("DECIMAL", XdbcDataType::XdbcDecimal, 38, None),
            ("VARCHAR", XdbcDataType::XdbcVarchar, i32::MAX, Some("'")),
            ("DATE", XdbcDataType::XdbcDate, 10, Some("'")),
            ("TIME", XdbcDataType::XdbcTime, 18, Some("'")),
            ("TIMESTAMP", XdbcDataType::XdbcTimestamp, 29, Some("'")),
            ("BYTEA", XdbcDataType::XdbcVarbinary, i32::MAX, Some("'")),
        ] {
            let is_number = quote.is_none() && name != "BOOLEAN";
            builder.append(XdbcTypeInfo {
                type_name: name.to_owned(),
                data_type,
                column_size: Some(column_size),
                literal_prefix: quote.map(ToOwned::to_owned),
                literal_suffix: quote.map(ToOwned::to_owned),
                create_params: (name == "DECIMAL").then(|| vec!["precision".to_owned(), "scale".to_owned()]),
                nullable: Nullable::NullabilityNullable,
                case_sensitive: name == "VARCHAR",
                searchable: Searchable::Full,
                unsigned_attribute: is_number.then_some(false),
                fixed_prec_scale: false,
                auto_increment: is_number.then_some(false),
                local_type_name: Some(name.to_owned()),
                minimum_scale: (name == "DECIMAL").then_some(0),
                maximum_scale: (name == "DECIMAL").then_some(38),
                sql_data_type: data_type,
                datetime_subcode: None,
                num_prec_radix: is_number.then_some(10),
                interval_precision: None,
            });
        }
        builder.build().map_err(unencodable)
    });
    &TYPES
}
