//! Catalogs and schemas, USE, ALTER ... RENAME, ALTER VIEW ... AS and COMMENT ON: what the catalog says of tables, and not
//! what they hold.

use datafusion::catalog::information_schema::INFORMATION_SCHEMA;
use datafusion::common::{SchemaReference, TableReference};
use datafusion::execution::SessionState;

use crate::catalog::{Catalog, SYSTEM_SCHEMA, StandIns, TEMPORARY_SCHEMA, TableKind};
use crate::config::SCHEMA;
use crate::session::{Session, Started};
use crate::sql::{Command, Commented, DEFAULT_CATALOG, DEFAULT_SCHEMA, Used, schema_name, table_name};
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
                let renamed = self.rename_schema(state, schema, to).await;
                missing_is_fine(renamed, *if_exists)
            }
            Command::CreateCatalog { catalog, if_not_exists } => {
                existing_is_fine(self.catalog().create_catalog(catalog).await, *if_not_exists)
            }
            Command::DropCatalog { catalog, if_exists, cascade } => {
                missing_is_fine(self.catalog().drop_catalog(catalog, *cascade).await, *if_exists)
            }
            Command::CreateSchema { schema, if_not_exists } => {
                existing_is_fine(self.create_schema(state, schema).await, *if_not_exists)
            }
            Command::DropSchema { schema, if_exists, cascade } => {
                let dropped = self.catalog().drop_schema(&schema_name(state, schema), *cascade).await;
                missing_is_fine(dropped, *if_exists)
            }
            Command::Use(used) => self.use_names(state, used).await,
            Command::ReplaceView { view, sql } => self.replace_view(query_id, state, view, sql).await,
            Command::Comment { on, comment } => self.comment(state, on, comment.as_deref()).await,
            _ => Err(Error::internal("this command changes no name")),
        }
    }

    async fn create_schema(&self, state: &SessionState, schema: &SchemaReference) -> Result<()> {
        let name = schema_name(state, schema);
        if [INFORMATION_SCHEMA, SYSTEM_SCHEMA, TEMPORARY_SCHEMA].contains(&name.schema.as_str()) {
            return Err(Error::already_exists(format!("schema \"{name}\" is always there")));
        }
        self.catalog().create_schema(&name).await
    }

    /// A schema stays in its catalog.
    async fn rename_schema(&self, state: &SessionState, from: &SchemaReference, to: &SchemaReference) -> Result<()> {
        let from = schema_name(state, from);
        let to = match to {
            SchemaReference::Full { catalog, .. } if **catalog != *from.catalog => {
                let message =
                    format!("schema \"{from}\" cannot move to catalog \"{catalog}\": its tables can, one by one");
                return Err(Error::invalid(message));
            }
            SchemaReference::Full { schema, .. } | SchemaReference::Bare { schema } => schema,
        };
        self.catalog().rename_schema(&from, to).await
    }

    async fn use_names(&self, state: &SessionState, used: &Used) -> Result<()> {
        let schema = match used {
            Used::Default => {
                self.reset_option(DEFAULT_CATALOG)?;
                return self.reset_option(DEFAULT_SCHEMA);
            }
            Used::Catalog(catalog) => return self.use_catalog(catalog).await,
            Used::Schema(schema) => schema_name(state, schema),
            Used::Either(name) => {
                let schema = schema_name(state, &SchemaReference::Bare { schema: name.as_str().into() });
                if !self.schemas().await?.contains(&schema) && self.catalogs().await?.contains(name) {
                    return self.use_catalog(name).await;
                }
                schema
            }
        };
        self.use_schema(&schema).await
    }

    async fn use_catalog(&self, catalog: &str) -> Result<()> {
        self.set_option(DEFAULT_CATALOG, catalog).await?;
        self.set_option(DEFAULT_SCHEMA, SCHEMA).await
    }

    /// The new name is in the schema of the old one, unless it says another.
    async fn rename(
        &self,
        state: &SessionState,
        from: &TableReference,
        to: &TableReference,
        kind: TableKind,
    ) -> Result<()> {
        let from = self.catalog().meant(&table_name(state, from.clone())).await?;
        let to = match to.schema() {
            Some(_) => table_name(state, to.clone()),
            None => from.schema.table(to.table()),
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
            Commented::Schema(schema) => return catalog.comment_on_schema(&schema_name(state, schema), comment).await,
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

fn existing_is_fine(done: Result<()>, if_not_exists: bool) -> Result<()> {
    match done {
        Err(error) if error.kind == ErrorKind::AlreadyExists && if_not_exists => Ok(()),
        other => other,
    }
}

fn missing_is_fine(done: Result<()>, if_exists: bool) -> Result<()> {
    match done {
        Err(error) if error.kind == ErrorKind::NotFound && if_exists => Ok(()),
        other => other,
    }
}
