//! SQL text to a statement, and the statements that we carry out ourselves.

mod alter;
mod called;
mod command;
mod ddl;
mod expansion;
mod insert;
mod names;
mod parser;
mod placeholders;
mod prepared;
mod refused;
mod settings;
mod show;
mod statement;
mod subqueries;
mod substrait;
mod table_clauses;
mod temporary;
#[cfg(test)]
mod tests;
mod time_travel;
mod types;
mod walk;

pub(crate) use called::only_called;
pub(crate) use command::{AnalyzedColumns, Command, Commented, NewColumn, TableChange, Used};
pub(crate) use ddl::{is_settled, new_name, refuse_duplicates, run_ddl, schema_name, table_name, table_schema};
pub(crate) use expansion::{refuse_columns, refuse_explosions};
pub(crate) use insert::refuse_insert_clauses;
pub(crate) use names::Names;
pub(crate) use parser::Parsed;
pub(crate) use placeholders::{bind, bind_row, number_placeholders, parameters};
pub(crate) use prepared::PreparedPlans;
pub(crate) use refused::refuse_what_would_be_wrong;
pub(crate) use settings::{
    DEFAULT_CATALOG, DEFAULT_SCHEMA, checked_key, is_default_catalog, reset_setting, set_setting,
};
pub(crate) use show::rewrite_show;
pub use statement::{Effect, Statement};
pub(crate) use subqueries::{name_subquery_columns, nullable_values};
pub use substrait::HAS_SUBSTRAIT;
pub(crate) use substrait::plan_substrait;
pub(crate) use table_clauses::{TableClauses, check_name, take_clauses};
pub(crate) use temporary::{place_temporary, refuse_clauses_of_temporary, wrong_schema};
pub(crate) use time_travel::{TravelTo, take_versions};

use datafusion::execution::SessionState;
use datafusion::sql::parser::Statement as Syntax;

use crate::config::grappe_options;
use crate::{Error, Result};

/// The one statement in `sql`, ours or DataFusion's.
///
/// # Errors
/// `Invalid`, with the place, for a syntax error, for nothing, and for more than one statement.
pub(crate) fn parse(state: &SessionState, sql: &str) -> Result<Parsed> {
    let options = state.config_options();
    let limits = grappe_options(state.config()).limits;
    parser::parse(sql, Names::of(options), options.sql_parser.recursion_limit.get(), &limits)
}

/// The one statement in `sql`, which DataFusion plans: a statement that was kept.
///
/// # Errors
/// As [`parse`], and `Invalid` for a statement of ours.
pub(crate) fn parse_statement(state: &SessionState, sql: &str) -> Result<Syntax> {
    match parse(state, sql)? {
        Parsed::Planned(syntax) => Ok(*syntax),
        Parsed::Command(_) => Err(Error::invalid("this statement cannot be planned: run it by itself")),
    }
}
