//! `FlightService` around [`Service`]: adds `PollFlightInfo` and `GetSchema`, which arrow-flight's own implementation
//! for Flight SQL services refuses and gives no way to replace (arrow-rs issue 6346); the rest is passed on.

use std::sync::Arc;
use std::time::Duration;

use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::{Any, Command, CommandPreparedStatementQuery, CommandStatementQuery};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, PollInfo,
    SchemaAsIpc, SchemaResult, Ticket,
};
use engine::{Effect, Error, Session};
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

use crate::flight::Service;
use crate::flight::actions::ACTIONS;
use crate::flight::info::{poll_info, statement_handle};
use crate::flight::service::substrait;
use crate::flight::status::status;
use crate::query::Query;
use crate::submission::Submission;
use crate::summary::result_of_writing;
use crate::waiting::Polled;

/// How long a poll waits for news before it answers "still running".
const POLL_SECONDS: Duration = Duration::from_secs(1);

/// The public face of the coordinator.
#[derive(Debug)]
pub(crate) struct Door(pub(crate) Service);

impl Door {
    /// The statement that a poll is about: a new one, or one asked about before.
    fn polled(&self, request: &Request<FlightDescriptor>) -> Result<Arc<Query>, Status> {
        let command = &request.get_ref().cmd;
        if let Some(handle) = statement_handle(command) {
            let claims = self.0.claims(request, &handle)?;
            return self.0.queries.get(&claims.query_id).map_err(status);
        }
        let session = self.0.session(request)?;
        let submission = self.submission(&session, command)?;
        self.0.queries.submit(session, submission, false).map_err(status)
    }

    fn submission(&self, session: &Arc<Session>, command: &[u8]) -> Result<Submission, Status> {
        let bad = |error: &dyn std::fmt::Display| status(Error::invalid(format!("a malformed command: {error}")));
        let message = Any::decode(command).map_err(|error| bad(&error))?;
        match Command::try_from(message).map_err(|error| bad(&error))? {
            Command::CommandStatementQuery(CommandStatementQuery { query, .. }) => Ok(Submission::plain(&query)),
            Command::CommandPreparedStatementQuery(CommandPreparedStatementQuery { prepared_statement_handle }) => {
                self.0.prepared.submission(session, &prepared_statement_handle).map_err(status)
            }
            Command::CommandStatementSubstraitPlan(command) => substrait(command.plan),
            _ => Err(status(Error::invalid("only statements can be polled"))),
        }
    }
}

#[tonic::async_trait]
impl FlightService for Door {
    type HandshakeStream = <Service as FlightService>::HandshakeStream;
    type ListFlightsStream = <Service as FlightService>::ListFlightsStream;
    type DoGetStream = <Service as FlightService>::DoGetStream;
    type DoPutStream = <Service as FlightService>::DoPutStream;
    type DoActionStream = <Service as FlightService>::DoActionStream;
    type ListActionsStream = <Service as FlightService>::ListActionsStream;
    type DoExchangeStream = <Service as FlightService>::DoExchangeStream;

    /// Starts a statement, or tells how far one is. A statement that has settled is answered at once.
    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        let query = self.polled(&request)?;
        let _polled = Polled::new(&query);
        match tokio::time::timeout(POLL_SECONDS, query.settled()).await {
            Ok(settled) => settled.map_err(status)?,
            Err(_still_running) => {}
        }
        Ok(Response::new(poll_info(&self.0.tickets, &query).map_err(status)?))
    }

    /// Plans a statement without running it.
    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        let session = self.0.session(&request)?;
        let submission = self.submission(&session, &request.get_ref().cmd)?;
        let statement = submission.planned(&session).await.map_err(status)?;
        let schema = match statement.effect() {
            Effect::None => session.result_schema(statement).await.map_err(status)?,
            Effect::Rows => result_of_writing(),
            Effect::Definition => Arc::new(arrow::datatypes::Schema::empty()),
        };
        let options = IpcWriteOptions::default();
        let encoded = SchemaResult::try_from(SchemaAsIpc::new(&schema, &options));
        let unencodable = |error| status(Error::internal(format!("the schema cannot be encoded: {error}")));
        Ok(Response::new(encoded.map_err(unencodable)?))
    }

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        self.0.handshake(request).await
    }

    async fn list_flights(&self, request: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        self.0.list_flights(request).await
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        self.0.get_flight_info(request).await
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        self.0.do_get(request).await
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        self.0.do_put(request).await
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        self.0.do_action(request).await
    }

    async fn list_actions(&self, _request: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        let known =
            ACTIONS.map(|(name, does)| Ok(ActionType { r#type: name.to_owned(), description: does.to_owned() }));
        Ok(Response::new(Box::pin(futures::stream::iter(known))))
    }

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        self.0.do_exchange(request).await
    }
}
