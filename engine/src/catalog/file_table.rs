//! A table of files: DataFusion's, narrowed to what a pattern matches, and with what the files say of their rows.
//!
//! Parquet files say in their footers how many rows they have and between which values. Whoever chooses an order of joins
//! has to know that before it is planned which files are read, so it is gathered for statements that join. A footer is read
//! once and kept; DataFusion's own plan would read the same ones a moment later.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{ScanArgs, ScanResult, Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Constraints, Statistics};
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::ListingTable;
use datafusion::datasource::source_as_provider;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::SessionState;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{Expr, LogicalPlan, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use futures::{StreamExt, stream};

use crate::Error;
use crate::catalog::glob::{Glob, listing_state};
use crate::config::grappe_options;
use crate::planning::{Size, planned};

/// Tables whose files are looked at together.
const TABLES_AT_ONCE: usize = 8;

/// A table over files of one format.
#[derive(Debug)]
pub(crate) struct FileTable {
    files: ListingTable,
    /// Which of them are meant, if not all.
    glob: Option<Glob>,
    /// What is known of the rows, once somebody has asked.
    statistics: OnceLock<Statistics>,
}

impl FileTable {
    /// Those of `files` that `glob` matches.
    pub(crate) fn new(files: ListingTable, glob: Option<Glob>) -> Self {
        Self { files, glob, statistics: OnceLock::new() }
    }

    /// The table over all files below its locations.
    pub(crate) fn files(&self) -> &ListingTable {
        &self.files
    }

    /// Asks the files how many rows they have. Those of a table that is cut into directories by its values are left alone:
    /// a statement may mean few of them.
    async fn gather(&self, state: &SessionState) -> crate::Result<()> {
        let options = self.files.options();
        let is_told = options.format.is::<ParquetFormat>() && options.table_partition_cols.is_empty();
        if !is_told || self.statistics.get().is_some() {
            return Ok(());
        }
        let state = listing_state(state, self.glob.as_ref())?;
        let listed = self.files.list_files_for_scan(state.as_ref(), &[], None).await?;
        // Another may have been faster.
        let _ = self.statistics.set(listed.statistics);
        Ok(())
    }
}

/// Lets the tables of `plan` tell how many rows they have, if it joins any.
///
/// # Errors
/// `Exhausted` if it takes longer than planning may. What is wrong with files is said by whoever reads them.
pub(crate) async fn gather_statistics(state: &Arc<SessionState>, plan: &LogicalPlan) -> crate::Result<()> {
    let limits = grappe_options(state.config()).limits;
    let (state, plan, size) = (Arc::clone(state), plan.clone(), Size::of_plan(plan));
    planned(&limits, size, async move {
        let mut tables = Vec::new();
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                tables.extend(source_as_provider(&scan.source));
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        if tables.len() > 1 {
            gather_all(&state, tables).await;
        }
        Ok(())
    })
    .await
}

async fn gather_all(state: &SessionState, tables: Vec<Arc<dyn TableProvider>>) {
    let gathered = stream::iter(tables).for_each_concurrent(TABLES_AT_ONCE, |table| async move {
        let Some(files) = table.downcast_ref::<FileTable>() else { return };
        if let Err(error) = files.gather(state).await {
            tracing::debug!(%error, "the rows of a table are not known");
        }
    });
    gathered.await;
}

#[async_trait]
impl TableProvider for FileTable {
    fn schema(&self) -> SchemaRef {
        self.files.schema()
    }

    fn constraints(&self) -> Option<&Constraints> {
        self.files.constraints()
    }

    fn table_type(&self) -> TableType {
        self.files.table_type()
    }

    fn get_table_definition(&self) -> Option<&str> {
        self.files.get_table_definition()
    }

    fn get_column_default(&self, column: &str) -> Option<&Expr> {
        self.files.get_column_default(column)
    }

    fn statistics(&self) -> Option<Statistics> {
        self.statistics.get().cloned()
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        self.files.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let arguments = ScanArgs::default()
            .with_projection(projection.map(Vec::as_slice))
            .with_filters(Some(filters))
            .with_limit(limit);
        Ok(self.scan_with_args(state, arguments).await?.into_inner())
    }

    async fn insert_into(
        &self,
        state: &dyn Session,
        input: Arc<dyn ExecutionPlan>,
        op: InsertOp,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        self.files.insert_into(state, input, op).await
    }

    async fn scan_with_args<'a>(&self, state: &dyn Session, arguments: ScanArgs<'a>) -> DataFusionResult<ScanResult> {
        let Some(glob) = &self.glob else { return self.files.scan_with_args(state, arguments).await };
        let Some(state) = state.as_any().downcast_ref::<SessionState>() else {
            return Err(DataFusionError::from(Error::internal("a scan with a session of another kind")));
        };
        self.files.scan_with_args(&glob.narrow(state)?, arguments).await
    }
}
