//! A node that does its work as another plan.
//!
//! What is about to run and is not planned again can be changed where DataFusion's own way of running it falls short.
//! To everybody who asks, the node is what it was: its name, properties, children and expressions stay, so that EXPLAIN,
//! profiles and whatever looks for nodes of a kind find it.

use std::fmt::{self, Formatter};
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, replace_children_if_necessary,
};

/// How the work of a node is done.
#[derive(Debug)]
pub(super) struct Work {
    /// What runs.
    pub(super) plan: Arc<dyn ExecutionPlan>,
    /// The node in `plan` whose figures are those of the node.
    pub(super) measured: Arc<dyn ExecutionPlan>,
}

/// Makes the work of a node.
pub(super) type Make = fn(&Arc<dyn ExecutionPlan>) -> Result<Work>;

/// A node that is `shown` in all respects, but runs something else.
#[derive(Debug)]
struct StandIn {
    shown: Arc<dyn ExecutionPlan>,
    work: Work,
    make: Make,
}

/// `shown`, which runs what `make` makes of it.
///
/// # Errors
/// Those of `make`.
pub(super) fn stand_in(shown: Arc<dyn ExecutionPlan>, make: Make) -> Result<Arc<dyn ExecutionPlan>> {
    let work = make(&shown)?;
    Ok(Arc::new(StandIn { shown, work, make }))
}

impl DisplayAs for StandIn {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut Formatter<'_>) -> fmt::Result {
        self.shown.fmt_as(format, f)
    }
}

impl ExecutionPlan for StandIn {
    fn name(&self) -> &str {
        self.shown.name()
    }

    fn downcast_delegate(&self) -> Option<&dyn ExecutionPlan> {
        Some(self.shown.as_ref())
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.shown.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.shown.children()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        self.shown.maintains_input_order()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.shown.apply_expressions(f)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        stand_in(replace_children_if_necessary(Arc::clone(&self.shown), children)?, self.make)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        self.work.measured.metrics()
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.work.plan.execute(partition, context)
    }
}
