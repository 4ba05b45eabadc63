//! The catalog as one session sees it: what all share, and the session's own temporary tables and views.
//!
//! Temporary tables live in the schema `temp`, which each session has for itself, in whatever catalog it is named. A name without a schema, or with the
//! session's default one, means the temporary table if there is one.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::catalog::{
    Catalog, Detail, MemoryCatalog, SchemaName, SchemaSummary, TableDefinition, TableEntry, TableKind, TableName,
    TableStatistics, TableSummary,
};
use crate::config::CATALOG;
use crate::limits::{Scope, StoredSetting};
use crate::{Error, Result};

/// Schema of the session's temporary tables and views.
pub(crate) const TEMPORARY_SCHEMA: &str = "temp";

/// Temporary tables over the shared catalog, during one statement.
#[derive(Debug, Clone)]
pub(crate) struct SessionCatalog {
    shared: Arc<dyn Catalog>,
    temporary: Arc<MemoryCatalog>,
    default_schema: SchemaName,
}

impl SessionCatalog {
    /// `temporary` has one schema, [`TEMPORARY_SCHEMA`].
    pub(crate) fn new(shared: Arc<dyn Catalog>, temporary: Arc<MemoryCatalog>, default_schema: SchemaName) -> Self {
        Self { shared, temporary, default_schema }
    }

    /// What a stored view sees, whoever reads it.
    pub(crate) fn without_temporary(&self) -> Self {
        Self { temporary: Arc::new(MemoryCatalog::with_schema(temporary_schema())), ..self.clone() }
    }

    /// The table that `name` means: a temporary one hides another of the default schema.
    ///
    /// # Errors
    /// Those of the catalog.
    pub(crate) async fn meant(&self, name: &TableName) -> Result<TableName> {
        let hiding = temporary_name(&name.table);
        let is_hidden = name.schema == self.default_schema && self.temporary.table(&hiding).await?.is_some();
        Ok(if is_hidden { hiding } else { name.clone() })
    }

    fn keeper(&self, schema: &SchemaName) -> &dyn Catalog {
        if schema.is_temporary() { self.temporary.as_ref() } else { self.shared.as_ref() }
    }
}

/// Where temporary tables are kept.
pub(crate) fn temporary_schema() -> SchemaName {
    SchemaName::new(CATALOG, TEMPORARY_SCHEMA)
}

/// The name of a temporary table.
pub(crate) fn temporary_name(table: &str) -> TableName {
    temporary_schema().table(table)
}

/// Exactly the names that are given; see [`SessionCatalog::meant`] for what they mean to the session.
#[async_trait]
impl Catalog for SessionCatalog {
    async fn catalogs(&self) -> Result<Vec<String>> {
        self.shared.catalogs().await
    }

    async fn create_catalog(&self, name: &str) -> Result<()> {
        self.shared.create_catalog(name).await
    }

    async fn drop_catalog(&self, name: &str, cascade: bool) -> Result<()> {
        self.shared.drop_catalog(name, cascade).await
    }

    async fn schemas(&self) -> Result<Vec<SchemaSummary>> {
        let mut schemas = self.shared.schemas().await?;
        if !self.temporary.tables(&temporary_schema(), Detail::Names).await?.is_empty() {
            schemas.push(SchemaSummary { name: temporary_schema(), comment: None });
            schemas.sort_by(|a, b| a.name.cmp(&b.name));
        }
        Ok(schemas)
    }

    async fn tables(&self, schema: &SchemaName, detail: Detail) -> Result<Vec<TableSummary>> {
        self.keeper(schema).tables(schema, detail).await
    }

    async fn table(&self, name: &TableName) -> Result<Option<TableEntry>> {
        self.keeper(&name.schema).table(name).await
    }

    async fn create_schema(&self, name: &SchemaName) -> Result<()> {
        if name.is_temporary() {
            return Err(Error::already_exists(format!("schema \"{name}\" is always there")));
        }
        self.shared.create_schema(name).await
    }

    async fn drop_schema(&self, name: &SchemaName, cascade: bool) -> Result<()> {
        refuse_temporary(&name.schema)?;
        self.shared.drop_schema(name, cascade).await
    }

    async fn rename_schema(&self, from: &SchemaName, to: &str) -> Result<()> {
        refuse_temporary(&from.schema)?;
        refuse_temporary(to)?;
        self.shared.rename_schema(from, to).await
    }

    async fn comment_on_schema(&self, name: &SchemaName, comment: Option<&str>) -> Result<()> {
        refuse_temporary(&name.schema)?;
        self.shared.comment_on_schema(name, comment).await
    }

    async fn create_table(&self, name: &TableName, definition: TableDefinition, replace: bool) -> Result<()> {
        self.keeper(&name.schema).create_table(name, definition, replace).await
    }

    async fn drop_table(&self, name: &TableName, kind: TableKind) -> Result<()> {
        self.keeper(&name.schema).drop_table(name, kind).await
    }

    async fn rename_table(&self, from: &TableName, to: &TableName, kind: TableKind) -> Result<()> {
        if from.schema.is_temporary() != to.schema.is_temporary() {
            return Err(Error::invalid(
                "a table cannot become temporary, or cease to be: CREATE TABLE AS makes a copy",
            ));
        }
        self.keeper(&from.schema).rename_table(from, to, kind).await
    }

    async fn redefine_table(&self, name: &TableName, id: u64, definition: TableDefinition) -> Result<()> {
        self.keeper(&name.schema).redefine_table(name, id, definition).await
    }

    async fn comment_on_table(
        &self,
        name: &TableName,
        kind: Option<TableKind>,
        column: Option<&str>,
        comment: Option<&str>,
    ) -> Result<()> {
        self.keeper(&name.schema).comment_on_table(name, kind, column, comment).await
    }

    async fn set_statistics(&self, name: &TableName, id: u64, statistics: &TableStatistics) -> Result<()> {
        self.keeper(&name.schema).set_statistics(name, id, statistics).await
    }

    async fn reserve_location(&self, location: &str) -> Result<()> {
        self.shared.reserve_location(location).await
    }

    async fn renew_location(&self, location: &str) -> Result<()> {
        self.shared.renew_location(location).await
    }

    async fn locations_to_sweep(&self, untouched_for: Duration) -> Result<Vec<String>> {
        self.shared.locations_to_sweep(untouched_for).await
    }

    async fn claim_location(&self, location: &str, untouched_for: Duration) -> Result<bool> {
        self.shared.claim_location(location, untouched_for).await
    }

    async fn forget_location(&self, location: &str) -> Result<()> {
        self.shared.forget_location(location).await
    }

    async fn settings(&self) -> Result<Vec<StoredSetting>> {
        self.shared.settings().await
    }

    async fn set_setting(&self, scope: &Scope, key: &str, value: Option<&str>) -> Result<()> {
        self.shared.set_setting(scope, key, value).await
    }
}

fn refuse_temporary(schema: &str) -> Result<()> {
    if schema == TEMPORARY_SCHEMA {
        return Err(Error::invalid("the schema of temporary tables is its own and ends with the session"));
    }
    Ok(())
}
