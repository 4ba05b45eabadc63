//! `CREATE TEMPORARY TABLE`, which DataFusion refuses: the same as a table in the schema of temporary tables.

use datafusion::sql::parser::Statement as Syntax;
use datafusion::sql::sqlparser::ast::{Ident, ObjectNamePart, Statement as Ast};

use crate::catalog::TEMPORARY_SCHEMA;
use crate::sql::TableClauses;
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

/// A temporary table is rows in memory, and nothing more can be said of it.
///
/// # Errors
/// `Invalid` for a clause that it cannot have.
pub(crate) fn refuse_clauses_of_temporary(syntax: &Syntax, clauses: Option<&TableClauses>) -> Result<()> {
    let Syntax::Statement(statement) = syntax else { return Ok(()) };
    let Ast::CreateTable(table) = statement.as_ref() else { return Ok(()) };
    let is_temporary = table
        .name
        .0
        .iter()
        .nth_back(1)
        .and_then(|part| part.as_ident())
        .is_some_and(|schema| schema.value == TEMPORARY_SCHEMA);
    let Some(clauses) = clauses.filter(|_| is_temporary) else { return Ok(()) };
    let clause = match clauses {
        TableClauses { checks, .. } if !checks.is_empty() => "CHECK",
        TableClauses { partition_by, .. } if !partition_by.is_empty() => "PARTITIONED BY",
        TableClauses { location: Some(_), .. } => "LOCATION",
        TableClauses { properties, .. } if !properties.is_empty() => "TBLPROPERTIES",
        _ => return Ok(()),
    };
    Err(Error::invalid(format!("a temporary table has no {clause}: leave TEMPORARY away, or the clause")))
}

/// A temporary table is in no schema of the user's.
pub(crate) fn wrong_schema(schema: &str) -> Error {
    let schema = schema.trim_matches('"');
    Error::invalid(format!("a temporary table cannot be in schema \"{schema}\"; leave the schema away"))
}
