//! The plan node that writes rows to files. Each part of its input becomes files of its own, wherever it runs; what comes
//! out names them.

use std::fmt::Formatter;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt64Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{Distribution, EquivalenceProperties, OrderingRequirements, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties,
};

use super::target::{WriteKind, WriteTarget};
use super::{copy, table};
use crate::Error;

/// Writes its input to files.
#[derive(Debug)]
pub(crate) struct WriteFilesExec {
    input: Arc<dyn ExecutionPlan>,
    target: Arc<WriteTarget>,
    /// The order of rows that the statement asks for: nothing else would keep it.
    order: Option<OrderingRequirements>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

/// What a part of a plan has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WrittenFile {
    /// A file, in the words of its kind of target.
    pub(crate) file: String,
    pub(crate) rows: u64,
}

impl WriteFilesExec {
    /// Writes the columns of `input`, which are those of the target in their order, and its rows in the order that it has.
    pub(crate) fn in_order(input: Arc<dyn ExecutionPlan>, target: Arc<WriteTarget>) -> Self {
        let order = input.output_ordering().cloned().map(OrderingRequirements::from);
        Self { order, ..Self::new(input, target) }
    }

    /// The same, in any order.
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>, target: Arc<WriteTarget>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(report_schema()),
            Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self { input, target, order: None, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() }
    }

    /// Whether all rows are written one after the other: to one file, or in an order that goes on from file to file. The
    /// rows of a table, and of a directory of its own, are only in order in each file.
    fn is_one_part(&self) -> bool {
        let is_copy = matches!(self.target.kind, WriteKind::Copy(_));
        self.target.is_one_file() || (is_copy && self.order.is_some() && self.target.partition_columns.is_empty())
    }

    /// Where rows go.
    pub(crate) fn target(&self) -> &WriteTarget {
        &self.target
    }
}

fn report_schema() -> SchemaRef {
    let fields = vec![Field::new("file", DataType::Utf8, false), Field::new("rows", DataType::UInt64, false)];
    Arc::new(Schema::new(fields))
}

fn report(files: &[WrittenFile]) -> Result<RecordBatch> {
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(files.iter().map(|file| &file.file)));
    let rows: ArrayRef = Arc::new(UInt64Array::from_iter_values(files.iter().map(|file| file.rows)));
    Ok(RecordBatch::try_new(report_schema(), vec![names, rows])?)
}

/// What the rows of a [`WriteFilesExec`] say.
///
/// # Errors
/// `Internal` if they are something else.
pub(crate) fn reported(batches: &[RecordBatch]) -> crate::Result<Vec<WrittenFile>> {
    let mut files = Vec::new();
    for batch in batches {
        let [names, rows] = batch.columns() else { return Err(damaged()) };
        let names = names.as_string_opt::<i32>().filter(|names| names.null_count() == 0).ok_or_else(damaged)?;
        let rows = rows.as_primitive_opt::<UInt64Type>().ok_or_else(damaged)?;
        let pairs = names.iter().flatten().zip(rows.values());
        files.extend(pairs.map(|(file, rows)| WrittenFile { file: file.to_owned(), rows: *rows }));
    }
    Ok(files)
}

pub(super) fn damaged() -> Error {
    Error::internal("a writer reported something that is not a file")
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
        if self.is_one_part() {
            return vec![Distribution::SinglePartition];
        }
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

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![self.order.clone()]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![!self.is_one_part()]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![false]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().ok_or_else(|| Error::internal("a writer without an input"))?;
        Ok(Arc::new(Self { order: self.order.clone(), ..Self::new(input, Arc::clone(&self.target)) }))
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let target = Arc::clone(&self.target);
        if matches!(&target.kind, WriteKind::Table { prefix, .. } if prefix.is_empty()) {
            let message = "EXPLAIN ANALYZE of a write to a table is not supported: EXPLAIN it, or run it";
            return Err(Error::invalid(message).into());
        }
        let input = self.input.execute(partition, Arc::clone(&context))?;
        let rows_written = MetricBuilder::new(&self.metrics).output_rows(partition);
        let mut stream = RecordBatchReceiverStream::builder(report_schema(), 1);
        let sender = stream.tx();
        stream.spawn(async move {
            let files = match &target.kind {
                WriteKind::Table { prefix, file_bytes_target } => {
                    table::write(&target, prefix, *file_bytes_target, input, &context.runtime_env()).await?
                }
                WriteKind::Copy(format) => copy::write(&target, format, input, &context).await?,
            };
            rows_written.add(files.iter().map(|file| file.rows as usize).sum());
            // Nobody is there to hear of it if the query has ended.
            let _ = sender.send(report(&files)).await;
            Ok(())
        });
        Ok(stream.build())
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}
