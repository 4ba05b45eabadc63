//! Parts of `INSERT` that DataFusion refuses without saying what to write instead.

use datafusion::sql::parser::Statement as Syntax;
use datafusion::sql::sqlparser::ast::{Insert, Statement as Ast};

use crate::{Error, Result};

/// # Errors
/// `Invalid`, with the way around.
pub(crate) fn refuse_insert_clauses(syntax: &Syntax) -> Result<()> {
    match syntax {
        Syntax::Explain(explain) => refuse_insert_clauses(&explain.statement),
        Syntax::Statement(statement) => refuse_in(statement),
        Syntax::CreateExternalTable(_) | Syntax::CopyTo(_) | Syntax::Reset(_) => Ok(()),
    }
}

fn refuse_in(statement: &Ast) -> Result<()> {
    match statement {
        Ast::Prepare { statement, .. } => refuse_in(statement),
        Ast::Directory { .. } => Err(Error::invalid("write files with COPY (SELECT ...) TO '...' STORED AS PARQUET")),
        Ast::Insert(insert) => refuse_clauses(insert),
        _ => Ok(()),
    }
}

fn refuse_clauses(insert: &Insert) -> Result<()> {
    let refused = [
        (
            insert.partitioned.is_some() && insert.overwrite,
            "INSERT OVERWRITE replaces the whole table: for one partition, DELETE FROM t WHERE a = 1 and INSERT INTO t",
        ),
        (
            insert.partitioned.is_some(),
            "INSERT takes no PARTITION: the columns of partitions are columns like others, so name them in the column \
             list and select their values",
        ),
        (insert.on.is_some(), "INSERT takes no ON CONFLICT or ON DUPLICATE KEY: use MERGE INTO"),
        (insert.returning.is_some(), "INSERT takes no RETURNING: SELECT the rows afterwards"),
        (
            insert.source.is_none() && insert.assignments.is_empty(),
            "INSERT needs rows: write VALUES (...) or SELECT ...",
        ),
    ];
    match refused.into_iter().find(|(is_there, _)| *is_there) {
        Some((_, message)) => Err(Error::invalid(message)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parser::samples::planned;

    #[test]
    fn what_datafusion_plans_passes() {
        for sql in [
            "INSERT INTO t VALUES (1)",
            "INSERT INTO TABLE t SELECT 1",
            "INSERT OVERWRITE t SELECT 1",
            "INSERT OVERWRITE TABLE t (a) VALUES (1)",
            "INSERT OVERWRITE INTO t SELECT 1",
            "REPLACE INTO t VALUES (1)",
            "EXPLAIN INSERT INTO t SELECT 1",
        ] {
            refuse_insert_clauses(&planned(sql)).unwrap();
        }
    }

    #[test]
    fn errors_say_what_to_write() {
        for (sql, reason) in [
            ("INSERT INTO t PARTITION (a = 1) SELECT 1", "columns like others"),
            ("INSERT OVERWRITE TABLE t PARTITION (a = 1) SELECT 1", "DELETE FROM t WHERE a = 1"),
            ("INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING", "use MERGE INTO"),
            ("INSERT INTO t VALUES (1) RETURNING a", "SELECT the rows afterwards"),
            ("INSERT INTO t DEFAULT VALUES", "write VALUES"),
            ("INSERT OVERWRITE DIRECTORY '/x' SELECT 1", "COPY (SELECT ...) TO"),
            ("PREPARE p AS INSERT INTO t PARTITION (a = 1) SELECT $1", "columns like others"),
            ("EXPLAIN INSERT INTO t PARTITION (a = 1) SELECT 1", "columns like others"),
        ] {
            let refusal = refuse_insert_clauses(&planned(sql)).unwrap_err().message;
            assert!(refusal.contains(reason), "{sql}: {refusal}");
        }
    }
}
