//! All statements of a coordinator: submitted, found by their ids, remembered when they have ended.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use engine::{Error, ErrorKind, Repeat, Result, Session};
use futures::FutureExt;
use parking_lot::Mutex;
use tokio_util::task::AbortOnDropHandle;

use crate::query::{Query, QuerySummary, Work, panicked};
use crate::submission::Submission;

/// All statements: those on their way, and the last ones that have ended.
#[derive(Debug)]
pub(crate) struct Queries {
    by_id: DashMap<String, Arc<Query>>,
    in_order: Mutex<VecDeque<Arc<Query>>>,
    history_rows_max: usize,
    result_idle_max: Duration,
    statement_bytes_max: usize,
}

impl Queries {
    pub(crate) fn new(history_rows_max: usize, result_idle_max: Duration, statement_bytes_max: usize) -> Self {
        Self {
            by_id: DashMap::new(),
            in_order: Mutex::new(VecDeque::new()),
            history_rows_max,
            result_idle_max,
            statement_bytes_max,
        }
    }

    /// Takes a statement and begins with it; see [`Query::settled`]. The client may await that and nothing else.
    ///
    /// # Errors
    /// `Exhausted` for a text over the limit.
    pub(crate) fn submit(&self, session: Arc<Session>, submission: Submission, is_awaited: bool) -> Result<Arc<Query>> {
        if submission.text.len() > self.statement_bytes_max {
            let (bytes, most) = (submission.text.len(), self.statement_bytes_max);
            let message = format!("the statement has {bytes} bytes, more than statement_bytes_max = {most}");
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        let query = Query::new(session.user(), &submission.text);
        if let Some(id) = cancelled_id(&submission.text) {
            self.cancel(id, session.user())?;
            self.remember(&query);
            query.cancelled_another();
            return Ok(query);
        }
        self.begin(&query, Work::Submitted(session, submission), is_awaited);
        Ok(query)
    }

    /// Runs a statement again for a reader who comes after another has read it.
    ///
    /// # Errors
    /// `Invalid` if it is being run again already.
    pub(crate) fn repeat(&self, query: &Query, repeat: Repeat) -> Result<Arc<Query>> {
        let again = Query::new(query.user(), query.text());
        query.set_repeated(&again)?;
        self.begin(&again, Work::Again(repeat), true);
        Ok(again)
    }

    fn begin(&self, query: &Arc<Query>, work: Work, is_awaited: bool) {
        self.remember(query);
        let worker = Arc::clone(query);
        let mut work = Box::pin(async move {
            let cancelled = worker.cancellation();
            let carried_out = AssertUnwindSafe(worker.carry_out(work)).catch_unwind();
            let outcome = tokio::select! {
                outcome = carried_out => outcome.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))),
                () = cancelled.cancelled() => Err(Error::cancelled()),
            };
            if outcome.is_err() {
                worker.end(outcome);
            }
        });
        // A small query is planned before another thread would have woken up for it.
        if is_awaited && work.as_mut().now_or_never().is_some() {
            return;
        }
        #[expect(clippy::disallowed_methods, reason = "the handle is kept by the query and aborts with it")]
        let work = tokio::spawn(work);
        query.keep_work(AbortOnDropHandle::new(work));
    }

    /// Stops a statement for `user`.
    ///
    /// # Errors
    /// `NotFound` if it is unknown or forgotten, `Denied` if it is another user's.
    pub(crate) fn cancel(&self, id: &str, user: &str) -> Result<()> {
        let query = self.get(id)?;
        if query.user().as_ref() != user {
            return Err(Error::new(ErrorKind::Denied, format!("query '{id}' belongs to another user")));
        }
        query.cancel();
        Ok(())
    }

    /// The statement with this id.
    ///
    /// # Errors
    /// `NotFound` if it is unknown or forgotten.
    pub(crate) fn get(&self, id: &str) -> Result<Arc<Query>> {
        let found = self.by_id.get(id).map(|query| Arc::clone(&query));
        found.ok_or_else(|| Error::not_found(format!("no query has the id '{id}'")))
    }

    /// Newest first.
    pub(crate) fn summaries(&self) -> Vec<QuerySummary> {
        let queries: Vec<_> = self.in_order.lock().iter().rev().cloned().collect();
        queries.iter().map(|query| query.summary()).collect()
    }

    /// Drops results that nobody came for.
    pub(crate) fn drop_abandoned(&self) {
        let queries: Vec<_> = self.in_order.lock().iter().cloned().collect();
        for query in queries.iter().filter(|query| query.is_abandoned(self.result_idle_max)) {
            let seconds = self.result_idle_max.as_secs();
            query.end(Err(Error::new(ErrorKind::Exhausted, format!("nobody read the result for {seconds} seconds"))));
            query.cancel();
        }
        queries.iter().for_each(|query| query.forget_after(self.result_idle_max));
    }

    /// Stops everything.
    pub(crate) fn cancel_all(&self) {
        let queries: Vec<_> = self.in_order.lock().iter().cloned().collect();
        queries.iter().for_each(|query| query.cancel());
    }

    fn remember(&self, query: &Arc<Query>) {
        let mut in_order = self.in_order.lock();
        in_order.push_back(Arc::clone(query));
        self.by_id.insert(query.id().to_owned(), Arc::clone(query));
        // Only ended ones are forgotten: what still runs must stay visible.
        while in_order.len() > self.history_rows_max {
            let Some(oldest) = in_order.iter().position(|query| query.has_ended()) else { break };
            if let Some(forgotten) = in_order.remove(oldest) {
                self.by_id.remove(forgotten.id());
            }
        }
    }
}

/// Whether a text is no statement of the engine's, but one about statements.
pub(crate) fn is_about_queries(text: &str) -> bool {
    cancelled_id(text).is_some()
}

/// The id in `CANCEL QUERY 'id'`, which is no statement of the engine's: it is about statements.
fn cancelled_id(text: &str) -> Option<&str> {
    let mut words = text.trim().trim_end_matches(';').split_whitespace();
    let is_cancel = words.next()?.eq_ignore_ascii_case("cancel") && words.next()?.eq_ignore_ascii_case("query");
    let id = words.next()?.strip_prefix('\'')?.strip_suffix('\'')?;
    (is_cancel && words.next().is_none()).then_some(id)
}
