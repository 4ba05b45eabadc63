//! Every statement from its text to its last row: submitted, planned, read, ended; and what is remembered of it.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use chrono::{DateTime, Utc};
use dashmap::DashMap;
use datafusion::execution::SendableRecordBatchStream;
use engine::{Effect, Error, ErrorKind, Mode, Progress, Result, Running, Session, Started, Statement};
use futures::FutureExt;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

/// Characters of a statement that are remembered.
const TEXT_CHARS_MAX: usize = 10_000;

/// Where a statement is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueryState {
    /// Its text is being turned into a plan; or it has an effect and is being carried out.
    Running,
    /// Its rows can be read.
    Ready,
    /// Its rows are being read.
    Reading,
    /// Done.
    Finished,
    /// Ended by an error.
    Failed,
    /// Ended by its user.
    Cancelled,
}

impl QueryState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Running | Self::Reading => "running",
            Self::Ready => "ready",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub(crate) fn has_ended(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Cancelled)
    }
}

#[derive(Debug)]
struct Details {
    mode: Option<Mode>,
    tag: &'static str,
    effect: Effect,
    running: Option<Arc<dyn Running>>,
    progress: Progress,
    rows: u64,
    rows_affected: Option<u64>,
    error: Option<Error>,
    elapsed: Option<Duration>,
    ready_since: Option<Instant>,
    work: Option<AbortOnDropHandle<()>>,
}

/// What a client asks to be run.
#[derive(Debug, Clone)]
pub(crate) struct Submission {
    pub(crate) text: String,
    /// Rows of parameters, `$1` in the first column.
    pub(crate) parameters: Option<RecordBatch>,
}

impl Submission {
    /// A statement without parameters.
    pub(crate) fn plain(text: &str) -> Self {
        Self { text: text.to_owned(), parameters: None }
    }
}

/// One statement.
#[derive(Debug)]
pub(crate) struct Query {
    id: String,
    text: String,
    started_at: DateTime<Utc>,
    started: Instant,
    cancelled: CancellationToken,
    state: watch::Sender<QueryState>,
    details: Mutex<Details>,
}

/// What `system.queries` shows of a statement.
#[derive(Debug, Clone)]
pub(crate) struct QuerySummary {
    pub(crate) id: String,
    pub(crate) statement: String,
    pub(crate) mode: Option<Mode>,
    pub(crate) tasks: u64,
    pub(crate) state: QueryState,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) elapsed: Duration,
    pub(crate) rows: u64,
    pub(crate) error: Option<String>,
}

impl Query {
    fn new(text: &str) -> Self {
        let details = Details {
            mode: None,
            tag: "",
            effect: Effect::None,
            running: None,
            progress: Progress::default(),
            rows: 0,
            rows_affected: None,
            error: None,
            elapsed: None,
            ready_since: None,
            work: None,
        };
        Self {
            id: Uuid::now_v7().to_string(),
            text: text.chars().take(TEXT_CHARS_MAX).collect(),
            started_at: Utc::now(),
            started: Instant::now(),
            cancelled: CancellationToken::new(),
            state: watch::Sender::new(QueryState::Running),
            details: Mutex::new(details),
        }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn tag(&self) -> &'static str {
        self.details.lock().tag
    }

    pub(crate) fn rows_affected(&self) -> Option<u64> {
        self.details.lock().rows_affected
    }

    /// How far it is.
    pub(crate) fn progress(&self) -> Progress {
        let details = self.details.lock();
        details.running.as_ref().map_or(details.progress, |running| running.progress())
    }

    /// Waits until it is ready or has ended.
    ///
    /// # Errors
    /// Its own, if it failed.
    pub(crate) async fn settled(&self) -> Result<()> {
        let mut states = self.state.subscribe();
        // The sender lives as long as `self`: waiting cannot fail.
        let _ = states.wait_for(|state| *state != QueryState::Running).await;
        self.outcome()
    }

    /// Its error, if it failed.
    pub(crate) fn outcome(&self) -> Result<()> {
        self.details.lock().error.clone().map_or(Ok(()), Err)
    }

    /// Whether [`Self::settled`] would return at once.
    pub(crate) fn is_settled(&self) -> bool {
        *self.state.borrow() != QueryState::Running
    }

    /// Columns of its result; none for a statement with an effect.
    pub(crate) fn schema(&self) -> SchemaRef {
        let details = self.details.lock();
        match (&details.running, details.effect) {
            (Some(running), Effect::None) => running.schema(),
            _ => Arc::new(Schema::empty()),
        }
    }

    /// Its rows: once. A statement with an effect has none.
    ///
    /// # Errors
    /// Its own; `Invalid` for a second reader.
    pub(crate) fn read(&self) -> Result<Option<SendableRecordBatchStream>> {
        self.outcome()?;
        let details = self.details.lock();
        if details.effect != Effect::None {
            return Ok(None);
        }
        let Some(running) = details.running.clone() else {
            return Err(Error::invalid("the result has been read already; run the statement again"));
        };
        drop(details);
        let stream = running.stream()?;
        self.state.send_replace(QueryState::Reading);
        Ok(Some(stream))
    }

    /// Counts rows that went to the client.
    pub(crate) fn add_rows(&self, rows: u64) {
        self.details.lock().rows += rows;
    }

    /// Stops it wherever it is; nothing happens if it has ended.
    pub(crate) fn cancel(&self) {
        self.cancelled.cancel();
        let running = self.details.lock().running.clone();
        if let Some(running) = running {
            running.cancel();
        }
        self.end(Err(Error::cancelled()));
    }

    /// Fires when it is cancelled.
    pub(crate) fn cancellation(&self) -> CancellationToken {
        self.cancelled.clone()
    }

    /// Records how it ended, the first time.
    pub(crate) fn end(&self, outcome: Result<()>) {
        let mut details = self.details.lock();
        if details.elapsed.is_some() {
            return;
        }
        details.elapsed = Some(self.started.elapsed());
        // The plan can hold much memory; what it counted is kept.
        if let Some(running) = details.running.take() {
            details.progress = running.progress();
        }
        let state = match &outcome {
            Ok(()) => QueryState::Finished,
            Err(error) if error.kind == ErrorKind::Cancelled => QueryState::Cancelled,
            Err(_) => QueryState::Failed,
        };
        details.error = outcome.err();
        drop(details);
        self.state.send_replace(state);
    }

    fn summary(&self) -> QuerySummary {
        let progress = self.progress();
        let details = self.details.lock();
        QuerySummary {
            id: self.id.clone(),
            statement: self.text.clone(),
            mode: details.mode,
            tasks: progress.tasks_total,
            state: *self.state.borrow(),
            started_at: self.started_at,
            elapsed: details.elapsed.unwrap_or_else(|| self.started.elapsed()),
            rows: details.rows_affected.unwrap_or(details.rows),
            error: details.error.as_ref().map(|error| error.message.clone()),
        }
    }

    /// Plans it, and carries it out if it has an effect: once for each row of parameters.
    async fn carry_out(&self, session: &Session, submission: &Submission) -> Result<()> {
        let statement = session.plan(&submission.text).await?;
        self.describe(&statement);
        let Some(rows) = &submission.parameters else {
            let parameters = statement.parameters()?.fields().len();
            if parameters > 0 {
                return Err(Error::invalid(format!("the statement takes {parameters} parameters, and none is given")));
            }
            return self.start_and_note(session, statement).await;
        };
        if statement.effect() == Effect::None {
            return self.start_and_note(session, statement.bound(rows)?).await;
        }
        let mut rows_affected = None;
        for bound in statement.bound_to_each(rows)? {
            if let Started::Done { rows_affected: Some(rows) } = self.start(session, bound?).await? {
                *rows_affected.get_or_insert(0) += rows;
            }
        }
        self.done(rows_affected);
        Ok(())
    }

    fn describe(&self, statement: &Statement) {
        let mut details = self.details.lock();
        details.tag = statement.tag();
        details.effect = statement.effect();
    }

    async fn start(&self, session: &Session, statement: Statement) -> Result<Started> {
        let choice = session.choose(&statement).await?;
        self.details.lock().mode = Some(choice.execution.mode());
        session.start(&self.id, statement, choice).await
    }

    async fn start_and_note(&self, session: &Session, statement: Statement) -> Result<()> {
        match self.start(session, statement).await? {
            Started::Done { rows_affected } => self.done(rows_affected),
            Started::Rows(running) => {
                let mut details = self.details.lock();
                if details.elapsed.is_some() {
                    running.cancel();
                } else {
                    details.running = Some(running);
                    details.ready_since = Some(Instant::now());
                    drop(details);
                    self.state.send_replace(QueryState::Ready);
                }
            }
        }
        Ok(())
    }

    /// It was about another statement, which has been stopped.
    fn cancelled_another(&self) {
        let mut details = self.details.lock();
        details.tag = "CANCEL QUERY";
        details.effect = Effect::Definition;
        drop(details);
        self.done(None);
    }

    fn done(&self, rows_affected: Option<u64>) {
        self.details.lock().rows_affected = rows_affected;
        self.end(Ok(()));
    }

    /// Whether its result has waited for a reader since before `limit` ago.
    fn is_abandoned(&self, limit: Duration) -> bool {
        *self.state.borrow() == QueryState::Ready
            && self.details.lock().ready_since.is_some_and(|since| since.elapsed() >= limit)
    }
}

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
    pub(crate) fn new(history_rows_max: usize, result_idle_seconds_max: u64, statement_bytes_max: usize) -> Self {
        Self {
            by_id: DashMap::new(),
            in_order: Mutex::new(VecDeque::new()),
            history_rows_max,
            result_idle_max: Duration::from_secs(result_idle_seconds_max),
            statement_bytes_max,
        }
    }

    /// Takes a statement and begins with it; see [`Query::settled`].
    ///
    /// # Errors
    /// `Exhausted` for a text over the limit.
    pub(crate) fn submit(&self, session: Arc<Session>, submission: Submission) -> Result<Arc<Query>> {
        if submission.text.len() > self.statement_bytes_max {
            let (bytes, most) = (submission.text.len(), self.statement_bytes_max);
            let message = format!("the statement has {bytes} bytes, more than statement_bytes_max = {most}");
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        let query = Arc::new(Query::new(&submission.text));
        if let Some(id) = cancelled_id(&submission.text) {
            self.get(id)?.cancel();
            self.remember(&query);
            query.cancelled_another();
            return Ok(query);
        }
        self.remember(&query);
        let worker = Arc::clone(&query);
        #[expect(clippy::disallowed_methods, reason = "the handle is kept by the query and aborts with it")]
        let work = tokio::spawn(async move {
            let cancelled = worker.cancellation();
            let carried_out = AssertUnwindSafe(worker.carry_out(&session, &submission)).catch_unwind();
            let outcome = tokio::select! {
                outcome = carried_out => outcome.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))),
                () = cancelled.cancelled() => Err(Error::cancelled()),
            };
            if outcome.is_err() {
                worker.end(outcome);
            }
        });
        query.details.lock().work = Some(AbortOnDropHandle::new(work));
        Ok(query)
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
    }

    /// Stops everything.
    pub(crate) fn cancel_all(&self) {
        let queries: Vec<_> = self.in_order.lock().iter().cloned().collect();
        queries.iter().for_each(|query| query.cancel());
    }

    fn remember(&self, query: &Arc<Query>) {
        let mut in_order = self.in_order.lock();
        in_order.push_back(Arc::clone(query));
        self.by_id.insert(query.id.clone(), Arc::clone(query));
        // Only ended ones are forgotten: what still runs must stay visible.
        while in_order.len() > self.history_rows_max {
            let Some(oldest) = in_order.iter().position(|query| query.state.borrow().has_ended()) else { break };
            if let Some(forgotten) = in_order.remove(oldest) {
                self.by_id.remove(&forgotten.id);
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

/// What a panic said, as our fault.
pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    Error::internal(format!("the engine failed inside: {}", text.unwrap_or("no message")))
}
