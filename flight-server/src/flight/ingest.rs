//! Bulk ingest: what a client says of the table, and the rows it sends.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::FlightData;
use arrow_flight::sql::{CommandStatementIngest, TableExistsOption, TableNotExistOption};
use engine::{Error, IfExists, IngestTarget, Result};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use tonic::Status;

use crate::flight::incoming::{batches, unreadable};

/// What to do with which table.
///
/// # Errors
/// `Invalid` for what we do not have, or what was left out.
pub(crate) fn target(command: &CommandStatementIngest) -> Result<IngestTarget> {
    if command.table.is_empty() {
        return Err(Error::invalid("rows were sent without the name of a table"));
    }
    let missing = || Error::invalid("rows were sent without what to do if the table exists, and if it does not");
    let options = command.table_definition_options.as_ref().ok_or_else(missing)?;
    let if_exists = match TableExistsOption::try_from(options.if_exists) {
        Ok(TableExistsOption::Append) => IfExists::Append,
        Ok(TableExistsOption::Replace) => IfExists::Replace,
        Ok(TableExistsOption::Fail) => IfExists::Fail,
        Ok(TableExistsOption::Unspecified) | Err(_) => return Err(missing()),
    };
    let create = match TableNotExistOption::try_from(options.if_not_exist) {
        Ok(TableNotExistOption::Create) => true,
        Ok(TableNotExistOption::Fail) => false,
        Ok(TableNotExistOption::Unspecified) | Err(_) => return Err(missing()),
    };
    Ok(IngestTarget {
        catalog: command.catalog.clone(),
        schema: command.schema.clone(),
        table: command.table.clone(),
        temporary: command.temporary,
        if_exists,
        create,
    })
}

/// The columns and rows in `messages`.
///
/// # Errors
/// `Invalid` for what is not Arrow data.
pub(crate) async fn rows(
    messages: impl Stream<Item = std::result::Result<FlightData, Status>> + Send + Unpin + 'static,
) -> Result<(SchemaRef, impl Stream<Item = Result<RecordBatch>> + Send + Unpin)> {
    let mut batches = batches(messages);
    let first = batches.next().await.transpose().map_err(unreadable)?;
    let schema = match (&first, batches.schema()) {
        (Some(batch), _) => batch.schema(),
        (None, Some(schema)) => Arc::clone(schema),
        (None, None) => return Err(Error::invalid("rows were sent without their columns")),
    };
    let first = stream::iter(first.map(Ok));
    Ok((schema, first.chain(batches.map_err(unreadable))))
}
