//! A table whose rows lie in this process and count against its memory budget.

use std::fmt::Formatter;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{MemTable, Session, TableProvider};
use datafusion::common::Constraints;
use datafusion::datasource::sink::{DataSink, DataSinkExec};
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan};
use futures::StreamExt;
use tokio::sync::RwLock;

use crate::Error;

/// DataFusion's in-memory table, with its bytes reserved in the pool of the process for as long as it lives.
#[derive(Debug)]
pub struct MemoryTable {
    rows: MemTable,
    reservation: MemoryReservation,
    /// Held to read while a snapshot is taken, to write while rows are added to all partitions.
    published: RwLock<()>,
}

impl MemoryTable {
    /// A table of `rows`, whose bytes are reserved already.
    pub(crate) fn new(rows: MemTable, reservation: MemoryReservation) -> Self {
        Self { rows, reservation, published: RwLock::default() }
    }

    /// Its columns.
    pub(crate) fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    /// The table for one statement, which sees the rows that are there now.
    pub(crate) async fn snapshot(self: &Arc<Self>) -> Result<MemorySnapshot> {
        let _published = self.published.read().await;
        let mut partitions = Vec::with_capacity(self.rows.batches.len());
        for partition in &self.rows.batches {
            partitions.push(partition.read().await.clone());
        }
        Ok(MemorySnapshot { rows: MemTable::try_new(self.rows.schema(), partitions)?, table: Arc::clone(self) })
    }
}

/// The rows of a table at one time; what is written goes to the table.
#[derive(Debug)]
pub(crate) struct MemorySnapshot {
    rows: MemTable,
    table: Arc<MemoryTable>,
}

#[async_trait]
impl TableProvider for MemorySnapshot {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    fn constraints(&self) -> Option<&Constraints> {
        self.table.rows.constraints()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn get_column_default(&self, column: &str) -> Option<&Expr> {
        self.table.rows.get_column_default(column)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.rows.scan(state, projection, filters, limit).await
    }

    async fn insert_into(
        &self,
        _state: &dyn Session,
        input: Arc<dyn ExecutionPlan>,
        operation: InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if operation != InsertOp::Append {
            return Err(Error::invalid("an in-memory table takes plain INSERT only").into());
        }
        let sink = MemorySink { schema: self.schema(), table: Arc::clone(&self.table) };
        Ok(Arc::new(DataSinkExec::new(input, Arc::new(sink), None)))
    }

    async fn delete_from(&self, state: &dyn Session, filters: Vec<Expr>) -> Result<Arc<dyn ExecutionPlan>> {
        self.table.rows.delete_from(state, filters).await
    }

    async fn update(
        &self,
        state: &dyn Session,
        assignments: Vec<(String, Expr)>,
        filters: Vec<Expr>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.table.rows.update(state, assignments, filters).await
    }
}

/// Adds rows to a table when all of them have arrived: an insert that fails half way leaves nothing.
#[derive(Debug)]
struct MemorySink {
    schema: SchemaRef,
    table: Arc<MemoryTable>,
}

impl DisplayAs for MemorySink {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "MemorySink")
    }
}

#[async_trait]
impl DataSink for MemorySink {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    async fn write_all(&self, mut data: SendableRecordBatchStream, _context: &Arc<TaskContext>) -> Result<u64> {
        let partitions = &self.table.rows.batches;
        let arriving = self.table.reservation.new_empty();
        let mut spread = vec![Vec::new(); partitions.len().max(1)];
        let mut rows = 0;
        let mut next = 0;
        while let Some(batch) = data.next().await.transpose()? {
            // What was written may have been nullable; the table says what is.
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            let columns = batch.columns().to_vec();
            let batch = RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), columns, &options)?;
            arriving.try_grow(batch.get_array_memory_size())?;
            rows += batch.num_rows() as u64;
            spread[next].push(batch);
            next = (next + 1) % spread.len();
        }
        let _published = self.table.published.write().await;
        for (partition, mut batches) in partitions.iter().zip(spread) {
            partition.write().await.append(&mut batches);
        }
        // The table's own reservation takes over what the arriving rows held.
        self.table.reservation.grow(arriving.free());
        Ok(rows)
    }
}
