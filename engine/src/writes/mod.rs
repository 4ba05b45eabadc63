//! Statements that change the rows of a table: planned like queries, run in any mode, and committed once.
//!
//! Every one of them is a plan whose rows go to new files ([`files`]), and a commit that adds these and removes those
//! that they replace. INSERT only adds; DELETE and UPDATE write the remaining and the changed rows of the files that they
//! touch ([`change`]); MERGE does both ([`merge`]). When another writer was first, a statement that only adds is committed
//! after it, and any other is done again on what is there then.

mod change;
mod create;
mod files;
mod insert;
mod lease;
mod merge;
mod rules;
mod sweeper;

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::common::tree_node::Transformed;
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{DmlStatement, LogicalPlan, TableSource, WriteOp};
use deltalake::kernel::Action;
use deltalake::protocol::DeltaOperation;

use crate::delta::{DeltaProvider, NotCommitted, Snapshot, commit};
use crate::session::Session;
use crate::sql::Statement;
use crate::{Error, Result};

pub(crate) use change::refuse_unchangeable;
pub(crate) use files::WrittenFiles;
pub(crate) use insert::removals;
pub(crate) use lease::Lease;
pub(crate) use rules::with_checks;

/// Times that a statement is done again because another writer was first.
const TRIES_MAX: usize = 30;

/// The Delta table behind `source`, if it is one.
pub(crate) fn delta_table(source: &Arc<dyn TableSource>) -> Option<DeltaProvider> {
    let provider = source_as_provider(source).ok()?;
    provider.downcast_ref::<DeltaProvider>().cloned()
}

/// A statement that changes a Delta table.
pub(crate) struct Change<'a> {
    pub(crate) session: &'a Session,
    pub(crate) query_id: &'a str,
    pub(crate) statement: &'a Statement,
    pub(crate) name: TableReference,
}

impl Session {
    /// Carries out `dml` if it changes a Delta table; how many rows it has written, changed or removed.
    ///
    /// # Errors
    /// Those of the query; `Invalid` naming a constraint that a row breaks; `Unavailable` if other writers were always
    /// first.
    pub(crate) async fn change_rows(
        &self,
        query_id: &str,
        statement: &Statement,
        dml: &DmlStatement,
    ) -> Result<Option<u64>> {
        let Some(table) = delta_table(&dml.target) else { return Ok(None) };
        let change = Change { session: self, query_id, statement, name: dml.table_name.clone() };
        let rows = match &dml.op {
            WriteOp::Insert(InsertOp::Append) => change.insert(&table, &dml.input, false).await?,
            WriteOp::Insert(InsertOp::Overwrite) => change.insert(&table, &dml.input, true).await?,
            _ => change.until_first(table, dml.clone()).await?,
        };
        Ok(Some(rows))
    }
}

/// What one try came to.
pub(crate) enum Try {
    /// It is done; so many rows.
    Done(u64),
    /// Another writer was first.
    Conflict(Error),
}

impl Change<'_> {
    /// Tries until no other writer is first: each time on what is there then.
    async fn until_first(&self, mut table: DeltaProvider, mut dml: DmlStatement) -> Result<u64> {
        let mut tries = 1;
        loop {
            let conflict = match self.attempt(&table, &dml).await? {
                Try::Done(rows) => return Ok(rows),
                Try::Conflict(error) => error,
            };
            if tries >= TRIES_MAX {
                return Err(conflict);
            }
            tries += 1;
            tracing::info!(query = self.query_id, tries, reason = %conflict, "another writer was first");
            let newest = self.newest(&table).await?;
            table = table.with_snapshot(Arc::clone(&newest));
            dml.input = Arc::new(replace_snapshot(dml.input.as_ref(), &newest)?);
            dml.target = provider_as_source(Arc::new(table.clone()));
        }
    }

    async fn attempt(&self, table: &DeltaProvider, dml: &DmlStatement) -> Result<Try> {
        match &dml.op {
            WriteOp::Truncate => self.remove_all(table).await,
            WriteOp::Delete => self.delete(table, dml).await,
            WriteOp::Update => self.update(table, dml).await,
            WriteOp::MergeInto(merge) => self.merge(table, dml, merge).await,
            other => Err(Error::invalid(format!("{} is not supported for this table", other.name()))),
        }
    }

    /// The newest version; the statement was planned on the same columns.
    async fn newest(&self, table: &DeltaProvider) -> Result<Arc<Snapshot>> {
        let engine = self.session.engine();
        let newest = engine.delta().newest(engine.runtime(), table.snapshot().location()).await?;
        if newest.columns() != table.snapshot().columns() {
            let message =
                format!("the columns of table \"{}\" were changed meanwhile: run the statement again", self.name);
            return Err(Error::unavailable(message));
        }
        Ok(newest)
    }

    /// Commits, and does not stop half way if whoever asked for it goes away. Files in `written` belong then; they are
    /// left there if another writer was first.
    pub(crate) async fn commit(
        &self,
        table: &DeltaProvider,
        actions: Vec<Action>,
        operation: DeltaOperation,
        written: &mut Option<WrittenFiles>,
        rows: u64,
    ) -> Result<Try> {
        self.commit_as(table, actions, operation, written, rows, false).await
    }

    /// As [`Self::commit`]; any commit of another writer is a conflict.
    pub(crate) async fn commit_alone(
        &self,
        table: &DeltaProvider,
        actions: Vec<Action>,
        operation: DeltaOperation,
        written: &mut Option<WrittenFiles>,
    ) -> Result<Try> {
        self.commit_as(table, actions, operation, written, 0, true).await
    }

    async fn commit_as(
        &self,
        table: &DeltaProvider,
        actions: Vec<Action>,
        operation: DeltaOperation,
        written: &mut Option<WrittenFiles>,
        rows: u64,
        is_alone: bool,
    ) -> Result<Try> {
        let (snapshot, query_id) = (Arc::clone(table.snapshot()), self.query_id.to_owned());
        let files = written.take();
        let transaction = files.as_ref().map_or(self.query_id, WrittenFiles::prefix).to_owned();
        #[expect(clippy::disallowed_methods, reason = "a commit that was begun ends, whoever goes away")]
        let committed = tokio::spawn(async move {
            if let Some(files) = &files
                && let Err(error) = files.renew().await
            {
                return Err((NotCommitted::Error(error), None));
            }
            match (commit(&snapshot, actions, operation, &query_id, &transaction, is_alone).await, files) {
                (Ok(version), Some(files)) => {
                    files.belong().await;
                    Ok(version)
                }
                (Ok(version), None) => Ok(version),
                (Err(error), files) => Err((error, files)),
            }
        });
        match committed.await.map_err(|error| Error::internal(format!("a commit failed: {error}")))? {
            Ok(version) => {
                tracing::debug!(query = self.query_id, table = %self.name, version, "committed");
                Ok(Try::Done(rows))
            }
            Err((NotCommitted::Conflict(error), files)) => {
                *written = files;
                Ok(Try::Conflict(error))
            }
            Err((NotCommitted::Error(error), _)) => Err(error),
        }
    }
}

/// `plan` with the newest version of a table wherever it reads that table.
fn replace_snapshot(plan: &LogicalPlan, newest: &Arc<Snapshot>) -> Result<LogicalPlan> {
    let replaced = plan.clone().transform_down_with_subqueries(|node| {
        let LogicalPlan::TableScan(mut scan) = node else { return Ok(Transformed::no(node)) };
        match delta_table(&scan.source) {
            Some(table) if table.snapshot().location() == newest.location() => {
                scan.source = provider_as_source(Arc::new(table.with_snapshot(Arc::clone(newest))));
                Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
            }
            _ => Ok(Transformed::no(LogicalPlan::TableScan(scan))),
        }
    });
    Ok(replaced?.data)
}

/// A scan of `provider` under the name that a statement gives it.
pub(crate) fn scan(name: TableReference, provider: impl TableProvider + 'static) -> Result<LogicalPlan> {
    let source = provider_as_source(Arc::new(provider));
    let plan = datafusion::logical_expr::LogicalPlanBuilder::scan(name, source, None).and_then(|plan| plan.build());
    plan.map_err(|error: DataFusionError| error.into())
}

/// `table` as the target of a statement.
pub(crate) fn table_source(table: DeltaProvider) -> Arc<dyn TableSource> {
    provider_as_source(Arc::new(table))
}
