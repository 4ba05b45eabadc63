//! Delta Lake's errors as ours.

use std::error::Error as StdError;

use datafusion::error::DataFusionError;
use deltalake::DeltaTableError;
use deltalake::kernel::transaction::{CommitConflictError, TransactionError};

use crate::Error;

/// What happened to the table at `location`.
pub(crate) fn delta_error(error: DeltaTableError, location: &str) -> Error {
    let shown = location.strip_prefix("file://").unwrap_or(location);
    let translated = translate(&error, shown);
    Error { source: translated.source.clone().or_else(|| Some(std::sync::Arc::new(error))), ..translated }
}

/// Whether another writer was first: the statement can be done again on what is there now.
pub(crate) fn is_conflict(error: &DeltaTableError) -> bool {
    matches!(
        error,
        DeltaTableError::Transaction {
            source: TransactionError::CommitConflict(_)
                | TransactionError::MaxCommitAttempts(_)
                | TransactionError::VersionAlreadyExists(_)
        } | DeltaTableError::VersionAlreadyExists(_)
    )
}

fn translate(error: &DeltaTableError, table: &str) -> Error {
    match error {
        DeltaTableError::NotATable(_) | DeltaTableError::NotInitialized => {
            Error::not_found(format!("there is no Delta table at {table}"))
        }
        DeltaTableError::InvalidVersion(version) => {
            Error::not_found(format!("{table} has no version {version}: DESCRIBE HISTORY shows those that it has"))
        }
        DeltaTableError::Transaction { source } => transaction_error(source, table),
        DeltaTableError::VersionAlreadyExists(_) => taken(table),
        DeltaTableError::InvalidJsonLog { version, json_err, .. } => {
            Error::invalid(format!("the log of {table} is damaged: {}: {json_err}", log_file(*version)))
        }
        DeltaTableError::ObjectStore { source } => Error::from(copy_of(source)).context(table),
        other => inner_error(other).unwrap_or_else(|| Error::invalid(other.to_string())).context(table),
    }
}

fn log_file(version: u64) -> String {
    format!("_delta_log/{version:020}.json")
}

fn taken(table: &str) -> Error {
    Error::unavailable(format!("other writers were first at {table}: run the statement again"))
}

fn transaction_error(error: &TransactionError, table: &str) -> Error {
    match error {
        TransactionError::CommitConflict(CommitConflictError::MetadataChanged) => {
            Error::unavailable(format!("the columns of {table} were changed meanwhile: run the statement again"))
        }
        TransactionError::CommitConflict(conflict) => {
            let reason = conflict.to_string();
            let reason = reason.trim_end_matches('.');
            Error::unavailable(format!("another writer changed {table} ({reason}): run the statement again"))
        }
        TransactionError::MaxCommitAttempts(_) | TransactionError::VersionAlreadyExists(_) => taken(table),
        TransactionError::ObjectStore { source } => Error::from(copy_of(source)).context(table),
        other => inner_error(other).unwrap_or_else(|| Error::invalid(other.to_string())).context(table),
    }
}

/// A store's error, for our translation: it cannot be cloned, and does not own what it is in.
fn copy_of(error: &object_store::Error) -> DataFusionError {
    use object_store::Error as Store;
    let text = || -> Box<dyn StdError + Send + Sync> { error.to_string().into() };
    DataFusionError::ObjectStore(Box::new(match error {
        Store::NotFound { path, .. } => Store::NotFound { path: path.clone(), source: text() },
        Store::AlreadyExists { path, .. } => Store::AlreadyExists { path: path.clone(), source: text() },
        Store::PermissionDenied { path, .. } => Store::PermissionDenied { path: path.clone(), source: text() },
        Store::Unauthenticated { path, .. } => Store::Unauthenticated { path: path.clone(), source: text() },
        other => match io_kind(other) {
            Some(kind) => return DataFusionError::IoError(std::io::Error::new(kind, other.to_string())),
            None => Store::Generic { store: "object store", source: text() },
        },
    }))
}

/// What the operating system said, if it did; an error of a writer may hold one of a store, and that one of the system.
fn io_kind(error: &(dyn StdError + 'static)) -> Option<std::io::ErrorKind> {
    let mut current = Some(error);
    while let Some(error) = current {
        current = match error.downcast_ref::<std::io::Error>() {
            Some(io) => match io.get_ref() {
                Some(inner) => Some(inner),
                None => return Some(io.kind()),
            },
            None => error.source(),
        };
    }
    None
}

/// An error of ours, of the store or of DataFusion that Delta Lake's crates have wrapped.
fn inner_error(error: &(dyn StdError + 'static)) -> Option<Error> {
    let mut current = error.source();
    while let Some(error) = current {
        if let Some(own) = error.downcast_ref::<Error>() {
            return Some(own.clone());
        }
        if let Some(store) = error.downcast_ref::<object_store::Error>() {
            return Some(Error::from(copy_of(store)));
        }
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            let kind = io_kind(io).unwrap_or(io.kind());
            return Some(Error::from(DataFusionError::IoError(std::io::Error::new(kind, io.to_string()))));
        }
        if let Some(DataFusionError::ResourcesExhausted(message)) = error.downcast_ref::<DataFusionError>() {
            return Some(Error::from(DataFusionError::ResourcesExhausted(message.clone())));
        }
        current = error.source();
    }
    None
}
