//! Types that Delta Lake has not: kept as one that it has, with the type that was meant beside it.
//!
//! Other readers see the type that is kept. We cast it back: the field's metadata says to what.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalUnit, Schema, SchemaRef, TimeUnit};

use crate::schema_bytes::{schema_from_bytes, schema_to_bytes};
use crate::{Error, Result};

/// Key of a field's metadata: the field as it was meant, as a schema of Arrow's IPC format, in base64.
const MEANT: &str = "grappe.field";

/// The columns as Delta Lake keeps them, each with its comment if it has one.
///
/// # Errors
/// `Invalid` naming a column of a type that cannot be kept.
pub(crate) fn stored_schema(schema: &Schema) -> Result<Schema> {
    let fields = schema.fields().iter().map(|field| {
        let stored = stored_type(field.data_type()).ok_or_else(|| cannot_keep(field))?;
        let plain = Field::new(field.name(), stored, field.is_nullable());
        let is_same = plain.data_type() == field.data_type() && field.metadata().is_empty();
        if is_same || is_way_to_hold(field.data_type()) {
            return Ok(plain);
        }
        let meant = (MEANT.to_owned(), encode(field));
        Ok(plain.with_metadata(std::iter::once(meant).collect()))
    });
    Ok(Schema::new(fields.collect::<Result<Vec<_>>>()?))
}

/// The columns as they were meant, from those that Delta Lake has kept.
pub(crate) fn meant_schema(stored: &Schema) -> SchemaRef {
    let fields = stored.fields().iter().map(|field| {
        let meant = field.metadata().get(MEANT).and_then(|text| decode(text));
        match meant {
            // It may have been renamed, or have become nullable.
            Some(meant) => meant.with_name(field.name()).with_nullable(field.is_nullable()),
            None => Field::new(field.name(), field.data_type().clone(), field.is_nullable()),
        }
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The columns of data files: as Delta Lake keeps them, without what is said about them.
pub(crate) fn file_schema(stored: &Schema) -> SchemaRef {
    let plain = |field: &FieldRef| Field::new(field.name(), field.data_type().clone(), field.is_nullable());
    Arc::new(Schema::new(stored.fields().iter().map(plain).collect::<Vec<_>>()))
}

fn cannot_keep(field: &Field) -> Error {
    let (name, data_type) = (field.name(), field.data_type());
    Error::invalid(format!("column \"{name}\" cannot be kept in a table: it is {data_type}; CAST it first"))
}

fn encode(field: &Field) -> String {
    STANDARD.encode(schema_to_bytes(&Schema::new(vec![field.clone()])))
}

fn decode(text: &str) -> Option<Field> {
    let schema = schema_from_bytes(&STANDARD.decode(text).ok()?).ok()?;
    Some(schema.fields().first()?.as_ref().clone())
}

/// Ways to hold values in memory, and a column of nothing but nulls: a table has the plain type.
fn is_way_to_hold(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Null
            | DataType::Utf8View
            | DataType::LargeUtf8
            | DataType::BinaryView
            | DataType::LargeBinary
            | DataType::RunEndEncoded(..)
    )
}

/// The nearest type that Delta Lake has; nothing if values would be lost or cannot be cast back.
fn stored_type(data_type: &DataType) -> Option<DataType> {
    let microseconds = |zone: &Option<Arc<str>>| DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
    Some(match data_type {
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Date32
        | DataType::Utf8
        | DataType::Binary => data_type.clone(),
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::Time64(_) | DataType::Duration(_) => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::Time32(_) | DataType::Interval(IntervalUnit::YearMonth) => DataType::Int32,
        DataType::Interval(IntervalUnit::DayTime) => DataType::Int64,
        DataType::Date64 => DataType::Date32,
        // Text, so that there is something to keep: every value is null.
        DataType::Null | DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) if *scale >= 0 => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Decimal128(_, scale) if *scale >= 0 => data_type.clone(),
        DataType::Timestamp(_, None) => microseconds(&None),
        DataType::Timestamp(_, Some(_)) => microseconds(&Some("UTC".into())),
        DataType::Dictionary(_, value) => stored_type(value)?,
        DataType::RunEndEncoded(_, value) => stored_type(value.data_type())?,
        // Its digits are more than Delta Lake's decimals have.
        DataType::Decimal256(..) => DataType::Utf8,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => DataType::List(stored_item(item)?),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(stored_item).collect::<Option<Fields>>()?),
        DataType::Map(entries, _) => DataType::Map(stored_entries(entries)?, false),
        _ => return None,
    })
}

fn stored_item(field: &FieldRef) -> Option<FieldRef> {
    Some(Arc::new(Field::new(field.name(), stored_type(field.data_type())?, field.is_nullable())))
}

/// Keys and values under the names that Delta Lake's own types have.
fn stored_entries(entries: &FieldRef) -> Option<FieldRef> {
    let DataType::Struct(pair) = entries.data_type() else { return None };
    let (key, value) = (pair.first()?, pair.get(1)?);
    let fields = vec![
        Field::new("key", stored_type(key.data_type())?, false),
        Field::new("value", stored_type(value.data_type())?, value.is_nullable()),
    ];
    Some(Arc::new(Field::new("key_value", DataType::Struct(fields.into()), false)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_comes_back() {
        let item = Arc::new(Field::new("item", DataType::UInt8, true));
        let types = [
            DataType::UInt64,
            DataType::Time64(TimeUnit::Nanosecond),
            DataType::Timestamp(TimeUnit::Second, Some("Europe/Paris".into())),
            DataType::FixedSizeList(Arc::clone(&item), 3),
            DataType::Struct(vec![item].into()),
            DataType::Utf8,
        ];
        let fields = types.into_iter().enumerate().map(|(i, t)| Field::new(format!("c{i}"), t, i % 2 == 0));
        let schema = Schema::new(fields.collect::<Vec<_>>());
        let stored = stored_schema(&schema).unwrap();
        assert_eq!(meant_schema(&stored).as_ref(), &schema);
        assert!(stored_schema(&Schema::new(vec![Field::new("x", DataType::Decimal128(5, -2), true)])).is_err());
    }
}
