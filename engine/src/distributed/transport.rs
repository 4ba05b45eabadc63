//! Connections of the cluster port, client and server side: limits, timeouts and TLS, all from here.

use std::sync::Arc;
use std::time::Duration;

use ballista_core::extension::EndpointOverrideFn;
use tonic::transport::{ClientTlsConfig, Endpoint, Server, ServerTlsConfig};

use crate::{Error, Result};

/// Largest message on the cluster port: a plan, a batch, a set of task reports.
pub const MESSAGE_BYTES_MAX: usize = 256 << 20;
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often an idle connection is tried, and how long the other side may take to answer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Flow control windows: a shuffle should not wait for window updates.
const STREAM_WINDOW_BYTES: u32 = 16 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;

/// How the processes of a cluster talk to each other: in the clear, or over TLS on every hop.
#[derive(Debug, Clone, Default)]
pub struct Transport {
    client_tls: Option<ClientTlsConfig>,
    server_tls: Option<ServerTlsConfig>,
}

impl Transport {
    /// TLS with these settings on every hop of the cluster port.
    pub fn tls(client: ClientTlsConfig, server: ServerTlsConfig) -> Self {
        Self { client_tls: Some(client), server_tls: Some(server) }
    }

    /// Whether the hops are encrypted.
    pub fn is_tls(&self) -> bool {
        self.client_tls.is_some()
    }

    /// A way to reach `address` (`HOST:PORT`).
    pub fn endpoint(&self, address: &str) -> Result<Endpoint> {
        let endpoint = Endpoint::from_shared(format!("{}://{address}", self.scheme()))
            .map_err(|error| Error::invalid(format!("'{address}' is not HOST:PORT: {error}")))?;
        self.configure(endpoint).map_err(|error| Error::invalid(format!("TLS towards {address}: {error}")))
    }

    /// For the connections that Ballista makes itself: it writes `http` always, so the scheme is put right here.
    pub fn endpoint_override(&self) -> EndpointOverrideFn {
        let transport = self.clone();
        Arc::new(move |endpoint| {
            let address = endpoint.uri().authority().map(ToString::to_string).unwrap_or_default();
            transport.endpoint(&address).map_err(Into::into)
        })
    }

    /// A server of the cluster port without its services.
    pub fn server(&self) -> Result<Server> {
        let server = Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        match self.server_tls.clone() {
            Some(tls) => {
                server.tls_config(tls).map_err(|error| Error::invalid(format!("TLS of the cluster port: {error}")))
            }
            None => Ok(server),
        }
    }

    fn scheme(&self) -> &'static str {
        if self.is_tls() { "https" } else { "http" }
    }

    fn configure(&self, endpoint: Endpoint) -> std::result::Result<Endpoint, tonic::transport::Error> {
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        match self.client_tls.clone() {
            Some(tls) => endpoint.tls_config(tls),
            None => Ok(endpoint),
        }
    }
}
