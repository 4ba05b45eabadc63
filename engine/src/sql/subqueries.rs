//! `x IN (SELECT max(y) ...)` under another condition, which DataFusion 55 cannot plan: it projects the column of the
//! subquery twice, and takes only plain columns for the same. So such a column gets a plain name.

use std::sync::Arc;

use datafusion::arrow::datatypes::FieldRef;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr::InSubquery;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};

/// The name of what `IN` looks for.
const NAME: &str = "__in";

/// `plan`, in which the column of every subquery of an `IN` has a plain name.
pub(crate) fn name_subquery_columns(plan: LogicalPlan) -> Result<LogicalPlan> {
    let named = plan.transform_up_with_subqueries(|node| {
        node.map_expressions(|expression| {
            expression.transform_up(|part| match part {
                Expr::InSubquery(found) => named(found),
                other => Ok(Transformed::no(other)),
            })
        })
    });
    Ok(named?.data)
}

/// `plan`, in which every VALUES may hold nulls. DataFusion gives those below an INSERT the columns of the table, and a null
/// that a WHERE leaves out, or that a rule is to name, would already break them.
pub(crate) fn nullable_values(plan: LogicalPlan) -> Result<LogicalPlan> {
    let changed = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Values(mut values) => {
            let fields = values.schema.iter();
            let nullable = |field: &FieldRef| Arc::new(field.as_ref().clone().with_nullable(true));
            let fields = fields.map(|(qualifier, field)| (qualifier.cloned(), nullable(field))).collect();
            values.schema = Arc::new(DFSchema::new_with_metadata(fields, values.schema.metadata().clone())?);
            Ok(Transformed::yes(LogicalPlan::Values(values)))
        }
        other => Ok(Transformed::no(other.recompute_schema()?)),
    });
    Ok(changed?.data)
}

fn named(mut found: InSubquery) -> Result<Transformed<Expr>> {
    let plan = found.subquery.subquery.as_ref();
    let columns = plan.schema().columns();
    let [column] = columns.as_slice() else { return Ok(Transformed::no(Expr::InSubquery(found))) };
    // What is computed is named after how.
    if !column.name.contains('(') {
        return Ok(Transformed::no(Expr::InSubquery(found)));
    }
    let value = Expr::Column(column.clone()).alias(NAME);
    let plain = LogicalPlanBuilder::from(plan.clone()).project([value])?.build()?;
    found.subquery.subquery = Arc::new(plain);
    Ok(Transformed::yes(Expr::InSubquery(found)))
}
