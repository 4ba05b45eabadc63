//! `range(start, end [, step])` and `generate_series` in `FROM`, in as many parts as the query may use.
//!
//! DataFusion's own table functions have one part, so that one core works. Ours scan *synthetic files*: one file is a
//! run of row numbers, and row `k` is `start + k * step`. As a [`FileSource`] under [`FileScanConfig`] the scan can be
//! split, sliced over executors, limited and projected like any file.
//!
//! Series whose rows have no closed form (calendar steps, dates, NULL arguments) are left to DataFusion.

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, Int64Array, TimestampNanosecondArray};
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::catalog::{Session, TableFunction, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ColumnStatistics, Result, ScalarValue, Statistics, plan_err};
use datafusion::datasource::listing::{FileRange, PartitionedFile};
use datafusion::datasource::physical_plan::{
    FileGroup, FileOpenFuture, FileOpener, FileScanConfig, FileScanConfigBuilder, FileSource,
};
use datafusion::datasource::projection::{ProjectionOpener, SplitProjection};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::functions_table::generate_series::{GenerateSeriesFunc, RangeFunc};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::projection::{ProjectionExpr, ProjectionExprs};
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan};
use futures::{FutureExt, StreamExt};
use object_store::ObjectStore;

/// Rows below which a further part is not worth its overhead.
const PART_ROWS_MIN: u64 = 1 << 16;

/// Both table functions.
pub fn table_functions() -> Vec<Arc<TableFunction>> {
    let range = SeriesFunction { name: "range", includes_end: false };
    let series = SeriesFunction { name: "generate_series", includes_end: true };
    [range, series].map(|function| Arc::new(TableFunction::new(function.name.to_owned(), Arc::new(function)))).into()
}

#[derive(Debug)]
struct SeriesFunction {
    name: &'static str,
    includes_end: bool,
}

impl TableFunctionImpl for SeriesFunction {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        match self.series(args.exprs())? {
            Some(series) => Ok(Arc::new(SeriesTable { name: self.name, series })),
            None if self.includes_end => GenerateSeriesFunc {}.call_with_args(args),
            None => RangeFunc {}.call_with_args(args),
        }
    }
}

impl SeriesFunction {
    /// The series that the arguments mean; `None` leaves them to DataFusion, including the complaint.
    fn series(&self, arguments: &[Expr]) -> Result<Option<Series>> {
        if let Some((start, end, step)) = integer_arguments(arguments) {
            if step == 0 {
                return plan_err!("the step of {} cannot be zero", self.name);
            }
            return Series::between(start, end, step, self.includes_end, SeriesKind::Integer).map(Some);
        }
        match timestamp_arguments(arguments) {
            Some((start, end, step, zone)) => {
                Series::between(start, end, step, self.includes_end, SeriesKind::Timestamp(zone)).map(Some)
            }
            None => Ok(None),
        }
    }
}

fn integer_arguments(arguments: &[Expr]) -> Option<(i64, i64, i64)> {
    let literals: Option<Vec<i64>> = arguments
        .iter()
        .map(|argument| match argument {
            Expr::Literal(ScalarValue::Int64(Some(value)), _) => Some(*value),
            Expr::Literal(ScalarValue::Int32(Some(value)), _) => Some(i64::from(*value)),
            _ => None,
        })
        .collect();
    match literals?.as_slice() {
        [end] => Some((0, *end, 1)),
        [start, end] => Some((*start, *end, 1)),
        [start, end, step] => Some((*start, *end, *step)),
        _ => None,
    }
}

/// Timestamps with a step in nanoseconds only: months and days have no fixed length.
fn timestamp_arguments(arguments: &[Expr]) -> Option<(i64, i64, i64, Option<Arc<str>>)> {
    let [Expr::Literal(start, _), Expr::Literal(end, _), Expr::Literal(step, _)] = arguments else { return None };
    let ScalarValue::TimestampNanosecond(Some(start), zone) = start else { return None };
    let ScalarValue::TimestampNanosecond(Some(end), _) = end else { return None };
    let ScalarValue::IntervalMonthDayNano(Some(step)) = step else { return None };
    let is_fixed = step.months == 0 && step.days == 0 && step.nanoseconds != 0;
    is_fixed.then(|| (*start, *end, step.nanoseconds, zone.clone()))
}

/// What a series is a series of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SeriesKind {
    /// `BIGINT`.
    Integer,
    /// Nanoseconds, in a time zone or none.
    Timestamp(Option<Arc<str>>),
}

/// `rows` values from `start`, each `step` after the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Series {
    pub(crate) start: i64,
    pub(crate) step: i64,
    pub(crate) rows: u64,
    pub(crate) kind: SeriesKind,
}

impl Series {
    fn between(start: i64, end: i64, step: i64, includes_end: bool, kind: SeriesKind) -> Result<Self> {
        let distance = if step > 0 { i128::from(end) - i128::from(start) } else { i128::from(start) - i128::from(end) };
        let stride = i128::from(step).abs();
        let rows = match (distance, includes_end) {
            (..0, _) => 0,
            (_, true) => distance / stride + 1,
            (_, false) => (distance + stride - 1) / stride,
        };
        // A file's range is a signed 64-bit number.
        match i64::try_from(rows) {
            Ok(rows) => Ok(Self { start, step, rows: rows.unsigned_abs(), kind }),
            Err(_) => plan_err!("a series of {rows} rows is too long: at most {} are possible", i64::MAX),
        }
    }

    fn data_type(&self) -> DataType {
        match &self.kind {
            SeriesKind::Integer => DataType::Int64,
            SeriesKind::Timestamp(zone) => DataType::Timestamp(TimeUnit::Nanosecond, zone.clone()),
        }
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("value", self.data_type(), false)]))
    }

    /// Row `row`. In range for every row of the series, so that wrapping never happens for one.
    fn value(&self, row: u64) -> i64 {
        self.start.wrapping_add(self.step.wrapping_mul(row as i64))
    }

    fn array(&self, first_row: u64, rows: u64) -> ArrayRef {
        let values = (first_row..first_row + rows).map(|row| self.value(row));
        match &self.kind {
            SeriesKind::Integer => Arc::new(Int64Array::from_iter_values(values)),
            SeriesKind::Timestamp(zone) => {
                Arc::new(TimestampNanosecondArray::from_iter_values(values).with_timezone_opt(zone.clone()))
            }
        }
    }

    fn scalar(&self, row: u64) -> ScalarValue {
        match &self.kind {
            SeriesKind::Integer => ScalarValue::Int64(Some(self.value(row))),
            SeriesKind::Timestamp(zone) => ScalarValue::TimestampNanosecond(Some(self.value(row)), zone.clone()),
        }
    }

    fn statistics(&self) -> Statistics {
        let bounds = (self.rows > 0).then(|| (self.scalar(0), self.scalar(self.rows - 1)));
        let (min, max) = match bounds {
            Some((first, last)) if self.step > 0 => (Precision::Exact(first), Precision::Exact(last)),
            Some((first, last)) => (Precision::Exact(last), Precision::Exact(first)),
            None => (Precision::Absent, Precision::Absent),
        };
        let rows = self.rows as usize;
        let column = ColumnStatistics {
            null_count: Precision::Exact(0),
            distinct_count: Precision::Exact(rows),
            min_value: min,
            max_value: max,
            ..ColumnStatistics::new_unknown()
        };
        Statistics {
            num_rows: Precision::Exact(rows),
            total_byte_size: Precision::Exact(rows.saturating_mul(size_of::<i64>())),
            column_statistics: vec![column],
        }
    }

    fn ordering(&self) -> Option<LexOrdering> {
        let options = SortOptions { descending: self.step < 0, nulls_first: false };
        LexOrdering::new([PhysicalSortExpr::new(Arc::new(Column::new("value", 0)), options)])
    }

    /// At most `parts_max` runs of rows of nearly equal length, each a file of its own group.
    fn file_groups(&self, parts_max: usize) -> Vec<FileGroup> {
        let parts = self.rows.div_ceil(PART_ROWS_MIN).clamp(1, parts_max.max(1) as u64);
        let bound = |part: u64| (u128::from(self.rows) * u128::from(part) / u128::from(parts)) as u64;
        (0..parts).map(|part| FileGroup::new(vec![self.file(bound(part), bound(part + 1))])).collect()
    }

    pub(crate) fn file(&self, first_row: u64, end_row: u64) -> PartitionedFile {
        let mut file = PartitionedFile::new("series", self.rows);
        file.range = Some(FileRange { start: first_row as i64, end: end_row as i64 });
        file
    }
}

pub(crate) struct SeriesTable {
    name: &'static str,
    series: Series,
}

impl Debug for SeriesTable {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}({:?})", self.name, self.series)
    }
}

#[async_trait]
impl TableProvider for SeriesTable {
    fn schema(&self) -> SchemaRef {
        self.series.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn statistics(&self) -> Option<Statistics> {
        Some(self.series.statistics())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let groups = self.series.file_groups(state.config().target_partitions());
        let source = Arc::new(SeriesSource::new(self.series.clone()));
        let config = scan_builder(source, groups)
            .with_statistics(self.series.statistics())
            .with_output_ordering(self.series.ordering().into_iter().collect())
            // Each part is in order only as long as it keeps its own rows.
            .with_preserve_order(true)
            .with_limit(limit)
            .with_projection_indices(projection.cloned())?
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

/// A scan of `groups`; no object store is asked, but one must have a name.
pub(crate) fn scan_builder(source: Arc<SeriesSource>, groups: Vec<FileGroup>) -> FileScanConfigBuilder {
    FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), source).with_file_groups(groups)
}

/// The scan's source: makes batches from row numbers.
#[derive(Clone)]
pub(crate) struct SeriesSource {
    series: Series,
    table_schema: TableSchema,
    projection: SplitProjection,
    batch_rows: usize,
    metrics: ExecutionPlanMetricsSet,
}

impl SeriesSource {
    pub(crate) fn new(series: Series) -> Self {
        let table_schema = TableSchema::from(series.schema());
        let projection = SplitProjection::unprojected(&table_schema);
        Self { series, table_schema, projection, batch_rows: 8192, metrics: ExecutionPlanMetricsSet::new() }
    }

    pub(crate) fn series(&self) -> &Series {
        &self.series
    }
}

impl FileSource for SeriesSource {
    fn create_file_opener(
        &self,
        _object_store: Arc<dyn ObjectStore>,
        _base_config: &FileScanConfig,
        _partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        let opener = SeriesOpener {
            series: self.series.clone(),
            schema: Arc::new(self.series.schema().project(&self.projection.file_indices)?),
            batch_rows: self.batch_rows.max(1) as u64,
        };
        ProjectionOpener::try_new(self.projection.clone(), Arc::new(opener), self.table_schema.file_schema())
    }

    fn table_schema(&self) -> &TableSchema {
        &self.table_schema
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        Arc::new(Self { batch_rows: batch_size, ..self.clone() })
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        Some(&self.projection.source)
    }

    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn FileSource>>> {
        let merged = self.projection.source.try_merge(projection)?;
        // Computed columns stay above the scan, where every mode can ship them.
        if column_indices(&merged).is_none() {
            return Ok(None);
        }
        let projection = SplitProjection::new(self.table_schema.file_schema(), &merged);
        Ok(Some(Arc::new(Self { projection, ..self.clone() })))
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        &self.metrics
    }

    fn file_type(&self) -> &str {
        "series"
    }

    fn fmt_extra(&self, _t: DisplayFormatType, f: &mut Formatter) -> fmt::Result {
        write!(f, ", start={}, step={}, rows={}", self.series.start, self.series.step, self.series.rows)
    }

    /// The scan is split when it is made.
    fn supports_repartitioning(&self) -> bool {
        false
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        datafusion::physical_plan::apply_expression_roots(self.projection.source.iter(), f)
    }
}

/// The columns that a projection keeps under their names; `None` if it computes or renames one.
pub(crate) fn column_indices(projection: &ProjectionExprs) -> Option<Vec<usize>> {
    let index = |expression: &ProjectionExpr| {
        let column = expression.expr.downcast_ref::<Column>()?;
        (column.name() == expression.alias).then(|| column.index())
    };
    projection.iter().map(index).collect()
}

struct SeriesOpener {
    series: Series,
    schema: SchemaRef,
    batch_rows: u64,
}

impl FileOpener for SeriesOpener {
    fn open(&self, file: PartitionedFile) -> Result<FileOpenFuture> {
        let (first, end) = match file.range {
            Some(range) => (range.start.unsigned_abs(), range.end.unsigned_abs()),
            None => (0, self.series.rows),
        };
        let (series, schema, batch_rows) = (self.series.clone(), self.schema.clone(), self.batch_rows);
        let batches = (first..end).step_by(batch_rows as usize).map(move |row| {
            let rows = batch_rows.min(end - row);
            let columns = if schema.fields().is_empty() { vec![] } else { vec![series.array(row, rows)] };
            let options = RecordBatchOptions::new().with_row_count(Some(rows as usize));
            Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
        });
        Ok(async move { Ok(futures::stream::iter(batches).boxed()) }.boxed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(start: i64, end: i64, step: i64, includes_end: bool) -> Vec<i64> {
        let series = Series::between(start, end, step, includes_end, SeriesKind::Integer).unwrap();
        (0..series.rows).map(|row| series.value(row)).collect()
    }

    #[test]
    fn a_series_ends_before_or_at_its_end() {
        assert_eq!(rows(0, 3, 1, false), [0, 1, 2]);
        assert_eq!(rows(0, 3, 1, true), [0, 1, 2, 3]);
        assert_eq!(rows(1, 8, 3, false), [1, 4, 7]);
        assert_eq!(rows(1, 7, 3, true), [1, 4, 7]);
        assert_eq!(rows(5, 1, -2, true), [5, 3, 1]);
        assert_eq!(rows(5, 1, -2, false), [5, 3]);
        assert_eq!(rows(3, 3, 1, false), [0; 0]);
        assert_eq!(rows(3, 3, 1, true), [3]);
        assert_eq!(rows(3, 0, 1, true), [0; 0]);
        assert_eq!(rows(i64::MAX - 1, i64::MAX, 1, true), [i64::MAX - 1, i64::MAX]);
    }

    #[test]
    fn the_parts_of_a_series_are_the_whole_series() {
        let series = Series::between(0, 1_000_003, 1, false, SeriesKind::Integer).unwrap();
        let groups = series.file_groups(7);
        let bounds: Vec<(i64, i64)> = groups
            .iter()
            .flat_map(|group| group.files())
            .map(|file| file.range.as_ref().map(|range| (range.start, range.end)).unwrap())
            .collect();
        assert_eq!(bounds.len(), 7);
        assert_eq!((bounds[0].0, bounds[6].1), (0, 1_000_003));
        assert!(bounds.windows(2).all(|pair| pair[0].1 == pair[1].0));
    }

    #[test]
    fn a_series_longer_than_a_file_can_be_is_refused() {
        let error = Series::between(i64::MIN, i64::MAX, 1, true, SeriesKind::Integer).unwrap_err();
        assert!(error.to_string().contains("too long"), "{error}");
    }
}
