//! The streamed way to run a statement: all stages at the same time, no files.
//!
//! What an executor has made and nobody has read is lost with it, and the whole query with that. So rows are held back
//! until all are there, up to a limit; if an executor is lost before the first is delivered, the query runs again in stages,
//! which survive that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::displayable;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion_distributed::{DistributedExec, display_plan_ascii};
use engine::distributed::eligibility::can_distribute;
use engine::distributed::streamed::{WorkerChannels, Workers, tasks_of};
use engine::distributed::wire::read_error;
use engine::{
    Availability, Error, ErrorKind, Execution, LocalExecution, Mode, Progress, Result, Running, StartRequest,
};
use futures::{Stream, StreamExt};
use parking_lot::Mutex;
use tokio::sync::mpsc::Sender;

use crate::scheduler::SchedulerOptions;
use crate::scheduler::members::Members;
use crate::scheduler::spool::Spool;
use crate::scheduler::staged::StagedExecution;

/// Batches read ahead of whoever reads the result.
const BATCHES_AHEAD: usize = 2;

/// Runs statements on all executors at the same time.
#[derive(Debug)]
pub(crate) struct StreamedExecution {
    members: Arc<Members>,
    channels: Arc<WorkerChannels>,
    held_bytes_max: u64,
    /// Where the last stage runs, which hands out the rows.
    local: LocalExecution,
    /// For what did not get through.
    staged: Arc<StagedExecution>,
}

impl StreamedExecution {
    pub(crate) fn new(options: &SchedulerOptions, members: Arc<Members>, staged: Arc<StagedExecution>) -> Self {
        Self {
            members,
            channels: WorkerChannels::new(options.transport.clone()),
            held_bytes_max: options.streamed_result_bytes_max,
            local: LocalExecution::default(),
            staged,
        }
    }

    /// The executors as they are now.
    fn workers(&self) -> Workers {
        let addresses = self.members.active_addresses();
        let parts_each = self.members.vcores() / addresses.len().max(1);
        Workers { addresses, parts_each, channels: Arc::clone(&self.channels) }
    }
}

#[async_trait]
impl Execution for StreamedExecution {
    fn mode(&self) -> Mode {
        Mode::Streamed
    }

    fn availability(&self) -> Availability {
        self.staged.availability()
    }

    fn refusal(&self, plan: &LogicalPlan) -> Option<String> {
        can_distribute(plan).err()
    }

    async fn start(&self, request: StartRequest) -> Result<Arc<dyn Running>> {
        let (plan, state) = self.workers().plan(&request).await?;
        let tasks = tasks_of(plan.as_ref());
        if tasks == 0 {
            // There is too little to read to share it.
            return self.local.start(request).await;
        }
        let first = self.local.start_planned(&request, &state, plan)?;
        let attempts = Attempts {
            first,
            request,
            staged: Arc::clone(&self.staged),
            held_bytes_max: self.held_bytes_max,
            again: Mutex::default(),
            setbacks: Mutex::default(),
        };
        Ok(Arc::new(StreamedRunning { attempts: Arc::new(attempts), tasks, has_ended: Arc::default() }))
    }

    async fn explain(&self, request: StartRequest) -> Result<Vec<(String, String)>> {
        let (plan, _) = self.workers().plan(&request).await?;
        let text = match plan.is::<DistributedExec>() {
            true => display_plan_ascii(plan.as_ref(), false),
            false => displayable(plan.as_ref()).indent(false).to_string(),
        };
        Ok(vec![("distributed_plan".to_owned(), text)])
    }
}

/// A streamed query that can be read.
#[derive(Debug)]
struct StreamedRunning {
    attempts: Arc<Attempts>,
    /// Tasks on executors.
    tasks: u64,
    has_ended: Arc<AtomicBool>,
}

impl Running for StreamedRunning {
    fn schema(&self) -> SchemaRef {
        self.attempts.first.schema()
    }

    fn stream(&self) -> Result<SendableRecordBatchStream> {
        let rows = self.attempts.first.stream()?;
        let mut stream = RecordBatchReceiverStream::builder(self.schema(), BATCHES_AHEAD);
        let (attempts, batches, has_ended) = (Arc::clone(&self.attempts), stream.tx(), Arc::clone(&self.has_ended));
        stream.spawn(async move {
            attempts.run(rows, batches).await?;
            has_ended.store(true, Ordering::Relaxed);
            Ok(())
        });
        Ok(stream.build())
    }

    fn progress(&self) -> Progress {
        if let Some(again) = self.attempts.again.lock().as_ref() {
            return again.progress();
        }
        let tasks_done = if self.has_ended.load(Ordering::Relaxed) { self.tasks } else { 0 };
        Progress { tasks_done, tasks_total: self.tasks, ..Progress::default() }
    }

    fn setbacks(&self) -> Vec<String> {
        let again = self.attempts.again.lock().clone();
        let mut setbacks = self.attempts.setbacks.lock().clone();
        setbacks.extend(again.into_iter().flat_map(|again| again.setbacks()));
        setbacks
    }

    fn is_large(&self) -> bool {
        self.attempts.first.is_large()
    }

    fn cancel(&self) {
        self.attempts.first.cancel();
        if let Some(again) = self.attempts.again.lock().as_ref() {
            again.cancel();
        }
    }
}

/// A query, streamed and then in stages if need be.
#[derive(Debug)]
struct Attempts {
    first: Arc<dyn Running>,
    request: StartRequest,
    staged: Arc<StagedExecution>,
    held_bytes_max: u64,
    again: Mutex<Option<Arc<dyn Running>>>,
    setbacks: Mutex<Vec<String>>,
}

type Batches = Sender<std::result::Result<RecordBatch, DataFusionError>>;

impl Attempts {
    /// Runs to the end: rows go to `batches`.
    async fn run(&self, rows: SendableRecordBatchStream, batches: Batches) -> Result<()> {
        let mut rows = Box::pin(rows.map(|batch| batch.map_err(told)));
        let runtime = self.request.state.runtime_env();
        let mut spool = Spool::new(self.first.schema(), runtime, self.held_bytes_max);
        let Err(error) = spool.gather(&mut rows).await else {
            return deliver(spool.rows().chain(rows), &batches).await;
        };
        drop((spool, rows));
        if !may_get_through(&error) {
            return Err(error);
        }
        let note = format!("{}: the query runs again in stages", error.message);
        tracing::warn!(query = %self.request.query_id, "{note}");
        self.setbacks.lock().push(note);
        let again = self.staged.start(self.request.clone()).await?;
        let rows = again.stream()?;
        *self.again.lock() = Some(again);
        deliver(rows.map(|batch| batch.map_err(Error::from)), &batches).await
    }
}

/// Whether stages may succeed where streams have not: they survive the loss of executors, and need less memory at once.
fn may_get_through(error: &Error) -> bool {
    let is_for_memory = error.kind == ErrorKind::Exhausted && error.message.contains("more memory");
    is_for_memory || matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Internal)
}

async fn deliver(rows: impl Stream<Item = Result<RecordBatch>>, batches: &Batches) -> Result<()> {
    let mut rows = std::pin::pin!(rows);
    while let Some(batch) = rows.next().await {
        if batches.send(Ok(batch?)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// What an executor said went wrong, or what went wrong here. Anything else is said by the connection: it was lost.
fn told(error: DataFusionError) -> Error {
    if let Some(own) = read_error(&error.to_string()) {
        return own;
    }
    let is_lost = match error.find_root() {
        DataFusionError::External(cause) => !cause.is::<Error>(),
        DataFusionError::Internal(_) => true,
        _ => false,
    };
    let own = Error::from(error);
    if is_lost {
        return Error::unavailable(format!("an executor was lost: run the statement again ({})", own.message));
    }
    own
}
