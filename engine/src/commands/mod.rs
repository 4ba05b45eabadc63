//! Statements that are no plans: catalogs and schemas, USE, ALTER, COMMENT, OPTIMIZE, VACUUM, RESTORE, ANALYZE, DESCRIBE HISTORY, SHOW LIMITS.
//!
//! What shows something is done when it is planned, and becomes a query over the rows that it found.

mod alter;
mod configure;
mod history;
mod maintain;
mod names;
mod shape;

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::common::TableReference;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};

use crate::catalog::{Catalog, DeltaDefinition, TableDefinition, TableEntry, TableName};
use crate::delta::{DeltaProvider, Snapshot};
use crate::session::Session;
use crate::sql::{Command, Statement, table_name};
use crate::{Error, Result};

/// A Delta table that a command names.
pub(super) struct Named {
    pub(super) name: TableName,
    pub(super) entry: TableEntry,
    pub(super) definition: Arc<DeltaDefinition>,
    pub(super) snapshot: Arc<Snapshot>,
}

impl Named {
    /// The table as a plan reads it.
    pub(super) fn provider(&self) -> DeltaProvider {
        DeltaProvider::new(Arc::clone(&self.snapshot), false)
    }

    /// How a plan names it.
    pub(super) fn reference(&self) -> TableReference {
        self.name.reference()
    }
}

impl Session {
    /// The statement that a command is.
    ///
    /// # Errors
    /// Those of a command that shows something.
    pub(crate) async fn plan_command(&self, sql: &str, command: Command, state: SessionState) -> Result<Statement> {
        let shown = match &command {
            Command::History { table, limit } => Some(self.history(&state, table, *limit).await?),
            Command::Detail { table } => Some(self.detail(&state, table).await?),
            Command::Limits => Some(configure::limits(&state)?),
            Command::Vacuum { table, retain_hours, is_dry_run: true } => {
                Some(self.files_to_vacuum(&state, table, *retain_hours).await?)
            }
            _ => None,
        };
        match shown {
            Some(rows) => Ok(Statement::new(sql, rows_as_plan(rows)?, state)),
            None => {
                let mut statement = Statement::new(sql, LogicalPlanBuilder::empty(false).build()?, state);
                statement.command = Some(Arc::new(command));
                Ok(statement)
            }
        }
    }

    /// Carries out a command; how many rows it has changed, if it counts them.
    ///
    /// # Errors
    /// Those of the catalog, of the log and of the store.
    pub(crate) async fn run_command(
        &self,
        query_id: &str,
        statement: &Statement,
        command: &Command,
    ) -> Result<Option<u64>> {
        let state = statement.state.as_ref();
        match command {
            Command::Truncate { table } => return self.truncate(query_id, statement, table).await,
            Command::Optimize { table, predicate, zorder_by } => {
                self.optimize(query_id, statement, table, predicate.as_ref(), zorder_by).await?;
            }
            Command::Vacuum { table, retain_hours, .. } => self.vacuum(state, table, *retain_hours).await?,
            Command::Restore { table, to } => self.restore(query_id, state, table, *to).await?,
            Command::Analyze { table, columns } => self.analyze(query_id, statement, table, columns).await?,
            Command::AlterTable { table, if_exists, changes } => {
                self.alter_table(query_id, statement, table, *if_exists, changes).await?;
            }
            Command::RenameTable { .. }
            | Command::RenameView { .. }
            | Command::ReplaceView { .. }
            | Command::RenameSchema { .. }
            | Command::CreateCatalog { .. }
            | Command::DropCatalog { .. }
            | Command::CreateSchema { .. }
            | Command::DropSchema { .. }
            | Command::Use(_)
            | Command::Comment { .. } => self.change_names(query_id, state, command).await?,
            Command::Configure { scope, setting, value } => {
                self.configure_others(state, scope, setting.as_deref(), value.as_deref()).await?;
            }
            Command::History { .. } | Command::Detail { .. } | Command::Limits => {
                return Err(Error::internal("a command that shows something was not planned"));
            }
        }
        Ok(None)
    }

    /// The table that is meant, in the catalog.
    ///
    /// # Errors
    /// `NotFound`.
    pub(super) async fn entry_of(
        &self,
        state: &SessionState,
        reference: &TableReference,
    ) -> Result<(TableName, TableEntry)> {
        let name = self.catalog().meant(&table_name(state, reference.clone())).await?;
        let entry = self.catalog().table(&name).await?;
        let entry = entry.ok_or_else(|| Error::not_found(format!("table \"{name}\" does not exist")))?;
        Ok((name, entry))
    }

    /// The Delta table that is meant, at its newest version.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` if it is something else.
    pub(super) async fn delta_table(&self, state: &SessionState, reference: &TableReference) -> Result<Named> {
        let (name, entry) = self.entry_of(state, reference).await?;
        let TableDefinition::Delta(definition) = &entry.definition else {
            let kind = match entry.definition {
                TableDefinition::View(_) => "a view",
                TableDefinition::Memory(_) => "a temporary table",
                _ => "an external table",
            };
            return Err(Error::invalid(format!("\"{name}\" is {kind}: this is for Delta tables (CREATE TABLE)")));
        };
        let definition = Arc::clone(definition);
        let snapshot = self.engine().delta().newest(self.engine().runtime(), &definition.location).await?;
        Ok(Named { name, entry, definition, snapshot })
    }
}

fn rows_as_plan(rows: RecordBatch) -> Result<LogicalPlan> {
    let table = MemTable::try_new(rows.schema(), vec![vec![rows]])?;
    let source = provider_as_source(Arc::new(table));
    Ok(LogicalPlanBuilder::scan("description", source, None)?.build()?)
}
