//! The schema `system`: what runs and where, as tables. Each read sees the present.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use datafusion::catalog::{SchemaProvider, Session, TableProvider};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

use crate::queries::Queries;

/// One executor, as `system.executors` shows it.
#[derive(Debug, Clone)]
pub(crate) struct ExecutorSummary {
    /// Its id.
    pub(crate) id: String,
    /// `host:port` of its shuffle service.
    pub(crate) address: String,
    /// Process id on its machine.
    pub(crate) pid: u32,
    /// Version of its binary.
    pub(crate) version: String,
    /// Tasks that it runs at once.
    pub(crate) vcores: u32,
    /// Tasks that it runs now.
    pub(crate) running_tasks: u32,
    /// `active`, `draining` or `lost`.
    pub(crate) state: String,
    /// When it was last heard of.
    pub(crate) last_heartbeat: DateTime<Utc>,
}

/// Knows the executors.
#[async_trait]
pub(crate) trait Executors: std::fmt::Debug + Send + Sync {
    /// All that have joined, in the order of their ids.
    fn summaries(&self) -> Vec<ExecutorSummary>;

    /// Makes the executor `id` take no more tasks, finish those that it has, and leave when nobody needs its files.
    ///
    /// # Errors
    /// `NotFound` if none has that id, `Unavailable` if it cannot be reached.
    async fn drain(&self, id: &str) -> engine::Result<()>;
}

/// A coordinator without executors.
#[derive(Debug)]
pub(crate) struct NoExecutors;

#[async_trait]
impl Executors for NoExecutors {
    fn summaries(&self) -> Vec<ExecutorSummary> {
        Vec::new()
    }

    async fn drain(&self, id: &str) -> engine::Result<()> {
        Err(engine::Error::not_found(format!("no executor is named '{id}': this coordinator takes none")))
    }
}

/// The schema.
#[derive(Debug)]
pub(crate) struct SystemSchema {
    pub(crate) queries: Arc<Queries>,
    pub(crate) executors: Arc<dyn Executors>,
}

const TABLES: [&str; 2] = ["executors", "queries"];

#[async_trait]
impl SchemaProvider for SystemSchema {
    fn table_names(&self) -> Vec<String> {
        TABLES.map(str::to_owned).to_vec()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        Ok(match name {
            "queries" => Some(Arc::new(QueriesTable(Arc::clone(&self.queries)))),
            "executors" => Some(Arc::new(ExecutorsTable(Arc::clone(&self.executors)))),
            _ => None,
        })
    }

    fn table_exist(&self, name: &str) -> bool {
        TABLES.contains(&name)
    }
}

#[derive(Debug)]
struct QueriesTable(Arc<Queries>);

impl QueriesTable {
    fn rows(&self) -> Result<RecordBatch> {
        let rows = self.0.summaries();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.id))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.user))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.statement))),
            Arc::new(rows.iter().map(|row| row.mode.map(|mode| mode.to_string())).collect::<StringArray>()),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.progress.tasks_total as i64))),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.progress.tasks_done as i64))),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.progress.rows_scanned as i64))),
            Arc::new(rows.iter().map(|row| row.progress.fraction).collect::<Float64Array>()),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.state_name()))),
            Arc::new(instants(rows.iter().map(|row| row.started_at))),
            Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.elapsed.as_secs_f64()))),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.rows as i64))),
            Arc::new(rows.iter().map(|row| row.error.clone()).collect::<StringArray>()),
            Arc::new(rows.iter().map(|row| lines(&row.setbacks)).collect::<StringArray>()),
            Arc::new(rows.iter().map(|row| row.queue.as_ref().map(|queue| queue.place as i64)).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|row| row.queue.as_ref().map(|queue| &queue.reason)).collect::<StringArray>()),
            Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.queued.as_secs_f64()))),
        ];
        Ok(RecordBatch::try_new(self.schema(), columns)?)
    }
}

#[async_trait]
impl TableProvider for QueriesTable {
    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("id", DataType::Utf8, false),
            Field::new("user_name", DataType::Utf8, false),
            Field::new("statement", DataType::Utf8, false),
            Field::new("mode", DataType::Utf8, true),
            Field::new("tasks", DataType::Int64, false),
            Field::new("tasks_done", DataType::Int64, false),
            Field::new("rows_scanned", DataType::Int64, false),
            Field::new("progress", DataType::Float64, true),
            Field::new("state", DataType::Utf8, false),
            Field::new("started", instant_type(), false),
            Field::new("elapsed", DataType::Float64, false),
            Field::new("rows", DataType::Int64, false),
            Field::new("error", DataType::Utf8, true),
            Field::new("setbacks", DataType::Utf8, true),
            Field::new("queue_place", DataType::Int64, true),
            Field::new("queue_reason", DataType::Utf8, true),
            Field::new("queued", DataType::Float64, false),
        ]))
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        one_batch(self.rows()?, projection)
    }
}

#[derive(Debug)]
struct ExecutorsTable(Arc<dyn Executors>);

impl ExecutorsTable {
    fn rows(&self) -> Result<RecordBatch> {
        let rows = self.0.summaries();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.id))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.address))),
            Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.pid))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.version))),
            Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.vcores))),
            Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.running_tasks))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.state))),
            Arc::new(instants(rows.iter().map(|row| row.last_heartbeat))),
        ];
        Ok(RecordBatch::try_new(self.schema(), columns)?)
    }
}

#[async_trait]
impl TableProvider for ExecutorsTable {
    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("id", DataType::Utf8, false),
            Field::new("address", DataType::Utf8, false),
            Field::new("pid", DataType::UInt32, false),
            Field::new("version", DataType::Utf8, false),
            Field::new("vcores", DataType::UInt32, false),
            Field::new("running_tasks", DataType::UInt32, false),
            Field::new("state", DataType::Utf8, false),
            Field::new("last_heartbeat", instant_type(), false),
        ]))
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        one_batch(self.rows()?, projection)
    }
}

/// Texts one below the other; null for none.
fn lines(texts: &[String]) -> Option<String> {
    (!texts.is_empty()).then(|| texts.join("\n"))
}

fn one_batch(batch: RecordBatch, projection: Option<&Vec<usize>>) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = batch.schema();
    Ok(MemorySourceConfig::try_new_exec(&[vec![batch]], schema, projection.cloned())?)
}

fn instant_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn instants(times: impl Iterator<Item = DateTime<Utc>>) -> TimestampMicrosecondArray {
    TimestampMicrosecondArray::from_iter_values(times.map(|time| time.timestamp_micros())).with_timezone("UTC")
}
