//! One staged query: its job, the next job if executors were lost, and the rows.

use std::sync::Arc;
use std::time::Duration;

use ballista_core::JobId;
use datafusion::arrow::array::{RecordBatch, StringArray};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::prelude::SessionContext;
use engine::{Error, Progress, Result, Running, StartRequest};
use futures::{StreamExt, pin_mut};
use parking_lot::Mutex;
use tokio::sync::mpsc::Sender;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::scheduler::explain::{rows_scanned, stages_after};
use crate::scheduler::jobs::{Job, Phase};
use crate::scheduler::staged::Cluster;

/// Batches read ahead of whoever reads the result.
const BATCHES_AHEAD: usize = 2;
/// How often a job without running tasks is looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);

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
    cancelled: CancellationToken,
}

/// One job of a query. It is swept when it is dropped.
struct Attempt {
    id: JobId,
    job: Arc<Job>,
    cluster: Arc<Cluster>,
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
            cancelled: CancellationToken::new(),
        }))
    }

    /// Runs to the end: rows go to `batches`.
    async fn run(self: Arc<Self>, batches: Batches) -> Result<()> {
        let _close = CloseOnDrop(Arc::clone(&self));
        let mut attempts = 1;
        loop {
            let job = self.job().ok_or_else(Error::cancelled)?;
            let mut delivered = false;
            let outcome = tokio::select! {
                () = self.cancelled.cancelled() => return Err(Error::cancelled()),
                outcome = self.run_attempt(&job, &batches, &mut delivered) => outcome,
            };
            let reason = match outcome {
                Ok(()) => return Ok(()),
                Err(Setback::Error(error)) => return Err(error),
                Err(Setback::Lost(reason)) if delivered || attempts >= self.cluster.options.attempts_max => {
                    return Err(gave_up(&reason, attempts));
                }
                Err(Setback::Lost(reason)) => reason,
            };
            attempts += 1;
            tracing::warn!(query = %self.id, %reason, attempts, "the query is started again");
            self.restart().await?;
        }
    }

    async fn run_attempt(&self, job: &Job, batches: &Batches, delivered: &mut bool) -> Result<(), Setback> {
        let locations = self.outcome(job).await?;
        if self.is_analyze {
            let batch = self.analyzed(job)?;
            let _ = batches.send(Ok(batch)).await;
            return Ok(());
        }
        let rows = Arc::clone(&self.cluster.reader).read(locations, SchemaRef::clone(&self.schema));
        pin_mut!(rows);
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
    async fn outcome(&self, job: &Job) -> Result<Vec<ballista_core::serde::protobuf::PartitionLocation>, Setback> {
        let mut phases = job.phases();
        let mut looks = interval(WATCH_INTERVAL);
        loop {
            match phases.borrow_and_update().clone() {
                Phase::Done(locations) => return Ok(locations),
                Phase::Failed(error) => return Err(Setback::Error(error)),
                Phase::Broken(reason) => return Err(Setback::Lost(reason)),
                Phase::Unsuitable(reason) => return Err(Setback::Error(Error::internal(reason))),
                Phase::Planning | Phase::Running(_) => {}
            }
            tokio::select! {
                // The sender lives as long as the job.
                _ = phases.changed() => {}
                _ = looks.tick() => self.check_stall(job),
            }
        }
    }

    /// A job of which nothing runs although an executor has nothing to do waits for something that will not happen.
    fn check_stall(&self, job: &Job) {
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
        let attempt = submit(&self.cluster, &self.id, &self.state, &self.plan).await?;
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

    fn job(&self) -> Option<Arc<Job>> {
        self.attempt.lock().as_ref().map(|attempt| Arc::clone(&attempt.job))
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
            engine::ErrorKind::Unavailable => Self::Lost(error.message),
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

async fn submit(cluster: &Arc<Cluster>, query_id: &str, state: &SessionState, plan: &LogicalPlan) -> Result<Attempt> {
    let context = Arc::new(SessionContext::new_with_state(state.clone()));
    let id = cluster
        .ballista
        .submit_job(query_id, context, plan, None)
        .await
        .map_err(|error| Error::internal(format!("the scheduler takes no job: {error}")))?;
    let job = cluster.jobs.job(&id);
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

    fn cancel(&self) {
        self.query.cancelled.cancel();
        self.query.close();
    }
}
