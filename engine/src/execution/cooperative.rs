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

/// `plan`, with joins that pause between batches.
///
/// # Errors
/// Those of building plans: none for a plan that DataFusion made.
pub(crate) fn cooperative(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        let is_join = node.is::<CrossJoinExec>()
            || node.is::<NestedLoopJoinExec>()
            || node.is::<HashJoinExec>()
            || node.is::<SortMergeJoinExec>();
        Ok(if is_join { Transformed::yes(Arc::new(CooperativeExec::new(node))) } else { Transformed::no(node) })
    })
    .data()
}
