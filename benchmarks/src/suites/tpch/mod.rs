//! TPC-H: 22 questions of a wholesale supplier, at any scale.

mod queries;
mod tables;

pub(crate) use self::queries::{COUNT as QUERIES, answer, sql};
pub(crate) use self::tables::{TABLES, read, rows};
