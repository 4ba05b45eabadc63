//! Rows that a client sends, as a table: written to a file as they arrive, and a table only when all have.
//!
//! Until there are managed tables, a table made so is an external one over a directory of ours, which lives as long as
//! the process, like the catalog that knows it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::utils::quote_identifier;
use datafusion::error::DataFusionError;
use futures::{Stream, StreamExt};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::catalog::{ExternalTable, TableDefinition, TableName};
use crate::execution::{cast_batch, result_schema};
use crate::session::{Session, Started};
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
    /// Schema; the session's if none is given.
    pub schema: Option<String>,
    /// Table.
    pub table: String,
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
        let name = TableName {
            schema: target.schema.clone().unwrap_or_else(|| self.default_schema()),
            table: target.table.clone(),
        };
        let exists = self.engine().catalog().table(&name).await?.is_some();
        match (exists, target.if_exists) {
            (true, IfExists::Fail) => return Err(Error::already_exists(format!("table \"{name}\" already exists"))),
            (false, _) if !target.create => {
                return Err(Error::not_found(format!("table \"{}\" does not exist", target.table)));
            }
            _ => {}
        }
        let staged = Staged::write(&self.engine().tables_dir()?, &schema, batches).await?;
        let rows = staged.rows;
        if exists && target.if_exists == IfExists::Append {
            self.append(query_id, &name, staged).await?;
        } else {
            self.publish(&name, staged, exists).await?;
        }
        Ok(rows)
    }

    /// Makes the staged file a table.
    async fn publish(&self, name: &TableName, staged: Staged, replace: bool) -> Result<()> {
        let quoted = |text: &str| quote_identifier(text).into_owned();
        let location = staged.directory.path().display().to_string().replace('\'', "''");
        let (schema, table) = (quoted(&name.schema), quoted(&name.table));
        let sql = format!("CREATE EXTERNAL TABLE {schema}.{table} STORED AS PARQUET LOCATION '{location}/'");
        let definition =
            ExternalTable { sql, file_schema: staged.schema, partition_columns: Arc::new(Schema::empty()) };
        self.engine().catalog().create_table(name, TableDefinition::External(Arc::new(definition)), replace).await?;
        // From here on the directory is the table's.
        let _: PathBuf = staged.directory.keep();
        Ok(())
    }

    /// Adds the rows of the staged file, column by name.
    async fn append(&self, query_id: &str, name: &TableName, staged: Staged) -> Result<()> {
        let columns = staged.schema.fields().iter().map(|field| format!("\"{}\"", field.name().replace('"', "\"\"")));
        let columns = columns.collect::<Vec<_>>().join(", ");
        let (schema, table) = (quote_identifier(&name.schema), quote_identifier(&name.table));
        let file = staged.file().display().to_string().replace('"', "\"\"");
        let sql = format!("INSERT INTO {schema}.{table} ({columns}) SELECT {columns} FROM \"{file}\"");
        let statement = self.plan(&sql).await?;
        let choice = self.choose(&statement).await?;
        match self.start(query_id, statement, choice).await? {
            Started::Done { .. } => Ok(()),
            Started::Rows(_) => Err(Error::internal("an INSERT gave rows")),
        }
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
