//! `CREATE TEMPORARY TABLE`, which DataFusion refuses: the same as a table in the schema of temporary tables.

use datafusion::sql::parser::Statement as Syntax;
use datafusion::sql::sqlparser::ast::{Ident, ObjectNamePart, Statement as Ast};

use crate::catalog::TEMPORARY_SCHEMA;
use crate::{Error, Result};

/// Gives a temporary table its place.
///
/// # Errors
/// `Invalid` if it has another.
pub(crate) fn place_temporary(syntax: &mut Syntax) -> Result<()> {
    if let Syntax::Explain(explain) = syntax {
        return place_temporary(&mut explain.statement);
    }
    let Syntax::Statement(statement) = syntax else { return Ok(()) };
    let Ast::CreateTable(table) = statement.as_mut() else { return Ok(()) };
    if !std::mem::take(&mut table.temporary) {
        return Ok(());
    }
    let is_temporary = |part: &ObjectNamePart| part.as_ident().is_some_and(|name| name.value == TEMPORARY_SCHEMA);
    match table.name.0.as_slice() {
        [_] => table.name.0.insert(0, ObjectNamePart::Identifier(Ident::new(TEMPORARY_SCHEMA))),
        [.., schema, _] if is_temporary(schema) => {}
        [.., schema, _] => return Err(wrong_schema(&schema.to_string())),
        [] => {}
    }
    Ok(())
}

/// A temporary table is in no schema of the user's.
pub(crate) fn wrong_schema(schema: &str) -> Error {
    let schema = schema.trim_matches('"');
    Error::invalid(format!("a temporary table cannot be in schema \"{schema}\"; leave the schema away"))
}
