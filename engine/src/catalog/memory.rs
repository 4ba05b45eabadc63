//! A catalog in memory: nothing lasts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::RwLock;

use crate::catalog::{
    Catalog, Comments, Detail, SchemaName, SchemaSummary, TableDefinition, TableEntry, TableKind, TableName,
    TableStatistics, TableSummary,
};
use crate::config::{CATALOG, SCHEMA};
use crate::limits::{Scope, StoredSetting};
use crate::{Error, Result};

#[derive(Debug, Default)]
struct Schema {
    comment: Option<String>,
    tables: BTreeMap<String, TableEntry>,
}

/// A location that no table has.
#[derive(Debug, Clone, Copy)]
struct Unclaimed {
    since: Instant,
    /// Whether somebody has begun to sweep it.
    is_claimed: bool,
}

impl Unclaimed {
    fn now() -> Self {
        Self { since: Instant::now(), is_claimed: false }
    }
}

#[derive(Debug)]
struct Contents {
    catalogs: BTreeSet<String>,
    schemas: BTreeMap<SchemaName, Schema>,
    /// Locations that no table has.
    to_sweep: BTreeMap<String, Unclaimed>,
    settings: BTreeMap<(Scope, String), String>,
    next_id: u64,
}

/// Catalogs, schemas and tables in memory, one lock around all: every change is a few map operations.
#[derive(Debug)]
pub struct MemoryCatalog {
    contents: RwLock<Contents>,
}

impl MemoryCatalog {
    /// A catalog with an empty schema `public`.
    pub fn new() -> Self {
        Self::with_schema(SchemaName::new(CATALOG, SCHEMA))
    }

    /// A catalog with this empty schema.
    pub(crate) fn with_schema(name: SchemaName) -> Self {
        Self {
            contents: RwLock::new(Contents {
                catalogs: BTreeSet::from([name.catalog.clone()]),
                schemas: BTreeMap::from([(name, Schema::default())]),
                to_sweep: BTreeMap::new(),
                settings: BTreeMap::new(),
                next_id: 1,
            }),
        }
    }
}

impl Default for MemoryCatalog {
    fn default() -> Self {
        Self::new()
    }
}

impl Contents {
    fn schema(&mut self, name: &SchemaName) -> Result<&mut Schema> {
        if !self.catalogs.contains(&name.catalog) {
            return Err(no_catalog(&name.catalog));
        }
        self.schemas.get_mut(name).ok_or_else(|| no_schema(name))
    }

    /// The table, which has to be of this kind if one is given.
    fn entry(&mut self, name: &TableName, kind: Option<TableKind>) -> Result<&mut TableEntry> {
        let tables = self.schemas.get_mut(&name.schema).map(|schema| &mut schema.tables);
        let Some(entry) = tables.and_then(|tables| tables.get_mut(&name.table)) else {
            return Err(no_table(name, kind));
        };
        check_kind(name, entry.definition.kind(), kind)?;
        Ok(entry)
    }

    fn entry_of_id(&mut self, name: &TableName, id: u64) -> Result<&mut TableEntry> {
        let entry = self.entry(name, None).ok().filter(|entry| entry.id == id);
        entry.ok_or_else(|| gone(name))
    }

    fn discard(&mut self, definition: &TableDefinition) {
        if let Some(location) = definition.managed_location() {
            self.to_sweep.insert(location.to_owned(), Unclaimed::now());
        }
    }
}

#[async_trait]
impl Catalog for MemoryCatalog {
    async fn catalogs(&self) -> Result<Vec<String>> {
        Ok(self.contents.read().catalogs.iter().cloned().collect())
    }

    async fn create_catalog(&self, name: &str) -> Result<()> {
        let mut contents = self.contents.write();
        if !contents.catalogs.insert(name.to_owned()) {
            return Err(catalog_exists(name));
        }
        contents.schemas.insert(SchemaName::new(name, SCHEMA), Schema::default());
        Ok(())
    }

    async fn drop_catalog(&self, name: &str, cascade: bool) -> Result<()> {
        let mut contents = self.contents.write();
        if !contents.catalogs.contains(name) {
            return Err(no_catalog(name));
        }
        refuse_first(name)?;
        let schemas = contents.schemas.iter().filter(|(schema, _)| schema.catalog == name);
        let count = schemas.map(|(_, schema)| schema.tables.len()).sum();
        if count > 0 && !cascade {
            return Err(catalog_not_empty(name, count));
        }
        contents.catalogs.remove(name);
        let schemas: Vec<_> = contents.schemas.extract_if(.., |schema, _| schema.catalog == name).collect();
        let tables = schemas.iter().flat_map(|(_, schema)| schema.tables.values());
        tables.for_each(|entry| contents.discard(&entry.definition));
        Ok(())
    }

    async fn schemas(&self) -> Result<Vec<SchemaSummary>> {
        let contents = self.contents.read();
        let summary = |(name, schema): (&SchemaName, &Schema)| SchemaSummary {
            name: name.clone(),
            comment: schema.comment.clone(),
        };
        Ok(contents.schemas.iter().map(summary).collect())
    }

    async fn tables(&self, schema: &SchemaName, detail: Detail) -> Result<Vec<TableSummary>> {
        let contents = self.contents.read();
        let Some(schema) = contents.schemas.get(schema) else { return Ok(Vec::new()) };
        let with_columns = detail == Detail::Columns;
        let summary = |(name, entry): (&String, &TableEntry)| TableSummary {
            name: name.clone(),
            kind: entry.definition.kind(),
            columns: with_columns.then(|| entry.definition.columns()),
            view_sql: entry.definition.view_sql().filter(|_| with_columns).map(str::to_owned),
            comments: entry.comments.clone(),
        };
        Ok(schema.tables.iter().map(summary).collect())
    }

    async fn table(&self, name: &TableName) -> Result<Option<TableEntry>> {
        let contents = self.contents.read();
        Ok(contents.schemas.get(&name.schema).and_then(|schema| schema.tables.get(&name.table)).cloned())
    }

    async fn create_schema(&self, name: &SchemaName) -> Result<()> {
        let mut contents = self.contents.write();
        if !contents.catalogs.contains(&name.catalog) {
            return Err(no_catalog(&name.catalog));
        }
        if contents.schemas.contains_key(name) {
            return Err(schema_exists(name));
        }
        contents.schemas.insert(name.clone(), Schema::default());
        Ok(())
    }

    async fn drop_schema(&self, name: &SchemaName, cascade: bool) -> Result<()> {
        let mut contents = self.contents.write();
        let count = contents.schema(name)?.tables.len();
        if count > 0 && !cascade {
            return Err(not_empty(name, count));
        }
        let tables = contents.schemas.remove(name).map(|schema| schema.tables).unwrap_or_default();
        tables.values().for_each(|entry| contents.discard(&entry.definition));
        Ok(())
    }

    async fn rename_schema(&self, from: &SchemaName, to: &str) -> Result<()> {
        let mut contents = self.contents.write();
        let to = SchemaName::new(from.catalog.as_str(), to);
        if contents.schemas.contains_key(&to) {
            return Err(schema_exists(&to));
        }
        contents.schema(from)?;
        let schema = contents.schemas.remove(from).unwrap_or_default();
        contents.schemas.insert(to, schema);
        Ok(())
    }

    async fn comment_on_schema(&self, name: &SchemaName, comment: Option<&str>) -> Result<()> {
        self.contents.write().schema(name)?.comment = comment.map(str::to_owned);
        Ok(())
    }

    async fn create_table(&self, name: &TableName, definition: TableDefinition, replace: bool) -> Result<()> {
        let mut contents = self.contents.write();
        let id = contents.next_id;
        let tables = &mut contents.schema(&name.schema)?.tables;
        if let Some(existing) = tables.get(&name.table) {
            let kind = existing.definition.kind();
            if !replace {
                return Err(table_exists(name, kind));
            }
            if kind != definition.kind() {
                return Err(Error::invalid(format!("\"{name}\" is a {kind}; drop it first")));
            }
        }
        let location = definition.managed_location().map(str::to_owned);
        let entry = TableEntry { id, definition, comments: Comments::default(), statistics: None };
        let replaced = tables.insert(name.table.clone(), entry);
        contents.next_id += 1;
        if let Some(replaced) = replaced {
            contents.discard(&replaced.definition);
        }
        if let Some(location) = location {
            contents.to_sweep.remove(&location);
        }
        Ok(())
    }

    async fn drop_table(&self, name: &TableName, kind: TableKind) -> Result<()> {
        let mut contents = self.contents.write();
        contents.entry(name, Some(kind))?;
        let removed = contents.schema(&name.schema)?.tables.remove(&name.table);
        if let Some(entry) = removed {
            contents.discard(&entry.definition);
        }
        Ok(())
    }

    async fn rename_table(&self, from: &TableName, to: &TableName, kind: TableKind) -> Result<()> {
        let mut contents = self.contents.write();
        contents.entry(from, Some(kind))?;
        if let Some(existing) = contents.schema(&to.schema)?.tables.get(&to.table) {
            return Err(table_exists(to, existing.definition.kind()));
        }
        if let Some(entry) = contents.schema(&from.schema)?.tables.remove(&from.table) {
            contents.schema(&to.schema)?.tables.insert(to.table.clone(), entry);
        }
        Ok(())
    }

    async fn redefine_table(&self, name: &TableName, id: u64, definition: TableDefinition) -> Result<()> {
        self.contents.write().entry_of_id(name, id)?.definition = definition;
        Ok(())
    }

    async fn comment_on_table(
        &self,
        name: &TableName,
        kind: Option<TableKind>,
        column: Option<&str>,
        comment: Option<&str>,
    ) -> Result<()> {
        let mut contents = self.contents.write();
        contents.entry(name, kind)?.comments.set(column, comment);
        Ok(())
    }

    async fn set_statistics(&self, name: &TableName, id: u64, statistics: &TableStatistics) -> Result<()> {
        self.contents.write().entry_of_id(name, id)?.statistics = Some(Arc::new(statistics.clone()));
        Ok(())
    }

    async fn reserve_location(&self, location: &str) -> Result<()> {
        self.contents.write().to_sweep.insert(location.to_owned(), Unclaimed::now());
        Ok(())
    }

    async fn renew_location(&self, location: &str) -> Result<()> {
        let mut contents = self.contents.write();
        let reserved = contents.to_sweep.get_mut(location).filter(|reserved| !reserved.is_claimed);
        *reserved.ok_or_else(|| swept(location))? = Unclaimed::now();
        Ok(())
    }

    async fn locations_to_sweep(&self, untouched_for: Duration) -> Result<Vec<String>> {
        let contents = self.contents.read();
        let old = contents.to_sweep.iter().filter(|(_, place)| place.since.elapsed() >= untouched_for);
        Ok(old.map(|(location, _)| location.clone()).collect())
    }

    async fn claim_location(&self, location: &str, untouched_for: Duration) -> Result<bool> {
        let mut contents = self.contents.write();
        let old = contents.to_sweep.get_mut(location).filter(|place| place.since.elapsed() >= untouched_for);
        Ok(old.map(|place| place.is_claimed = true).is_some())
    }

    async fn forget_location(&self, location: &str) -> Result<()> {
        self.contents.write().to_sweep.remove(location);
        Ok(())
    }

    async fn settings(&self) -> Result<Vec<StoredSetting>> {
        let contents = self.contents.read();
        let settings = contents.settings.iter().map(|((scope, key), value)| StoredSetting {
            scope: scope.clone(),
            key: key.clone(),
            value: value.clone(),
        });
        Ok(settings.collect())
    }

    async fn set_setting(&self, scope: &Scope, key: &str, value: Option<&str>) -> Result<()> {
        let settings = &mut self.contents.write().settings;
        let name = (scope.clone(), key.to_owned());
        match value {
            Some(value) => drop(settings.insert(name, value.to_owned())),
            None => drop(settings.remove(&name)),
        }
        Ok(())
    }
}

impl Comments {
    /// Says something about a column, or about the whole; nothing any more if there is no `comment`.
    pub(crate) fn set(&mut self, column: Option<&str>, comment: Option<&str>) {
        let comment = comment.map(str::to_owned);
        match (column, comment) {
            (None, comment) => self.table = comment,
            (Some(column), Some(comment)) => drop(self.columns.insert(column.to_owned(), comment)),
            (Some(column), None) => drop(self.columns.remove(column)),
        }
    }
}

pub(crate) fn no_catalog(name: &str) -> Error {
    Error::not_found(format!("there is no catalog \"{name}\": SHOW CATALOGS lists them"))
}

pub(crate) fn catalog_exists(name: &str) -> Error {
    Error::already_exists(format!("catalog \"{name}\" already exists"))
}

pub(crate) fn catalog_not_empty(name: &str, tables: usize) -> Error {
    Error::invalid(format!("catalog \"{name}\" holds {tables} tables; add CASCADE to drop them too"))
}

/// Sessions begin in the first catalog.
pub(crate) fn refuse_first(name: &str) -> Result<()> {
    if name == CATALOG {
        return Err(Error::invalid(format!("catalog \"{name}\" is always there: drop its schemas")));
    }
    Ok(())
}

pub(crate) fn no_schema(name: &SchemaName) -> Error {
    Error::not_found(format!("schema \"{name}\" does not exist"))
}

pub(crate) fn schema_exists(name: &SchemaName) -> Error {
    Error::already_exists(format!("schema \"{name}\" already exists"))
}

pub(crate) fn not_empty(name: &SchemaName, tables: usize) -> Error {
    Error::invalid(format!("schema \"{name}\" holds {tables} tables; add CASCADE to drop them too"))
}

pub(crate) fn no_table(name: &TableName, kind: Option<TableKind>) -> Error {
    let kind = kind.unwrap_or(TableKind::Table);
    Error::not_found(format!("{kind} \"{name}\" does not exist"))
}

pub(crate) fn table_exists(name: &TableName, kind: TableKind) -> Error {
    Error::already_exists(format!("{kind} \"{name}\" already exists"))
}

/// Who wrote to a location was silent for so long that it was taken for dead.
pub(crate) fn swept(location: &str) -> Error {
    Error::unavailable(format!(
        "what was written to {location} was swept, because nobody had renewed it for longer than \
         server.sweep_after_seconds: run the statement again"
    ))
}

/// The table with the id that was seen has gone, or another has its name.
pub(crate) fn gone(name: &TableName) -> Error {
    Error::unavailable(format!("table \"{name}\" was dropped or replaced meanwhile: run the statement again"))
}

/// `wanted` is the kind that a statement names.
pub(crate) fn check_kind(name: &TableName, actual: TableKind, wanted: Option<TableKind>) -> Result<()> {
    if wanted.is_none_or(|wanted| wanted == actual) {
        return Ok(());
    }
    let word = if actual == TableKind::View { "VIEW" } else { "TABLE" };
    Err(Error::invalid(format!("\"{name}\" is a {actual}; use DROP {word}, ALTER {word} or COMMENT ON {word}")))
}
