//! What a client sends to be run: text or a plan, with or without parameters.

use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use engine::{Result, Session, Statement};

/// What a client asks to be run.
#[derive(Debug, Clone)]
pub(crate) struct Submission {
    pub(crate) text: String,
    /// A plan in place of the text.
    pub(crate) substrait: Option<Bytes>,
    /// Rows of parameters, `$1` in the first column.
    pub(crate) parameters: Option<RecordBatch>,
}

impl Submission {
    /// A statement without parameters.
    pub(crate) fn plain(text: &str) -> Self {
        Self { text: text.to_owned(), substrait: None, parameters: None }
    }

    /// A plan that a client has made itself.
    pub(crate) fn substrait(plan: Bytes) -> Self {
        Self { text: "-- a Substrait plan".to_owned(), substrait: Some(plan), parameters: None }
    }

    /// The statement that it is in `session`.
    ///
    /// # Errors
    /// Those of planning.
    pub(crate) async fn planned(&self, session: &Arc<Session>) -> Result<Statement> {
        match &self.substrait {
            Some(plan) => session.plan_substrait(plan).await,
            None => session.plan(&self.text).await,
        }
    }

    /// What it takes to keep it.
    pub(crate) fn bytes(&self) -> usize {
        self.text.len()
            + self.substrait.as_ref().map_or(0, Bytes::len)
            + self.parameters.as_ref().map_or(0, RecordBatch::get_array_memory_size)
    }
}
