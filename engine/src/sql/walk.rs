//! The one way through all expressions and queries of a statement.

use std::ops::ControlFlow;

use datafusion::sql::parser::{CopyToSource, Statement as Syntax};
use datafusion::sql::sqlparser::ast::{Expr, Query, Value, ValueWithSpan, Visit, VisitMut, Visitor, VisitorMut};

use crate::{Error, Result};

/// Leads `visitor` through the queries of `syntax`.
pub(super) fn walk<V: VisitorMut>(syntax: &mut Syntax, visitor: &mut V) -> ControlFlow<V::Break> {
    match syntax {
        Syntax::Statement(statement) => VisitMut::visit(statement, visitor),
        Syntax::CopyTo(copy) => match &mut copy.source {
            CopyToSource::Query(query) => VisitMut::visit(query, visitor),
            CopyToSource::Relation(_) => ControlFlow::Continue(()),
        },
        Syntax::Explain(explain) => walk(&mut explain.statement, visitor),
        Syntax::CreateExternalTable(_) | Syntax::Reset(_) => ControlFlow::Continue(()),
    }
}

/// An expression that a table keeps must stand for itself: no parameters, no queries. `place` says where it is.
///
/// # Errors
/// `Invalid`.
pub(super) fn refuse_what_cannot_be_kept(expression: &Expr, place: &str) -> Result<()> {
    match expression.visit(&mut Kept) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(what) => Err(Error::invalid(format!("{place} cannot have {what}"))),
    }
}

struct Kept;

impl Visitor for Kept {
    type Break = &'static str;

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<Self::Break> {
        ControlFlow::Break("a query in it: use columns of the table, functions and constants")
    }

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<Self::Break> {
        match value.value {
            Value::Placeholder(_) => ControlFlow::Break("a parameter in it: write the value"),
            _ => ControlFlow::Continue(()),
        }
    }
}
