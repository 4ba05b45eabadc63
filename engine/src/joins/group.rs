//! Neighbouring inner joins: their inputs, their conditions, and a plan for any order of them.

use std::sync::Arc;

use datafusion::common::{Column, DFSchema, NullEquality};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::utils::{conjunction, find_valid_equijoin_key_pair, split_conjunction};
use datafusion::logical_expr::{
    BinaryExpr, Expr, Filter, Join, JoinConstraint, JoinType, LogicalPlan, Operator, Projection, binary_expr,
};

use super::estimate::{Estimate, estimate};
use super::search::{Edge, Graph, INPUTS_MAX, Set, Tree};

/// Inner joins without anything between them.
pub(super) struct JoinGroup {
    inputs: Vec<LogicalPlan>,
    conditions: Vec<Condition>,
    written: Tree,
}

/// Something that must be true, and the inputs that it speaks of.
struct Condition {
    expr: Expr,
    inputs: Set,
}

impl JoinGroup {
    /// The joins at the top of `plan`, if there are any.
    pub(super) fn of(plan: &LogicalPlan) -> Option<Self> {
        let (mut inputs, mut exprs) = (Vec::new(), Vec::new());
        let written = take_apart(plan, &mut inputs, &mut exprs);
        // A condition that is another one each time it is asked stays where it was written.
        if !(2..=INPUTS_MAX).contains(&inputs.len()) || exprs.iter().any(Expr::is_volatile) {
            return None;
        }
        let set = |expr: &Expr| inputs_of(expr, &inputs);
        let conditions = exprs.into_iter().map(|expr| Some(Condition { inputs: set(&expr)?, expr }));
        let conditions = conditions.collect::<Option<Vec<_>>>()?;
        Some(Self { inputs, conditions, written })
    }

    /// Whether they can be put in another order.
    pub(super) fn has_choice(&self) -> bool {
        self.inputs.len() > 2
    }

    /// The input that has all of `columns`, of which there is at least one.
    pub(super) fn owner(&self, columns: &[&Column]) -> Option<usize> {
        let has_all = |input: &LogicalPlan| columns.iter().all(|column| input.schema().has_column(column));
        if columns.is_empty() { None } else { self.inputs.iter().position(has_all) }
    }

    /// With one input as `change` makes it; its columns stay.
    pub(super) fn map_input(
        mut self,
        index: usize,
        change: impl FnOnce(LogicalPlan) -> Result<LogicalPlan>,
    ) -> Result<Self> {
        let input = self.inputs.remove(index);
        self.inputs.insert(index, change(input)?);
        Ok(self)
    }

    /// With each input as `change` makes it; its columns stay.
    pub(super) fn map_inputs(mut self, change: impl FnMut(LogicalPlan) -> Result<LogicalPlan>) -> Result<Self> {
        self.inputs = self.inputs.into_iter().map(change).collect::<Result<_>>()?;
        Ok(self)
    }

    /// The order of the statement.
    pub(super) fn written(&self) -> &Tree {
        &self.written
    }

    /// Rows of inputs and what conditions leave of them, if every input can tell.
    pub(super) fn estimated(&self) -> Option<Graph> {
        let inputs: Vec<Estimate> = self.inputs.iter().map(estimate).collect::<Option<_>>()?;
        let mut edges: Vec<Edge> = Vec::new();
        for condition in &self.conditions {
            let selectivity = self.selectivity(condition, &inputs);
            let between_two = condition.inputs.count_ones() == 2;
            match edges.iter_mut().find(|edge| between_two && edge.inputs == condition.inputs) {
                // A key of several columns leaves at least one row for each row of the larger side.
                Some(edge) => {
                    let rows = members(condition.inputs).map(|index| inputs[index].rows_before).fold(1.0, f64::max);
                    edge.selectivity = (edge.selectivity * selectivity).max((1.0 / rows).min(edge.selectivity));
                }
                None => edges.push(Edge { inputs: condition.inputs, selectivity }),
            }
        }
        Some(Graph { rows: inputs.iter().map(|input| input.rows).collect(), edges })
    }

    fn selectivity(&self, condition: &Condition, inputs: &[Estimate]) -> f64 {
        /// Of a condition of which nothing is known.
        const UNKNOWN: f64 = 0.3;
        let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = &condition.expr else { return UNKNOWN };
        let distinct = |side: &Expr| {
            let set = inputs_of(side, &self.inputs).filter(|set| set.count_ones() == 1)?;
            Some(inputs[set.trailing_zeros() as usize].distinct(side))
        };
        match (distinct(left), distinct(right)) {
            (Some(left), Some(right)) => 1.0 / left.max(right).max(1.0),
            _ => UNKNOWN,
        }
    }

    /// A plan that joins in the order of `tree`, with the columns of `schema`.
    pub(super) fn joined(&self, tree: &Tree, schema: &DFSchema) -> Result<LogicalPlan> {
        let plan = self.plan(tree)?;
        let columns = schema.columns().into_iter().map(Expr::Column).collect();
        Projection::try_new(columns, Arc::new(plan)).map(LogicalPlan::Projection)
    }

    fn plan(&self, tree: &Tree) -> Result<LogicalPlan> {
        let (left, right) = match tree {
            Tree::Join(left, right) => (left, right),
            Tree::Input(index) => return filtered(self.inputs[*index].clone(), self.conditions_of(1 << index, 0)),
        };
        let (left_plan, right_plan) = (self.plan(left)?, self.plan(right)?);
        let (mut keys, mut filters) = (Vec::new(), Vec::new());
        for expr in self.conditions_of(left.set(), right.set()) {
            match key_pair(&expr, left_plan.schema(), right_plan.schema())? {
                Some(pair) => keys.push(pair),
                None => filters.push(expr),
            }
        }
        let join = Join::try_new(
            Arc::new(left_plan),
            Arc::new(right_plan),
            keys,
            conjunction(filters),
            JoinType::Inner,
            JoinConstraint::On,
            NullEquality::NullEqualsNothing,
            false,
        )?;
        Ok(LogicalPlan::Join(join))
    }

    /// Conditions that can be asked where `left` and `right` meet, and no earlier.
    fn conditions_of(&self, left: Set, right: Set) -> Vec<Expr> {
        let is_due = |condition: &&Condition| {
            let inputs = condition.inputs;
            inputs & !(left | right) == 0 && (right == 0 || (inputs & !left != 0 && inputs & !right != 0))
        };
        self.conditions.iter().filter(is_due).map(|condition| condition.expr.clone()).collect()
    }
}

fn take_apart(plan: &LogicalPlan, inputs: &mut Vec<LogicalPlan>, exprs: &mut Vec<Expr>) -> Tree {
    match plan {
        LogicalPlan::Join(join)
            if join.join_type == JoinType::Inner && join.null_equality == NullEquality::NullEqualsNothing =>
        {
            let keys = join.on.iter().map(|(left, right)| binary_expr(left.clone(), Operator::Eq, right.clone()));
            exprs.extend(keys);
            exprs.extend(join.filter.iter().flat_map(|filter| split_conjunction(filter).into_iter().cloned()));
            let left = take_apart(&join.left, inputs, exprs);
            Tree::join(left, take_apart(&join.right, inputs, exprs))
        }
        input => {
            inputs.push(input.clone());
            Tree::Input(inputs.len() - 1)
        }
    }
}

/// The inputs whose columns `expr` names; nothing if it names none.
fn inputs_of(expr: &Expr, inputs: &[LogicalPlan]) -> Option<Set> {
    let owner = |column: &&Column| inputs.iter().position(|input| input.schema().has_column(column));
    let columns = expr.column_refs();
    let owners = columns.iter().map(|column| owner(column).map(|index| 1 << index));
    let set = owners.collect::<Option<Vec<Set>>>()?.into_iter().fold(0, |set, one| set | one);
    (set != 0).then_some(set)
}

fn members(set: Set) -> impl Iterator<Item = usize> {
    (0..INPUTS_MAX).filter(move |index| set & (1 << index) != 0)
}

fn filtered(input: LogicalPlan, conditions: Vec<Expr>) -> Result<LogicalPlan> {
    match conjunction(conditions) {
        Some(predicate) => Filter::try_new(predicate, Arc::new(input)).map(LogicalPlan::Filter),
        None => Ok(input),
    }
}

/// The two sides of an equality, if it can be a key of a join.
fn key_pair(expr: &Expr, left: &DFSchema, right: &DFSchema) -> Result<Option<(Expr, Expr)>, DataFusionError> {
    let Expr::BinaryExpr(BinaryExpr { left: one, op: Operator::Eq, right: other }) = expr else { return Ok(None) };
    find_valid_equijoin_key_pair(one, other, left, right)
}
