//! A target as DataFusion's table: it takes rows, and has none to read.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::TableReference;
use datafusion::datasource::provider_as_source;
use datafusion::error::Result;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{DmlStatement, Expr, LogicalPlan, TableType, WriteOp};
use datafusion::physical_plan::ExecutionPlan;

use super::node::WriteFilesExec;
use super::target::WriteTarget;
use crate::Error;

/// Takes rows of these columns to a target.
#[derive(Debug)]
pub(crate) struct RowsInto {
    columns: SchemaRef,
    target: Arc<WriteTarget>,
    /// Whether the statement says in which order.
    is_ordered: bool,
}

impl RowsInto {
    /// A plan that takes the rows of `input` to `target`, under the name that a statement gives it.
    pub(crate) fn insert(name: &TableReference, target: WriteTarget, input: LogicalPlan) -> LogicalPlan {
        let columns = Arc::clone(input.schema().inner());
        let source =
            provider_as_source(Arc::new(Self { columns, target: Arc::new(target), is_ordered: is_ordered(&input) }));
        let op = WriteOp::Insert(InsertOp::Append);
        LogicalPlan::Dml(DmlStatement::new(name.clone(), source, op, Arc::new(input)))
    }
}

#[async_trait]
impl TableProvider for RowsInto {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.columns)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        _projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Err(Error::internal("a place for rows cannot be read").into())
    }

    async fn insert_into(
        &self,
        _state: &dyn Session,
        input: Arc<dyn ExecutionPlan>,
        _operation: InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let target = Arc::clone(&self.target);
        Ok(Arc::new(match self.is_ordered {
            true => WriteFilesExec::in_order(input, target),
            false => WriteFilesExec::new(input, target),
        }))
    }
}

/// Whether a query ends with ORDER BY. Rows may have an order that nobody has asked for, such as that of a series.
fn is_ordered(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) => true,
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Limit(_) => {
            plan.inputs().iter().all(|input| is_ordered(input))
        }
        _ => false,
    }
}
