//! Runs `.slt` files against a coordinator, through the client that any user has.
//!
//! The tests are data: `slt/` holds statements and the results they must give, `data/` the files that some of them
//! read, `answers/` the results of the benchmarks. Expected results come from another engine or from reasoning, never
//! from our own output: `oracle.py` holds every file against DuckDB.
//!
//! A file may say `control substitution on` and then use `$DATA` for the directory of the fixtures and `$TMP` for an
//! empty directory of its own. Every file is run twice: as the coordinator chooses, and on executors, where records under
//! `skipif executors` are left out. This crate does not start a coordinator: the caller hands in a way to connect to one.

mod cell;
mod run;
mod session;

pub use run::{Failure, Fixtures, find, run, update};
pub use session::{Place, Session};
