//! The catalog as one session sees it: what all share, and the session's own temporary tables and views.
//!
//! Temporary tables live in the schema `temp`, which each session has for itself. A name without a schema, or with the
//! session's default one, means the temporary table if there is one.

use std::sync::Arc;

use async_trait::async_trait;

use crate::catalog::{Catalog, MemoryCatalog, TableDefinition, TableEntry, TableKind, TableName, TableSummary};
use crate::{Error, Result};

/// Schema of the session's temporary tables and views.
pub(crate) const TEMPORARY_SCHEMA: &str = "temp";

/// Temporary tables over the shared catalog, during one statement.
#[derive(Debug, Clone)]
pub(crate) struct SessionCatalog {
    shared: Arc<dyn Catalog>,
    temporary: Arc<MemoryCatalog>,
    default_schema: String,
}

impl SessionCatalog {
    /// `temporary` has one schema, [`TEMPORARY_SCHEMA`].
    pub(crate) fn new(shared: Arc<dyn Catalog>, temporary: Arc<MemoryCatalog>, default_schema: String) -> Self {
        Self { shared, temporary, default_schema }
    }

    /// What a stored view sees, whoever reads it.
    pub(crate) fn without_temporary(&self) -> Self {
        Self { temporary: Arc::new(MemoryCatalog::with_schema(TEMPORARY_SCHEMA)), ..self.clone() }
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

    fn keeper(&self, schema: &str) -> &dyn Catalog {
        if schema == TEMPORARY_SCHEMA { self.temporary.as_ref() } else { self.shared.as_ref() }
    }
}

/// The name of a temporary table.
pub(crate) fn temporary_name(table: &str) -> TableName {
    TableName { schema: TEMPORARY_SCHEMA.to_owned(), table: table.to_owned() }
}

/// Exactly the names that are given; see [`SessionCatalog::meant`] for what they mean to the session.
#[async_trait]
impl Catalog for SessionCatalog {
    async fn schemas(&self) -> Result<Vec<String>> {
        let mut schemas = self.shared.schemas().await?;
        if !self.temporary.tables(TEMPORARY_SCHEMA).await?.is_empty() {
            schemas.push(TEMPORARY_SCHEMA.to_owned());
            schemas.sort();
        }
        Ok(schemas)
    }

    async fn tables(&self, schema: &str) -> Result<Vec<TableSummary>> {
        self.keeper(schema).tables(schema).await
    }

    async fn table(&self, name: &TableName) -> Result<Option<TableEntry>> {
        self.keeper(&name.schema).table(name).await
    }

    async fn create_schema(&self, name: &str) -> Result<()> {
        if name == TEMPORARY_SCHEMA {
            return Err(Error::already_exists(format!("schema \"{name}\" is always there")));
        }
        self.shared.create_schema(name).await
    }

    async fn drop_schema(&self, name: &str, cascade: bool) -> Result<()> {
        if name == TEMPORARY_SCHEMA {
            return Err(Error::invalid("the schema of temporary tables ends with the session; drop its tables"));
        }
        self.shared.drop_schema(name, cascade).await
    }

    async fn create_table(&self, name: &TableName, definition: TableDefinition, replace: bool) -> Result<()> {
        self.keeper(&name.schema).create_table(name, definition, replace).await
    }

    async fn drop_table(&self, name: &TableName, kind: TableKind) -> Result<()> {
        self.keeper(&name.schema).drop_table(name, kind).await
    }
}
