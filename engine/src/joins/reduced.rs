//! Groups that no row of the other side of a join asks for are not made.
//!
//! `WHERE l_quantity < (SELECT 0.2 * avg(l_quantity) FROM lineitem WHERE l_partkey = p_partkey)` becomes a join with an average
//! for every part, though few parts are left on the other side. If those keys are cheap to get again, only rows that have one
//! of them are grouped: the magic sets of Bancilhon et al. ("Magic sets and other strange ways to implement logic programs",
//! PODS 1986), of which one semi join is enough here. TPC-H q17 at scale 10 groups 60,000 rows in place of 60 million.

use std::sync::Arc;

use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, ExprSchema, NullEquality, Result};
use datafusion::logical_expr::{
    Aggregate, Expr, Join, JoinConstraint, JoinType, LogicalPlan, LogicalPlanBuilder, TableScan,
};

use super::estimate::{Estimate, estimate};

/// Keys are told by plans of names that begin so.
const NAME: &str = "__needed_keys";
/// The part of all keys up to which rows are asked for theirs.
const KEYS_PART_MAX: f64 = 0.15;
/// Rows from which on it is worth a second scan of the keys.
const ROWS_MIN: f64 = 100_000.0;

/// `join` with fewer groups on one of its sides, if keys of the other side say which are needed; `name` makes names of
/// their own of others.
///
/// # Errors
/// Those of building plans.
pub(super) fn reduced(join: &Join, name: impl Fn(&str) -> String) -> Result<Option<Join>> {
    if join.null_equality != NullEquality::NullEqualsNothing || join.null_aware {
        return Ok(None);
    }
    for pair in &join.on {
        let (Expr::Column(left), Expr::Column(right)) = pair else { continue };
        if !keeps_all_on_the_right(join.join_type)
            && let Some(side) = Keys::of(&join.left, left).and_then(|keys| keys.asked_of(&join.right, right))
        {
            return Ok(Some(Join { right: Arc::new(side.plan(&name)?), ..join.clone() }));
        }
        if !keeps_all_on_the_right(join.join_type.swap())
            && let Some(side) = Keys::of(&join.right, right).and_then(|keys| keys.asked_of(&join.left, left))
        {
            return Ok(Some(Join { left: Arc::new(side.plan(&name)?), ..join.clone() }));
        }
    }
    Ok(None)
}

/// Whether rows of the right side are there that match none of the left.
fn keeps_all_on_the_right(kind: JoinType) -> bool {
    matches!(kind, JoinType::Right | JoinType::Full | JoinType::RightAnti | JoinType::RightMark)
}

/// A scan with all values that a column has elsewhere.
struct Keys {
    scan: LogicalPlan,
    column: Column,
    estimate: Estimate,
}

impl Keys {
    /// The scan with the fewest rows that has all values of `column` of `plan`.
    fn of(plan: &LogicalPlan, column: &Column) -> Option<Self> {
        if is_scan(plan) {
            return Some(Self { scan: plan.clone(), column: column.clone(), estimate: estimate(plan)? });
        }
        match plan {
            LogicalPlan::Filter(filter) => Self::of(&filter.input, column),
            LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => {
                Self::of(plan.inputs().first()?, &below(plan, column)?)
            }
            LogicalPlan::Join(join) => {
                let owner = [&join.left, &join.right].into_iter().find(|side| side.schema().has_column(column))?;
                let equal = equal_columns(join, column);
                let found = equal.filter_map(|(side, column)| Self::of(side, column)).chain(Self::of(owner, column));
                found.min_by(|one, other| one.estimate.rows.total_cmp(&other.estimate.rows))
            }
            _ => None,
        }
    }

    /// What groups by `column` below `side`, if asking its rows for these keys is worth it.
    fn asked_of<'p>(self, side: &'p LogicalPlan, column: &Column) -> Option<Asked<'p>> {
        match side {
            LogicalPlan::Filter(_) | LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => {
                let asked = self.asked_of(side.inputs().first()?, &below(side, column)?)?;
                Some(Asked { above: [vec![side], asked.above].concat(), ..asked })
            }
            LogicalPlan::Aggregate(groups) => {
                let by = groups.schema.maybe_index_of_column(column).and_then(|index| groups.group_expr.get(index))?;
                let Expr::Column(by) = by else { return None };
                self.are_few(groups, by).then(|| Asked { keys: self, groups, by: by.clone(), above: Vec::new() })
            }
            _ => None,
        }
    }

    fn are_few(&self, groups: &Aggregate, by: &Column) -> bool {
        let is_set = |expr: &Expr| matches!(expr, Expr::GroupingSet(_));
        let kind = |plan: &LogicalPlan, column| plan.schema().data_type(column).ok().cloned();
        let is_asked =
            |plan: &LogicalPlan| matches!(plan, LogicalPlan::SubqueryAlias(a) if a.alias.table().starts_with(NAME));
        let Some(rows) = estimate(&groups.input) else { return false };
        !groups.group_expr.iter().any(is_set)
            && kind(&groups.input, by) == kind(&self.scan, &self.column)
            && rows.rows >= ROWS_MIN
            && self.estimate.rows_before <= rows.rows
            && self.estimate.rows <= KEYS_PART_MAX * rows.distinct(&Expr::Column(by.clone()))
            && !groups.input.exists(|plan| Ok(is_asked(plan))).unwrap_or(true)
    }
}

/// Groups, of which only those with certain keys are needed.
struct Asked<'p> {
    keys: Keys,
    groups: &'p Aggregate,
    by: Column,
    /// What is made of the groups, the last first.
    above: Vec<&'p LogicalPlan>,
}

impl Asked<'_> {
    fn plan(self, name: impl Fn(&str) -> String) -> Result<LogicalPlan> {
        let name = name(NAME);
        let key = Column::new(Some(name.clone()), self.keys.column.name());
        let keys =
            LogicalPlanBuilder::from(self.keys.scan).project([Expr::Column(self.keys.column)])?.alias(name)?.build()?;
        let rows = Join::try_new(
            Arc::clone(&self.groups.input),
            Arc::new(keys),
            vec![(Expr::Column(self.by), Expr::Column(key))],
            None,
            JoinType::LeftSemi,
            JoinConstraint::On,
            NullEquality::NullEqualsNothing,
            false,
        )?;
        let groups = LogicalPlan::Aggregate(self.groups.clone());
        let groups = groups.with_new_exprs(groups.expressions(), vec![LogicalPlan::Join(rows)])?;
        self.above
            .into_iter()
            .rev()
            .try_fold(groups, |plan, above| above.with_new_exprs(above.expressions(), vec![plan]))
    }
}

/// Columns of the other side that have each value that `column` has after the join.
fn equal_columns<'p>(join: &'p Join, column: &'p Column) -> impl Iterator<Item = (&'p LogicalPlan, &'p Column)> {
    let is_strict = matches!(join.join_type, JoinType::Inner | JoinType::LeftSemi | JoinType::RightSemi)
        && join.null_equality == NullEquality::NullEqualsNothing;
    join.on.iter().filter(move |_| is_strict).filter_map(move |pair| match pair {
        (Expr::Column(left), Expr::Column(right)) if left == column => Some((join.right.as_ref(), right)),
        (Expr::Column(left), Expr::Column(right)) if right == column => Some((join.left.as_ref(), left)),
        _ => None,
    })
}

/// Whether `plan` only reads a table, and gives the same rows when it is asked again.
fn is_scan(plan: &LogicalPlan) -> bool {
    let is_volatile = plan.expressions().iter().any(Expr::is_volatile);
    match plan {
        LogicalPlan::TableScan(TableScan { fetch, .. }) => fetch.is_none() && !is_volatile,
        LogicalPlan::Filter(_) | LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => {
            !is_volatile && !has_subquery(plan) && plan.inputs().into_iter().all(is_scan)
        }
        _ => false,
    }
}

fn has_subquery(plan: &LogicalPlan) -> bool {
    let is_one = |expr: &Expr| {
        matches!(expr, Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_))
    };
    plan.expressions().iter().any(|expr| expr.exists(|expr| Ok(is_one(expr))).unwrap_or(true))
}

/// The column of the input of `plan` that `column` is.
fn below(plan: &LogicalPlan, column: &Column) -> Option<Column> {
    let index = plan.schema().maybe_index_of_column(column)?;
    match plan {
        LogicalPlan::Projection(projection) => match projection.expr.get(index)?.clone().unalias_nested().data {
            Expr::Column(column) => Some(column),
            _ => None,
        },
        LogicalPlan::SubqueryAlias(alias) => Some(Column::from(alias.input.schema().qualified_field(index))),
        _ => Some(column.clone()),
    }
}
