//! `grappe_check(condition, rule, row)`: true, or an error that names the rule and shows the row.
//!
//! What is written to a table passes through a filter of these. As in SQL, a condition that is null breaks nothing.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::prelude::lit;

use crate::Error;

/// Characters of a row that an error shows.
const ROW_CHARACTERS_MAX: usize = 500;

/// The function, for the registry of every process.
pub(crate) fn check_function() -> Arc<ScalarUDF> {
    Arc::clone(&FUNCTION)
}

static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::from(Check::new())));

/// An expression that fails for the first row for which `condition` is false. `rule` says what is broken, `row` is a
/// struct to show.
pub(crate) fn check(condition: Expr, rule: &str, row: Expr) -> Expr {
    FUNCTION.call(vec![condition, lit(rule), row])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Check {
    signature: Signature,
}

impl Check {
    /// Volatile: it must neither be left out nor moved.
    fn new() -> Self {
        Self { signature: Signature::any(3, Volatility::Volatile) }
    }
}

impl ScalarUDFImpl for Check {
    fn name(&self) -> &str {
        "grappe_check"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let [condition, rule, row] = args.args.as_slice() else {
            return Err(Error::internal("grappe_check takes three arguments").into());
        };
        let condition = condition.to_array(rows)?;
        let Some(condition) = condition.as_boolean_opt() else {
            return Err(Error::invalid("the condition of a CHECK constraint must be true or false").into());
        };
        if let Some(broken) = (0..rows).find(|index| condition.is_valid(*index) && !condition.value(*index)) {
            let rule = shown(&rule.to_array(rows)?, broken)?;
            let row = shown(&row.to_array(rows)?, broken)?;
            let row: String = row.chars().take(ROW_CHARACTERS_MAX).collect();
            return Err(Error::invalid(format!("{rule}; the row is {row}")).into());
        }
        Ok(ColumnarValue::Array(Arc::new(BooleanArray::from(vec![true; rows]))))
    }
}

fn shown(array: &ArrayRef, index: usize) -> Result<String> {
    let options = FormatOptions::default().with_null("NULL");
    Ok(ArrayFormatter::try_new(array.as_ref(), &options)?.value(index).try_to_string()?)
}
