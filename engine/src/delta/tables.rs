//! The newest version of each table, kept from one statement to the next: the next look reads only what was added.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use dashmap::DashMap;
use datafusion::execution::runtime_env::RuntimeEnv;
use deltalake::DeltaTable;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::error::delta_error;
use super::snapshot::Snapshot;
use super::store::log_store;
use crate::{Error, ErrorKind, Result};

/// Tables whose newest version is kept.
const TABLES_KEPT_MAX: usize = 1_000;

/// Versions by location.
#[derive(Debug, Default)]
pub(crate) struct DeltaTables {
    newest: DashMap<String, Arc<Snapshot>>,
}

/// An older version of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VersionAt {
    /// By number.
    Version(u64),
    /// The one that was the newest then.
    Time(DateTime<Utc>),
}

impl DeltaTables {
    /// The newest version now.
    ///
    /// # Errors
    /// `NotFound` if there is no table; `Invalid` naming the file for a damaged log; those of the store.
    pub(crate) async fn newest(&self, runtime: &RuntimeEnv, location: &str) -> Result<Arc<Snapshot>> {
        let known = self.newest.get(location).map(|entry| Arc::clone(entry.value()));
        let Some(known) = known else {
            let mut table = DeltaTable::new(log_store(runtime, location)?);
            if let Err(error) = table.load().await {
                return Err(damage(&table, location, delta_error(error, location)).await);
            }
            return self.keep(location, table);
        };
        let mut table = known.table();
        if let Err(error) = table.update_incremental(None).await {
            return Err(damage(&table, location, delta_error(error, location)).await);
        }
        if table.version() == Some(known.version()) {
            return Ok(known);
        }
        self.keep(location, table)
    }

    /// An older version.
    ///
    /// # Errors
    /// As [`Self::newest`], and `NotFound` if there was none then.
    pub(crate) async fn at(&self, runtime: &RuntimeEnv, location: &str, at: VersionAt) -> Result<Arc<Snapshot>> {
        let newest = self.newest(runtime, location).await?;
        let version = match at {
            VersionAt::Version(version) => version,
            VersionAt::Time(time) => version_at(&newest, time).await?,
        };
        if version == newest.version() {
            return Ok(newest);
        }
        if version > newest.version() {
            return Err(missing(&newest, &format!("version {version}")));
        }
        let mut table = DeltaTable::new(newest.log_store());
        let loaded = table.load_version(version).await;
        loaded.map_err(|error| {
            let error = delta_error(error, location);
            // The files of old versions go, with the log that names them.
            Error { message: format!("version {version} cannot be read: {}", error.message), ..error }
        })?;
        Ok(Arc::new(Snapshot::new(location, table)?))
    }

    /// Forgets a table that is gone.
    pub(crate) fn forget(&self, location: &str) {
        self.newest.remove(location);
    }

    fn keep(&self, location: &str, table: DeltaTable) -> Result<Arc<Snapshot>> {
        let snapshot = Arc::new(Snapshot::new(location, table)?);
        if self.newest.len() >= TABLES_KEPT_MAX {
            self.newest.clear();
        }
        self.newest.insert(location.to_owned(), Arc::clone(&snapshot));
        Ok(snapshot)
    }
}

/// `error`, or the file of the log that cannot be read, if that is why.
async fn damage(table: &DeltaTable, location: &str, error: Error) -> Error {
    if !matches!(error.kind, ErrorKind::Invalid | ErrorKind::Internal) {
        return error;
    }
    let store = table.log_store().object_store(None);
    let mut files = store.list(Some(&Path::from("_delta_log")));
    while let Ok(Some(file)) = files.try_next().await {
        if file.location.extension() != Some("json") {
            continue;
        }
        let Ok(bytes) = (match store.get(&file.location).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        }) else {
            continue;
        };
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate();
        for (line, text) in lines {
            if let Err(why) = serde_json::from_slice::<serde_json::Value>(text) {
                let line = line + 1;
                let place = location.strip_prefix("file://").unwrap_or(location);
                return Error::invalid(format!("the log is damaged: {place}{}, line {line}: {why}", file.location));
            }
        }
    }
    let message = error.message.lines().next().unwrap_or_default().to_owned();
    Error { message, ..error }
}

/// The newest version that was made at `time` or before.
async fn version_at(newest: &Snapshot, time: DateTime<Utc>) -> Result<u64> {
    let commits = commits(newest).await?;
    let before = commits.iter().filter(|(_, made)| *made <= time).map(|(version, _)| *version).max();
    before.ok_or_else(|| missing(newest, &format!("version as old as {}", time.format("%F %T%.f UTC"))))
}

/// Versions whose commits are still in the log, with the times at which they were made.
async fn commits(snapshot: &Snapshot) -> Result<Vec<(u64, DateTime<Utc>)>> {
    let table = snapshot.table();
    let history: Vec<_> = table.history(None).try_collect().await.map_err(|error| snapshot.error(error))?;
    let commits = history.into_iter().enumerate().filter_map(|(back, commit)| {
        let version = snapshot.version().checked_sub(back as u64)?;
        Some((version, DateTime::from_timestamp_millis(commit.timestamp?)?))
    });
    Ok(commits.collect())
}

fn missing(newest: &Snapshot, what: &str) -> Error {
    let table = newest.location().strip_prefix("file://").unwrap_or(newest.location());
    let last = newest.version();
    Error::not_found(format!(
        "{table} has no {what}; the newest is {last}: DESCRIBE HISTORY shows those that there are"
    ))
}
