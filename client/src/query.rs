//! One running statement: its schema, its batches, its progress, and how to stop it.

use std::pin::Pin;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::{Action, CancelFlightInfoRequest, FlightDescriptor, FlightInfo, PollInfo};
use futures::{Stream, StreamExt, TryStreamExt};
use prost::Message;
use serde::Deserialize;

use crate::credentials::Flight;
use crate::{Error, ErrorKind};

/// How far a statement is.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Progress {
    /// Share of the work that is done, 0 to 1, if the server can tell.
    pub fraction: Option<f64>,
    /// Rows read from tables so far.
    pub rows_scanned: u64,
    /// Tasks that have ended, of statements that run on executors.
    pub tasks_done: u64,
    /// Tasks known so far, of statements that run on executors.
    pub tasks_total: u64,
}

/// What the coordinator says of a statement in `FlightInfo.app_metadata`, as JSON; other servers say nothing.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Described {
    query_id: String,
    tag: String,
    rows_affected: Option<u64>,
    rows_scanned: u64,
    tasks_done: u64,
    tasks_total: u64,
}

/// A started statement. Dropping it does not stop it: read its stream or use its [`Canceller`].
#[derive(Debug)]
pub struct Query {
    flight: Flight,
    poll: Option<FlightDescriptor>,
    info: FlightInfo,
    described: Described,
}

impl Query {
    pub(crate) async fn start(mut flight: Flight, descriptor: FlightDescriptor) -> Result<Self, Error> {
        let answer = match flight.poll_flight_info(descriptor.clone()).await {
            Ok(answer) => answer.into_inner(),
            // A server without PollFlightInfo answers the older call.
            Err(status) if status.code() == tonic::Code::Unimplemented => {
                let info = flight.get_flight_info(descriptor).await?.into_inner();
                PollInfo { info: Some(info), ..Default::default() }
            }
            Err(status) => return Err(status.into()),
        };
        let mut query = Self { flight, poll: None, info: FlightInfo::default(), described: Described::default() };
        query.take(answer);
        Ok(query)
    }

    /// The id of the statement in `system.queries`; empty if the server is not Grappe.
    pub fn id(&self) -> &str {
        &self.described.query_id
    }

    /// Waits until the result can be read: at once for a query, when it is done for a statement with an effect.
    ///
    /// # Errors
    /// Whatever the coordinator says of the statement.
    pub async fn ready(&mut self) -> Result<(), Error> {
        while self.info.endpoint.is_empty() {
            let Some(descriptor) = self.poll.take() else {
                return Err(Error::new(ErrorKind::Internal, "the server ended the statement without a result"));
            };
            let answer = self.flight.poll_flight_info(descriptor).await?.into_inner();
            self.take(answer);
        }
        Ok(())
    }

    /// The command tag, such as `SELECT` or `CREATE VIEW`; known once [`Self::ready`].
    pub fn tag(&self) -> &str {
        &self.described.tag
    }

    /// Rows that a statement with an effect wrote or removed; known once [`Self::ready`].
    pub fn rows_affected(&self) -> Option<u64> {
        self.described.rows_affected
    }

    /// A handle that cancels the statement on the server.
    pub fn canceller(&self) -> Canceller {
        Canceller { flight: self.flight.clone(), info: self.info.clone() }
    }

    /// A handle that asks how far the statement is.
    pub fn progress(&self) -> ProgressWatch {
        let descriptor = self.poll.clone().or_else(|| self.info.flight_descriptor.clone());
        ProgressWatch { flight: self.flight.clone(), descriptor }
    }

    /// Waits until [`Self::ready`], then opens the stream of batches. Dropping the stream cancels the statement.
    ///
    /// # Errors
    /// Whatever the coordinator says of the statement.
    pub async fn stream(&mut self) -> Result<BatchStream, Error> {
        self.ready().await?;
        let schema = Schema::try_from(self.info.clone())
            .map_err(|error| Error::new(ErrorKind::Internal, format!("bad schema from the server: {error}")))?;
        let mut parts = Vec::new();
        for endpoint in &self.info.endpoint {
            let ticket = endpoint.ticket.clone().unwrap_or_default();
            let data = self.flight.do_get(ticket).await?.into_inner();
            let flights = data.map_err(|status| FlightError::Tonic(Box::new(status)));
            parts.push(FlightRecordBatchStream::new_from_flight_data(flights));
        }
        Ok(BatchStream { schema: schema.into(), parts: futures::stream::iter(parts).flatten().boxed() })
    }

    fn take(&mut self, answer: PollInfo) {
        self.poll = answer.flight_descriptor;
        if let Some(info) = answer.info {
            self.described = serde_json::from_slice(&info.app_metadata).unwrap_or_default();
            self.info = info;
        }
    }
}

/// The batches of a result, as they arrive; the server waits when nobody reads.
pub struct BatchStream {
    schema: SchemaRef,
    parts: futures::stream::BoxStream<'static, Result<RecordBatch, FlightError>>,
}

impl BatchStream {
    /// The columns of every batch.
    pub fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }
}

impl std::fmt::Debug for BatchStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchStream").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Stream for BatchStream {
    type Item = Result<RecordBatch, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.parts.poll_next_unpin(context).map_err(Error::from)
    }
}

/// Cancels one statement; see [`Query::canceller`].
#[derive(Debug, Clone)]
pub struct Canceller {
    flight: Flight,
    info: FlightInfo,
}

impl Canceller {
    /// Asks the server to stop the statement and returns when it has been told.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the statement is not known any more.
    pub async fn cancel(&self) -> Result<(), Error> {
        let body = CancelFlightInfoRequest::new(self.info.clone()).encode_to_vec();
        let action = Action::new("CancelFlightInfo", body);
        let answers: Vec<_> = self.flight.clone().do_action(action).await?.into_inner().try_collect().await?;
        if answers.is_empty() {
            return Err(Error::new(ErrorKind::Internal, "the server did not say whether it cancelled the statement"));
        }
        Ok(())
    }
}

/// Asks how far one statement is; see [`Query::progress`].
#[derive(Debug, Clone)]
pub struct ProgressWatch {
    flight: Flight,
    descriptor: Option<FlightDescriptor>,
}

impl ProgressWatch {
    /// The present state; nothing when the server does not tell, or has forgotten the statement.
    pub async fn get(&self) -> Option<Progress> {
        let descriptor = self.descriptor.clone()?;
        let answer = self.flight.clone().poll_flight_info(descriptor).await.ok()?.into_inner();
        let described: Described = serde_json::from_slice(&answer.info?.app_metadata).unwrap_or_default();
        Some(Progress {
            fraction: answer.progress,
            rows_scanned: described.rows_scanned,
            tasks_done: described.tasks_done,
            tasks_total: described.tasks_total,
        })
    }
}
