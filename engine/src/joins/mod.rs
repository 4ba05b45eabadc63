//! The order of joins, from what is known about the rows of tables.
//!
//! DataFusion joins in the order in which a statement names its tables, and chooses only which side of each join is
//! kept in memory. [`JoinOrder`] takes neighbouring inner joins apart ([`group`]), estimates how many rows each of
//! their inputs and each join gives ([`estimate`]), and puts them together in the order with the least work
//! ([`search`]), with `EXISTS` and `IN` where they are asked of the fewest rows ([`existence`]). Where a table does not
//! say how many rows it has, the statement's own order stays. [`NeededGroups`] then has only groups made that joins ask for
//! ([`reduced`]).
//!
//! Must not know where statistics come from: it asks `TableProvider::statistics`.

mod estimate;
mod existence;
mod group;
mod reduced;
mod search;

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::{Join, LogicalPlan};
use datafusion::optimizer::optimizer::Optimizer;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use crate::config::GrappeOptions;
use crate::planning::timed_rules;
use existence::{above, asked_of, placed};
use group::JoinGroup;

/// An order must be estimated to be better by this factor to replace the one that was written.
const COST_RATIO_MAX: f64 = 0.9;

/// DataFusion's rules, and ours where it has joins with their conditions and filters close to their tables, and
/// columns have not been cut down yet.
pub(crate) fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules = Optimizer::new().rules;
    let after = rules.iter().position(|rule| rule.name() == "push_down_filter").map_or(rules.len(), |index| index + 1);
    rules.splice(after..after, [Arc::new(JoinOrder) as Arc<dyn OptimizerRule + Send + Sync>, Arc::new(NeededGroups)]);
    timed_rules(rules)
}

/// Puts inner joins in the order with the least rows between them.
#[derive(Debug)]
struct JoinOrder;

impl OptimizerRule for JoinOrder {
    fn name(&self) -> &str {
        "join_order"
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if is_on(config) { reorder(plan) } else { Ok(Transformed::no(plan)) }
    }
}

/// Makes only groups that joins ask for.
#[derive(Debug)]
struct NeededGroups;

impl OptimizerRule for NeededGroups {
    fn name(&self) -> &str {
        "needed_groups"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Join(join) = &plan else { return Ok(Transformed::no(plan)) };
        let names = config.alias_generator();
        match is_on(config).then(|| reduced::reduced(join, |prefix| names.next(prefix))).transpose()?.flatten() {
            Some(join) => Ok(Transformed::yes(LogicalPlan::Join(join))),
            None => Ok(Transformed::no(plan)),
        }
    }
}

fn is_on(config: &dyn OptimizerConfig) -> bool {
    config.options().extensions.get::<GrappeOptions>().is_none_or(|options| options.join_reordering)
}

fn reorder(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let (asking, rows) = asked_of(&plan);
    let Some(group) = JoinGroup::of(rows) else { return plan.map_children(reorder) };
    let asked = asking.len();
    let (group, kept) = placed(group, asking)?;
    if kept.len() == asked && asked > 0 {
        return plan.map_children(reorder);
    }
    let mut is_changed = kept.len() < asked;
    let group = group.map_inputs(|input| {
        let input = reorder(input)?;
        is_changed |= input.transformed;
        Ok(input.data)
    })?;
    let best = group.estimated().filter(|_| group.has_choice()).and_then(|graph| {
        let best = search::best(&graph);
        (graph.cost(&best) < COST_RATIO_MAX * graph.cost(group.written())).then_some(best)
    });
    let tree = match &best {
        Some(tree) => tree,
        None if is_changed => group.written(),
        None => return Ok(Transformed::no(plan)),
    };
    let mut joined = group.joined(tree, rows.schema())?;
    for join in kept.into_iter().rev() {
        let right = reorder(join.right.as_ref().clone())?.data;
        joined = above(joined, &Join { right: Arc::new(right), ..join.clone() })?;
    }
    Ok(Transformed::yes(joined))
}
