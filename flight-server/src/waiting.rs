//! A client that waits for a statement, and may cease to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::query::Query;

/// Cancels a statement whose client stops waiting for it.
pub(crate) struct CancelOnDrop(Option<Arc<Query>>);

impl CancelOnDrop {
    pub(crate) fn new(query: &Arc<Query>) -> Self {
        Self(Some(Arc::clone(query)))
    }

    /// The client has got what it waited for.
    pub(crate) fn keep(&mut self) {
        self.0 = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(query) = self.0.take() {
            query.cancel();
        }
    }
}

/// Clients that ask how far a statement is.
#[derive(Debug, Default)]
pub(crate) struct Polls {
    /// Those that wait for an answer.
    now: usize,
    /// When the last of them had one.
    last: Option<Instant>,
}

/// A client that asks how far a statement is, until this is dropped.
pub(crate) struct Polled(Arc<Query>);

impl Polled {
    pub(crate) fn new(query: &Arc<Query>) -> Self {
        query.with_polls(|polls| polls.now += 1);
        Self(Arc::clone(query))
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        self.0.with_polls(|polls| {
            polls.now -= 1;
            polls.last = Some(Instant::now());
        });
    }
}

/// Whether a statement goes on for a client who used to ask how far it is, and has not since before `limit` ago.
pub(crate) fn is_unpolled(query: &Query, limit: Duration) -> bool {
    let is_silent = |polls: &mut Polls| polls.now == 0 && polls.last.is_some_and(|at| at.elapsed() >= limit);
    query.with_polls(is_silent) && !query.is_settled()
}
