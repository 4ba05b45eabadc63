//! Which plans may run on executors.
//!
//! The answer is found before anything is sent: an executor that cannot decode a node would fail the whole query.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::catalog::TableProvider;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::file_format::arrow::ArrowFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::ListingTable;
use datafusion::datasource::source_as_provider;
use datafusion::datasource::{ViewTable, empty::EmptyTable};
use datafusion::logical_expr::{DmlStatement, Expr, ExprSchemable, LogicalPlan, TableScan};

use crate::catalog::FileTable;
use crate::delta::DeltaProvider;
use crate::functions::range::SeriesTable;
use crate::sinks::RowsInto;

/// `Ok` if every node of `plan` can run on executors, else the reason in a few words.
pub fn can_distribute(plan: &LogicalPlan) -> Result<(), String> {
    let mut reason = None;
    let walked = plan.apply_with_subqueries(|node| {
        reason = refusal(node);
        Ok(if reason.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    match (reason, walked) {
        (Some(reason), _) => Err(reason),
        (None, Err(error)) => Err(error.to_string()),
        (None, Ok(_)) => Ok(()),
    }
}

/// Parts of a sorted result are fetched with their dictionaries as plain values, and merged by the types of the plan.
fn dictionary(node: &LogicalPlan) -> Option<String> {
    let is_dictionary = |field: &&Arc<Field>| matches!(field.data_type(), DataType::Dictionary(..));
    let column = node.schema().fields().iter().find(is_dictionary)?;
    Some(format!("\"{}\" is a dictionary: CAST it AS VARCHAR", column.name()))
}

/// DataFusion's encoding of a Float16 constant comes back as a Float32.
fn half_constant(node: &LogicalPlan) -> Option<String> {
    // Without columns there is only what is constant.
    let nothing = DFSchema::empty();
    let is_half =
        |expression: &Expr| Ok(expression.get_type(&nothing).is_ok_and(|data_type| data_type == DataType::Float16));
    let has_half = |expression: &Expr| expression.exists(is_half).unwrap_or(true);
    node.expressions().iter().any(has_half).then(|| "it has a constant of 16 bits: CAST it AS REAL".to_owned())
}

/// Stages join a scalar subquery, and do not notice that it gives more than one row.
fn several_rows(node: &LogicalPlan) -> Option<String> {
    let may_be_several = |part: &Expr| {
        Ok(matches!(part, Expr::ScalarSubquery(found) if found.subquery.max_rows().is_none_or(|rows| rows > 1)))
    };
    let has_one = node.expressions().iter().any(|expression| expression.exists(may_be_several).unwrap_or(true));
    has_one.then(|| "a subquery in place of a value may give several rows".to_owned())
}

/// DataFusion's encoding of window functions drops their FILTER.
fn filtered_window(node: &LogicalPlan) -> Option<String> {
    let is_filtered = |part: &Expr| Ok(matches!(part, Expr::WindowFunction(window) if window.params.filter.is_some()));
    let has_one = node.expressions().iter().any(|expression| expression.exists(is_filtered).unwrap_or(true));
    has_one.then(|| "a window function has a FILTER".to_owned())
}

fn refusal(node: &LogicalPlan) -> Option<String> {
    dictionary(node)
        .or_else(|| half_constant(node))
        .or_else(|| several_rows(node))
        .or_else(|| filtered_window(node))
        .or_else(|| kind_refusal(node))
}

fn kind_refusal(node: &LogicalPlan) -> Option<String> {
    match node {
        LogicalPlan::TableScan(scan) => scan_refusal(scan),
        LogicalPlan::RecursiveQuery(query) => Some(format!("\"{}\" is a recursive query", query.name)),
        LogicalPlan::Extension(extension) => Some(format!("{} has no distributed form", extension.node.name())),
        // Tasks below a union that is sorted read more parts than their own, and rows come twice.
        LogicalPlan::Union(_) => reads_files(node).then(|| "it has a UNION of tables".to_owned()),
        LogicalPlan::Statement(_) | LogicalPlan::Ddl(_) | LogicalPlan::DescribeTable(_) => {
            Some("it changes or shows the session or the catalog".to_owned())
        }
        LogicalPlan::Dml(dml) => write_refusal(dml),
        LogicalPlan::Copy(_) => Some("it writes".to_owned()),
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::EmptyRelation(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Values(_)
        | LogicalPlan::Explain(_)
        | LogicalPlan::Analyze(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Unnest(_) => None,
    }
}

fn reads_files(plan: &LogicalPlan) -> bool {
    let is_file = |node: &LogicalPlan| match node {
        LogicalPlan::TableScan(scan) => {
            Ok(!source_as_provider(&scan.source).is_ok_and(|provider| provider.is::<SeriesTable>()))
        }
        _ => Ok(false),
    };
    plan.exists(is_file).unwrap_or(true)
}

/// Rows go to files from wherever they are; another table is the coordinator's.
fn write_refusal(dml: &DmlStatement) -> Option<String> {
    let takes_files = source_as_provider(&dml.target)
        .is_ok_and(|provider| provider.is::<RowsInto>() || provider.is::<DeltaProvider>());
    let name = &dml.table_name;
    (!takes_files).then(|| format!("only the coordinator can write to \"{name}\""))
}

fn scan_refusal(scan: &TableScan) -> Option<String> {
    let name = &scan.table_name;
    let Ok(provider) = source_as_provider(&scan.source) else {
        return Some(format!("\"{name}\" has no data source"));
    };
    match provider.downcast_ref::<ViewTable>() {
        Some(view) => {
            can_distribute(view.logical_plan()).err().map(|_| format!("the view \"{name}\" reads local tables"))
        }
        None if is_shippable(provider.as_ref()) => None,
        None if let Some(table) = provider.downcast_ref::<DeltaProvider>() => {
            let reason = table.snapshot().is_special();
            reason.map(|reason| format!("only the coordinator can read \"{name}\": {reason}"))
        }
        None => Some(format!("only the coordinator can read \"{name}\"")),
    }
}

/// Tables whose scans an executor can decode, in as many parts as they have. DataFusion's own series loses its
/// projection on the way, so it stays.
fn is_shippable(provider: &dyn TableProvider) -> bool {
    let files = provider.downcast_ref::<FileTable>().map(FileTable::files).or_else(|| provider.downcast_ref());
    match files {
        Some(files) => is_shippable_format(files),
        None => provider.is::<SeriesTable>() || provider.is::<EmptyTable>(),
    }
}

/// DataFusion's encoding of scans has no place for the compression of text files, and none for Avro in the way it is
/// built here.
fn is_shippable_format(files: &ListingTable) -> bool {
    let format = &files.options().format;
    let is_plain = format.compression_type().is_none_or(|compression| !compression.is_compressed());
    let is_text = format.is::<CsvFormat>() || format.is::<JsonFormat>();
    (is_text && is_plain) || format.is::<ParquetFormat>() || format.is::<ArrowFormat>()
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::Schema;
    use datafusion::datasource::MemTable;
    use datafusion::prelude::SessionContext;

    use super::*;

    async fn reason(sql: &str) -> Option<String> {
        let context = SessionContext::new();
        for function in crate::functions::range::table_functions() {
            context.register_udtf(function.name(), function.function().clone());
        }
        let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, false)]));
        context.register_table("memory", Arc::new(MemTable::try_new(schema, vec![vec![]]).unwrap())).unwrap();
        let plan = context.state().create_logical_plan(sql).await.unwrap();
        can_distribute(&plan).err()
    }

    #[tokio::test]
    async fn a_table_in_memory_keeps_the_query_in_the_coordinator_wherever_it_stands() {
        for sql in ["SELECT * FROM memory", "SELECT 1 FROM range(3) WHERE value IN (SELECT x FROM memory)"] {
            let reason = reason(sql).await.unwrap();
            assert!(reason.contains("only the coordinator can read \"memory\""), "{reason}");
        }
    }

    #[tokio::test]
    async fn a_recursive_query_keeps_to_the_coordinator_and_a_series_does_not() {
        let sql = "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t WHERE n < 3) SELECT * FROM t";
        assert!(reason(sql).await.unwrap().contains("recursive"));
        assert_eq!(reason("SELECT sum(value) FROM range(10) WHERE value > (SELECT 3)").await, None);
    }
}
