//! The texts of a suite's questions, embedded: an installed program has them without the source tree.

/// `questions!("h2o": "01" "02")` is the files `queries/h2o/q01.sql` and `q02.sql`, read.
macro_rules! questions {
    ($suite:literal: $($number:literal)*) => {
        [$(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/queries/", $suite, "/q", $number, ".sql"))),*]
    };
}

pub(crate) use questions;
