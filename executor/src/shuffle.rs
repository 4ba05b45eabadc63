//! Serves shuffle files to other executors and results to the coordinator.
//!
//! Ballista's service turns the job id of a ticket into a path without looking at it, so it is looked at here first.
//! Every verb that shuffles do not need is refused.

use std::sync::Arc;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
};
use ballista_core::serde::decode_protobuf;
use ballista_core::serde::scheduler::{Action as Fetch, ShuffleFileKind, ShuffleLayout};
use ballista_executor::flight_service::BallistaFlightService;
use engine::distributed::pulse::{DRAIN_ACTION, PULSE_ACTION};
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::checksums::{Checksums, ShufflePart};
use crate::pulse::Heart;
use crate::work_dir::{WorkDir, checked};

/// The Flight service of an executor.
#[derive(Clone)]
pub(crate) struct ShuffleService {
    ballista: BallistaFlightService,
    checksums: Arc<Checksums>,
    heart: Heart,
    /// Makes the executor finish and leave.
    shutdown: CancellationToken,
}

impl ShuffleService {
    /// Serves the shuffle files in `work_dir`.
    pub(crate) fn new(work_dir: &WorkDir, heart: Heart, shutdown: CancellationToken) -> Self {
        let directory = work_dir.shuffle().to_string_lossy().into_owned();
        let checksums = Arc::clone(work_dir.checksums());
        Self { ballista: BallistaFlightService::new(directory), checksums, heart, shutdown }
    }

    /// The membership that the coordinator means, if it is the one of now.
    fn membership(&self, action: &Action) -> Result<String, Status> {
        let membership = std::str::from_utf8(&action.body).ok().filter(|id| self.heart.coordinator.is_member(id));
        membership.map(str::to_owned).ok_or_else(|| Status::not_found("the executor has joined again since"))
    }

    /// Looks at what a ticket asks for before Ballista does.
    async fn check(&self, ticket: &[u8]) -> Result<(), Status> {
        let part = part_of(ticket)?;
        let checksums = Arc::clone(&self.checksums);
        let checked = tokio::task::spawn_blocking(move || checksums.check(&part)).await;
        let checked = checked.unwrap_or_else(|error| Err(format!("a shuffle file was not checked: {error}")));
        // Not `Unknown`, which readers do not take for a lost file.
        checked.map_err(|reason| {
            tracing::error!(%reason, "a shuffle file is lost");
            Status::data_loss(reason)
        })
    }
}

type Reply<T> = Result<Response<T>, Status>;

fn part_of(ticket: &[u8]) -> Result<ShufflePart, Status> {
    let ticket =
        decode_protobuf(ticket).map_err(|_| Status::invalid_argument("this is not the ticket of a shuffle file"))?;
    let Fetch::FetchPartition { job_id, stage_id, partition_id, file_id, layout, file_kind, byte_ranges, .. } = ticket;
    checked(job_id.as_str()).map_err(|error| Status::invalid_argument(error.message))?;
    if file_kind != ShuffleFileKind::Data || !byte_ranges.is_empty() {
        return Err(Status::unimplemented("shuffle files are served by partition"));
    }
    let is_sorted = layout == ShuffleLayout::Sort;
    Ok(ShufflePart { job: job_id, stage: stage_id, partition: partition_id, file: file_id, is_sorted })
}

fn refused<T>() -> Reply<T> {
    Err(Status::unimplemented("executors serve shuffle files only: connect to the coordinator's Flight port"))
}

#[tonic::async_trait]
impl FlightService for ShuffleService {
    type HandshakeStream = BoxStream<'static, Result<HandshakeResponse, Status>>;
    type ListFlightsStream = BoxStream<'static, Result<FlightInfo, Status>>;
    type DoGetStream = <BallistaFlightService as FlightService>::DoGetStream;
    type DoPutStream = BoxStream<'static, Result<PutResult, Status>>;
    type DoExchangeStream = BoxStream<'static, Result<FlightData, Status>>;
    type DoActionStream = <BallistaFlightService as FlightService>::DoActionStream;
    type ListActionsStream = BoxStream<'static, Result<ActionType, Status>>;

    async fn do_get(&self, request: Request<Ticket>) -> Reply<Self::DoGetStream> {
        self.check(&request.get_ref().ticket).await?;
        self.ballista.do_get(request).await
    }

    async fn do_action(&self, request: Request<Action>) -> Reply<Self::DoActionStream> {
        match request.get_ref().r#type.as_str() {
            PULSE_ACTION => {
                let membership = self.membership(request.get_ref())?;
                Ok(Response::new(self.heart.clone().pulses(membership).boxed()))
            }
            DRAIN_ACTION => {
                self.membership(request.get_ref())?;
                self.shutdown.cancel();
                Ok(Response::new(futures::stream::empty().boxed()))
            }
            _ => {
                self.check(&request.get_ref().body).await?;
                self.ballista.do_action(request).await
            }
        }
    }

    async fn handshake(&self, _: Request<Streaming<HandshakeRequest>>) -> Reply<Self::HandshakeStream> {
        refused()
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Reply<Self::ListFlightsStream> {
        refused()
    }

    async fn get_flight_info(&self, _: Request<FlightDescriptor>) -> Reply<FlightInfo> {
        refused()
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Reply<PollInfo> {
        refused()
    }

    async fn get_schema(&self, _: Request<FlightDescriptor>) -> Reply<SchemaResult> {
        refused()
    }

    async fn do_put(&self, _: Request<Streaming<FlightData>>) -> Reply<Self::DoPutStream> {
        refused()
    }

    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Reply<Self::DoExchangeStream> {
        refused()
    }

    async fn list_actions(&self, _: Request<Empty>) -> Reply<Self::ListActionsStream> {
        refused()
    }
}
