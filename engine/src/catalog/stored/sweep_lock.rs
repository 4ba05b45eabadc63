//! The right to sweep: of all processes that share a catalog, one has it.

use std::fmt::{Debug, Formatter};
use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::time::timeout;

use crate::catalog::stored::faults::{fault, silent};
use crate::catalog::stored::postgres::SWEEP_LOCK;
use crate::{Error, ErrorKind, Result};

/// The right to sweep, until it is dropped or its process ends.
pub struct SweepLock(Held);

enum Held {
    /// Locked by this handle.
    File { _file: File },
    /// Locked by this connection, which serves for nothing else.
    Connection(Box<PgConnection>),
}

impl SweepLock {
    /// Whether it is still held: a PostgreSQL server forgets it when the connection is cut.
    pub async fn is_held(&mut self) -> bool {
        match &mut self.0 {
            Held::File { .. } => true,
            Held::Connection(connection) => timeout(PING_TIME_MAX, connection.ping()).await.is_ok_and(|it| it.is_ok()),
        }
    }

    /// A lock on a file beside the catalog's.
    pub(super) fn of_file(catalog: &Path) -> Result<Option<Self>> {
        let path = catalog.with_extension("sweep-lock");
        let denied =
            |error: std::io::Error| Error::new(ErrorKind::Denied, format!("cannot lock {}: {error}", path.display()));
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(denied)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(Held::File { _file: file }))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(denied(error)),
        }
    }

    /// A lock in the database.
    pub(super) async fn of_server(connect: &PgConnectOptions, place: &str, seconds_max: u64) -> Result<Option<Self>> {
        let lock = async {
            let mut connection = connect.connect().await?;
            let taken = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(SWEEP_LOCK);
            let is_ours: bool = taken.fetch_one(&mut connection).await?;
            Ok((connection, is_ours))
        };
        let (connection, is_ours) = timeout(Duration::from_secs(seconds_max), lock)
            .await
            .map_err(|_| silent(place, seconds_max))?
            .map_err(|error| fault(place, error))?;
        Ok(is_ours.then(|| Self(Held::Connection(Box::new(connection)))))
    }
}

/// How long the server may take to show that it is there.
const PING_TIME_MAX: Duration = Duration::from_secs(2);

impl Debug for SweepLock {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("SweepLock")
    }
}
