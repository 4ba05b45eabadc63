//! Statements that clients prepare: a text with a handle, and the parameters bound to it.

use std::sync::{Arc, Weak};

use arrow::array::RecordBatch;
use bytes::Bytes;
use dashmap::DashMap;
use engine::{Error, ErrorKind, Result, Session};
use parking_lot::Mutex;
use uuid::Uuid;

use crate::submission::Submission;

/// Most prepared statements that clients may keep open, all together.
const PREPARED_MAX: usize = 100_000;

/// All that are open.
#[derive(Debug, Default)]
pub(crate) struct PreparedStatements {
    by_handle: DashMap<Bytes, Prepared>,
}

#[derive(Debug)]
struct Prepared {
    submission: Submission,
    session: Weak<Session>,
    /// What was bound last.
    parameters: Mutex<Option<RecordBatch>>,
}

impl PreparedStatements {
    /// Keeps a statement for `session`; its handle.
    ///
    /// # Errors
    /// `Exhausted` when too many are open.
    pub(crate) fn add(&self, session: &Arc<Session>, submission: Submission) -> Result<Bytes> {
        if self.by_handle.len() >= PREPARED_MAX {
            // Those of sessions that have ended are nobody's.
            self.by_handle.retain(|_, prepared| prepared.session.strong_count() > 0);
        }
        if self.by_handle.len() >= PREPARED_MAX {
            let message = format!("{PREPARED_MAX} prepared statements are open, the most allowed; close some");
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        let handle = Bytes::from(Uuid::new_v4().to_string());
        let prepared = Prepared { submission, session: Arc::downgrade(session), parameters: Mutex::default() };
        self.by_handle.insert(handle.clone(), prepared);
        Ok(handle)
    }

    /// What to run for this handle, with the parameters bound to it.
    ///
    /// # Errors
    /// `NotFound` if `session` has prepared no such statement.
    pub(crate) fn submission(&self, session: &Arc<Session>, handle: &Bytes) -> Result<Submission> {
        self.with(session, handle, |prepared| Submission {
            parameters: prepared.parameters.lock().clone(),
            ..prepared.submission.clone()
        })
    }

    /// Binds parameters for the runs to come.
    ///
    /// # Errors
    /// As [`Self::submission`].
    pub(crate) fn bind(&self, session: &Arc<Session>, handle: &Bytes, parameters: Option<RecordBatch>) -> Result<()> {
        self.with(session, handle, |prepared| *prepared.parameters.lock() = parameters)
    }

    fn with<T>(&self, session: &Arc<Session>, handle: &Bytes, work: impl FnOnce(&Prepared) -> T) -> Result<T> {
        match self.by_handle.get(handle) {
            Some(prepared) if prepared.session.as_ptr() == Arc::as_ptr(session) => Ok(work(&prepared)),
            _ => Err(Error::not_found(
                "the prepared statement is unknown, closed, or of another session; prepare it again",
            )),
        }
    }

    /// Forgets one, if `session` has prepared it.
    pub(crate) fn close(&self, session: &Arc<Session>, handle: &Bytes) {
        self.by_handle.remove_if(handle, |_, prepared| prepared.session.as_ptr() == Arc::as_ptr(session));
    }
}
