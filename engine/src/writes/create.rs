//! CREATE TABLE: a new Delta table, with the rows of a query or none. Its first version holds all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::common::{Constraint, TableReference};
use datafusion::logical_expr::{CreateMemoryTable, Expr, LogicalPlan};
use datafusion::sql::unparser::expr_to_sql;
use uuid::Uuid;

use super::files::Written;
use super::lease::Lease;
use super::{Change, with_checks};
use crate::catalog::{Catalog, DeltaDefinition, TEMPORARY_SCHEMA, TableDefinition, TableName};
use crate::delta::{NewTable, file_schema, meant_schema, stored_schema};
use crate::session::Session;
use crate::sql::{Statement, is_settled, new_name, refuse_duplicates, table_schema};
use crate::storage::{check_allowed, directory_url};
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
        refuse_duplicates(command.input.schema().as_arrow())?;
        let change = Change { session: self, query_id, statement, name: command.name.clone() };
        let new = change.new_table(&name, command)?;
        if !new.definition.is_managed {
            check_allowed(self.engine().runtime(), &new.table.location).await?;
        }
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
        let Described { table, definition } = new;
        // A directory that the statement names may hold anything: only what was written by its query is swept.
        let lease = match definition.is_managed {
            true => Some(Lease::take(self.engine(), table.location.clone()).await?),
            false => None,
        };
        let made = async {
            let written = change.first_rows(name, &table, input).await?;
            let rows = written.as_ref().map(|written| written.rows);
            change.make_first_version(&table, written.as_ref(), lease.as_ref()).await?;
            let definition = TableDefinition::Delta(Arc::new(definition));
            self.catalog().create_table(name, definition, replace).await?;
            if let Some(written) = written {
                written.guard.belong().await;
            }
            Ok(rows)
        };
        match made.await {
            Ok(rows) => {
                change.tell_comments(name).await?;
                Ok(rows)
            }
            Err(error) => {
                // Nobody knows of it.
                if let Some(lease) = lease {
                    lease.give_up().await;
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
        refuse_names_of_one_spelling(&columns)?;
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
        let (schema, table) = (plain(&name.schema.to_string()), plain(&name.table));
        Ok(format!("{}{schema}/{table}-{}/", self.session.engine().warehouse()?, Uuid::now_v7().simple()))
    }

    /// Makes the table, if what was written is there still.
    async fn make_first_version(
        &self,
        table: &NewTable,
        written: Option<&Written>,
        lease: Option<&Lease>,
    ) -> Result<()> {
        let (mut files, mut transaction) = (Vec::new(), self.query_id);
        if let Some(written) = written {
            written.guard.renew().await?;
            (files, transaction) = (written.files.clone(), written.guard.prefix());
        }
        if let Some(lease) = lease {
            lease.renew().await?;
        }
        table.create(self.session.engine().runtime(), files, self.query_id, transaction).await
    }

    /// Writes the rows that a table begins with; nothing if it begins with none.
    async fn first_rows(
        &self,
        name: &TableName,
        table: &NewTable,
        input: Option<&LogicalPlan>,
    ) -> Result<Option<Written>> {
        let Some(input) = input.filter(|input| !is_declaration(input)) else { return Ok(None) };
        let columns = meant_schema(&table.columns);
        let input = with_checks(&self.statement.state, &name.to_string(), &columns, &table.checks, input.clone())?;
        let (files, directories) = (file_schema(&table.columns), table.partition_columns.clone());
        self.write_to(&table.location, files, directories, input).await.map(Some)
    }
}

/// Columns without rows: what `CREATE TABLE t (x INT)` is planned as.
fn is_declaration(input: &LogicalPlan) -> bool {
    matches!(input, LogicalPlan::EmptyRelation(empty) if !empty.produce_one_row)
}

/// Delta Lake tells names apart by their letters, not by their case.
fn refuse_names_of_one_spelling(columns: &Schema) -> Result<()> {
    let mut seen = BTreeMap::new();
    for field in columns.fields() {
        if let Some(other) = seen.insert(field.name().to_lowercase(), field.name()) {
            let name = field.name();
            let message = format!("columns \"{other}\" and \"{name}\" differ in case only: a table cannot hold both");
            return Err(Error::invalid(format!("{message}, give one another name")));
        }
    }
    Ok(())
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
