//! Local mode: DataFusion in this process.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{RecordBatch, UInt64Array};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, execute_stream, execute_stream_partitioned};
use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;

use crate::execution::{Availability, Execution, Mode, Progress, Running, StartRequest, cooperative, spillable};
use crate::storage::{Listed, pinned};
use crate::{Error, Result};

/// Runs plans in this process, with its memory and cores.
#[derive(Debug, Default)]
pub struct LocalExecution;

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
        let plan = request.state.create_physical_plan(&request.plan).await?;
        let (plan, runtime) = pinned(plan, request.state.runtime_env(), Listed::Here)?;
        let context = TaskContext::from(request.state.as_ref()).with_runtime(runtime);
        Ok(Arc::new(LocalRunning::new(cooperative(spillable(plan)?)?, Arc::new(context))))
    }

    async fn explain(&self, _request: StartRequest) -> Result<Vec<(String, String)>> {
        Ok(Vec::new())
    }
}

/// A physical plan that runs when its stream is read.
#[derive(Debug)]
pub(crate) struct LocalRunning {
    plan: Arc<dyn ExecutionPlan>,
    context: Mutex<Option<Arc<TaskContext>>>,
}

impl LocalRunning {
    pub(crate) fn new(plan: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> Self {
        Self { plan, context: Mutex::new(Some(context)) }
    }

    fn take_context(&self) -> Result<Arc<TaskContext>> {
        self.context.lock().take().ok_or_else(|| Error::invalid("the result has been read already"))
    }
}

impl Running for LocalRunning {
    fn schema(&self) -> SchemaRef {
        self.plan.schema()
    }

    fn stream(&self) -> Result<SendableRecordBatchStream> {
        Ok(execute_stream(Arc::clone(&self.plan), self.take_context()?)?)
    }

    fn streams(&self, parts_max: usize) -> Result<Vec<SendableRecordBatchStream>> {
        let partitions = self.plan.output_partitioning().partition_count();
        if parts_max.min(partitions) <= 1 {
            return Ok(vec![self.stream()?]);
        }
        let mut parts: Vec<_> = (0..parts_max.min(partitions)).map(|_| Vec::new()).collect();
        let count = parts.len();
        let streams = execute_stream_partitioned(Arc::clone(&self.plan), self.take_context()?)?;
        for (partition, stream) in streams.into_iter().enumerate() {
            parts[partition % count].push(stream);
        }
        let joined = |streams| -> SendableRecordBatchStream {
            Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream::iter(streams).flatten()))
        };
        Ok(parts.into_iter().map(joined).collect())
    }

    fn progress(&self) -> Progress {
        let mut scan = Scan::default();
        scan.visit(self.plan.as_ref());
        let fraction = (scan.rows_expected > 0).then(|| (scan.rows_read as f64 / scan.rows_expected as f64).min(1.0));
        Progress { fraction, rows_scanned: scan.rows_read, tasks_done: 0, tasks_total: 0 }
    }

    fn cancel(&self) {
        // The work is done by whoever reads the stream; without a context it cannot begin.
        self.context.lock().take();
    }
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
