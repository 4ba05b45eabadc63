//! Statements that clients prepare: a text with a handle.

use bytes::Bytes;
use dashmap::DashMap;
use engine::{Error, ErrorKind, Result};
use uuid::Uuid;

/// Most prepared statements that clients may keep open, all together.
const PREPARED_MAX: usize = 100_000;

/// All that are open.
#[derive(Debug, Default)]
pub(crate) struct PreparedStatements {
    by_handle: DashMap<Bytes, String>,
}

impl PreparedStatements {
    /// Keeps a statement's text; its handle.
    ///
    /// # Errors
    /// `Exhausted` when too many are open.
    pub(crate) fn add(&self, sql: String) -> Result<Bytes> {
        if self.by_handle.len() >= PREPARED_MAX {
            let message = format!("{PREPARED_MAX} prepared statements are open, the most allowed; close some");
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        let handle = Bytes::from(Uuid::new_v4().to_string());
        self.by_handle.insert(handle.clone(), sql);
        Ok(handle)
    }

    /// The text that has this handle.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) fn get(&self, handle: &Bytes) -> Result<String> {
        let found = self.by_handle.get(handle).map(|sql| sql.clone());
        found.ok_or_else(|| Error::not_found("the prepared statement is unknown or closed; prepare it again"))
    }

    /// Forgets one, if it is there.
    pub(crate) fn close(&self, handle: &Bytes) {
        self.by_handle.remove(handle);
    }
}
