//! Scans that read the keys of a join first.
//!
//! A hash join tells the scan of its other side which keys it has, as soon as it knows them. If few rows have one of
//! them, it is faster to read the key columns first and of the others only what belongs to such rows; if many have, that
//! costs more than reading all. DataFusion has one setting for all scans and all conditions
//! (`datafusion.execution.parquet.pushdown_filters`). Here every file is opened in the way that fits the keys there are by then:
//! which part of its rows they leave is found by trying values between the least and the greatest that the file says it
//! has.

use std::collections::hash_map::DefaultHasher;
use std::fmt::{self, Formatter};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{AsArray, Int64Array, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    FileOpener, FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, DynamicFilterPhysicalExpr, Literal};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_expr::{PhysicalExpr, conjunction, split_conjunction};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan};
use datafusion_datasource::TableSchema;
use datafusion_datasource::morsel::{MorselPlanner, Morselizer};
use object_store::ObjectStore;

/// The part of the rows up to which keys are read first. Measured with TPC-H at scale 10: at 0.08 a scan of 60 million rows
/// takes half the time, at 0.3 it takes longer.
const PART_MAX: f64 = 0.1;
/// Keys of a join up to which looking for each row is cheap: a table of more leaves the caches of a processor, and a
/// look takes as long as the join itself (200 ns for 100,000 keys).
const KEYS_MAX: f64 = 50_000.0;
/// Values that are tried.
const TRIED: u32 = 1024;

/// `plan`, with scans that choose.
///
/// # Errors
/// Those of building plans: none for a plan that DataFusion made.
pub(super) fn selective(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        let config = node.downcast_ref::<DataSourceExec>().and_then(|scan| scan.data_source().downcast_ref());
        match config.and_then(choosing) {
            Some(config) => Ok(Transformed::yes(DataSourceExec::from_data_source(config))),
            None => Ok(Transformed::no(node)),
        }
    })
    .data()
}

/// The same scan, if a join may tell it what it needs.
fn choosing(config: &FileScanConfig) -> Option<FileScanConfig> {
    let parquet = config.file_source().downcast_ref::<ParquetSource>()?;
    let predicate = parquet.filter()?;
    let is_told = split_conjunction(&predicate).into_iter().any(is_dynamic);
    if !is_told || parquet.table_parquet_options().global.pushdown_filters {
        return None;
    }
    let source = SelectiveSource { parquet: parquet.clone() };
    Some(FileScanConfigBuilder::from(config.clone()).with_source(Arc::new(source)).build())
}

fn is_dynamic(condition: &Arc<dyn PhysicalExpr>) -> bool {
    condition.is::<DynamicFilterPhysicalExpr>()
}

/// Parquet files, each read in the way that fits.
#[derive(Clone)]
struct SelectiveSource {
    parquet: ParquetSource,
}

impl FileSource for SelectiveSource {
    fn create_file_opener(
        &self,
        store: Arc<dyn ObjectStore>,
        base: &FileScanConfig,
        partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        self.parquet.create_file_opener(store, base, partition)
    }

    fn create_morselizer(
        &self,
        store: Arc<dyn ObjectStore>,
        base: &FileScanConfig,
        partition: usize,
    ) -> Result<Box<dyn Morselizer>> {
        let plain = self.parquet.create_morselizer(Arc::clone(&store), base, partition)?;
        Ok(Box::new(FileChoice { plain, parquet: self.parquet.clone(), store, base: base.clone(), partition }))
    }

    fn table_schema(&self) -> &TableSchema {
        self.parquet.table_schema()
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        let sized = self.parquet.with_batch_size(batch_size);
        match sized.downcast_ref::<ParquetSource>() {
            Some(parquet) => Arc::new(Self { parquet: parquet.clone() }),
            None => sized,
        }
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.parquet.filter()
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.parquet.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.parquet.metrics()
    }

    fn file_type(&self) -> &str {
        self.parquet.file_type()
    }

    fn fmt_extra(&self, kind: DisplayFormatType, f: &mut Formatter<'_>) -> fmt::Result {
        self.parquet.fmt_extra(kind, f)
    }

    fn reorder_files(&self, files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
        self.parquet.reorder_files(files)
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.parquet.apply_expressions(f)
    }
}

/// Opens the files of one part of a scan.
struct FileChoice {
    /// Reads all columns of all rows.
    plain: Box<dyn Morselizer>,
    parquet: ParquetSource,
    store: Arc<dyn ObjectStore>,
    base: FileScanConfig,
    partition: usize,
}

impl fmt::Debug for FileChoice {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileChoice").field("plain", &self.plain).finish_non_exhaustive()
    }
}

impl Morselizer for FileChoice {
    fn plan_file(&self, file: PartitionedFile) -> Result<Box<dyn MorselPlanner>> {
        let Some(predicate) = self.keys_first(&file)? else { return self.plain.plan_file(file) };
        let source = self.parquet.clone().with_predicate(predicate).with_pushdown_filters(true);
        source.create_morselizer(Arc::clone(&self.store), &self.base, self.partition)?.plan_file(file)
    }
}

impl FileChoice {
    /// The conditions with those first that leave the fewest rows of `file`, if those are few.
    fn keys_first(&self, file: &PartitionedFile) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        let (Some(predicate), Some(statistics)) = (self.parquet.filter(), &file.statistics) else { return Ok(None) };
        let (told, fixed): (Vec<_>, Vec<_>) =
            split_conjunction(&predicate).into_iter().partition(|one| is_dynamic(one));
        let schema = self.parquet.table_schema().table_schema();
        let mut parts = Vec::with_capacity(told.len());
        let mut is_worth_it = false;
        for condition in told {
            let Left { part, keys } = left(condition, schema, statistics)?.unwrap_or(Left::ALL);
            is_worth_it |= part <= PART_MAX && (keys <= KEYS_MAX || !is_looked_up(condition)?);
            parts.push((part, condition));
        }
        if !is_worth_it {
            return Ok(None);
        }
        parts.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let ordered = parts.into_iter().map(|(_, condition)| condition).chain(fixed);
        Ok(Some(conjunction(ordered.cloned())))
    }
}

/// Whether a condition looks for its values in a table, or a list; else it compares them.
fn is_looked_up(condition: &Arc<dyn PhysicalExpr>) -> Result<bool> {
    let Some(filter) = condition.downcast_ref::<DynamicFilterPhysicalExpr>() else { return Ok(true) };
    let compares =
        |part: &Arc<dyn PhysicalExpr>| part.is::<BinaryExpr>() || part.is::<Column>() || part.is::<Literal>();
    filter.current()?.exists(|part| Ok(!compares(part)))
}

/// What a condition leaves.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Left {
    /// Part of the rows.
    part: f64,
    /// Values between the bounds of the rows.
    keys: f64,
}

impl Left {
    const ALL: Self = Self { part: 1.0, keys: f64::INFINITY };
}

/// What `condition` leaves; nothing if that cannot be told: of several columns it depends on which values come together.
fn left(condition: &Arc<dyn PhysicalExpr>, schema: &Schema, statistics: &Statistics) -> Result<Option<Left>> {
    let columns: Vec<_> = collect_columns(condition).into_iter().collect();
    let ([column], Some(rows)) = (columns.as_slice(), statistics.num_rows.get_value()) else { return Ok(None) };
    let field = schema.field(column.index());
    let Some(bounds) = statistics.column_statistics.get(column.index()).and_then(|known| {
        let bound = |value: &ScalarValue| whole(value, field.data_type());
        Some((bound(known.min_value.get_value()?)?, bound(known.max_value.get_value()?)?))
    }) else {
        return Ok(None);
    };
    let schema = Arc::new(Schema::new(vec![field.clone()]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![cast(&tried(bounds), field.data_type())?])?;
    let condition = reassign_expr_columns(Arc::clone(condition), &schema)?;
    let found = condition.evaluate(&batch)?.into_array(TRIED as usize)?;
    let Some(found) = found.as_boolean_opt() else { return Ok(None) };
    let of_tried = found.true_count() as f64 / f64::from(TRIED);
    let steps = bounds.1.saturating_sub(bounds.0).max(0) as f64 + 1.0;
    // Where there are fewer rows than values between the bounds, most of what is tried is in no row at all.
    let sparse = (steps / (*rows).max(1) as f64).max(1.0);
    Ok(Some(Left { part: (of_tried * sparse).min(1.0), keys: of_tried * steps }))
}

/// A value of a type whose values can be counted.
fn whole(value: &ScalarValue, kind: &DataType) -> Option<i64> {
    let is_counted = kind.is_integer() || matches!(kind, DataType::Date32);
    match value.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(value)) if is_counted => value,
        _ => None,
    }
}

/// Values between `bounds` without a pattern: keys often have one.
fn tried((least, greatest): (i64, i64)) -> Int64Array {
    let steps = u128::from(greatest.abs_diff(least)) + 1;
    let value = |number: u32| {
        let mut hasher = DefaultHasher::new();
        number.hash(&mut hasher);
        least.wrapping_add_unsigned(((u128::from(hasher.finish()) * steps) >> 64) as u64)
    };
    (0..TRIED).map(value).collect()
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::Field;
    use datafusion::common::stats::Precision;
    use datafusion::logical_expr::Operator;
    use datafusion::physical_expr::expressions::{binary, col, lit};

    use super::*;

    /// The part that `key < 100` leaves of rows with keys between `least` and `greatest`.
    fn part(rows: usize, least: ScalarValue, greatest: ScalarValue) -> Option<f64> {
        let schema =
            Schema::new(vec![Field::new("text", DataType::Utf8, true), Field::new("key", least.data_type(), true)]);
        let limit = ScalarValue::Int64(Some(100)).cast_to(&least.data_type()).unwrap();
        let condition = binary(col("key", &schema).unwrap(), Operator::Lt, lit(limit), &schema).unwrap();
        let mut statistics = Statistics::new_unknown(&schema);
        statistics.num_rows = Precision::Exact(rows);
        statistics.column_statistics[1].min_value = Precision::Exact(least);
        statistics.column_statistics[1].max_value = Precision::Inexact(greatest);
        left(&condition, &schema, &statistics).unwrap().map(|left| left.part)
    }

    fn near(told: Option<f64>, expected: f64) -> bool {
        told.is_some_and(|part| (part - expected).abs() < 0.03)
    }

    #[test]
    fn values_between_the_bounds_tell_the_part() {
        assert!(near(part(5000, ScalarValue::from(0_i64), ScalarValue::from(999_i64)), 0.1));
        assert!(near(part(5000, ScalarValue::from(-900_i16), ScalarValue::from(1099_i16)), 0.5));
        assert!(near(part(5000, ScalarValue::from(0_u8), ScalarValue::from(250_u8)), 0.4));
        assert_eq!(part(5000, ScalarValue::from(100_i64), ScalarValue::from(i64::MAX)), Some(0.0));
        assert_eq!(part(1, ScalarValue::from(5_i32), ScalarValue::from(5_i32)), Some(1.0));
        assert!(near(part(usize::MAX, ScalarValue::from(i64::MIN), ScalarValue::from(i64::MAX)), 0.5));
    }

    #[test]
    fn few_rows_between_far_bounds_may_all_be_left() {
        assert_eq!(part(50, ScalarValue::from(0_i64), ScalarValue::from(9999_i64)), Some(1.0));
        assert!(near(part(5000, ScalarValue::from(0_i64), ScalarValue::from(9999_i64)), 0.02));
    }

    #[test]
    fn nothing_is_told_of_what_cannot_be_counted() {
        assert_eq!(part(5000, ScalarValue::from(0.0), ScalarValue::from(999.0)), None);
        assert_eq!(part(5000, ScalarValue::from("0"), ScalarValue::from("999")), None);
        assert_eq!(part(5000, ScalarValue::Int64(None), ScalarValue::Int64(None)), None);
    }
}
