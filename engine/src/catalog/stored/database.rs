//! SQL on either database: pools of connections, values and rows, changes that are whole or not at all.
//!
//! Every text of SQL in this folder is read alike by SQLite and PostgreSQL, so that nothing is written twice. Must not
//! know what the tables mean.

use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::{PoolConnection, PoolOptions};
use sqlx::postgres::PgRow;
use sqlx::query::Query;
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Encode, Pool, Postgres, Row as _, Sqlite, Type};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use crate::Result;
use crate::catalog::stored::CatalogOptions;
use crate::catalog::stored::faults::{fault, silent};

/// A value in a statement.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Integer(i64),
    Flag(bool),
    Text(&'a str),
    PerhapsText(Option<&'a str>),
    Bytes(&'a [u8]),
}

/// A row of an answer.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// What can be read from a row of either database.
pub(super) trait Cell:
    Type<Sqlite> + Type<Postgres> + for<'r> Decode<'r, Sqlite> + for<'r> Decode<'r, Postgres>
{
}

impl<T> Cell for T where T: Type<Sqlite> + Type<Postgres> + for<'r> Decode<'r, Sqlite> + for<'r> Decode<'r, Postgres> {}

impl Row {
    /// The column at this place, from 0.
    pub(super) fn get<T: Cell>(&self, index: usize) -> sqlx::Result<T> {
        match self {
            Self::Sqlite(row) => row.try_get(index),
            Self::Postgres(row) => row.try_get(index),
        }
    }
}

/// Connections of one kind of database. Readers never wait for writers, and the writers of a process queue here, in
/// order, instead of at the database's lock.
pub(super) struct Pools<D: sqlx::Database> {
    pub(super) readers: Pool<D>,
    pub(super) writer: Pool<D>,
}

/// An open database.
pub(super) struct Database {
    pub(super) place: Arc<str>,
    pub(super) pools: AnyPools,
    pub(super) answer_seconds_max: u64,
}

/// Connections of the database that it is.
pub(super) enum AnyPools {
    Sqlite(Pools<Sqlite>),
    Postgres(Pools<Postgres>),
}

impl<D: sqlx::Database> Pools<D> {
    /// Pools whose connections are made when they are needed.
    pub(super) fn new(
        options: &CatalogOptions,
        pool: &PoolOptions<D>,
        connect: &<D::Connection as sqlx::Connection>::Options,
    ) -> Self {
        let of = |connections: u32| {
            let pool = pool.clone().max_connections(connections).test_before_acquire(false);
            let wait = Duration::from_secs(options.connect_seconds_max);
            pool.acquire_timeout(wait).connect_lazy_with(connect.clone())
        };
        Self { readers: of(options.readers_max.max(1)), writer: of(1) }
    }
}

impl Database {
    /// Rows, as they are committed now.
    pub(super) async fn rows(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>> {
        let connection = match &self.pools {
            AnyPools::Sqlite(pools) => pools.readers.acquire().await.map(Connection::Sqlite),
            AnyPools::Postgres(pools) => pools.readers.acquire().await.map(Connection::Postgres),
        };
        self.lend(connection)?.rows(sql, values).await
    }

    /// A change of one statement; how many rows it met.
    pub(super) async fn execute(&self, sql: &'static str, values: &[Value<'_>]) -> Result<u64> {
        self.writer().await?.execute(sql, values).await
    }

    /// Begins a change that no other can come between.
    pub(super) async fn begin(&self) -> Result<Change> {
        let loan = self.writer().await?;
        // From now on the connection is closed, which takes the change back, if nobody finishes it.
        let mut change = Change { loan, is_finished: false };
        let begin = match change.loan.connection {
            // The lock comes first: a transaction that begins by reading may find that another has written since.
            Connection::Sqlite(_) => "BEGIN IMMEDIATE",
            // The row of the first catalog, which stays, is the lock: what is read after it is what the one before has
            // committed.
            Connection::Postgres(_) => "BEGIN; SELECT id FROM catalogs WHERE name = 'grappe' FOR UPDATE",
        };
        change.loan.run(begin).await?;
        Ok(change)
    }

    async fn writer(&self) -> Result<Loan> {
        self.lend(match &self.pools {
            AnyPools::Sqlite(pools) => pools.writer.acquire().await.map(Connection::Sqlite),
            AnyPools::Postgres(pools) => pools.writer.acquire().await.map(Connection::Postgres),
        })
    }

    fn lend(&self, connection: sqlx::Result<Connection>) -> Result<Loan> {
        let connection = connection.map_err(|error| fault(&self.place, error))?;
        let (place, answer_seconds_max) = (Arc::clone(&self.place), self.answer_seconds_max);
        Ok(Loan { connection, place, answer_seconds_max, is_lost: false })
    }
}

/// Statements that take effect together.
pub(super) struct Change {
    loan: Loan,
    is_finished: bool,
}

impl Change {
    pub(super) async fn rows(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>> {
        self.loan.rows(sql, values).await
    }

    pub(super) async fn execute(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<u64> {
        self.loan.execute(sql, values).await
    }

    /// Keeps what was done if it went well, and takes it back if it did not. If the database goes away just now, nobody
    /// knows which.
    pub(super) async fn finish<T>(mut self, outcome: Result<T>) -> Result<T> {
        if self.loan.is_lost {
            return outcome;
        }
        let ended = self.loan.run(if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" }).await;
        self.is_finished = ended.is_ok();
        let outcome = outcome?;
        ended.map_err(|error| error.context("it is not known whether the catalog has kept this change"))?;
        Ok(outcome)
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        if !self.is_finished {
            self.loan.connection.close_on_drop();
        }
    }
}

enum Connection {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

impl Connection {
    fn close_on_drop(&mut self) {
        match self {
            Self::Sqlite(connection) => connection.close_on_drop(),
            Self::Postgres(connection) => connection.close_on_drop(),
        }
    }
}

/// A connection from a pool. One that fails to answer in time does not go back.
struct Loan {
    connection: Connection,
    place: Arc<str>,
    answer_seconds_max: u64,
    is_lost: bool,
}

impl Loan {
    async fn rows(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>> {
        let limit = Duration::from_secs(self.answer_seconds_max);
        let answer = match &mut self.connection {
            Connection::Sqlite(connection) => timeout(limit, query(sql, values).fetch_all(&mut **connection))
                .await
                .map(|rows| rows.map(|rows| rows.into_iter().map(Row::Sqlite).collect())),
            Connection::Postgres(connection) => timeout(limit, query(sql, values).fetch_all(&mut **connection))
                .await
                .map(|rows| rows.map(|rows| rows.into_iter().map(Row::Postgres).collect())),
        };
        self.settle(answer)
    }

    async fn execute(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<u64> {
        let limit = Duration::from_secs(self.answer_seconds_max);
        let answer = match &mut self.connection {
            Connection::Sqlite(connection) => timeout(limit, query(sql, values).execute(&mut **connection))
                .await
                .map(|done| done.map(|done| done.rows_affected())),
            Connection::Postgres(connection) => timeout(limit, query(sql, values).execute(&mut **connection))
                .await
                .map(|done| done.map(|done| done.rows_affected())),
        };
        self.settle(answer)
    }

    /// Statements without values, unprepared.
    async fn run(&mut self, sql: &'static str) -> Result<()> {
        let limit = Duration::from_secs(self.answer_seconds_max);
        let answer = match &mut self.connection {
            Connection::Sqlite(connection) => {
                timeout(limit, sqlx::raw_sql(sql).execute(&mut **connection)).await.map(|done| done.map(|_| ()))
            }
            Connection::Postgres(connection) => {
                timeout(limit, sqlx::raw_sql(sql).execute(&mut **connection)).await.map(|done| done.map(|_| ()))
            }
        };
        self.settle(answer)
    }

    fn settle<T>(&mut self, answer: Result<sqlx::Result<T>, Elapsed>) -> Result<T> {
        match answer {
            Ok(answer) => answer.map_err(|error| fault(&self.place, error)),
            Err(_) => {
                self.is_lost = true;
                self.connection.close_on_drop();
                Err(silent(&self.place, self.answer_seconds_max))
            }
        }
    }
}

fn query<'q, D>(sql: &'static str, values: &[Value<'_>]) -> Query<'q, D, D::Arguments>
where
    D: sqlx::Database,
    i64: for<'t> Encode<'t, D> + Type<D>,
    bool: for<'t> Encode<'t, D> + Type<D>,
    for<'t> &'t str: Encode<'t, D> + Type<D>,
    for<'t> Option<&'t str>: Encode<'t, D> + Type<D>,
    for<'t> &'t [u8]: Encode<'t, D> + Type<D>,
{
    values.iter().fold(sqlx::query(sql), |query, value| match *value {
        Value::Integer(value) => query.bind(value),
        Value::Flag(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
        Value::PerhapsText(value) => query.bind(value),
        Value::Bytes(value) => query.bind(value),
    })
}
