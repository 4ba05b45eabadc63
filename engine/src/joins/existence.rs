//! Semi and anti joins, which ask whether there is a match: where among inner joins they are asked.
//!
//! `WHERE o_orderkey IN (...)` above a join of three tables speaks of the rows of one of them. Asked of that table first, the
//! joins have less to do; asked of what the joins leave, it is asked less often. The estimated rows decide.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Join, JoinType, LogicalPlan};

use super::group::JoinGroup;

/// What is asked early may be asked of so many times the rows that are left in the end: those are estimated, and the joins
/// get less to do.
const EARLY_RATIO_MAX: f64 = 1.1;

/// What `plan` asks of the rows below it, the last first, and those rows.
pub(super) fn asked_of(mut plan: &LogicalPlan) -> (Vec<&Join>, &LogicalPlan) {
    let mut asking = Vec::new();
    while let LogicalPlan::Join(join) = plan
        && matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
    {
        asking.push(join);
        plan = &join.left;
    }
    (asking, plan)
}

/// `group` with those of `asking` at one of its inputs that are asked there of fewer rows than at its end, and the others.
pub(super) fn placed(mut group: JoinGroup, asking: Vec<&Join>) -> Result<(JoinGroup, Vec<&Join>)> {
    let Some(graph) = group.estimated() else { return Ok((group, asking)) };
    let rows_of_all = graph.rows_of_all();
    let mut kept = Vec::new();
    for join in asking {
        match group.owner(&asked_columns(join)).filter(|input| graph.rows[*input] <= EARLY_RATIO_MAX * rows_of_all) {
            Some(input) if !is_volatile(join) => group = group.map_input(input, |rows| above(rows, join))?,
            _ => kept.push(join),
        }
    }
    Ok((group, kept))
}

/// `join` above other rows with the same columns.
pub(super) fn above(rows: LogicalPlan, join: &Join) -> Result<LogicalPlan> {
    let moved = Join::try_new(
        Arc::new(rows),
        Arc::clone(&join.right),
        join.on.clone(),
        join.filter.clone(),
        join.join_type,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )?;
    Ok(LogicalPlan::Join(moved))
}

/// Columns of the left side that the join looks at.
fn asked_columns(join: &Join) -> Vec<&Column> {
    let keys = join.on.iter().flat_map(|(left, _)| left.column_refs());
    let others = join.filter.iter().flat_map(Expr::column_refs);
    keys.chain(others.filter(|column| join.left.schema().has_column(column))).collect()
}

fn is_volatile(join: &Join) -> bool {
    join.on.iter().any(|(left, right)| left.is_volatile() || right.is_volatile())
        || join.filter.as_ref().is_some_and(Expr::is_volatile)
}
