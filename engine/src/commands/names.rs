//! ALTER ... RENAME, ALTER VIEW ... AS and COMMENT ON: what the catalog says of tables, and not what they hold.

use datafusion::common::{SchemaReference, TableReference};
use datafusion::execution::SessionState;

use crate::catalog::{Catalog, StandIns, TableKind, TableName};
use crate::config::CATALOG;
use crate::session::{Session, Started};
use crate::sql::{Command, Commented, table_name};
use crate::{Error, ErrorKind, Result};

impl Session {
    pub(super) async fn change_names(&self, query_id: &str, state: &SessionState, command: &Command) -> Result<()> {
        match command {
            Command::RenameTable { table, if_exists, to } => {
                missing_is_fine(self.rename(state, table, to, TableKind::Table).await, *if_exists)
            }
            Command::RenameView { view, if_exists, to } => {
                missing_is_fine(self.rename(state, view, to, TableKind::View).await, *if_exists)
            }
            Command::RenameSchema { schema, if_exists, to } => {
                let renamed = self.catalog().rename_schema(&schema_name(schema)?, &schema_name(to)?).await;
                missing_is_fine(renamed, *if_exists)
            }
            Command::ReplaceView { view, sql } => self.replace_view(query_id, state, view, sql).await,
            Command::Comment { on, comment } => self.comment(state, on, comment.as_deref()).await,
            _ => Err(Error::internal("this command changes no name")),
        }
    }

    /// The new name is in the schema of the old one, unless it says another.
    async fn rename(
        &self,
        state: &SessionState,
        from: &TableReference,
        to: &TableReference,
        kind: TableKind,
    ) -> Result<()> {
        let from = self.catalog().meant(&table_name(state, from.clone())?).await?;
        let to = match to.schema() {
            Some(_) => table_name(state, to.clone())?,
            None => TableName { schema: from.schema.clone(), table: to.table().to_owned() },
        };
        self.catalog().rename_table(&from, &to, kind).await
    }

    async fn replace_view(&self, query_id: &str, state: &SessionState, view: &TableReference, sql: &str) -> Result<()> {
        let (name, entry) = self.entry_of(state, view).await?;
        if entry.definition.kind() != TableKind::View {
            return Err(Error::invalid(format!("\"{name}\" is a table: ALTER VIEW is for views")));
        }
        let statement = self.plan_with(sql, StandIns::new()).await?;
        let choice = self.engine().modes().local("it changes the catalog");
        match Box::pin(self.start(query_id, statement, choice)).await? {
            Started::Done { .. } => Ok(()),
            Started::Rows(_) => Err(Error::internal("a view that was changed gave rows")),
        }
    }

    async fn comment(&self, state: &SessionState, on: &Commented, comment: Option<&str>) -> Result<()> {
        let catalog = self.catalog();
        let (reference, kind, column) = match on {
            Commented::Schema(schema) => return catalog.comment_on_schema(&schema_name(schema)?, comment).await,
            Commented::Table(table) => (table, Some(TableKind::Table), None),
            Commented::View(view) => (view, Some(TableKind::View), None),
            Commented::Column(table, column) => (table, None, Some(column.as_str())),
        };
        let (name, entry) = self.entry_of(state, reference).await?;
        if let Some(column) = column
            && entry.definition.columns().field_with_name(column).is_err()
        {
            return Err(Error::not_found(format!("column \"{column}\" of \"{name}\" does not exist")));
        }
        catalog.comment_on_table(&name, kind, column, comment).await
    }
}

fn schema_name(reference: &SchemaReference) -> Result<String> {
    match reference {
        SchemaReference::Bare { schema } => Ok(schema.to_string()),
        SchemaReference::Full { schema, catalog } if catalog.as_ref() == CATALOG => Ok(schema.to_string()),
        SchemaReference::Full { catalog, .. } => {
            Err(Error::not_found(format!("there is no catalog \"{catalog}\"; the only one is \"{CATALOG}\"")))
        }
    }
}

fn missing_is_fine(done: Result<()>, if_exists: bool) -> Result<()> {
    match done {
        Err(error) if error.kind == ErrorKind::NotFound && if_exists => Ok(()),
        other => other,
    }
}
