//! What the catalog keeps of a table.

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter};
use std::sync::Arc;

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::{ResolvedTableReference, TableReference};
use serde::{Deserialize, Serialize};

use crate::catalog::{MemoryTable, TEMPORARY_SCHEMA};
use crate::config::CATALOG;

/// A schema of a catalog.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SchemaName {
    /// The catalog.
    pub catalog: String,
    /// The schema.
    pub schema: String,
}

impl SchemaName {
    /// `catalog.schema`. A session has one schema of temporary tables, which each catalog shows.
    pub fn new(catalog: impl Into<String>, schema: impl Into<String>) -> Self {
        let schema = schema.into();
        let catalog = if schema == TEMPORARY_SCHEMA { CATALOG.to_owned() } else { catalog.into() };
        Self { catalog, schema }
    }

    /// Whether it is that of the session's temporary tables.
    pub(crate) fn is_temporary(&self) -> bool {
        self.schema == TEMPORARY_SCHEMA
    }

    /// A table of it.
    pub(crate) fn table(&self, table: impl Into<String>) -> TableName {
        TableName { schema: self.clone(), table: table.into() }
    }
}

/// As it is written in a session whose default catalog is the first one.
impl Display for SchemaName {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        if self.catalog != CATALOG {
            write!(f, "{}.", self.catalog)?;
        }
        f.write_str(&self.schema)
    }
}

/// A table or view of a schema.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    /// The schema.
    pub schema: SchemaName,
    /// The table or view.
    pub table: String,
}

impl TableName {
    /// As statements name it, with all its parts.
    pub(crate) fn reference(&self) -> TableReference {
        let SchemaName { catalog, schema } = &self.schema;
        TableReference::full(catalog.as_str(), schema.as_str(), self.table.as_str())
    }
}

impl From<ResolvedTableReference> for TableName {
    fn from(reference: ResolvedTableReference) -> Self {
        SchemaName::new(&*reference.catalog, &*reference.schema).table(&*reference.table)
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

/// A schema in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaSummary {
    /// Its name.
    pub name: SchemaName,
    /// What `COMMENT ON SCHEMA` said.
    pub comment: Option<String>,
}

/// A table or view in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSummary {
    /// Name within the schema.
    pub name: String,
    /// Table or view.
    pub kind: TableKind,
    /// Its columns as they are stored, if they were asked for.
    pub columns: Option<SchemaRef>,
    /// The query of a view, if columns were asked for.
    pub view_sql: Option<String>,
    /// What was said about it.
    pub comments: Comments,
}

/// What `COMMENT ON` said about a table or view, and its columns.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comments {
    /// About the table or view.
    pub table: Option<String>,
    /// About columns, by name.
    pub columns: BTreeMap<String, String>,
}

/// One version of one table: a replaced table has another `id`.
#[derive(Debug, Clone)]
pub struct TableEntry {
    /// Unique within the catalog, never used twice.
    pub id: u64,
    /// What it is.
    pub definition: TableDefinition,
    /// What was said about it.
    pub comments: Comments,
    /// What `ANALYZE TABLE` counted.
    pub statistics: Option<Arc<TableStatistics>>,
}

/// What a table is.
#[derive(Debug, Clone)]
pub enum TableDefinition {
    /// Files that we read.
    External(Arc<ExternalTable>),
    /// A Delta Lake table: one that we keep, or one that somebody else made.
    Delta(Arc<DeltaDefinition>),
    /// A stored query.
    View(Arc<View>),
    /// Rows in this process, gone with it.
    Memory(Arc<MemoryTable>),
}

impl TableDefinition {
    /// Table or view.
    pub fn kind(&self) -> TableKind {
        match self {
            Self::External(_) | Self::Delta(_) | Self::Memory(_) => TableKind::Table,
            Self::View(_) => TableKind::View,
        }
    }

    /// Its columns as they are kept here.
    pub fn columns(&self) -> SchemaRef {
        match self {
            Self::External(table) => table.columns(),
            Self::Delta(table) => SchemaRef::clone(&table.columns),
            Self::View(view) => SchemaRef::clone(&view.columns),
            Self::Memory(table) => table.schema(),
        }
    }

    /// The statement that made a view.
    pub fn view_sql(&self) -> Option<&str> {
        match self {
            Self::View(view) => Some(&view.sql),
            _ => None,
        }
    }

    /// Where its files lie, if they go when the table goes.
    pub fn managed_location(&self) -> Option<&str> {
        match self {
            Self::Delta(table) if table.is_managed => Some(&table.location),
            _ => None,
        }
    }
}

/// Files somewhere, as `CREATE EXTERNAL TABLE` described them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalTable {
    /// The statement: locations, format, options, constraints, order.
    pub sql: String,
    /// Columns in the files, given or inferred once.
    pub file_schema: SchemaRef,
    /// Columns that are directory names, with their types, in the order of the directories.
    pub partition_columns: SchemaRef,
}

impl ExternalTable {
    /// Columns of the files, then those of the directories.
    pub fn columns(&self) -> SchemaRef {
        let fields = self.file_schema.fields().iter().chain(self.partition_columns.fields());
        Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>()))
    }
}

/// A Delta Lake table. Its log says what it holds; what is here is for finding and listing it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeltaDefinition {
    /// URL of its directory, with a slash at the end.
    pub location: String,
    /// Its columns when the catalog was last told.
    pub columns: SchemaRef,
    /// Columns that are directory names, in the order of the directories.
    pub partition_columns: Vec<String>,
    /// SQL of the default values of columns, by name.
    pub defaults: BTreeMap<String, String>,
    /// Columns of the declared primary key. It is told to who asks and neither enforced nor trusted.
    pub primary_key: Vec<String>,
    /// Whether its files are ours: they go when the table is dropped.
    pub is_managed: bool,
}

/// A query with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The `CREATE VIEW` statement.
    pub sql: String,
    /// Schema that unqualified names in it mean.
    pub default_schema: SchemaName,
    /// Its columns when it was made.
    pub columns: SchemaRef,
}

/// What `ANALYZE TABLE` counted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TableStatistics {
    /// Rows of the table.
    pub rows: u64,
    /// Of its columns, by name.
    pub columns: BTreeMap<String, ColumnStatistics>,
}

/// What `ANALYZE TABLE` counted in one column.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ColumnStatistics {
    /// Different values, estimated.
    pub distinct: u64,
    /// Nulls.
    pub nulls: u64,
}
