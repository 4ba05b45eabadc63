//! INSERT: rows that join a table, or take the place of all that it has.

use datafusion::logical_expr::LogicalPlan;
use deltalake::kernel::Action;
use deltalake::protocol::{DeltaOperation, SaveMode};

use super::{Change, TRIES_MAX, Try, with_checks};
use crate::delta::DeltaProvider;
use crate::{Error, Result};

impl Change<'_> {
    /// Writes the rows of `input`; how many they were.
    pub(super) async fn insert(&self, table: &DeltaProvider, input: &LogicalPlan, overwrite: bool) -> Result<u64> {
        let snapshot = table.snapshot();
        let (name, checks) = (self.name.to_string(), snapshot.checks());
        let input = with_checks(&self.statement.state, &name, snapshot.columns(), &checks, input.clone())?;
        let written = self.write(table, input).await?;
        if written.files.is_empty() && !overwrite {
            written.guard.belong().await;
            return Ok(0);
        }
        let partition_by = Some(snapshot.partition_columns()).filter(|columns| !columns.is_empty());
        let mode = if overwrite { SaveMode::Overwrite } else { SaveMode::Append };
        let operation = DeltaOperation::Write { mode, partition_by, predicate: None };
        let mut table = table.clone();
        let mut guard = Some(written.guard);
        for tries in 1.. {
            let mut actions: Vec<Action> = written.files.iter().cloned().map(Action::Add).collect();
            if overwrite {
                actions.extend(removals(&table)?);
            }
            let conflict = match self.commit(&table, actions, operation.clone(), &mut guard, written.rows).await? {
                Try::Done(rows) => return Ok(rows),
                Try::Conflict(error) => error,
            };
            if tries >= TRIES_MAX {
                return Err(conflict);
            }
            table = table.with_snapshot(self.newest(&table).await?);
        }
        Err(Error::internal("an INSERT was tried for ever"))
    }

    /// Removes all rows without looking at them.
    pub(super) async fn remove_all(&self, table: &DeltaProvider) -> Result<Try> {
        let files = table.snapshot().files()?;
        let rows = files.iter().filter_map(|file| {
            let statistics = file.scanned.statistics.as_ref()?;
            statistics.num_rows.get_value().map(|rows| *rows as u64)
        });
        let rows = rows.sum();
        let operation = DeltaOperation::Delete { predicate: None };
        self.commit(table, removals(table)?, operation, &mut None, rows).await
    }
}

/// Removals of every file of a version.
pub(crate) fn removals(table: &DeltaProvider) -> Result<Vec<Action>> {
    let log = table.snapshot().log()?.log_data();
    Ok(log.iter().map(|file| Action::Remove(file.remove_action(true))).collect())
}
