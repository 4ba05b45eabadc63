//! Benchmarks that anyone can run: data, queries, answers, timings, and a peer beside them on the same files.
//!
//! One module a benchmark. A benchmark talks to a coordinator only through `client`, as any other program would; what
//! it measures is therefore what a user gets. It knows nothing of how a coordinator is started. [`scheduling`] is the
//! exception: it asks no coordinator, but simulates the inside of one.
//!
//! The way of a run: generate the data (or find them complete), name them to the coordinator as external tables, run
//! each query, compare each answer with the one that an independent engine gave, report.

pub mod clients;
mod error;
mod output;
pub mod scheduling;
pub mod suites;

pub use error::Error;

/// How a run went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Queries that were run.
    pub queries: usize,
    /// Those that gave an error.
    pub failed: usize,
    /// Those whose answer is wrong.
    pub wrong: usize,
}

impl Outcome {
    /// Whether every query was answered, and no answer is known to be wrong.
    pub fn is_success(&self) -> bool {
        self.failed == 0 && self.wrong == 0
    }
}
