//! Rows to files, and who cleans up if they do not become a table's.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::datasource::provider_as_source;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{DmlStatement, LogicalPlan, WriteOp};
use deltalake::kernel::Add;
use futures::TryStreamExt;
use uuid::Uuid;

use super::Change;
use crate::Result;
use crate::catalog::Catalog;
use crate::config::grappe_options;
use crate::delta::{DeltaProvider, Snapshot, WriteTarget, file_schema, sweep_query, written_files};
use crate::execution::Mode;
use crate::sql::Statement;

/// Files that a query has written.
pub(crate) struct Written {
    pub(crate) files: Vec<Add>,
    pub(crate) rows: u64,
    /// Removes them, unless they are told that they belong.
    pub(crate) guard: WrittenFiles,
}

/// The files of a query that no version of its table names yet. They are removed when this is dropped.
pub(crate) struct WrittenFiles {
    runtime: Arc<RuntimeEnv>,
    catalog: Arc<dyn Catalog>,
    location: String,
    prefix: String,
    kept: Vec<Add>,
    /// Whether tasks may have been run twice: then there are more files than those that were named.
    has_strays: bool,
    is_settled: bool,
}

impl WrittenFiles {
    /// Notes that files are going to be written, for the case that this process ends before they belong.
    async fn begin(change: &Change<'_>, location: &str) -> Result<Self> {
        let engine = change.session.engine();
        let catalog = Arc::clone(engine.catalog());
        // A statement that is tried again writes under another name: what the first try has left is swept meanwhile.
        let prefix = format!("{}-{}", change.query_id, &Uuid::new_v4().simple().to_string()[..8]);
        catalog.reserve_location(&mark(location, &prefix)).await?;
        Ok(Self {
            runtime: Arc::clone(engine.runtime()),
            catalog,
            location: location.to_owned(),
            prefix,
            kept: Vec::new(),
            has_strays: false,
            is_settled: false,
        })
    }

    /// What their names begin with, and the transaction under which they are committed.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// They are part of the table now.
    pub(crate) async fn belong(mut self) {
        self.is_settled = true;
        let strays = std::mem::take(&mut self.has_strays);
        self.settle(strays).await;
    }

    async fn settle(&self, sweep: bool) {
        if let Err(error) = self.try_to_settle(sweep).await {
            tracing::warn!(table = self.location, query = self.prefix, %error, "files of a query will be swept later");
        }
    }

    async fn try_to_settle(&self, sweep: bool) -> Result<()> {
        if sweep {
            sweep_query(&self.runtime, &self.location, &self.prefix, &self.kept).await?;
        }
        if self.kept.is_empty() && sweep {
            // A task that is being stopped may still end a file: the sweeper looks again.
            return Ok(());
        }
        self.catalog.forget_location(&mark(&self.location, &self.prefix)).await
    }
}

impl Drop for WrittenFiles {
    fn drop(&mut self) {
        if self.is_settled {
            return;
        }
        let remains = Self {
            runtime: Arc::clone(&self.runtime),
            catalog: Arc::clone(&self.catalog),
            location: std::mem::take(&mut self.location),
            prefix: std::mem::take(&mut self.prefix),
            kept: Vec::new(),
            has_strays: true,
            is_settled: true,
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { remains.settle(true).await });
        }
    }
}

/// What the catalog notes: a location, and which files there.
pub(crate) fn mark(location: &str, prefix: &str) -> String {
    format!("{location}#{prefix}")
}

impl Change<'_> {
    /// Where the rows of this statement go, in a table of these columns.
    pub(crate) fn target(&self, snapshot: &Snapshot) -> WriteTarget {
        WriteTarget {
            location: snapshot.location().to_owned(),
            columns: file_schema(snapshot.stored()),
            partition_columns: snapshot.partition_columns(),
            prefix: self.query_id.to_owned(),
            file_bytes_target: grappe_options(self.statement.state.config()).file_bytes_target,
        }
    }

    /// Runs `input` and writes its rows, which are those of `table`, to files.
    ///
    /// # Errors
    /// Those of the query and of the store; nothing remains then.
    pub(crate) async fn write(&self, table: &DeltaProvider, input: LogicalPlan) -> Result<Written> {
        let target = self.target(table.snapshot());
        self.write_to(target, &self.name, |target| table.with_target(target), input).await
    }

    /// The same, for any target.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub(crate) async fn write_to<P: TableProvider + 'static>(
        &self,
        target: WriteTarget,
        name: &TableReference,
        provider: impl FnOnce(Arc<WriteTarget>) -> P,
        input: LogicalPlan,
    ) -> Result<Written> {
        let mut guard = WrittenFiles::begin(self, &target.location).await?;
        let target = WriteTarget { prefix: guard.prefix.clone(), ..target };
        let source = provider_as_source(Arc::new(provider(Arc::new(target))));
        let op = WriteOp::Insert(InsertOp::Append);
        let plan = LogicalPlan::Dml(DmlStatement::new(name.clone(), source, op, Arc::new(input)));
        let (batches, mode) = self.read(plan).await?;
        let (files, rows) = written_files(&batches)?;
        guard.kept = files.clone();
        guard.has_strays = mode != Mode::Local;
        Ok(Written { files, rows, guard })
    }

    /// Runs `plan` where such a plan runs.
    ///
    /// # Errors
    /// Those of planning and running it.
    pub(crate) async fn read(&self, plan: LogicalPlan) -> Result<(Vec<RecordBatch>, Mode)> {
        let statement = Statement { plan, ..self.statement.clone() };
        let engine = self.session.engine();
        let choice = engine.modes().choose(&statement.state, &statement.plan).await?;
        let mode = choice.execution.mode();
        let running = engine.run(self.query_id, statement, choice).await?;
        Ok((running.stream()?.try_collect().await?, mode))
    }
}
