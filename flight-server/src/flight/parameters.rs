//! Parameters as clients send them: Arrow batches in a DoPut stream.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow_flight::FlightData;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use engine::{Error, ErrorKind, Result};
use futures::{Stream, StreamExt, TryStreamExt};
use tonic::Status;

/// Bytes of all parameters of one call.
const PARAMETER_BYTES_MAX: usize = 256 << 20;

/// All rows of parameters in `messages`; none if there is no schema among them.
///
/// # Errors
/// `Invalid` for what is not Arrow data; `Exhausted` over the limit.
pub(crate) async fn read_parameters(
    messages: impl Stream<Item = std::result::Result<FlightData, Status>> + Send + 'static,
) -> Result<Option<RecordBatch>> {
    let mut bytes = 0;
    // The message that names the statement may come alone.
    let with_data = messages.try_filter(|message| std::future::ready(!message.data_header.is_empty()));
    let counted = with_data.map(move |message| {
        let message = message?;
        bytes += message.data_body.len();
        if bytes > PARAMETER_BYTES_MAX {
            return Err(Status::resource_exhausted(format!("more than {PARAMETER_BYTES_MAX} bytes of parameters")));
        }
        Ok(message)
    });
    let mut batches =
        FlightRecordBatchStream::new_from_flight_data(counted.map_err(|status| FlightError::Tonic(Box::new(status))));
    let mut rows = Vec::new();
    while let Some(batch) = batches.next().await {
        rows.push(batch.map_err(unreadable)?);
    }
    let Some(schema) = batches.schema() else { return Ok(None) };
    let all = concat_batches(&Arc::new(schema.as_ref().clone()), &rows);
    all.map(Some).map_err(|error| Error::invalid(format!("the parameters do not fit together: {error}")))
}

/// What the client sent is the client's fault, and so is that it stopped.
pub(crate) fn unreadable(error: FlightError) -> Error {
    match error {
        FlightError::Tonic(status) if status.code() == tonic::Code::ResourceExhausted => {
            Error::new(ErrorKind::Exhausted, status.message().to_owned())
        }
        FlightError::Tonic(status) => {
            Error::new(ErrorKind::Cancelled, format!("the client stopped: {}", status.message()))
        }
        other => Error::invalid(format!("the data sent is not readable: {other}")),
    }
}
