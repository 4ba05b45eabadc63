//! What psql 15 prints is what we print: `tests/rendering/psql/` was written by psql (see `generate.sh` there).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int32Array, RecordBatch, RecordBatchOptions, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use serde::Deserialize;
use serde_json::Value;

use super::{Format, Rendering};

/// One file of `tests/rendering/cases/`.
#[derive(Deserialize)]
struct Case {
    columns: Vec<(String, String)>,
    rows: Vec<Vec<Value>>,
}

fn folder(name: &str) -> PathBuf {
    Path::new("tests/rendering").join(name)
}

fn data_type(name: &str) -> DataType {
    match name {
        "bool" => DataType::Boolean,
        "bytea" => DataType::Binary,
        "date" => DataType::Date32,
        "float8" => DataType::Float64,
        "int2" => DataType::Int16,
        "int4" => DataType::Int32,
        "int8" => DataType::Int64,
        "numeric(12,2)" => DataType::Decimal128(12, 2),
        "numeric(38,0)" => DataType::Decimal128(38, 0),
        "text" => DataType::Utf8,
        "time" => DataType::Time64(TimeUnit::Microsecond),
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "timestamptz" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        other => panic!("no Arrow type for {other}"),
    }
}

fn column(case: &Case, index: usize, data_type: &DataType) -> ArrayRef {
    let texts = case.rows.iter().map(|row| match &row[index] {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    });
    if *data_type == DataType::Binary {
        let bytes = texts.map(|text| text.map(|text| from_hex(&text)));
        return Arc::new(bytes.collect::<BinaryArray>());
    }
    let texts: ArrayRef = Arc::new(texts.collect::<StringArray>());
    cast(&texts, data_type).expect("a value of its type")
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits = text.strip_prefix("\\x").expect("hexadecimal digits");
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("a digit")).collect()
}

fn batch(case: &Case) -> RecordBatch {
    let types: Vec<_> = case.columns.iter().map(|(_, name)| data_type(name)).collect();
    let columns = types.iter().enumerate().map(|(index, data_type)| column(case, index, data_type)).collect();
    let fields = case.columns.iter().zip(types).map(|((name, _), data_type)| Field::new(name, data_type, true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let options = RecordBatchOptions::new().with_row_count(Some(case.rows.len()));
    RecordBatch::try_new_with_options(schema, columns, &options).expect("a batch")
}

/// The format that psql's arguments ask for.
fn format(settings: &str) -> Format {
    let mut format = Format::default();
    let mut words = settings.split(' ').filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        let (name, value) = match word {
            "-x" => ("expanded", Some("on")),
            "-t" => ("tuples_only", Some("on")),
            "-A" => ("format", Some("unaligned")),
            "--csv" => ("format", Some("csv")),
            "-F" => ("fieldsep", words.next()),
            "-P" => words.next().and_then(|word| word.split_once('=')).map(|(n, v)| (n, Some(v))).expect("NAME=VALUE"),
            other => panic!("unknown argument {other}"),
        };
        format.set(name, value).expect("a good setting");
    }
    format
}

fn render(format: &Format, batches: &[RecordBatch], schema: &Arc<Schema>) -> String {
    let mut rendering = Rendering::new(format, Arc::clone(schema), None);
    let mut text = Vec::new();
    for batch in batches {
        rendering.push(batch.clone());
    }
    rendering.finish(&mut text).expect("rendered");
    String::from_utf8(text).expect("UTF-8")
}

#[test]
fn every_format_is_that_of_psql() {
    let mut compared = 0;
    for entry in fs::read_dir(folder("cases")).expect("cases") {
        let path = entry.expect("a case").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let case: Case = serde_json::from_slice(&fs::read(&path).expect("a case")).expect("a case");
        let batch = batch(&case);
        let golden = fs::read_to_string(folder("psql").join(format!("{name}.txt"))).expect("what psql printed");
        for section in golden.split("==== psql ").filter(|section| !section.is_empty()) {
            let (settings, expected) = section.split_once('\n').expect("settings");
            let actual = render(&format(settings), std::slice::from_ref(&batch), &batch.schema());
            assert_eq!(actual, expected, "case {name}, psql {settings}");
            compared += 1;
        }
    }
    assert!(compared > 300, "only {compared} outputs were compared");
}

fn numbers(values: impl IntoIterator<Item = i32>) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int32Array::from_iter_values(values));
    RecordBatch::try_from_iter([("n", column)]).expect("a batch")
}

#[test]
fn rows_after_the_sample_are_written_at_once_and_may_run_over_their_column() {
    let mut rendering = Rendering::new(&Format::default(), numbers([]).schema(), None);
    let mut text = Vec::new();
    rendering.push(numbers(0..999));
    assert!(!rendering.is_due());
    rendering.push(numbers([7]));
    assert!(rendering.is_due());
    rendering.write(&mut text).expect("rendered");
    assert!(text.ends_with(b"\n 998\n   7\n"));
    rendering.push(numbers([1_000_000]));
    assert!(rendering.is_due());
    rendering.write(&mut text).expect("rendered");
    assert!(text.ends_with(b"\n 1000000\n"));
    rendering.finish(&mut text).expect("rendered");
    assert!(text.ends_with(b"(1001 rows)\n\n"));
}

#[test]
fn a_few_large_rows_end_the_sample_too() {
    let column: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(20 << 20)]));
    let batch = RecordBatch::try_from_iter([("text", column)]).expect("a batch");
    let mut rendering = Rendering::new(&Format::default(), batch.schema(), None);
    rendering.push(batch);
    assert!(rendering.is_due());
}

#[test]
fn formats_without_widths_wait_for_nothing() {
    for settings in ["-A", "--csv", "-A -x"] {
        let batch = numbers([1]);
        let mut rendering = Rendering::new(&format(settings), batch.schema(), None);
        rendering.push(batch);
        assert!(rendering.is_due(), "{settings}");
    }
}

#[test]
fn expanded_auto_looks_at_the_width_of_the_terminal() {
    let mut format = Format::default();
    format.set("expanded", Some("auto")).expect("a good setting");
    let batch = numbers([12_345]);
    let is_expanded = |columns_max| {
        let mut rendering = Rendering::new(&format, batch.schema(), columns_max);
        let mut text = Vec::new();
        rendering.push(batch.clone());
        rendering.finish(&mut text).expect("rendered");
        text.starts_with(b"-[ RECORD")
    };
    assert_eq!([None, Some(80), Some(7), Some(6)].map(is_expanded), [false, false, false, true]);
}

#[test]
fn values_that_psql_does_not_have_are_readable() {
    let golden = fs::read_to_string(folder("arrow.txt")).expect("golden");
    let mut actual = String::new();
    for (name, batch) in super::arrow_values::batches() {
        for settings in ["-A", "json"] {
            let mut format = Format::default();
            format.set("format", Some(if settings == "json" { "json" } else { "unaligned" })).expect("a good setting");
            actual +=
                &format!("==== {name} {settings}\n{}", render(&format, std::slice::from_ref(&batch), &batch.schema()));
        }
    }
    assert_eq!(actual, golden, "\n{actual}");
}
