//! A catalog in memory: nothing lasts.

use std::collections::BTreeMap;

use async_trait::async_trait;
use parking_lot::RwLock;

use crate::catalog::{Catalog, TableDefinition, TableEntry, TableKind, TableName, TableSummary};
use crate::config::SCHEMA;
use crate::{Error, Result};

#[derive(Debug)]
struct Contents {
    schemas: BTreeMap<String, BTreeMap<String, TableEntry>>,
    next_id: u64,
}

/// Schemas and tables in memory, one lock around all: every change is a few map operations.
#[derive(Debug)]
pub struct MemoryCatalog {
    contents: RwLock<Contents>,
}

impl MemoryCatalog {
    /// A catalog with an empty schema `public`.
    pub fn new() -> Self {
        Self::with_schema(SCHEMA)
    }

    /// A catalog with this empty schema.
    pub(crate) fn with_schema(name: &str) -> Self {
        let schemas = BTreeMap::from([(name.to_owned(), BTreeMap::new())]);
        Self { contents: RwLock::new(Contents { schemas, next_id: 1 }) }
    }
}

impl Default for MemoryCatalog {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Catalog for MemoryCatalog {
    async fn schemas(&self) -> Result<Vec<String>> {
        Ok(self.contents.read().schemas.keys().cloned().collect())
    }

    async fn tables(&self, schema: &str) -> Result<Vec<TableSummary>> {
        let contents = self.contents.read();
        let Some(tables) = contents.schemas.get(schema) else { return Ok(Vec::new()) };
        let summary =
            |(name, entry): (&String, &TableEntry)| TableSummary { name: name.clone(), kind: entry.definition.kind() };
        Ok(tables.iter().map(summary).collect())
    }

    async fn table(&self, name: &TableName) -> Result<Option<TableEntry>> {
        let contents = self.contents.read();
        Ok(contents.schemas.get(&name.schema).and_then(|tables| tables.get(&name.table)).cloned())
    }

    async fn create_schema(&self, name: &str) -> Result<()> {
        let mut contents = self.contents.write();
        if contents.schemas.contains_key(name) {
            return Err(Error::already_exists(format!("schema \"{name}\" already exists")));
        }
        contents.schemas.insert(name.to_owned(), BTreeMap::new());
        Ok(())
    }

    async fn drop_schema(&self, name: &str, cascade: bool) -> Result<()> {
        let mut contents = self.contents.write();
        let Some(tables) = contents.schemas.get(name) else { return Err(no_schema(name)) };
        if !tables.is_empty() && !cascade {
            let count = tables.len();
            return Err(Error::invalid(format!(
                "schema \"{name}\" holds {count} tables; add CASCADE to drop them too"
            )));
        }
        contents.schemas.remove(name);
        Ok(())
    }

    async fn create_table(&self, name: &TableName, definition: TableDefinition, replace: bool) -> Result<()> {
        let mut contents = self.contents.write();
        let id = contents.next_id;
        let tables = contents.schemas.get_mut(&name.schema).ok_or_else(|| no_schema(&name.schema))?;
        if let Some(existing) = tables.get(&name.table) {
            let kind = existing.definition.kind();
            if !replace {
                return Err(Error::already_exists(format!("{kind} \"{name}\" already exists")));
            }
            if kind != definition.kind() {
                return Err(Error::invalid(format!("\"{name}\" is a {kind}; drop it first")));
            }
        }
        tables.insert(name.table.clone(), TableEntry { id, definition });
        contents.next_id += 1;
        Ok(())
    }

    async fn drop_table(&self, name: &TableName, kind: TableKind) -> Result<()> {
        let mut contents = self.contents.write();
        let tables = contents.schemas.get_mut(&name.schema);
        let Some(existing) = tables.as_ref().and_then(|tables| tables.get(&name.table)) else {
            return Err(Error::not_found(format!("{kind} \"{name}\" does not exist")));
        };
        let actual = existing.definition.kind();
        if actual != kind {
            let verb = if actual == TableKind::View { "DROP VIEW" } else { "DROP TABLE" };
            return Err(Error::invalid(format!("\"{name}\" is a {actual}; use {verb}")));
        }
        if let Some(tables) = tables {
            tables.remove(&name.table);
        }
        Ok(())
    }
}

fn no_schema(name: &str) -> Error {
    Error::not_found(format!("schema \"{name}\" does not exist"))
}
