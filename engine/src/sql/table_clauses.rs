//! What `CREATE TABLE` says that DataFusion refuses, or drops without a word.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as Syntax;
use datafusion::sql::sqlparser::ast::{
    CheckConstraint, ColumnDef, ColumnOption, ColumnOptionDef, CommentDef, CreateTable, CreateTableOptions, DataType,
    Expr, HiveDistributionStyle, HiveFormat, HiveIOFormat, Ident, ObjectName, Statement as Ast, TableConstraint, Visit,
    Visitor,
};

use crate::sql::Names;
use crate::sql::alter::{checked, properties_of};
use crate::{Error, Result};

/// What a new table has beside its columns, their default values and its keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TableClauses {
    /// Names and SQL of its `CHECK` constraints, in order.
    pub(crate) checks: Vec<(String, String)>,
    /// Columns that are directory names, in the order of the directories.
    pub(crate) partition_by: Vec<String>,
    /// What is said about the table.
    pub(crate) comment: Option<String>,
    /// What is said about its columns, by name.
    pub(crate) column_comments: BTreeMap<String, String>,
    /// Where its files are to lie.
    pub(crate) location: Option<String>,
    /// What `TBLPROPERTIES` says, by name.
    pub(crate) properties: BTreeMap<String, String>,
}

/// Takes out of a `CREATE TABLE` what we do ourselves, so that DataFusion plans the rest. None for other statements.
/// `CREATE EXTERNAL TABLE` has comments on columns alone.
///
/// # Errors
/// `Invalid` for what we do not do either.
pub(crate) fn take_clauses(syntax: &mut Syntax, names: Names) -> Result<Option<TableClauses>> {
    match syntax {
        Syntax::Explain(explain) => take_clauses(&mut explain.statement, names),
        Syntax::Statement(statement) => take_from_statement(statement, names),
        Syntax::CreateExternalTable(table) => {
            let mut taking = Taking::new(&table.name, names);
            taking.take_columns(&mut table.columns)?;
            taking.take_constraints(&mut table.constraints)?;
            if !taking.checks.is_empty() {
                return Err(Error::invalid("an external table has no CHECK: its files are written by others"));
            }
            Ok(Some(taking.clauses))
        }
        Syntax::CopyTo(_) | Syntax::Reset(_) => Ok(None),
    }
}

fn take_from_statement(statement: &mut Ast, names: Names) -> Result<Option<TableClauses>> {
    match statement {
        Ast::CreateTable(table) => take_from_table(table, names).map(Some),
        Ast::Prepare { statement, .. } => match take_from_statement(statement, names)? {
            Some(clauses) if clauses != TableClauses::default() => {
                Err(Error::invalid("CREATE TABLE with such clauses cannot be prepared: run it at once"))
            }
            _ => Ok(None),
        },
        _ => Ok(None),
    }
}

fn take_from_table(table: &mut CreateTable, names: Names) -> Result<TableClauses> {
    refuse_others(table)?;
    let mut taking = Taking::new(&table.name, names);
    taking.take_partition(table)?;
    taking.take_columns(&mut table.columns)?;
    taking.take_constraints(&mut table.constraints)?;
    taking.name_checks()?;
    if table.query.is_none() {
        taking.check_partition(&table.columns)?;
    }
    let mut clauses = taking.clauses;
    clauses.comment = table.comment.take().map(|(CommentDef::WithEq(text) | CommentDef::WithoutEq(text))| text);
    clauses.location = take_location(table.hive_formats.take())?;
    if let CreateTableOptions::TableProperties(options) = std::mem::take(&mut table.table_options) {
        clauses.properties = properties_of(&options)?;
    }
    Ok(clauses)
}

/// What no table of ours has.
fn refuse_others(table: &CreateTable) -> Result<()> {
    let has_options = !matches!(table.table_options, CreateTableOptions::None | CreateTableOptions::TableProperties(_));
    let is_clustered = table.cluster_by.is_some() || table.clustered_by.is_some();
    let refused = [
        (
            is_clustered,
            "CLUSTER BY is not supported: use PARTITIONED BY, or OPTIMIZE t ZORDER BY (a, b) from time to time",
        ),
        (table.order_by.is_some(), "a table has no ORDER BY: use OPTIMIZE t ZORDER BY (a, b) from time to time"),
        (
            table.primary_key.is_some(),
            "PRIMARY KEY stands among the columns: write CREATE TABLE t (a INT, PRIMARY KEY (a))",
        ),
        (table.like.is_some(), "LIKE is not supported: write CREATE TABLE t AS SELECT * FROM other WHERE false"),
        (table.clone.is_some(), "CLONE is not supported: write CREATE TABLE t AS SELECT * FROM other"),
        (table.inherits.is_some() || table.partition_of.is_some(), "a table has no parent: use PARTITIONED BY"),
        (table.on_commit.is_some(), "ON COMMIT is not supported: a temporary table lasts as long as its session"),
        (
            table.version.is_some(),
            "a new table has no version: write CREATE TABLE t AS SELECT * FROM u VERSION AS OF 3",
        ),
    ];
    if let Some((_, message)) = refused.into_iter().find(|(is_there, _)| *is_there) {
        return Err(Error::invalid(message));
    }
    if has_options {
        let options = &table.table_options;
        let message = format!(
            "{options} is not supported: the clauses after the columns are PARTITIONED BY, COMMENT, \
                               LOCATION and TBLPROPERTIES"
        );
        return Err(Error::invalid(message));
    }
    Ok(())
}

/// A table of ours is a Delta table, so that naming the format changes nothing.
fn take_location(format: Option<HiveFormat>) -> Result<Option<String>> {
    let Some(format) = format else { return Ok(None) };
    if format.row_format.is_some() || format.serde_properties.is_some() {
        return Err(Error::invalid("ROW FORMAT and SERDE are not supported: leave them away"));
    }
    let storage = match &format.storage {
        None => return Ok(format.location),
        Some(HiveIOFormat::Using { format }) => format.value.clone(),
        Some(HiveIOFormat::FileFormat { format }) => format.to_string(),
        Some(HiveIOFormat::IOF { .. }) => "INPUTFORMAT".to_owned(),
    };
    if !storage.eq_ignore_ascii_case("delta") {
        let message = format!(
            "CREATE TABLE makes Delta tables, not {storage}: leave the format away, or write \
                               CREATE EXTERNAL TABLE ... STORED AS {storage} LOCATION '...' for files"
        );
        return Err(Error::invalid(message));
    }
    Ok(format.location)
}

struct Taking {
    names: Names,
    table: String,
    checks: Vec<(Option<String>, Expr)>,
    clauses: TableClauses,
}

impl Taking {
    fn new(table: &ObjectName, names: Names) -> Self {
        let last = table.0.last().and_then(|part| part.as_ident());
        let table = last.map(|ident| names.name(ident)).unwrap_or_default();
        Self { names, table, checks: Vec::new(), clauses: TableClauses::default() }
    }

    /// Columns with a type are added to the table, as Hive does.
    fn take_partition(&mut self, table: &mut CreateTable) -> Result<()> {
        if table.partition_by.is_some() {
            return Err(Error::invalid(
                "PARTITION BY must follow the columns at once: write (...) PARTITIONED BY (a, b)",
            ));
        }
        let columns = match std::mem::replace(&mut table.hive_distribution, HiveDistributionStyle::NONE) {
            HiveDistributionStyle::NONE => return Ok(()),
            HiveDistributionStyle::PARTITIONED { columns } => columns,
            HiveDistributionStyle::SKEWED { .. } => {
                return Err(Error::invalid("SKEWED is not supported: use PARTITIONED BY (a, b)"));
            }
        };
        for column in columns {
            let name = self.names.name(&column.name);
            if self.clauses.partition_by.contains(&name) {
                return Err(Error::invalid(format!("column \"{name}\" is twice in PARTITIONED BY: write it once")));
            }
            self.clauses.partition_by.push(name);
            if column.data_type == DataType::Unspecified {
                continue;
            }
            if table.query.is_some() && table.columns.is_empty() {
                return Err(Error::invalid("the query gives the types: write only names in PARTITIONED BY"));
            }
            table.columns.push(column);
        }
        Ok(())
    }

    fn take_columns(&mut self, columns: &mut [ColumnDef]) -> Result<()> {
        for column in columns {
            let name = self.names.name(&column.name);
            for option in std::mem::take(&mut column.options) {
                if let Some(left) = self.take_option(&name, option)? {
                    column.options.push(left);
                }
            }
        }
        Ok(())
    }

    /// What is left to DataFusion.
    fn take_option(&mut self, column: &str, option: ColumnOptionDef) -> Result<Option<ColumnOptionDef>> {
        match &option.option {
            ColumnOption::Null
            | ColumnOption::NotNull
            | ColumnOption::Default(_)
            | ColumnOption::PrimaryKey(_)
            | ColumnOption::Unique(_) => Ok(Some(option)),
            ColumnOption::Comment(comment) => {
                self.clauses.column_comments.insert(column.to_owned(), comment.clone());
                Ok(None)
            }
            ColumnOption::Check(check) => {
                self.take_check(option.name.as_ref(), check)?;
                Ok(None)
            }
            ColumnOption::ForeignKey(_) => Err(foreign_key()),
            ColumnOption::Generated { .. } | ColumnOption::Identity(_) => Err(Error::invalid(format!(
                "column \"{column}\" is generated, which is not supported: give it a DEFAULT, or compute it in a view"
            ))),
            other => Err(Error::invalid(format!(
                "column \"{column}\" cannot have {other}: it can have NOT NULL, DEFAULT, CHECK, PRIMARY KEY and COMMENT"
            ))),
        }
    }

    fn take_constraints(&mut self, constraints: &mut Vec<TableConstraint>) -> Result<()> {
        for constraint in std::mem::take(constraints) {
            match &constraint {
                TableConstraint::PrimaryKey(_) | TableConstraint::Unique(_) => constraints.push(constraint),
                TableConstraint::Check(check) => self.take_check(None, check)?,
                TableConstraint::ForeignKey(_) => return Err(foreign_key()),
                other => {
                    let message = format!("{other} is not supported: a table can have PRIMARY KEY and CHECK");
                    return Err(Error::invalid(message));
                }
            }
        }
        Ok(())
    }

    fn take_check(&mut self, name: Option<&Ident>, check: &CheckConstraint) -> Result<()> {
        let name = name.or(check.name.as_ref()).map(|name| self.names.name(name));
        self.checks.push((name, checked(check)?));
        Ok(())
    }

    /// Names that were written are taken first, so that none of ours is in their way.
    fn name_checks(&mut self) -> Result<()> {
        let mut taken = BTreeSet::new();
        for name in self.checks.iter().filter_map(|(name, _)| name.as_ref()) {
            if !taken.insert(name.clone()) {
                return Err(Error::invalid(format!("constraint \"{name}\" is there twice: give one another name")));
            }
        }
        for (name, check) in std::mem::take(&mut self.checks) {
            let name = name.unwrap_or_else(|| check_name(&self.table, &check, self.names, |name| taken.contains(name)));
            taken.insert(name.clone());
            self.clauses.checks.push((name, check.to_string()));
        }
        Ok(())
    }

    fn check_partition(&self, columns: &[ColumnDef]) -> Result<()> {
        let partition = &self.clauses.partition_by;
        let known: Vec<String> = columns.iter().map(|column| self.names.name(&column.name)).collect();
        if let Some(missing) = partition.iter().find(|name| !known.contains(name)) {
            let message = format!(
                "PARTITIONED BY names \"{missing}\", and the table has no such column: write one of {}",
                known.join(", ")
            );
            return Err(Error::invalid(message));
        }
        if !partition.is_empty() && partition.len() >= known.len() {
            return Err(Error::invalid("PARTITIONED BY names all columns: leave at least one for the files"));
        }
        Ok(())
    }
}

/// The name of a `CHECK` that was written without one, as PostgreSQL gives it: `t_c_check` if it is about one column,
/// `t_check` if not, with a number where that `is_taken`.
pub(crate) fn check_name(table: &str, check: &Expr, names: Names, is_taken: impl Fn(&str) -> bool) -> String {
    let mut columns = Columns { names, found: BTreeSet::new() };
    let _: ControlFlow<()> = check.visit(&mut columns);
    let found: Vec<String> = columns.found.into_iter().collect();
    let stem = match found.as_slice() {
        [column] => format!("{table}_{column}_check"),
        _ => format!("{table}_check"),
    };
    let numbered = (1_u32..).map(|number| format!("{stem}{number}"));
    std::iter::once(stem.clone()).chain(numbered).find(|name| !is_taken(name)).unwrap_or(stem)
}

struct Columns {
    names: Names,
    found: BTreeSet<String>,
}

impl Visitor for Columns {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        let column = match expression {
            Expr::Identifier(name) => Some(name),
            Expr::CompoundIdentifier(names) => names.last(),
            _ => None,
        };
        self.found.extend(column.map(|name| self.names.name(name)));
        ControlFlow::Continue(())
    }
}

fn foreign_key() -> Error {
    Error::invalid("foreign keys are not supported: leave REFERENCES and FOREIGN KEY away, and join by the columns")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parser::samples::planned;

    /// What DataFusion gets, and the clauses.
    fn taken(sql: &str) -> (String, TableClauses) {
        let mut syntax = planned(sql);
        let clauses =
            take_clauses(&mut syntax, Names::default()).unwrap_or_else(|error| panic!("{sql}: {}", error.message));
        (syntax.to_string(), clauses.unwrap())
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn all_clauses_come_out() {
        let (sql, clauses) = taken(
            "CREATE TABLE s.T (a INT NOT NULL COMMENT 'key', B TEXT DEFAULT 'x' CHECK (b <> ''), PRIMARY KEY (a)) \
             USING DELTA PARTITIONED BY (B) COMMENT 'rows' LOCATION 's3://b/t' TBLPROPERTIES ('k' = 'v', n = 1)",
        );
        assert_eq!(sql, "CREATE TABLE s.T (a INT NOT NULL, B TEXT DEFAULT 'x', PRIMARY KEY (a))");
        let wanted = TableClauses {
            checks: pairs(&[("t_b_check", "b <> ''")]),
            partition_by: vec!["b".to_owned()],
            comment: Some("rows".to_owned()),
            column_comments: pairs(&[("a", "key")]).into_iter().collect(),
            location: Some("s3://b/t".to_owned()),
            properties: pairs(&[("k", "v"), ("n", "1")]).into_iter().collect(),
        };
        assert_eq!(clauses, wanted);
    }

    #[test]
    fn checks_without_a_name_get_one() {
        let (sql, clauses) = taken(
            "CREATE TABLE t (a INT CHECK (a > 0) CHECK (a < 9), b INT CONSTRAINT t_check CHECK (b > 1), \
             CHECK (a < b), CONSTRAINT \"Own\" CHECK (b > 2), CHECK (b > 3), CHECK (1 < 2), CHECK (t.a = 1))",
        );
        assert_eq!(sql, "CREATE TABLE t (a INT, b INT)");
        let wanted = [
            ("t_a_check", "a > 0"),
            ("t_a_check1", "a < 9"),
            ("t_check", "b > 1"),
            ("t_check1", "a < b"),
            ("Own", "b > 2"),
            ("t_b_check", "b > 3"),
            ("t_check2", "1 < 2"),
            ("t_a_check2", "t.a = 1"),
        ];
        let mut checks = clauses.checks;
        checks.sort();
        let mut wanted = pairs(&wanted);
        wanted.sort();
        assert_eq!(checks, wanted);
    }

    #[test]
    fn partition_columns_with_a_type_are_added() {
        let (sql, clauses) = taken("CREATE TABLE t (a INT) PARTITIONED BY (day DATE COMMENT 'when', h INT)");
        assert_eq!(sql, "CREATE TABLE t (a INT, day DATE, h INT)");
        assert_eq!(clauses.partition_by, ["day", "h"]);
        assert_eq!(clauses.column_comments["day"], "when");
        let (sql, clauses) = taken("CREATE TABLE t PARTITION BY day AS SELECT 1 AS a, 2 AS day");
        assert_eq!(sql, "CREATE TABLE t AS SELECT 1 AS a, 2 AS day");
        assert_eq!(clauses.partition_by, ["day"]);
    }

    #[test]
    fn a_plain_table_has_no_clauses_and_other_statements_none_at_all() {
        assert_eq!(taken("CREATE TABLE t (a INT)").1, TableClauses::default());
        assert_eq!(taken("EXPLAIN CREATE TABLE t USING delta AS SELECT 1").1, TableClauses::default());
        assert_eq!(taken("CREATE TABLE t STORED AS DELTA AS SELECT 1").0, "CREATE TABLE t AS SELECT 1");
        let (_, clauses) = taken("CREATE EXTERNAL TABLE t (a INT COMMENT 'x') STORED AS CSV LOCATION '/x'");
        assert_eq!(clauses.column_comments["a"], "x");
        for sql in ["SELECT 1", "CREATE VIEW v AS SELECT 1", "PREPARE p AS SELECT 1", "COPY t TO '/x.csv'"] {
            assert_eq!(take_clauses(&mut planned(sql), Names::default()).unwrap(), None);
        }
    }

    #[test]
    fn errors_say_what_to_write() {
        for (sql, reason) in [
            ("CREATE TABLE t (a INT REFERENCES u (b))", "foreign keys are not supported: leave REFERENCES"),
            ("CREATE TABLE t (a INT, FOREIGN KEY (a) REFERENCES u (b))", "foreign keys are not supported"),
            ("CREATE TABLE t (a INT GENERATED ALWAYS AS IDENTITY)", "give it a DEFAULT"),
            ("CREATE TABLE t (a INT, b INT GENERATED ALWAYS AS (a + 1) STORED)", "compute it in a view"),
            ("CREATE TABLE t (a INT IDENTITY(1, 1))", "is generated"),
            ("CREATE TABLE t (a INT AUTO_INCREMENT)", "cannot have AUTO_INCREMENT: it can have"),
            ("CREATE TABLE t (a TEXT COLLATE \"C\")", "cannot have COLLATE \"C\""),
            ("CREATE TABLE t (a INT CHECK (a > 0) NOT ENFORCED)", "leave NOT ENFORCED away"),
            ("CREATE TABLE t (a INT CHECK (a > $1))", "CHECK cannot have a parameter"),
            ("CREATE TABLE t (a INT CHECK (a IN (SELECT 1)))", "CHECK cannot have a query"),
            ("CREATE TABLE t (a INT, CONSTRAINT c CHECK (a > 0), CONSTRAINT c CHECK (a > 1))", "give one another name"),
            ("CREATE TABLE t (a INT, INDEX i (a))", "a table can have PRIMARY KEY and CHECK"),
            ("CREATE TABLE t (a INT, b INT) CLUSTER BY (a)", "use PARTITIONED BY"),
            ("CREATE TABLE t (a INT) CLUSTERED BY (a) INTO 4 BUCKETS", "use PARTITIONED BY"),
            ("CREATE TABLE t (a INT) ORDER BY a", "ZORDER BY"),
            ("CREATE TABLE t (a INT) PRIMARY KEY (a)", "stands among the columns"),
            ("CREATE TABLE t (a INT) ENGINE = x", "the clauses after the columns are"),
            ("CREATE TABLE t (a INT) OPTIONS (a = 1)", "the clauses after the columns are"),
            ("CREATE TABLE t LIKE u", "AS SELECT * FROM other WHERE false"),
            ("CREATE TABLE t CLONE u", "AS SELECT * FROM other"),
            ("CREATE TABLE t (a INT) USING parquet", "STORED AS parquet LOCATION"),
            ("CREATE TABLE t STORED AS CSV AS SELECT 1", "makes Delta tables, not CSV"),
            ("CREATE TABLE t (a INT, b INT) PARTITIONED BY (c)", "write one of a, b"),
            ("CREATE TABLE t (a INT, b INT) PARTITIONED BY (a, b)", "leave at least one"),
            ("CREATE TABLE t (a INT, b INT) PARTITIONED BY (a, A)", "write it once"),
            ("CREATE TABLE t PARTITIONED BY (a INT) AS SELECT 1 AS b", "write only names"),
            ("CREATE TABLE t (a INT) TBLPROPERTIES ('a' = a + 1)", "must be a constant"),
            (
                "CREATE EXTERNAL TABLE t (a INT CHECK (a > 0)) STORED AS CSV LOCATION '/x'",
                "an external table has no CHECK",
            ),
            ("PREPARE p AS CREATE TABLE t (a INT CHECK (a > 0))", "cannot be prepared"),
        ] {
            let refusal = match take_clauses(&mut planned(sql), Names::default()) {
                Ok(clauses) => panic!("{sql} is not refused: {clauses:?}"),
                Err(error) => error.message,
            };
            assert!(refusal.contains(reason), "{sql}: {refusal}");
        }
    }
}
