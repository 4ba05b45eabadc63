//! `PREPARE`, `EXECUTE`, `DEALLOCATE`: plans with parameters that a session keeps by name.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ParamValues;
use datafusion::common::metadata::ScalarAndMetadata;
use datafusion::execution::SessionState;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Execute, Expr, LogicalPlan, Prepare};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use parking_lot::Mutex;

use crate::{Error, ErrorKind, Result};

/// Most prepared plans of one session.
const PREPARED_PLANS_MAX: usize = 1_000;

#[derive(Debug)]
struct Stored {
    fields: Vec<FieldRef>,
    plan: Arc<LogicalPlan>,
}

/// The prepared plans of a session.
#[derive(Debug, Default)]
pub(crate) struct PreparedPlans {
    plans: Mutex<HashMap<String, Stored>>,
}

impl PreparedPlans {
    /// Keeps a plan.
    ///
    /// # Errors
    /// `AlreadyExists`; `Invalid` if the declared types do not match the parameters; `Exhausted`.
    pub(crate) fn prepare(&self, prepare: &Prepare) -> Result<()> {
        let parameters = prepare.input.get_parameter_names()?.len();
        if !prepare.fields.is_empty() && prepare.fields.len() != parameters {
            let declared = prepare.fields.len();
            return Err(Error::invalid(format!("{declared} types are declared for {parameters} parameters")));
        }
        let mut plans = self.plans.lock();
        if plans.contains_key(&prepare.name) {
            return Err(Error::already_exists(format!("prepared statement \"{}\" already exists", prepare.name)));
        }
        if plans.len() >= PREPARED_PLANS_MAX {
            let message = format!("a session keeps at most {PREPARED_PLANS_MAX} prepared statements; DEALLOCATE some");
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        let stored = Stored { fields: prepare.fields.clone(), plan: Arc::clone(&prepare.input) };
        plans.insert(prepare.name.clone(), stored);
        Ok(())
    }

    /// Forgets a plan.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) fn deallocate(&self, name: &str) -> Result<()> {
        self.plans.lock().remove(name).map(|_| ()).ok_or_else(|| unknown(name))
    }

    /// The kept plan with its parameters filled in.
    ///
    /// # Errors
    /// `NotFound` for the name; `Invalid` for the number or type of the parameters.
    pub(crate) fn execute(&self, state: &SessionState, execute: &Execute) -> Result<LogicalPlan> {
        let plans = self.plans.lock();
        let stored = plans.get(&execute.name).ok_or_else(|| unknown(&execute.name))?;
        let mut values = constants(state, &stored.plan, &execute.parameters)?;
        if !stored.fields.is_empty() {
            if stored.fields.len() != values.len() {
                let (wanted, given) = (stored.fields.len(), values.len());
                return Err(Error::invalid(format!("\"{}\" takes {wanted} parameters, not {given}", execute.name)));
            }
            let typed = values.into_iter().zip(&stored.fields);
            values = typed.map(|(value, field)| typed_value(value, field.data_type())).collect::<Result<_>>()?;
        }
        Ok(stored.plan.as_ref().clone().with_param_values(ParamValues::List(values))?)
    }
}

/// `Null` is the type of a parameter that takes any.
fn typed_value(value: ScalarAndMetadata, data_type: &DataType) -> Result<ScalarAndMetadata> {
    if data_type.is_null() { Ok(value) } else { Ok(value.cast_storage_to(data_type)?) }
}

fn constants(state: &SessionState, plan: &LogicalPlan, expressions: &[Expr]) -> Result<Vec<ScalarAndMetadata>> {
    let context = SimplifyContext::builder()
        .with_schema(Arc::clone(plan.schema()))
        .with_config_options(Arc::clone(state.config_options()))
        .with_query_execution_start_time(state.execution_props().query_execution_start_time)
        .build();
    let simplifier = ExprSimplifier::new(context);
    let constant = |expression: &Expr| match simplifier.simplify(expression.clone())? {
        Expr::Literal(value, metadata) => Ok(ScalarAndMetadata::new(value, metadata)),
        other => Err(Error::invalid(format!("a parameter must be a constant, not {other}"))),
    };
    expressions.iter().map(constant).collect()
}

fn unknown(name: &str) -> Error {
    Error::not_found(format!("prepared statement \"{name}\" does not exist"))
}
