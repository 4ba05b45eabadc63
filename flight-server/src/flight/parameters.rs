//! Parameters as clients send them: Arrow batches in a DoPut stream.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow_flight::FlightData;
use engine::{Error, Result};
use futures::{Stream, StreamExt};
use tonic::Status;

use crate::flight::incoming::{batches, unreadable};

/// Bytes of all parameters of one call.
const PARAMETER_BYTES_MAX: usize = 256 << 20;

/// All rows of parameters in `messages`; none if there is no schema among them, or one without columns.
///
/// # Errors
/// `Invalid` for what is not Arrow data; `Exhausted` over the limit.
pub(crate) async fn read_parameters(
    messages: impl Stream<Item = std::result::Result<FlightData, Status>> + Send + 'static,
) -> Result<Option<RecordBatch>> {
    let mut bytes = 0;
    let counted = messages.map(move |message| {
        let message = message?;
        bytes += message.data_body.len();
        if bytes > PARAMETER_BYTES_MAX {
            return Err(Status::resource_exhausted(format!("more than {PARAMETER_BYTES_MAX} bytes of parameters")));
        }
        Ok(message)
    });
    let mut batches = batches(counted);
    let mut rows = Vec::new();
    while let Some(batch) = batches.next().await {
        rows.push(batch.map_err(unreadable)?);
    }
    // Drivers send an empty batch for a statement that takes none.
    let Some(schema) = batches.schema().filter(|schema| !schema.fields().is_empty()) else { return Ok(None) };
    let all = concat_batches(&Arc::new(schema.as_ref().clone()), &rows);
    all.map(Some).map_err(|error| Error::invalid(format!("the parameters do not fit together: {error}")))
}
