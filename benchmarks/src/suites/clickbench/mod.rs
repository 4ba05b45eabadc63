//! What a web analyst asks of a log of page views: 43 questions of the kinds that ClickBench asks
//! (<https://github.com/ClickHouse/ClickBench>), over a table of the same character, made here.
//!
//! The table `hits` has a row a page view and 45 columns: keys and texts whose frequent values are very frequent and
//! whose rare ones are many, most search phrases empty, rows about in the order of time. Neither rows nor questions are
//! ClickBench's: where those leave the choice among tying rows to the engine, these have one right answer.

mod columns;
mod hit;
mod page;
mod visitor;

use std::ops::Range;

use arrow::array::{RecordBatch, RecordBatchIterator, RecordBatchReader};
use arrow::error::ArrowError;

use self::hit::Log;
use super::questions::questions;
use super::suite::{TablePart, unreadable};

/// The one table.
pub(crate) const TABLES: [&str; 1] = ["hits"];

/// All questions.
pub(crate) const QUERIES: [&str; 43] = questions!("clickbench":
    "01" "02" "03" "04" "05" "06" "07" "08" "09" "10" "11" "12" "13" "14" "15"
    "16" "17" "18" "19" "20" "21" "22" "23" "24" "25" "26" "27" "28" "29" "30"
    "31" "32" "33" "34" "35" "36" "37" "38" "39" "40" "41" "42" "43"
);

/// Rows at scale 1.
const ROWS: f64 = 1e6;
/// Rows that are made at once.
const BATCH_ROWS: u64 = 8_192;

/// Rows at this scale.
pub(crate) fn rows(scale: f64) -> u64 {
    (ROWS * scale) as u64
}

/// Generates the rows of a part.
pub(crate) fn read(part: TablePart, scale: f64) -> Box<dyn RecordBatchReader + Send> {
    let log = Log::of(rows(scale));
    let Range { start, end } = part.cut(rows(scale));
    let starts = (start..end).step_by(BATCH_ROWS as usize);
    let batch = move |start: u64| batch(&log, start..end.min(start + BATCH_ROWS));
    match batch(start) {
        Ok(sample) => Box::new(RecordBatchIterator::new(starts.map(batch), sample.schema())),
        Err(error) => unreadable(error),
    }
}

fn batch(log: &Log, rows: Range<u64>) -> Result<RecordBatch, ArrowError> {
    let hits: Vec<_> = rows.map(|row| log.hit(row)).collect();
    RecordBatch::try_from_iter(columns::columns(&hits))
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use arrow::array::AsArray;
    use arrow::compute::concat_batches;
    use arrow::datatypes::{Date32Type, Int16Type, Int32Type, Int64Type};

    use super::*;
    use crate::suites::Suite;

    const SCALE: f64 = 0.02;

    fn part(number: i32, count: i32) -> RecordBatch {
        let reader = read(TablePart { suite: Suite::Clickbench, table: "hits", number, count }, SCALE);
        let schema = reader.schema();
        concat_batches(&schema, &reader.collect::<Result<Vec<_>, _>>().unwrap()).unwrap()
    }

    #[test]
    fn parts_make_up_the_table_whatever_their_number() {
        let parts: Vec<_> = (1..=3).map(|number| part(number, 3)).collect();
        let whole = part(1, 1);
        assert_eq!(concat_batches(&whole.schema(), &parts).unwrap(), whole);
        assert_eq!(whole.num_rows() as u64, rows(SCALE));
    }

    #[test]
    fn frequent_values_are_frequent_and_rare_ones_many() {
        let whole = part(1, 1);
        let mut sites = HashMap::new();
        for site in whole["counter_id"].as_primitive::<Int32Type>().values() {
            *sites.entry(*site).or_insert(0_usize) += 1;
        }
        assert!(sites[&page::counter(0)] > whole.num_rows() / 30 && sites.len() > 500, "{}", sites.len());
        let days = whole["event_date"].as_primitive::<Date32Type>().values();
        assert_eq!(days.iter().collect::<HashSet<_>>().len(), 31);
        let widths = whole["window_client_width"].as_primitive::<Int16Type>().values();
        assert!(widths.iter().all(|width| (300..3_000).contains(width)));
        let phrases = whole["search_phrase"].as_string::<i32>();
        let searched = phrases.iter().flatten().filter(|phrase| !phrase.is_empty()).count();
        assert!((0.1..0.2).contains(&(searched as f64 / whole.num_rows() as f64)), "{searched}");
        let watches = whole["watch_id"].as_primitive::<Int64Type>().values();
        assert_eq!(watches.iter().collect::<HashSet<_>>().len(), whole.num_rows());
    }
}
