//! Sorts whose memory can be counted, so that they go to disk in time.
//!
//! DataFusion's external sort counts the rows that it holds. Two things it does not count: the keys of `ORDER BY f(x)`,
//! which it computes anew for every batch it merges; and strings as views, of which a merged batch keeps alive every
//! buffer of every run it was merged from. Either way a sort much larger than its memory fails instead of spilling. So
//! such a sort is given plain columns: keys are computed before it, views are made strings before it and views after it.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::{CastExpr, Column};
use datafusion::physical_expr::projection::ProjectionExpr;
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;

use super::stand_in::{Work, stand_in};
use crate::Error;

/// `plan`, with its sorts over plain columns.
///
/// # Errors
/// Those of building plans: none for a plan that DataFusion made.
pub(super) fn spillable(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| match node.downcast_ref::<SortExec>() {
        Some(sort) if sort.fetch().is_none() && needs_plain_columns(sort) => {
            let work = PlainSort::of(sort)?;
            Ok(Transformed::yes(stand_in(node, work)))
        }
        _ => Ok(Transformed::no(node)),
    })
    .data()
}

fn needs_plain_columns(sort: &SortExec) -> bool {
    let has_views = sort.input().schema().fields().iter().any(|field| plain_type(field.data_type()).is_some());
    has_views || sort.expr().iter().any(|key| !key.expr.is::<Column>())
}

/// What a view is a view of.
fn plain_type(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Utf8View => Some(DataType::Utf8),
        DataType::BinaryView => Some(DataType::Binary),
        _ => None,
    }
}

/// What runs in place of a sort.
#[derive(Debug, Clone)]
struct PlainSort {
    /// Over plain columns and keys.
    sort: Arc<dyn ExecutionPlan>,
    /// Columns as asked for, over that sort.
    plan: Arc<dyn ExecutionPlan>,
}

impl PlainSort {
    fn of(sort: &SortExec) -> Result<Self> {
        let schema = sort.input().schema();
        let mut columns = plain_columns(&schema);
        let mut keys = Vec::new();
        for key in sort.expr() {
            let index = match key.expr.downcast_ref::<Column>() {
                Some(column) => column.index(),
                None => {
                    columns.push(ProjectionExpr { expr: plain(&key.expr, &schema)?, alias: key_name(columns.len()) });
                    columns.len() - 1
                }
            };
            let expr = Arc::new(Column::new(&columns[index].alias, index));
            keys.push(PhysicalSortExpr { expr, options: key.options });
        }
        let before = Arc::new(ProjectionExec::try_new(columns, Arc::clone(sort.input()))?);
        let keys = LexOrdering::new(keys).ok_or_else(|| Error::internal("a sort without keys"))?;
        let sort: Arc<dyn ExecutionPlan> =
            Arc::new(SortExec::new(keys, before).with_preserve_partitioning(sort.preserve_partitioning()));
        let plan = Arc::new(ProjectionExec::try_new(original_columns(&schema), Arc::clone(&sort))?);
        Ok(Self { sort, plan })
    }
}

impl Work for PlainSort {
    fn over(&self, node: &Arc<dyn ExecutionPlan>) -> Result<Self> {
        Self::of(node.downcast_ref().ok_or_else(|| Error::internal("a sort became another node"))?)
    }

    fn metrics(&self, _: &Arc<dyn ExecutionPlan>) -> Option<MetricsSet> {
        self.sort.metrics()
    }

    fn execute(
        &self,
        _: &Arc<dyn ExecutionPlan>,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        self.plan.execute(partition, context)
    }
}

/// A name that no column has by accident; only positions count.
fn key_name(position: usize) -> String {
    format!("__sort_key_{position}")
}

fn plain(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Result<Arc<dyn PhysicalExpr>> {
    Ok(match plain_type(&expr.data_type(schema)?) {
        Some(data_type) => Arc::new(CastExpr::new(Arc::clone(expr), data_type, None)),
        None => Arc::clone(expr),
    })
}

fn plain_columns(schema: &Schema) -> Vec<ProjectionExpr> {
    columns(schema, plain_type)
}

fn original_columns(schema: &Schema) -> Vec<ProjectionExpr> {
    columns(schema, |data_type| plain_type(data_type).map(|_| data_type.clone()))
}

/// All columns, cast to what `target` says.
fn columns(schema: &Schema, target: impl Fn(&DataType) -> Option<DataType>) -> Vec<ProjectionExpr> {
    let column = |(index, field): (usize, &FieldRef)| {
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), index));
        let expr = match target(field.data_type()) {
            Some(data_type) => Arc::new(CastExpr::new(column, data_type, None)),
            None => column,
        };
        ProjectionExpr { expr, alias: field.name().clone() }
    };
    schema.fields().iter().enumerate().map(column).collect()
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::AsArray;
    use datafusion::arrow::compute::{cast, concat_batches};
    use datafusion::execution::memory_pool::FairSpillPool;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::physical_plan::{collect, displayable};
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;

    /// Two million bytes of strings a run, many runs.
    const SQL: &str = "SELECT s FROM (SELECT repeat(md5(v::text), 4) AS s, v FROM t) ORDER BY upper(s), v";

    async fn context() -> SessionContext {
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(FairSpillPool::new(24 << 20)));
        let config = SessionConfig::new().with_target_partitions(1).with_sort_spill_reservation_bytes(4 << 20);
        let context = SessionContext::new_with_config_rt(config, runtime.build_arc().unwrap());
        let rows = context.sql("CREATE TABLE t AS SELECT value AS v FROM range(200000)").await.unwrap();
        rows.collect().await.unwrap();
        context
    }

    #[tokio::test]
    async fn the_plan_says_what_it_said_and_gives_what_it_gave_although_memory_is_short() {
        let context = context().await;
        let plan = context.sql(SQL).await.unwrap().create_physical_plan().await.unwrap();
        let spilling = spillable(Arc::clone(&plan)).unwrap();
        let text = |plan: &dyn ExecutionPlan| displayable(plan).indent(true).to_string();
        assert_eq!(text(spilling.as_ref()), text(plan.as_ref()));
        assert_eq!(spilling.schema(), plan.schema());
        let batches = collect(Arc::clone(&spilling), context.task_ctx()).await.unwrap();
        assert!(batches.iter().all(|batch| batch.schema() == plan.schema()));
        assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 200_000);
        let mut spills = 0;
        let count = |node: Arc<dyn ExecutionPlan>| {
            spills += node.metrics().and_then(|metrics| metrics.spill_count()).unwrap_or(0);
            Ok(Transformed::no(node))
        };
        spilling.transform_up(count).unwrap();
        assert!(spills > 1, "{spills}");
        let rows = concat_batches(&plan.schema(), &batches).unwrap();
        let strings = cast(rows.column(0), &DataType::Utf8).unwrap();
        let strings = strings.as_string::<i32>();
        assert!(strings.iter().zip(strings.iter().skip(1)).all(|(one, next)| one <= next));
    }
}
