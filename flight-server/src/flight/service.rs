//! The verbs of Flight SQL.

use std::pin::Pin;
use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::server::{DoPutError, FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionCancelQueryResult, ActionClosePreparedStatementRequest,
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, CommandGetCatalogs,
    CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys,
    CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables, CommandGetXdbcTypeInfo,
    CommandPreparedStatementQuery, CommandPreparedStatementUpdate, CommandStatementIngest, CommandStatementQuery,
    CommandStatementUpdate, DoPutPreparedStatementResult, SqlInfo, TicketStatementQuery,
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
use crate::flight::parameters::read_parameters;
use crate::flight::prepared::PreparedStatements;
use crate::flight::results::{one_batch, rows};
use crate::flight::sql_info::sql_info;
use crate::flight::status::status;
use crate::flight::types::xdbc_types;
use crate::flight::{actions, ingest, keys, metadata};
use crate::queries::{Queries, Query, Submission, is_about_queries};
use crate::sessions::Sessions;

type Messages = <Service as FlightService>::DoGetStream;
type HandshakeStream = Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>;
type ActionStream = <Service as FlightService>::DoActionStream;

/// `CancelResult::CANCELLED` of `FlightSql.proto`, which arrow-flight does not export.
const QUERY_CANCELLED: i32 = 1;

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
    pub(crate) async fn run(&self, session: Arc<Session>, submission: Submission) -> Result<Arc<Query>, Status> {
        let query = self.queries.submit(session, submission).map_err(status)?;
        let mut guard = CancelOnDrop(Some(Arc::clone(&query)));
        let settled = query.settled().await;
        guard.0 = None;
        settled.map_err(status)?;
        Ok(query)
    }

    async fn info(&self, session: Arc<Session>, submission: Submission) -> Result<Response<FlightInfo>, Status> {
        let query = self.run(session, submission).await?;
        Ok(Response::new(flight_info(&query).map_err(status)?))
    }

    /// Rows that a statement with an effect touched.
    async fn update(&self, session: Arc<Session>, submission: Submission) -> Result<i64, Status> {
        let query = self.run(session, submission).await?;
        let rows = query.rows_affected().unwrap_or(0);
        query.cancel();
        Ok(i64::try_from(rows).unwrap_or(i64::MAX))
    }

    async fn prepare(&self, session: &Arc<Session>, sql: String) -> Result<ActionCreatePreparedStatementResult> {
        let (schema, parameters) = if is_about_queries(&sql) {
            (Arc::new(Schema::empty()), Schema::empty())
        } else {
            let statement = session.plan(&sql).await?;
            let parameters = statement.parameters()?;
            match statement.effect() {
                Effect::None => (session.result_schema(statement).await?, parameters),
                Effect::Rows | Effect::Definition => (Arc::new(Schema::empty()), parameters),
            }
        };
        let options = IpcWriteOptions::default();
        let encoded = |schema: &Schema| -> Result<Bytes> {
            let message = IpcMessage::try_from(SchemaAsIpc::new(schema, &options));
            Ok(message.map_err(|error| Error::internal(format!("the schema cannot be encoded: {error}")))?.0)
        };
        let dataset_schema = encoded(&schema)?;
        let prepared_statement_handle = self.prepared.add(session, sql)?;
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle,
            dataset_schema,
            parameter_schema: encoded(&parameters)?,
        })
    }

    fn cancel(&self, info: Option<FlightInfo>) -> Result<()> {
        let by_descriptor = |info: &FlightInfo| query_id(&info.flight_descriptor.as_ref()?.cmd);
        let by_ticket = |info: &FlightInfo| query_id(&info.endpoint.first()?.ticket.as_ref()?.ticket);
        let id = info.and_then(|info| by_descriptor(&info).or_else(|| by_ticket(&info)));
        let id = id.ok_or_else(|| Error::invalid("this is not the FlightInfo of a statement: nothing is cancelled"))?;
        self.queries.get(&id)?.cancel();
        Ok(())
    }

    /// The answer to an action that arrow-flight does not know.
    async fn act(&self, request: &Request<Action>) -> Result<Vec<u8>, Status> {
        let action = request.get_ref();
        match action.r#type.as_str() {
            "CancelFlightInfo" => {
                let body = CancelFlightInfoRequest::decode(action.body.as_ref());
                let body = body.map_err(|error| status(Error::invalid(format!("a malformed request: {error}"))))?;
                self.cancel(body.info).map_err(status)?;
                Ok(CancelFlightInfoResult::new(CancelStatus::Cancelled).encode_to_vec())
            }
            "SetSessionOptions" => {
                actions::set_options(self.session(request)?.as_ref(), &action.body).await.map_err(status)
            }
            "GetSessionOptions" => Ok(actions::get_options(self.session(request)?.as_ref())),
            "CloseSession" => {
                self.sessions.close(request).map_err(status)?;
                Ok(actions::closed())
            }
            other => Err(Status::unimplemented(format!("the action {other} is not known here"))),
        }
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
        self.info(session, Submission::plain(&command.query)).await
    }

    async fn get_flight_info_prepared_statement(
        &self,
        command: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let session = self.session(&request)?;
        let submission = self.prepared.submission(&session, &command.prepared_statement_handle).map_err(status)?;
        self.info(session, submission).await
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
        let facts = sql_info().as_ref().map_err(|error| status(error.clone()))?;
        let schema = command.clone().into_builder(facts).schema();
        Ok(Response::new(metadata_info(&command, &schema).map_err(status)?))
    }

    async fn get_flight_info_xdbc_type_info(
        &self,
        command: CommandGetXdbcTypeInfo,
        _request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let types = xdbc_types().as_ref().map_err(|error| status(error.clone()))?;
        let schema = command.into_builder(types).schema();
        Ok(Response::new(metadata_info(&command, &schema).map_err(status)?))
    }

    async fn get_flight_info_primary_keys(
        &self,
        command: CommandGetPrimaryKeys,
        _request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        Ok(Response::new(metadata_info(&command, &keys::PRIMARY_KEYS).map_err(status)?))
    }

    async fn get_flight_info_exported_keys(
        &self,
        command: CommandGetExportedKeys,
        _request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        Ok(Response::new(metadata_info(&command, &keys::FOREIGN_KEYS).map_err(status)?))
    }

    async fn get_flight_info_imported_keys(
        &self,
        command: CommandGetImportedKeys,
        _request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        Ok(Response::new(metadata_info(&command, &keys::FOREIGN_KEYS).map_err(status)?))
    }

    async fn get_flight_info_cross_reference(
        &self,
        command: CommandGetCrossReference,
        _request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        Ok(Response::new(metadata_info(&command, &keys::FOREIGN_KEYS).map_err(status)?))
    }

    async fn do_get_primary_keys(
        &self,
        command: CommandGetPrimaryKeys,
        request: Request<Ticket>,
    ) -> Result<Response<Messages>, Status> {
        let session = self.session(&request)?;
        Ok(Response::new(one_batch(keys::primary_keys(&session, &command).await.map_err(status)?)))
    }

    async fn do_get_exported_keys(
        &self,
        _command: CommandGetExportedKeys,
        _request: Request<Ticket>,
    ) -> Result<Response<Messages>, Status> {
        Ok(Response::new(one_batch(keys::foreign_keys())))
    }

    async fn do_get_imported_keys(
        &self,
        _command: CommandGetImportedKeys,
        _request: Request<Ticket>,
    ) -> Result<Response<Messages>, Status> {
        Ok(Response::new(one_batch(keys::foreign_keys())))
    }

    async fn do_get_cross_reference(
        &self,
        _command: CommandGetCrossReference,
        _request: Request<Ticket>,
    ) -> Result<Response<Messages>, Status> {
        Ok(Response::new(one_batch(keys::foreign_keys())))
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
        let facts = sql_info().as_ref().map_err(|error| status(error.clone()))?;
        let batch = command.into_builder(facts).build();
        Ok(Response::new(one_batch(batch.map_err(|error| status(metadata::unencodable(error)))?)))
    }

    async fn do_get_xdbc_type_info(
        &self,
        command: CommandGetXdbcTypeInfo,
        _request: Request<Ticket>,
    ) -> Result<Response<Messages>, Status> {
        let types = xdbc_types().as_ref().map_err(|error| status(error.clone()))?;
        let batch = command.into_builder(types).build();
        Ok(Response::new(one_batch(batch.map_err(|error| status(metadata::unencodable(error)))?)))
    }

    async fn do_put_statement_update(
        &self,
        command: CommandStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let session = self.session(&request)?;
        self.update(session, Submission::plain(&command.query)).await
    }

    async fn do_put_prepared_statement_update(
        &self,
        command: CommandPreparedStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let session = self.session(&request)?;
        let mut submission = self.prepared.submission(&session, &command.prepared_statement_handle).map_err(status)?;
        if let Some(rows) = read_parameters(request.into_inner()).await.map_err(status)? {
            submission.parameters = Some(rows);
        }
        self.update(session, submission).await
    }

    async fn do_put_error_callback(
        &self,
        _request: Request<PeekableFlightDataStream>,
        error: DoPutError,
    ) -> Result<Response<<Self as FlightService>::DoPutStream>, Status> {
        let message = format!(
            "data was sent without saying what for ({error}); ADBC sends nothing for a table without batches: send one \
             empty batch"
        );
        Err(status(Error::invalid(message)))
    }

    async fn do_put_statement_ingest(
        &self,
        command: CommandStatementIngest,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let session = self.session(&request)?;
        let target = ingest::target(&command).map_err(status)?;
        let (schema, batches) = ingest::rows(request.into_inner()).await.map_err(status)?;
        let id = Uuid::now_v7().to_string();
        let rows = session.ingest(&id, &target, schema, batches).await.map_err(status)?;
        Ok(i64::try_from(rows).unwrap_or(i64::MAX))
    }

    async fn do_put_prepared_statement_query(
        &self,
        command: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let session = self.session(&request)?;
        let handle = command.prepared_statement_handle;
        let rows = read_parameters(request.into_inner()).await.map_err(status)?;
        self.prepared.bind(&session, &handle, rows).map_err(status)?;
        Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(handle) })
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
        request: Request<Action>,
    ) -> Result<(), Status> {
        let session = self.session(&request)?;
        self.prepared.close(&session, &command.prepared_statement_handle);
        Ok(())
    }

    async fn do_action_cancel_query(
        &self,
        command: ActionCancelQueryRequest,
        _request: Request<Action>,
    ) -> Result<ActionCancelQueryResult, Status> {
        let info = FlightInfo::decode(command.info);
        let info = info.map_err(|error| status(Error::invalid(format!("a malformed FlightInfo: {error}"))))?;
        self.cancel(Some(info)).map_err(status)?;
        Ok(ActionCancelQueryResult { result: QUERY_CANCELLED })
    }

    async fn do_action_fallback(&self, request: Request<Action>) -> Result<Response<ActionStream>, Status> {
        let answer = arrow_flight::Result { body: self.act(&request).await?.into() };
        Ok(Response::new(Box::pin(stream::iter([Ok(answer)]))))
    }

    async fn register_sql_info(&self, _id: i32, _result: &SqlInfo) {}
}
