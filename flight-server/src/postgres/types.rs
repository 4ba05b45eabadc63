//! Arrow's types and PostgreSQL's.

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use arrow_pg::datatypes::{PG_OID_ALIAS_KEY, field_into_pg_type};
use postgres_types::{Kind, Type};

/// How a column is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writing {
    /// By `arrow-pg`.
    Plain,
    /// `arrow-pg` knows 28 digits only, and no 256 bits.
    Decimal,
    /// `arrow-pg` writes infinities in a way that drivers do not read.
    Float,
    /// A value with parts has no other form that drivers understand.
    Json,
    /// As it is shown to people.
    Shown,
}

/// How a column goes over the wire.
#[derive(Debug, Clone)]
pub(super) struct WireType {
    /// Type that the client is told.
    pub(super) pg: Type,
    /// Type that the values are brought to before they are written.
    pub(super) arrow: DataType,
    pub(super) writing: Writing,
    /// Precision and scale of a number, packed as PostgreSQL does; else -1.
    pub(super) modifier: i32,
}

/// How a column of a result is written.
pub(super) fn wire_type(field: &Field) -> WireType {
    let arrow = plain(field.data_type());
    let plainly = |pg, writing| WireType { pg, arrow: arrow.clone(), writing, modifier: -1 };
    if let Some((precision, scale)) = decimal(&arrow) {
        let modifier = if scale < 0 { -1 } else { (i32::from(precision) << 16 | i32::from(scale)) + 4 };
        return WireType { modifier, ..plainly(Type::NUMERIC, Writing::Decimal) };
    }
    match &arrow {
        DataType::Float32 => plainly(Type::FLOAT4, Writing::Float),
        DataType::Float64 => plainly(Type::FLOAT8, Writing::Float),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            list(&arrow, item.data_type())
        }
        DataType::Struct(_) | DataType::Map(..) => plainly(Type::JSON, Writing::Json),
        _ => match field_into_pg_type(&field.clone().with_data_type(arrow.clone()).into()) {
            // The catalog marks object numbers with what they number; what clients know them by is what they are.
            Ok(_) if field.metadata().contains_key(PG_OID_ALIAS_KEY) && arrow == DataType::Int32 => {
                plainly(Type::OID, Writing::Plain)
            }
            Ok(pg) => plainly(pg, Writing::Plain),
            Err(_) => plainly(Type::TEXT, Writing::Shown),
        },
    }
}

fn list(arrow: &DataType, item: &DataType) -> WireType {
    let plainly = |pg, writing| WireType { pg, arrow: arrow.clone(), writing, modifier: -1 };
    if decimal(item).is_some() {
        return plainly(Type::NUMERIC_ARRAY, Writing::Decimal);
    }
    match item {
        DataType::Float32 => plainly(Type::FLOAT4_ARRAY, Writing::Float),
        DataType::Float64 => plainly(Type::FLOAT8_ARRAY, Writing::Float),
        DataType::Boolean
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Date32
        | DataType::Timestamp(..) => match arrow_pg::datatypes::into_pg_type(arrow) {
            Ok(pg) => plainly(pg, Writing::Plain),
            Err(_) => plainly(Type::JSON, Writing::Json),
        },
        _ => plainly(Type::JSON, Writing::Json),
    }
}

/// The type that can be written where `arrow-pg` would write something else than it says.
fn plain(data_type: &DataType) -> DataType {
    let item = |field: &Field| field.clone().with_data_type(plain(field.data_type())).into();
    match data_type {
        DataType::Null => DataType::Utf8,
        DataType::Int8 => DataType::Int16,
        DataType::Float16 => DataType::Float32,
        DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, value) => plain(value),
        DataType::List(field) => DataType::List(item(field)),
        DataType::LargeList(field) | DataType::ListView(field) => DataType::List(item(field)),
        DataType::FixedSizeList(field, _) => DataType::List(item(field)),
        other => other.clone(),
    }
}

fn decimal(data_type: &DataType) -> Option<(u8, i8)> {
    match data_type {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => Some((*precision, *scale)),
        _ => None,
    }
}

/// Bytes of a value in binary form, or -1 where it depends on the value.
pub(super) fn size(pg: &Type) -> i16 {
    match *pg {
        Type::BOOL | Type::CHAR => 1,
        Type::INT2 => 2,
        Type::INT4 | Type::FLOAT4 | Type::DATE | Type::OID => 4,
        Type::INT8 | Type::FLOAT8 | Type::TIME | Type::TIMESTAMP | Type::TIMESTAMPTZ => 8,
        Type::INTERVAL | Type::UUID => 16,
        _ => -1,
    }
}

/// The type in which a parameter is handed to the engine.
pub(super) fn parameter_type(pg: &Type) -> DataType {
    match *pg {
        Type::BOOL => DataType::Boolean,
        Type::INT2 => DataType::Int16,
        Type::INT4 => DataType::Int32,
        Type::INT8 | Type::OID => DataType::Int64,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        // As many digits before the point as after it; a value brings its own.
        Type::NUMERIC => DataType::Decimal128(38, 19),
        Type::BYTEA => DataType::Binary,
        Type::DATE => DataType::Date32,
        Type::TIME => DataType::Time64(TimeUnit::Microsecond),
        Type::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        Type::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        Type::INTERVAL => DataType::Interval(IntervalUnit::MonthDayNano),
        _ => match pg.kind() {
            Kind::Array(item) => DataType::new_list(parameter_type(item), true),
            _ => DataType::Utf8,
        },
    }
}

/// The type that a parameter has for the client, if the statement needs `data_type` there.
pub(super) fn pg_type(data_type: &DataType) -> Type {
    if data_type.is_null() {
        return Type::TEXT;
    }
    wire_type(&Field::new("", data_type.clone(), true)).pg
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pg(data_type: DataType) -> Type {
        wire_type(&Field::new("x", data_type, true)).pg
    }

    #[test]
    fn every_type_has_one_that_clients_know() {
        assert_eq!(pg(DataType::Int8), Type::INT2);
        assert_eq!(pg(DataType::Decimal256(50, 3)), Type::NUMERIC);
        assert_eq!(pg(DataType::new_list(DataType::Int32, true)), Type::INT4_ARRAY);
        assert_eq!(pg(DataType::new_list(DataType::new_list(DataType::Int32, true), true)), Type::JSON);
        assert_eq!(pg(DataType::Null), Type::TEXT);
    }

    #[test]
    fn a_number_tells_its_digits() {
        let wire = wire_type(&Field::new("x", DataType::Decimal128(15, 2), true));
        assert_eq!(wire.modifier, ((15 << 16) | 2) + 4);
    }
}
