//! Names: which schemas and tables there are, kept as data behind the trait [`Catalog`].
//!
//! A table is stored as its definition, never as an open handle: whatever keeps the catalog (memory, a database) keeps
//! the same facts, and [`view::CatalogView`] turns them into DataFusion's providers for the length of one statement.

mod entry;
mod external;
mod file_table;
mod files;
mod glob;
mod information;
mod listed;
mod memory;
mod memory_table;
mod session;
mod stored;
mod view;

use std::time::Duration;

use async_trait::async_trait;

pub use entry::{
    ColumnStatistics, Comments, DeltaDefinition, ExternalTable, SchemaName, SchemaSummary, TableDefinition, TableEntry,
    TableKind, TableName, TableStatistics, TableSummary, View,
};
pub(crate) use external::resolve_external;
pub(crate) use file_table::{FileTable, gather_statistics};
pub use memory::MemoryCatalog;
pub(crate) use memory::no_catalog;
pub use memory_table::MemoryTable;
pub(crate) use session::{SessionCatalog, TEMPORARY_SCHEMA, temporary_name, temporary_schema};
pub use stored::{CatalogOptions, StoredCatalog, SweepLock, hide_password};
pub(crate) use view::{CatalogView, SYSTEM_SCHEMA, StandIn, StandIns, ViewSeed};

use crate::Result;
use crate::limits::{Scope, StoredSetting};

/// How much of a table a listing shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Name and kind.
    Names,
    /// Columns and comments too.
    Columns,
}

/// Keeps catalogs, their schemas and tables; shared by all sessions of a coordinator, and perhaps by several coordinators. Every change
/// is whole or not at all.
#[async_trait]
pub trait Catalog: std::fmt::Debug + Send + Sync {
    /// The names of all catalogs, sorted.
    async fn catalogs(&self) -> Result<Vec<String>>;

    /// Makes a catalog, with the schema that each begins with.
    ///
    /// # Errors
    /// `AlreadyExists`.
    async fn create_catalog(&self, name: &str) -> Result<()>;

    /// Removes a catalog, with its tables if `cascade`. The first one stays.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` if it has tables and `cascade` is off.
    async fn drop_catalog(&self, name: &str, cascade: bool) -> Result<()>;

    /// All schemas of all catalogs, sorted by name.
    async fn schemas(&self) -> Result<Vec<SchemaSummary>>;

    /// Tables and views of one schema, sorted by name; nothing if there is no such schema.
    async fn tables(&self, schema: &SchemaName, detail: Detail) -> Result<Vec<TableSummary>>;

    /// One table or view.
    async fn table(&self, name: &TableName) -> Result<Option<TableEntry>>;

    /// Makes a schema.
    ///
    /// # Errors
    /// `NotFound` for the catalog, `AlreadyExists` for the schema.
    async fn create_schema(&self, name: &SchemaName) -> Result<()>;

    /// Removes a schema, with its tables if `cascade`.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` if it has tables and `cascade` is off.
    async fn drop_schema(&self, name: &SchemaName, cascade: bool) -> Result<()>;

    /// Gives a schema another name, in its catalog.
    ///
    /// # Errors
    /// `NotFound`; `AlreadyExists`.
    async fn rename_schema(&self, from: &SchemaName, to: &str) -> Result<()>;

    /// Says something about a schema, or nothing any more.
    ///
    /// # Errors
    /// `NotFound`.
    async fn comment_on_schema(&self, name: &SchemaName, comment: Option<&str>) -> Result<()>;

    /// Adds a table or view; `replace` takes the place of one of the same name and kind. A location that was reserved
    /// for it is its own from now on; that of a managed table which it replaces is to be swept.
    ///
    /// # Errors
    /// `NotFound` for the schema, `AlreadyExists` for the table.
    async fn create_table(&self, name: &TableName, definition: TableDefinition, replace: bool) -> Result<()>;

    /// Removes a table or view. The location of a managed table is to be swept.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` if it is of the other kind.
    async fn drop_table(&self, name: &TableName, kind: TableKind) -> Result<()>;

    /// Gives a table or view another name, perhaps in another schema; its id stays.
    ///
    /// # Errors
    /// `NotFound`; `AlreadyExists`; `Invalid` if it is of the other kind.
    async fn rename_table(&self, from: &TableName, to: &TableName, kind: TableKind) -> Result<()>;

    /// Changes what is kept of the table with this `id`.
    ///
    /// # Errors
    /// `Unavailable` if another table has taken its name since.
    async fn redefine_table(&self, name: &TableName, id: u64, definition: TableDefinition) -> Result<()>;

    /// Says something about the table, view or column, or nothing any more. Columns are not checked.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` if the table is of the other kind.
    async fn comment_on_table(
        &self,
        name: &TableName,
        kind: Option<TableKind>,
        column: Option<&str>,
        comment: Option<&str>,
    ) -> Result<()>;

    /// Keeps what was counted in the table with this `id`.
    ///
    /// # Errors
    /// `Unavailable` if another table has taken its name since.
    async fn set_statistics(&self, name: &TableName, id: u64, statistics: &TableStatistics) -> Result<()>;

    /// Notes that files are going to be written to `location`: they are swept if no table takes them.
    ///
    /// # Errors
    /// Those of the keeper.
    async fn reserve_location(&self, location: &str) -> Result<()>;

    /// Says that a location which was reserved is still being written to.
    ///
    /// # Errors
    /// `Unavailable` if somebody has begun to sweep it: what was written may be gone.
    async fn renew_location(&self, location: &str) -> Result<()>;

    /// Locations that no table has any more, or never had, and that nobody has touched for so long.
    async fn locations_to_sweep(&self, untouched_for: Duration) -> Result<Vec<String>>;

    /// Takes a location away from those who may still write to it; whether it was there, untouched for so long.
    async fn claim_location(&self, location: &str, untouched_for: Duration) -> Result<bool>;

    /// Forgets a location that has been swept.
    async fn forget_location(&self, location: &str) -> Result<()>;

    /// Settings for system, groups and users, in no order.
    async fn settings(&self) -> Result<Vec<StoredSetting>>;

    /// Keeps a setting, or forgets it.
    async fn set_setting(&self, scope: &Scope, key: &str, value: Option<&str>) -> Result<()>;
}
