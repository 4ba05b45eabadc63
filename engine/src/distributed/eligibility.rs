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
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, TableScan};

use crate::catalog::GlobTable;
use crate::functions::range::SeriesTable;

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

fn refusal(node: &LogicalPlan) -> Option<String> {
    dictionary(node).or_else(|| half_constant(node)).or_else(|| kind_refusal(node))
}

fn kind_refusal(node: &LogicalPlan) -> Option<String> {
    match node {
        LogicalPlan::TableScan(scan) => scan_refusal(scan),
        LogicalPlan::RecursiveQuery(query) => Some(format!("\"{}\" is a recursive query", query.name)),
        LogicalPlan::Extension(extension) => Some(format!("{} has no distributed form", extension.node.name())),
        LogicalPlan::Statement(_) | LogicalPlan::Ddl(_) | LogicalPlan::DescribeTable(_) => {
            Some("it changes or shows the session or the catalog".to_owned())
        }
        LogicalPlan::Dml(_) | LogicalPlan::Copy(_) => Some("it writes".to_owned()),
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::Union(_)
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
        None => Some(format!("only the coordinator can read \"{name}\"")),
    }
}

/// Tables whose scans an executor can decode, in as many parts as they have. DataFusion's own series loses its
/// projection on the way, so it stays.
fn is_shippable(provider: &dyn TableProvider) -> bool {
    let files = provider.downcast_ref::<GlobTable>().map(GlobTable::files).or_else(|| provider.downcast_ref());
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
