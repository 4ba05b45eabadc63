//! ALTER TABLE: a new version with other columns or rules. Where files would hold something else than the columns say,
//! they are written anew in the same commit; the table is never half changed.

use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::common::TableReference;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::ident;
use deltalake::kernel::Action;
use deltalake::protocol::{DeltaOperation, SaveMode};

use super::Named;
use super::maintain::all_rows;
use super::shape::Shape;
use crate::catalog::{Catalog, DeltaDefinition, TableDefinition};
use crate::delta::{altered, file_schema, meant_schema, stored_schema};
use crate::session::Session;
use crate::sql::{Names, Statement, TableChange};
use crate::writes::{Change, Try, WrittenFiles, refuse_unchangeable, removals, with_checks};
use crate::{ErrorKind, Result};

/// Times that the change is made again because another writer was first.
const TRIES_MAX: usize = 10;

impl Session {
    pub(super) async fn alter_table(
        &self,
        query_id: &str,
        statement: &Statement,
        reference: &TableReference,
        if_exists: bool,
        changes: &[TableChange],
    ) -> Result<()> {
        let mut tries = 1;
        loop {
            let table = match self.delta_table(&statement.state, reference).await {
                Err(error) if error.kind == ErrorKind::NotFound && if_exists => return Ok(()),
                other => other?,
            };
            match self.alter(query_id, statement, &table, changes).await? {
                Try::Done(_) => return Ok(()),
                Try::Conflict(error) if tries >= TRIES_MAX => return Err(error),
                Try::Conflict(_) => tries += 1,
            }
        }
    }

    async fn alter(
        &self,
        query_id: &str,
        statement: &Statement,
        table: &Named,
        changes: &[TableChange],
    ) -> Result<Try> {
        let names = Names::of(statement.state.config_options());
        let mut shape = Shape::of(table, names);
        for change in changes {
            shape.change(&statement.state, change)?;
        }
        let change = Change { session: self, query_id, statement, name: table.reference() };
        let stored = stored_schema(&shape.schema())?;
        let (mut actions, mut written) = (Vec::new(), None);
        if shape.is_rewritten {
            refuse_unchangeable(&table.provider())?;
            let (files, guard) = change.rewrite(table, &shape, &stored).await?;
            actions.extend(removals(&table.provider())?);
            actions.extend(files);
            written = Some(guard);
        } else if shape.is_stricter {
            change.look_for_breaches(table, &shape).await?;
        }
        actions.extend(altered(&table.snapshot, &stored, &shape.checks, &shape.properties)?);
        let operation = DeltaOperation::Write { mode: SaveMode::Overwrite, partition_by: None, predicate: None };
        let done = change.commit_alone(&table.provider(), actions, operation, &mut written).await?;
        if let Try::Done(_) = done {
            let definition = DeltaDefinition {
                columns: meant_schema(&stored),
                defaults: shape.defaults,
                primary_key: shape.primary_key,
                ..table.definition.as_ref().clone()
            };
            let catalog = self.catalog();
            catalog.redefine_table(&table.name, table.entry.id, TableDefinition::Delta(Arc::new(definition))).await?;
            for (column, comment) in shape.comments {
                catalog.comment_on_table(&table.name, None, Some(&column), Some(&comment)).await?;
            }
        }
        Ok(done)
    }

    /// Tells the catalog which columns a table has now.
    pub(super) async fn tell_catalog(&self, table: &Named) -> Result<()> {
        let newest = self.engine().delta().newest(self.engine().runtime(), table.snapshot.location()).await?;
        let definition = DeltaDefinition {
            columns: Arc::clone(newest.columns()),
            partition_columns: newest.partition_columns(),
            ..table.definition.as_ref().clone()
        };
        let definition = TableDefinition::Delta(Arc::new(definition));
        self.catalog().redefine_table(&table.name, table.entry.id, definition).await
    }
}

impl Change<'_> {
    /// All rows in the new columns, in new files.
    async fn rewrite(&self, table: &Named, shape: &Shape, stored: &Schema) -> Result<(Vec<Action>, WrittenFiles)> {
        let columns = meant_schema(stored);
        let rows = self.in_shape(table, shape)?;
        let rows = with_checks(&self.statement.state, &table.name.to_string(), &columns, &shape.checks, rows)?;
        let (location, directories) = (table.snapshot.location(), shape.partition_columns.clone());
        let written = self.write_to(location, file_schema(stored), directories, rows).await?;
        Ok((written.files.into_iter().map(Action::Add).collect(), written.guard))
    }

    /// # Errors
    /// `Invalid` naming the rule and a row that breaks it.
    async fn look_for_breaches(&self, table: &Named, shape: &Shape) -> Result<()> {
        let rows = self.in_shape(table, shape)?;
        let name = table.name.to_string();
        let rows = with_checks(&self.statement.state, &name, &shape.schema(), &shape.checks, rows)?;
        // The rules stand in the first column: whatever is not read is not checked.
        let Some(first) = shape.columns.first() else { return Ok(()) };
        let counted = count(ident(first.field.name().as_str()));
        let counted = LogicalPlanBuilder::from(rows).aggregate(Vec::<Expr>::new(), [counted])?.build()?;
        self.read(counted).await.map(|_| ())
    }

    fn in_shape(&self, table: &Named, shape: &Shape) -> Result<LogicalPlan> {
        let columns = shape.columns.iter().map(|column| column.value.clone().alias(column.field.name().as_str()));
        Ok(LogicalPlanBuilder::from(all_rows(table)?).project(columns.collect::<Vec<_>>())?.build()?)
    }
}
