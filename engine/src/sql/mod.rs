//! SQL text to a statement, and the statements that we carry out ourselves.

mod ddl;
mod placeholders;
mod prepared;
mod refused;
mod settings;
mod statement;
mod substrait;
mod temporary;
mod types;

pub(crate) use ddl::run_ddl;
pub(crate) use placeholders::{bind, bind_row, number_placeholders, parameters};
pub(crate) use prepared::PreparedPlans;
pub(crate) use refused::refuse_what_would_be_wrong;
pub(crate) use settings::{reset_setting, set_setting};
pub use statement::{Effect, Statement};
pub use substrait::HAS_SUBSTRAIT;
pub(crate) use substrait::plan_substrait;
pub(crate) use temporary::{place_temporary, wrong_schema};

use datafusion::execution::SessionState;
use datafusion::sql::parser::{DFParserBuilder, Statement as Syntax};
use datafusion::sql::sqlparser::dialect::GenericDialect;

use crate::{Error, Result};

/// The one statement in `sql`.
///
/// # Errors
/// `Invalid`, with the place, for a syntax error, for nothing, and for more than one statement.
pub(crate) fn parse_statement(state: &SessionState, sql: &str) -> Result<Syntax> {
    let recursion_limit = state.config_options().sql_parser.recursion_limit.get();
    let mut statements = DFParserBuilder::new(sql)
        .with_dialect(&GenericDialect {})
        .with_recursion_limit(recursion_limit)
        .build()?
        .parse_statements()?;
    match (statements.pop_front(), statements.len()) {
        (Some(mut statement), 0) => {
            types::rename_types(&mut statement);
            Ok(statement)
        }
        (None, _) => Err(Error::invalid("there is no statement in the text")),
        (Some(_), more) => Err(Error::invalid(format!("one statement at a time, not {}", more + 1))),
    }
}
