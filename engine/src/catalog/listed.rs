//! A table that is only listed: what `information_schema` shows of it is stored, and no file is opened.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

use crate::Error;
use crate::catalog::{TableKind, TableSummary};

/// What the catalog keeps of a table.
#[derive(Debug)]
pub(crate) struct ListedTable {
    name: String,
    kind: TableKind,
    columns: SchemaRef,
    view_sql: Option<String>,
}

impl ListedTable {
    /// Of a line of a listing.
    pub(crate) fn new(summary: &TableSummary) -> Self {
        Self {
            name: summary.name.clone(),
            kind: summary.kind,
            columns: summary.columns.clone().unwrap_or_else(|| Arc::new(Schema::empty())),
            view_sql: summary.view_sql.clone(),
        }
    }
}

#[async_trait]
impl TableProvider for ListedTable {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.columns)
    }

    fn table_type(&self) -> TableType {
        match self.kind {
            TableKind::Table => TableType::Base,
            TableKind::View => TableType::View,
        }
    }

    fn get_table_definition(&self) -> Option<&str> {
        self.view_sql.as_deref()
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        _projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Err(Error::internal(format!("table \"{}\" was opened to be listed, and is read", self.name)).into())
    }
}
