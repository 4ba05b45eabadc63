//! A node that is another one in all respects but how it runs.
//!
//! What is about to run and is not planned again can be changed where DataFusion's own way of running it falls short. To
//! everybody who asks, the node is what it was: its name, properties, children and expressions stay, so that EXPLAIN,
//! profiles and whatever looks for nodes of a kind find it.

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, replace_children_if_necessary,
};

/// What runs in place of a node, or around it.
pub trait Work: Clone + Debug + Send + Sync + 'static {
    /// Whether a downcast of the stand-in finds the node.
    const SHOWS_NODE: bool = true;

    /// The same for `node`, which is the node over other children: itself, unless it holds something of the node.
    ///
    /// # Errors
    /// Those of making it.
    fn over(&self, _node: &Arc<dyn ExecutionPlan>) -> Result<Self> {
        Ok(self.clone())
    }

    /// The figures of the node.
    fn metrics(&self, node: &Arc<dyn ExecutionPlan>) -> Option<MetricsSet> {
        node.metrics()
    }

    /// The rows of a partition of `node`.
    ///
    /// # Errors
    /// Those of starting it.
    fn execute(
        &self,
        node: &Arc<dyn ExecutionPlan>,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream>;
}

/// `node`, run as `work` says.
pub fn stand_in(node: Arc<dyn ExecutionPlan>, work: impl Work) -> Arc<dyn ExecutionPlan> {
    Arc::new(StandIn { node, work })
}

#[derive(Debug)]
struct StandIn<W> {
    node: Arc<dyn ExecutionPlan>,
    work: W,
}

impl<W: Work> DisplayAs for StandIn<W> {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut Formatter<'_>) -> fmt::Result {
        self.node.fmt_as(format, f)
    }
}

impl<W: Work> ExecutionPlan for StandIn<W> {
    fn name(&self) -> &str {
        self.node.name()
    }

    fn downcast_delegate(&self) -> Option<&dyn ExecutionPlan> {
        W::SHOWS_NODE.then_some(self.node.as_ref())
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.node.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.node.children()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        self.node.maintains_input_order()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.node.apply_expressions(f)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let node = replace_children_if_necessary(Arc::clone(&self.node), children)?;
        let work = self.work.over(&node)?;
        Ok(stand_in(node, work))
    }

    /// A recursive query runs its plan again and again.
    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        let node = Arc::clone(&self.node).reset_state()?;
        let work = self.work.over(&node)?;
        Ok(stand_in(node, work))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        self.work.metrics(&self.node)
    }

    fn fetch(&self) -> Option<usize> {
        self.node.fetch()
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.work.execute(&self.node, partition, context)
    }
}
