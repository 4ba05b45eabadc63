//! New tables: their first version, with the rows that they begin with.

use std::collections::BTreeMap;

use buoyant_kernel::engine::arrow_conversion::TryIntoKernel;
use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::execution::runtime_env::RuntimeEnv;
use deltalake::kernel::{Action, Add, StructField};
use deltalake::operations::create::CreateBuilder;

use super::alter::new_protocol;
use super::commit::properties;
use super::error::delta_error;
use super::snapshot::CONSTRAINT_PREFIX;
use super::store::log_store;
use crate::{Error, Result};

/// What a new table is to be.
#[derive(Debug)]
pub(crate) struct NewTable {
    /// URL of its directory, with a slash at the end.
    pub(crate) location: String,
    /// Columns as the log keeps them: [`super::types::stored_schema`].
    pub(crate) columns: Schema,
    pub(crate) partition_columns: Vec<String>,
    /// CHECK constraints: name and SQL.
    pub(crate) checks: Vec<(String, String)>,
    pub(crate) properties: BTreeMap<String, String>,
    pub(crate) comment: Option<String>,
}

impl NewTable {
    /// Makes it, with the rows of `files`. The log keeps the name of the `transaction`.
    ///
    /// # Errors
    /// `AlreadyExists` if there is a table at the location; `Invalid` for a property that Delta Lake has not.
    pub(crate) async fn create(
        &self,
        runtime: &RuntimeEnv,
        files: Vec<Add>,
        query_id: &str,
        transaction: &str,
    ) -> Result<()> {
        let checks = self.checks.iter().map(|(name, sql)| (format!("{CONSTRAINT_PREFIX}{name}"), sql.clone()));
        let properties_of_table = self.properties.iter().map(|(key, value)| (key.clone(), value.clone())).chain(checks);
        let mut builder = CreateBuilder::new()
            .with_log_store(log_store(runtime, &self.location)?)
            .with_columns(kernel_fields(&self.columns)?)
            .with_partition_columns(self.partition_columns.clone())
            .with_configuration(properties_of_table.map(|(key, value)| (key, Some(value))))
            .with_raise_if_key_not_exists(false)
            .with_commit_properties(properties(query_id, transaction))
            .with_actions(files.into_iter().map(Action::Add).chain([new_protocol(&self.columns, &self.checks)?]));
        if let Some(comment) = &self.comment {
            builder = builder.with_comment(comment);
        }
        builder.await.map_err(|error| delta_error(error, &self.location))?;
        Ok(())
    }
}

/// Fields as Delta Lake's log has them.
///
/// # Errors
/// `Invalid` naming a column of a type that it has not.
pub(crate) fn kernel_fields(columns: &Schema) -> Result<Vec<StructField>> {
    columns.fields().iter().map(|field| kernel_field(field)).collect()
}

/// The same, of one field.
///
/// # Errors
/// `Invalid`.
pub(crate) fn kernel_field(field: &Field) -> Result<StructField> {
    field.try_into_kernel().map_err(|error| {
        Error::invalid(format!("column \"{}\" cannot be kept in a table: {error}; CAST it first", field.name()))
    })
}
