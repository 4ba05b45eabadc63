//! Where rows go, in every process alike.

use datafusion::arrow::datatypes::SchemaRef;

use super::copy::CopyFormat;

/// A place for rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WriteTarget {
    /// URL of a directory, with a slash at the end; of a file if the kind says so.
    pub(crate) location: String,
    /// Columns as files, and the log of a table, keep them.
    pub(crate) columns: SchemaRef,
    /// Columns that are directories.
    pub(crate) partition_columns: Vec<String>,
    pub(crate) kind: WriteKind,
}

/// What the files are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WriteKind {
    /// A Delta Lake table.
    Table {
        /// What the names of the files begin with: the query's id, by which they are found if it fails. Nothing is
        /// written without one: the plan is only looked at.
        prefix: String,
        /// Bytes after which a file ends and another begins.
        file_bytes_target: u64,
    },
    /// Whoever reads them next.
    Copy(CopyFormat),
}

impl WriteTarget {
    /// Whether one file is to hold all rows.
    pub(super) fn is_one_file(&self) -> bool {
        matches!(&self.kind, WriteKind::Copy(copy) if copy.is_one_file)
    }
}
