//! What a statement may take, and what it has taken: its turn among others, time, rows and bytes.

use std::time::{Duration, Instant};

use arrow::array::{Array, ArrayRef, RecordBatch};
use engine::limits::{LayeredLimits, Limit};
use engine::{Error, ErrorKind, Result};

use crate::admission::Permit;

/// A result whose reader is so far behind does not keep others from running.
const UNREAD_TIME_MAX: Duration = Duration::from_secs(1);

/// Of one statement.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// What it may take.
    pub(crate) limits: LayeredLimits,
    /// Its right to run, while it needs one.
    permit: Option<Permit>,
    /// Whether it needs none any more.
    is_over: bool,
    queued_since: Option<Instant>,
    queued: Option<Duration>,
    /// Since when it does not wait for others.
    running_since: Option<Instant>,
    /// Bytes that went to the client, if they are limited.
    result_bytes: u64,
    /// Since when its reader has had a batch and not asked for the next.
    unread_since: Option<Instant>,
    /// Since when its reader has waited for the next.
    asked_since: Option<Instant>,
    /// Time for which it has waited for its reader, less that for which its reader has waited for it: never below zero.
    reader_lag: Duration,
}

impl Turn {
    /// Whether it need not ask.
    pub(crate) fn has_permit(&self) -> bool {
        self.permit.is_some()
    }

    /// It waits for others.
    pub(crate) fn waits(&mut self) {
        self.queued_since = Some(Instant::now());
    }

    /// It no longer waits.
    ///
    /// # Errors
    /// That of the queue; `Cancelled` if the statement has ended meanwhile, so that the right goes to the next.
    pub(crate) fn ends_waiting(&mut self, permit: Result<Permit>) -> Result<()> {
        self.queued = self.queued_since.map(|since| since.elapsed());
        let permit = permit?;
        if self.is_over {
            return Err(Error::cancelled());
        }
        self.permit = Some(permit);
        self.begins();
        Ok(())
    }

    /// It runs.
    pub(crate) fn begins(&mut self) {
        self.running_since.get_or_insert_with(Instant::now);
    }

    /// For how long it waited, or has waited.
    pub(crate) fn queued(&self) -> Duration {
        self.queued.unwrap_or_else(|| self.queued_since.map_or(Duration::ZERO, |since| since.elapsed()))
    }

    /// The statement has ended. Its right to run, for others.
    #[must_use]
    pub(crate) fn ends(&mut self) -> Option<Permit> {
        self.is_over = true;
        self.permit.take()
    }

    /// The same, if it waits for its reader more than its reader for it, or nobody has read on since
    /// `ready_unread_since`.
    #[must_use]
    pub(crate) fn give_way(&mut self, ready_unread_since: Option<Instant>) -> Option<Permit> {
        let since = self.unread_since.or(ready_unread_since)?;
        if self.reader_lag + since.elapsed() >= UNREAD_TIME_MAX { self.permit.take() } else { None }
    }

    /// The error of one that has run for too long.
    pub(crate) fn overdue(&self) -> Option<Error> {
        let most = self.limits.limit(Limit::QueryRuntime)?;
        let is_over = self.running_since?.elapsed().as_secs() >= most;
        is_over.then(|| exceeded("the statement has run for longer than", Limit::QueryRuntime, most))
    }

    /// Its reader waits for rows.
    pub(crate) fn is_asked(&mut self) {
        self.reader_lag += self.unread_since.take().map_or(Duration::ZERO, |since| since.elapsed());
        self.asked_since = Some(Instant::now());
    }

    /// Rows go to its reader; `rows` are those up to now.
    ///
    /// # Errors
    /// `Exhausted` if there are more rows or bytes than there may be.
    pub(crate) fn count(&mut self, batch: &RecordBatch, rows: u64) -> Result<()> {
        let waited = self.asked_since.take().map_or(Duration::ZERO, |since| since.elapsed());
        self.reader_lag = self.reader_lag.saturating_sub(waited);
        self.unread_since = Some(Instant::now());
        if let Some(most) = self.limits.limit(Limit::ResultRows).filter(|most| rows > *most) {
            return Err(exceeded("the result has more rows than", Limit::ResultRows, most));
        }
        let Some(most) = self.limits.limit(Limit::ResultBytes) else { return Ok(()) };
        let size = |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or(0) as u64;
        self.result_bytes += batch.columns().iter().map(size).sum::<u64>();
        if self.result_bytes > most {
            return Err(exceeded("the result has more bytes than", Limit::ResultBytes, most));
        }
        Ok(())
    }
}

fn exceeded(what: &str, limit: Limit, most: u64) -> Error {
    Error::new(ErrorKind::Exhausted, format!("{what} {limit} = {most}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use engine::Priority;
    use engine::limits::{Limits, Rules};
    use futures::FutureExt;

    use super::*;
    use crate::admission::{Admission, Ask};

    #[tokio::test]
    async fn a_right_that_comes_after_the_end_goes_to_the_next() {
        let mut one = Limits::default();
        one.set(Limit::Queries, Some(1));
        let admission = Admission::new(Rules::new(one, &BTreeMap::new(), Vec::new()).unwrap());
        let permit = || {
            let (user, priority, limits) = ("ana".into(), Priority::Normal, LayeredLimits::default());
            let ask = Ask { id: "1".to_owned(), user, priority, is_large: false, limits };
            admission.admit(ask).now_or_never()
        };
        let mut running = Turn::default();
        running.ends_waiting(permit().expect("the queue is empty")).unwrap();
        assert!(permit().is_none());
        drop(running.ends());

        let mut cancelled = Turn::default();
        let late = permit().expect("the first has ended");
        assert!(cancelled.ends().is_none());
        assert_eq!(cancelled.ends_waiting(late).unwrap_err().kind, ErrorKind::Cancelled);
        assert!(permit().is_some());
    }
}
