//! CREATE TABLE: a new Delta table, with the rows of a query or none. Its first version holds all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::common::{Constraint, TableReference};
use datafusion::logical_expr::{CreateMemoryTable, Expr, LogicalPlan};
use datafusion::sql::unparser::expr_to_sql;
use uuid::Uuid;

use super::{Change, with_checks};
use crate::catalog::{Catalog, DeltaDefinition, TEMPORARY_SCHEMA, TableDefinition, TableName};
use crate::config::grappe_options;
use crate::delta::{NewRows, NewTable, WriteTarget, file_schema, meant_schema, stored_schema, sweep_table};
use crate::session::Session;
use crate::sql::{Statement, is_settled, new_name, refuse_duplicates, table_schema};
use crate::storage::directory_url;
use crate::{Error, Result};

/// Days after which the log of a table forgets which queries have written to it.
const TRANSACTIONS_KEPT: (&str, &str) = ("delta.setTransactionRetentionDuration", "interval 30 days");

impl Session {
    /// Whether a table of this name is the session's own.
    pub(crate) fn is_temporary(&self, name: &TableReference) -> bool {
        name.schema() == Some(TEMPORARY_SCHEMA)
    }

    /// Makes a managed table; how many rows it has, if they come from a query.
    ///
    /// # Errors
    /// `AlreadyExists`; those of the query; `Invalid` for columns that cannot be kept.
    pub(crate) async fn create_table(
        &self,
        query_id: &str,
        statement: &Statement,
        command: &CreateMemoryTable,
    ) -> Result<Option<u64>> {
        let catalog = self.catalog();
        let name = new_name(&statement.state, command.name.clone(), command.temporary)?;
        if is_settled(&catalog, &name, command.if_not_exists, command.or_replace).await? {
            return Ok(None);
        }
        refuse_duplicates(command.input.schema())?;
        let change = Change { session: self, query_id, statement, name: command.name.clone() };
        let new = change.new_table(&name, command)?;
        self.make(&change, &name, new, command.or_replace, Some(command.input.as_ref())).await
    }

    /// Makes the table that is described, with the rows of `input`.
    async fn make(
        &self,
        change: &Change<'_>,
        name: &TableName,
        new: Described,
        replace: bool,
        input: Option<&LogicalPlan>,
    ) -> Result<Option<u64>> {
        let (catalog, runtime) = (self.catalog(), self.engine().runtime());
        let Described { table, definition } = new;
        let location = table.location.clone();
        catalog.reserve_location(&location).await?;
        let made = async {
            let written = change.first_rows(name, &table, input).await?;
            let (files, rows) = written.unzip();
            table.create(runtime, files.unwrap_or_default(), change.query_id).await?;
            let definition = TableDefinition::Delta(Arc::new(definition));
            catalog.create_table(name, definition, replace).await?;
            Ok(rows)
        };
        match made.await {
            Ok(rows) => {
                change.tell_comments(name).await?;
                Ok(rows)
            }
            Err(error) => {
                // Nobody knows of it. A task that is being stopped may still end a file: the sweeper looks again.
                if let Err(also) = sweep_table(runtime, &location).await {
                    tracing::warn!(location, error = %also, "files of a table that was not made will be swept later");
                }
                Err(error)
            }
        }
    }
}

/// A table to be, in Delta Lake's words and in the catalog's.
struct Described {
    table: NewTable,
    definition: DeltaDefinition,
}

impl Change<'_> {
    fn new_table(&self, name: &TableName, command: &CreateMemoryTable) -> Result<Described> {
        let columns = table_schema(&command.input, command.input.schema().as_arrow());
        let clauses = self.statement.clauses.as_deref().cloned().unwrap_or_default();
        let stored = stored_schema(&columns)?;
        check_partition_columns(&columns, &clauses.partition_by)?;
        let location = match &clauses.location {
            Some(place) => directory_url(place)?,
            None => self.new_location(name)?,
        };
        let mut properties = clauses.properties.clone();
        properties.entry(TRANSACTIONS_KEPT.0.to_owned()).or_insert_with(|| TRANSACTIONS_KEPT.1.to_owned());
        let definition = DeltaDefinition {
            location: location.clone(),
            columns: meant_schema(&stored),
            partition_columns: clauses.partition_by.clone(),
            defaults: defaults(&command.column_defaults)?,
            primary_key: primary_key(command),
            is_managed: clauses.location.is_none(),
        };
        let table = NewTable {
            location,
            columns: stored,
            partition_columns: clauses.partition_by,
            checks: clauses.checks,
            properties,
            comment: clauses.comment,
        };
        Ok(Described { table, definition })
    }

    /// What the statement says about the table and its columns.
    async fn tell_comments(&self, name: &TableName) -> Result<()> {
        let Some(clauses) = &self.statement.clauses else { return Ok(()) };
        let catalog = self.session.catalog();
        if let Some(comment) = &clauses.comment {
            catalog.comment_on_table(name, None, None, Some(comment)).await?;
        }
        for (column, comment) in &clauses.column_comments {
            catalog.comment_on_table(name, None, Some(column), Some(comment)).await?;
        }
        Ok(())
    }

    /// A directory that no table has had.
    fn new_location(&self, name: &TableName) -> Result<String> {
        let plain = |text: &str| -> String {
            text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).take(64).collect()
        };
        let (schema, table) = (plain(&name.schema), plain(&name.table));
        Ok(format!("{}{schema}/{table}-{}/", self.session.engine().warehouse()?, Uuid::now_v7().simple()))
    }

    /// Writes the rows that a table begins with; nothing if it begins with none.
    async fn first_rows(
        &self,
        name: &TableName,
        table: &NewTable,
        input: Option<&LogicalPlan>,
    ) -> Result<Option<(Vec<deltalake::kernel::Add>, u64)>> {
        let Some(input) = input.filter(|input| !is_declaration(input)) else { return Ok(None) };
        let columns = meant_schema(&table.columns);
        let input = with_checks(&self.statement.state, &name.to_string(), &columns, &table.checks, input.clone())?;
        let target = WriteTarget {
            location: table.location.clone(),
            columns: file_schema(&table.columns),
            partition_columns: table.partition_columns.clone(),
            prefix: self.query_id.to_owned(),
            file_bytes_target: grappe_options(self.statement.state.config()).file_bytes_target,
        };
        let rows = |target| NewRows::new(columns, target);
        let written = self.write_to(target, &self.name, rows, input).await?;
        let counted = (written.files, written.rows);
        // The whole directory is swept if it does not become a table.
        written.guard.belong().await;
        Ok(Some(counted))
    }
}

/// Columns without rows: what `CREATE TABLE t (x INT)` is planned as.
fn is_declaration(input: &LogicalPlan) -> bool {
    matches!(input, LogicalPlan::EmptyRelation(empty) if !empty.produce_one_row)
}

fn check_partition_columns(columns: &Schema, partition_by: &[String]) -> Result<()> {
    for name in partition_by {
        let Ok(field) = columns.field_with_name(name) else {
            return Err(Error::invalid(format!("partition column \"{name}\" is not among the columns of the table")));
        };
        if field.data_type().is_nested() || field.data_type().is_binary() || field.data_type().is_floating() {
            let kind = field.data_type();
            return Err(Error::invalid(format!("a table cannot be partitioned by \"{name}\": it is {kind}")));
        }
    }
    if !partition_by.is_empty() && partition_by.len() == columns.fields().len() {
        return Err(Error::invalid("a table cannot be partitioned by all of its columns"));
    }
    Ok(())
}

fn defaults(columns: &[(String, Expr)]) -> Result<BTreeMap<String, String>> {
    columns.iter().map(|(column, value)| Ok((column.clone(), expr_to_sql(value)?.to_string()))).collect()
}

fn primary_key(command: &CreateMemoryTable) -> Vec<String> {
    let schema = command.input.schema();
    let keys = command.constraints.iter().filter_map(|constraint| match constraint {
        Constraint::PrimaryKey(columns) => Some(columns),
        Constraint::Unique(_) => None,
    });
    keys.flatten().map(|index| schema.field(*index).name().clone()).collect()
}
