//! Rows to messages: at the pace of the client, in messages that every client takes, stopped when nobody reads.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::FlightData;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use datafusion::execution::SendableRecordBatchStream;
use engine::{Error, Result};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use tonic::Status;

use crate::flight::status::status;
use crate::queries::panicked;
use crate::query::Query;

/// Bytes of one message: plain gRPC clients take 4 MiB at most.
const MESSAGE_BYTES: usize = 2 << 20;

/// Messages of one answer.
pub(crate) type Messages = Pin<Box<dyn Stream<Item = Result<FlightData, Status>> + Send>>;

/// The rows of a statement, or of a part of them. Dropping them before the end cancels it.
pub(crate) fn rows(query: Arc<Query>, batches: SendableRecordBatchStream) -> Messages {
    encode(query.schema(), watched(query, batches).boxed())
}

/// One small table.
pub(crate) fn one_batch(batch: RecordBatch) -> Messages {
    encode(batch.schema(), stream::iter([Ok(batch)]).boxed())
}

fn encode(schema: SchemaRef, batches: stream::BoxStream<'static, Result<RecordBatch>>) -> Messages {
    let batches = batches.map_err(|error| FlightError::Tonic(Box::new(status(error))));
    let messages = FlightDataEncoderBuilder::new()
        .with_schema(schema)
        .with_max_flight_data_size(MESSAGE_BYTES)
        .build(batches)
        .map_err(|error| match error {
            FlightError::Tonic(status) => *status,
            other => status(Error::internal(format!("a batch cannot be encoded: {other}"))),
        });
    Box::pin(messages)
}

/// Ends the statement with its stream, however that ends.
struct EndOnDrop {
    query: Arc<Query>,
    is_read: bool,
}

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        if !self.is_read {
            self.query.leave();
        }
    }
}

/// Counts rows, ends the statement at the end or at an error, and stops between batches when it is cancelled.
pub(crate) fn watched(
    query: Arc<Query>,
    batches: SendableRecordBatchStream,
) -> impl Stream<Item = Result<RecordBatch>> + Send + 'static {
    let batches = AssertUnwindSafe(batches).catch_unwind().map(|item| match item {
        Ok(batch) => batch.map_err(Error::from),
        Err(panic) => Err(panicked(panic.as_ref())),
    });
    let guard = EndOnDrop { query, is_read: false };
    stream::unfold(Some((guard, batches.boxed())), |state| async move {
        let (mut guard, mut batches) = state?;
        let cancelled = guard.query.cancellation();
        guard.query.is_asked();
        let next = tokio::select! {
            biased;
            () = cancelled.cancelled() => Some(Err(guard.query.outcome().err().unwrap_or_else(Error::cancelled))),
            next = batches.next() => next,
        };
        match next {
            Some(Ok(batch)) => match guard.query.add_rows(&batch) {
                Ok(()) => Some((Ok(batch), Some((guard, batches)))),
                Err(error) => {
                    guard.query.stop(error.clone());
                    Some((Err(error), None))
                }
            },
            Some(Err(error)) => {
                guard.query.end(Err(error.clone()));
                Some((Err(error), None))
            }
            None => {
                guard.is_read = true;
                guard.query.part_finished();
                None
            }
        }
    })
}
