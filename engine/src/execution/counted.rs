//! Windows whose memory is counted.
//!
//! A window over frames without an end keeps all rows of its input before it gives the first, and DataFusion counts none of
//! them: a statement within its budget took whatever the machine had. So what goes into such a window is counted until
//! its stream is dropped, twice: it is put together in one piece before it is computed.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::utils::memory::get_record_batch_memory_size;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::windows::WindowAggExec;
use datafusion::physical_plan::{ExecutionPlan, replace_children_if_necessary};
use futures::TryStreamExt;
use parking_lot::Mutex;

use super::stand_in::{Work, stand_in};
use crate::Error;

/// Times that a window holds its rows: as they came, and put together.
const COPIES: usize = 2;

/// `plan`, with its windows counted.
///
/// # Errors
/// Those of building plans: none for a plan that DataFusion made.
pub(super) fn counted(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        if !node.is::<WindowAggExec>() {
            return Ok(Transformed::no(node));
        }
        let work = CountedWindow::of(&node)?;
        Ok(Transformed::yes(stand_in(node, work)))
    })
    .data()
}

/// What each part of a window has taken, from when it is started until its input is.
type Reservations = Arc<Mutex<HashMap<usize, Arc<MemoryReservation>>>>;

/// Gives back what the window held when its stream is dropped.
#[derive(Debug, Clone)]
struct CountedWindow {
    /// The window over [`CountedInput`].
    window: Arc<dyn ExecutionPlan>,
    reservations: Reservations,
}

impl CountedWindow {
    fn of(window: &Arc<dyn ExecutionPlan>) -> Result<Self> {
        let reservations = Reservations::default();
        let counting = |input: &Arc<dyn ExecutionPlan>| {
            stand_in(Arc::clone(input), CountedInput { reservations: Arc::clone(&reservations) })
        };
        let inputs = window.children().into_iter().map(counting).collect();
        Ok(Self { window: replace_children_if_necessary(Arc::clone(window), inputs)?, reservations })
    }
}

impl Work for CountedWindow {
    fn over(&self, window: &Arc<dyn ExecutionPlan>) -> Result<Self> {
        Self::of(window)
    }

    fn metrics(&self, _: &Arc<dyn ExecutionPlan>) -> Option<MetricsSet> {
        self.window.metrics()
    }

    fn execute(
        &self,
        _: &Arc<dyn ExecutionPlan>,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let consumer = MemoryConsumer::new(format!("{}[{partition}]", self.window.name()));
        let reservation = Arc::new(consumer.register(context.memory_pool()));
        self.reservations.lock().insert(partition, Arc::clone(&reservation));
        let rows = self.window.execute(partition, context)?;
        let schema = rows.schema();
        let rows = rows.inspect_ok(move |_| _ = reservation.size());
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}

/// Counts what goes into a window.
#[derive(Debug, Clone)]
struct CountedInput {
    reservations: Reservations,
}

impl Work for CountedInput {
    fn execute(
        &self,
        input: &Arc<dyn ExecutionPlan>,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let reservation = self.reservations.lock().remove(&partition);
        let reservation = reservation.ok_or_else(|| Error::internal("a window reads its input by itself"))?;
        let rows = input.execute(partition, context)?;
        let schema = rows.schema();
        let rows = rows.and_then(move |batch| {
            let counted = reservation.try_grow(COPIES * get_record_batch_memory_size(&batch));
            std::future::ready(counted.map(|()| batch))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::GreedyMemoryPool;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::physical_plan::{collect, displayable};
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;

    const SQL: &str = "SELECT value, sum(value) OVER () AS s FROM range(100000)";

    fn context(bytes: usize) -> SessionContext {
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(GreedyMemoryPool::new(bytes)));
        let config = SessionConfig::new().with_target_partitions(2);
        SessionContext::new_with_config_rt(config, runtime.build_arc().unwrap())
    }

    #[tokio::test]
    async fn a_window_is_what_it_was_within_its_memory_and_an_error_beyond() {
        let enough = context(64 << 20);
        let plan = enough.sql(SQL).await.unwrap().create_physical_plan().await.unwrap();
        let window = counted(Arc::clone(&plan)).unwrap();
        let text = |plan: &dyn ExecutionPlan| displayable(plan).indent(true).to_string();
        assert!(text(plan.as_ref()).contains("WindowAggExec"));
        assert_eq!(text(window.as_ref()), text(plan.as_ref()));
        let batches = collect(window, enough.task_ctx()).await.unwrap();
        assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 100_000);
        assert_eq!(enough.runtime_env().memory_pool.reserved(), 0);

        let few = context(1 << 20);
        let plan = few.sql(SQL).await.unwrap().create_physical_plan().await.unwrap();
        let error = collect(counted(plan).unwrap(), few.task_ctx()).await.unwrap_err().to_string();
        assert!(error.contains("WindowAggExec"), "{error}");
        assert_eq!(few.runtime_env().memory_pool.reserved(), 0);
    }
}
