//! Connections to the shuffle services of executors, kept for the next reader.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ballista_core::client::BallistaClient;
use ballista_core::client_pool::{BallistaClientPool, PooledClient};
use ballista_core::error::Result;
use ballista_core::extension::BallistaConfigGrpcEndpoint;
use ballista_core::utils::GrpcClientConfig;
use dashmap::DashMap;

/// How long an idle connection is kept, and how many to one executor.
const IDLE_MAX: Duration = Duration::from_secs(30);
const IDLE_CONNECTIONS_MAX: usize = 16;

type Address = (String, u16);

/// Idle connections by address. Each is used by one reader at a time.
#[derive(Default)]
pub struct ShuffleClients {
    idle: Arc<DashMap<Address, Vec<Idle>>>,
}

struct Idle {
    client: BallistaClient,
    since: Instant,
}

impl std::fmt::Debug for ShuffleClients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShuffleClients").field("executors", &self.idle.len()).finish()
    }
}

impl ShuffleClients {
    fn take_idle(&self, address: &Address) -> Option<BallistaClient> {
        let mut idle = self.idle.get_mut(address)?;
        idle.retain(|entry| entry.since.elapsed() < IDLE_MAX);
        idle.pop().map(|entry| entry.client)
    }

    fn lend(&self, address: Address, client: BallistaClient) -> PooledClient {
        let idle = Arc::clone(&self.idle);
        let give_back = move |client| {
            let mut clients = idle.entry(address).or_default();
            if clients.len() < IDLE_CONNECTIONS_MAX {
                clients.push(Idle { client, since: Instant::now() });
            }
        };
        PooledClient::new(client, Box::new(give_back))
    }
}

#[async_trait]
impl BallistaClientPool for ShuffleClients {
    async fn acquire(
        &self,
        host: &str,
        port: u16,
        config: &GrpcClientConfig,
        customize_endpoint: Option<Arc<BallistaConfigGrpcEndpoint>>,
    ) -> Result<PooledClient> {
        let address = (host.to_owned(), port);
        if let Some(client) = self.take_idle(&address) {
            return Ok(self.lend(address, client));
        }
        let client = BallistaClient::try_new(
            host,
            port,
            config.max_message_size,
            config.use_tls,
            customize_endpoint,
            config.io_retries_times,
            config.io_retry_wait_time_ms,
            config.initial_connection_window_size,
            config.initial_stream_window_size,
        )
        .await?;
        Ok(self.lend(address, client))
    }

    async fn evict_idle(&self) {
        self.idle.retain(|_, clients| {
            clients.retain(|entry| entry.since.elapsed() < IDLE_MAX);
            !clients.is_empty()
        });
    }
}
