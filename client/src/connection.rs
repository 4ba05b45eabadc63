//! One connection to a coordinator: over TCP, or over a byte stream inside the process.

use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt};
use arrow_flight::{Action, FlightDescriptor};
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::Code;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use crate::connector::{Connections, connected};
use crate::credentials::{Authorization, Credentials, Flight};
use crate::error::root_cause;
use crate::query::Query;
use crate::{Error, ErrorKind};

/// How to connect.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// Seconds to wait for the connection.
    pub connect_seconds_max: u64,
    /// Bytes of the largest message taken from the server.
    pub message_bytes_max: usize,
    /// Who to be; nobody if there are none.
    pub credentials: Option<Credentials>,
    /// PEM certificates that the server's must stand on, in place of the system's.
    pub tls_ca: Option<Vec<u8>>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self { connect_seconds_max: 5, message_bytes_max: 256 << 20, credentials: None, tls_ca: None }
    }
}

/// A Flight SQL client on one connection; clones share it.
#[derive(Debug, Clone)]
pub struct Client {
    flight: Flight,
    connections: Arc<Connections>,
}

impl Client {
    /// Connects to `grpc://HOST:PORT` (plain) or `grpc+tls://HOST:PORT`. Of several `HOST:PORT`, separated by commas, the
    /// first that answers is taken, now and whenever the connection is made again.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a malformed URL, [`ErrorKind::Connection`] when nobody answers in time or the server does
    /// not let this user in.
    pub async fn connect(url: &str, options: &ConnectOptions) -> Result<Self, Error> {
        let authorization = Authorization::of(options.credentials.as_ref())?;
        let endpoint =
            endpoint(url, options.tls_ca.as_deref())?.connect_timeout(Duration::from_secs(options.connect_seconds_max));
        let connections = Arc::default();
        let channel = connected(&endpoint, addresses(url), Arc::clone(&connections)).await.map_err(|error| {
            Error::new(ErrorKind::Connection, format!("could not connect to {url}: {}", root_cause(&error)))
        })?;
        let client = Self { connections, ..Self::over(channel, authorization.clone(), options) };
        if authorization.is_there() {
            client.check_credentials(url).await?;
        }
        Ok(client)
    }

    /// Has the server look at who we are before there is work.
    async fn check_credentials(&self, url: &str) -> Result<(), Error> {
        let action = Action::new("GetSessionOptions", Vec::new());
        match self.flight.clone().do_action(action).await {
            Err(status) if status.code() == Code::Unauthenticated => {
                Err(Error::new(ErrorKind::Connection, format!("could not connect to {url}: {}", status.message())))
            }
            // Other servers may not know the action.
            _ => Ok(()),
        }
    }

    /// Connects over a byte stream whose other end a coordinator in this process serves.
    ///
    /// # Errors
    /// [`ErrorKind::Connection`] when the other end is gone.
    pub async fn connect_stream<IO>(stream: IO) -> Result<Self, Error>
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut stream = Some(stream);
        let connector = tower::service_fn(move |_| {
            let stream = stream.take();
            async move { stream.map(TokioIo::new).ok_or_else(|| std::io::Error::other("the coordinator has stopped")) }
        });
        let channel = Endpoint::from_static("http://embedded")
            .initial_connection_window_size(EMBEDDED_WINDOW_BYTES)
            .initial_stream_window_size(EMBEDDED_WINDOW_BYTES)
            .connect_with_connector(connector)
            .await
            .map_err(|error| Error::new(ErrorKind::Connection, root_cause(&error)))?;
        Ok(Self::over(channel, Authorization::default(), &ConnectOptions::default()))
    }

    /// Starts a statement; see [`Query`] for what to do with it.
    ///
    /// # Errors
    /// Whatever the coordinator says of the statement.
    pub async fn execute(&self, sql: &str) -> Result<Query, Error> {
        let command = CommandStatementQuery { query: sql.to_owned(), transaction_id: None };
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        Query::start(self.flight.clone(), descriptor).await
    }

    /// How many connections have ended so far. The next one is made when it is needed, and is another session.
    pub fn connections_lost(&self) -> u64 {
        self.connections.lost()
    }

    fn over(channel: Channel, authorization: Authorization, options: &ConnectOptions) -> Self {
        let flight = FlightServiceClient::with_interceptor(channel, authorization)
            .max_decoding_message_size(options.message_bytes_max)
            .max_encoding_message_size(options.message_bytes_max);
        Self { flight, connections: Arc::default() }
    }
}

/// The addresses that a URL names.
fn addresses(url: &str) -> Vec<String> {
    let addresses = url.split_once("://").map_or(url, |(_, addresses)| addresses).trim_end_matches('/');
    addresses.split(',').map(|address| address.trim().to_owned()).collect()
}

/// HTTP/2 flow control window of the in-process connection: one large batch, so that a reader never waits for credit.
const EMBEDDED_WINDOW_BYTES: u32 = 8 << 20;

fn endpoint(url: &str, tls_ca: Option<&[u8]>) -> Result<Endpoint, Error> {
    let invalid = |why: &str| Error::new(ErrorKind::Invalid, format!("bad server address '{url}': {why}"));
    let (scheme, rest) = url.split_once("://").unwrap_or(("grpc", url));
    // The first stands for all: certificates of several coordinators have one name.
    let rest = rest.split_once(',').map_or(rest, |(first, _)| first.trim());
    let (target, tls) = match scheme {
        "grpc" | "grpc+tcp" | "http" => (format!("http://{rest}"), false),
        "grpc+tls" | "grpcs" | "https" => (format!("https://{rest}"), true),
        _ => return Err(invalid("use grpc://HOST:PORT or grpc+tls://HOST:PORT")),
    };
    let endpoint = Endpoint::from_shared(target).map_err(|error| invalid(&error.to_string()))?;
    let authority = endpoint.uri().authority().ok_or_else(|| invalid("the host is missing"))?;
    if authority.as_str().contains('@') {
        return Err(invalid("name the user apart, with --user"));
    }
    if authority.port_u16().is_none() {
        return Err(invalid("the port is missing"));
    }
    let endpoint = endpoint
        .http2_keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20))
        .tcp_nodelay(true)
        .user_agent(concat!("grappe-client/", env!("CARGO_PKG_VERSION")))
        .map_err(|error| invalid(&error.to_string()))?;
    if !tls {
        return Ok(endpoint);
    }
    // Other crates of a program may bring another: TLS takes none by itself then.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let tls = match tls_ca {
        Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    endpoint.tls_config(tls).map_err(|error| invalid(&root_cause(&error)))
}
