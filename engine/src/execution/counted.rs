//! Windows whose memory is counted.
//!
//! A window over frames without an end keeps all rows of its input before it gives the first, and DataFusion counts none of
//! them: a statement within its budget took whatever the machine had. So what goes into such a window is counted until
//! its stream is dropped, twice: it is put together in one piece before it is computed.

use std::collections::HashMap;
use std::fmt::{self, Formatter};
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::utils::memory::get_record_batch_memory_size;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::windows::WindowAggExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, replace_children_if_necessary,
};
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
    plan.transform_up(|node| match node.is::<WindowAggExec>() {
        true => Ok(Transformed::yes(stand_in(node, counted_window)?)),
        false => Ok(Transformed::no(node)),
    })
    .data()
}

/// What each part of a window has taken, from when it is started until its input is.
type Reservations = Arc<Mutex<HashMap<usize, Arc<MemoryReservation>>>>;

fn counted_window(window: &Arc<dyn ExecutionPlan>) -> Result<Work> {
    let reservations = Reservations::default();
    let counting = |input: &Arc<dyn ExecutionPlan>| {
        let (input, reservations) = (Arc::clone(input), Arc::clone(&reservations));
        Arc::new(Counting { input, reservations }) as Arc<dyn ExecutionPlan>
    };
    let inputs = window.children().into_iter().map(counting).collect();
    let measured = replace_children_if_necessary(Arc::clone(window), inputs)?;
    Ok(Work { plan: Arc::new(Holding { window: Arc::clone(&measured), reservations }), measured })
}

/// A window over [`Counting`], which gives back what it held when its stream is dropped.
#[derive(Debug)]
struct Holding {
    window: Arc<dyn ExecutionPlan>,
    reservations: Reservations,
}

impl DisplayAs for Holding {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut Formatter<'_>) -> fmt::Result {
        self.window.fmt_as(format, f)
    }
}

impl ExecutionPlan for Holding {
    fn name(&self) -> &str {
        self.window.name()
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.window.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.window]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.window.apply_expressions(f)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Err(Error::internal("the work of a window is made from the window").into())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let consumer = MemoryConsumer::new(format!("{}[{partition}]", self.name()));
        let reservation = Arc::new(consumer.register(context.memory_pool()));
        self.reservations.lock().insert(partition, Arc::clone(&reservation));
        let rows = self.window.execute(partition, context)?;
        let schema = rows.schema();
        let rows = rows.inspect_ok(move |_| _ = reservation.size());
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}

/// The input of a window.
#[derive(Debug)]
struct Counting {
    input: Arc<dyn ExecutionPlan>,
    reservations: Reservations,
}

impl DisplayAs for Counting {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut Formatter<'_>) -> fmt::Result {
        self.input.fmt_as(format, f)
    }
}

impl ExecutionPlan for Counting {
    fn name(&self) -> &str {
        self.input.name()
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.input.children()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.input.apply_expressions(f)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let input = replace_children_if_necessary(Arc::clone(&self.input), children)?;
        Ok(Arc::new(Self { input, reservations: Arc::clone(&self.reservations) }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let reservation = self.reservations.lock().remove(&partition);
        let reservation = reservation.ok_or_else(|| Error::internal("a window reads its input by itself"))?;
        let rows = self.input.execute(partition, context)?;
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
