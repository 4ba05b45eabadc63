//! Arrow data that clients send in a DoPut stream.

use arrow_flight::FlightData;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use engine::{Error, ErrorKind};
use futures::{Stream, TryStreamExt};
use tonic::{Code, Status};

/// The batches in `messages`, of which the first may only say what they are for.
pub(crate) fn batches(
    messages: impl Stream<Item = Result<FlightData, Status>> + Send + 'static,
) -> FlightRecordBatchStream {
    let with_data = messages.try_filter(|message| std::future::ready(!message.data_header.is_empty()));
    FlightRecordBatchStream::new_from_flight_data(with_data.map_err(|status| FlightError::Tonic(Box::new(status))))
}

/// What the client sent is the client's fault, and so is that it stopped.
pub(crate) fn unreadable(error: FlightError) -> Error {
    match error {
        // The second is what tonic says of a message over the limit.
        FlightError::Tonic(status) if matches!(status.code(), Code::ResourceExhausted | Code::OutOfRange) => {
            Error::new(ErrorKind::Exhausted, status.message().to_owned())
        }
        FlightError::Tonic(status) => {
            Error::new(ErrorKind::Cancelled, format!("the client stopped: {}", status.message()))
        }
        other => Error::invalid(format!("the data sent is not readable: {other}")),
    }
}
