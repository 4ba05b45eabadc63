//! One version of a Delta table, as DataFusion's table: its files are scanned like any other Parquet files, so that the
//! scan can be sent to executors and split among them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, ColumnStatistics, DFSchema, ScalarValue, Statistics};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion_datasource::compute_all_files_statistics;

use super::snapshot::{DataFile, Snapshot};
use super::types::file_schema;
use crate::Error;
use crate::catalog::TableStatistics;
use crate::sinks::{WriteFilesExec, WriteKind, WriteTarget};

/// Column that says in which file a row lies, for statements that change rows.
pub(crate) const FILE_COLUMN: &str = "__grappe_file";

/// A version of a table, with what the catalog knows beside its log.
#[derive(Debug, Clone)]
pub(crate) struct DeltaProvider {
    snapshot: Arc<Snapshot>,
    schema: SchemaRef,
    defaults: Arc<HashMap<String, Expr>>,
    analyzed: Option<Arc<TableStatistics>>,
    /// The files that are read, if not all are.
    only: Option<Arc<HashSet<Arc<str>>>>,
    has_file_column: bool,
    wants_views: bool,
}

impl DeltaProvider {
    /// Reads all rows of `snapshot`, strings as views if `wants_views`.
    pub(crate) fn new(snapshot: Arc<Snapshot>, wants_views: bool) -> Self {
        let mut provider = Self {
            schema: SchemaRef::clone(snapshot.columns()),
            snapshot,
            defaults: Arc::default(),
            analyzed: None,
            only: None,
            has_file_column: false,
            wants_views,
        };
        provider.schema = provider.shown_schema();
        provider
    }

    /// With the default values of columns, and what was counted.
    pub(crate) fn with_knowledge(
        mut self,
        defaults: HashMap<String, Expr>,
        analyzed: Option<Arc<TableStatistics>>,
    ) -> Self {
        self.defaults = Arc::new(defaults);
        self.analyzed = analyzed;
        self
    }

    /// Of another version of the same table.
    pub(crate) fn with_snapshot(&self, snapshot: Arc<Snapshot>) -> Self {
        let mut other = Self { snapshot, ..self.clone() };
        other.schema = other.shown_schema();
        other
    }

    /// With [`FILE_COLUMN`] as its last.
    pub(crate) fn with_file_column(&self) -> Self {
        let mut other = Self { has_file_column: true, ..self.clone() };
        other.schema = other.shown_schema();
        other
    }

    /// Only these files.
    pub(crate) fn with_only(&self, files: HashSet<Arc<str>>) -> Self {
        Self { only: Some(Arc::new(files)), ..self.clone() }
    }

    /// The version that it reads.
    pub(crate) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Columns in the order of the table.
    fn shown_schema(&self) -> SchemaRef {
        let files = self.snapshot.table_schema(self.wants_views);
        let shown = |field: &FieldRef| match files.table_schema().field_with_name(field.name()) {
            Ok(found) => Arc::new(found.clone()),
            Err(_) => Arc::clone(field),
        };
        let mut fields: Vec<FieldRef> = self.snapshot.columns().fields().iter().map(shown).collect();
        if self.has_file_column {
            fields.push(file_column());
        }
        Arc::new(Schema::new(fields))
    }

    /// Columns as a scan has them: of files, then of directories, then the file itself.
    fn scan_schema(&self) -> TableSchema {
        let schema = self.snapshot.table_schema(self.wants_views);
        if !self.has_file_column {
            return schema;
        }
        let directories = schema.table_partition_cols().iter().cloned().chain([file_column()]);
        let directories: Vec<FieldRef> = directories.collect();
        TableSchema::builder(Arc::clone(schema.file_schema())).with_table_partition_cols(directories).build()
    }

    /// The files that may hold rows for which all `filters` are true.
    pub(crate) fn files(&self, state: &dyn Session, filters: &[Expr]) -> Result<Vec<DataFile>> {
        let files = self.snapshot.files()?;
        let mut keep = vec![true; files.len()];
        let own = |filter: &&Expr| filter.column_refs().iter().all(|column| column.name != FILE_COLUMN);
        let filters: Vec<Expr> = filters.iter().filter(own).map(unqualified).collect::<Result<_>>()?;
        if let Some(filter) = conjunction(filters) {
            let schema = SchemaRef::clone(self.snapshot.columns());
            let columns = DFSchema::try_from(SchemaRef::clone(&schema))?;
            // Pruning is by what the log says, in the types that were declared.
            let pruned = state
                .create_physical_expr(filter, &columns)
                .and_then(|filter| PruningPredicateBuilder::new().with_file_schema(schema).try_build(filter))
                .and_then(|predicate| predicate.prune(&self.snapshot.log()?.log_data()));
            match pruned {
                Ok(pruned) if pruned.len() == files.len() => keep = pruned,
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "a filter does not say which files are needed"),
            }
        }
        let is_meant = |file: &DataFile| self.only.as_ref().is_none_or(|only| only.contains(&file.path));
        let kept = files.iter().zip(keep).filter(|(file, keep)| *keep && is_meant(file));
        Ok(kept.map(|(file, _)| file.clone()).collect())
    }

    fn scanned(&self, file: DataFile) -> PartitionedFile {
        if !self.has_file_column {
            return file.scanned;
        }
        let mut scanned = file.scanned;
        scanned.partition_values.push(ScalarValue::Utf8(Some(file.path.to_string())));
        let of_files = self.snapshot.table_schema(false).file_schema().fields().len();
        let statistics = scanned.statistics.take().map(|statistics| {
            let mut statistics = Arc::unwrap_or_clone(statistics);
            statistics.column_statistics.truncate(of_files);
            Arc::new(statistics)
        });
        match statistics {
            Some(statistics) => scanned.with_statistics(statistics),
            None => scanned,
        }
    }

    /// Where each column of the table stands in a scan.
    fn positions(&self, scan: &TableSchema, projection: Option<&Vec<usize>>) -> Result<Vec<usize>> {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let wanted = projection.unwrap_or(&all);
        wanted.iter().map(|index| Ok(scan.table_schema().index_of(self.schema.field(*index).name())?)).collect()
    }

    /// What `ANALYZE TABLE` counted joins what the log says.
    fn add_counted(&self, scan: &TableSchema, statistics: &mut Statistics) {
        let Some(analyzed) = &self.analyzed else { return };
        let columns = scan.table_schema().fields().iter().zip(&mut statistics.column_statistics);
        for (field, column) in columns {
            if let Some(counted) = analyzed.columns.get(field.name()) {
                column.distinct_count = Precision::Inexact(counted.distinct as usize);
            }
        }
    }

    /// # Errors
    /// `Invalid` for a table whose files say less than its log.
    pub(crate) fn refuse_special(&self) -> Result<()> {
        match self.snapshot.is_special() {
            Some(reason) => {
                let table = self.snapshot.location();
                let message = format!("cannot change or partly read the Delta table {table}: {reason}");
                Err(DataFusionError::from(Error::invalid(message)))
            }
            None => Ok(()),
        }
    }
}

fn file_column() -> FieldRef {
    Arc::new(Field::new(FILE_COLUMN, DataType::Utf8, false))
}

/// `t.x` is `x` to a scan.
fn unqualified(filter: &Expr) -> Result<Expr> {
    let plain = filter.clone().transform(|expr| {
        Ok(match expr {
            Expr::Column(column) => Transformed::yes(Expr::Column(Column::new_unqualified(column.name))),
            other => Transformed::no(other),
        })
    })?;
    Ok(plain.data)
}

#[async_trait]
impl TableProvider for DeltaProvider {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn get_column_default(&self, column: &str) -> Option<&Expr> {
        self.defaults.get(column)
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    /// Of all its files, as the log and `ANALYZE TABLE` know them.
    fn statistics(&self) -> Option<Statistics> {
        let schema = self.snapshot.table_schema(false);
        let mut statistics = self.snapshot.statistics().ok()?;
        self.add_counted(&schema, &mut statistics);
        let position = |field: &FieldRef| schema.table_schema().index_of(field.name()).ok();
        let columns = self.schema.fields().iter().map(|field| match position(field) {
            Some(index) => statistics.column_statistics[index].clone(),
            None => ColumnStatistics::new_unknown(),
        });
        Some(Statistics { column_statistics: columns.collect(), ..statistics })
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if self.snapshot.is_special().is_some() {
            return super::special::scan(&self.snapshot, state, &self.schema, projection, filters, limit).await;
        }
        let files = self.files(state, filters)?;
        let schema = self.scan_schema();
        let positions = self.positions(&schema, projection)?;
        if files.is_empty() {
            let columns = schema.table_schema().project(&positions)?;
            return Ok(Arc::new(EmptyExec::new(Arc::new(columns))));
        }
        let files = files.into_iter().map(|file| self.scanned(file)).collect();
        let parts = state.config().target_partitions();
        let groups = FileGroup::new(files).split_files(parts);
        let columns = SchemaRef::clone(schema.table_schema());
        let (groups, mut statistics) = compute_all_files_statistics(groups, columns, true, false)?;
        self.add_counted(&schema, &mut statistics);
        let config = FileScanConfigBuilder::new(self.snapshot.store_url()?, Arc::new(ParquetSource::new(schema)))
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_projection_indices(Some(positions))?
            .with_limit(limit)
            .build();
        let options = state.config_options().execution.parquet.clone();
        let format = ParquetFormat::default()
            .with_options(datafusion::common::config::TableParquetOptions { global: options, ..Default::default() });
        format.create_physical_plan(state, config).await
    }

    /// A plan that is looked at: what writes has a target of its own, and a commit after it.
    async fn insert_into(
        &self,
        _state: &dyn Session,
        input: Arc<dyn ExecutionPlan>,
        _operation: InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.refuse_special()?;
        let target = WriteTarget {
            location: self.snapshot.location().to_owned(),
            columns: file_schema(self.snapshot.stored()),
            partition_columns: self.snapshot.partition_columns(),
            kind: WriteKind::Table { prefix: String::new(), file_bytes_target: u64::MAX },
        };
        Ok(Arc::new(WriteFilesExec::new(input, Arc::new(target))))
    }
}
