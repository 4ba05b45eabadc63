//! Names of types as other databases and their tools write them, as ours.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as Syntax;
use datafusion::sql::sqlparser::ast::{DataType, Expr, Statement as Ast, TimezoneInfo, VisitMut, VisitorMut};

/// Rewrites the types of columns and casts that DataFusion does not know by that name.
pub(crate) fn rename_types(syntax: &mut Syntax) {
    match syntax {
        Syntax::Statement(statement) => {
            if let Ast::CreateTable(table) = statement.as_mut() {
                table.columns.iter_mut().for_each(|column| rename(&mut column.data_type));
            }
            let _: ControlFlow<()> = Ast::visit(statement, &mut Casts);
        }
        Syntax::CreateExternalTable(table) => {
            table.columns.iter_mut().for_each(|column| rename(&mut column.data_type));
        }
        Syntax::Explain(explain) => rename_types(&mut explain.statement),
        _ => {}
    }
}

struct Casts;

impl VisitorMut for Casts {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if let Expr::Cast { data_type, .. } = expression {
            rename(data_type);
        }
        ControlFlow::Continue(())
    }
}

/// One type.
pub(super) fn rename(data_type: &mut DataType) {
    match data_type {
        DataType::Datetime(precision) => *data_type = DataType::Timestamp(*precision, TimezoneInfo::None),
        DataType::Blob(_) | DataType::LongBlob | DataType::MediumBlob | DataType::TinyBlob => {
            *data_type = DataType::Bytea;
        }
        DataType::Clob(_) | DataType::LongText | DataType::MediumText | DataType::TinyText => {
            *data_type = DataType::Text;
        }
        _ => {}
    }
}
