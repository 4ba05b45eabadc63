//! Names: which schemas and tables there are, kept as data behind the trait [`Catalog`].
//!
//! A table is stored as its definition, never as an open handle: whatever keeps the catalog (memory, a database) keeps
//! the same facts, and [`view::CatalogView`] turns them into DataFusion's providers for the length of one statement.

mod entry;
mod external;
mod files;
mod glob;
mod memory;
mod memory_table;
mod session;
mod view;

use async_trait::async_trait;

pub use entry::{ExternalTable, TableDefinition, TableEntry, TableKind, TableName, TableSummary, View};
pub(crate) use external::resolve_external;
pub(crate) use glob::GlobTable;
pub use memory::MemoryCatalog;
pub use memory_table::MemoryTable;
pub(crate) use session::{SessionCatalog, TEMPORARY_SCHEMA, temporary_name};
pub(crate) use view::{CatalogView, SYSTEM_SCHEMA, ViewSeed};

use crate::Result;

/// Keeps schemas and tables; shared by all sessions of a coordinator.
#[async_trait]
pub trait Catalog: std::fmt::Debug + Send + Sync {
    /// Names of all schemas, sorted.
    async fn schemas(&self) -> Result<Vec<String>>;

    /// Tables and views of one schema, sorted by name; nothing if there is no such schema.
    async fn tables(&self, schema: &str) -> Result<Vec<TableSummary>>;

    /// One table or view.
    async fn table(&self, name: &TableName) -> Result<Option<TableEntry>>;

    /// Makes a schema.
    ///
    /// # Errors
    /// `AlreadyExists`.
    async fn create_schema(&self, name: &str) -> Result<()>;

    /// Removes a schema, with its tables if `cascade`.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` if it has tables and `cascade` is off.
    async fn drop_schema(&self, name: &str, cascade: bool) -> Result<()>;

    /// Adds a table or view; `replace` takes the place of one of the same name and kind.
    ///
    /// # Errors
    /// `NotFound` for the schema, `AlreadyExists` for the table.
    async fn create_table(&self, name: &TableName, definition: TableDefinition, replace: bool) -> Result<()>;

    /// Removes a table or view.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` if it is of the other kind.
    async fn drop_table(&self, name: &TableName, kind: TableKind) -> Result<()>;
}
