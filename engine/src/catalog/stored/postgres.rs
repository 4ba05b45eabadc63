//! A catalog in a PostgreSQL database, for coordinators on several machines.
//!
//! What the URL leaves out comes from where all clients of PostgreSQL take it: `PGPASSWORD`, `~/.pgpass` and the like.

use std::time::Duration;

use futures::FutureExt;
use sqlx::migrate::Migrator;
use sqlx::pool::PoolOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection, Postgres};
use tokio::time::timeout;
use url::Url;

use crate::Result;
use crate::catalog::stored::CatalogOptions;
use crate::catalog::stored::database::Pools;
use crate::catalog::stored::faults::{fault, migration_fault};

/// Takes or renews the lease `$1` for `$2`, for `$3` milliseconds, unless another holds it.
pub(super) const HOLD_LEASE: &str = "\
    INSERT INTO leases (name, holder, ends_ms) VALUES ($1, $2, CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) + $3) \
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, ends_ms = excluded.ends_ms \
    WHERE leases.holder = excluded.holder OR leases.ends_ms < excluded.ends_ms - $3";

/// PostgreSQL's schema of our tables: the database may be one that others use too.
const SCHEMA: &str = "grappe";

/// Advisory locks are numbers that all users of a database share: these are `grappe` and a digit in ASCII.
const MIGRATION_LOCK: i64 = 0x67_72_61_70_70_65_31;
/// Held by the one process that sweeps.
pub(super) const SWEEP_LOCK: i64 = 0x67_72_61_70_70_65_32;

/// How long a connection that was idle may take to show that it is alive.
const PING_TIME_MAX: Duration = Duration::from_secs(1);

/// Makes our tables if they are not there, and brings them to our form.
pub(super) async fn open(connect: &PgConnectOptions, place: &str, options: &CatalogOptions) -> Result<Pools<Postgres>> {
    let pool = PoolOptions::new().before_acquire(|connection: &mut PgConnection, _| ping(connection).boxed());
    let pools = Pools::new(options, &pool, connect);
    let mut first = pools.writer.acquire().await.map_err(|error| fault(place, error))?;
    migrate(&mut first, place).await?;
    Ok(pools)
}

/// How to connect: the URL, and limits that the server keeps.
pub(super) fn connect_options(url: &Url, place: &str, options: &CatalogOptions) -> Result<PgConnectOptions> {
    let milliseconds = |seconds: u64| (seconds * 1000).to_string();
    let limits = [
        ("search_path", SCHEMA.to_owned()),
        ("lock_timeout", milliseconds(options.busy_seconds_max)),
        ("statement_timeout", milliseconds(options.answer_seconds_max)),
        ("idle_in_transaction_session_timeout", milliseconds(options.answer_seconds_max)),
    ];
    let connect = PgConnectOptions::from_url(url).map_err(|error| fault(place, error))?;
    Ok(connect.application_name("grappe").options(limits))
}

/// The server may have been restarted, or the network cut without a word.
async fn ping(connection: &mut PgConnection) -> sqlx::Result<bool> {
    timeout(PING_TIME_MAX, connection.ping()).await.map_err(|_| sqlx::Error::PoolTimedOut)?.map(|()| true)
}

/// One transaction, and nobody else in it: of processes that start together, one does the work.
async fn migrate(connection: &mut PgConnection, place: &str) -> Result<()> {
    let mut migrator: Migrator = sqlx::migrate!("./migrations/postgres");
    migrator.set_locking(false);
    let mut transaction = connection.begin().await.map_err(|error| fault(place, error))?;
    make_schema(&mut transaction).await.map_err(|error| fault(place, error))?;
    migrator.run_direct(None, &mut *transaction, false).await.map_err(|error| migration_fault(place, error))?;
    transaction.commit().await.map_err(|error| fault(place, error))
}

/// Asks first: who may not make schemas can be given one that is there.
async fn make_schema(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(MIGRATION_LOCK).execute(&mut *connection).await?;
    let known = sqlx::query("SELECT 1 FROM pg_namespace WHERE nspname = $1").bind(SCHEMA);
    if known.fetch_optional(&mut *connection).await?.is_none() {
        sqlx::query("CREATE SCHEMA grappe").execute(connection).await?;
    }
    Ok(())
}
