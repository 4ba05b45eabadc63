//! TPC-DS: 99 questions of a retailer with stores, catalogs and a web site, at any scale.

mod queries;
mod tables;

pub(crate) use self::queries::QUERIES;
pub(crate) use self::tables::{TABLES, read, rows};
