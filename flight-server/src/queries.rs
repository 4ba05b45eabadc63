//! All statements of a coordinator: submitted, found by their ids, remembered when they have ended.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use engine::{Error, ErrorKind, Repeat, Result, Session};
use futures::FutureExt;
use futures::future::join_all;
use parking_lot::Mutex;
use tokio_util::task::AbortOnDropHandle;

use crate::admission::Admission;
use crate::query::{Query, Work};
use crate::submission::Submission;
use crate::summary::QuerySummary;
use crate::system::Executors;
use crate::waiting::is_unpolled;

/// How long a coordinator that stops waits for readers of results that are ready.
const UNREAD_TIME_MAX: Duration = Duration::from_secs(2);

/// All statements: those on their way, and the last ones that have ended.
#[derive(Debug)]
pub(crate) struct Queries {
    by_id: DashMap<String, Arc<Query>>,
    in_order: Mutex<VecDeque<Arc<Query>>>,
    executors: Arc<dyn Executors>,
    admission: Arc<Admission>,
    /// Whether no further statements are taken.
    is_closed: AtomicBool,
    history_rows_max: usize,
    result_idle_max: Duration,
    poll_pause_max: Duration,
    statement_bytes_max: usize,
}

impl Queries {
    pub(crate) fn new(
        executors: Arc<dyn Executors>,
        admission: Arc<Admission>,
        history_rows_max: usize,
        result_idle_max: Duration,
        poll_pause_max: Duration,
        statement_bytes_max: usize,
    ) -> Self {
        Self {
            executors,
            admission,
            is_closed: AtomicBool::new(false),
            by_id: DashMap::new(),
            in_order: Mutex::new(VecDeque::new()),
            history_rows_max,
            result_idle_max,
            poll_pause_max,
            statement_bytes_max,
        }
    }

    /// Takes a statement and begins with it; see [`Query::settled`]. The client may await that and nothing else.
    ///
    /// # Errors
    /// `Exhausted` for a text over the limit, `Unavailable` once closed.
    pub(crate) fn submit(&self, session: Arc<Session>, submission: Submission, is_awaited: bool) -> Result<Arc<Query>> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(stopping());
        }
        if submission.text.len() > self.statement_bytes_max {
            let (bytes, most) = (submission.text.len(), self.statement_bytes_max);
            let message = format!("the statement has {bytes} bytes, more than statement_bytes_max = {most}");
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        let query = Query::new(session.user(), &submission.text, &self.admission);
        match Order::of(&submission.text) {
            Some(Order::CancelQuery(id)) => {
                self.cancel(id, session.user())?;
                self.remember(&query);
                query.carried_out("CANCEL QUERY");
                return Ok(query);
            }
            Some(Order::DrainExecutor(name)) => {
                let work = Work::Drain(Arc::clone(&self.executors), name.to_owned());
                self.begin(&query, work, is_awaited);
                return Ok(query);
            }
            None => {}
        }
        self.begin(&query, Work::Submitted(session, submission), is_awaited);
        Ok(query)
    }

    /// Runs a statement again for a reader who comes after another has read it.
    ///
    /// # Errors
    /// `Invalid` if it is being run again already.
    pub(crate) fn repeat(&self, query: &Query, repeat: Repeat) -> Result<Arc<Query>> {
        let again = Query::new(query.user(), query.text(), &self.admission);
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
        let mut places = self.admission.places();
        let summary = |query: &Arc<Query>| QuerySummary { queue: places.remove(query.id()), ..query.summary() };
        queries.iter().map(summary).collect()
    }

    /// Has limits that count time kept, stops what nobody waits for, and lets in who may run since others changed.
    pub(crate) fn enforce_limits(&self) {
        let queries: Vec<_> = self.in_order.lock().iter().filter(|query| !query.has_ended()).cloned().collect();
        queries.iter().for_each(|query| query.enforce());
        queries.iter().filter(|query| is_unpolled(query, self.poll_pause_max)).for_each(|query| query.cancel());
        self.admission.reclassify();
        self.admission.dispatch();
    }

    /// Drops results that nobody came for.
    pub(crate) fn drop_abandoned(&self) {
        let queries: Vec<_> = self.in_order.lock().iter().cloned().collect();
        for query in queries.iter().filter(|query| query.is_abandoned(self.result_idle_max)) {
            let seconds = self.result_idle_max.as_secs();
            query.stop(Error::new(ErrorKind::Exhausted, format!("nobody read the result for {seconds} seconds")));
        }
        queries.iter().for_each(|query| query.forget_after(self.result_idle_max));
    }

    /// Takes no further statements, and returns when those that it has taken have ended. Results that nobody reads are not
    /// waited for.
    pub(crate) async fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        let queries: Vec<_> = self.in_order.lock().iter().cloned().collect();
        join_all(queries.iter().map(|query| query.ended_or_left(UNREAD_TIME_MAX))).await;
    }

    /// Stops everything.
    pub(crate) fn stop_all(&self) {
        let queries: Vec<_> = self.in_order.lock().iter().cloned().collect();
        for query in queries {
            // Nobody has cancelled it: it can be run again.
            query.stop(stopping());
        }
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

/// What a panic said, as our fault.
pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    engine::panicked(text.unwrap_or("no message"))
}

fn stopping() -> Error {
    Error::unavailable("the coordinator is stopping: run the statement again when it is back")
}

/// Whether a text is no statement of the engine's, but an order to the coordinator.
pub(crate) fn is_order(text: &str) -> bool {
    Order::of(text).is_some()
}

/// What is no statement of the engine's: it is about statements, or executors.
#[derive(Debug, PartialEq, Eq)]
enum Order<'t> {
    /// `CANCEL QUERY 'id'`
    CancelQuery(&'t str),
    /// `DRAIN EXECUTOR 'id'`
    DrainExecutor(&'t str),
}

impl<'t> Order<'t> {
    fn of(text: &'t str) -> Option<Self> {
        let text = text.trim().trim_end_matches(';').trim_end();
        let (verb, rest) = text.split_once(char::is_whitespace)?;
        let (noun, name) = rest.trim_start().split_once(char::is_whitespace)?;
        let name = name.trim().strip_prefix('\'')?.strip_suffix('\'').filter(|name| !name.contains('\''))?;
        match (verb.to_ascii_lowercase().as_str(), noun.to_ascii_lowercase().as_str()) {
            ("cancel", "query") => Some(Self::CancelQuery(name)),
            ("drain", "executor") => Some(Self::DrainExecutor(name)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_told_from_statements() {
        assert_eq!(Order::of(" cancel  QUERY 'a-1' ; "), Some(Order::CancelQuery("a-1")));
        assert_eq!(Order::of("DRAIN\nEXECUTOR 'my box'"), Some(Order::DrainExecutor("my box")));
        for other in ["CANCEL QUERY a", "DRAIN EXECUTOR", "DRAIN EXECUTOR 'a' OR 'b'", "SELECT 'cancel query'", ""] {
            assert_eq!(Order::of(other), None, "{other}");
        }
    }
}
