//! What goes wrong in a database, as an error that says what the caller can do.

use std::sync::Arc;

use sqlx::error::DatabaseError;
use sqlx::migrate::MigrateError;
use sqlx::sqlite::SqliteError;

use crate::{Error, ErrorKind};

/// Translates an error of the database at `place`.
pub(super) fn fault(place: &str, error: sqlx::Error) -> Error {
    let translated = translate(place, &error);
    Error { source: Some(Arc::new(error)), ..translated }
}

/// Translates an error of bringing the database at `place` to our form.
pub(super) fn migration_fault(place: &str, error: MigrateError) -> Error {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => fault(place, error),
        MigrateError::VersionMissing(version) => Error::invalid(format!(
            "the catalog {place} was written by a newer version of grappe (its form {version} is unknown here): use that \
             version"
        )),
        MigrateError::VersionMismatch(version) => Error::invalid(format!(
            "the catalog {place} was not made by a release of grappe (its form {version} differs): use the binary that \
             made it"
        )),
        other => Error::internal(format!("the catalog {place} cannot be brought up to date: {other}")),
    }
}

/// The database has not answered.
pub(super) fn silent(place: &str, seconds: u64) -> Error {
    Error::unavailable(format!("the catalog {place} has not answered for {seconds} s: try again later"))
}

/// What is stored cannot be read.
pub(super) fn unreadable(place: &str, what: &str, error: impl std::fmt::Display) -> Error {
    Error::internal(format!("the catalog {place} holds {what} in a form that cannot be read: {error}"))
}

fn translate(place: &str, error: &sqlx::Error) -> Error {
    match error {
        sqlx::Error::Database(error) => match error.try_downcast_ref::<SqliteError>() {
            Some(error) => of_sqlite(place, error),
            None => of_postgres(place, error.as_ref()),
        },
        sqlx::Error::Io(error) => away(place, error),
        sqlx::Error::Tls(error) => away(place, error),
        sqlx::Error::PoolTimedOut => away(place, "no connection in time"),
        sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed | sqlx::Error::Protocol(_) => away(place, error),
        sqlx::Error::Configuration(error) => Error::invalid(format!("the catalog {place} cannot be opened: {error}")),
        other => Error::internal(format!("the catalog {place} failed: {other}")),
    }
}

fn away(place: &str, why: impl std::fmt::Display) -> Error {
    Error::unavailable(format!("the catalog {place} cannot be reached: {why}; try again when it is back"))
}

/// Result codes: <https://www.sqlite.org/rescode.html>. The low byte tells the family.
fn of_sqlite(place: &str, error: &SqliteError) -> Error {
    const FAMILY: i32 = 0xff;
    if error.is_unique_violation() {
        return taken(place);
    }
    let message = error.message();
    let code: i32 = error.code().and_then(|code| code.parse().ok()).unwrap_or_default();
    match code & FAMILY {
        // SQLITE_BUSY, SQLITE_LOCKED, SQLITE_PROTOCOL
        5 | 6 | 15 => Error::unavailable(format!("the catalog {place} is locked by another process: try again")),
        // SQLITE_PERM, SQLITE_READONLY, SQLITE_CANTOPEN, SQLITE_AUTH
        3 | 8 | 14 | 23 => denied(place, message),
        // SQLITE_FULL
        13 => {
            Error::unavailable(format!("no room for the catalog {place}: {message}; free disk space, then try again"))
        }
        // SQLITE_NOMEM, SQLITE_INTERRUPT, SQLITE_IOERR
        7 | 9 | 10 => away(place, message),
        // SQLITE_CORRUPT, SQLITE_NOTADB
        11 | 26 => Error::invalid(format!(
            "the catalog {place} is damaged or is no catalog: {message}; put back a copy, or move it away to begin with \
             an empty one"
        )),
        _ => Error::internal(format!("the catalog {place} failed: {error}")),
    }
}

/// SQLSTATE: <https://www.postgresql.org/docs/current/errcodes-appendix.html>. The first two characters tell the class.
fn of_postgres(place: &str, error: &dyn DatabaseError) -> Error {
    let (message, code) = (error.message(), error.code().unwrap_or_default());
    match (code.get(..2).unwrap_or_default(), &*code) {
        (_, "23505") => taken(place),
        // Privileges; who we are.
        (_, "42501") | ("28", _) => denied(place, message),
        ("3D", _) => Error::not_found(format!("the catalog {place} is not there: {message}; make the database")),
        // A name that it cannot keep.
        ("22", _) => Error::invalid(format!("the catalog {place} cannot keep this: {message}")),
        // Connections; transactions that met each other, or time out; resources; locks; operators; the system.
        ("08" | "25" | "40" | "53" | "55" | "57" | "58", _) => away(place, message),
        _ => Error::internal(format!("the catalog {place} failed: {error} ({code})")),
    }
}

fn denied(place: &str, message: &str) -> Error {
    let message = format!("the catalog {place} may not be read and written by this user: {message}");
    Error::new(ErrorKind::Denied, message)
}

/// Another process was faster between our look and our change.
fn taken(place: &str) -> Error {
    Error::already_exists(format!("another statement has just taken this name in the catalog {place}"))
}
