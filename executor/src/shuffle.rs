//! Serves shuffle files to other executors and results to the coordinator.
//!
//! Ballista's service turns the job id of a ticket into a path without looking at it, so it is looked at here first.
//! Every verb that shuffles do not need is refused.

use std::path::Path;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
};
use ballista_core::serde::decode_protobuf;
use ballista_core::serde::scheduler::Action as Fetch;
use ballista_executor::flight_service::BallistaFlightService;
use futures::stream::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use crate::work_dir::checked;

/// The Flight service of an executor.
#[derive(Clone)]
pub(crate) struct ShuffleService {
    ballista: BallistaFlightService,
}

impl ShuffleService {
    /// Serves the files under `shuffle_dir`.
    pub(crate) fn new(shuffle_dir: &Path) -> Self {
        Self { ballista: BallistaFlightService::new(shuffle_dir.to_string_lossy().into_owned()) }
    }
}

type Reply<T> = Result<Response<T>, Status>;

fn check_ticket(bytes: &[u8]) -> Result<(), Status> {
    let Fetch::FetchPartition { job_id, .. } =
        decode_protobuf(bytes).map_err(|_| Status::invalid_argument("this is not the ticket of a shuffle file"))?;
    checked(job_id.as_str()).map(|_| ()).map_err(|error| Status::invalid_argument(error.message))
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
        check_ticket(&request.get_ref().ticket)?;
        self.ballista.do_get(request).await
    }

    async fn do_action(&self, request: Request<Action>) -> Reply<Self::DoActionStream> {
        check_ticket(&request.get_ref().body)?;
        self.ballista.do_action(request).await
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
