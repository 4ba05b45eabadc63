//! What was written becomes the next version of a table: once, whatever is tried again.

use deltalake::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake::kernel::{Action, Transaction};
use deltalake::protocol::DeltaOperation;
use serde_json::Value;

use super::snapshot::Snapshot;
use crate::Result;

/// Times that a commit looks whether other writers' commits leave room for it.
const COMMIT_TRIES_MAX: usize = 15;

/// Why there is no new version.
#[derive(Debug)]
pub(crate) enum NotCommitted {
    /// Another writer was first, with something that this one has read or replaced: do it again on what is there now.
    Conflict(crate::Error),
    /// Anything else.
    Error(crate::Error),
}

/// Commits `actions` on top of `snapshot`, or of what others have added since if that does not
/// matter; `is_alone` says that it does. The log keeps the name of the `transaction`.
pub(crate) async fn commit(
    snapshot: &Snapshot,
    actions: Vec<Action>,
    operation: DeltaOperation,
    query_id: &str,
    transaction: &str,
    is_alone: bool,
) -> Result<u64, NotCommitted> {
    let log = snapshot.log().map_err(NotCommitted::Error)?;
    let tries = if is_alone { 0 } else { COMMIT_TRIES_MAX };
    let committed = CommitBuilder::from(properties(query_id, transaction).with_max_retries(tries))
        .with_actions(actions)
        .build(Some(log), snapshot.log_store(), operation)
        .await;
    match committed {
        Ok(commit) => Ok(commit.version()),
        Err(error) if super::error::is_conflict(&error) => Err(NotCommitted::Conflict(snapshot.error(error))),
        Err(error) => Err(NotCommitted::Error(snapshot.error(error))),
    }
}

/// What the log says of who has committed. A transaction is committed once.
pub(crate) fn properties(query_id: &str, transaction: &str) -> CommitProperties {
    let engine = format!("grappe/{}", env!("CARGO_PKG_VERSION"));
    let metadata = [
        // The library puts its own name where this would be `engineInfo`.
        ("engine".to_owned(), Value::String(engine)),
        ("queryId".to_owned(), Value::String(query_id.to_owned())),
    ];
    CommitProperties::default().with_metadata(metadata).with_application_transaction(Transaction::new(transaction, 1))
}
