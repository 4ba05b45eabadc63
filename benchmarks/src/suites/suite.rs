//! What a suite is made of: tables, of which any part can be made by itself, and questions about them.

use std::fmt::Display;

use arrow::array::RecordBatchReader;

use super::{h2o, tpch};

/// A set of questions about generated tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// TPC-H: 22 questions of a wholesale supplier.
    Tpch,
    /// What dataframes are asked: groups and joins of one wide table, after the database-like operations benchmark of
    /// H2O.ai.
    H2o,
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
            Self::H2o => "h2o",
        }
    }

    /// Names of the tables, the largest first: while the last parts of it are encoded, other cores take small tables.
    pub(crate) fn tables(self) -> &'static [&'static str] {
        match self {
            Self::Tpch => &tpch::TABLES,
            Self::H2o => &h2o::TABLES,
        }
    }

    /// Rows of a table at this scale, or about as many.
    pub(crate) fn rows(self, table: &str, scale: f64) -> u64 {
        match self {
            Self::Tpch => tpch::rows(table, scale),
            Self::H2o => h2o::rows(table, scale),
        }
    }

    /// How many queries there are.
    pub(crate) fn queries(self) -> usize {
        match self {
            Self::Tpch => tpch::QUERIES,
            Self::H2o => h2o::QUERIES.len(),
        }
    }

    /// The text of query `number` (from 1) for this scale.
    pub(crate) fn sql(self, number: usize, scale: f64) -> Option<String> {
        match self {
            Self::Tpch => tpch::sql(number, scale),
            Self::H2o => h2o::QUERIES.get(number.checked_sub(1)?).map(|sql| sql.trim_end().to_owned()),
        }
    }

    /// The answer to query `number` (from 1), as CSV, at the scales that have answers.
    pub(crate) fn answer(self, number: usize, scale: f64) -> Option<&'static str> {
        match self {
            Self::Tpch => tpch::answer(number, scale),
            Self::H2o => None,
        }
    }
}

impl Display for Suite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tpch => "TPC-H",
            Self::H2o => "H2O",
        })
    }
}

impl TablePart {
    /// Generates the rows of this part.
    pub(crate) fn read(self, scale: f64) -> Box<dyn RecordBatchReader + Send> {
        match self.suite {
            Suite::Tpch => tpch::read(self, scale),
            Suite::H2o => h2o::read(self, scale),
        }
    }
}
