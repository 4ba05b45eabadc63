//! The verbs of Flight SQL.

use std::pin::Pin;
use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::server::{DoPutError, FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionCancelQueryResult, ActionClosePreparedStatementRequest,
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult,
    ActionCreatePreparedSubstraitPlanRequest, CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas,
    CommandGetExportedKeys, CommandGetImportedKeys, CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes,
    CommandGetTables, CommandGetXdbcTypeInfo, CommandPreparedStatementQuery, CommandPreparedStatementUpdate,
    CommandStatementIngest, CommandStatementQuery, CommandStatementSubstraitPlan, CommandStatementUpdate,
    DoPutPreparedStatementResult, SqlInfo, SubstraitPlan, TicketStatementQuery,
};
use arrow_flight::{
    Action, BasicAuth, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightDescriptor, FlightInfo,
    HandshakeRequest, HandshakeResponse, IpcMessage, SchemaAsIpc, Ticket,
};
use bytes::Bytes;
use engine::{Effect, Error, HAS_SUBSTRAIT, Result, Session};
use futures::{Stream, stream};
use prost::Message;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use crate::authentication::{Authentication, Caller, Refusal};
use crate::flight::info::{flight_info, metadata_info, statement_handle};
use crate::flight::parameters::read_parameters;
use crate::flight::prepared::PreparedStatements;
use crate::flight::results::{one_batch, rows};
use crate::flight::sql_info::sql_info;
use crate::flight::status::status;
use crate::flight::types::xdbc_types;
use crate::flight::{actions, ingest, keys, metadata};
use crate::queries::{Queries, is_order};
use crate::query::{Query, Reading};
use crate::sessions::{Sessions, caller};
use crate::submission::Submission;
use crate::tickets::{Claims, Tickets};
use crate::waiting::CancelOnDrop;

type Messages = <Service as FlightService>::DoGetStream;
type HandshakeStream = Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>;
type ActionStream = <Service as FlightService>::DoActionStream;

/// `CancelResult::CANCELLED` of `FlightSql.proto`, which arrow-flight does not export.
const QUERY_CANCELLED: i32 = 1;

/// Why a good ticket brings nothing.
const GONE: &str = "the result is not kept any more: run the statement again";

/// Flight SQL over the coordinator's sessions and queries.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) queries: Arc<Queries>,
    pub(crate) prepared: PreparedStatements,
    pub(crate) authentication: Arc<Authentication>,
    pub(crate) tickets: Tickets,
}

/// What a client sends in place of SQL text.
pub(crate) fn substrait(plan: Option<SubstraitPlan>) -> Result<Submission, Status> {
    if !HAS_SUBSTRAIT {
        return Err(Status::unimplemented("this server was built without Substrait: send SQL text"));
    }
    let plan = plan.ok_or_else(|| status(Error::invalid("a Substrait command without a plan")))?;
    Ok(Submission::substrait(plan.plan))
}

impl Service {
    pub(crate) fn session<T>(&self, request: &Request<T>) -> Result<Arc<Session>, Status> {
        self.sessions.of(request).map_err(status)
    }

    /// Runs a statement until its rows can be read, or to its end if it has an effect.
    pub(crate) async fn run(&self, session: Arc<Session>, submission: Submission) -> Result<Arc<Query>, Status> {
        self.settled(self.queries.submit(session, submission, true).map_err(status)?).await
    }

    /// Waits for a statement; a client that stops waiting cancels it.
    async fn settled(&self, query: Arc<Query>) -> Result<Arc<Query>, Status> {
        let mut guard = CancelOnDrop::new(&query);
        let settled = query.settled().await;
        guard.keep();
        settled.map_err(status)?;
        Ok(query)
    }

    /// What a ticket of the caller's says.
    pub(crate) fn claims<T>(&self, request: &Request<T>, handle: &[u8]) -> Result<Claims, Status> {
        let caller = caller(request).map_err(status)?;
        self.tickets.open(handle, &caller.user).map_err(status)
    }

    /// The rows of a part of a result: as they are made, or those of another run if they have been read.
    async fn read(&self, claims: &Claims) -> Result<Messages, Status> {
        let query = self.queries.get(&claims.query_id).map_err(|_| status(Error::not_found(GONE)))?;
        query.settled().await.or_else(|error| if query.was_left() { Ok(()) } else { Err(status(error)) })?;
        let repeat = match query.read(claims.part).map_err(status)? {
            Reading::Rows(batches) => return Ok(rows(query, batches)),
            Reading::Stored(batch) => return Ok(one_batch(batch)),
            Reading::Again(repeat) => *repeat,
        };
        let again = self.settled(self.queries.repeat(&query, repeat).map_err(status)?).await?;
        match again.read(0).map_err(status)? {
            Reading::Rows(batches) => Ok(rows(again, batches)),
            Reading::Stored(_) | Reading::Again(_) => Err(status(Error::internal("a query run again has no rows"))),
        }
    }

    /// Who says so in the first message of a handshake, as Flight's own `BasicAuth`; whoever says nothing is nobody.
    async fn caller_by_message(&self, messages: &mut Streaming<HandshakeRequest>) -> Result<Caller, Status> {
        let refused = |refusal: Refusal| Status::unauthenticated(refusal.message());
        let said = messages.message().await?.and_then(|message| BasicAuth::decode(message.payload).ok());
        match said {
            Some(said) if !said.username.is_empty() => {
                self.authentication.password(&said.username, &said.password).await.map_err(refused)
            }
            _ => self.authentication.nobody().map_err(refused),
        }
    }

    async fn info(&self, session: Arc<Session>, submission: Submission) -> Result<Response<FlightInfo>, Status> {
        let query = self.run(session, submission).await?;
        Ok(Response::new(flight_info(&self.tickets, &query).map_err(status)?))
    }

    /// Rows that a statement with an effect touched.
    async fn update(&self, session: Arc<Session>, submission: Submission) -> Result<i64, Status> {
        let query = self.run(session, submission).await?;
        let rows = query.rows_affected().unwrap_or(0);
        query.cancel();
        Ok(i64::try_from(rows).unwrap_or(i64::MAX))
    }

    async fn prepare(
        &self,
        session: &Arc<Session>,
        submission: Submission,
    ) -> Result<ActionCreatePreparedStatementResult> {
        let (schema, parameters) = if is_order(&submission.text) {
            (Arc::new(Schema::empty()), Schema::empty())
        } else {
            let statement = submission.planned(session).await?;
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
        let prepared_statement_handle = self.prepared.add(session, submission)?;
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle,
            dataset_schema,
            parameter_schema: encoded(&parameters)?,
        })
    }

    fn cancel<T>(&self, request: &Request<T>, info: Option<FlightInfo>) -> Result<(), Status> {
        let by_descriptor = |info: &FlightInfo| statement_handle(&info.flight_descriptor.as_ref()?.cmd);
        let by_ticket = |info: &FlightInfo| statement_handle(&info.endpoint.first()?.ticket.as_ref()?.ticket);
        let handle = info.and_then(|info| by_descriptor(&info).or_else(|| by_ticket(&info)));
        let none = || Error::invalid("this is not the FlightInfo of a statement: nothing is cancelled");
        let claims = self.claims(request, &handle.ok_or_else(|| status(none()))?)?;
        self.queries.cancel(&claims.query_id, &claims.user).map_err(status)
    }

    /// The answer to an action that arrow-flight does not know.
    async fn act(&self, request: &Request<Action>) -> Result<Vec<u8>, Status> {
        let action = request.get_ref();
        match action.r#type.as_str() {
            "CancelFlightInfo" => {
                let body = CancelFlightInfoRequest::decode(action.body.as_ref());
                let body = body.map_err(|error| status(Error::invalid(format!("a malformed request: {error}"))))?;
                self.cancel(request, body.info)?;
                Ok(CancelFlightInfoResult::new(CancelStatus::Cancelled).encode_to_vec())
            }
            "SetSessionOptions" => {
                actions::set_options(self.session(request)?.as_ref(), &action.body).await.map_err(status)
            }
            "GetSessionOptions" => Ok(actions::get_options(self.session(request)?.as_ref())),
            "CloseSession" => {
                self.sessions.close(request).map_err(status)?;
                if let Some(token) = &caller(request).map_err(status)?.token {
                    self.authentication.forget(token);
                }
                Ok(actions::closed())
            }
            other => Err(Status::unimplemented(format!("the action {other} is not known here"))),
        }
    }
}

#[tonic::async_trait]
impl FlightSqlService for Service {
    type FlightService = Self;

    /// Whoever has proved who they are, by the header or by the first message, gets a token, and with it a session.
    async fn do_handshake(
        &self,
        mut request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<HandshakeStream>, Status> {
        let caller = match request.metadata().contains_key("authorization") {
            true => caller(&request).map_err(status)?.clone(),
            false => self.caller_by_message(request.get_mut()).await?,
        };
        let token = self.authentication.token(&caller).map_err(status)?;
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

    async fn get_flight_info_substrait_plan(
        &self,
        command: CommandStatementSubstraitPlan,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let session = self.session(&request)?;
        self.info(session, substrait(command.plan)?).await
    }

    async fn do_put_substrait_plan(
        &self,
        command: CommandStatementSubstraitPlan,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let session = self.session(&request)?;
        self.update(session, substrait(command.plan)?).await
    }

    async fn do_action_create_prepared_substrait_plan(
        &self,
        command: ActionCreatePreparedSubstraitPlanRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let session = self.session(&request)?;
        self.prepare(&session, substrait(command.plan)?).await.map_err(status)
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
        request: Request<Ticket>,
    ) -> Result<Response<Messages>, Status> {
        let claims = self.claims(&request, &ticket.statement_handle)?;
        claims.check_time().map_err(status)?;
        Ok(Response::new(self.read(&claims).await?))
    }

    async fn do_get_catalogs(
        &self,
        _command: CommandGetCatalogs,
        request: Request<Ticket>,
    ) -> Result<Response<Messages>, Status> {
        let session = self.session(&request)?;
        Ok(Response::new(one_batch(metadata::catalogs(&session).await.map_err(status)?)))
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
        self.prepare(&session, Submission::plain(&command.query)).await.map_err(status)
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
        request: Request<Action>,
    ) -> Result<ActionCancelQueryResult, Status> {
        let info = FlightInfo::decode(command.info);
        let info = info.map_err(|error| status(Error::invalid(format!("a malformed FlightInfo: {error}"))))?;
        self.cancel(&request, Some(info))?;
        Ok(ActionCancelQueryResult { result: QUERY_CANCELLED })
    }

    async fn do_action_fallback(&self, request: Request<Action>) -> Result<Response<ActionStream>, Status> {
        let answer = arrow_flight::Result { body: self.act(&request).await?.into() };
        Ok(Response::new(Box::pin(stream::iter([Ok(answer)]))))
    }

    async fn register_sql_info(&self, _id: i32, _result: &SqlInfo) {}
}
