//! Rows that a client sends, as a table: written to a file as they arrive, and a table only when all have.
//!
//! Until there are managed tables, a table made so is an external one over a directory of ours, which lives as long as
//! the process, like the catalog that knows it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, IntervalUnit, Schema, SchemaRef};
use datafusion::common::utils::quote_identifier;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{DmlStatement, LogicalPlan, WriteOp};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::catalog::{Catalog, ExternalTable, TEMPORARY_SCHEMA, TableDefinition, TableName, temporary_name};
use crate::config::CATALOG;
use crate::execution::{cast_batch, result_schema};
use crate::session::{Session, Started};
use crate::sql::wrong_schema;
use crate::{Error, Result};

/// Rows of a row group: what the writer holds in memory at most, and what a reader can skip at least.
const ROW_GROUP_ROWS: usize = 128 << 10;
const ROW_GROUP_BYTES: usize = 64 << 20;
/// Batches between the network and the writer.
const BATCHES_AHEAD: usize = 2;

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
    /// stream and of the disk.
    pub async fn ingest<S>(&self, query_id: &str, target: &IngestTarget, schema: SchemaRef, batches: S) -> Result<u64>
    where
        S: Stream<Item = Result<RecordBatch>> + Send + Unpin,
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
        let staged = Staged::write(&self.engine().tables_dir()?, &schema, batches).await?;
        let rows = staged.rows;
        if exists && target.if_exists == IfExists::Append {
            self.append(query_id, &name, staged).await?;
        } else {
            self.publish(&name, staged, exists).await?;
        }
        Ok(rows)
    }

    /// The table that is meant. Rows that are added go to the table that a statement would find.
    async fn ingest_name(&self, target: &IngestTarget) -> Result<TableName> {
        if target.temporary {
            return match &target.schema {
                Some(schema) if schema != TEMPORARY_SCHEMA => Err(wrong_schema(schema)),
                _ => Ok(temporary_name(&target.table)),
            };
        }
        let schema = target.schema.clone();
        let name = TableName { schema: schema.unwrap_or_else(|| self.default_schema()), table: target.table.clone() };
        if target.schema.is_none() && target.if_exists == IfExists::Append {
            return self.catalog().meant(&name).await;
        }
        Ok(name)
    }

    /// Makes the staged file a table.
    async fn publish(&self, name: &TableName, staged: Staged, replace: bool) -> Result<()> {
        let quoted = |text: &str| quote_identifier(text).into_owned();
        let location = staged.directory.path().display().to_string().replace('\'', "''");
        let (schema, table) = (quoted(&name.schema), quoted(&name.table));
        let sql = format!("CREATE EXTERNAL TABLE {schema}.{table} STORED AS PARQUET LOCATION '{location}/'");
        let definition = ExternalTable {
            sql,
            file_schema: staged.schema,
            partition_columns: Arc::new(Schema::empty()),
            directory: Some(Arc::new(staged.directory)),
        };
        self.catalog().create_table(name, TableDefinition::External(Arc::new(definition)), replace).await
    }

    /// An INSERT would cut fractions off where the table has whole numbers: what a program sends should not change unseen.
    async fn refuse_fractions(&self, name: &TableName, staged: &Schema, file: &str) -> Result<()> {
        let table = self.columns(name).await?;
        let is_whole =
            |field: &Field| table.field_with_name(field.name()).is_ok_and(|own| own.data_type().is_integer());
        let can_have_fractions = |field: &Field| field.data_type().is_floating() || field.data_type().is_decimal();
        for field in staged.fields().iter().filter(|field| can_have_fractions(field) && is_whole(field)) {
            let column = format!("\"{}\"", field.name().replace('"', "\"\""));
            let fractions = format!("SELECT {column} FROM \"{file}\" WHERE {column} <> trunc({column}) LIMIT 1");
            if self.has_rows(&fractions).await? {
                let message =
                    format!("column {column} of table \"{name}\" holds whole numbers, and the data has others");
                return Err(Error::invalid(message));
            }
        }
        Ok(())
    }

    async fn has_rows(&self, sql: &str) -> Result<bool> {
        Ok(self.look(sql).await?.iter().any(|batch| batch.num_rows() > 0))
    }

    async fn look(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        let statement = self.plan(sql).await?;
        let choice = self.engine().modes().local("it looks at what was sent");
        let running = self.engine().run("", statement, choice).await?;
        Ok(running.stream()?.try_collect().await?)
    }

    /// What `dml` did, if it takes all rows from a table that was sent: such a table is emptied by another taking its place.
    pub(crate) async fn empty_sent(&self, dml: &DmlStatement) -> Result<Option<u64>> {
        let takes_all = match dml.op {
            WriteOp::Truncate => true,
            WriteOp::Delete => matches!(dml.input.as_ref(), LogicalPlan::TableScan(scan) if scan.filters.is_empty()),
            _ => false,
        };
        if !takes_all {
            return Ok(None);
        }
        let name = dml.table_name.clone().resolve(CATALOG, &self.default_schema());
        let name = self.catalog().meant(&name.into()).await?;
        let entry = self.catalog().table(&name).await?;
        let Some(TableDefinition::External(table)) = entry.map(|entry| entry.definition) else { return Ok(None) };
        if table.directory.is_none() {
            return Ok(None);
        }
        let (schema, quoted) = (quote_identifier(&name.schema), quote_identifier(&name.table));
        let counts = self.look(&format!("SELECT count(*) FROM {schema}.{quoted}")).await?;
        let rows = counts.iter().map(|batch| batch.column(0).as_primitive::<Int64Type>().value(0)).sum::<i64>();
        let nothing = Staged::write(&self.engine().tables_dir()?, &table.file_schema, stream::empty()).await?;
        self.publish(&name, nothing, true).await?;
        Ok(Some(u64::try_from(rows).unwrap_or(0)))
    }

    /// Adds the rows of the staged file, column by name.
    async fn append(&self, query_id: &str, name: &TableName, staged: Staged) -> Result<()> {
        let columns = staged.schema.fields().iter().map(|field| format!("\"{}\"", field.name().replace('"', "\"\"")));
        let columns = columns.collect::<Vec<_>>().join(", ");
        let (schema, table) = (quote_identifier(&name.schema), quote_identifier(&name.table));
        let file = staged.file().display().to_string().replace('"', "\"\"");
        self.refuse_fractions(name, &staged.schema, &file).await?;
        let sql = format!("INSERT INTO {schema}.{table} ({columns}) SELECT {columns} FROM \"{file}\"");
        let statement = self.plan(&sql).await?;
        let choice = self.choose(&statement).await?;
        match self.start(query_id, statement, choice).await? {
            Started::Done { .. } => Ok(()),
            Started::Rows(_) => Err(Error::internal("an INSERT gave rows")),
        }
    }
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

/// A table with such columns could be made, and not read.
fn refuse_duplicates(schema: &Schema) -> Result<()> {
    let mut seen = HashSet::new();
    match schema.fields().iter().find(|field| !seen.insert(field.name())) {
        Some(field) => Err(Error::invalid(format!("column \"{}\" appears twice; give one another name", field.name()))),
        None => Ok(()),
    }
}

/// A file that is no table yet; dropping it removes it.
struct Staged {
    directory: TempDir,
    schema: SchemaRef,
    rows: u64,
}

impl Staged {
    async fn write<S>(parent: &Path, schema: &Schema, mut batches: S) -> Result<Self>
    where
        S: Stream<Item = Result<RecordBatch>> + Send + Unpin,
    {
        let directory = tempfile::Builder::new().prefix("table-").tempdir_in(parent);
        let directory = directory.map_err(|error| unusable(parent, error))?;
        // Columns may be null later, whatever the first rows say.
        let plain = result_schema(schema);
        let fields = plain.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let (sender, mut receiver) = mpsc::channel::<RecordBatch>(BATCHES_AHEAD);
        let (path, columns) = (directory.path().join(FILE), SchemaRef::clone(&schema));
        let written = tokio::task::spawn_blocking(move || {
            let mut writer = open(&path, columns)?;
            while let Some(batch) = receiver.blocking_recv() {
                writer.write(&batch).map_err(unwritten)?;
            }
            writer.close().map(|_| ()).map_err(unwritten)
        });
        let mut rows = 0;
        while let Some(batch) = batches.next().await {
            let batch = cast_batch(&batch?, &schema)?;
            rows += batch.num_rows() as u64;
            if sender.send(batch).await.is_err() {
                // The writer has failed: it says why.
                break;
            }
        }
        drop(sender);
        written.await.map_err(|error| Error::internal(format!("the writer failed: {error}")))??;
        Ok(Self { directory, schema, rows })
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join(FILE)
    }
}

const FILE: &str = "part-0.parquet";

fn open(path: &Path, schema: SchemaRef) -> Result<ArrowWriter<std::fs::File>> {
    let file = std::fs::File::create(path).map_err(|error| unusable(path, error))?;
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    ArrowWriter::try_new(file, schema, Some(properties)).map_err(unwritten)
}

fn unusable(path: &Path, error: std::io::Error) -> Error {
    Error::from(DataFusionError::from(error)).context(path.display().to_string())
}

fn unwritten(error: parquet::errors::ParquetError) -> Error {
    Error::from(DataFusionError::from(error)).context("the rows cannot be written")
}
