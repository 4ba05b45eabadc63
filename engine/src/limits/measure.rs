//! How the value of a limit is written: a number, or a number with a unit.

use bytesize::ByteSize;

use crate::limits::{Limit, Unit};
use crate::{Error, Result};

/// The value that `text` gives to `limit`: `20`, `'10GB'`, `'5min'`; 0 is no limit.
///
/// # Errors
/// `Invalid` for anything else, saying what can be written.
pub(crate) fn parse(limit: Limit, text: &str) -> Result<u64> {
    let text = text.trim();
    let number = text.parse::<u64>().ok();
    let value = match limit.facts().unit {
        Unit::Count => number,
        Unit::Bytes => number.or_else(|| text.parse::<ByteSize>().ok().map(|size| size.as_u64())),
        Unit::Seconds => number.or_else(|| seconds(text)),
    };
    value.ok_or_else(|| {
        let like = match limit.facts().unit {
            Unit::Count => "a whole number, such as 100",
            Unit::Bytes => "a number of bytes, such as 1000000 or '10GB'",
            Unit::Seconds => "a number of seconds, such as 90 or '5min'",
        };
        Error::invalid(format!("{limit} is {like} (0 is no limit), not '{text}'"))
    })
}

fn seconds(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim() {
        "s" => 1,
        "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_units() {
        assert_eq!(parse(Limit::Memory, "10GB").unwrap(), 10_000_000_000);
        assert_eq!(parse(Limit::Memory, "2 MiB").unwrap(), 2 << 20);
        assert_eq!(parse(Limit::QueryRuntime, "5min").unwrap(), 300);
        assert_eq!(parse(Limit::QueryRuntime, "0").unwrap(), 0);
        for (limit, text) in [
            (Limit::Memory, "-1"),
            (Limit::Memory, "much"),
            (Limit::QueryRuntime, "5GB"),
            (Limit::QueryRuntime, "99999999999999999999d"),
            (Limit::ResultRows, "1.5"),
            (Limit::ResultRows, ""),
        ] {
            let refused = parse(limit, text).unwrap_err();
            assert!(refused.message.contains("such as"), "{}", refused.message);
        }
    }
}
