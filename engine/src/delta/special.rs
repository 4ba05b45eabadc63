//! Tables with deletion vectors, mapped columns or files elsewhere: read in this process, by Delta Lake's own scan.

use std::sync::Arc;

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::expressions::{CastExpr, Column};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};

use super::snapshot::Snapshot;

/// Rows of `snapshot` in the columns of `schema`. Filters are left to whoever reads.
pub(crate) async fn scan(
    snapshot: &Snapshot,
    state: &dyn Session,
    schema: &Schema,
    projection: Option<&Vec<usize>>,
    filters: &[Expr],
    limit: Option<usize>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let provider = snapshot.table().table_provider().await?;
    let limit = limit.filter(|_| filters.is_empty());
    let plan = provider.scan(state, projection, &[], limit).await?;
    let wanted = match projection {
        Some(indices) => Arc::new(schema.project(indices)?),
        None => Arc::new(schema.clone()),
    };
    cast_columns(plan, &wanted)
}

/// Delta Lake's scan shows the types that are kept; the table has those that were meant.
fn cast_columns(plan: Arc<dyn ExecutionPlan>, wanted: &SchemaRef) -> Result<Arc<dyn ExecutionPlan>> {
    let has = plan.schema();
    let is_same = has.fields().iter().zip(wanted.fields()).all(|(a, b)| a.data_type() == b.data_type());
    if is_same {
        return Ok(plan);
    }
    let columns = wanted.fields().iter().enumerate().map(|(index, field)| {
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(has.field(index).name(), index));
        let cast: Arc<dyn PhysicalExpr> = Arc::new(CastExpr::new(column, field.data_type().clone(), None));
        ProjectionExpr::new(cast, field.name().clone())
    });
    Ok(Arc::new(ProjectionExec::try_new(columns.collect::<Vec<_>>(), plan)?))
}
