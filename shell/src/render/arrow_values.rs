//! Values of types that psql does not have, for the tests.

use std::sync::Arc;

use arrow::array::types::{Int32Type, IntervalMonthDayNano};
use arrow::array::{
    ArrayRef, BooleanArray, DictionaryArray, DurationMillisecondArray, Float32Array, Float64Array, Int32Array,
    IntervalMonthDayNanoArray, LargeStringArray, ListArray, NullArray, RecordBatch, StringArray, StringViewArray,
    StructArray, TimestampNanosecondArray, UInt64Array, UnionArray,
};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Field, UnionFields};

/// One batch for each kind of value.
pub(super) fn batches() -> Vec<(&'static str, RecordBatch)> {
    vec![
        (
            "floats",
            batch(vec![
                ("f8", floats()),
                ("f4", Arc::new(Float32Array::from(vec![Some(0.1), None, Some(1e10), Some(1.0), Some(2.5)]))),
            ]),
        ),
        ("strings", batch(strings())),
        ("nested", batch(vec![("list", list()), ("struct", structure())])),
        ("dictionaries", batch(vec![("text", dictionary()), ("flag", flags())])),
        ("times", batch(times())),
        (
            "null",
            batch(vec![("null", Arc::new(NullArray::new(2))), ("big", Arc::new(UInt64Array::from(vec![u64::MAX, 0])))]),
        ),
        ("union", batch(vec![("union", union())])),
    ]
}

fn batch(columns: Vec<(&'static str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

fn floats() -> ArrayRef {
    Arc::new(Float64Array::from(vec![Some(0.1), Some(1e300), Some(f64::NAN), Some(f64::INFINITY), None]))
}

fn strings() -> Vec<(&'static str, ArrayRef)> {
    vec![
        ("view", Arc::new(StringViewArray::from(vec![Some("a string longer than twelve"), None]))),
        ("large", Arc::new(LargeStringArray::from(vec![Some("\"quoted\""), Some("")]))),
    ]
}

fn list() -> ArrayRef {
    let lists = vec![Some(vec![Some(1), None, Some(3)]), None, Some(vec![])];
    Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists))
}

fn structure() -> ArrayRef {
    let a: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(3)]));
    let b: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), Some("y"), None]));
    let field = |name, data_type| Arc::new(Field::new(name, data_type, true));
    Arc::new(StructArray::from(vec![(field("a", DataType::Int32), a), (field("b", DataType::Utf8), b)]))
}

fn dictionary() -> ArrayRef {
    Arc::new(vec![Some("red"), None, Some("red")].into_iter().collect::<DictionaryArray<Int32Type>>())
}

fn flags() -> ArrayRef {
    let values = Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]));
    Arc::new(DictionaryArray::new(Int32Array::from(vec![0, 1, 2]), values))
}

fn times() -> Vec<(&'static str, ArrayRef)> {
    let instants = vec![Some(1_704_103_200_000_000_000), Some(1_719_791_999_250_000_000), None];
    let zoned = TimestampNanosecondArray::from(instants.clone()).with_timezone("America/New_York");
    let indian = TimestampNanosecondArray::from(instants.clone()).with_timezone("+05:30");
    let interval = |months, days, nanoseconds| Some(IntervalMonthDayNano::new(months, days, nanoseconds));
    let intervals = vec![interval(14, 3, 0), interval(0, 0, 3_661_500_000_000), None];
    vec![
        ("plain", Arc::new(TimestampNanosecondArray::from(instants))),
        ("new york", Arc::new(zoned)),
        ("offset", Arc::new(indian)),
        ("duration", Arc::new(DurationMillisecondArray::from(vec![Some(90_061_500), Some(-5), None]))),
        ("interval", Arc::new(IntervalMonthDayNanoArray::from(intervals))),
    ]
}

fn union() -> ArrayRef {
    let fields =
        UnionFields::from_fields([Field::new("i", DataType::Int32, true), Field::new("s", DataType::Utf8, true)]);
    let columns: Vec<ArrayRef> = vec![Arc::new(Int32Array::from(vec![7])), Arc::new(StringArray::from(vec!["seven"]))];
    let types = ScalarBuffer::from(vec![0_i8, 1]);
    Arc::new(UnionArray::try_new(fields, types, Some(ScalarBuffer::from(vec![0, 0])), columns).expect("a union"))
}
