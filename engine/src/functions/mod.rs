//! Functions that we add to DataFusion's.

pub(crate) mod check;
pub(crate) mod range;

pub use range::table_functions;
