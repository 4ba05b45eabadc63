//! Joins that let others work.
//!
//! DataFusion's leaves pause every so often, so that a task gives its thread back and notices that it is cancelled. A join
//! can make billions of rows of one batch from a leaf, and does not pause: two such queries held all threads of a process,
//! and nobody could even cancel them.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};

/// Joins of a plan that pause. Every stream that pauses takes one of the 128 steps that tokio gives a task before it makes
/// it wait; where more of them lie above each other, none ever gets to its input.
const PAUSING_MAX: usize = 32;

/// `plan`, with joins that pause between batches.
///
/// # Errors
/// Those of building plans: none for a plan that DataFusion made.
pub(crate) fn cooperative(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let stride = joins(plan.as_ref()).div_ceil(PAUSING_MAX);
    let mut seen = 0;
    plan.transform_up(|node| {
        if !is_join(node.as_ref()) {
            return Ok(Transformed::no(node));
        }
        seen += 1;
        let pauses = seen % stride == 0;
        Ok(if pauses { Transformed::yes(Arc::new(CooperativeExec::new(node))) } else { Transformed::no(node) })
    })
    .data()
}

fn is_join(node: &dyn ExecutionPlan) -> bool {
    node.is::<CrossJoinExec>()
        || node.is::<NestedLoopJoinExec>()
        || node.is::<HashJoinExec>()
        || node.is::<SortMergeJoinExec>()
}

fn joins(plan: &dyn ExecutionPlan) -> usize {
    usize::from(is_join(plan)) + plan.children().into_iter().map(|child| joins(child.as_ref())).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use datafusion::physical_plan::collect;
    use datafusion::prelude::SessionContext;

    use super::*;

    #[tokio::test]
    async fn a_hundred_and_fifty_joins_end() {
        let context = SessionContext::new();
        let joins = (1..150).map(|n| format!("JOIN range(2) t{n} ON t{n}.value = t{}.value", n - 1));
        let sql = format!("SELECT count(*) FROM range(2) t0 {}", joins.collect::<Vec<_>>().join(" "));
        let plan = context.sql(&sql).await.unwrap().create_physical_plan().await.unwrap();
        let rows = collect(cooperative(plan).unwrap(), context.task_ctx());
        let rows = tokio::time::timeout(std::time::Duration::from_secs(60), rows).await.expect("it never ends");
        assert_eq!(rows.unwrap()[0].num_rows(), 1);
    }
}
