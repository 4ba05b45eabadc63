//! What each change does, between its begin and its end.

use std::time::SystemTime;

use crate::catalog::memory::{
    catalog_exists, catalog_not_empty, check_kind, no_catalog, no_schema, no_table, not_empty, refuse_first,
    schema_exists, table_exists,
};
use crate::catalog::stored::database::{Change, Row, Value};
use crate::catalog::stored::definition::{Record, kind};
use crate::catalog::stored::faults::{fault, unreadable};
use crate::catalog::stored::parts;
use crate::catalog::{Comments, SchemaName, TableKind, TableName};
use crate::config::SCHEMA;
use crate::{Error, Result};

/// A table that a change has found.
struct Found {
    id: i64,
    kind: TableKind,
    comments: Comments,
}

/// A change, and the catalog's name for messages.
pub(super) struct Changing<'a> {
    pub(super) change: &'a mut Change,
    pub(super) place: &'a str,
}

impl Changing<'_> {
    pub(super) async fn create_catalog(&mut self, name: &str) -> Result<()> {
        if self.find_catalog(name).await?.is_some() {
            return Err(catalog_exists(name));
        }
        self.execute("INSERT INTO catalogs (name) VALUES ($1)", &[Value::Text(name)]).await?;
        self.create_schema(&SchemaName::new(name, SCHEMA)).await
    }

    pub(super) async fn drop_catalog(&mut self, name: &str, cascade: bool) -> Result<()> {
        let id = self.catalog(name).await?;
        refuse_first(name)?;
        let sql = "SELECT count(*) FROM tables AS t JOIN schemas AS s ON s.id = t.schema_id WHERE s.catalog_id = $1";
        let tables = self.count(sql, id).await?;
        if tables > 0 && !cascade {
            return Err(catalog_not_empty(name, tables));
        }
        let sql = "INSERT INTO locations_to_sweep (location, since_ms) \
                   SELECT location, $1 FROM tables WHERE is_managed \
                   AND schema_id IN (SELECT id FROM schemas WHERE catalog_id = $2) \
                   ON CONFLICT (location) DO UPDATE SET since_ms = excluded.since_ms";
        self.execute(sql, &[Value::Integer(now_ms()), Value::Integer(id)]).await?;
        // Its schemas go with it, and their tables with them.
        self.execute("DELETE FROM catalogs WHERE id = $1", &[Value::Integer(id)]).await
    }

    pub(super) async fn create_schema(&mut self, name: &SchemaName) -> Result<()> {
        let catalog = self.catalog(&name.catalog).await?;
        if self.find_schema(name).await?.is_some() {
            return Err(schema_exists(name));
        }
        let sql = "INSERT INTO schemas (catalog_id, name) VALUES ($1, $2)";
        self.execute(sql, &[Value::Integer(catalog), Value::Text(&name.schema)]).await
    }

    pub(super) async fn drop_schema(&mut self, name: &SchemaName, cascade: bool) -> Result<()> {
        let id = self.schema(name).await?;
        let tables = self.count("SELECT count(*) FROM tables WHERE schema_id = $1", id).await?;
        if tables > 0 && !cascade {
            return Err(not_empty(name, tables));
        }
        let sql = "INSERT INTO locations_to_sweep (location, since_ms) \
                   SELECT location, $1 FROM tables WHERE schema_id = $2 AND is_managed \
                   ON CONFLICT (location) DO UPDATE SET since_ms = excluded.since_ms";
        self.execute(sql, &[Value::Integer(now_ms()), Value::Integer(id)]).await?;
        // Its tables go with it.
        self.execute("DELETE FROM schemas WHERE id = $1", &[Value::Integer(id)]).await
    }

    pub(super) async fn rename_schema(&mut self, from: &SchemaName, to: &str) -> Result<()> {
        let new = SchemaName::new(from.catalog.as_str(), to);
        if self.find_schema(&new).await?.is_some() {
            return Err(schema_exists(&new));
        }
        let id = self.schema(from).await?;
        self.execute("UPDATE schemas SET name = $1 WHERE id = $2", &[Value::Text(to), Value::Integer(id)]).await
    }

    pub(super) async fn comment_on_schema(&mut self, name: &SchemaName, comment: Option<&str>) -> Result<()> {
        let id = self.schema(name).await?;
        let sql = "UPDATE schemas SET comment = $1 WHERE id = $2";
        self.execute(sql, &[Value::PerhapsText(comment), Value::Integer(id)]).await
    }

    pub(super) async fn create_table(&mut self, name: &TableName, record: &Record, replace: bool) -> Result<()> {
        let schema = self.schema(&name.schema).await?;
        if let Some(existing) = self.find(name).await? {
            if !replace {
                return Err(table_exists(name, existing.kind));
            }
            if existing.kind != kind(record.kind).map_err(Error::internal)? {
                return Err(Error::invalid(format!("\"{name}\" is a {}; drop it first", existing.kind)));
            }
            self.remove(existing.id).await?;
        }
        self.insert(schema, name, record).await?;
        match &record.location {
            Some(location) if record.is_managed => {
                self.execute("DELETE FROM locations_to_sweep WHERE location = $1", &[Value::Text(location)]).await
            }
            _ => Ok(()),
        }
    }

    pub(super) async fn drop_table(&mut self, name: &TableName, kind: TableKind) -> Result<()> {
        let table = self.table(name, Some(kind)).await?;
        self.remove(table.id).await
    }

    pub(super) async fn rename_table(&mut self, from: &TableName, to: &TableName, kind: TableKind) -> Result<()> {
        let table = self.table(from, Some(kind)).await?;
        let schema = self.schema(&to.schema).await?;
        if let Some(existing) = self.find(to).await? {
            return Err(table_exists(to, existing.kind));
        }
        let sql = "UPDATE tables SET schema_id = $1, name = $2, changed_at_ms = $3 WHERE id = $4";
        let (schema, now, id) = (Value::Integer(schema), Value::Integer(now_ms()), Value::Integer(table.id));
        self.execute(sql, &[schema, Value::Text(&to.table), now, id]).await
    }

    pub(super) async fn comment_on_table(
        &mut self,
        name: &TableName,
        kind: Option<TableKind>,
        column: Option<&str>,
        comment: Option<&str>,
    ) -> Result<()> {
        let mut table = self.table(name, kind).await?;
        table.comments.set(column, comment);
        let json = serde_json::to_string(&table.comments)
            .map_err(|error| Error::internal(format!("comments on \"{name}\" cannot be written: {error}")))?;
        let sql = "UPDATE tables SET comments = $1 WHERE id = $2";
        self.execute(sql, &[Value::Text(&json), Value::Integer(table.id)]).await
    }

    /// The table, which has to be of this kind if one is given.
    async fn table(&mut self, name: &TableName, wanted: Option<TableKind>) -> Result<Found> {
        let found = self.find(name).await?.ok_or_else(|| no_table(name, wanted))?;
        check_kind(name, found.kind, wanted)?;
        Ok(found)
    }

    async fn find(&mut self, name: &TableName) -> Result<Option<Found>> {
        let sql = "SELECT t.id, t.kind, t.comments FROM tables AS t JOIN schemas AS s ON s.id = t.schema_id \
                   JOIN catalogs AS c ON c.id = s.catalog_id WHERE c.name = $1 AND s.name = $2 AND t.name = $3";
        let rows = self.change.rows(sql, &parts(name)).await?;
        rows.first().map(|row| self.found(name, row)).transpose()
    }

    fn found(&self, name: &TableName, row: &Row) -> Result<Found> {
        let read = || -> sqlx::Result<(i64, String, Option<String>)> { Ok((row.get(0)?, row.get(1)?, row.get(2)?)) };
        let (id, kind_text, comments) = read().map_err(|error| fault(self.place, error))?;
        let broken = |error: String| unreadable(self.place, &format!("\"{name}\""), error);
        let comments = comments_of(comments.as_deref()).map_err(broken)?;
        Ok(Found { id, kind: kind(&kind_text).map_err(broken)?, comments })
    }

    async fn catalog(&mut self, name: &str) -> Result<i64> {
        self.find_catalog(name).await?.ok_or_else(|| no_catalog(name))
    }

    async fn find_catalog(&mut self, name: &str) -> Result<Option<i64>> {
        self.number("SELECT id FROM catalogs WHERE name = $1", &[Value::Text(name)]).await
    }

    async fn schema(&mut self, name: &SchemaName) -> Result<i64> {
        let Some(id) = self.find_schema(name).await? else {
            self.catalog(&name.catalog).await?;
            return Err(no_schema(name));
        };
        Ok(id)
    }

    async fn find_schema(&mut self, name: &SchemaName) -> Result<Option<i64>> {
        let sql = "SELECT s.id FROM schemas AS s JOIN catalogs AS c ON c.id = s.catalog_id \
                   WHERE c.name = $1 AND s.name = $2";
        self.number(sql, &[Value::Text(&name.catalog), Value::Text(&name.schema)]).await
    }

    /// How many rows `sql` counts for this id.
    async fn count(&mut self, sql: &'static str, id: i64) -> Result<usize> {
        let count = self.number(sql, &[Value::Integer(id)]).await?;
        Ok(count.and_then(|count| usize::try_from(count).ok()).unwrap_or_default())
    }

    async fn number(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<Option<i64>> {
        let rows = self.change.rows(sql, values).await?;
        rows.first().map(|row| row.get(0)).transpose().map_err(|error| fault(self.place, error))
    }

    /// Removes a table; a location that was its own is to be swept.
    async fn remove(&mut self, id: i64) -> Result<()> {
        let sql = "INSERT INTO locations_to_sweep (location, since_ms) \
                   SELECT location, $1 FROM tables WHERE id = $2 AND is_managed \
                   ON CONFLICT (location) DO UPDATE SET since_ms = excluded.since_ms";
        self.execute(sql, &[Value::Integer(now_ms()), Value::Integer(id)]).await?;
        self.execute("DELETE FROM tables WHERE id = $1", &[Value::Integer(id)]).await
    }

    async fn insert(&mut self, schema: i64, name: &TableName, record: &Record) -> Result<()> {
        let sql = "INSERT INTO tables (schema_id, name, kind, format, location, is_managed, definition, columns, \
                   created_at_ms, changed_at_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)";
        let values = [
            Value::Integer(schema),
            Value::Text(&name.table),
            Value::Text(record.kind),
            Value::PerhapsText(record.format),
            Value::PerhapsText(record.location.as_deref()),
            Value::Flag(record.is_managed),
            Value::Text(&record.definition),
            Value::Bytes(&record.columns),
            Value::Integer(now_ms()),
        ];
        self.execute(sql, &values).await
    }

    async fn execute(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<()> {
        self.change.execute(sql, values).await.map(|_| ())
    }
}

/// What was said about a table; nothing is stored before anything is said.
pub(super) fn comments_of(json: Option<&str>) -> Result<Comments, String> {
    json.map_or_else(|| Ok(Comments::default()), |json| serde_json::from_str(json).map_err(|error| error.to_string()))
}

/// Milliseconds since 1970 by this machine's clock. What is compared with it is hours old, so that the clocks of several
/// machines need only agree roughly.
pub(super) fn now_ms() -> i64 {
    let elapsed = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}
