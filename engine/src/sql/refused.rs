//! Statements that DataFusion 55 plans and answers wrongly: a refusal is better than a wrong answer.
//!
//! Each has records in `sql-tests/slt` with the right rows, skipped for now; when one passes, its rule goes.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    JoinConstraint, JoinOperator, Query, SetExpr, SetOperator, SetQuantifier, Statement as Ast, TableWithJoins, Visit,
    Visitor,
};

use crate::{Error, Result};

/// # Errors
/// `Invalid`, with the way around.
pub(crate) fn refuse_what_would_be_wrong(statement: &Statement) -> Result<()> {
    if let Statement::Explain(explain) = statement
        && !explain.options.analyze
        && let Statement::Statement(inner) = explain.statement.as_ref()
        && matches!(inner.as_ref(), Ast::Delete(_) | Ast::Update(_))
    {
        // DataFusion's in-memory table does the work when it is planned, and would do it for an EXPLAIN.
        return Err(Error::invalid("EXPLAIN of DELETE and UPDATE is not supported: explain a SELECT of the same rows"));
    }
    let Statement::Statement(statement) = statement else { return Ok(()) };
    match statement.visit(&mut Refusals) {
        ControlFlow::Break(reason) => Err(Error::invalid(reason)),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Refusals;

impl Visitor for Refusals {
    type Break = &'static str;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        check_body(&query.body)
    }
}

fn check_body(body: &SetExpr) -> ControlFlow<&'static str> {
    match body {
        SetExpr::SetOperation { op, set_quantifier, left, right } => {
            let keeps_duplicates = matches!(set_quantifier, SetQuantifier::All | SetQuantifier::AllByName);
            if keeps_duplicates && matches!(op, SetOperator::Intersect | SetOperator::Except | SetOperator::Minus) {
                return ControlFlow::Break(
                    "INTERSECT ALL and EXCEPT ALL are not supported: number the rows with row_number() and use INTERSECT \
                     or EXCEPT",
                );
            }
            check_body(left)?;
            check_body(right)
        }
        SetExpr::Select(select) => select.from.iter().try_for_each(check_joins),
        _ => ControlFlow::Continue(()),
    }
}

fn check_joins(table: &TableWithJoins) -> ControlFlow<&'static str> {
    let is_wrong = |operator: &JoinOperator| {
        matches!(operator, JoinOperator::FullOuter(JoinConstraint::Using(_) | JoinConstraint::Natural))
    };
    if table.joins.iter().any(|join| is_wrong(&join.join_operator)) {
        return ControlFlow::Break(
            "FULL JOIN with USING or NATURAL is not supported: use ON, and coalesce() of both keys",
        );
    }
    ControlFlow::Continue(())
}
