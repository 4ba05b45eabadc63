//! One connection: messages in, answers out, one after the other. The reader runs ahead, so that a client that leaves is
//! seen while its statement runs.

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use engine::Session;
use futures::{FutureExt, SinkExt, StreamExt};
use pgwire::error::PgWireError;
use pgwire::messages::response::{CommandComplete, EmptyQueryResponse, ReadyForQuery, TransactionStatus};
use pgwire::messages::startup::{BackendKeyData, ParameterStatus, SecretKey};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio_util::codec::{FramedRead, FramedWrite};
use tokio_util::sync::CancellationToken;

use crate::postgres::cancel::Registered;
use crate::postgres::codec::{Codec, WRITE_BUFFER_BYTES};
use crate::postgres::command::{Command, pieces};
use crate::postgres::errors::{Failure, Refusal};
use crate::postgres::extended::{Planned, Portal, Prepared};
use crate::postgres::settings::Settings;
use crate::postgres::startup::Stream;
use crate::postgres::statements::Transaction;
use crate::queries::Queries;
use crate::queries::panicked;

/// Messages that are read before they are answered.
const MESSAGES_AHEAD: usize = 4;

/// How long a client may take to hear the last word.
const GOODBYE_SECONDS_MAX: Duration = Duration::from_secs(1);

type Message = Result<PgWireFrontendMessage, PgWireError>;

/// How a conversation ended.
pub(super) enum Ended {
    ClientLeft,
    /// We stop.
    Stopped,
}

/// What a connection knows.
pub(super) struct Conversation {
    reader: Option<FramedRead<ReadHalf<Stream>, Codec>>,
    pub(super) out: FramedWrite<WriteHalf<Stream>, Codec>,
    pub(super) session: Arc<Session>,
    pub(super) queries: Arc<Queries>,
    pub(super) settings: Arc<Settings>,
    pub(super) registered: Registered,
    pub(super) transaction: Transaction,
    pub(super) statements: HashMap<String, Arc<Prepared>>,
    pub(super) portals: HashMap<String, Portal>,
    /// The statement that was prepared last, as it was planned: it is mostly described next.
    pub(super) planned: Option<Planned>,
    /// Whether messages are dropped until the client has seen the error.
    pub(super) skips: bool,
    /// Whether the client has been told what transactions are here.
    pub(super) has_noticed: bool,
}

impl Conversation {
    pub(super) fn new(
        stream: Stream,
        session: Arc<Session>,
        queries: Arc<Queries>,
        settings: Arc<Settings>,
        registered: Registered,
        message_bytes_max: usize,
    ) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        let mut out = FramedWrite::new(writer, Codec::new(message_bytes_max));
        out.set_backpressure_boundary(WRITE_BUFFER_BYTES);
        Self {
            reader: Some(FramedRead::new(reader, Codec::new(message_bytes_max))),
            out,
            session,
            queries,
            settings,
            registered,
            transaction: Transaction::None,
            statements: HashMap::new(),
            portals: HashMap::new(),
            planned: None,
            skips: false,
            has_noticed: false,
        }
    }

    /// Answers until one of the two has enough. What runs is stopped then.
    ///
    /// # Errors
    /// A client that cannot be talked to any more.
    pub(super) async fn hold(
        &mut self,
        parameters: BTreeMap<String, String>,
        stop: CancellationToken,
    ) -> Result<Ended, Failure> {
        let Some(reader) = self.reader.take() else { return Ok(Ended::ClientLeft) };
        let (sender, messages) = mpsc::channel(MESSAGES_AHEAD);
        tokio::select! {
            () = read_messages(reader, sender) => Ok(Ended::ClientLeft),
            answered = self.answer_all(parameters, messages) => answered.map(|()| Ended::ClientLeft),
            () = stop.cancelled() => Ok(Ended::Stopped),
        }
    }

    /// Tells the client that we stop.
    pub(super) async fn say_goodbye(&mut self) {
        let refusal = Refusal::new("57P01", "the server is stopping; connect again later").fatal();
        let message = PgWireBackendMessage::ErrorResponse(refusal.response());
        // A client that does not listen has had its time.
        let _ = tokio::time::timeout(GOODBYE_SECONDS_MAX, self.out.send(message)).await;
    }

    async fn answer_all(
        &mut self,
        parameters: BTreeMap<String, String>,
        mut messages: mpsc::Receiver<Message>,
    ) -> Result<(), Failure> {
        if let Err(Failure::Statement(refusal)) = self.welcome(parameters).await {
            return self.dismiss(refusal).await;
        }
        while let Some(message) = messages.recv().await {
            let message = match message {
                Ok(message) => message,
                Err(error) => match Failure::from(error) {
                    Failure::Statement(refusal) => return self.dismiss(refusal).await,
                    gone @ Failure::Client(_) => return Err(gone),
                },
            };
            let is_extended = message.is_extended_query();
            if self.skips && !matches!(message, PgWireFrontendMessage::Sync(_)) {
                continue;
            }
            let answered = AssertUnwindSafe(self.answer(message)).catch_unwind().await;
            self.registered.current.clear();
            match answered.unwrap_or_else(|panic| Err(panicked(panic.as_ref()).into())) {
                Ok(()) => {}
                Err(Failure::Statement(refusal)) => self.fail(&refusal, is_extended).await?,
                Err(gone @ Failure::Client(_)) => return Err(gone),
            }
        }
        Ok(())
    }

    /// Takes over what the client asked for at the beginning, and tells it what it must know.
    async fn welcome(&mut self, parameters: BTreeMap<String, String>) -> Result<(), Failure> {
        let mut asked: Vec<(String, String)> = Vec::new();
        for (name, value) in parameters {
            match name.as_str() {
                // Many clients name one although nobody told them to: libpq takes the user's name.
                "database" if self.session.catalogs().await.is_ok_and(|catalogs| catalogs.contains(&value)) => {
                    self.session.set_option("datafusion.catalog.default_catalog", &value).await?;
                }
                "user" | "database" | "replication" => {}
                "options" => asked.extend(options(&value)),
                _ => asked.push((name, value)),
            }
        }
        for (name, value) in asked {
            if self.settings.set(&self.session, &name.to_ascii_lowercase(), &value).await?.is_none() {
                self.session.set_option(&name, &value).await?;
            }
        }
        for (name, value) in self.settings.reported(&self.session) {
            self.tell(name, value).await?;
        }
        let key = self.registered.key;
        let key = BackendKeyData::new(key.process, SecretKey::I32(key.secret));
        self.out.feed(PgWireBackendMessage::BackendKeyData(key)).await?;
        self.ready().await
    }

    async fn answer(&mut self, message: PgWireFrontendMessage) -> Result<(), Failure> {
        match message {
            PgWireFrontendMessage::Query(query) => self.simple(&query.query).await,
            PgWireFrontendMessage::Parse(parse) => self.parse(parse).await,
            PgWireFrontendMessage::Bind(bind) => self.bind(bind).await,
            PgWireFrontendMessage::Describe(describe) => self.describe(describe).await,
            PgWireFrontendMessage::Execute(execute) => self.execute(execute).await,
            PgWireFrontendMessage::Close(close) => self.close(close).await,
            PgWireFrontendMessage::Flush(_) => Ok(self.out.flush().await?),
            PgWireFrontendMessage::Sync(_) => self.sync().await,
            // What is left of a COPY that was refused.
            PgWireFrontendMessage::CopyData(_)
            | PgWireFrontendMessage::CopyDone(_)
            | PgWireFrontendMessage::CopyFail(_) => Ok(()),
            PgWireFrontendMessage::SslNegotiation(_)
            | PgWireFrontendMessage::Startup(_)
            | PgWireFrontendMessage::CancelRequest(_)
            | PgWireFrontendMessage::PasswordMessageFamily(_)
            | PgWireFrontendMessage::PortalSuspended(_)
            | PgWireFrontendMessage::Terminate(_) => Err(Refusal::new("08P01", "a message out of place").into()),
        }
    }

    /// All statements of a text, up to the first that fails.
    async fn simple(&mut self, text: &str) -> Result<(), Failure> {
        let pieces = pieces(text);
        if pieces.is_empty() {
            self.out.feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await?;
        }
        for piece in pieces {
            let (offset, command) = (piece.offset, self.settings.known(piece.command));
            let answered = match command {
                Command::Statement => self.run_simple(piece.text).await,
                command => self.control_simple(command, &piece.text).await,
            };
            answered.map_err(|failure| located(failure, text, offset))?;
        }
        self.ready().await
    }

    /// Tells the client what went wrong; a text is over with that, other messages are skipped until it synchronises.
    async fn fail(&mut self, refusal: &Refusal, is_extended: bool) -> Result<(), Failure> {
        self.transaction = self.transaction.failed();
        self.out.feed(PgWireBackendMessage::ErrorResponse(refusal.response())).await?;
        if is_extended {
            self.skips = true;
            return Ok(self.out.flush().await?);
        }
        self.ready().await
    }

    /// Tells the client why it cannot stay.
    async fn dismiss(&mut self, refusal: Refusal) -> Result<(), Failure> {
        let refusal = refusal.fatal();
        self.out.send(PgWireBackendMessage::ErrorResponse(refusal.response())).await?;
        Err(refusal.into())
    }

    /// Tells the client of a parameter.
    pub(super) async fn tell(&mut self, name: &str, value: String) -> Result<(), Failure> {
        let status = ParameterStatus::new(name.to_owned(), value);
        Ok(self.out.feed(PgWireBackendMessage::ParameterStatus(status)).await?)
    }

    /// Ends a statement.
    pub(super) async fn complete(&mut self, tag: impl Into<String>) -> Result<(), Failure> {
        let complete = CommandComplete::new(tag.into());
        Ok(self.out.feed(PgWireBackendMessage::CommandComplete(complete)).await?)
    }

    pub(super) async fn ready(&mut self) -> Result<(), Failure> {
        let status = match self.transaction {
            Transaction::None => TransactionStatus::Idle,
            Transaction::Open { .. } => TransactionStatus::Transaction,
            Transaction::Failed { .. } => TransactionStatus::Error,
        };
        Ok(self.out.send(PgWireBackendMessage::ReadyForQuery(ReadyForQuery::new(status))).await?)
    }
}

/// Reads until the client leaves. A message that cannot be read is the last one.
async fn read_messages(mut reader: FramedRead<ReadHalf<Stream>, Codec>, sender: mpsc::Sender<Message>) {
    while let Some(message) = reader.next().await {
        match message {
            Ok(PgWireFrontendMessage::Terminate(_)) | Err(PgWireError::IoError(_)) => return,
            Ok(message) => {
                if sender.send(Ok(message)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                let _ = sender.send(Err(error)).await;
                return std::future::pending().await;
            }
        }
    }
}

/// A failure with its place in all that was sent.
pub(super) fn located(failure: Failure, sent: &str, offset: usize) -> Failure {
    match failure {
        Failure::Statement(mut refusal) => {
            refusal.locate(sent, offset);
            Failure::Statement(refusal)
        }
        gone @ Failure::Client(_) => gone,
    }
}

/// The settings in `-c name=value --name=value`.
fn options(text: &str) -> Vec<(String, String)> {
    let words = text.split_ascii_whitespace().map(|word| word.trim_start_matches("--").trim_start_matches("-c"));
    words.filter_map(|word| word.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
