//! What a suite is made of: tables, of which any part can be made by itself, and questions about them.

use std::fmt::Display;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{RecordBatchIterator, RecordBatchReader};
use arrow::datatypes::Schema;
use arrow::error::ArrowError;

use super::{clickbench, h2o, tpcds, tpch};

/// A set of questions about generated tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// TPC-H: 22 questions of a wholesale supplier.
    Tpch,
    /// TPC-DS: 99 questions of a retailer.
    Tpcds,
    /// What dataframes are asked: groups and joins of one wide table, after the database-like operations benchmark of
    /// H2O.ai.
    H2o,
    /// What a web analyst asks of a log of page views, after ClickBench.
    Clickbench,
}

/// One of the equal parts that a table is generated in; the parts one after the other are the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TablePart {
    pub(crate) suite: Suite,
    pub(crate) table: &'static str,
    /// From 1.
    pub(crate) number: i32,
    pub(crate) count: i32,
}

impl Suite {
    /// As files and schemas are named after it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tpch => "tpch",
            Self::Tpcds => "tpcds",
            Self::H2o => "h2o",
            Self::Clickbench => "clickbench",
        }
    }

    /// Names of the tables, the largest first: while the last parts of it are encoded, other cores take small tables.
    pub(crate) fn tables(self) -> &'static [&'static str] {
        match self {
            Self::Tpch => &tpch::TABLES,
            Self::Tpcds => &tpcds::TABLES,
            Self::H2o => &h2o::TABLES,
            Self::Clickbench => &clickbench::TABLES,
        }
    }

    /// Rows of a table at this scale, or about as many.
    pub(crate) fn rows(self, table: &str, scale: f64) -> u64 {
        match self {
            Self::Tpch => tpch::rows(table, scale),
            Self::Tpcds => tpcds::rows(table, scale),
            Self::H2o => h2o::rows(table, scale),
            Self::Clickbench => clickbench::rows(scale),
        }
    }

    /// How many queries there are.
    pub(crate) fn queries(self) -> usize {
        match self {
            Self::Tpch => tpch::QUERIES,
            Self::Tpcds => tpcds::QUERIES.len(),
            Self::H2o => h2o::QUERIES.len(),
            Self::Clickbench => clickbench::QUERIES.len(),
        }
    }

    /// The text of query `number` (from 1) for this scale.
    pub(crate) fn sql(self, number: usize, scale: f64) -> Option<String> {
        match self {
            Self::Tpch => tpch::sql(number, scale),
            Self::Tpcds => text(&tpcds::QUERIES, number),
            Self::H2o => text(&h2o::QUERIES, number),
            Self::Clickbench => text(&clickbench::QUERIES, number),
        }
    }

    /// The answer to query `number` (from 1), as CSV, at the scales that have answers.
    pub(crate) fn answer(self, number: usize, scale: f64) -> Option<&'static str> {
        match self {
            Self::Tpch => tpch::answer(number, scale),
            Self::Tpcds | Self::H2o | Self::Clickbench => None,
        }
    }
}

fn text(queries: &[&str], number: usize) -> Option<String> {
    queries.get(number.checked_sub(1)?).map(|sql| sql.trim_end().to_owned())
}

impl Display for Suite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tpch => "TPC-H",
            Self::Tpcds => "TPC-DS",
            Self::H2o => "H2O",
            Self::Clickbench => "ClickBench",
        })
    }
}

impl TablePart {
    /// Which of `rows` rows are in this part, from 0.
    pub(crate) fn cut(self, rows: u64) -> Range<u64> {
        let of = |number: i32| u128::try_from(number).unwrap_or(0);
        let at = |number: i32| (u128::from(rows) * of(number) / of(self.count).max(1)) as u64;
        at(self.number - 1)..at(self.number)
    }

    /// Generates the rows of this part.
    pub(crate) fn read(self, scale: f64) -> Box<dyn RecordBatchReader + Send> {
        match self.suite {
            Suite::Tpch => tpch::read(self, scale),
            Suite::Tpcds => tpcds::read(self, scale),
            Suite::H2o => h2o::read(self, scale),
            Suite::Clickbench => clickbench::read(self, scale),
        }
    }
}

/// A part that cannot be made.
pub(crate) fn unreadable(error: ArrowError) -> Box<dyn RecordBatchReader + Send> {
    Box::new(RecordBatchIterator::new([Err(error)], Arc::new(Schema::empty())))
}
