//! Which sides of joins are kept whole where all parts of a query run at the same time: in one process, or streamed.
//!
//! A hash join has one table for each part of the query, and cuts both sides by their keys, or one table that all parts
//! of the other side ask. Cutting copies every row of the larger side, so one table is faster for rather large smaller
//! ones: TPC-H at scale 10 on two cores takes 0.88 of the time that it takes with DataFusion's limits of 131,072 rows and
//! 1 MiB, q08 and q19 0.62. One thread makes the table while the others wait, so the limits fall as the parts grow.
//!
//! Streamed, a whole side goes to each executor, and the limits fall as they grow. What the larger side does not have need not
//! be read there: that side is in the same stage. q08 takes 0.36 of the time on two executors, q09 0.47, q17 0.62.

use std::sync::Arc;

use datafusion::common::config::{ConfigOptions, OptimizerOptions};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as PlanResult;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;

/// Of a side that is kept whole, in a query of one part.
const ROWS_MAX: usize = 4_000_000;
const BYTES_MAX: usize = 128 << 20;

/// `state` as it plans `plan` for so many parts in all.
pub(crate) fn with_whole_sides(
    state: Arc<SessionState>,
    plan: &LogicalPlan,
    parts: usize,
) -> PlanResult<Arc<SessionState>> {
    if !has_two_inputs(plan)? {
        return Ok(state);
    }
    let mut config = state.config().clone();
    raise(&mut config.options_mut().optimizer, parts);
    Ok(Arc::new(SessionStateBuilder::new_from_existing(state.as_ref().clone()).with_config(config).build()))
}

/// Whether there may be something to join.
fn has_two_inputs(plan: &LogicalPlan) -> PlanResult<bool> {
    let mut inputs = 0_usize;
    plan.apply_with_subqueries(|node| {
        inputs += usize::from(node.inputs().is_empty());
        Ok(if inputs > 1 { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(inputs > 1)
}

/// Raises the limits that the session has left as they were.
fn raise(optimizer: &mut OptimizerOptions, parts: usize) {
    let usual = ConfigOptions::default().optimizer;
    let raised = |limit: &mut usize, usual: usize, most: usize| {
        if *limit == usual {
            *limit = usual.max(most / parts.max(1));
        }
    };
    let rows = usual.hash_join_single_partition_threshold_rows;
    raised(&mut optimizer.hash_join_single_partition_threshold_rows, rows, ROWS_MAX);
    raised(&mut optimizer.hash_join_single_partition_threshold, usual.hash_join_single_partition_threshold, BYTES_MAX);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raised(mut optimizer: OptimizerOptions, parts: usize) -> (usize, usize) {
        raise(&mut optimizer, parts);
        (optimizer.hash_join_single_partition_threshold_rows, optimizer.hash_join_single_partition_threshold)
    }

    #[test]
    fn limits_fall_with_the_parts_and_not_below_the_usual() {
        let usual = ConfigOptions::default().optimizer;
        let least = (usual.hash_join_single_partition_threshold_rows, usual.hash_join_single_partition_threshold);
        assert_eq!(raised(usual.clone(), 2), (2_000_000, 64 << 20));
        assert_eq!(raised(usual.clone(), 16), (250_000, 8 << 20));
        assert_eq!(raised(usual, 1_000), least);
    }

    #[test]
    fn limits_of_the_session_stay() {
        let set = OptimizerOptions {
            hash_join_single_partition_threshold_rows: 7,
            hash_join_single_partition_threshold: 0,
            ..ConfigOptions::default().optimizer
        };
        assert_eq!(raised(set, 2), (7, 0));
    }
}
