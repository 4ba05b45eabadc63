//! Parameters as clients send them, as text or in binary form, for the engine.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, Field, IntervalMonthDayNano, Schema};
use datafusion::common::ScalarValue;
use postgres_types::{Kind, Type};
use uuid::Uuid;

use crate::postgres::errors::Refusal;
use crate::postgres::types::parameter_type;
use crate::postgres::values::decimal_text;

/// Days from 1970 to 2000, where PostgreSQL begins to count.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROSECONDS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// Digits of the longest number.
const DECIMAL_DIGITS_MAX: usize = 76;

/// One parameter as it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent<'a> {
    /// Nothing for NULL.
    pub(super) bytes: Option<&'a [u8]>,
    pub(super) is_binary: bool,
}

/// One row of parameters for the engine, each of its type in `types`.
///
/// # Errors
/// A value that is none of its type, or that its place in `wanted` would change.
pub(super) fn read_parameters(sent: &[Sent<'_>], types: &[Type], wanted: &Schema) -> Result<RecordBatch, Refusal> {
    let values = sent.iter().zip(types).enumerate().map(|(index, (sent, pg))| {
        let value = read(*sent, pg).map_err(|reason| {
            let name = index + 1;
            Refusal::new("22P02", format!("parameter ${name} is no value of type {}: {reason}", pg.name()))
        })?;
        match wanted.fields().get(index) {
            Some(field) => refuse_loss(&value, field).map(|()| value),
            None => Ok(value),
        }
    });
    one_row(values.collect::<Result<_, _>>()?)
}

/// NULL for each of `types`, to plan with.
///
/// # Errors
/// A type that the engine does not have.
pub(super) fn nulls(types: &[Type]) -> Result<RecordBatch, Refusal> {
    one_row(types.iter().map(null).collect::<Result<_, _>>().map_err(unusable)?)
}

fn one_row(values: Vec<ScalarValue>) -> Result<RecordBatch, Refusal> {
    let arrays = values.iter().map(ScalarValue::to_array).collect::<Result<Vec<_>, _>>().map_err(unusable)?;
    let fields = arrays.iter().enumerate();
    let fields: Vec<_> =
        fields.map(|(at, array)| Field::new(format!("${}", at + 1), array.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(unusable)
}

fn unusable(error: impl std::fmt::Display) -> Refusal {
    Refusal::new("22023", format!("the parameters cannot be used: {error}"))
}

/// A number with a fraction must not lose it where the statement takes a whole one: PostgreSQL would compare it as it
/// is.
fn refuse_loss(value: &ScalarValue, wanted: &Field) -> Result<(), Refusal> {
    let has_fraction = value.data_type().is_floating() || value.data_type().is_decimal();
    if value.is_null() || !has_fraction || !wanted.data_type().is_integer() {
        return Ok(());
    }
    let there_and_back = value.cast_to(wanted.data_type()).and_then(|whole| whole.cast_to(&value.data_type()));
    if there_and_back.is_ok_and(|back| back == *value) {
        return Ok(());
    }
    let (name, whole) = (wanted.name(), wanted.data_type());
    let message =
        format!("parameter {name} is {value}, and its place takes {whole}; write {name}::double precision there");
    Err(Refusal::new("22003", message))
}

fn null(pg: &Type) -> Result<ScalarValue, String> {
    ScalarValue::try_from(&parameter_type(pg)).map_err(|error| error.to_string())
}

fn read(sent: Sent<'_>, pg: &Type) -> Result<ScalarValue, String> {
    match sent.bytes {
        None => null(pg),
        Some(bytes) if sent.is_binary => binary(bytes, pg),
        Some(bytes) => read_text(std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8")?, pg),
    }
}

fn read_text(text: &str, pg: &Type) -> Result<ScalarValue, String> {
    if let Kind::Array(item) = pg.kind() {
        let items = array_items(text)?.into_iter();
        let items = items.map(|value| value.map_or_else(|| null(item), |value| read_text(&value, item)));
        return list(items.collect::<Result<_, _>>()?, item);
    }
    match *pg {
        Type::BOOL => match text.trim().to_ascii_lowercase().as_str() {
            "t" | "true" | "y" | "yes" | "on" | "1" => Ok(ScalarValue::from(true)),
            "f" | "false" | "n" | "no" | "off" | "0" => Ok(ScalarValue::from(false)),
            other => Err(format!("it is \"{other}\"")),
        },
        Type::NUMERIC => number(text),
        Type::BYTEA => bytes(text),
        _ => match parameter_type(pg) {
            DataType::Utf8 => Ok(ScalarValue::from(text)),
            data_type => ScalarValue::from(text.trim()).cast_to(&data_type).map_err(|_| format!("it is \"{text}\"")),
        },
    }
}

/// `\x` and hexadecimal digits, or characters with octal escapes.
fn bytes(text: &str) -> Result<ScalarValue, String> {
    let Some(digits) = text.strip_prefix("\\x") else {
        return if text.contains('\\') {
            Err("write it as \\x...".to_owned())
        } else {
            Ok(binary_value(text.as_bytes()))
        };
    };
    if !digits.len().is_multiple_of(2) || !digits.is_ascii() {
        return Err("it has half a byte".to_owned());
    }
    let pairs = (0..digits.len() / 2).map(|at| u8::from_str_radix(&digits[at * 2..at * 2 + 2], 16));
    let read = pairs.collect::<Result<Vec<_>, _>>().map_err(|_| "it has other than hexadecimal digits")?;
    Ok(binary_value(&read))
}

fn binary_value(bytes: &[u8]) -> ScalarValue {
    ScalarValue::Binary(Some(bytes.to_vec()))
}

/// A number of as many digits as it is written with.
fn number(text: &str) -> Result<ScalarValue, String> {
    let text = text.trim();
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().map_err(|_| format!("it is \"{text}\""))?;
    let unsigned = mantissa.trim_start_matches(['-', '+']);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || mantissa.len() - unsigned.len() > 1 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(format!("it is \"{text}\""));
    }
    let scale = fraction.len() as i32 - exponent;
    let zeros = usize::try_from(-scale).unwrap_or(0);
    let scale = usize::try_from(scale).unwrap_or(0);
    if digits.len().max(scale) + zeros > DECIMAL_DIGITS_MAX {
        return Err(format!("it has more than {DECIMAL_DIGITS_MAX} digits"));
    }
    let digits = format!("{digits}{}", "0".repeat(zeros));
    let precision = digits.trim_start_matches('0').len().max(scale).max(1) as u8;
    let all = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = all.split_at(all.len() - scale);
    let sign = if mantissa.starts_with('-') { "-" } else { "" };
    let data_type = match precision {
        ..=38 => DataType::Decimal128(precision, scale as i8),
        _ => DataType::Decimal256(precision, scale as i8),
    };
    let plain = format!("{sign}{whole}.{fraction}");
    ScalarValue::from(plain.as_str()).cast_to(&data_type).map_err(|error| error.to_string())
}

fn binary(bytes: &[u8], pg: &Type) -> Result<ScalarValue, String> {
    if let Kind::Array(item) = pg.kind() {
        return list(binary_items(bytes, item)?, item);
    }
    let wrong = || format!("it has {} bytes", bytes.len());
    let two = || bytes.try_into().map(i16::from_be_bytes).map_err(|_| wrong());
    let four = || bytes.try_into().map(i32::from_be_bytes).map_err(|_| wrong());
    let eight = || bytes.try_into().map(i64::from_be_bytes).map_err(|_| wrong());
    let microseconds =
        || eight().and_then(|time| time.checked_add(EPOCH_MICROSECONDS).ok_or_else(|| "it is endless".to_owned()));
    Ok(match *pg {
        Type::BOOL => ScalarValue::from(bytes.first().ok_or_else(wrong)? != &0),
        Type::INT2 => ScalarValue::from(two()?),
        Type::INT4 => ScalarValue::from(four()?),
        Type::OID => ScalarValue::from(i64::from(four()? as u32)),
        Type::INT8 => ScalarValue::from(eight()?),
        Type::FLOAT4 => ScalarValue::from(f32::from_bits(four()? as u32)),
        Type::FLOAT8 => ScalarValue::from(f64::from_bits(eight()? as u64)),
        Type::NUMERIC => number(&decimal_text(bytes).ok_or("it is no finite number")?)?,
        Type::BYTEA => binary_value(bytes),
        Type::DATE => ScalarValue::Date32(Some(four()?.checked_add(EPOCH_DAYS).ok_or("it is endless")?)),
        Type::TIME => ScalarValue::Time64Microsecond(Some(eight()?)),
        Type::TIMESTAMP => ScalarValue::TimestampMicrosecond(Some(microseconds()?), None),
        Type::TIMESTAMPTZ => ScalarValue::TimestampMicrosecond(Some(microseconds()?), Some("+00:00".into())),
        Type::INTERVAL => interval(bytes).ok_or_else(wrong)?,
        Type::UUID => ScalarValue::from(Uuid::from_slice(bytes).map_err(|_| wrong())?.to_string()),
        Type::JSONB => read_text(std::str::from_utf8(bytes.get(1..).unwrap_or_default()).map_err(|_| wrong())?, pg)?,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::JSON | Type::CHAR => {
            read_text(std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8")?, pg)?
        }
        _ => return Err("its binary form is not supported".to_owned()),
    })
}

/// Microseconds, days, months.
fn interval(bytes: &[u8]) -> Option<ScalarValue> {
    let (microseconds, rest) = bytes.split_first_chunk::<8>()?;
    let (days, months) = rest.split_first_chunk::<4>()?;
    let nanoseconds = i64::from_be_bytes(*microseconds).checked_mul(1_000)?;
    let (days, months) = (i32::from_be_bytes(*days), i32::from_be_bytes(months.try_into().ok()?));
    Some(ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(months, days, nanoseconds))))
}

fn list(items: Vec<ScalarValue>, item: &Type) -> Result<ScalarValue, String> {
    let data_type = items.first().map_or_else(|| parameter_type(item), ScalarValue::data_type);
    // Numbers bring their own digits.
    let items = items
        .iter()
        .map(|value| value.cast_to(&if data_type.is_decimal() { parameter_type(item) } else { data_type.clone() }));
    let items = items.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    let data_type = items.first().map_or_else(|| parameter_type(item), ScalarValue::data_type);
    Ok(ScalarValue::List(ScalarValue::new_list_nullable(&items, &data_type)))
}

/// Dimensions, flag, type; length and lower bound; items with their lengths, -1 for NULL.
fn binary_items(bytes: &[u8], item: &Type) -> Result<Vec<ScalarValue>, String> {
    let mut rest = bytes;
    let mut word = || -> Result<i32, String> {
        let (word, others) = rest.split_first_chunk::<4>().ok_or("it is cut off")?;
        rest = others;
        Ok(i32::from_be_bytes(*word))
    };
    let dimensions = word()?;
    let (_, _) = (word()?, word()?);
    match dimensions {
        0 => return Ok(Vec::new()),
        1 => {}
        _ => return Err("it has more than one dimension".to_owned()),
    }
    let (count, _) = (word()?, word()?);
    let mut items = Vec::new();
    for _ in 0..count {
        let (length, others) = rest.split_first_chunk::<4>().ok_or("it is cut off")?;
        let length = usize::try_from(i32::from_be_bytes(*length)).ok();
        let (value, others) = others.split_at_checked(length.unwrap_or(0)).ok_or("it is cut off")?;
        items.push(read(Sent { bytes: length.map(|_| value), is_binary: true }, item)?);
        rest = others;
    }
    Ok(items)
}

/// The items of `{a,"b c",NULL}`.
fn array_items(text: &str) -> Result<Vec<Option<String>>, String> {
    let inside = text.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let inside = inside.ok_or("an array is written {...}")?;
    let mut items = Vec::new();
    let mut characters = inside.chars().peekable();
    while characters.peek().is_some() {
        let (mut item, mut is_quoted) = (String::new(), false);
        while let Some(character) = characters.next_if(|character| *character != ',') {
            match character {
                '"' if item.trim().is_empty() => {
                    item = quoted(&mut characters)?;
                    is_quoted = true;
                    break;
                }
                '{' => return Err("it has more than one dimension".to_owned()),
                '\\' => item.extend(characters.next()),
                other => item.push(other),
            }
        }
        let is_null = !is_quoted && item.trim().eq_ignore_ascii_case("null");
        items.push((!is_null).then(|| if is_quoted { item } else { item.trim().to_owned() }));
        match characters.next() {
            None | Some(',') => {}
            Some(other) => return Err(format!("there is '{other}' after an item")),
        }
    }
    Ok(items)
}

fn quoted(characters: &mut impl Iterator<Item = char>) -> Result<String, String> {
    let mut item = String::new();
    while let Some(character) = characters.next() {
        match character {
            '"' => return Ok(item),
            '\\' => item.extend(characters.next()),
            other => item.push(other),
        }
    }
    Err("a quote is not closed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, pg: Type) -> String {
        read_text(text, &pg).unwrap().to_string()
    }

    #[test]
    fn numbers_keep_their_digits() {
        assert_eq!(number("12.340").unwrap(), ScalarValue::Decimal128(Some(12_340), 5, 3));
        assert_eq!(number("-0.05").unwrap(), ScalarValue::Decimal128(Some(-5), 2, 2));
        assert_eq!(number("1E+2").unwrap(), ScalarValue::Decimal128(Some(100), 3, 0));
        assert!(number("NaN").is_err() && number("1-2").is_err());
    }

    #[test]
    fn arrays_are_read_with_quotes_and_nulls() {
        let items = array_items(r#"{1, "a,\"b", NULL,"NULL"}"#).unwrap();
        let wanted = [Some("1"), Some("a,\"b"), None, Some("NULL")];
        assert_eq!(items, wanted.map(|item| item.map(str::to_owned)));
        assert_eq!(shown("{1,2}", Type::INT4_ARRAY), "[1, 2]");
        assert!(array_items("{}").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_value_is_refused() {
        assert!(read_text("tomorrowish", &Type::TIMESTAMP).is_err());
        assert!(read_text("maybe", &Type::BOOL).is_err());
        assert!(binary(&[1, 2, 3], &Type::INT4).is_err());
    }

    #[test]
    fn a_fraction_does_not_get_lost() {
        let whole = Field::new("$1", DataType::Int64, true);
        assert!(refuse_loss(&ScalarValue::from(3.5), &whole).is_err());
        assert!(refuse_loss(&ScalarValue::from(3.0), &whole).is_ok());
    }
}
