//! Tables as they were: `FROM t VERSION AS OF 3`.
//!
//! DataFusion drops the version of a table and would read the latest. So such a table gets a name of its own, which the
//! catalog finds at that version.

use std::ops::ControlFlow;

use chrono::{DateTime, SecondsFormat, Utc};
use datafusion::arrow::compute::kernels::cast_utils::string_to_datetime;
use datafusion::sql::parser::Statement as Syntax;
use datafusion::sql::sqlparser::ast::{
    Expr, FromTable, Ident, ObjectNamePart, Statement as Ast, TableAlias, TableFactor, TableVersion, TypedString,
    Value, VisitorMut,
};

use crate::delta::VersionAt;
use crate::sql::Names;
use crate::sql::walk::walk;
use crate::{Error, Result};

/// Which of its versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TravelTo {
    /// The one of this number.
    Version(u64),
    /// The last one that was there at this time.
    Timestamp(DateTime<Utc>),
}

impl From<TravelTo> for VersionAt {
    fn from(to: TravelTo) -> Self {
        match to {
            TravelTo::Version(version) => Self::Version(version),
            TravelTo::Timestamp(time) => Self::Time(time),
        }
    }
}

/// A table at a version, by a name of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Travel {
    /// The last part of its name in the statement now.
    pub(crate) written: String,
    /// The last part of its name in the catalog.
    pub(crate) table: String,
    /// Its version.
    pub(crate) at: TravelTo,
}

/// Renames the tables that are read at a version, and says which they are, each once.
///
/// # Errors
/// `Invalid` for a version that is no constant, and for a version of anything but a table that is read.
pub(crate) fn take_versions(syntax: &mut Syntax, names: Names) -> Result<Vec<Travel>> {
    let mut renaming = Renaming { names, travels: Vec::new() };
    match walk(syntax, &mut renaming) {
        ControlFlow::Continue(()) => Ok(renaming.travels),
        ControlFlow::Break(error) => Err(error),
    }
}

/// What `version` stands for.
///
/// # Errors
/// `Invalid` if it is no constant.
pub(super) fn travel_to(version: &TableVersion) -> Result<TravelTo> {
    match version {
        TableVersion::VersionAsOf(operand) => number_in(operand).map(TravelTo::Version).ok_or_else(|| {
            Error::invalid(format!("VERSION AS OF takes a whole number, such as VERSION AS OF 3, not {operand}"))
        }),
        TableVersion::TimestampAsOf(operand) | TableVersion::ForSystemTimeAsOf(operand) => {
            time_in(operand).map(TravelTo::Timestamp).ok_or_else(|| {
                let example = "TIMESTAMP AS OF '2026-01-02 03:04:05'";
                let message = format!("TIMESTAMP AS OF takes a time in quotes, such as {example}, not {operand}");
                Error::invalid(format!("{message}; without a zone it is UTC"))
            })
        }
        TableVersion::Function(_) | TableVersion::Changes { .. } => {
            Err(Error::invalid(format!("{version} is not supported: write VERSION AS OF or TIMESTAMP AS OF")))
        }
    }
}

fn number_in(operand: &Expr) -> Option<u64> {
    let Expr::Value(value) = operand else { return None };
    match &value.value {
        Value::Number(text, _) | Value::SingleQuotedString(text) => text.parse().ok(),
        _ => None,
    }
}

fn time_in(operand: &Expr) -> Option<DateTime<Utc>> {
    let value = match operand {
        Expr::Value(value) | Expr::TypedString(TypedString { value, .. }) => &value.value,
        _ => return None,
    };
    match value {
        Value::SingleQuotedString(text) => string_to_datetime(&Utc, text.trim()).ok(),
        _ => None,
    }
}

struct Renaming {
    names: Names,
    travels: Vec<Travel>,
}

impl VisitorMut for Renaming {
    type Break = Error;

    fn pre_visit_statement(&mut self, statement: &mut Ast) -> ControlFlow<Error> {
        match statement {
            Ast::Update(update) => refuse_target(&mut update.table.relation, "UPDATE"),
            Ast::Merge(merge) => refuse_target(&mut merge.table, "MERGE"),
            Ast::Delete(delete) => {
                let (FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables)) = &mut delete.from;
                tables.iter_mut().try_for_each(|table| refuse_target(&mut table.relation, "DELETE"))
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        match self.rename(factor) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Renaming {
    fn rename(&mut self, factor: &mut TableFactor) -> Result<()> {
        let Some(version) = take_version(factor) else { return Ok(()) };
        let TableFactor::Table { name, alias, args, .. } = factor else { return Ok(()) };
        let at = travel_to(&version)?;
        let Some(ObjectNamePart::Identifier(last)) = name.0.last_mut().filter(|_| args.is_none()) else {
            return Err(Error::invalid(format!("{name} is a function: only tables have versions")));
        };
        if last.quote_style == Some('\'') {
            return Err(Error::invalid(format!("{last} is a file: only tables have versions")));
        }
        let table = self.names.name(last);
        let written = match at {
            TravelTo::Version(version) => format!("{table} VERSION AS OF {version}"),
            TravelTo::Timestamp(time) => {
                format!("{table} TIMESTAMP AS OF {}", time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
            }
        };
        let renamed = Ident { value: written.clone(), quote_style: Some('"'), span: last.span };
        let original = std::mem::replace(last, renamed);
        // Columns are still found by the name of the table.
        alias.get_or_insert_with(|| TableAlias { explicit: true, name: original, columns: Vec::new(), at: None });
        let travel = Travel { written, table, at };
        if !self.travels.contains(&travel) {
            self.travels.push(travel);
        }
        Ok(())
    }
}

fn refuse_target(target: &mut TableFactor, verb: &str) -> ControlFlow<Error> {
    match take_version(target) {
        None => ControlFlow::Continue(()),
        Some(version) => {
            let message = format!("{verb} changes the latest version of a table: leave {version} away");
            ControlFlow::Break(Error::invalid(message))
        }
    }
}

/// The version of a table, which has none from now on. `t@v3` is short for `t VERSION AS OF 3`.
fn take_version(factor: &mut TableFactor) -> Option<TableVersion> {
    let TableFactor::Table { name, version, .. } = factor else { return None };
    if version.is_some() {
        return version.take();
    }
    let Some(ObjectNamePart::Identifier(last)) = name.0.last_mut() else { return None };
    let (table, number) = last.value.rsplit_once("@v").or_else(|| last.value.rsplit_once("@V"))?;
    let is_short = last.quote_style.is_none() && !table.is_empty() && !number.is_empty();
    if !is_short || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = Value::Number(number.to_owned(), false);
    last.value = table.to_owned();
    Some(TableVersion::VersionAsOf(Expr::value(number)))
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;
    use crate::sql::parser::samples::planned;

    /// The statement, and `written = table @ version` of its tables.
    fn taken(sql: &str) -> (String, Vec<String>) {
        let mut syntax = planned(sql);
        let travels = take_versions(&mut syntax, Names::default()).unwrap_or_else(|error| panic!("{}", error.message));
        let shown = travels.iter().map(|travel| match travel.at {
            TravelTo::Version(version) => format!("{} = {} @ {version}", travel.written, travel.table),
            TravelTo::Timestamp(time) => format!("{} = {} @ {time}", travel.written, travel.table),
        });
        (syntax.to_string(), shown.collect())
    }

    fn refusal(sql: &str) -> String {
        match take_versions(&mut planned(sql), Names::default()) {
            Ok(travels) => panic!("{sql} is not refused: {travels:?}"),
            Err(error) => error.message,
        }
    }

    #[test]
    fn a_table_at_a_version_keeps_the_name_for_its_columns() {
        let (sql, travels) = taken("SELECT T.x FROM s.T VERSION AS OF 3 WHERE t.y = 1");
        assert_eq!(sql, "SELECT T.x FROM s.\"t VERSION AS OF 3\" AS T WHERE t.y = 1");
        assert_eq!(travels, ["t VERSION AS OF 3 = t @ 3"]);
        let (sql, travels) = taken("SELECT a.x FROM \"T\" a VERSION AS OF '3'");
        assert_eq!(sql, "SELECT a.x FROM \"T VERSION AS OF 3\" a");
        assert_eq!(travels, ["T VERSION AS OF 3 = T @ 3"]);
        assert_eq!(taken("SELECT * FROM S.T@v12 u").0, "SELECT * FROM S.\"t VERSION AS OF 12\" u");
    }

    #[test]
    fn the_same_table_at_two_versions_has_two_names() {
        let (sql, travels) =
            taken("SELECT * FROM t VERSION AS OF 1 AS a, t VERSION AS OF 2 AS b, t, t VERSION AS OF 1 AS c");
        assert_eq!(
            sql,
            "SELECT * FROM \"t VERSION AS OF 1\" AS a, \"t VERSION AS OF 2\" AS b, t, \"t VERSION AS OF 1\" AS c"
        );
        assert_eq!(travels, ["t VERSION AS OF 1 = t @ 1", "t VERSION AS OF 2 = t @ 2"]);
    }

    #[test]
    fn a_time_without_a_zone_is_utc() {
        let time = Utc.with_ymd_and_hms(2026, 1, 2, 3, 4, 5).unwrap();
        for written in [
            "'2026-01-02 03:04:05'",
            "'2026-01-02T03:04:05Z'",
            "'2026-01-02 03:04:05+00:00'",
            "'2026-01-02T05:04:05+02:00'",
            "TIMESTAMP '2026-01-02 03:04:05.000'",
        ] {
            let mut syntax = planned(&format!("SELECT * FROM t TIMESTAMP AS OF {written}"));
            let travels = take_versions(&mut syntax, Names::default()).unwrap();
            assert_eq!(travels[0].at, TravelTo::Timestamp(time), "{written}");
            assert_eq!(travels[0].written, "t TIMESTAMP AS OF 2026-01-02T03:04:05Z");
        }
        let (_, travels) = taken("SELECT * FROM t TIMESTAMP AS OF '2026-01-02 03:04:05.25'");
        assert_eq!(travels, ["t TIMESTAMP AS OF 2026-01-02T03:04:05.250Z = t @ 2026-01-02 03:04:05.250 UTC"]);
        let (_, travels) = taken("SELECT * FROM t FOR SYSTEM_TIME AS OF '2026-01-02'");
        assert_eq!(travels, ["t TIMESTAMP AS OF 2026-01-02T00:00:00Z = t @ 2026-01-02 00:00:00 UTC"]);
    }

    #[test]
    fn versions_are_found_wherever_a_table_is_read() {
        for sql in [
            "SELECT * FROM u JOIN t VERSION AS OF 3 ON u.a = t.a",
            "SELECT * FROM u LEFT JOIN (t VERSION AS OF 3 CROSS JOIN v) ON true",
            "SELECT * FROM (SELECT * FROM t VERSION AS OF 3) AS s",
            "SELECT * FROM u, LATERAL (SELECT * FROM t VERSION AS OF 3) AS s",
            "SELECT (SELECT max(a) FROM t VERSION AS OF 3) FROM u",
            "SELECT * FROM u WHERE a IN (SELECT a FROM t VERSION AS OF 3)",
            "SELECT * FROM u WHERE EXISTS (SELECT 1 FROM t VERSION AS OF 3 WHERE t.a = u.a)",
            "SELECT a FROM u GROUP BY a HAVING count(*) > (SELECT count(*) FROM t VERSION AS OF 3)",
            "SELECT a FROM u ORDER BY (SELECT max(a) FROM t VERSION AS OF 3)",
            "WITH t AS (SELECT * FROM t VERSION AS OF 3) SELECT * FROM t",
            "SELECT * FROM u UNION ALL SELECT * FROM t VERSION AS OF 3 EXCEPT SELECT * FROM v",
            "(SELECT * FROM t VERSION AS OF 3) INTERSECT SELECT * FROM u",
            "CREATE TABLE u AS SELECT * FROM t VERSION AS OF 3",
            "CREATE TABLE u PARTITIONED BY (a) AS SELECT * FROM t VERSION AS OF 3",
            "CREATE VIEW u AS SELECT * FROM t VERSION AS OF 3",
            "INSERT INTO u SELECT * FROM t VERSION AS OF 3",
            "INSERT OVERWRITE t SELECT * FROM t VERSION AS OF 3",
            "COPY (SELECT * FROM t VERSION AS OF 3) TO '/x.parquet'",
            "EXPLAIN ANALYZE SELECT * FROM t VERSION AS OF 3",
            "EXPLAIN COPY (SELECT * FROM t VERSION AS OF 3) TO '/x.parquet'",
            "DESCRIBE SELECT * FROM t VERSION AS OF 3",
            "PREPARE p AS SELECT * FROM t VERSION AS OF 3 WHERE a = $1",
            "MERGE INTO u USING t VERSION AS OF 3 AS s ON u.a = s.a WHEN MATCHED THEN DELETE",
            "MERGE INTO u USING (SELECT * FROM t VERSION AS OF 3) s ON u.a = s.a WHEN MATCHED THEN DELETE",
            "DELETE FROM u USING t VERSION AS OF 3 WHERE u.a = t.a",
            "DELETE FROM u WHERE a IN (SELECT a FROM t VERSION AS OF 3)",
            "UPDATE u SET a = t.a FROM t VERSION AS OF 3 WHERE u.b = t.b",
            "UPDATE u SET a = (SELECT max(a) FROM t VERSION AS OF 3)",
        ] {
            let (rewritten, travels) = taken(sql);
            assert_eq!(travels, ["t VERSION AS OF 3 = t @ 3"], "{sql}");
            assert!(rewritten.contains("\"t VERSION AS OF 3\""), "{rewritten}");
        }
    }

    #[test]
    fn a_statement_without_versions_stays_as_it_is() {
        for sql in
            ["SELECT * FROM t AS version", "SELECT * FROM \"t@v3\"", "SELECT * FROM t@view", "SELECT * FROM '@v3'"]
        {
            assert_eq!(taken(sql), (sql.to_owned(), Vec::new()));
        }
    }

    #[test]
    fn what_is_changed_is_always_the_latest() {
        for sql in [
            "UPDATE t VERSION AS OF 3 SET a = 1",
            "DELETE FROM t VERSION AS OF 3",
            "DELETE FROM t@v3",
            "MERGE INTO t VERSION AS OF 3 USING u ON t.a = u.a WHEN MATCHED THEN DELETE",
            "EXPLAIN UPDATE t VERSION AS OF 3 SET a = 1",
        ] {
            let refusal = refusal(sql);
            assert!(refusal.contains("changes the latest version of a table: leave VERSION AS OF 3 away"), "{refusal}");
        }
    }

    #[test]
    fn errors_say_what_to_write() {
        for (version, reason) in [
            ("VERSION AS OF -1", "takes a whole number, such as VERSION AS OF 3, not -1"),
            ("VERSION AS OF 1.5", "not 1.5"),
            ("VERSION AS OF 1 + 1", "not 1 + 1"),
            ("VERSION AS OF $1", "not $1"),
            ("VERSION AS OF 'one'", "not 'one'"),
            ("VERSION AS OF 99999999999999999999", "takes a whole number"),
            ("VERSION AS OF (SELECT 1)", "not (SELECT 1)"),
            (
                "TIMESTAMP AS OF now()",
                "takes a time in quotes, such as TIMESTAMP AS OF '2026-01-02 03:04:05', not now()",
            ),
            ("TIMESTAMP AS OF CURRENT_TIMESTAMP", "not CURRENT_TIMESTAMP"),
            ("TIMESTAMP AS OF now() - INTERVAL '1 day'", "without a zone it is UTC"),
            ("TIMESTAMP AS OF 'yesterday'", "not 'yesterday'"),
            ("TIMESTAMP AS OF 5", "not 5"),
            ("FOR SYSTEM_TIME AS OF ?", "takes a time in quotes"),
        ] {
            let refusal = refusal(&format!("SELECT * FROM t {version}"));
            assert!(refusal.contains(reason), "{version}: {refusal}");
        }
        assert!(refusal("SELECT * FROM 'a.parquet' a VERSION AS OF 3").contains("only tables have versions"));
    }
}
