//! The 22 queries with the validation parameters of the specification, and the answers of an independent engine.
//!
//! Both are part of the binary, so that an installed one verifies without the source tree. The answers were made by
//! `sql-tests/answers/make.py`.

/// How many queries there are.
pub(crate) const COUNT: usize = 22;

/// A file for each query, embedded: `embedded!("before", "after")` is `["before01after", ...]` read.
macro_rules! embedded {
    ($before:literal, $after:literal) => {
        embedded!($before, $after, "01" "02" "03" "04" "05" "06" "07" "08" "09" "10" "11"
            "12" "13" "14" "15" "16" "17" "18" "19" "20" "21" "22")
    };
    ($before:literal, $after:literal, $($number:literal)*) => {
        [$(include_str!(concat!($before, $number, $after))),*]
    };
}

const QUERIES: [&str; COUNT] = embedded!("../../../queries/tpch/q", ".sql");
const ANSWERS_SF0_01: [&str; COUNT] = embedded!("../../../../sql-tests/answers/tpch/sf0.01/q", ".csv");
const ANSWERS_SF0_1: [&str; COUNT] = embedded!("../../../../sql-tests/answers/tpch/sf0.1/q", ".csv");
const ANSWERS_SF1: [&str; COUNT] = embedded!("../../../../sql-tests/answers/tpch/sf1/q", ".csv");

/// The fraction of query 11 at scale 1; the specification divides it by the scale.
const Q11_FRACTION: &str = "0.0001";

/// The text of query `number` (from 1) for this scale.
pub(crate) fn sql(number: usize, scale: f64) -> Option<String> {
    let text = QUERIES.get(number.checked_sub(1)?)?.trim_end();
    if number != 11 {
        return Some(text.to_owned());
    }
    let fraction = format!("{:.12}", 0.0001 / scale);
    Some(text.replace(Q11_FRACTION, fraction.trim_end_matches('0')))
}

/// The answer to query `number` (from 1), as CSV, at the scales that have answers.
pub(crate) fn answer(number: usize, scale: f64) -> Option<&'static str> {
    let scales = [(0.01, &ANSWERS_SF0_01), (0.1, &ANSWERS_SF0_1), (1.0, &ANSWERS_SF1)];
    let (_, answers) = scales.into_iter().find(|(known, _)| *known == scale)?;
    answers.get(number.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_11_takes_the_fraction_of_its_scale() {
        for (scale, fraction) in [(0.01, " * 0.01\n"), (1.0, " * 0.0001\n"), (10.0, " * 0.00001\n")] {
            assert!(sql(11, scale).unwrap().contains(fraction), "scale {scale}");
        }
        assert_eq!(QUERIES.iter().filter(|text| text.contains(Q11_FRACTION)).count(), 1);
        assert_eq!(QUERIES[10].matches(Q11_FRACTION).count(), 1);
    }

    #[test]
    fn numbers_out_of_range_are_no_query() {
        assert!(sql(0, 1.0).is_none() && sql(23, 1.0).is_none() && answer(0, 1.0).is_none());
    }
}
