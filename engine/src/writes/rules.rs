//! The rules of a table, as an expression through which every row passes that is written.

use datafusion::common::{Column, DFSchema};
use datafusion::execution::SessionState;
use datafusion::functions::core::expr_fn::named_struct;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, when};
use datafusion::prelude::lit;

use crate::functions::check::check;
use crate::{Error, Result};
use datafusion::arrow::datatypes::Schema;

/// `input`, whose columns are `columns` in their order, with every row checked: NOT NULL and `checks`, each a name and
/// SQL.
///
/// # Errors
/// `Invalid` for a constraint that cannot be understood any more.
pub(crate) fn with_checks(
    state: &SessionState,
    table: &str,
    columns: &Schema,
    checks: &[(String, String)],
    input: LogicalPlan,
) -> Result<LogicalPlan> {
    let required: Vec<&String> =
        columns.fields().iter().filter(|field| !field.is_nullable()).map(|field| field.name()).collect();
    if required.is_empty() && checks.is_empty() {
        return Ok(input);
    }
    let input = named(input, columns)?;
    let schema = DFSchema::try_from(input.schema().as_arrow().clone())?;
    let row = whole_row(columns);
    let mut rules = Vec::new();
    for name in required {
        let rule = format!("column \"{name}\" of table \"{table}\" must not be NULL");
        rules.push(check(column(name).is_not_null(), &rule, row.clone()));
    }
    for (name, sql) in checks {
        let condition = state.create_logical_expr(sql, &schema).map_err(|error| {
            Error::from(error)
                .context(format!("CHECK constraint \"{name}\" of table \"{table}\" does not hold any more"))
        })?;
        let rule = format!("a row breaks CHECK constraint \"{name}\" of table \"{table}\": {sql}");
        rules.push(check(condition, &rule, row.clone()));
    }
    let Some(all) = rules.into_iter().reduce(Expr::and) else { return Ok(input) };
    // In a projection: a filter would be merged with those below it, and see rows that they leave out.
    let mut names = columns.fields().iter().map(|field| field.name());
    let first = names.next().map(|name| Ok::<_, Error>(when(all, column(name)).end()?.alias(name)));
    let values = first.into_iter().chain(names.map(|name| Ok(column(name)))).collect::<Result<Vec<_>>>()?;
    Ok(LogicalPlanBuilder::from(input).project(values)?.build()?)
}

/// `input` under the names of the table's columns, without a table before them.
fn named(input: LogicalPlan, columns: &Schema) -> Result<LogicalPlan> {
    let expressions = input.schema().columns().into_iter().zip(columns.fields());
    let expressions: Vec<Expr> =
        expressions.map(|(column, field)| Expr::Column(column).alias(field.name().as_str())).collect();
    Ok(LogicalPlanBuilder::from(input).project(expressions)?.build()?)
}

fn column(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

fn whole_row(columns: &Schema) -> Expr {
    named_struct(columns.fields().iter().flat_map(|field| [lit(field.name().as_str()), column(field.name())]).collect())
}
