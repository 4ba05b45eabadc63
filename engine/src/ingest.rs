//! Rows that a client sends, as a table: they go the way of `CREATE TABLE AS` and `INSERT`, as they arrive.

use std::fmt::{Debug, Formatter};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, IntervalUnit, Schema, SchemaRef, TimestampNanosecondType};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::functions::math::expr_fn::trunc;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::{Stream, StreamExt};
use parking_lot::Mutex;

use crate::catalog::{Catalog, SchemaName, StandIn, StandIns, TEMPORARY_SCHEMA, TableName, temporary_name};
use crate::execution::{cast_batch, result_schema};
use crate::functions::check::check;
use crate::session::{Session, Started};
use crate::sql::{Statement, refuse_duplicates, wrong_schema};
use crate::{Error, Result};

/// What to do if the table is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfExists {
    /// Refuse.
    Fail,
    /// Add the rows to it.
    Append,
    /// Put the rows in its place.
    Replace,
}

/// Where rows go.
#[derive(Debug, Clone)]
pub struct IngestTarget {
    /// Catalog; the session's if none is given.
    pub catalog: Option<String>,
    /// Schema; the session's if none is given. None for a temporary table.
    pub schema: Option<String>,
    /// Table.
    pub table: String,
    /// Whether it is the session's own and ends with it.
    pub temporary: bool,
    /// If it is there.
    pub if_exists: IfExists,
    /// Whether to make it if it is not there.
    pub create: bool,
}

impl Session {
    /// Writes `batches`, which have the columns of `schema`, to a table; how many rows they were. The table shows them
    /// all at once, or none if the stream fails or this is dropped.
    ///
    /// # Errors
    /// `AlreadyExists` and `NotFound` as `target` says; `Invalid` for columns that the table does not take; those of the
    /// stream and of the store.
    pub async fn ingest<S>(&self, query_id: &str, target: &IngestTarget, schema: SchemaRef, batches: S) -> Result<u64>
    where
        S: Stream<Item = Result<RecordBatch>> + Send + Unpin + 'static,
    {
        let name = self.ingest_name(target).await?;
        let exists = self.catalog().table(&name).await?.is_some();
        match (exists, target.if_exists) {
            (true, IfExists::Fail) => return Err(Error::already_exists(format!("table \"{name}\" already exists"))),
            (false, _) if !target.create => {
                return Err(Error::not_found(format!("table \"{}\" does not exist", target.table)));
            }
            _ => {}
        }
        refuse_duplicates(&schema)?;
        refuse_what_files_cannot_keep(&schema)?;
        let rows = Arc::new(SentRows::new(&schema, batches, target.temporary));
        let counted = Arc::clone(&rows);
        let sql = match exists && target.if_exists == IfExists::Append {
            true => append(&name, &schema),
            false => create(&name, target.if_exists == IfExists::Replace),
        };
        let source = StreamingTable::try_new(SchemaRef::clone(&rows.schema), vec![rows])?;
        let mut stand_ins: StandIns = [(SENT.to_owned(), StandIn::Rows(Arc::new(source)))].into_iter().collect();
        if !exists {
            // A name that looks like a path is no file here.
            stand_ins.insert(name.table.clone(), StandIn::Nothing);
        }
        let mut statement = self.plan_with(&sql, stand_ins).await?;
        if exists && target.if_exists == IfExists::Append {
            self.refuse_fractions(&name, &schema, &mut statement).await?;
        }
        // Whoever sends rows sends them to this process.
        let choice = self.engine().modes().local("the rows are sent to it");
        match self.start(query_id, statement, choice).await? {
            Started::Done { .. } => Ok(counted.rows()),
            Started::Rows(_) => Err(Error::internal("what was sent gave rows")),
        }
    }

    /// The table that is meant. Rows that are added go to the table that a statement would find.
    async fn ingest_name(&self, target: &IngestTarget) -> Result<TableName> {
        if target.temporary {
            return match &target.schema {
                Some(schema) if schema != TEMPORARY_SCHEMA => Err(wrong_schema(schema)),
                _ => Ok(temporary_name(&target.table)),
            };
        }
        let default = self.default_schema();
        let catalog = target.catalog.clone().unwrap_or(default.catalog);
        let name = SchemaName::new(catalog, target.schema.clone().unwrap_or(default.schema)).table(&target.table);
        if target.schema.is_none() && target.catalog.is_none() && target.if_exists == IfExists::Append {
            return self.catalog().meant(&name).await;
        }
        Ok(name)
    }

    /// An INSERT would cut fractions off where the table has whole numbers: what a program sends should not change unseen.
    async fn refuse_fractions(&self, name: &TableName, sent: &Schema, statement: &mut Statement) -> Result<()> {
        let table = self.columns(name).await?;
        let is_whole =
            |field: &Field| table.field_with_name(field.name()).is_ok_and(|own| own.data_type().is_integer());
        let can_have_fractions = |field: &Field| field.data_type().is_floating() || field.data_type().is_decimal();
        let checks = sent.fields().iter().filter(|field| can_have_fractions(field) && is_whole(field)).map(|field| {
            let column = field.name();
            let value = || Expr::Column(Column::new_unqualified(column));
            let rule = format!("column \"{column}\" of table \"{name}\" holds whole numbers, and the data has others");
            check(value().eq(trunc(vec![value()])), &rule, value())
        });
        let checks: Vec<Expr> = checks.collect();
        if checks.is_empty() {
            return Ok(());
        }
        let checked = statement.plan.clone().transform_up(|node| match node {
            LogicalPlan::TableScan(scan) if scan.table_name.table() == SENT => {
                let mut builder = LogicalPlanBuilder::from(LogicalPlan::TableScan(scan));
                for check in &checks {
                    builder = builder.filter(check.clone())?;
                }
                Ok(Transformed::yes(builder.build()?))
            }
            other => Ok(Transformed::no(other)),
        });
        statement.plan = checked?.data;
        Ok(())
    }
}

/// The name that the rows have in the statement that takes them.
const SENT: &str = "rows that were sent";

fn create(name: &TableName, replace: bool) -> String {
    let name = name.reference().to_quoted_string();
    let verb = if replace { "CREATE OR REPLACE TABLE" } else { "CREATE TABLE" };
    format!("{verb} {name} AS SELECT * FROM \"{SENT}\"")
}

/// Column by name.
fn append(name: &TableName, sent: &Schema) -> String {
    let name = name.reference().to_quoted_string();
    let columns = sent.fields().iter().map(|field| format!("\"{}\"", field.name().replace('"', "\"\"")));
    let columns = columns.collect::<Vec<_>>().join(", ");
    format!("INSERT INTO {name} ({columns}) SELECT {columns} FROM \"{SENT}\"")
}

type Batches = Pin<Box<dyn Stream<Item = Result<RecordBatch>> + Send>>;

/// Rows that are read once, as they arrive.
struct SentRows {
    schema: SchemaRef,
    batches: Mutex<Option<Batches>>,
    /// Whether they stay in memory, where every type is kept as it is.
    stay_in_memory: bool,
    rows: Arc<AtomicU64>,
}

impl SentRows {
    fn new<S>(schema: &Schema, batches: S, stay_in_memory: bool) -> Self
    where
        S: Stream<Item = Result<RecordBatch>> + Send + 'static,
    {
        // Columns may be null later, whatever the first rows say.
        let plain = result_schema(schema);
        let fields = plain.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Self { schema, batches: Mutex::new(Some(Box::pin(batches))), stay_in_memory, rows: Arc::default() }
    }

    /// How many rows have been read.
    fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }
}

impl Debug for SentRows {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SentRows").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl PartitionStream for SentRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (schema, rows) = (SchemaRef::clone(&self.schema), Arc::clone(&self.rows));
        let (taken, stay_in_memory) = (self.batches.lock().take(), self.stay_in_memory);
        let batches = taken.unwrap_or_else(|| {
            let again = Error::internal("rows that were sent are read twice");
            Box::pin(futures::stream::once(std::future::ready(Err(again))))
        });
        let batches = batches.map(move |batch| {
            let batch = cast_batch(&batch?, &schema)?;
            if !stay_in_memory {
                refuse_lost_nanoseconds(&batch)?;
            }
            rows.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
            Ok(batch)
        });
        Box::pin(RecordBatchStreamAdapter::new(SchemaRef::clone(&self.schema), batches))
    }
}

/// A table keeps microseconds: what a program sends should not change unseen.
fn refuse_lost_nanoseconds(batch: &RecordBatch) -> Result<()> {
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let Some(times) = column.as_primitive_opt::<TimestampNanosecondType>() else { continue };
        if times.iter().flatten().any(|time| time % 1_000 != 0) {
            return Err(Error::invalid(format!(
                "column \"{}\" has times with parts of a microsecond, which a table cannot keep: round them first",
                field.name()
            )));
        }
    }
    Ok(())
}

/// Parquet has no place for them, and its writer panics at some.
fn refuse_what_files_cannot_keep(schema: &Schema) -> Result<()> {
    match schema.fields().iter().find(|field| !can_be_kept(field.data_type())) {
        Some(field) => {
            let (name, data_type) = (field.name(), field.data_type());
            Err(Error::invalid(format!(
                "column \"{name}\" cannot be kept in a table: it is {data_type}; CAST it first"
            )))
        }
        None => Ok(()),
    }
}

fn can_be_kept(data_type: &DataType) -> bool {
    match data_type {
        DataType::Union(..) | DataType::Interval(IntervalUnit::MonthDayNano) => false,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _)
        | DataType::RunEndEncoded(_, item) => can_be_kept(item.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| can_be_kept(field.data_type())),
        DataType::Dictionary(_, value) => can_be_kept(value),
        _ => true,
    }
}
