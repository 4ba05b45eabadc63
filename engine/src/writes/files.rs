//! Rows to files, and who cleans up if they do not become a table's.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::LogicalPlan;
use deltalake::kernel::Add;
use futures::TryStreamExt;
use uuid::Uuid;

use super::Change;
use super::lease::Lease;
use crate::config::grappe_options;
use crate::delta::{DeltaProvider, file_schema, sweep_query};
use crate::execution::Mode;
use crate::sinks::{RowsInto, WriteKind, WriteTarget, added, reported};
use crate::sql::Statement;
use crate::{Error, ErrorKind, Result};

/// Files that a query has written.
pub(crate) struct Written {
    pub(crate) files: Vec<Add>,
    pub(crate) rows: u64,
    /// Removes them, unless they are told that they belong.
    pub(crate) guard: WrittenFiles,
}

/// The files of a query that no version of its table names yet. They are removed when this is dropped.
pub(crate) struct WrittenFiles {
    prefix: String,
    /// Nothing once it is settled whose they are.
    open: Option<OpenFiles>,
}

struct OpenFiles {
    runtime: Arc<RuntimeEnv>,
    lease: Lease,
    location: String,
    prefix: String,
    kept: Vec<Add>,
    /// Whether tasks may have been run twice: then there are more files than those that were named.
    has_strays: bool,
}

impl WrittenFiles {
    /// Notes that files are going to be written, for the case that this process ends before they belong.
    async fn begin(change: &Change<'_>, location: &str) -> Result<Self> {
        let engine = change.session.engine();
        // A statement that is tried again writes under another name: what the first try has left is swept meanwhile.
        let prefix = format!("{}-{}", change.query_id, &Uuid::new_v4().simple().to_string()[..8]);
        let open = OpenFiles {
            runtime: Arc::clone(engine.runtime()),
            lease: Lease::take(engine, mark(location, &prefix)).await?,
            location: location.to_owned(),
            prefix: prefix.clone(),
            kept: Vec::new(),
            has_strays: false,
        };
        Ok(Self { prefix, open: Some(open) })
    }

    /// Those that were named, of a plan that ran in this mode.
    fn named(&mut self, files: &[Add], mode: Mode) {
        if let Some(open) = &mut self.open {
            open.kept = files.to_vec();
            open.has_strays = mode != Mode::Local;
        }
    }

    /// What their names begin with, and the transaction under which they are committed.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Makes sure that they are all there still, before they are committed.
    ///
    /// # Errors
    /// `Unavailable` if they may have been swept.
    pub(crate) async fn renew(&self) -> Result<()> {
        match &self.open {
            Some(open) => open.lease.renew().await,
            None => Ok(()),
        }
    }

    /// They are part of the table now.
    pub(crate) async fn belong(mut self) {
        if let Some(open) = self.open.take() {
            let (location, prefix) = (open.location.clone(), open.prefix.clone());
            if let Err(error) = open.belong().await {
                tracing::warn!(table = location, query = prefix, %error, "files of a query will be swept later");
            }
        }
    }

    /// They will never be part of a table. `error` is why, unless they are gone already.
    async fn give_up(mut self, error: Error) -> Error {
        let Some(open) = self.open.take() else { return error };
        let error = open.lease.renew().await.err().filter(|late| late.kind == ErrorKind::Unavailable).unwrap_or(error);
        open.lease.give_up().await;
        error
    }
}

impl OpenFiles {
    async fn belong(self) -> Result<()> {
        if self.has_strays {
            sweep_query(&self.runtime, &self.location, &self.prefix, &self.kept).await?;
        }
        if self.has_strays && self.kept.is_empty() {
            // A task that is being stopped may still end a file: the sweeper looks again.
            return Ok(());
        }
        self.lease.end().await
    }
}

impl Drop for WrittenFiles {
    fn drop(&mut self) {
        let Some(open) = self.open.take() else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(open.lease.give_up());
        }
    }
}

/// What the catalog notes: a location, and which files there.
pub(crate) fn mark(location: &str, prefix: &str) -> String {
    format!("{location}#{prefix}")
}

impl Change<'_> {
    /// Runs `input` and writes its rows, which are those of `table`, to files.
    ///
    /// # Errors
    /// Those of the query and of the store; nothing remains then.
    pub(crate) async fn write(&self, table: &DeltaProvider, input: LogicalPlan) -> Result<Written> {
        table.refuse_special()?;
        let snapshot = table.snapshot();
        self.write_to(snapshot.location(), file_schema(snapshot.stored()), snapshot.partition_columns(), input).await
    }

    /// The same, for any location of a table with these columns in its files.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub(crate) async fn write_to(
        &self,
        location: &str,
        columns: SchemaRef,
        partition_columns: Vec<String>,
        input: LogicalPlan,
    ) -> Result<Written> {
        let mut guard = WrittenFiles::begin(self, location).await?;
        let kind = WriteKind::Table {
            prefix: guard.prefix.clone(),
            file_bytes_target: grappe_options(self.statement.state.config()).file_bytes_target,
        };
        let target = WriteTarget { location: location.to_owned(), columns, partition_columns, kind };
        let (batches, mode) = match self.read(RowsInto::insert(&self.name, target, input)).await {
            Ok(read) => read,
            Err(error) => return Err(guard.give_up(error).await),
        };
        let (files, rows) = added(&reported(&batches)?)?;
        guard.named(&files, mode);
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
