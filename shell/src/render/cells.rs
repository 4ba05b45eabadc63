//! Values of Arrow arrays as text, written as psql writes them.

use std::fmt::Write;

use arrow::array::{Array, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, DurationFormat, FormatOptions};

/// Formats inside and outside nested values; fractions of a second are trimmed afterwards.
const OPTIONS: FormatOptions<'static> = FormatOptions::new()
    .with_null("NULL")
    .with_date_format(Some("%Y-%m-%d"))
    .with_datetime_format(Some("%Y-%m-%d"))
    .with_time_format(Some("%H:%M:%S%.f"))
    .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
    .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f%:z"))
    .with_duration_format(DurationFormat::Pretty);

/// The values of one batch.
pub(super) struct Cells<'a> {
    columns: Vec<Column<'a>>,
}

struct Column<'a> {
    formatter: ArrayFormatter<'a>,
    nulls: Option<NullBuffer>,
    kind: Kind,
}

/// What psql's text of a value needs beyond Arrow's.
#[derive(Clone, Copy)]
enum Kind {
    Plain,
    /// `t` and `f`.
    Boolean,
    /// `\x` before the digits.
    Binary,
    /// No zeros at the end of a fraction of a second.
    Clock,
    /// The same, and `+00` rather than `+00:00`.
    Zoned,
}

impl<'a> Cells<'a> {
    /// Prepares the columns of a batch.
    pub(super) fn try_new(batch: &'a RecordBatch) -> Result<Self, ArrowError> {
        let columns = batch.columns().iter().map(|array| Column::try_new(array.as_ref())).collect::<Result<_, _>>()?;
        Ok(Self { columns })
    }

    /// Appends the value at `column` and `row` to `text`.
    pub(super) fn write(&self, column: usize, row: usize, null: &str, text: &mut String) {
        match self.columns.get(column) {
            Some(column) if !column.is_null(row) => column.write(row, text),
            Some(_) | None => text.push_str(null),
        }
    }
}

impl<'a> Column<'a> {
    fn try_new(array: &'a dyn Array) -> Result<Self, ArrowError> {
        let formatter = ArrayFormatter::try_new(array, &OPTIONS)?;
        Ok(Self { formatter, nulls: array.logical_nulls(), kind: kind(array.data_type()) })
    }

    fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    fn write(&self, row: usize, text: &mut String) {
        let start = text.len();
        if matches!(self.kind, Kind::Binary) {
            text.push_str("\\x");
        }
        // A value without a text writes its error in its place; writing to a string cannot fail otherwise.
        let _ = write!(text, "{}", self.formatter.value(row));
        match self.kind {
            Kind::Plain | Kind::Binary => {}
            Kind::Boolean => text.truncate(start + 1),
            Kind::Clock => trim_fraction(text, start),
            Kind::Zoned => trim_zoned(text, start),
        }
    }
}

fn kind(data_type: &DataType) -> Kind {
    match data_type {
        DataType::Boolean => Kind::Boolean,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => Kind::Binary,
        DataType::Time32(_) | DataType::Time64(_) | DataType::Timestamp(_, None) => Kind::Clock,
        DataType::Timestamp(_, Some(_)) => Kind::Zoned,
        DataType::Dictionary(_, values) => kind(values),
        DataType::RunEndEncoded(_, values) => kind(values.data_type()),
        _ => Kind::Plain,
    }
}

/// Whether psql puts values of this type at the right.
pub(super) fn is_numeric(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_numeric(values),
        DataType::RunEndEncoded(_, values) => is_numeric(values.data_type()),
        other => other.is_numeric(),
    }
}

/// `10:00:00.500` becomes `10:00:00.5`.
fn trim_fraction(text: &mut String, start: usize) {
    let Some(value) = text.get(start..) else { return };
    if value.contains('.') {
        let kept = value.trim_end_matches('0').len();
        text.truncate(start + kept);
    }
}

/// `10:00:00.500+00:00` becomes `10:00:00.5+00`.
fn trim_zoned(text: &mut String, start: usize) {
    let Some(at) = text.get(start..).and_then(|value| value.rfind(['+', '-'])) else { return };
    let offset = text.split_off(start + at);
    trim_fraction(text, start);
    text.push_str(offset.strip_suffix(":00").unwrap_or(&offset));
}
