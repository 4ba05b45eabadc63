//! The plan node that writes rows to data files. Each part of its input becomes files of its own, wherever it runs; what
//! comes out names them, for the one commit that makes them part of the table.

use std::fmt::Formatter;
use std::num::NonZeroU64;
use std::sync::Arc;

use buoyant_kernel::table_properties::DataSkippingNumIndexedCols;
use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringArray, UInt64Array};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{Distribution, EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties,
};
use deltalake::datafile::writer::{DeltaWriter, WriterConfig};
use deltalake::kernel::Add;
use futures::StreamExt;
use object_store::prefix::PrefixStore;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::named::NamedStore;
use super::snapshot::Snapshot;
use super::store::{parse, path_of};
use super::types::file_schema;
use crate::Error;

/// Rows and bytes of a row group: what a writer holds in memory at most, and what a reader can skip at least.
const ROW_GROUP_ROWS: usize = 1 << 20;
const ROW_GROUP_BYTES: usize = 128 << 20;
/// Rows after which a writer looks whether its file is large enough.
const ROWS_BETWEEN_LOOKS: usize = 64 << 10;
/// Columns of which the log keeps bounds and nulls: Delta Lake's own default.
const STATISTICS_COLUMNS: u64 = 32;
/// Fast rather than small: 3 is smaller by a few percent, and half as fast.
const ZSTD_LEVEL: i32 = 1;

/// Where rows go, in every process alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WriteTarget {
    /// URL of the table's directory, with a slash at the end.
    pub(crate) location: String,
    /// Columns as files and the log keep them.
    pub(crate) columns: SchemaRef,
    /// Columns that are directories.
    pub(crate) partition_columns: Vec<String>,
    /// What the names of the files begin with: the query's id, by which they are found if it fails.
    pub(crate) prefix: String,
    /// Bytes after which a file ends and another begins.
    pub(crate) file_bytes_target: u64,
}

impl WriteTarget {
    /// For a plan that is looked at and not run.
    pub(crate) fn explained(snapshot: &Snapshot) -> Self {
        Self {
            location: snapshot.location().to_owned(),
            columns: file_schema(snapshot.stored()),
            partition_columns: snapshot.partition_columns(),
            prefix: String::new(),
            file_bytes_target: u64::MAX,
        }
    }
}

/// Writes its input to files.
#[derive(Debug)]
pub(crate) struct WriteFilesExec {
    input: Arc<dyn ExecutionPlan>,
    target: Arc<WriteTarget>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl WriteFilesExec {
    /// Writes the columns of `input`, which are those of the target in their order.
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>, target: Arc<WriteTarget>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(written_schema()),
            Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self { input, target, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() }
    }

    /// Where rows go.
    pub(crate) fn target(&self) -> &WriteTarget {
        &self.target
    }
}

/// One row a file: its action of the log, and its rows.
fn written_schema() -> SchemaRef {
    let fields = vec![Field::new("add", DataType::Utf8, false), Field::new("rows", DataType::UInt64, false)];
    Arc::new(Schema::new(fields))
}

/// The files that the rows of a [`WriteFilesExec`] name, and how many rows they hold.
///
/// # Errors
/// `Internal` if they are something else.
pub(crate) fn written_files(batches: &[RecordBatch]) -> crate::Result<(Vec<Add>, u64)> {
    let (mut files, mut rows) = (Vec::new(), 0);
    for batch in batches {
        let damaged = || Error::internal("a writer reported something that is not a file");
        let texts = batch.columns().first().and_then(|column| column.as_string_opt::<i32>()).ok_or_else(damaged)?;
        let counts = batch.columns().get(1).and_then(|column| column.as_primitive_opt()).ok_or_else(damaged)?;
        let counts: &UInt64Array = counts;
        for text in texts.iter().flatten() {
            files.push(serde_json::from_str(text).map_err(|_| damaged())?);
        }
        rows += counts.iter().flatten().sum::<u64>();
    }
    Ok((files, rows))
}

impl DisplayAs for WriteFilesExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "WriteFilesExec: location={}", self.target.location)?;
        if !self.target.partition_columns.is_empty() {
            write!(f, ", partitioned_by=[{}]", self.target.partition_columns.join(", "))?;
        }
        Ok(())
    }
}

impl ExecutionPlan for WriteFilesExec {
    fn name(&self) -> &'static str {
        "WriteFilesExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    /// Rows of one directory meet in one part, or every part would write a small file to each directory.
    fn required_input_distribution(&self) -> Vec<Distribution> {
        let schema = self.input.schema();
        let column = |name: &String| {
            let index = self.target.columns.index_of(name).ok()?;
            Some(Arc::new(Column::new(schema.field(index).name(), index)) as Arc<dyn PhysicalExpr>)
        };
        let columns: Vec<_> = self.target.partition_columns.iter().filter_map(column).collect();
        match columns.is_empty() {
            true => vec![Distribution::UnspecifiedDistribution],
            false => vec![Distribution::KeyPartitioned(columns)],
        }
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![true]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![false]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().ok_or_else(|| Error::internal("a writer without an input"))?;
        Ok(Arc::new(Self::new(input, Arc::clone(&self.target))))
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if self.target.prefix.is_empty() {
            let message = "EXPLAIN ANALYZE of a write to a table is not supported: EXPLAIN it, or run it";
            return Err(Error::invalid(message).into());
        }
        let input = self.input.execute(partition, Arc::clone(&context))?;
        let writer = open(&self.target, &context.runtime_env())?;
        let columns = SchemaRef::clone(&self.target.columns);
        let rows_written = MetricBuilder::new(&self.metrics).output_rows(partition);
        let mut stream = RecordBatchReceiverStream::builder(written_schema(), 1);
        let (sender, prefix) = (stream.tx(), self.target.prefix.clone());
        stream.spawn(async move {
            let files = write_all(writer, input, &columns).await?;
            let batch = report(files, &prefix)?;
            let rows: &UInt64Array = batch.column(1).as_primitive();
            rows_written.add(rows.iter().flatten().sum::<u64>() as usize);
            // Nobody is there to hear of it if the query has ended.
            let _ = sender.send(Ok(batch)).await;
            Ok(())
        });
        Ok(stream.build())
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

fn open(target: &WriteTarget, runtime: &RuntimeEnv) -> Result<DeltaWriter> {
    let url = parse(&target.location)?;
    let root = runtime.object_store_registry.get_store(&url)?;
    let table = PrefixStore::new(root, path_of(&url)?);
    let store = Arc::new(NamedStore::new(Arc::new(table), target.prefix.clone()));
    let level = ZstdLevel::try_new(ZSTD_LEVEL)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .set_created_by(format!("grappe {}", env!("CARGO_PKG_VERSION")))
        .build();
    let config = WriterConfig::new(
        SchemaRef::clone(&target.columns),
        target.partition_columns.clone(),
        Some(properties),
        NonZeroU64::new(target.file_bytes_target),
        Some(ROWS_BETWEEN_LOOKS),
        DataSkippingNumIndexedCols::NumColumns(STATISTICS_COLUMNS),
        None,
    );
    Ok(DeltaWriter::new(store, config))
}

async fn write_all(
    mut writer: DeltaWriter,
    mut input: SendableRecordBatchStream,
    columns: &SchemaRef,
) -> Result<Vec<Add>> {
    let written = async {
        while let Some(batch) = input.next().await.transpose()? {
            writer.write(&stored_batch(&batch, columns)?).await.map_err(unwritten)?;
        }
        Ok(())
    };
    match written.await {
        Ok(()) => writer.close().await.map_err(unwritten),
        Err(error) => {
            // What was begun is given up; the first error is the one to tell.
            if let Err(also) = writer.abort().await {
                tracing::warn!(error = %also, "a half-written file could not be given up");
            }
            Err(error)
        }
    }
}

/// The rows in the types that are kept. What cannot be kept is an error, and not a null.
fn stored_batch(batch: &RecordBatch, columns: &SchemaRef) -> Result<RecordBatch> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let arrays = batch.columns().iter().zip(columns.fields()).map(|(array, field)| {
        match array.data_type() == field.data_type() {
            true => Ok(Arc::clone(array)),
            false => cast_with_options(array, field.data_type(), &strict),
        }
    });
    let arrays = arrays.collect::<Result<Vec<ArrayRef>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(SchemaRef::clone(columns), arrays, &options)?)
}

fn report(files: Vec<Add>, prefix: &str) -> Result<RecordBatch> {
    let (mut texts, mut rows) = (Vec::new(), Vec::new());
    for mut file in files {
        file.path = NamedStore::named(&file.path, prefix);
        rows.push(rows_of(&file));
        texts.push(serde_json::to_string(&file).map_err(|error| DataFusionError::External(Box::new(error)))?);
    }
    let columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from(texts)), Arc::new(UInt64Array::from(rows))];
    Ok(RecordBatch::try_new(written_schema(), columns)?)
}

/// How many rows a file has; every writer of ours counts them.
fn rows_of(file: &Add) -> u64 {
    let facts: Option<serde_json::Value> = file.stats.as_ref().and_then(|text| serde_json::from_str(text).ok());
    facts.and_then(|facts| facts.get("numRecords")?.as_u64()).unwrap_or_default()
}

fn unwritten(error: deltalake::DeltaTableError) -> DataFusionError {
    DataFusionError::from(super::error::delta_error(error, "the rows cannot be written"))
}
