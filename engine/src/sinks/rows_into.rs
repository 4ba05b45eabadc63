//! A table that is being made: it has columns and takes rows, and has none to read.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::write::{WriteFilesExec, WriteTarget};
use crate::Error;

/// Where the first rows of a table go.
#[derive(Debug)]
pub(crate) struct NewRows {
    columns: SchemaRef,
    target: Arc<WriteTarget>,
}

impl NewRows {
    /// Rows of these columns.
    pub(crate) fn new(columns: SchemaRef, target: Arc<WriteTarget>) -> Self {
        Self { columns, target }
    }
}

#[async_trait]
impl TableProvider for NewRows {
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
        Err(Error::internal("a table that is being made cannot be read").into())
    }

    async fn insert_into(
        &self,
        _state: &dyn Session,
        input: Arc<dyn ExecutionPlan>,
        _operation: InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(WriteFilesExec::new(input, Arc::clone(&self.target))))
    }
}
