//! The verbs of Flight SQL.

use std::pin::Pin;
use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult,
    CommandGetCatalogs, CommandGetDbSchemas, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables,
    CommandGetXdbcTypeInfo, CommandPreparedStatementQuery, CommandPreparedStatementUpdate, CommandStatementQuery,
    CommandStatementUpdate, SqlInfo, TicketStatementQuery,
};
use arrow_flight::{
    Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightDescriptor, FlightInfo,
    HandshakeRequest, HandshakeResponse, IpcMessage, SchemaAsIpc, Ticket,
};
use bytes::Bytes;
use engine::{Effect, Error, Result, Session};
use futures::{Stream, stream};
use prost::Message;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use crate::flight::info::{flight_info, metadata_info, query_id};
use crate::flight::metadata;
use crate::flight::prepared::PreparedStatements;
use crate::flight::results::{one_batch, rows};
use crate::flight::status::status;
use crate::queries::{Queries, Query};
use crate::sessions::Sessions;

type Messages = <Service as FlightService>::DoGetStream;
type HandshakeStream = Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>;
type ActionStream = <Service as FlightService>::DoActionStream;

/// Flight SQL over the coordinator's sessions and queries.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) queries: Arc<Queries>,
    pub(crate) prepared: PreparedStatements,
}

/// Cancels a statement whose client stops waiting for its plan.
struct CancelOnDrop(Option<Arc<Query>>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(query) = self.0.take() {
            query.cancel();
        }
    }
}

impl Service {
    pub(crate) fn session<T>(&self, request: &Request<T>) -> Result<Arc<Session>, Status> {
        self.sessions.of(request).map_err(status)
    }

    /// Runs a statement until its rows can be read, or to its end if it has an effect.
    pub(crate) async fn run(&self, session: Arc<Session>, sql: &str) -> Result<Arc<Query>, Status> {
        let query = self.queries.submit(session, sql).map_err(status)?;
        let mut guard = CancelOnDrop(Some(Arc::clone(&query)));
        let settled = query.settled().await;
        guard.0 = None;
        settled.map_err(status)?;
        Ok(query)
    }

    async fn info(&self, session: Arc<Session>, sql: &str) -> Result<Response<FlightInfo>, Status> {
        let query = self.run(session, sql).await?;
        Ok(Response::new(flight_info(&query).map_err(status)?))
    }

    /// Rows that a statement with an effect touched.
    async fn update(&self, session: Arc<Session>, sql: &str) -> Result<i64, Status> {
        let query = self.run(session, sql).await?;
        let rows = query.rows_affected().unwrap_or(0);
        query.cancel();
        Ok(i64::try_from(rows).unwrap_or(i64::MAX))
    }

    async fn prepare(&self, session: &Session, sql: String) -> Result<ActionCreatePreparedStatementResult> {
        let statement = session.plan(&sql).await?;
        let schema = match statement.effect() {
            Effect::None => session.result_schema(statement).await?,
            Effect::Rows | Effect::Definition => Arc::new(Schema::empty()),
        };
        let options = IpcWriteOptions::default();
        let encoded = |schema: &Schema| -> Result<Bytes> {
            let message = IpcMessage::try_from(SchemaAsIpc::new(schema, &options));
            Ok(message.map_err(|error| Error::internal(format!("the schema cannot be encoded: {error}")))?.0)
        };
        let dataset_schema = encoded(&schema)?;
        let prepared_statement_handle = self.prepared.add(sql)?;
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle,
            dataset_schema,
            parameter_schema: encoded(&Schema::empty())?,
        })
    }

    fn cancel(&self, body: &[u8]) -> Result<CancelStatus, Status> {
        let request = CancelFlightInfoRequest::decode(body)
            .map_err(|error| status(Error::invalid(format!("a malformed CancelFlightInfo: {error}"))))?;
        let descriptor = request.info.and_then(|info| info.flight_descriptor);
        let Some(id) = descriptor.and_then(|descriptor| query_id(&descriptor.cmd)) else {
            return Err(status(Error::invalid("CancelFlightInfo without the FlightInfo of a statement")));
        };
        self.queries.get(&id).map_err(status)?.cancel();
        Ok(CancelStatus::Cancelled)
    }
}

#[tonic::async_trait]
impl FlightSqlService for Service {
    type FlightService = Self;

    /// There are no users yet: whoever asks gets a token, and with it a session of their own.
    async fn do_handshake(
        &self,
        _request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<HandshakeStream>, Status> {
        let token = Uuid::new_v4().to_string();
        let answer = HandshakeResponse { protocol_version: 0, payload: Bytes::from(token.clone()) };
        let mut response: Response<HandshakeStream> = Response::new(Box::pin(stream::iter([Ok(answer)])));
        let value = format!("Bearer {token}").parse().map_err(|_| status(Error::internal("a malformed token")))?;
        response.metadata_mut().insert("authorization", value);
        Ok(response)
    }

    async fn get_flight_info_statement(
        &self,
        command: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let session = self.session(&request)?;
        self.info(session, &command.query).await
    }

    async fn get_flight_info_prepared_statement(
        &self,
        command: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let session = self.session(&request)?;
        let sql = self.prepared.get(&command.prepared_statement_handle).map_err(status)?;
        self.info(session, &sql).await
    }

    async fn get_flight_info_catalogs(
        &self,
        command: CommandGetCatalogs,
        _request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let schema = command.into_builder().schema();
        Ok(Response::new(metadata_info(&command, &schema).map_err(status)?))
    }

    async fn get_flight_info_schemas(
        &self,
        command: CommandGetDbSchemas,
        _request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let schema = command.clone().into_builder().schema();
        Ok(Response::new(metadata_info(&command, &schema).map_err(status)?))
    }

    async fn get_flight_info_tables(
        &self,
        command: CommandGetTables,
        _request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let schema = command.clone().into_builder().schema();
        Ok(Response::new(metadata_info(&command, &schema).map_err(status)?))
    }

    async fn get_flight_info_table_types(
        &self,
        command: CommandGetTableTypes,
        _request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let schema = command.into_builder().schema();
        Ok(Response::new(metadata_info(&command, &schema).map_err(status)?))
    }

    async fn get_flight_info_sql_info(
        &self,
        command: CommandGetSqlInfo,
        _request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let facts = metadata::sql_info().as_ref().map_err(|error| status(error.clone()))?;
        let schema = command.clone().into_builder(facts).schema();
        Ok(Response::new(metadata_info(&command, &schema).map_err(status)?))
    }

    async fn get_flight_info_xdbc_type_info(
        &self,
        command: CommandGetXdbcTypeInfo,
        _request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let types = metadata::xdbc_types().as_ref().map_err(|error| status(error.clone()))?;
        let schema = command.into_builder(types).schema();
        Ok(Response::new(metadata_info(&command, &schema).map_err(status)?))
    }

    async fn do_get_statement(
        &self,
        ticket: TicketStatementQuery,
        _request: Request<Ticket>,
    ) -> Result<Response<Messages>, Status> {
        let id = String::from_utf8_lossy(&ticket.statement_handle);
        let query = self.queries.get(&id).map_err(status)?;
        Ok(Response::new(rows(query).map_err(status)?))
    }

    async fn do_get_catalogs(
        &self,
        _command: CommandGetCatalogs,
        _request: Request<Ticket>,
    ) -> Result<Response<Messages>, Status> {
        Ok(Response::new(one_batch(metadata::catalogs().map_err(status)?)))
    }

    async fn do_get_schemas(
        &self,
        command: CommandGetDbSchemas,
        request: Request<Ticket>,
    ) -> Result<Response<Messages>, Status> {
        let session = self.session(&request)?;
        Ok(Response::new(one_batch(metadata::schemas(&session, command).await.map_err(status)?)))
    }

    async fn do_get_tables(
        &self,
        command: CommandGetTables,
        request: Request<Ticket>,
    ) -> Result<Response<Messages>, Status> {
        let session = self.session(&request)?;
        Ok(Response::new(one_batch(metadata::tables(&session, command).await.map_err(status)?)))
    }

    async fn do_get_table_types(
        &self,
        command: CommandGetTableTypes,
        _request: Request<Ticket>,
    ) -> Result<Response<Messages>, Status> {
        Ok(Response::new(one_batch(metadata::table_types(command).map_err(status)?)))
    }

    async fn do_get_sql_info(
        &self,
        command: CommandGetSqlInfo,
        _request: Request<Ticket>,
    ) -> Result<Response<Messages>, Status> {
        let facts = metadata::sql_info().as_ref().map_err(|error| status(error.clone()))?;
        let batch = command.into_builder(facts).build();
        Ok(Response::new(one_batch(batch.map_err(|error| status(metadata::unencodable(error)))?)))
    }

    async fn do_get_xdbc_type_info(
        &self,
        command: CommandGetXdbcTypeInfo,
        _request: Request<Ticket>,
    ) -> Result<Response<Messages>, Status> {
        let types = metadata::xdbc_types().as_ref().map_err(|error| status(error.clone()))?;
        let batch = command.into_builder(types).build();
        Ok(Response::new(one_batch(batch.map_err(|error| status(metadata::unencodable(error)))?)))
    }

    async fn do_put_statement_update(
        &self,
        command: CommandStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let session = self.session(&request)?;
        self.update(session, &command.query).await
    }

    async fn do_put_prepared_statement_update(
        &self,
        command: CommandPreparedStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let session = self.session(&request)?;
        let sql = self.prepared.get(&command.prepared_statement_handle).map_err(status)?;
        self.update(session, &sql).await
    }

    async fn do_action_create_prepared_statement(
        &self,
        command: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let session = self.session(&request)?;
        self.prepare(&session, command.query).await.map_err(status)
    }

    async fn do_action_close_prepared_statement(
        &self,
        command: ActionClosePreparedStatementRequest,
        _request: Request<Action>,
    ) -> Result<(), Status> {
        self.prepared.close(&command.prepared_statement_handle);
        Ok(())
    }

    async fn do_action_fallback(&self, request: Request<Action>) -> Result<Response<ActionStream>, Status> {
        match request.get_ref().r#type.as_str() {
            "CancelFlightInfo" => {
                let outcome = self.cancel(&request.get_ref().body)?;
                let body = CancelFlightInfoResult::new(outcome).encode_to_vec();
                let answer = arrow_flight::Result { body: body.into() };
                Ok(Response::new(Box::pin(stream::iter([Ok(answer)]))))
            }
            other => Err(Status::unimplemented(format!("the action {other} is not known here"))),
        }
    }

    async fn register_sql_info(&self, _id: i32, _result: &SqlInfo) {}
}
