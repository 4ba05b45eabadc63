//! Values that `arrow-pg` does not write as drivers expect them: numbers of any length, and floating point.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use pgwire::types::ToSqlText;
use pgwire::types::format::FormatOptions;
use postgres_types::{IsNull, ToSql, Type, to_sql_checked};

type Written = Result<IsNull, Box<dyn Error + Sync + Send>>;

/// Decimal digits of one digit on the wire.
const GROUP: usize = 4;

/// A number, as text in plain notation.
#[derive(Debug)]
pub(super) struct Decimal(pub(super) String);

impl ToSqlText for Decimal {
    fn to_sql_text(&self, _: &Type, out: &mut BytesMut, _: &FormatOptions) -> Written {
        out.put_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }
}

impl ToSql for Decimal {
    /// Groups of four digits around the point, the weight of the first, the sign, and the digits after the point.
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Written {
        let (sign, digits) = match self.0.strip_prefix('-') {
            Some(digits) => (0x4000, digits),
            None => (0, self.0.as_str()),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let whole = format!("{}{whole}", "0".repeat((GROUP - whole.len() % GROUP) % GROUP));
        let after = format!("{fraction}{}", "0".repeat((GROUP - fraction.len() % GROUP) % GROUP));
        let all = format!("{whole}{after}");
        let groups: Vec<i16> = (0..all.len() / GROUP)
            .map(|group| all[group * GROUP..(group + 1) * GROUP].parse().map_err(|_| "a number has other than digits"))
            .collect::<Result<_, _>>()?;
        let leading = groups.iter().take_while(|group| **group == 0).count();
        let trailing = groups[leading..].iter().rev().take_while(|group| **group == 0).count();
        let kept = &groups[leading..groups.len() - trailing];
        out.put_i16(kept.len() as i16);
        out.put_i16((whole.len() / GROUP) as i16 - 1 - leading as i16);
        out.put_u16(if kept.is_empty() { 0 } else { sign });
        out.put_i16(fraction.len() as i16);
        kept.iter().for_each(|group| out.put_i16(*group));
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// The text of a number in binary form.
pub(super) fn decimal_text(bytes: &[u8]) -> Option<String> {
    let words: Vec<i16> = bytes.chunks_exact(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]])).collect();
    let [count, weight, sign, scale, groups @ ..] = words.as_slice() else { return None };
    let (count, scale) = (usize::try_from(*count).ok()?, usize::try_from(*scale).ok()?);
    // Anything else is no number, or infinite.
    let sign = match sign {
        0 => "",
        0x4000 => "-",
        _ => return None,
    };
    let group = |at: i32| usize::try_from(at).ok().filter(|at| *at < count).and_then(|at| groups.get(at)).copied();
    let four = |at: i32| format!("{:04}", group(at).unwrap_or(0));
    let weight = i32::from(*weight);
    let whole: String = (0..=weight).map(four).collect();
    let whole = whole.trim_start_matches('0');
    let mut fraction: String = (0..scale.div_ceil(GROUP) as i32).map(|at| four(weight + 1 + at)).collect();
    fraction.truncate(scale);
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{sign}{}{point}{fraction}", if whole.is_empty() { "0" } else { whole }))
}

/// A floating point number with the text that PostgreSQL has for it.
#[derive(Debug)]
pub(super) struct Float<T>(pub(super) T);

impl<T: ToSql + Into<f64> + Copy + std::fmt::Display + std::fmt::LowerExp> ToSqlText for Float<T> {
    fn to_sql_text(&self, _: &Type, out: &mut BytesMut, _: &FormatOptions) -> Written {
        let (value, size) = (self.0, self.0.into().abs());
        let text = match size {
            _ if size.is_nan() => "NaN".to_owned(),
            f64::INFINITY => if value.into() > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
            _ if size != 0.0 && !(1e-4..1e15).contains(&size) => exponent(&format!("{value:e}")),
            _ => value.to_string(),
        };
        out.put_slice(text.as_bytes());
        Ok(IsNull::No)
    }
}

/// `1e+16`, not `1e16`, and at least two digits.
fn exponent(text: &str) -> String {
    let Some((digits, exponent)) = text.split_once('e') else { return text.to_owned() };
    let (sign, power) = exponent.strip_prefix('-').map_or(('+', exponent), |power| ('-', power));
    format!("{digits}e{sign}{power:0>2}")
}

impl<T: ToSql> ToSql for Float<T> {
    fn to_sql(&self, pg: &Type, out: &mut BytesMut) -> Written {
        self.0.to_sql(pg, out)
    }

    fn accepts(pg: &Type) -> bool {
        T::accepts(pg)
    }

    to_sql_checked!();
}

/// Text that is already as the client takes it.
#[derive(Debug)]
pub(super) struct Raw(pub(super) String);

impl ToSqlText for Raw {
    fn to_sql_text(&self, _: &Type, out: &mut BytesMut, _: &FormatOptions) -> Written {
        out.put_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }
}

impl ToSql for Raw {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Written {
        out.put_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_comes_back_from_its_binary_form() {
        for text in ["0", "1", "-1", "12345", "10000", "0.0001", "-0.5", "123456789.0120", "100000000.00", "0.00"] {
            let mut bytes = BytesMut::new();
            Decimal(text.to_owned()).to_sql(&Type::NUMERIC, &mut bytes).unwrap();
            assert_eq!(decimal_text(&bytes).unwrap(), text);
        }
    }

    #[test]
    fn floats_have_the_text_that_drivers_read() {
        let text = |value: f64| {
            let mut bytes = BytesMut::new();
            Float(value).to_sql_text(&Type::FLOAT8, &mut bytes, &FormatOptions::default()).unwrap();
            String::from_utf8(bytes.to_vec()).unwrap()
        };
        assert_eq!(text(1.0), "1");
        assert_eq!(text(0.1), "0.1");
        assert_eq!(text(1e16), "1e+16");
        assert_eq!(text(-2.5e-7), "-2.5e-07");
        assert_eq!(text(f64::NEG_INFINITY), "-Infinity");
    }
}
