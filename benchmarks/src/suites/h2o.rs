//! Groups and joins, as dataframes are asked for them: the questions of H2O.ai's database-like operations benchmark
//! (<https://h2oai.github.io/db-benchmark/>) over tables of the same shape, made here.
//!
//! A question there makes a table of up to all rows, which is then summed up to check it. Here it is one statement: sums
//! over the rows of the question. That keeps the work, and leaves the client a line to compare.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, RecordBatchIterator, RecordBatchReader, StringArray,
};
use arrow::error::ArrowError;

use super::questions::questions;
use super::suite::{TablePart, unreadable};

/// All tables, the largest first: groups are asked of `x`, joins of `lhs` with the three others.
pub(crate) const TABLES: [&str; 5] = ["x", "lhs", "big", "medium", "small"];

/// Rows of the largest tables at scale 1.
const ROWS: f64 = 1e7;
/// Different values of the columns that make large groups.
const LARGE_GROUPS: u64 = 100;
/// How many times as many rows as `medium` the large tables have, and `medium` as `small`.
const STEP: u64 = 1_000;
/// Rows that are made at once.
const BATCH_ROWS: u64 = 8_192;

/// Ten questions about groups, five about joins.
pub(crate) const QUERIES: [&str; 15] =
    questions!("h2o": "01" "02" "03" "04" "05" "06" "07" "08" "09" "10" "11" "12" "13" "14" "15");

/// Rows of a table at this scale.
pub(crate) fn rows(table: &str, scale: f64) -> u64 {
    let rows = (ROWS * scale) as u64;
    match table {
        "small" => rows / (STEP * STEP),
        "medium" => rows / STEP,
        _ => rows,
    }
    .max(1)
}

/// Generates the rows of a part.
pub(crate) fn read(part: TablePart, scale: f64) -> Box<dyn RecordBatchReader + Send> {
    let Range { start: first, end } = part.cut(rows(part.table, scale));
    let starts = (first..end).step_by(BATCH_ROWS as usize);
    let batch = move |start: u64| batch(part.table, start..end.min(start + BATCH_ROWS), scale);
    match batch(first) {
        Ok(sample) => Box::new(RecordBatchIterator::new(starts.map(batch), sample.schema())),
        Err(error) => unreadable(error),
    }
}

fn batch(table: &str, rows: Range<u64>, scale: f64) -> Result<RecordBatch, ArrowError> {
    let columns = match table {
        "x" => groups(rows, scale),
        "lhs" => left(rows, scale),
        _ => right(table, rows, scale),
    };
    RecordBatch::try_from_iter(columns)
}

type Columns = Vec<(&'static str, ArrayRef)>;

/// Numbers that only the table, the row and the column decide.
fn random(table: u64, rows: &Range<u64>) -> fastrand::Rng {
    fastrand::Rng::with_seed(table << 48 ^ rows.start)
}

fn integers(rows: &Range<u64>, mut value: impl FnMut(u64) -> u64) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(rows.clone().map(|row| value(row) as i64)))
}

fn texts(rows: &Range<u64>, digits: usize, mut value: impl FnMut(u64) -> u64) -> ArrayRef {
    let text = |row| format!("id{:0digits$}", value(row));
    Arc::new(StringArray::from_iter_values(rows.clone().map(text)))
}

fn floats(rows: &Range<u64>, random: &mut fastrand::Rng) -> ArrayRef {
    let value = |_| (random.f64() * 1e8).round() / 1e6;
    Arc::new(Float64Array::from_iter_values(rows.clone().map(value)))
}

fn groups(rows: Range<u64>, scale: f64) -> Columns {
    let mut random = random(1, &rows);
    let small_groups = (self::rows("x", scale) / LARGE_GROUPS).max(1);
    vec![
        ("id1", texts(&rows, 3, |_| random.u64(1..=LARGE_GROUPS))),
        ("id2", texts(&rows, 3, |_| random.u64(1..=LARGE_GROUPS))),
        ("id3", texts(&rows, 10, |_| random.u64(1..=small_groups))),
        ("id4", integers(&rows, |_| random.u64(1..=LARGE_GROUPS))),
        ("id5", integers(&rows, |_| random.u64(1..=LARGE_GROUPS))),
        ("id6", integers(&rows, |_| random.u64(1..=small_groups))),
        ("v1", integers(&rows, |_| random.u64(1..=5))),
        ("v2", integers(&rows, |_| random.u64(1..=15))),
        ("v3", floats(&rows, &mut random)),
    ]
}

fn left(rows: Range<u64>, scale: f64) -> Columns {
    let mut random = random(2, &rows);
    let keys = ["small", "medium", "big"].map(|table| {
        let most = self::rows(table, scale);
        rows.clone().map(|_| random.u64(1..=most)).collect::<Vec<_>>()
    });
    let key = |table: usize| (&keys[table], rows.start);
    let at = |(keys, start): (&Vec<u64>, u64), row: u64| keys[(row - start) as usize];
    vec![
        ("id1", integers(&rows, |row| at(key(0), row))),
        ("id2", integers(&rows, |row| at(key(1), row))),
        ("id3", integers(&rows, |row| at(key(2), row))),
        ("id4", texts(&rows, 1, |row| at(key(0), row))),
        ("id5", texts(&rows, 1, |row| at(key(1), row))),
        ("id6", texts(&rows, 1, |row| at(key(2), row))),
        ("v1", floats(&rows, &mut random)),
    ]
}

/// Each key once. Nine of ten keys of the left side are there.
fn right(table: &str, rows: Range<u64>, scale: f64) -> Columns {
    let (number, levels) = match table {
        "small" => (3, 1),
        "medium" => (4, 2),
        _ => (5, 3),
    };
    let mut random = random(number, &rows);
    let most = self::rows(table, scale);
    // A prime step goes round all rows in an order that is not theirs.
    let key = |row: u64| (row * 7_919) % most + 1 + most / 10;
    let of = |level: usize| self::rows(["small", "medium", "big"][level], scale);
    let mut columns = Columns::new();
    for (level, (number, text)) in [("id1", "id4"), ("id2", "id5"), ("id3", "id6")].into_iter().enumerate().take(levels)
    {
        let value = |row: u64| if level + 1 == levels { key(row) } else { row % of(level) + 1 };
        columns.push((number, integers(&rows, value)));
        columns.push((text, texts(&rows, 1, value)));
    }
    columns.push(("v2", floats(&rows, &mut random)));
    columns
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::suites::Suite;

    fn part(table: &'static str, number: i32, count: i32) -> Vec<RecordBatch> {
        let part = TablePart { suite: Suite::H2o, table, number, count };
        read(part, 0.01).collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn parts_make_up_the_table() {
        for table in TABLES {
            let count = |batches: Vec<RecordBatch>| batches.iter().map(RecordBatch::num_rows).sum::<usize>();
            let parts: usize = (1..=3).map(|number| count(part(table, number, 3))).sum();
            assert_eq!(parts as u64, rows(table, 0.01), "{table}");
        }
        assert_eq!(part("x", 2, 3), part("x", 2, 3));
    }

    #[test]
    fn a_key_of_the_right_side_is_there_once() {
        let keys = part("big", 1, 1);
        let keys = keys.iter().flat_map(|batch| batch["id3"].as_primitive::<Int64Type>().values().to_vec());
        let keys: Vec<_> = keys.collect();
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
        let there = keys.iter().filter(|key| **key as u64 <= rows("lhs", 0.01)).count();
        assert_eq!(there, keys.len() * 9 / 10);
    }
}
