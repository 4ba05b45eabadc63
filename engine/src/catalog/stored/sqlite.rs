//! A catalog in a file: SQLite, written by any number of processes of one machine.

use std::io::ErrorKind as Io;
use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::migrate::Migrator;
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::time::sleep;

use crate::catalog::stored::CatalogOptions;
use crate::catalog::stored::database::Pools;
use crate::catalog::stored::faults::{fault, migration_fault};
use crate::{Error, ErrorKind, Result};

/// Takes or renews the lease `$1` for `$2`, for `$3` milliseconds, unless another holds it.
pub(super) const HOLD_LEASE: &str = "\
    INSERT INTO leases (name, holder, ends_ms) VALUES ($1, $2, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) + $3) \
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, ends_ms = excluded.ends_ms \
    WHERE leases.holder = excluded.holder OR leases.ends_ms < excluded.ends_ms - $3";

/// Rows that a connection's thread reads ahead of who asked for them.
const ROWS_AHEAD: usize = 1024;

/// Pause before asking again for a lock that SQLite does not wait for.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// Makes the file and its directory if they are not there, and brings it to our form.
pub(super) async fn open(path: &Path, options: &CatalogOptions) -> Result<Pools<sqlx::Sqlite>> {
    let place = path.display().to_string();
    make_directory(path)?;
    let busy = Duration::from_secs(options.busy_seconds_max);
    let connect = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .foreign_keys(true)
        .busy_timeout(busy)
        // A killed process loses nothing either way; FULL keeps what was committed through a power cut too, for one
        // `fsync` a change, and changes of names are rare.
        .synchronous(SqliteSynchronous::Full)
        .row_buffer_size(ROWS_AHEAD);
    // A migration that makes a table anew must not take along what refers to the old one.
    let mut first =
        first_connection(&connect.clone().foreign_keys(false), busy).await.map_err(|error| fault(&place, error))?;
    migrate(&mut first, &place).await?;
    // Threads and file handles cost little; connections that stay keep their statements.
    let pool = PoolOptions::new().max_lifetime(None).idle_timeout(None);
    let pools = Pools::new(options, &pool, &connect);
    // Closed last, or the write-ahead log would be removed and made again.
    drop(pools.readers.acquire().await.map_err(|error| fault(&place, error))?);
    first.close().await.map_err(|error| fault(&place, error))?;
    Ok(pools)
}

/// SQLite would only say that it cannot open the file.
fn make_directory(path: &Path) -> Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(directory)
        .and_then(|()| tempfile::tempfile_in(directory).map(drop))
        .map_err(|error| unusable(path, directory, &error))
}

fn unusable(path: &Path, directory: &Path, error: &std::io::Error) -> Error {
    let kind = match error.kind() {
        Io::PermissionDenied | Io::ReadOnlyFilesystem => ErrorKind::Denied,
        Io::StorageFull | Io::QuotaExceeded => ErrorKind::Unavailable,
        _ => ErrorKind::Invalid,
    };
    let message = format!("cannot write the catalog {} into {}: {error}", path.display(), directory.display());
    Error::new(kind, message)
}

/// The first connection to a new file turns it to write-ahead logging, for which SQLite wants the file alone and does
/// not wait: of processes that start together, all but one ask again.
async fn first_connection(connect: &SqliteConnectOptions, busy: Duration) -> sqlx::Result<SqliteConnection> {
    let connect = connect.clone().journal_mode(SqliteJournalMode::Wal);
    let started = Instant::now();
    loop {
        match connect.connect().await {
            Err(sqlx::Error::Database(error)) if is_locked(error.as_ref()) && started.elapsed() < busy => {
                sleep(RETRY_PAUSE).await;
            }
            other => return other,
        }
    }
}

fn is_locked(error: &dyn sqlx::error::DatabaseError) -> bool {
    error.message().contains("database is locked")
}

/// One transaction, and nobody else in it: of processes that start together, one does the work.
async fn migrate(connection: &mut SqliteConnection, place: &str) -> Result<()> {
    let mut migrator: Migrator = sqlx::migrate!("./migrations/sqlite");
    migrator.set_locking(false);
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(|error| fault(place, error))?;
    migrator.run_direct(None, &mut *transaction, false).await.map_err(|error| migration_fault(place, error))?;
    transaction.commit().await.map_err(|error| fault(place, error))
}
