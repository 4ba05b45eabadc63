//! Compares a result with the answer of an independent engine.
//!
//! The rules, all of which can fail:
//! 1. Columns have the same names in the same order, and kinds that can be compared.
//! 2. Text, dates, integers and decimals are equal; a decimal may have more or fewer trailing zeros.
//! 3. Where the answer is a floating point number, the result may differ by [`RELATIVE_TOLERANCE`], and, if it is a
//!    decimal of at least [`DECIMAL_PLACES_MIN`] places, by one unit in the last: engines differ in what they divide
//!    decimals to.
//! 4. The order is checked as far as ORDER BY determines it: the sort keys of the result are those of the answer, row
//!    by row, and rows that tie may come in any order.
//! 5. Where LIMIT cuts among tying rows, the answer holds all of them and the result may hold any.

use super::table::{Column, Kind, Table};

/// How far apart two floating point numbers may be, of the larger: sums in another order differ in the last digits.
const RELATIVE_TOLERANCE: f64 = 1e-9;
/// Fewer digits after the point would make one unit in the last place too lenient.
const DECIMAL_PLACES_MIN: i8 = 4;

/// Tells the first difference of `actual` from `expected`; nothing if there is none.
pub(crate) fn difference(
    expected: &Table,
    actual: &Table,
    sort_columns: &[&str],
    limit: Option<usize>,
) -> Option<String> {
    let rules = match rules(&expected.columns, &actual.columns) {
        Ok(rules) => rules,
        Err(difference) => return Some(difference),
    };
    let rows = expected.rows.len().min(limit.unwrap_or(usize::MAX));
    if actual.rows.len() != rows {
        return Some(format!("{rows} rows expected, {} returned", actual.rows.len()));
    }
    let Some(keys) = sort_columns.iter().map(|name| expected.index_of(name)).collect::<Option<Vec<_>>>() else {
        return Some(format!("the answer lacks a column of ORDER BY {}", sort_columns.join(", ")));
    };
    let comparison = Comparison { expected, actual, rules, keys };
    comparison.key_difference().or_else(|| comparison.row_difference())
}

/// The output columns that a query sorts by, in that order, up to the first key that is no plain column.
pub(crate) fn sort_columns(sql: &str) -> Vec<&str> {
    let Some((_, order)) = sql.rsplit_once("\norder by\n") else { return Vec::new() };
    let order = order.split_once("\nlimit ").map_or(order, |(order, _)| order);
    order.split(',').map_while(plain_column).collect()
}

/// The column of a key such as `total desc nulls first`; nothing for an expression.
fn plain_column(key: &str) -> Option<&str> {
    let mut words = key.split_whitespace();
    let column = words.next().filter(|word| word.chars().all(|c| c.is_alphanumeric() || c == '_'))?;
    words.all(|word| matches!(word, "asc" | "desc" | "nulls" | "first" | "last")).then_some(column)
}

/// The most rows that a query may give.
pub(crate) fn limit(sql: &str) -> Option<usize> {
    sql.rsplit_once("\nlimit ")?.1.trim().parse().ok()
}

/// How two cells of one column are compared.
#[derive(Debug, Clone, Copy)]
enum Rule {
    Equal,
    Near {
        /// One unit in the last place of a decimal; 0 for floating point.
        unit: f64,
    },
}

fn rules(expected: &[Column], actual: &[Column]) -> Result<Vec<Rule>, String> {
    let names = |columns: &[Column]| columns.iter().map(|c| c.name.clone()).collect::<Vec<_>>().join(", ");
    if names(expected) != names(actual) {
        return Err(format!("columns {} expected, {} returned", names(expected), names(actual)));
    }
    expected.iter().zip(actual).map(|(expected, actual)| rule(expected, actual)).collect()
}

fn rule(expected: &Column, actual: &Column) -> Result<Rule, String> {
    match (expected.kind, actual.kind) {
        (Kind::Approximate, Kind::Approximate) => Ok(Rule::Near { unit: 0.0 }),
        (Kind::Approximate, Kind::Exact) => {
            let places = actual.decimal_places.filter(|places| *places >= DECIMAL_PLACES_MIN);
            Ok(Rule::Near { unit: places.map_or(0.0, |places| 10_f64.powi(-i32::from(places))) })
        }
        (expected, actual) if expected == actual => Ok(Rule::Equal),
        (kind, other) => Err(format!("column {}: {kind:?} expected, {other:?} returned", expected.name)),
    }
}

struct Comparison<'a> {
    expected: &'a Table,
    actual: &'a Table,
    rules: Vec<Rule>,
    /// The columns that ORDER BY names; none if the order is free.
    keys: Vec<usize>,
}

type Row = [Option<String>];

impl Comparison<'_> {
    /// The answer is sorted, so equal keys row by row mean that the result is sorted too.
    fn key_difference(&self) -> Option<String> {
        let mut rows = self.expected.rows.iter().zip(&self.actual.rows);
        let row = rows.position(|(expected, actual)| !self.same(expected, actual, self.keys.iter()))?;
        Some(self.describe(row, "in ORDER BY"))
    }

    /// Each run of tying rows of the result must be among the rows of the answer with those keys.
    fn row_difference(&self) -> Option<String> {
        let mut start = 0;
        while start < self.actual.rows.len() {
            let ties = |row: &Vec<_>| self.same(&self.expected.rows[start], row, self.keys.iter());
            let end = start + self.expected.rows[start..].iter().take_while(|row| ties(row)).count();
            let mut unmatched: Vec<_> = self.expected.rows[start..end].iter().collect();
            for row in start..end.min(self.actual.rows.len()) {
                let actual = &self.actual.rows[row];
                let found = unmatched.iter().position(|expected| self.same(expected, actual, &self.all_columns()));
                let Some(found) = found else { return Some(self.describe(row, "in the row")) };
                unmatched.swap_remove(found);
            }
            start = end;
        }
        None
    }

    fn all_columns(&self) -> Vec<usize> {
        (0..self.rules.len()).collect()
    }

    fn same<'i>(&self, expected: &Row, actual: &Row, columns: impl IntoIterator<Item = &'i usize>) -> bool {
        columns.into_iter().all(|&column| match (&expected[column], &actual[column]) {
            (Some(expected), Some(actual)) => same_cell(expected, actual, self.rules[column]),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        })
    }

    fn describe(&self, row: usize, place: &str) -> String {
        let text = |row: &Row| row.iter().map(|cell| cell.as_deref().unwrap_or("NULL")).collect::<Vec<_>>().join(" | ");
        let (expected, actual) = (text(&self.expected.rows[row]), text(&self.actual.rows[row]));
        format!("row {} differs {place}: {expected} expected, {actual} returned", row + 1)
    }
}

fn same_cell(expected: &str, actual: &str, rule: Rule) -> bool {
    match rule {
        Rule::Equal => expected == actual,
        Rule::Near { unit } => match (expected.parse::<f64>(), actual.parse::<f64>()) {
            (Ok(expected), Ok(actual)) => {
                let tolerance = unit + RELATIVE_TOLERANCE * expected.abs().max(actual.abs());
                (expected - actual).abs() <= tolerance || (expected.is_nan() && actual.is_nan())
            }
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suites::Suite;

    const ANSWER: &str = "name:text,day:date,count:int,total:decimal,share:float\n\
        a,1995-01-01,3,10.50,0.25\n\
        b,1995-01-02,2,10.00,0.3333333333333333\n\
        c,1995-01-02,1,10.00,\\N\n\
        d,1995-01-03,1,10.00,1e30\n";

    fn answer() -> Table {
        Table::from_answer(ANSWER).unwrap()
    }

    fn altered(change: impl FnOnce(&mut Table)) -> Option<String> {
        let mut actual = answer();
        change(&mut actual);
        difference(&answer(), &actual, &["total"], None)
    }

    fn set(row: usize, column: usize, value: &str) -> impl FnOnce(&mut Table) {
        move |table| table.rows[row][column] = Some(value.to_owned())
    }

    #[test]
    fn sort_keys_and_limits_are_read_from_the_text() {
        let sql = |number| Suite::Tpch.sql(number, 1.0).unwrap();
        assert_eq!(sort_columns(&sql(2)), ["s_acctbal", "n_name", "s_name", "p_partkey"]);
        assert_eq!(sort_columns(&sql(6)), [""; 0]);
        assert_eq!(limit(&sql(2)), Some(100));
        assert_eq!(limit(&sql(1)), None);
        let limited = (1..=Suite::Tpch.queries()).filter(|&n| limit(&sql(n)).is_some()).collect::<Vec<_>>();
        assert_eq!(limited, [2, 3, 10, 18, 21]);
        assert_eq!(sort_columns("\norder by\n    a desc nulls first,\n    b,\n    b - c,\n    d"), ["a", "b"]);
        assert_eq!(sort_columns("select rank() over (\n    order by\n        a\n) from t"), [""; 0]);
        let unsorted = (1..=Suite::Tpch.queries()).filter(|&n| sort_columns(&sql(n)).is_empty()).collect::<Vec<_>>();
        assert_eq!(unsorted, [6, 14, 17, 19]);
    }

    #[test]
    fn the_answer_itself_passes() {
        assert_eq!(altered(|_| {}), None);
    }

    #[test]
    fn every_altered_cell_is_found() {
        for row in 0..4 {
            for (column, value) in ["A", "1995-01-04", "4", "10.01", "0.2500001"].into_iter().enumerate() {
                assert!(altered(set(row, column, value)).is_some(), "row {row}, column {column}");
                assert!(altered(|t| t.rows[row][column] = t.rows[row][column].take().xor(Some("0".into()))).is_some());
            }
        }
    }

    #[test]
    fn rounding_of_floating_point_is_no_difference() {
        assert_eq!(altered(set(1, 4, "0.33333333333333337")), None);
        assert_eq!(altered(set(3, 4, "1.0000000001e30")), None);
        assert!(altered(set(3, 4, "1.00001e30")).is_some());
        assert!(altered(set(3, 4, "NaN")).is_some());
    }

    #[test]
    fn a_decimal_for_a_floating_point_number_may_round_its_last_place_only() {
        let as_decimal = |share: &str, places| {
            let mut actual = answer();
            actual.columns[4] = Column { name: "share".into(), kind: Kind::Exact, decimal_places: Some(places) };
            actual.rows[1][4] = Some(share.to_owned());
            difference(&answer(), &actual, &["total"], None)
        };
        assert_eq!(as_decimal("0.333333", 6), None);
        assert_eq!(as_decimal("0.333334", 6), None);
        assert!(as_decimal("0.333335", 6).is_some());
        assert!(as_decimal("0.33", 2).is_some());
    }

    #[test]
    fn missing_doubled_and_additional_rows_are_found() {
        assert!(altered(|t| drop(t.rows.pop())).is_some());
        assert!(altered(|t| t.rows.push(t.rows[3].clone())).is_some());
        assert!(altered(|t| t.rows[2] = t.rows[1].clone()).is_some());
        assert!(altered(|t| t.rows.clear()).is_some());
    }

    #[test]
    fn only_ties_may_change_places() {
        assert_eq!(altered(|t| t.rows.swap(1, 3)), None);
        assert!(altered(|t| t.rows.swap(0, 1)).is_some());
    }

    #[test]
    fn a_limit_among_ties_takes_any_of_them() {
        let of = |rows: &[usize]| {
            let mut actual = answer();
            actual.rows = rows.iter().map(|&row| answer().rows[row].clone()).collect();
            difference(&answer(), &actual, &["total"], Some(3))
        };
        for right in [[0, 1, 2], [0, 3, 1], [0, 2, 3]] {
            assert_eq!(of(&right), None, "{right:?}");
        }
        for wrong in [&[0, 1, 1][..], &[1, 2, 3], &[0, 1], &[0, 1, 2, 3]] {
            assert!(of(wrong).is_some(), "{wrong:?}");
        }
    }

    #[test]
    fn columns_must_have_the_names_and_kinds_of_the_answer() {
        assert!(altered(|t| t.columns[0].name = "nom".into()).is_some());
        assert!(altered(|t| t.columns[2].kind = Kind::Text).is_some());
        assert!(altered(|t| t.columns[2].kind = Kind::Approximate).is_some());
        assert!(altered(|t| t.columns.swap(0, 1)).is_some());
    }

    #[test]
    fn every_answer_can_be_read_and_passes_its_own_rules() {
        for scale in [0.01, 0.1, 1.0] {
            for number in 1..=Suite::Tpch.queries() {
                let sql = Suite::Tpch.sql(number, scale).unwrap();
                let keys = sort_columns(&sql);
                let expected = Table::from_answer(Suite::Tpch.answer(number, scale).unwrap()).unwrap();
                let mut actual = expected.clone();
                actual.rows.truncate(limit(&sql).unwrap_or(usize::MAX));
                let of = |actual: &Table| difference(&expected, actual, &keys, limit(&sql));
                assert_eq!(of(&actual), None, "query {number} at {scale}");
                actual.rows[0][0] = Some("altered".into());
                assert!(of(&actual).is_some(), "query {number} at {scale}");
            }
        }
    }
}
