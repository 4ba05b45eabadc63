//! Staged and streamed mode: Ballista's scheduler inside the coordinator, and the cluster port on which executors join.
//!
//! The life of a staged query:
//! 1. [`staged`] checks that the plan may travel and submits it to Ballista under a session of the staged profile.
//! 2. Ballista plans stages; [`members`] binds their tasks to executors, whose virtual cores they hold ([`held`]);
//!    [`launcher`] sends them there and makes sure that they arrive.
//! 3. Executors report to [`service`]; [`jobs`] keeps what each job has done, wherever it stands, and whether it can
//!    still end.
//! 4. [`pulses`] hears of dead executors and of tasks that get nowhere; [`recovery`] says whether a job gets over it.
//! 5. [`query`] waits for the job, starts it again if it does not, and reads the result from the executors ([`result`]).
//! 6. [`sweeper`] cancels what nobody waits for and has executors remove the files of jobs that have ended.
//!
//! A streamed query ([`streamed`]) has no scheduler: all its stages run at the same time on the members there are.
//!
//! Must not know Flight SQL, sessions or users.

mod explain;
mod held;
mod jobs;
mod launcher;
mod members;
mod pulses;
mod query;
mod recovery;
mod result;
mod service;
pub(crate) mod simulation;
mod spool;
mod staged;
mod streamed;
mod sweeper;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpcServer;
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::{SchedulerConfig, TaskDistributionPolicy};
use ballista_scheduler::metrics::NoopMetricsCollector;
use ballista_scheduler::scheduler_server::{JobIdGenerator, SchedulerServer};
use ballista_scheduler::state::task_manager::TaskLauncher;
use datafusion::common::runtime::SpawnedTask;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use engine::distributed::codec::ballista_codec;
use engine::distributed::transport::{MESSAGE_BYTES_MAX, Transport};
use engine::{Error, Execution, Result};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::server::TcpIncoming;

use crate::system;
use jobs::Jobs;
use launcher::{Executors, Launcher};
use members::Members;
use pulses::Pulses;
use service::ClusterService;
use staged::{Cluster, StagedExecution};
use streamed::StreamedExecution;
use sweeper::Sweeper;

/// Ballista's scheduler with its usual plan encodings.
type Ballista = SchedulerServer<LogicalPlanNode, PhysicalPlanNode>;

/// Settings of the cluster side of a coordinator.
#[derive(Debug, Clone)]
pub struct SchedulerOptions {
    /// An executor that was silent for so long is lost.
    pub executor_lost_after: Duration,
    /// Parts of a stage for each virtual core of the cluster.
    pub parts_per_vcore: usize,
    /// Parts of a stage at most. What the coordinator remembers of an exchange grows with the square of them
    /// (docs/scale.md).
    pub stage_parts_max: usize,
    /// How often a query is tried when executors are lost before it has delivered a row.
    pub attempts_max: usize,
    /// How often a query is tried when executors die under it whose memory was nearly full: it is taken for the cause.
    pub deaths_max: usize,
    /// A task that neither computes nor is given anything for so long is given up, and its query is tried again.
    pub task_idle_max: Duration,
    /// A job of which nothing runs although an executor is idle is given up after so long.
    pub stalled_after: Duration,
    /// Bytes of a result that are gathered before the first row is delivered: so much survives the loss of executors.
    pub result_spool_bytes_max: u64,
    /// Bytes of a streamed result that are gathered before the first row is delivered: until then the loss of an executor
    /// makes the query run again.
    pub streamed_result_bytes_max: u64,
    /// How long a query waits for an executor when all were lost.
    pub executor_wait: Duration,
    /// How the processes of the cluster talk to each other.
    pub transport: Transport,
    /// Version that executors must have.
    pub version: String,
}

impl Default for SchedulerOptions {
    fn default() -> Self {
        Self {
            executor_lost_after: Duration::from_secs(10),
            parts_per_vcore: 2,
            stage_parts_max: 512,
            attempts_max: 8,
            deaths_max: 2,
            task_idle_max: Duration::from_secs(120),
            stalled_after: Duration::from_secs(30),
            result_spool_bytes_max: 4 << 30,
            streamed_result_bytes_max: 64 << 20,
            executor_wait: Duration::from_secs(30),
            transport: Transport::default(),
            version: engine::distributed::VERSION.to_owned(),
        }
    }
}

/// The scheduler of a coordinator. Dropping it closes the cluster port and forgets every staged query.
#[derive(Debug)]
pub(crate) struct Scheduler {
    address: SocketAddr,
    members: Arc<Members>,
    pulses: Arc<Pulses>,
    staged: Arc<StagedExecution>,
    streamed: Arc<StreamedExecution>,
    _sweeper: SpawnedTask<()>,
    port: AbortOnDropHandle<()>,
    stop: CancellationToken,
}

impl Scheduler {
    /// Serves the cluster port on `listener`, which is bound already.
    ///
    /// # Errors
    /// For a port or TLS settings that cannot be used.
    pub(crate) async fn start(options: SchedulerOptions, listener: TcpListener) -> Result<Self> {
        let address = listener.local_addr().map_err(|error| Error::unavailable(format!("cluster port: {error}")))?;
        let jobs = Arc::new(Jobs::default());
        let members = Arc::new(Members::new(Arc::clone(&jobs), &options));
        let executors = Arc::new(Executors::new(options.transport.clone()));
        let launcher = Launcher::new(Arc::clone(&executors), Arc::clone(&members), Arc::clone(&jobs));
        let cluster = BallistaCluster::new(Arc::clone(&members) as _, Arc::clone(&jobs) as _);
        let ballista = start_ballista(&options, address, cluster, Arc::new(launcher)).await?;
        let pulses = Pulses::new(Arc::clone(&members), Arc::clone(&jobs), &options);
        let (for_ballista, for_members, for_jobs) = (Arc::clone(&ballista), Arc::clone(&members), Arc::clone(&jobs));
        let service = ClusterService::new(for_ballista, for_members, for_jobs, Arc::clone(&pulses), &options);
        let stop = CancellationToken::new();
        let port = serve(&options.transport, listener, service, stop.clone())?;
        #[expect(clippy::disallowed_methods, reason = "the handle is kept and aborts with the scheduler")]
        let port = AbortOnDropHandle::new(tokio::spawn(port));
        let (sweeper, sweeps) = Sweeper::new(Arc::clone(&ballista), Arc::clone(&members), Arc::clone(&jobs), executors);
        let cluster = Cluster::new(options.clone(), ballista, Arc::clone(&members), jobs, sweeper);
        let staged = Arc::new(StagedExecution::new(cluster));
        let streamed = StreamedExecution::new(&options, Arc::clone(&members), Arc::clone(&staged));
        Ok(Self {
            address,
            members,
            pulses,
            staged,
            streamed: Arc::new(streamed),
            _sweeper: SpawnedTask::spawn(sweeps),
            port,
            stop,
        })
    }

    /// Closes the cluster port and returns when it is closed.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.port.await {
            tracing::error!(%error, "the cluster port did not close well");
        }
    }

    /// Where executors join.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The ways to run a statement on executors.
    pub(crate) fn executions(&self) -> [Arc<dyn Execution>; 2] {
        [Arc::clone(&self.staged) as Arc<dyn Execution>, Arc::clone(&self.streamed) as Arc<dyn Execution>]
    }

    /// The executors that are or recently were members.
    pub(crate) fn executors(&self) -> Arc<dyn system::Executors> {
        Arc::new(KnownExecutors { members: Arc::clone(&self.members), pulses: Arc::clone(&self.pulses) })
    }

    /// Returns when `count` executors take queries.
    pub(crate) async fn wait_for_executors(&self, count: usize) {
        self.members.wait_for(count).await;
    }
}

/// The executors as operators see them.
#[derive(Debug)]
struct KnownExecutors {
    members: Arc<Members>,
    pulses: Arc<Pulses>,
}

#[async_trait::async_trait]
impl system::Executors for KnownExecutors {
    fn summaries(&self) -> Vec<system::ExecutorSummary> {
        self.members.summaries()
    }

    async fn drain(&self, name: &str) -> Result<()> {
        let (id, address) = self.members.find(name)?;
        self.members.drain(&id);
        self.pulses.drain(&id, &address).await
    }
}

async fn start_ballista(
    options: &SchedulerOptions,
    address: SocketAddr,
    cluster: BallistaCluster,
    launcher: Arc<dyn TaskLauncher>,
) -> Result<Arc<Ballista>> {
    let config = Arc::new(ballista_config(options));
    let metrics = Arc::new(NoopMetricsCollector::default());
    let endpoint = address.to_string();
    let mut ballista = Ballista::new_with_task_launcher(endpoint, cluster, ballista_codec(), config, metrics, launcher);
    ballista.init().await.map_err(|error| Error::internal(format!("the scheduler did not start: {error}")))?;
    Ok(Arc::new(ballista))
}

fn ballista_config(options: &SchedulerOptions) -> SchedulerConfig {
    SchedulerConfig {
        scheduling_policy: ballista_core::config::TaskSchedulingPolicy::PushStaged,
        // Neighbouring parts of a stage on different executors.
        task_distribution: TaskDistributionPolicy::RoundRobin,
        // Files are removed by the sweeper, when a result has been read rather than some time later.
        finished_job_data_clean_up_interval_seconds: 0,
        finished_job_state_clean_up_interval_seconds: 0,
        executor_timeout_seconds: options.executor_lost_after.as_secs().max(1),
        executor_termination_grace_period: options.executor_lost_after.as_secs().max(1),
        expire_dead_executor_interval_seconds: 1,
        no_executors_grace_period_seconds: options.executor_wait.as_secs(),
        grpc_server_max_decoding_message_size: MESSAGE_BYTES_MAX as u32,
        grpc_server_max_encoding_message_size: MESSAGE_BYTES_MAX as u32,
        grpc_client_max_message_size: MESSAGE_BYTES_MAX as u32,
        override_create_grpc_client_endpoint: Some(options.transport.endpoint_override()),
        use_tls: options.transport.is_tls(),
        job_id_generator: Some(Arc::new(RandomJobIds)),
        ..SchedulerConfig::default()
    }
}

/// Job ids that nobody can guess: they name shuffle files.
struct RandomJobIds;

#[async_trait::async_trait]
impl JobIdGenerator for RandomJobIds {
    async fn next_id(&self) -> String {
        uuid::Uuid::new_v4().simple().to_string()
    }
}

fn serve(
    transport: &Transport,
    listener: TcpListener,
    service: ClusterService,
    stop: CancellationToken,
) -> Result<impl Future<Output = ()> + use<>> {
    let service = SchedulerGrpcServer::new(service)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let router = transport.server()?.add_service(service);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Ok(async move {
        if let Err(error) = router.serve_with_incoming_shutdown(incoming, stop.cancelled_owned()).await {
            tracing::error!(%error, "the cluster port is closed");
        }
    })
}
