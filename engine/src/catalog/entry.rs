//! What the catalog keeps of a table.

use std::fmt::{Display, Formatter};
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::ResolvedTableReference;
use tempfile::TempDir;

use crate::catalog::MemoryTable;

/// Schema and table; there is one catalog.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    /// The schema.
    pub schema: String,
    /// The table or view.
    pub table: String,
}

impl From<ResolvedTableReference> for TableName {
    fn from(reference: ResolvedTableReference) -> Self {
        Self { schema: reference.schema.to_string(), table: reference.table.to_string() }
    }
}

impl Display for TableName {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableKind {
    /// Rows somewhere.
    Table,
    /// A query.
    View,
}

impl Display for TableKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Table => "table",
            Self::View => "view",
        })
    }
}

/// A line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSummary {
    /// Name within the schema.
    pub name: String,
    /// Table or view.
    pub kind: TableKind,
}

/// One version of one table: a replaced table has another `id`.
#[derive(Debug, Clone)]
pub struct TableEntry {
    /// Unique within the catalog, never used twice.
    pub id: u64,
    /// What it is.
    pub definition: TableDefinition,
}

/// What a table is.
#[derive(Debug, Clone)]
pub enum TableDefinition {
    /// Files that we read.
    External(Arc<ExternalTable>),
    /// A stored query.
    View(Arc<View>),
    /// Rows in this process, gone with it.
    Memory(Arc<MemoryTable>),
}

impl TableDefinition {
    /// Table or view.
    pub fn kind(&self) -> TableKind {
        match self {
            Self::External(_) | Self::Memory(_) => TableKind::Table,
            Self::View(_) => TableKind::View,
        }
    }
}

/// Files somewhere, as `CREATE EXTERNAL TABLE` described them.
#[derive(Debug, Clone)]
pub struct ExternalTable {
    /// The statement: locations, format, options, constraints, order.
    pub sql: String,
    /// Columns in the files, given or inferred once.
    pub file_schema: SchemaRef,
    /// Columns that are directory names, with their types, in the order of the directories.
    pub partition_columns: SchemaRef,
    /// The directory, if it is ours: it goes when nobody uses the table any more.
    pub directory: Option<Arc<TempDir>>,
}

/// A query with a name.
#[derive(Debug, Clone)]
pub struct View {
    /// The `CREATE VIEW` statement.
    pub sql: String,
    /// Schema that unqualified names in it mean.
    pub default_schema: String,
}
