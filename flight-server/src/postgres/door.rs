//! Accepts connections and keeps them as long as they last.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;

use crate::authentication::Authentication;
use crate::connection::{ConnectionEnded, next_id};
use crate::postgres::browsing;
use crate::postgres::cancel::Cancels;
use crate::postgres::conversation::{Conversation, Ended};
use crate::postgres::errors::{Failure, fatal};
use crate::postgres::settings::Settings;
use crate::postgres::startup::{Started, refuse, start};
use crate::queries::Queries;
use crate::sessions::Sessions;

/// Seconds in which a client must say who it is.
const STARTUP_SECONDS_MAX: Duration = Duration::from_secs(60);

/// Connections beside those with sessions: they are saying who they are, or cancel.
const STARTING_MAX: usize = 1_000;

/// How long to wait after a connection could not be accepted: file descriptors may be free then.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// The PostgreSQL port.
#[derive(Debug)]
pub(crate) struct PostgresDoor {
    /// Without it connections are plain.
    tls: Option<Arc<ServerConfig>>,
    authentication: Arc<Authentication>,
    sessions: Arc<Sessions>,
    queries: Arc<Queries>,
    cancels: Arc<Cancels>,
    message_bytes_max: usize,
}

impl PostgresDoor {
    pub(crate) fn new(
        tls: Option<Arc<ServerConfig>>,
        authentication: Arc<Authentication>,
        sessions: Arc<Sessions>,
        queries: Arc<Queries>,
        message_bytes_max: usize,
    ) -> Arc<Self> {
        Arc::new(Self { tls, authentication, sessions, queries, cancels: Arc::default(), message_bytes_max })
    }

    /// Serves until `stop` fires and all connections have been told.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    // Dropped without a word, as there may be a flood of them.
                    Ok(_) if connections.len() >= self.sessions.sessions_max() + STARTING_MAX => {}
                    Ok((stream, peer)) => {
                        let served = Arc::clone(&self).connection(stream, peer, stop.clone());
                        connections.spawn(AssertUnwindSafe(served).catch_unwind());
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a PostgreSQL connection could not be accepted");
                        tokio::time::sleep(ACCEPT_AGAIN).await;
                    }
                },
                Some(ended) = connections.join_next() => {
                    if let Ok(Err(_)) = ended {
                        tracing::error!("a PostgreSQL connection failed inside");
                    }
                }
                () = stop.cancelled() => break,
            }
        }
        while connections.join_next().await.is_some() {}
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, stop: CancellationToken) {
        let tls = self.tls.clone().map(TlsAcceptor::from);
        let started = start(stream, peer, tls, &self.authentication, &self.cancels);
        let starting = tokio::time::timeout(STARTUP_SECONDS_MAX, started);
        let started = tokio::select! {
            started = starting => started,
            () = stop.cancelled() => return,
        };
        match started {
            Ok(Ok(Some(started))) => self.converse(started, stop).await,
            Ok(Ok(None)) => {}
            Ok(Err(error)) => tracing::debug!(%peer, %error, "a PostgreSQL client did not get in"),
            Err(_) => tracing::debug!(%peer, "a PostgreSQL client did not say who it is"),
        }
    }

    async fn converse(&self, started: Started, stop: CancellationToken) {
        let open = Open { sessions: &self.sessions, id: next_id() };
        let settings = Arc::new(Settings::new(&started.user));
        let session = match self
            .sessions
            .open(open.id, |engine| browsing::open_session(engine, Arc::clone(&started.caller.user), &settings))
        {
            Ok(session) => session,
            Err(error) => return refuse(started.stream, &fatal(&error)).await,
        };
        let registered = self.cancels.register();
        let mut conversation = Conversation::new(
            started.stream,
            session,
            Arc::clone(&self.queries),
            settings,
            registered,
            self.message_bytes_max,
        );
        let ended = conversation.hold(started.parameters, stop).await;
        match ended {
            Ok(Ended::ClientLeft) => {}
            Err(Failure::Client(error)) => tracing::debug!(%error, "a PostgreSQL client was lost"),
            Ok(Ended::Stopped) => conversation.say_goodbye().await,
            Err(Failure::Statement(refusal)) => {
                tracing::debug!(message = %refusal.message, "a PostgreSQL client was sent away")
            }
        }
    }
}

/// Ends the session with its connection, however that ends.
struct Open<'a> {
    sessions: &'a Sessions,
    id: u64,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.sessions.ended(self.id);
    }
}
