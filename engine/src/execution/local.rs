//! Local mode: DataFusion in this process.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use datafusion::arrow::array::{RecordBatch, UInt64Array};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::joins::{CrossJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::stream::{RecordBatchReceiverStream, RecordBatchStreamAdapter};
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, execute_stream};
use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::config::grappe_options;
use crate::execution::{
    Availability, Execution, Mode, Progress, Running, StartRequest, can_fall_back, check_scan, cooperative, or_again,
    physical_with, runnable, scan_bytes, with_merge_joins, with_whole_sides,
};
use crate::memory::{fit_to_memory, query_runtime};
use crate::storage::{Listed, pinned};
use crate::threads::Threads;
use crate::{Error, Result};

/// A query that scans more is large.
const LARGE_SCAN_BYTES: u64 = 128 << 20;
const LARGE_SCAN_ROWS: u64 = 10_000_000;

/// A query whose leaves have at most so many rows is done where it is asked for; others have threads of their own, so that
/// nobody waits for them who is served by this one.
const LIGHT_ROWS: u64 = 10_000;
/// Batches that such a query is ahead of its reader.
const BATCHES_AHEAD: usize = 2;

/// Runs plans in this process, with its memory and cores.
#[derive(Debug, Default)]
pub struct LocalExecution {
    /// Started when first needed.
    threads: OnceLock<Threads>,
}

impl LocalExecution {
    fn threads(&self) -> Result<Handle> {
        if let Some(threads) = self.threads.get() {
            return Ok(threads.handle().clone());
        }
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = Threads::start("query", count)?;
        // Another may have been faster: then these end.
        Ok(self.threads.get_or_init(|| threads).handle().clone())
    }
}

impl LocalExecution {
    /// Runs `plan` as it is: it was planned for `request` with `state`, to run mostly elsewhere.
    ///
    /// # Errors
    /// `Exhausted` if it scans more than it may, and those of making the statement's part of the memory.
    pub fn start_planned(
        &self,
        request: &StartRequest,
        state: &SessionState,
        plan: Arc<dyn ExecutionPlan>,
    ) -> Result<Arc<dyn Running>> {
        let limits = grappe_options(state.config()).limits;
        check_scan(plan.as_ref(), &limits)?;
        let runtime = query_runtime(state.runtime_env(), &request.query_id, &limits)?;
        let context = Mutex::new(Some(Arc::new(task_context(state, runtime))));
        Ok(Arc::new(LocalRunning {
            plan,
            context,
            threads: Some(self.threads()?),
            again: None,
            setbacks: Arc::default(),
        }))
    }
}

#[async_trait]
impl Execution for LocalExecution {
    fn mode(&self) -> Mode {
        Mode::Local
    }

    fn availability(&self) -> Availability {
        Availability::Ready { vcores: std::thread::available_parallelism().map_or(1, usize::from) }
    }

    fn refusal(&self, _plan: &LogicalPlan) -> Option<String> {
        None
    }

    async fn start(&self, request: StartRequest) -> Result<Arc<dyn Running>> {
        let (plan, context) = prepared(&request, &request.state).await?;
        let threads = if is_light(plan.as_ref()) { None } else { Some(self.threads()?) };
        let again = can_fall_back(plan.as_ref()).then_some(request);
        let context = Mutex::new(Some(context));
        Ok(Arc::new(LocalRunning { plan, context, threads, again, setbacks: Arc::default() }))
    }

    async fn explain(&self, _request: StartRequest) -> Result<Vec<(String, String)>> {
        Ok(Vec::new())
    }
}

/// The physical plan of a statement as it runs here, and what it runs with.
async fn prepared(
    request: &StartRequest,
    state: &Arc<SessionState>,
) -> Result<(Arc<dyn ExecutionPlan>, Arc<TaskContext>)> {
    let limits = grappe_options(state.config()).limits;
    let parts = state.config().target_partitions();
    let plan = physical_with(state, &request.plan, move |state, plan| with_whole_sides(state, plan, parts)).await?;
    check_scan(plan.as_ref(), &limits)?;
    let runtime = query_runtime(state.runtime_env(), &request.query_id, &limits)?;
    let (plan, runtime) = pinned(plan, &runtime, Listed::Here)?;
    Ok((cooperative(runnable(plan)?)?, Arc::new(task_context(state, runtime))))
}

fn task_context(state: &SessionState, runtime: Arc<RuntimeEnv>) -> TaskContext {
    let mut config = state.config().clone();
    let partitions = config.target_partitions();
    fit_to_memory(&mut config, runtime.memory_pool.as_ref(), partitions);
    TaskContext::from(state).with_session_config(config).with_runtime(runtime)
}

/// A physical plan that runs when its stream is read.
#[derive(Debug)]
pub(crate) struct LocalRunning {
    plan: Arc<dyn ExecutionPlan>,
    context: Mutex<Option<Arc<TaskContext>>>,
    /// Where its work is done, if not by the reader.
    threads: Option<Handle>,
    /// What is run again with other joins if memory is used up.
    again: Option<StartRequest>,
    setbacks: Arc<Mutex<Vec<String>>>,
}

impl LocalRunning {
    /// What `open` gives, made where the work is to be done.
    fn elsewhere(
        &self,
        open: impl FnOnce() -> DataFusionResult<SendableRecordBatchStream> + Send + 'static,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        on(self.threads.as_ref(), self.plan.schema(), open)
    }

    /// The rows of the first try, or of one with other joins.
    fn with_fallback(&self, first: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let Some(request) = self.again.clone() else { return first };
        let (threads, setbacks) = (self.threads.clone(), Arc::clone(&self.setbacks));
        or_again(first, async move {
            let note = "its hash joins did not fit in memory: it runs again with merge joins";
            tracing::info!(query = %request.query_id, "{note}");
            setbacks.lock().push(note.to_owned());
            let (plan, context) = prepared(&request, &Arc::new(with_merge_joins(&request.state))).await?;
            let schema = plan.schema();
            on(threads.as_ref(), schema, move || execute_stream(plan, context))
        })
    }

    fn take_context(&self) -> Result<Arc<TaskContext>> {
        self.context.lock().take().ok_or_else(|| Error::invalid("the result has been read already"))
    }
}

/// What `open` gives, made on `threads` from when it is first asked for, or by the reader if there are none.
fn on(
    threads: Option<&Handle>,
    schema: SchemaRef,
    open: impl FnOnce() -> DataFusionResult<SendableRecordBatchStream> + Send + 'static,
) -> DataFusionResult<SendableRecordBatchStream> {
    let Some(threads) = threads.cloned() else { return open() };
    let mut builder = RecordBatchReceiverStream::builder(SchemaRef::clone(&schema), BATCHES_AHEAD);
    let begun = async move {
        let batches = builder.tx();
        let work = async move {
            let mut rows = open()?;
            while let Some(batch) = rows.next().await {
                // Without a reader there is nothing to do.
                if batches.send(batch).await.is_err() {
                    break;
                }
            }
            Ok(())
        };
        builder.spawn_on(work, &threads);
        builder.build()
    };
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream::once(begun).flatten())))
}

impl Running for LocalRunning {
    fn schema(&self) -> SchemaRef {
        self.plan.schema()
    }

    fn stream(&self) -> Result<SendableRecordBatchStream> {
        let (plan, context) = (Arc::clone(&self.plan), self.take_context()?);
        Ok(self.with_fallback(self.elsewhere(|| execute_stream(plan, context))?))
    }

    fn streams(&self, parts_max: usize) -> Result<Vec<SendableRecordBatchStream>> {
        let partitions = self.plan.output_partitioning().partition_count();
        if parts_max.min(partitions) <= 1 {
            return Ok(vec![self.stream()?]);
        }
        let count = parts_max.min(partitions);
        let context = self.take_context()?;
        let part = |part: usize| {
            let (plan, context) = (Arc::clone(&self.plan), Arc::clone(&context));
            Ok(self.elsewhere(move || {
                let streams =
                    (part..partitions).step_by(count).map(|partition| plan.execute(partition, Arc::clone(&context)));
                let streams = streams.collect::<DataFusionResult<Vec<_>>>()?;
                let joined = RecordBatchStreamAdapter::new(plan.schema(), stream::iter(streams).flatten());
                Ok(Box::pin(joined) as SendableRecordBatchStream)
            })?)
        };
        (0..count).map(part).collect()
    }

    fn progress(&self) -> Progress {
        let mut scan = Scan::default();
        scan.visit(self.plan.as_ref());
        let fraction = (scan.rows_expected > 0).then(|| (scan.rows_read as f64 / scan.rows_expected as f64).min(1.0));
        Progress { fraction, rows_scanned: scan.rows_read, tasks_done: 0, tasks_total: 0 }
    }

    fn setbacks(&self) -> Vec<String> {
        self.setbacks.lock().clone()
    }

    fn is_large(&self) -> bool {
        let mut scan = Scan::default();
        scan.visit(self.plan.as_ref());
        scan.rows_expected > LARGE_SCAN_ROWS || scan_bytes(self.plan.as_ref()) > LARGE_SCAN_BYTES
    }

    fn cancel(&self) {
        // The work is done by whoever reads the stream; without a context it cannot begin.
        self.context.lock().take();
    }
}

/// Whether a plan is known to read little and make little of it.
fn is_light(plan: &dyn ExecutionPlan) -> bool {
    fn rows_max(plan: &dyn ExecutionPlan) -> Option<u64> {
        let makes_rows = plan.is::<UnnestExec>()
            || plan.is::<RecursiveQueryExec>()
            || plan.is::<CrossJoinExec>()
            || plan.is::<NestedLoopJoinExec>();
        if makes_rows {
            return None;
        }
        let children = plan.children();
        if children.is_empty() {
            let statistics = StatisticsContext::new().compute(plan, &StatisticsArgs::new()).ok()?;
            return statistics.num_rows.get_value().map(|rows| *rows as u64);
        }
        children.into_iter().try_fold(0, |rows: u64, child| Some(rows.saturating_add(rows_max(child.as_ref())?)))
    }
    rows_max(plan).is_some_and(|rows| rows <= LIGHT_ROWS)
}

/// Rows that the leaves of a plan have given, of those that their statistics promise.
#[derive(Debug, Default)]
struct Scan {
    rows_read: u64,
    rows_expected: u64,
}

impl Scan {
    fn visit(&mut self, plan: &dyn ExecutionPlan) {
        let children = plan.children();
        if children.is_empty() {
            let read = plan.metrics().and_then(|metrics| metrics.output_rows()).unwrap_or(0) as u64;
            let statistics = StatisticsContext::new().compute(plan, &StatisticsArgs::new()).ok();
            let expected = statistics.and_then(|statistics| statistics.num_rows.get_value().copied()).unwrap_or(0);
            self.rows_read += read;
            self.rows_expected += expected as u64;
        }
        for child in children {
            self.visit(child.as_ref());
        }
    }
}

/// Runs a statement with an effect to its end; the number of rows it says it wrote or removed.
pub(crate) async fn run_to_end(running: &dyn Running) -> Result<Option<u64>> {
    let batches: Vec<RecordBatch> = running.stream()?.try_collect().await?;
    let counts = batches.iter().filter_map(|batch| batch.columns().first()?.as_any().downcast_ref::<UInt64Array>());
    Ok(counts.map(|counts| counts.iter().flatten().sum()).reduce(|a: u64, b| a + b))
}
