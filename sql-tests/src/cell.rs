//! How a value and a type look in an `.slt` file.
//!
//! | type | letter | value |
//! |---|---|---|
//! | boolean | `B` | `true` |
//! | integers | `I` | `42` |
//! | floating point | `R` | 12 significant digits, 6 of single precision; `1e20` from 1e15 on and below 1e-4 |
//! | decimals | `R` | all their places |
//! | text | `T` | as it is; `(empty)` for no character, `\n` for a line break |
//! | date, time | `D` | `2024-02-29`, `12:00:00` |
//! | timestamps | `P` | `2024-02-29T12:00:00`, with `Z` or an offset if there is a time zone |
//! | others | `?` | `[1, 2]`, `{a: 1}`, `1 mons 2 days` |
//!
//! NULL is `NULL` in every type.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float16Type, Float32Type, Float64Type};
use arrow::util::display::{ArrayFormatter, DurationFormat, FormatOptions};
use sqllogictest::ColumnType;

/// The type of a column, as its letter says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Letter {
    /// `B`
    Boolean,
    /// `I`
    Integer,
    /// `R`
    Number,
    /// `T`
    Text,
    /// `D`
    Date,
    /// `P`
    Timestamp,
    /// `?`
    Other,
}

impl ColumnType for Letter {
    fn from_char(value: char) -> Option<Self> {
        match value {
            'B' => Some(Self::Boolean),
            'I' => Some(Self::Integer),
            'R' => Some(Self::Number),
            'T' => Some(Self::Text),
            'D' => Some(Self::Date),
            'P' => Some(Self::Timestamp),
            '?' => Some(Self::Other),
            _ => None,
        }
    }

    fn to_char(&self) -> char {
        match self {
            Self::Boolean => 'B',
            Self::Integer => 'I',
            Self::Number => 'R',
            Self::Text => 'T',
            Self::Date => 'D',
            Self::Timestamp => 'P',
            Self::Other => '?',
        }
    }
}

impl Letter {
    pub(crate) fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Boolean,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Date32 | DataType::Date64 | DataType::Time32(_) | DataType::Time64(_) => Self::Date,
            DataType::Timestamp(_, _) => Self::Timestamp,
            DataType::Dictionary(_, values) => Self::of(values),
            number if number.is_integer() => Self::Integer,
            number if number.is_floating() || number.is_decimal() => Self::Number,
            _ => Self::Other,
        }
    }
}

/// How Arrow is to format what has no form of its own here.
pub(crate) fn format_options() -> FormatOptions<'static> {
    FormatOptions::new().with_null("NULL").with_duration_format(DurationFormat::Pretty)
}

/// The text of one value.
pub(crate) fn show(column: &ArrayRef, formatter: &ArrayFormatter<'_>, row: usize) -> String {
    if column.is_null(row) {
        return "NULL".to_owned();
    }
    match column.data_type() {
        DataType::Float16 => show_float(column.as_primitive::<Float16Type>().value(row).to_f64(), SINGLE_DIGITS),
        DataType::Float32 => show_float(column.as_primitive::<Float32Type>().value(row).into(), SINGLE_DIGITS),
        DataType::Float64 => show_float(column.as_primitive::<Float64Type>().value(row), DOUBLE_DIGITS),
        _ => show_text(&formatter.value(row).to_string()),
    }
}

/// Significant digits that sums of doubles in another order still share.
const DOUBLE_DIGITS: usize = 12;
/// The same for single precision.
const SINGLE_DIGITS: usize = 6;

fn show_float(value: f64, digits: usize) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let scientific = format!("{value:.*e}", digits - 1);
    let rounded: f64 = scientific.parse().unwrap_or(value);
    if rounded == 0.0 {
        return "0".to_owned();
    }
    if (1e-4..1e15).contains(&rounded.abs()) { rounded.to_string() } else { format!("{rounded:e}") }
}

fn show_text(value: &str) -> String {
    if value.is_empty() { "(empty)".to_owned() } else { value.replace('\n', "\\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_keep_the_digits_that_matter() {
        let shown = |value| show_float(value, DOUBLE_DIGITS);
        assert_eq!(shown(0.1 + 0.2), "0.3");
        assert_eq!(shown(-0.0), "0");
        assert_eq!(shown(2.0), "2");
        assert_eq!(shown(1.0 / 3.0), "0.333333333333");
        assert_eq!(shown(123_456_789_012_345.0), "123456789012000");
        assert_eq!(shown(1e15), "1e15");
        assert_eq!(shown(-2.5e-5), "-2.5e-5");
        assert_eq!(shown(f64::NEG_INFINITY), "-Infinity");
        assert_eq!(show_float(f64::from(0.1_f32), SINGLE_DIGITS), "0.1");
    }

    #[test]
    fn every_letter_is_its_own_inverse() {
        for letter in "BIRTDP?".chars() {
            assert_eq!(Letter::from_char(letter).unwrap().to_char(), letter);
        }
        assert_eq!(Letter::from_char('X'), None);
    }
}
