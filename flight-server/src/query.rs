//! One statement from its text to its last row: planned, carried out, read, ended; and read again.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use chrono::{DateTime, Utc};
use datafusion::execution::SendableRecordBatchStream;
use engine::{
    Effect, Error, ErrorKind, Mode, Progress, Repeat, Result, Running, Session, Started, Statement, Watch,
    grappe_options,
};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::admission::{Admission, Ask};
use crate::submission::Submission;
use crate::summary::{QueryState, QuerySummary, result_of_writing, stored_count};
use crate::system::Executors;
use crate::turn::Turn;
use crate::waiting::Polls;

/// Characters of a statement that are remembered.
const TEXT_CHARS_MAX: usize = 10_000;
/// Bytes of a statement and its parameters up to which it is kept for running it again.
const REPEATED_BYTES_MAX: usize = 1 << 20;
/// Most parts that a result is offered in.
const PARTS_MAX: usize = 1_024;

#[derive(Debug)]
struct Details {
    mode: Option<Mode>,
    tag: &'static str,
    effect: Effect,
    schema: SchemaRef,
    running: Option<Arc<dyn Running>>,
    /// The plan that a statement with an effect runs now.
    step: Option<Arc<dyn Running>>,
    /// Parts of the result that nobody has come for.
    parts: Vec<Option<Part>>,
    parts_unfinished: usize,
    /// How to run it again, kept as long as its tickets are good.
    repeat: Option<Repeat>,
    /// The last time it was run again.
    repeated: Option<Arc<Query>>,
    progress: Progress,
    /// What went wrong and was made good, of the plan that has ended.
    setbacks: Vec<String>,
    rows: u64,
    rows_affected: Option<u64>,
    error: Option<Error>,
    elapsed: Option<Duration>,
    ready_since: Option<Instant>,
    ended_at: Option<Instant>,
    polls: Polls,
    /// Whether it ended because its reader went away.
    left: bool,
    work: Option<AbortOnDropHandle<()>>,
    turn: Turn,
}

struct Part(SendableRecordBatchStream);

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Part")
    }
}

/// What there is to do for a statement.
#[derive(Debug)]
pub(crate) enum Work {
    /// Its text is run in a session.
    Submitted(Arc<Session>, Submission),
    /// It is run again as it was.
    Again(Repeat),
    /// An executor finishes and leaves.
    Drain(Arc<dyn Executors>, String),
}

/// What a reader gets.
pub(crate) enum Reading {
    /// Rows as they are made.
    Rows(SendableRecordBatchStream),
    /// What is stored of a statement with an effect.
    Stored(RecordBatch),
    /// It has been read, and can be run again.
    Again(Box<Repeat>),
}

/// One statement.
#[derive(Debug)]
pub(crate) struct Query {
    /// For the statement, which tells what it runs.
    this: Weak<Query>,
    id: String,
    user: Arc<str>,
    text: String,
    started_at: DateTime<Utc>,
    started: Instant,
    admission: Arc<Admission>,
    cancelled: CancellationToken,
    state: watch::Sender<QueryState>,
    details: Mutex<Details>,
}

impl Watch for Query {
    fn runs(&self, mode: Mode, plan: &Arc<dyn Running>) {
        let mut details = self.details.lock();
        // A statement that writes is the coordinator's, and its rows come from wherever they are.
        if details.effect != Effect::None && details.elapsed.is_none() {
            details.mode = Some(mode);
            details.step = Some(Arc::clone(plan));
        }
    }
}

impl Query {
    /// A statement of `user`'s that nothing has been done for.
    pub(crate) fn new(user: &Arc<str>, text: &str, admission: &Arc<Admission>) -> Arc<Self> {
        let details = Details {
            mode: None,
            tag: "",
            effect: Effect::None,
            schema: Arc::new(Schema::empty()),
            running: None,
            step: None,
            parts: Vec::new(),
            parts_unfinished: 0,
            repeat: None,
            repeated: None,
            progress: Progress::default(),
            setbacks: Vec::new(),
            rows: 0,
            rows_affected: None,
            error: None,
            elapsed: None,
            ready_since: None,
            ended_at: None,
            polls: Polls::default(),
            left: false,
            work: None,
            turn: Turn::default(),
        };
        Arc::new_cyclic(|this: &Weak<Self>| Self {
            this: Weak::clone(this),
            id: Uuid::now_v7().to_string(),
            user: Arc::clone(user),
            text: text.chars().take(TEXT_CHARS_MAX).collect(),
            started_at: Utc::now(),
            started: Instant::now(),
            admission: Arc::clone(admission),
            cancelled: CancellationToken::new(),
            state: watch::Sender::new(QueryState::Running),
            details: Mutex::new(details),
        })
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn user(&self) -> &Arc<str> {
        &self.user
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
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
        details.running.as_ref().or(details.step.as_ref()).map_or(details.progress, |running| running.progress())
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

    /// Whether it has rows to read, or had.
    pub(crate) fn has_rows(&self) -> bool {
        self.details.lock().effect == Effect::None
    }

    /// Whether it was stopped because its reader went away.
    pub(crate) fn was_left(&self) -> bool {
        self.details.lock().left
    }

    /// Returns when nothing more will happen to it, or nobody has come for its rows for `unread_max`.
    pub(crate) async fn ended_or_left(&self, unread_max: Duration) {
        let mut states = self.state.subscribe();
        loop {
            let state = *states.borrow_and_update();
            // The sender lives as long as `self`: waiting cannot fail.
            match state {
                state if state.has_ended() => return,
                QueryState::Ready if timeout(unread_max, states.changed()).await.is_err() => return,
                QueryState::Ready => {}
                _ => _ = states.changed().await,
            }
        }
    }

    /// Whether nothing more will happen to it.
    pub(crate) fn has_ended(&self) -> bool {
        self.state.borrow().has_ended()
    }

    /// Columns of its result: a count for a statement that writes, none for one that defines.
    pub(crate) fn schema(&self) -> SchemaRef {
        let details = self.details.lock();
        match (details.effect, details.rows_affected) {
            (Effect::None, _) => SchemaRef::clone(&details.schema),
            (_, Some(_)) => result_of_writing(),
            (_, None) => Arc::new(Schema::empty()),
        }
    }

    /// Parts that its result can be read in.
    pub(crate) fn parts(&self) -> u32 {
        self.details.lock().parts.len().max(1) as u32
    }

    /// A part of its rows, the first time; afterwards the way to run it again. A statement with an effect tells what it
    /// did, as often as it is asked.
    ///
    /// # Errors
    /// Its own; `Invalid` while another reads it, and when it cannot be run again.
    pub(crate) fn read(&self, part: u32) -> Result<Reading> {
        let mut details = self.details.lock();
        if let Some(error) = details.error.as_ref().filter(|_| !details.left) {
            return Err(error.clone());
        }
        if details.effect != Effect::None {
            return Ok(Reading::Stored(stored_count(details.rows_affected)?));
        }
        if let Some(Part(rows)) = details.parts.get_mut(part as usize).and_then(Option::take) {
            drop(details);
            self.state.send_replace(QueryState::Reading);
            return Ok(Reading::Rows(rows));
        }
        let is_being_read =
            details.elapsed.is_none() || details.repeated.as_ref().is_some_and(|query| !query.has_ended());
        if is_being_read {
            return Err(being_read());
        }
        match &details.repeat {
            Some(repeat) if details.parts.len() <= 1 => Ok(Reading::Again(Box::new(repeat.clone()))),
            _ => Err(Error::invalid("the result has been read, and cannot be read again; run the statement again")),
        }
    }

    /// Notes that it is being run again, for its second reader.
    ///
    /// # Errors
    /// `Invalid` if another reader was faster.
    pub(crate) fn set_repeated(&self, query: &Arc<Self>) -> Result<()> {
        let mut details = self.details.lock();
        if details.repeated.as_ref().is_some_and(|query| !query.has_ended()) {
            return Err(being_read());
        }
        details.repeated = Some(Arc::clone(query));
        Ok(())
    }

    /// Counts rows that go to the client.
    ///
    /// # Errors
    /// `Exhausted` if there are more than there may be.
    pub(crate) fn add_rows(&self, batch: &RecordBatch) -> Result<()> {
        let mut details = self.details.lock();
        details.rows += batch.num_rows() as u64;
        let rows = details.rows;
        details.turn.count(batch, rows)
    }

    /// Notes that its reader waits for rows.
    pub(crate) fn is_asked(&self) {
        self.details.lock().turn.is_asked();
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

    /// Stops it because its reader went away, who may come back.
    pub(crate) fn leave(&self) {
        if !self.has_ended() {
            self.details.lock().left = true;
            self.cancel();
        }
    }

    /// Notes that a part of its rows has been read to its end; with the last one it ends.
    pub(crate) fn part_finished(&self) {
        let mut details = self.details.lock();
        details.parts_unfinished = details.parts_unfinished.saturating_sub(1);
        details.ready_since = Some(Instant::now());
        let is_last = details.parts_unfinished == 0;
        drop(details);
        if is_last {
            self.end(Ok(()));
        }
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
        details.ended_at = Some(Instant::now());
        // The plan can hold much memory; what it counted is kept.
        let step = details.step.take();
        if let Some(running) = details.running.take().or(step) {
            details.progress = running.progress();
            details.setbacks = running.setbacks();
        }
        let state = match &outcome {
            Ok(()) => QueryState::Finished,
            Err(error) if error.kind == ErrorKind::Cancelled => QueryState::Cancelled,
            Err(_) => QueryState::Failed,
        };
        details.error = outcome.err();
        if details.error.is_some() && !details.left {
            details.repeat = None;
        }
        let unread: Vec<_> = details.parts.iter_mut().map(Option::take).collect();
        let permit = details.turn.ends();
        drop(details);
        drop((unread, permit));
        self.state.send_replace(state);
    }

    /// Forgets what is kept for tickets that have expired since.
    pub(crate) fn forget_after(&self, limit: Duration) {
        let mut details = self.details.lock();
        let repeat = match details.ended_at {
            Some(ended) if ended.elapsed() >= limit => details.repeat.take(),
            _ => None,
        };
        drop(details);
        drop(repeat);
    }

    /// Keeps the handle of what works for it, which stops with it.
    pub(crate) fn keep_work(&self, work: AbortOnDropHandle<()>) {
        self.details.lock().work = Some(work);
    }

    pub(crate) fn summary(&self) -> QuerySummary {
        let progress = self.progress();
        let details = self.details.lock();
        QuerySummary {
            id: self.id.clone(),
            user: Arc::clone(&self.user),
            statement: self.text.clone(),
            mode: details.mode,
            progress,
            state: *self.state.borrow(),
            started_at: self.started_at,
            elapsed: details.elapsed.unwrap_or_else(|| self.started.elapsed()),
            rows: details.rows_affected.unwrap_or(details.rows),
            error: details.error.as_ref().map(|error| error.message.clone()),
            queue: None,
            queued: details.turn.queued(),
            setbacks: details
                .running
                .as_ref()
                .or(details.step.as_ref())
                .map_or_else(|| details.setbacks.clone(), |running| running.setbacks()),
        }
    }

    /// Does what there is to do until its rows can be read, or to its end if it has an effect.
    pub(crate) async fn carry_out(&self, work: Work) -> Result<()> {
        match work {
            Work::Drain(executors, name) => {
                executors.drain(&name).await?;
                self.carried_out("DRAIN EXECUTOR");
                Ok(())
            }
            Work::Submitted(session, submission) => self.submitted(&session, &submission).await,
            Work::Again(repeat) => {
                self.limit(repeat.statement());
                let (mode, running) = repeat.start(&self.id).await?;
                self.admitted(repeat.statement(), running.is_large()).await?;
                let mut details = self.details.lock();
                details.mode = Some(mode);
                details.tag = "SELECT";
                drop(details);
                self.ready(running, 1)
            }
        }
    }

    /// Plans it, and carries it out if it has an effect: once for each row of parameters.
    async fn submitted(&self, session: &Arc<Session>, submission: &Submission) -> Result<()> {
        let mut statement = submission.planned(session).await?;
        self.describe(&statement);
        match &submission.parameters {
            None => {
                let parameters = statement.parameters()?.fields().len();
                if parameters > 0 {
                    return Err(Error::invalid(format!(
                        "the statement takes {parameters} parameters, and none is given"
                    )));
                }
            }
            Some(rows) if statement.effect() == Effect::None => statement = statement.bound(rows)?,
            Some(rows) => return self.for_each_row(session, &statement, rows).await,
        }
        if submission.bytes() <= REPEATED_BYTES_MAX {
            self.details.lock().repeat = session.repeat(&statement);
        }
        let parts_max = grappe_options(statement.state.config()).result_endpoints_max;
        match self.start(session, statement).await? {
            Started::Done { rows_affected } => {
                self.done(rows_affected);
                Ok(())
            }
            Started::Rows(running) => self.ready(running, parts_max),
        }
    }

    async fn for_each_row(&self, session: &Session, statement: &Statement, rows: &RecordBatch) -> Result<()> {
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

    async fn start(&self, session: &Session, mut statement: Statement) -> Result<Started> {
        statement.watch = Some(Weak::clone(&self.this) as Weak<dyn Watch>);
        self.limit(&statement);
        let choice = session.choose(&statement).await?;
        let mode = choice.execution.mode();
        self.details.lock().mode = Some(mode);
        if mode != Mode::Local || statement.effect() != Effect::None {
            self.admitted(&statement, true).await?;
            return session.start(&self.id, statement, choice).await;
        }
        // Locally, a query is only planned before it is read: then it is known how large it is.
        let asked = statement.clone();
        let started = session.start(&self.id, statement, choice).await?;
        if let Started::Rows(running) = &started {
            self.admitted(&asked, running.is_large()).await?;
        }
        Ok(started)
    }

    /// Notes what it may take.
    fn limit(&self, statement: &Statement) {
        self.details.lock().turn.limits = grappe_options(statement.state.config()).limits;
    }

    /// Waits for its turn.
    async fn admitted(&self, statement: &Statement, is_large: bool) -> Result<()> {
        if statement.is_light() || self.details.lock().turn.has_permit() {
            self.details.lock().turn.begins();
            return Ok(());
        }
        let options = grappe_options(statement.state.config());
        let (priority, limits) = (options.priority, options.limits);
        let ask = Ask { id: self.id.clone(), user: Arc::clone(&self.user), priority, is_large, limits };
        self.details.lock().turn.waits();
        let permit = self.admission.admit(ask).await;
        self.details.lock().turn.ends_waiting(permit)
    }

    /// Ends it if it has run for too long; gives its turn to others while nobody reads on.
    pub(crate) fn enforce(&self) {
        let mut details = self.details.lock();
        if details.elapsed.is_some() {
            return;
        }
        let unread_since = details.ready_since.filter(|_| details.parts.iter().any(Option::is_some));
        let permit = details.turn.give_way(unread_since);
        let overdue = details.turn.overdue();
        drop(details);
        drop(permit);
        if let Some(error) = overdue {
            self.stop(error);
        }
    }

    /// Ends it with an error.
    pub(crate) fn stop(&self, error: Error) {
        self.end(Err(error));
        self.cancel();
    }

    /// Its rows can be read, unless it has been cancelled meanwhile.
    fn ready(&self, running: Arc<dyn Running>, parts_max: u64) -> Result<()> {
        let schema = running.schema();
        let parts = running.streams(usize::try_from(parts_max).unwrap_or(usize::MAX).min(PARTS_MAX))?;
        let mut details = self.details.lock();
        if details.elapsed.is_some() {
            drop(details);
            running.cancel();
            return Ok(());
        }
        details.schema = schema;
        details.parts_unfinished = parts.len();
        details.parts = parts.into_iter().map(|rows| Some(Part(rows))).collect();
        details.running = Some(running);
        details.ready_since = Some(Instant::now());
        drop(details);
        self.state.send_replace(QueryState::Ready);
        Ok(())
    }

    /// It was an order, which has been carried out.
    pub(crate) fn carried_out(&self, tag: &'static str) {
        let mut details = self.details.lock();
        details.tag = tag;
        details.effect = Effect::Definition;
        drop(details);
        self.done(None);
    }

    fn done(&self, rows_affected: Option<u64>) {
        self.details.lock().rows_affected = rows_affected;
        self.end(Ok(()));
    }

    /// Those who ask how far it is.
    pub(crate) fn with_polls<T>(&self, look: impl FnOnce(&mut Polls) -> T) -> T {
        look(&mut self.details.lock().polls)
    }

    /// Whether its result, or the rest of it, has waited for a reader since before `limit` ago.
    pub(crate) fn is_abandoned(&self, limit: Duration) -> bool {
        let details = self.details.lock();
        let unread = details.parts.iter().flatten().count();
        let is_being_read = details.parts_unfinished > unread;
        unread > 0 && !is_being_read && details.ready_since.is_some_and(|since| since.elapsed() >= limit)
    }
}

fn being_read() -> Error {
    Error::invalid("the result is being read already; wait for its end, or run the statement again")
}
