//! A catalog that lasts, in a SQL database: a SQLite file in the data directory, or a PostgreSQL database that several
//! coordinators share.
//!
//! Nothing is cached: what another process has committed is seen by the next call. Every change is one transaction.
//! A call that cannot reach the database fails within seconds with an error that says so, and the next one tries again.

mod changes;
mod database;
mod definition;
mod faults;
mod place;
mod postgres;
mod sqlite;
mod sweep_lock;
#[cfg(test)]
mod tests;

use std::fmt::{Debug, Formatter};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::PgConnectOptions;

use crate::catalog::memory::{gone, swept};
use crate::catalog::stored::changes::{Changing, comments_of, now_ms};
use crate::catalog::stored::database::{AnyPools, Database, Row, Value};
use crate::catalog::stored::definition::{Record, decode, kind, restore, view_sql};
use crate::catalog::stored::faults::{fault, unreadable};
use crate::catalog::stored::place::Place;
use crate::catalog::{
    Catalog, Detail, SchemaName, SchemaSummary, TableDefinition, TableEntry, TableKind, TableName, TableStatistics,
    TableSummary,
};
use crate::limits::{Scope, StoredSetting};
use crate::{Error, Result};

pub use place::hide_password;
pub use sweep_lock::SweepLock;

/// Limits of a stored catalog.
#[derive(Debug, Clone)]
pub struct CatalogOptions {
    /// Connections for reading; one more writes.
    pub readers_max: u32,
    /// Seconds to wait for a connection.
    pub connect_seconds_max: u64,
    /// Seconds to wait while another process changes the catalog.
    pub busy_seconds_max: u64,
    /// Seconds to wait for the answer to one statement of SQL.
    pub answer_seconds_max: u64,
}

impl Default for CatalogOptions {
    /// Four readers; 5 s for a connection, 10 s for a lock, 15 s for an answer.
    fn default() -> Self {
        Self { readers_max: 4, connect_seconds_max: 5, busy_seconds_max: 10, answer_seconds_max: 15 }
    }
}

/// Catalogs, schemas and tables in a SQL database.
pub struct StoredCatalog {
    database: Database,
    sweep_place: SweepPlace,
}

/// Where the right to sweep is asked for.
enum SweepPlace {
    Beside(PathBuf),
    At(Box<PgConnectOptions>, u64),
}

impl StoredCatalog {
    /// Opens the catalog in a SQLite file, or that of a `postgres://` URL, with the usual limits. What is not there is
    /// made, with an empty schema `public`.
    ///
    /// # Errors
    /// `Unavailable` if the server cannot be reached or another process keeps the file locked, `Denied` if it may not be
    /// written, `Invalid` for a damaged one, one of a newer version, or a bad URL.
    pub async fn open(place: &str) -> Result<Self> {
        Self::open_with(place, CatalogOptions::default()).await
    }

    /// As [`Self::open`], with other limits.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_with(place: &str, options: CatalogOptions) -> Result<Self> {
        let place = Place::parse(place)?;
        let name: Arc<str> = place.name().into();
        let (pools, sweep_place) = match place {
            Place::File(path) => (AnyPools::Sqlite(sqlite::open(&path, &options).await?), SweepPlace::Beside(path)),
            Place::Postgres(url) => {
                let connect = postgres::connect_options(&url, &name, &options)?;
                let pools = postgres::open(&connect, &name, &options).await?;
                (AnyPools::Postgres(pools), SweepPlace::At(Box::new(connect), options.connect_seconds_max))
            }
        };
        let database = Database { place: name, pools, answer_seconds_max: options.answer_seconds_max };
        Ok(Self { database, sweep_place })
    }

    /// The right to sweep locations, unless another process has it: of all that share this catalog, one does.
    ///
    /// # Errors
    /// `Unavailable` if the server cannot be reached, `Denied` if the lock's file cannot be made.
    pub async fn try_sweep_lock(&self) -> Result<Option<SweepLock>> {
        match &self.sweep_place {
            SweepPlace::Beside(path) => SweepLock::of_file(path),
            SweepPlace::At(connect, seconds_max) => SweepLock::of_server(connect, self.place(), *seconds_max).await,
        }
    }

    /// Takes or renews a lease; `false` if another holds it. It ends after `time` on the clock of the database.
    ///
    /// # Errors
    /// `Unavailable` if the database cannot be reached.
    pub async fn hold_lease(&self, name: &str, holder: &str, time: Duration) -> Result<bool> {
        let sql = match self.database.pools {
            AnyPools::Sqlite(_) => sqlite::HOLD_LEASE,
            AnyPools::Postgres(_) => postgres::HOLD_LEASE,
        };
        let time = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let values = [Value::Text(name), Value::Text(holder), Value::Integer(time)];
        Ok(self.database.execute(sql, &values).await? > 0)
    }

    /// Gives up a lease, if `holder` has it.
    ///
    /// # Errors
    /// `Unavailable` if the database cannot be reached.
    pub async fn release_lease(&self, name: &str, holder: &str) -> Result<()> {
        let sql = "DELETE FROM leases WHERE name = $1 AND holder = $2";
        self.database.execute(sql, &[Value::Text(name), Value::Text(holder)]).await.map(|_| ())
    }

    fn place(&self) -> &str {
        &self.database.place
    }

    fn schema_summary(&self, row: &Row) -> Result<SchemaSummary> {
        let read = || -> sqlx::Result<SchemaSummary> {
            let (catalog, schema): (String, String) = (row.get(0)?, row.get(1)?);
            Ok(SchemaSummary { name: SchemaName::new(catalog, schema), comment: row.get(2)? })
        };
        read().map_err(|error| fault(self.place(), error))
    }

    fn table_summary(&self, row: &Row, detail: Detail) -> Result<TableSummary> {
        let read = || -> sqlx::Result<(String, String, Option<String>)> { Ok((row.get(0)?, row.get(1)?, row.get(2)?)) };
        let (name, kind_text, comments) = read().map_err(|error| fault(self.place(), error))?;
        let broken = |error: String| unreadable(self.place(), &format!("\"{name}\""), error);
        let (kind, comments) = (kind(&kind_text).map_err(broken)?, comments_of(comments.as_deref()).map_err(broken)?);
        let (columns, view_sql) = match detail {
            Detail::Names => (None, None),
            Detail::Columns => {
                let read = || -> sqlx::Result<(Vec<u8>, Option<String>)> { Ok((row.get(3)?, row.get(4)?)) };
                let (columns, view) = read().map_err(|error| fault(self.place(), error))?;
                let sql = view.as_deref().map(view_sql).transpose().map_err(broken)?.flatten();
                (Some(decode(&columns).map_err(broken)?), sql)
            }
        };
        Ok(TableSummary { name, kind, columns, view_sql, comments })
    }

    fn table_entry(&self, name: &TableName, row: &Row) -> Result<TableEntry> {
        type Texts = (String, Option<String>, Option<String>, Option<String>);
        let read = || -> sqlx::Result<(i64, bool, Vec<u8>, Texts)> {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, (row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?)))
        };
        let (id, is_managed, columns, (definition, location, comments, statistics)) =
            read().map_err(|error| fault(self.place(), error))?;
        let broken = |error: String| unreadable(self.place(), &format!("\"{name}\""), error);
        let statistics = statistics.as_deref().map(serde_json::from_str).transpose();
        Ok(TableEntry {
            id: u64::try_from(id).map_err(|error| broken(error.to_string()))?,
            definition: restore(&definition, &columns, location, is_managed).map_err(broken)?,
            comments: comments_of(comments.as_deref()).map_err(broken)?,
            statistics: statistics.map_err(|error| broken(error.to_string()))?.map(Arc::new),
        })
    }

    /// Changes the table with this `id`, if its name is still its own.
    async fn update_of_id(&self, sql: &'static str, name: &TableName, id: u64, values: &[Value<'_>]) -> Result<()> {
        let id = i64::try_from(id).map_err(|_| gone(name))?;
        let which = [&[Value::Integer(id)][..], &parts(name)].concat();
        let changed = self.database.execute(sql, &[&which, values].concat()).await?;
        if changed == 0 { Err(gone(name)) } else { Ok(()) }
    }
}

#[async_trait]
impl Catalog for StoredCatalog {
    async fn catalogs(&self) -> Result<Vec<String>> {
        let rows = self.database.rows("SELECT name FROM catalogs ORDER BY name", &[]).await?;
        rows.iter().map(|row| row.get(0).map_err(|error| fault(self.place(), error))).collect()
    }

    async fn create_catalog(&self, name: &str) -> Result<()> {
        let mut change = self.database.begin().await?;
        let done = Changing { change: &mut change, place: self.place() }.create_catalog(name).await;
        change.finish(done).await
    }

    async fn drop_catalog(&self, name: &str, cascade: bool) -> Result<()> {
        let mut change = self.database.begin().await?;
        let done = Changing { change: &mut change, place: self.place() }.drop_catalog(name, cascade).await;
        change.finish(done).await
    }

    async fn schemas(&self) -> Result<Vec<SchemaSummary>> {
        let sql = "SELECT c.name, s.name, s.comment FROM schemas AS s JOIN catalogs AS c ON c.id = s.catalog_id \
                   ORDER BY c.name, s.name";
        let rows = self.database.rows(sql, &[]).await?;
        rows.iter().map(|row| self.schema_summary(row)).collect()
    }

    async fn tables(&self, schema: &SchemaName, detail: Detail) -> Result<Vec<TableSummary>> {
        let sql = match detail {
            Detail::Names => {
                "SELECT t.name, t.kind, t.comments FROM tables AS t JOIN schemas AS s ON s.id = t.schema_id \
                 JOIN catalogs AS c ON c.id = s.catalog_id WHERE c.name = $1 AND s.name = $2 ORDER BY t.name"
            }
            Detail::Columns => {
                "SELECT t.name, t.kind, t.comments, t.columns, CASE WHEN t.kind = 'view' THEN t.definition END \
                 FROM tables AS t JOIN schemas AS s ON s.id = t.schema_id JOIN catalogs AS c ON c.id = s.catalog_id \
                 WHERE c.name = $1 AND s.name = $2 ORDER BY t.name"
            }
        };
        let rows = self.database.rows(sql, &[Value::Text(&schema.catalog), Value::Text(&schema.schema)]).await?;
        rows.iter().map(|row| self.table_summary(row, detail)).collect()
    }

    async fn table(&self, name: &TableName) -> Result<Option<TableEntry>> {
        let sql = "SELECT t.id, t.is_managed, t.columns, t.definition, t.location, t.comments, t.statistics \
                   FROM tables AS t JOIN schemas AS s ON s.id = t.schema_id JOIN catalogs AS c ON c.id = s.catalog_id \
                   WHERE c.name = $1 AND s.name = $2 AND t.name = $3";
        let rows = self.database.rows(sql, &parts(name)).await?;
        rows.first().map(|row| self.table_entry(name, row)).transpose()
    }

    async fn create_schema(&self, name: &SchemaName) -> Result<()> {
        let mut change = self.database.begin().await?;
        let done = Changing { change: &mut change, place: self.place() }.create_schema(name).await;
        change.finish(done).await
    }

    async fn drop_schema(&self, name: &SchemaName, cascade: bool) -> Result<()> {
        let mut change = self.database.begin().await?;
        let done = Changing { change: &mut change, place: self.place() }.drop_schema(name, cascade).await;
        change.finish(done).await
    }

    async fn rename_schema(&self, from: &SchemaName, to: &str) -> Result<()> {
        let mut change = self.database.begin().await?;
        let done = Changing { change: &mut change, place: self.place() }.rename_schema(from, to).await;
        change.finish(done).await
    }

    async fn comment_on_schema(&self, name: &SchemaName, comment: Option<&str>) -> Result<()> {
        let mut change = self.database.begin().await?;
        let done = Changing { change: &mut change, place: self.place() }.comment_on_schema(name, comment).await;
        change.finish(done).await
    }

    async fn create_table(&self, name: &TableName, definition: TableDefinition, replace: bool) -> Result<()> {
        let record = Record::of(name, &definition)?;
        let mut change = self.database.begin().await?;
        let done = Changing { change: &mut change, place: self.place() }.create_table(name, &record, replace).await;
        change.finish(done).await
    }

    async fn drop_table(&self, name: &TableName, kind: TableKind) -> Result<()> {
        let mut change = self.database.begin().await?;
        let done = Changing { change: &mut change, place: self.place() }.drop_table(name, kind).await;
        change.finish(done).await
    }

    async fn rename_table(&self, from: &TableName, to: &TableName, kind: TableKind) -> Result<()> {
        let mut change = self.database.begin().await?;
        let done = Changing { change: &mut change, place: self.place() }.rename_table(from, to, kind).await;
        change.finish(done).await
    }

    async fn redefine_table(&self, name: &TableName, id: u64, definition: TableDefinition) -> Result<()> {
        let record = Record::of(name, &definition)?;
        let sql = "UPDATE tables SET kind = $5, format = $6, location = $7, is_managed = $8, definition = $9, \
                   columns = $10, changed_at_ms = $11 \
                   WHERE id = $1 AND name = $4 AND schema_id = (SELECT s.id FROM schemas AS s JOIN catalogs AS c \
                   ON c.id = s.catalog_id WHERE c.name = $2 AND s.name = $3)";
        let values = [
            Value::Text(record.kind),
            Value::PerhapsText(record.format),
            Value::PerhapsText(record.location.as_deref()),
            Value::Flag(record.is_managed),
            Value::Text(&record.definition),
            Value::Bytes(&record.columns),
            Value::Integer(now_ms()),
        ];
        self.update_of_id(sql, name, id, &values).await
    }

    async fn comment_on_table(
        &self,
        name: &TableName,
        kind: Option<TableKind>,
        column: Option<&str>,
        comment: Option<&str>,
    ) -> Result<()> {
        let mut change = self.database.begin().await?;
        let mut changing = Changing { change: &mut change, place: self.place() };
        let done = changing.comment_on_table(name, kind, column, comment).await;
        change.finish(done).await
    }

    async fn set_statistics(&self, name: &TableName, id: u64, statistics: &TableStatistics) -> Result<()> {
        let json = serde_json::to_string(statistics)
            .map_err(|error| Error::internal(format!("the statistics of \"{name}\" cannot be written: {error}")))?;
        let sql = "UPDATE tables SET statistics = $5 \
                   WHERE id = $1 AND name = $4 AND schema_id = (SELECT s.id FROM schemas AS s JOIN catalogs AS c \
                   ON c.id = s.catalog_id WHERE c.name = $2 AND s.name = $3)";
        self.update_of_id(sql, name, id, &[Value::Text(&json)]).await
    }

    async fn reserve_location(&self, location: &str) -> Result<()> {
        let sql = "INSERT INTO locations_to_sweep (location, since_ms) VALUES ($1, $2) \
                   ON CONFLICT (location) DO UPDATE SET since_ms = excluded.since_ms";
        self.database.execute(sql, &[Value::Text(location), Value::Integer(now_ms())]).await.map(|_| ())
    }

    async fn renew_location(&self, location: &str) -> Result<()> {
        let sql = "UPDATE locations_to_sweep SET since_ms = $2 WHERE location = $1 AND NOT is_claimed";
        match self.database.execute(sql, &[Value::Text(location), Value::Integer(now_ms())]).await? {
            0 => Err(swept(location)),
            _ => Ok(()),
        }
    }

    async fn locations_to_sweep(&self, untouched_for: Duration) -> Result<Vec<String>> {
        let sql = "SELECT location FROM locations_to_sweep WHERE since_ms <= $1 ORDER BY location";
        let rows = self.database.rows(sql, &[latest(untouched_for)]).await?;
        rows.iter().map(|row| row.get(0).map_err(|error| fault(self.place(), error))).collect()
    }

    async fn claim_location(&self, location: &str, untouched_for: Duration) -> Result<bool> {
        let sql = "UPDATE locations_to_sweep SET is_claimed = $3 WHERE location = $1 AND since_ms <= $2";
        let values = [Value::Text(location), latest(untouched_for), Value::Flag(true)];
        Ok(self.database.execute(sql, &values).await? > 0)
    }

    async fn forget_location(&self, location: &str) -> Result<()> {
        let sql = "DELETE FROM locations_to_sweep WHERE location = $1";
        self.database.execute(sql, &[Value::Text(location)]).await.map(|_| ())
    }

    async fn settings(&self) -> Result<Vec<StoredSetting>> {
        let rows = self.database.rows("SELECT scope, name, setting, value FROM settings", &[]).await?;
        let read = |row: &Row| -> sqlx::Result<Option<StoredSetting>> {
            let (kind, name): (String, String) = (row.get(0)?, row.get(1)?);
            let Some(scope) = Scope::of_parts(&kind, &name) else { return Ok(None) };
            Ok(Some(StoredSetting { scope, key: row.get(2)?, value: row.get(3)? }))
        };
        rows.iter().filter_map(|row| read(row).map_err(|error| fault(self.place(), error)).transpose()).collect()
    }

    async fn set_setting(&self, scope: &Scope, key: &str, value: Option<&str>) -> Result<()> {
        let (kind, name) = scope.parts();
        let which = [Value::Text(kind), Value::Text(name), Value::Text(key)];
        let done = match value {
            Some(value) => {
                let sql = "INSERT INTO settings (scope, name, setting, value) VALUES ($1, $2, $3, $4) \
                           ON CONFLICT (scope, name, setting) DO UPDATE SET value = excluded.value";
                self.database.execute(sql, &[&which[..], &[Value::Text(value)]].concat()).await
            }
            None => {
                let sql = "DELETE FROM settings WHERE scope = $1 AND name = $2 AND setting = $3";
                self.database.execute(sql, &which).await
            }
        };
        done.map(|_| ())
    }
}

/// The parts of a name, from its catalog on.
fn parts(name: &TableName) -> [Value<'_>; 3] {
    [Value::Text(&name.schema.catalog), Value::Text(&name.schema.schema), Value::Text(&name.table)]
}

/// The last time at which somebody who has been silent for so long can have been heard.
fn latest(untouched_for: Duration) -> Value<'static> {
    let span_ms = i64::try_from(untouched_for.as_millis()).unwrap_or(i64::MAX);
    Value::Integer(now_ms().saturating_sub(span_ms))
}

/// The options of a connection hold its password.
impl Debug for StoredCatalog {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredCatalog").field("place", &self.place()).finish_non_exhaustive()
    }
}
