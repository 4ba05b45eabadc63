//! Parameters of a statement: `$1`, `$2`, ... or `?` in order.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::metadata::ScalarAndMetadata;
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::parser::{CopyToSource, Statement as Syntax};
use datafusion::sql::sqlparser::ast::{Query, Statement as Ast, Value, ValueWithSpan, VisitMut, VisitorMut};

use crate::{Error, ErrorKind, Result};

/// Rows of parameters for which one query is run; each makes the plan longer.
const PARAMETER_ROWS_MAX: usize = 1_000;

/// Gives each `?` its number, so that it is like `$1`.
///
/// # Errors
/// `Invalid` if a statement has both.
pub(crate) fn number_placeholders(syntax: &mut Syntax) -> Result<()> {
    let mut numbering = Numbering::default();
    let _ = match syntax {
        Syntax::Statement(statement) => Ast::visit(statement, &mut numbering),
        Syntax::CopyTo(copy) => match &mut copy.source {
            CopyToSource::Query(query) => Query::visit(query, &mut numbering),
            CopyToSource::Relation(_) => ControlFlow::Continue(()),
        },
        Syntax::Explain(explain) => return number_placeholders(&mut explain.statement),
        _ => ControlFlow::Continue(()),
    };
    match (numbering.marks, numbering.has_numbers) {
        (1.., true) => Err(Error::invalid("a statement has either '?' or '$1', not both")),
        _ => Ok(()),
    }
}

#[derive(Default)]
struct Numbering {
    marks: usize,
    has_numbers: bool,
}

impl VisitorMut for Numbering {
    type Break = ();

    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<()> {
        if let Value::Placeholder(name) = &mut value.value {
            if name == "?" {
                self.marks += 1;
                *name = format!("${}", self.marks);
            } else {
                self.has_numbers = true;
            }
        }
        ControlFlow::Continue(())
    }
}

/// The parameters in order, with the types that the statement needs; `Null` where it takes any.
///
/// # Errors
/// `Invalid` for a parameter without a number, or a gap in the numbers.
pub(crate) fn parameters(plan: &LogicalPlan) -> Result<Schema> {
    let mut found = plan.get_parameter_fields()?;
    let mut fields = Vec::with_capacity(found.len());
    while !found.is_empty() {
        let name = format!("${}", fields.len() + 1);
        let Some(field) = found.remove(&name) else {
            let names: Vec<_> = found.keys().map(String::as_str).collect();
            let message = format!("parameters are $1, $2 and so on, but {name} is missing before {}", names.join(", "));
            return Err(Error::invalid(message));
        };
        let data_type = field.map_or(DataType::Null, |field| field.data_type().clone());
        fields.push(Field::new(name, data_type, true));
    }
    Ok(Schema::new(fields))
}

/// `plan` with each row of `batch` for its parameters, one after the other.
///
/// # Errors
/// `Invalid` for another number of parameters, or a value that its place cannot take.
pub(crate) fn bind(plan: &LogicalPlan, batch: &RecordBatch) -> Result<LogicalPlan> {
    if batch.num_rows() > PARAMETER_ROWS_MAX {
        let message =
            format!("a query takes at most {PARAMETER_ROWS_MAX} rows of parameters, not {}", batch.num_rows());
        return Err(Error::new(ErrorKind::Exhausted, message));
    }
    let wanted = parameters(plan)?;
    let mut rows = (0..batch.num_rows()).map(|row| bind_row(plan, &wanted, batch, row));
    let Some(first) = rows.next() else { return Err(Error::invalid("there is no row of parameters")) };
    let mut bound = first?;
    for next in rows {
        bound = LogicalPlanBuilder::from(bound).union(next?)?.build()?;
    }
    Ok(bound)
}

/// `plan` with the values of one row for its parameters.
///
/// # Errors
/// As [`bind`].
pub(crate) fn bind_row(plan: &LogicalPlan, wanted: &Schema, batch: &RecordBatch, row: usize) -> Result<LogicalPlan> {
    let (takes, given) = (wanted.fields().len(), batch.num_columns());
    if takes != given {
        return Err(Error::invalid(format!("the statement takes {takes} parameters, and {given} are given")));
    }
    let values = batch.columns().iter().zip(wanted.fields()).map(|(column, field)| value(column, field, row));
    let values = values.collect::<Result<Vec<_>>>()?;
    if values.is_empty() {
        return Ok(plan.clone());
    }
    Ok(plan.clone().with_param_values(ParamValues::List(values))?)
}

fn value(column: &Arc<dyn Array>, field: &Field, row: usize) -> Result<ScalarAndMetadata> {
    let value = ScalarValue::try_from_array(column, row)?;
    let value = match field.data_type() {
        DataType::Null => value,
        data_type => value.cast_to(data_type).map_err(|error| {
            let (name, given) = (field.name(), column.data_type());
            Error::from(error).context(format!("parameter {name} must be {data_type}, and is {given}"))
        })?,
    };
    Ok(ScalarAndMetadata::from(value))
}
