//! What is left of a statement when we have taken our part is planned by DataFusion.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::TableReference;
use datafusion::datasource::empty::EmptyTable;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{DdlStatement, LogicalPlan, WriteOp};
use datafusion::prelude::{SessionConfig, SessionContext};

use super::time_travel::Travel;
use super::{Names, Parsed, parse, refuse_insert_clauses, rewrite_show, take_clauses, take_versions};

fn context() -> SessionContext {
    let context = SessionContext::new_with_config(SessionConfig::new().with_information_schema(true));
    let columns = ["a", "b"].map(|name| Field::new(name, DataType::Int64, true));
    let table = Arc::new(EmptyTable::new(Arc::new(Schema::new(columns.to_vec()))));
    for name in ["t", "u", "t VERSION AS OF 3", "t TIMESTAMP AS OF 2026-01-02T00:00:00Z"] {
        context.register_table(TableReference::bare(name), Arc::clone(&table) as _).unwrap();
    }
    context
}

async fn plan(sql: &str) -> (LogicalPlan, Vec<Travel>) {
    let state = context().state();
    let names = Names::of(state.config_options());
    let Parsed::Planned(mut syntax) = parse(&state, sql).unwrap() else { panic!("{sql} is a command") };
    rewrite_show(&mut syntax, names).unwrap();
    refuse_insert_clauses(&syntax).unwrap();
    take_clauses(&mut syntax, names).unwrap();
    let travels = take_versions(&mut syntax, names).unwrap();
    let plan = state.statement_to_plan(*syntax).await;
    (plan.unwrap_or_else(|error| panic!("{sql}: {error}")), travels)
}

#[tokio::test]
async fn a_table_at_a_version_is_read_by_its_own_name() {
    for sql in [
        "SELECT t.a FROM t VERSION AS OF 3 WHERE t.b = 1",
        "SELECT x.a FROM t AS x VERSION AS OF 3 JOIN t ON x.a = t.a",
        "SELECT a FROM u WHERE b IN (SELECT b FROM t@v3)",
        "WITH t AS (SELECT * FROM t VERSION AS OF 3) SELECT t.a FROM t",
        "CREATE TABLE x PARTITIONED BY (b) AS SELECT * FROM t VERSION AS OF 3",
        "CREATE VIEW x AS SELECT t.* FROM t VERSION AS OF 3",
        "INSERT INTO t SELECT * FROM t VERSION AS OF 3",
        "EXPLAIN SELECT * FROM t VERSION AS OF 3",
        "DESCRIBE SELECT * FROM t VERSION AS OF 3",
        "COPY (SELECT * FROM t VERSION AS OF 3) TO '/x.parquet'",
        "MERGE INTO u USING t VERSION AS OF 3 AS s ON u.a = s.a WHEN MATCHED THEN DELETE",
        "DELETE FROM u WHERE a IN (SELECT a FROM t VERSION AS OF 3)",
    ] {
        let (_, travels) = plan(sql).await;
        assert_eq!(travels.len(), 1, "{sql}");
        assert_eq!((travels[0].written.as_str(), travels[0].table.as_str()), ("t VERSION AS OF 3", "t"), "{sql}");
    }
    let (scan, _) = plan("SELECT t.a FROM t TIMESTAMP AS OF '2026-01-02'").await;
    let scan = scan.display_indent().to_string();
    assert!(scan.contains("t TIMESTAMP AS OF 2026-01-02T00:00:00Z"), "{scan}");
}

#[tokio::test]
async fn the_rest_of_create_table_is_planned() {
    let sql = "CREATE TABLE x (a INT PRIMARY KEY COMMENT 'k', b INT DEFAULT 1 + 1 CHECK (b > 0)) USING DELTA \
               PARTITIONED BY (c DATE) LOCATION '/x' COMMENT 'c' TBLPROPERTIES ('k' = 'v')";
    let (LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(create)), _) = plan(sql).await else { panic!("no table") };
    assert_eq!(create.input.schema().field_names(), ["a", "b", "c"]);
    assert_eq!((create.constraints.iter().count(), create.column_defaults.len()), (1, 1));
    for sql in [
        "CREATE OR REPLACE TABLE x USING DELTA COMMENT 'c' AS SELECT a, b AS c FROM t",
        "CREATE TABLE IF NOT EXISTS x (a INT CHECK (a > 0)) PARTITION BY (b INT) AS VALUES (1, 2)",
        "EXPLAIN CREATE TABLE x USING DELTA AS SELECT 1",
    ] {
        plan(sql).await;
    }
    let external = "CREATE EXTERNAL TABLE x STORED AS DELTA LOCATION '/x'";
    let (LogicalPlan::Ddl(DdlStatement::CreateExternalTable(create)), _) = plan(external).await else {
        panic!("no table")
    };
    assert_eq!((create.file_type.as_str(), create.locations.as_slice()), ("DELTA", ["/x".to_owned()].as_slice()));
}

#[tokio::test]
async fn insert_appends_or_overwrites() {
    for (sql, wanted) in [
        ("INSERT INTO t VALUES (1, 2)", InsertOp::Append),
        ("INSERT INTO TABLE t SELECT 1, 2", InsertOp::Append),
        ("INSERT OVERWRITE t SELECT 1, 2", InsertOp::Overwrite),
        ("INSERT OVERWRITE TABLE t (b, a) VALUES (1, 2)", InsertOp::Overwrite),
        ("INSERT OVERWRITE INTO t SELECT 1, 2", InsertOp::Overwrite),
        ("INSERT OVERWRITE INTO TABLE t SELECT 1, 2", InsertOp::Overwrite),
    ] {
        let (LogicalPlan::Dml(dml), _) = plan(sql).await else { panic!("{sql}") };
        assert_eq!(dml.op, WriteOp::Insert(wanted), "{sql}");
    }
}

#[tokio::test]
async fn show_is_planned() {
    for sql in [
        "SHOW SCHEMAS",
        "SHOW TABLES",
        "SHOW TABLES IN public LIKE 't%'",
        "SHOW TABLES WHERE table_type = 'VIEW'",
        "SHOW VIEWS FROM public",
        "SHOW COLUMNS FROM t",
        "SHOW COLUMNS FROM t LIKE 'a%'",
        "SHOW CREATE TABLE t",
        "DESCRIBE t",
        "DESC t",
    ] {
        plan(sql).await;
    }
}
