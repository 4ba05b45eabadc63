//! One staged query: its job, the next job if executors were lost, and the rows.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ballista_core::JobId;
use ballista_core::serde::protobuf::PartitionLocation;
use datafusion::arrow::array::{RecordBatch, StringArray};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNode;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::prelude::SessionContext;
use engine::distributed::profile::without_hash_joins;
use engine::limits::Limit;
use engine::{Error, ErrorKind, Progress, Result, Running, StartRequest, grappe_options};
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::sync::mpsc::Sender;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::scheduler::explain::{rows_scanned, stages_after};
use crate::scheduler::jobs::{Job, Loss, Phase};
use crate::scheduler::recovery::{Verdict, reset, verdict};
use crate::scheduler::spool::{Gathered, Spool};
use crate::scheduler::staged::Cluster;

/// Batches read ahead of whoever reads the result.
const BATCHES_AHEAD: usize = 2;
/// How often a job is looked at that says nothing.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Why a job is given up when nobody is left to run it.
const NO_EXECUTOR: &str = "every executor was lost";

type Batches = Sender<std::result::Result<RecordBatch, DataFusionError>>;

/// A query from its start until it is dropped.
pub(crate) struct Query {
    cluster: Arc<Cluster>,
    id: String,
    state: SessionState,
    plan: LogicalPlan,
    /// Whether the plan's metrics are the result, and not its rows.
    is_analyze: bool,
    schema: SchemaRef,
    attempt: Mutex<Option<Attempt>>,
    /// What was counted when there was a job.
    progress: Mutex<Progress>,
    history: Mutex<History>,
    cancelled: CancellationToken,
    /// Whether its joins may no longer keep a side in memory.
    merges: AtomicBool,
}

/// One job of a query. It is swept when it is dropped.
struct Attempt {
    id: JobId,
    job: Arc<Job>,
    cluster: Arc<Cluster>,
}

/// What went wrong with a query, through no fault of the statement's as far as is known.
#[derive(Debug, Default)]
struct History {
    setbacks: Vec<String>,
    /// Executors that died under it for want of memory, in jobs that have ended.
    deaths: BTreeSet<String>,
}

impl History {
    fn note(&mut self, reason: &str, job: &Job) {
        self.setbacks.push(format!("{reason}: the query was started again"));
        let losses = job.losses();
        let suspicious = losses
            .borrow()
            .iter()
            .filter(|loss| loss.is_suspicious())
            .map(|loss| loss.executor.clone())
            .collect::<Vec<_>>();
        self.deaths.extend(suspicious);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.cluster.sweeper.sweep(self.id.clone());
    }
}

impl Query {
    /// Submits the plan and returns when Ballista has planned it.
    pub(crate) async fn start(cluster: Arc<Cluster>, request: StartRequest) -> Result<Arc<Self>, NotStarted> {
        let state = cluster.state(&request.state);
        let (plan, analyze_schema) = match request.plan {
            LogicalPlan::Analyze(analyze) => (analyze.input.as_ref().clone(), Some(Arc::clone(analyze.schema.inner()))),
            plan => (plan, None),
        };
        let attempt = submit(&cluster, &request.query_id, &state, &plan).await?;
        let planned = attempt.planned(&state, &plan).await?;
        Ok(Arc::new(Self {
            cluster,
            id: request.query_id,
            state,
            plan,
            is_analyze: analyze_schema.is_some(),
            schema: analyze_schema.unwrap_or(planned),
            attempt: Mutex::new(Some(attempt)),
            progress: Mutex::default(),
            history: Mutex::default(),
            cancelled: CancellationToken::new(),
            merges: AtomicBool::new(false),
        }))
    }

    /// Runs to the end: rows go to `batches`.
    async fn run(self: Arc<Self>, batches: Batches) -> Result<()> {
        let _close = CloseOnDrop(Arc::clone(&self));
        let mut attempts = 1;
        loop {
            let (id, job) = self.job().ok_or_else(Error::cancelled)?;
            let mut delivered = false;
            let outcome = tokio::select! {
                () = self.cancelled.cancelled() => return Err(Error::cancelled()),
                outcome = self.run_attempt(&id, &job, &batches, &mut delivered) => outcome,
            };
            let reason = match outcome {
                Ok(()) => return Ok(()),
                Err(Setback::Error(error)) if !delivered && self.can_fall_back(&error) => {
                    let note = "its hash joins did not fit in memory: it runs again with merge joins";
                    tracing::info!(query = %self.id, "{note}");
                    self.history.lock().setbacks.push(note.to_owned());
                    self.restart().await?;
                    continue;
                }
                Err(Setback::Error(error)) => return Err(error),
                Err(Setback::Lost(reason)) => reason,
            };
            self.history.lock().note(&reason, &job);
            if let Some(error) = self.end_of_tries(&reason, &job, attempts, delivered) {
                return Err(error);
            }
            attempts += 1;
            tracing::warn!(query = %self.id, %reason, attempts, "the query is started again");
            self.restart().await?;
        }
    }

    /// Whether other joins may need less memory, the first time.
    fn can_fall_back(&self, error: &Error) -> bool {
        let is_for_memory = error.kind == ErrorKind::Exhausted && error.message.contains("more memory");
        is_for_memory && has_join(&self.plan) && !self.merges.swap(true, Ordering::Relaxed)
    }

    /// The state that the next try is planned with.
    fn planning_state(&self) -> Cow<'_, SessionState> {
        match self.merges.load(Ordering::Relaxed) {
            true => Cow::Owned(without_hash_joins(&self.state)),
            false => Cow::Borrowed(&self.state),
        }
    }

    /// Why there is no further try, if there is none.
    fn end_of_tries(&self, reason: &str, job: &Job, attempts: usize, delivered: bool) -> Option<Error> {
        let cannot_keep = job.first_error().filter(|_| !self.cluster.members.has_well_executor());
        let is_over = delivered || attempts >= self.cluster.options.attempts_max;
        self.suspected(&[]).or(cannot_keep).or_else(|| is_over.then(|| gave_up(reason, attempts)))
    }

    async fn run_attempt(&self, id: &JobId, job: &Job, batches: &Batches, delivered: &mut bool) -> Result<(), Setback> {
        let locations = self.outcome(id, job).await?;
        if self.is_analyze {
            let batch = self.analyzed(job)?;
            let _ = batches.send(Ok(batch)).await;
            return Ok(());
        }
        let mut rows = Box::pin(Arc::clone(&self.cluster.reader).read(locations, SchemaRef::clone(&self.schema)));
        let spool_bytes_max = self.cluster.options.result_spool_bytes_max;
        let mut spool = Spool::new(SchemaRef::clone(&self.schema), self.state.runtime_env(), spool_bytes_max);
        let gathered = spool.gather(&mut rows).await.map_err(Setback::from_reading)?;
        if gathered == Gathered::All {
            // The executors are done with it, however slowly it is read.
            self.close();
        }
        let mut rows = Box::pin(spool.rows().chain(rows));
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(Setback::from_reading)?;
            *delivered = true;
            if batches.send(Ok(batch)).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Waits until the job has ended or can no longer end.
    async fn outcome(&self, id: &JobId, job: &Job) -> Result<Vec<PartitionLocation>, Setback> {
        let (mut phases, mut losses) = (job.phases(), job.losses());
        let mut looks = interval(WATCH_INTERVAL);
        let mut is_reset = HashSet::new();
        loop {
            match phases.borrow_and_update().clone() {
                Phase::Done(locations) => return Ok(locations),
                Phase::Failed(error) => return Err(Setback::Error(error)),
                Phase::Broken(reason) => return Err(Setback::Lost(reason)),
                Phase::Unsuitable(reason) => return Err(Setback::Error(Error::internal(reason))),
                Phase::Planning | Phase::Running(_) => {}
            }
            let lost = losses.borrow_and_update().clone();
            if let Some(error) = self.suspected(&lost) {
                return Err(Setback::Error(error));
            }
            for loss in lost {
                self.recover(id, job, &loss.executor, &mut is_reset).await;
            }
            tokio::select! {
                // The senders live as long as the job.
                _ = phases.changed() => {}
                _ = losses.changed() => {}
                _ = looks.tick() => self.look_at(job),
            }
        }
    }

    /// Has the lost tasks run again, or the whole job if that does not help.
    async fn recover(&self, id: &JobId, job: &Job, executor: &str, is_reset: &mut HashSet<String>) {
        let Cluster { ballista, members, .. } = self.cluster.as_ref();
        let Some(another) = members.any_living() else {
            return job.give_up(NO_EXECUTOR.to_owned());
        };
        match verdict(ballista, id, executor).await {
            Verdict::Unknown => {}
            Verdict::Wrecked(reason) => job.give_up(format!("the executor {executor} was lost: {reason}")),
            Verdict::GoesOn if is_reset.insert(executor.to_owned()) => {
                let reset = reset(ballista, id, executor, &another).await;
                match reset {
                    Ok(()) => {
                        let note = format!("the executor {executor} was lost: its tasks run again");
                        tracing::warn!(query = %self.id, "{note}");
                        self.history.lock().setbacks.push(note);
                    }
                    Err(reason) => job.give_up(format!("the executor {executor} was lost: {reason}")),
                }
            }
            Verdict::GoesOn => {}
        }
    }

    /// The error of a query under which executors die, one after the other, for want of memory.
    fn suspected(&self, losses: &[Loss]) -> Option<Error> {
        let mut dead = self.history.lock().deaths.clone();
        dead.extend(losses.iter().filter(|loss| loss.is_suspicious()).map(|loss| loss.executor.clone()));
        (dead.len() >= self.cluster.options.deaths_max).then(|| {
            let names = dead.into_iter().collect::<Vec<_>>().join(", ");
            Error::new(ErrorKind::Exhausted, format!(
                "the query is stopped: executors died while they ran it with their memory nearly full ({names}); make it \
                 need less memory at once, or give executors more"
            ))
        })
    }

    /// A job waits for something that will not happen if nothing of it runs although an executor has nothing to do, and
    /// if there is no executor.
    fn look_at(&self, job: &Job) {
        if self.cluster.members.any_living().is_none() {
            return job.give_up(NO_EXECUTOR.to_owned());
        }
        let limit = self.cluster.options.stalled_after;
        let is_running = matches!(*job.phases().borrow(), Phase::Running(_));
        if is_running && job.idle_for() > limit && self.cluster.members.has_idle_executor() {
            job.give_up(format!("no task was running for {limit:?}"));
        }
    }

    /// Submits the plan again when an executor is there.
    async fn restart(&self) -> Result<()> {
        self.close();
        let wait = self.cluster.options.executor_wait;
        if timeout(wait, self.cluster.members.wait_for(1)).await.is_err() {
            return Err(Error::unavailable(format!(
                "all executors were lost and none has joined within {wait:?}: run the statement again"
            )));
        }
        let attempt = submit(&self.cluster, &self.id, &self.planning_state(), &self.plan).await?;
        if self.cancelled.is_cancelled() {
            return Err(Error::cancelled());
        }
        *self.attempt.lock() = Some(attempt);
        Ok(())
    }

    fn analyzed(&self, job: &Job) -> Result<RecordBatch, Setback> {
        let text = job.graph().map(|graph| stages_after(graph.as_ref())).unwrap_or_default();
        let title = StringArray::from(vec!["plan with metrics, by stage"]);
        let columns = vec![Arc::new(title) as _, Arc::new(StringArray::from(vec![text])) as _];
        RecordBatch::try_new(SchemaRef::clone(&self.schema), columns)
            .map_err(|error| Setback::Error(DataFusionError::from(error).into()))
    }

    fn job(&self) -> Option<(JobId, Arc<Job>)> {
        self.attempt.lock().as_ref().map(|attempt| (attempt.id.clone(), Arc::clone(&attempt.job)))
    }

    fn progress(&self) -> Progress {
        let attempt = self.attempt.lock();
        let Some(Attempt { id, job, .. }) = attempt.as_ref() else { return *self.progress.lock() };
        let counted = job.progress();
        let running = self.cluster.ballista.state.task_manager.get_running_job_cache();
        let graph = running
            .get(id)
            .and_then(|job| job.execution_graph.try_read().ok().map(|graph| rows_scanned(graph.as_ref())));
        let mut progress = self.progress.lock();
        // Stages show their metrics as their tasks end; what has been counted stays counted.
        progress.rows_scanned = progress.rows_scanned.max(graph.unwrap_or(0)).max(counted.rows_scanned);
        progress.tasks_done = counted.tasks_done;
        progress.tasks_total = counted.tasks_total;
        *progress
    }

    /// Ends the job and has its files removed; what was counted stays.
    fn close(&self) {
        self.progress();
        // Sweeping happens when the attempt is dropped, after the lock.
        let attempt = self.attempt.lock().take();
        drop(attempt);
    }
}

/// Why there is no query.
#[derive(Debug)]
pub(crate) enum NotStarted {
    /// The statement's own fault, or a limit.
    Error(Error),
    /// Stages cannot run it.
    Unsuitable(String),
}

impl<E: Into<Error>> From<E> for NotStarted {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// Why an attempt did not end well.
enum Setback {
    /// The statement's own fault, or a limit.
    Error(Error),
    /// The cluster's fault.
    Lost(String),
}

impl Setback {
    fn from_reading(error: Error) -> Self {
        match error.kind {
            ErrorKind::Unavailable => Self::Lost(error.message),
            _ => Self::Error(error),
        }
    }
}

fn gave_up(reason: &str, attempts: usize) -> Error {
    let tries = if attempts == 1 { "1 try".to_owned() } else { format!("{attempts} tries") };
    Error::unavailable(format!("{reason} ({tries}): run the statement again"))
}

/// However a query ends, its job does not outlive it.
struct CloseOnDrop(Arc<Query>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn has_join(plan: &LogicalPlan) -> bool {
    // Looking fails nowhere.
    plan.exists(|node| Ok(matches!(node, LogicalPlan::Join(_)))).unwrap_or(false)
}

async fn submit(cluster: &Arc<Cluster>, query_id: &str, state: &SessionState, plan: &LogicalPlan) -> Result<Attempt> {
    let context = Arc::new(SessionContext::new_with_state(state.clone()));
    let id = cluster
        .ballista
        .submit_job(query_id, context, plan, None)
        .await
        .map_err(|error| Error::internal(format!("the scheduler takes no job: {error}")))?;
    let job = cluster.jobs.job(&id);
    if let Some(most) = grappe_options(state.config()).limits.limit(Limit::Shuffle) {
        job.limit_shuffle(most);
    }
    Ok(Attempt { id, job, cluster: Arc::clone(cluster) })
}

impl Attempt {
    /// Returns the columns of the result when Ballista has planned the job.
    async fn planned(&self, state: &SessionState, plan: &LogicalPlan) -> Result<SchemaRef, NotStarted> {
        let mut phases = self.job.phases();
        let phase = phases.wait_for(|phase| !matches!(phase, Phase::Planning)).await;
        let phase = phase.map_err(|_| Error::internal("the scheduler has stopped"))?.clone();
        match phase {
            Phase::Running(schema) => Ok(schema),
            Phase::Failed(error) => {
                // Ballista tells planning errors as text only: planning once more tells the error itself.
                state.create_physical_plan(plan).await?;
                Err(error.into())
            }
            Phase::Unsuitable(reason) => Err(NotStarted::Unsuitable(reason)),
            // It has ended already.
            Phase::Done(_) | Phase::Broken(_) => Ok(state.create_physical_plan(plan).await?.schema()),
            Phase::Planning => Err(Error::internal("the job is still planned").into()),
        }
    }
}

/// A staged query that can be read.
pub(crate) struct StagedRunning {
    query: Arc<Query>,
    is_taken: Mutex<bool>,
}

impl std::fmt::Debug for StagedRunning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StagedRunning").field("query", &self.query.id).finish_non_exhaustive()
    }
}

impl StagedRunning {
    pub(crate) fn new(query: Arc<Query>) -> Self {
        Self { query, is_taken: Mutex::new(false) }
    }
}

impl Running for StagedRunning {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.query.schema)
    }

    fn stream(&self) -> Result<SendableRecordBatchStream> {
        if std::mem::replace(&mut *self.is_taken.lock(), true) {
            return Err(Error::invalid("the result has been read already"));
        }
        let mut stream = RecordBatchReceiverStream::builder(self.schema(), BATCHES_AHEAD);
        let (query, batches) = (Arc::clone(&self.query), stream.tx());
        stream.spawn(async move { query.run(batches).await.map_err(DataFusionError::from) });
        Ok(stream.build())
    }

    fn progress(&self) -> Progress {
        self.query.progress()
    }

    fn setbacks(&self) -> Vec<String> {
        self.query.history.lock().setbacks.clone()
    }

    fn cancel(&self) {
        self.query.cancelled.cancel();
        self.query.close();
    }
}
