//! Where the rows of a plan go when they do not go to a client: files, which each part of the plan writes for itself,
//! wherever it runs. What comes out of such a plan says which files; whoever asked makes them visible, all at once.
//!
//! | module | what it does |
//! |---|---|
//! | [`target`] | where rows go, in words that every process understands |
//! | [`node`] | the plan node that writes, and says what it wrote |
//! | [`table`] | files of Delta Lake tables |
//! | [`copy`] | files of any format, for COPY |
//! | [`rows_into`] | a target as DataFusion's table |

mod copy;
mod node;
mod rows_into;
mod table;
mod target;

pub(crate) use copy::CopyFormat;
pub(crate) use node::{WriteFilesExec, WrittenFile, reported};
pub(crate) use rows_into::RowsInto;
pub(crate) use table::added;
pub(crate) use target::{WriteKind, WriteTarget};
