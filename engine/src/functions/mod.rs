//! Functions that we add to DataFusion's.

mod bounded;
pub(crate) mod check;
pub(crate) mod range;

pub(crate) use bounded::bounded;
pub use range::table_functions;
