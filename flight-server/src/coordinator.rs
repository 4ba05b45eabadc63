//! A coordinator: binds its ports, wires the engine to the protocol, serves until it is stopped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use engine::catalog::StoredCatalog;
use engine::limits::Rules;
use engine::{Engine, EngineOptions, Error, ErrorKind, Modes, Result, Warehouse};
use futures::{Stream, StreamExt};
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, timeout, timeout_at};
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::{Server, ServerTlsConfig};

use crate::admission::Admission;
use crate::authentication::Authentication;
use crate::connection::{Connection, ConnectionEnded};
use crate::flight::{Door, Guarded, Service};
use crate::lasting::Lasting;
use crate::options::CoordinatorOptions;
use crate::orphans::sweep_orphans;
use crate::postgres::PostgresDoor;
use crate::queries::Queries;
use crate::scheduler::Scheduler;
use crate::sessions::Sessions;
use crate::spill::SpillDir;
use crate::standby::Lead;
use crate::system::{Executors, NoExecutors, SystemSchema};
use crate::tickets::Tickets;
use crate::tls::TlsFiles;
use crate::users::Users;

/// HTTP/2 flow control window of a stream and of a connection: a few messages, so that a reader rarely waits.
const WINDOW_BYTES: u32 = 8 << 20;

/// Bytes of the headers of a call: some drivers send every setting that they do not know as one.
const HEADER_BYTES_MAX: u32 = 64 << 10;

/// Bytes in flight on a connection inside the process.
const DUPLEX_BYTES: usize = 4 << 20;

/// How often it is looked whether statements keep to their time.
const LIMITS_INTERVAL: Duration = Duration::from_millis(250);

/// How often abandoned results and idle sessions are looked for.
const SWEEP_SECONDS: Duration = Duration::from_secs(10);

/// A running coordinator; dropping it stops it at once.
#[derive(Debug)]
pub struct Coordinator {
    flight_address: Option<SocketAddr>,
    http_address: Option<SocketAddr>,
    postgres_address: Option<SocketAddr>,
    embedded: mpsc::UnboundedSender<DuplexStream>,
    scheduler: Option<Scheduler>,
    queries: Arc<Queries>,
    sessions: Arc<Sessions>,
    drain_time_max: Duration,
    stop: CancellationToken,
    tasks: Vec<AbortOnDropHandle<()>>,
    lead: Option<Lead>,
    _spill_dir: Option<SpillDir>,
}

/// How long clients have to close what they have read when nothing runs any more.
const FAREWELL_TIME_MAX: Duration = Duration::from_secs(1);

/// How long clients have to close their connections when the coordinator stops: nothing runs for them any more.
const GOODBYE_TIME_MAX: Duration = Duration::from_secs(5);

impl Coordinator {
    /// Binds the ports, then starts.
    ///
    /// # Errors
    /// `Unavailable` for a port in use, `Denied` for an address that is not safe to open, and those of the data
    /// directory, the catalog and the storage settings.
    pub async fn start(options: CoordinatorOptions) -> Result<Self> {
        let users = Users::new(options.users.clone())?;
        let spill_dir = options.data_dir.as_deref().map(SpillDir::create).transpose()?;
        let lasting = Lasting::open(&options).await?;
        let lead = match (&lasting.stored, options.is_standby) {
            (Some(stored), true) => Some(Lead::take(Arc::clone(stored)).await?),
            (None, true) => return Err(Error::invalid("--standby needs a catalog: give --catalog-url or --data-dir")),
            (_, false) => None,
        };
        let ports = Ports::bind(&options, &users).await?;
        let (flight_address, http_address, postgres_address) =
            (address(&ports.flight), address(&ports.http), address(&ports.postgres));
        let scheduler = match ports.cluster {
            Some(listener) => Some(Scheduler::start(options.scheduler.clone(), listener).await?),
            None => None,
        };
        let shared = Shared::new(&options, users, scheduler.as_ref(), spill_dir.as_ref(), lasting)?;
        shared.engine.rules().refresh(shared.engine.catalog().as_ref()).await?;
        let (embedded, embedded_connections) = mpsc::unbounded_channel();
        let mut coordinator = Self {
            flight_address,
            http_address,
            postgres_address,
            embedded,
            scheduler,
            queries: Arc::clone(&shared.queries),
            sessions: Arc::clone(&shared.sessions),
            drain_time_max: Duration::from_secs(options.drain_seconds_max),
            stop: CancellationToken::new(),
            tasks: Vec::new(),
            lead,
            _spill_dir: spill_dir,
        };
        let public = Public {
            door: Arc::new(Door(shared.service(&options)?)),
            authentication: Arc::clone(&shared.authentication),
            message_bytes_max: options.message_bytes_max,
            stop: coordinator.stop.clone(),
        };
        let observer = Arc::clone(&shared.sessions) as Arc<dyn ConnectionEnded>;
        let inside = embedded_connections_of(embedded_connections, Arc::clone(&observer));
        coordinator.spawn(public.clone().serve(server(None)?, inside));
        if let Some(listener) = ports.flight {
            let tls = options.tls.as_ref().map(TlsFiles::server_config).transpose()?;
            coordinator.spawn(public.serve(server(tls)?, client_connections(listener, observer)));
        }
        if let Some(listener) = ports.http {
            coordinator.spawn(serve_http(listener, coordinator.stop.clone()));
        }
        if let Some(listener) = ports.postgres {
            coordinator.spawn(shared.postgres(&options)?.serve(listener, coordinator.stop.clone()));
        }
        let untouched_for = Duration::from_secs(options.sweep_after_seconds);
        coordinator.spawn(sweep_orphans(Arc::clone(&shared.engine), shared.stored.clone(), untouched_for));
        coordinator.spawn(follow_rules(Arc::clone(&shared.engine)));
        coordinator.spawn(sweep(shared));
        Ok(coordinator)
    }

    /// A connection that does not leave the process.
    ///
    /// # Errors
    /// `Unavailable` when the coordinator has stopped.
    pub fn connect(&self) -> Result<DuplexStream> {
        let (ours, theirs) = tokio::io::duplex(DUPLEX_BYTES);
        self.embedded.send(theirs).map_err(|_| Error::unavailable("the coordinator has stopped"))?;
        Ok(ours)
    }

    /// Address of the Flight SQL port, if there is one.
    pub fn flight_address(&self) -> Option<SocketAddr> {
        self.flight_address
    }

    /// Address of the HTTP port, if there is one.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http_address
    }

    /// Address of the PostgreSQL port, if there is one.
    pub fn postgres_address(&self) -> Option<SocketAddr> {
        self.postgres_address
    }

    /// Address of the cluster port, if there is one.
    pub fn cluster_address(&self) -> Option<SocketAddr> {
        self.scheduler.as_ref().map(Scheduler::address)
    }

    /// Returns when `count` executors take queries; at once for a coordinator that takes none.
    pub async fn wait_for_executors(&self, count: usize) {
        if let Some(scheduler) = &self.scheduler {
            scheduler.wait_for_executors(count).await;
        }
    }

    /// Returns when another coordinator may serve the catalog: then this one must not. Never for one that stands by for
    /// nobody.
    pub async fn replaced(&self) {
        match &self.lead {
            Some(lead) => lead.lost().cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Takes no further statements, and returns when those that run have ended and their results have been read, or when
    /// `drain_seconds_max` are over.
    pub async fn drain(&self) {
        if timeout(self.drain_time_max, self.queries.close()).await.is_err() {
            tracing::warn!(limit = ?self.drain_time_max, "stopping although statements run");
        }
        // Who has just read a result still says so.
        let _ = timeout(FAREWELL_TIME_MAX, self.sessions.all_ended()).await;
    }

    /// Cancels what runs, says goodbye to clients, and returns when all is closed.
    ///
    /// # Errors
    /// When one of its tasks failed inside.
    pub async fn stop(mut self) -> Result<()> {
        self.queries.stop_all();
        self.stop.cancel();
        // The sweepers have no end of their own.
        self.tasks.truncate(self.tasks.len().saturating_sub(2));
        let deadline = Instant::now() + GOODBYE_TIME_MAX;
        for task in self.tasks.drain(..) {
            // A client that stays connected and asks nothing does not hear of it; dropping the task closes the port.
            if let Ok(ended) = timeout_at(deadline, task).await {
                ended.map_err(|error| Error::internal(format!("the coordinator failed while stopping: {error}")))?;
            }
        }
        if let Some(scheduler) = self.scheduler.take() {
            scheduler.stop().await;
        }
        if let Some(lead) = self.lead.take() {
            lead.release().await;
        }
        Ok(())
    }

    fn spawn(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        #[expect(clippy::disallowed_methods, reason = "the handle is kept and aborts with the coordinator")]
        let task = tokio::spawn(work);
        self.tasks.push(AbortOnDropHandle::new(task));
    }
}

/// What all ports work with.
struct Shared {
    engine: Arc<Engine>,
    stored: Option<Arc<StoredCatalog>>,
    sessions: Arc<Sessions>,
    queries: Arc<Queries>,
    authentication: Arc<Authentication>,
}

impl Shared {
    fn new(
        options: &CoordinatorOptions,
        users: Users,
        scheduler: Option<&Scheduler>,
        spill_dir: Option<&SpillDir>,
        lasting: Lasting,
    ) -> Result<Self> {
        let spill_path = spill_dir.map(|dir| dir.path().to_owned()).or(options.engine.spill_dir.clone());
        let mut engine_options = EngineOptions { spill_dir: spill_path, ..options.engine.clone() };
        allow_warehouse(&mut engine_options.storage.allowed_roots, lasting.warehouse.as_deref())?;
        let result_idle_max = Duration::from_secs(options.result_idle_seconds_max);
        let session_idle_max = Duration::from_secs(options.session_idle_seconds_max);
        let (modes, executors) = match scheduler {
            Some(scheduler) => {
                (scheduler.executions().into_iter().fold(Modes::default(), Modes::with), scheduler.executors())
            }
            None => (Modes::default(), Arc::new(NoExecutors) as Arc<dyn Executors>),
        };
        let rules = Rules::new(options.limits, &options.groups, options.admins.clone())?;
        let queries = Arc::new(Queries::new(
            Arc::clone(&executors),
            Admission::new(Arc::clone(&rules)),
            options.query_history_rows_max,
            result_idle_max,
            Duration::from_secs(options.poll_pause_seconds_max),
            options.statement_bytes_max,
        ));
        let system = SystemSchema { queries: Arc::clone(&queries), executors };
        let engine = Engine::new(
            engine::runtime(&engine_options)?,
            engine_options.partitions,
            lasting.catalog,
            Arc::new(system),
            modes,
            rules,
            Warehouse {
                location: lasting.warehouse.as_deref(),
                sweep_after: Duration::from_secs(options.sweep_after_seconds),
            },
        )?;
        let sessions = Sessions::new(Arc::clone(&engine), options.sessions_max, session_idle_max);
        let authentication = Authentication::new(users, options.anonymous, options.sessions_max, session_idle_max);
        let (sessions, authentication) = (Arc::new(sessions), Arc::new(authentication));
        Ok(Self { engine, stored: lasting.stored, sessions, queries, authentication })
    }

    fn service(&self, options: &CoordinatorOptions) -> Result<Service> {
        Ok(Service {
            sessions: Arc::clone(&self.sessions),
            queries: Arc::clone(&self.queries),
            prepared: Default::default(),
            authentication: Arc::clone(&self.authentication),
            tickets: Tickets::new(Duration::from_secs(options.result_idle_seconds_max))?,
        })
    }

    fn postgres(&self, options: &CoordinatorOptions) -> Result<Arc<PostgresDoor>> {
        Ok(PostgresDoor::new(
            options.tls.as_ref().map(TlsFiles::rustls_config).transpose()?,
            Arc::clone(&self.authentication),
            Arc::clone(&self.sessions),
            Arc::clone(&self.queries),
            options.message_bytes_max,
        ))
    }
}

/// The ports that are open.
struct Ports {
    flight: Option<TcpListener>,
    postgres: Option<TcpListener>,
    http: Option<TcpListener>,
    cluster: Option<TcpListener>,
}

impl Ports {
    async fn bind(options: &CoordinatorOptions, users: &Users) -> Result<Self> {
        let is_guarded = options.tls.is_some() && !users.is_empty() && !options.anonymous;
        let is_safe = options.insecure || is_guarded;
        Ok(Self {
            flight: bind(options.flight_address, FLIGHT_PORT, is_safe).await?,
            postgres: bind(options.postgres_address, POSTGRES_PORT, is_safe).await?,
            http: bind(options.http_address, HTTP_PORT, options.insecure).await?,
            cluster: bind(options.cluster_address, CLUSTER_PORT, options.insecure).await?,
        })
    }
}

/// Managed tables lie where the settings say, wherever statements may go beside that.
fn allow_warehouse(allowed_roots: &mut Vec<String>, warehouse: Option<&str>) -> Result<()> {
    match warehouse {
        _ if allowed_roots.is_empty() => {}
        Some(warehouse) => allowed_roots.push(warehouse.to_owned()),
        None => {
            let message = "storage.allowed_roots needs a place for managed tables: give --data-dir or --warehouse";
            return Err(Error::invalid(message));
        }
    }
    Ok(())
}

fn address(listener: &Option<TcpListener>) -> Option<SocketAddr> {
    listener.as_ref().and_then(|listener| listener.local_addr().ok())
}

/// A port, and the settings that move it.
struct Port {
    flag: &'static str,
    /// What would make another address than loopback safe.
    safe_with: &'static str,
}

const FLIGHT_PORT: Port = Port { flag: "--flight-port", safe_with: "a TLS certificate and users" };
const POSTGRES_PORT: Port = Port { flag: "--pg-port", safe_with: "a TLS certificate and users" };
const HTTP_PORT: Port = Port { flag: "--http-port", safe_with: "--http-listen with a loopback address" };
const CLUSTER_PORT: Port = Port { flag: "--cluster-port", safe_with: "--cluster-listen with a loopback address" };

async fn bind(address: Option<SocketAddr>, port: Port, is_safe: bool) -> Result<Option<TcpListener>> {
    let Some(address) = address else { return Ok(None) };
    let Port { flag, safe_with } = port;
    if !address.ip().is_loopback() && !is_safe {
        let message = format!(
            "refusing to listen on {address} ({flag}): everyone who reaches it could run SQL here; use {safe_with}, or \
             --insecure on a network that you trust"
        );
        return Err(Error::new(ErrorKind::Denied, message));
    }
    let listener = TcpListener::bind(address).await.map_err(|error| {
        Error::unavailable(format!("cannot listen on {address}: {error}; choose another port with {flag}"))
    })?;
    Ok(Some(listener))
}

fn client_connections(
    listener: TcpListener,
    observer: Arc<dyn ConnectionEnded>,
) -> impl Stream<Item = std::io::Result<Connection>> + Send {
    TcpListenerStream::new(listener).map(move |accepted| {
        let stream = accepted?;
        stream.set_nodelay(true)?;
        Ok(Connection::of_client(stream, Arc::clone(&observer)))
    })
}

fn embedded_connections_of(
    streams: mpsc::UnboundedReceiver<DuplexStream>,
    observer: Arc<dyn ConnectionEnded>,
) -> impl Stream<Item = std::io::Result<Connection>> + Send {
    UnboundedReceiverStream::new(streams).map(move |stream| Ok(Connection::embedded(stream, Arc::clone(&observer))))
}

/// A gRPC server without its services.
fn server(tls: Option<ServerTlsConfig>) -> Result<Server> {
    let server = Server::builder()
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)));
    match tls {
        Some(tls) => server
            .tls_config(tls)
            .map_err(|error| Error::invalid(format!("the TLS certificate or key cannot be used: {}", cause(&error)))),
        None => Ok(server),
    }
}

fn cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), cause)
}

/// What is served to clients, inside the process and outside.
#[derive(Clone)]
struct Public {
    door: Arc<Door>,
    authentication: Arc<Authentication>,
    message_bytes_max: usize,
    stop: CancellationToken,
}

impl Public {
    async fn serve(
        self,
        mut server: Server,
        connections: impl Stream<Item = std::io::Result<Connection>> + Send + 'static,
    ) {
        let flight = FlightServiceServer::from_arc(self.door)
            .max_decoding_message_size(self.message_bytes_max)
            .max_encoding_message_size(self.message_bytes_max);
        let served = server
            .add_service(Guarded::new(flight, self.authentication))
            .serve_with_incoming_shutdown(connections, self.stop.cancelled_owned())
            .await;
        if let Err(error) = served {
            tracing::error!(%error, "the Flight SQL port has failed");
        }
    }
}

async fn serve_http(listener: TcpListener, stop: CancellationToken) {
    if let Err(error) = crate::http::serve(listener, stop).await {
        tracing::error!(%error, "the HTTP port has failed");
    }
}

async fn sweep(shared: Shared) {
    let mut sweeps = tokio::time::interval(SWEEP_SECONDS);
    let mut looks = tokio::time::interval(LIMITS_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = sweeps.tick() => {
                shared.authentication.forget_idle();
                shared.sessions.close_idle();
                shared.queries.drop_abandoned();
            }
            _ = looks.tick() => shared.queries.enforce_limits(),
        }
    }
}

/// Another coordinator may change what the catalog keeps; limits hold while the catalog does not answer.
async fn follow_rules(engine: Arc<Engine>) {
    let mut looks = tokio::time::interval(SWEEP_SECONDS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        if let Err(error) = engine.rules().refresh(engine.catalog().as_ref()).await {
            tracing::warn!(%error, "settings for users cannot be read");
        }
    }
}
