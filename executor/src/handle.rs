//! An executor from start to stop.

use std::net::SocketAddr;
use std::sync::Arc;

use arrow_flight::flight_service_server::FlightServiceServer;
use ballista_core::serde::protobuf::executor_grpc_server::ExecutorGrpcServer;
use datafusion::catalog::EmptyCatalogProviderList;
use engine::distributed::profile::staged_config;
use engine::distributed::registry::function_registry;
use engine::distributed::transport::MESSAGE_BYTES_MAX;
use engine::storage::StorageOptions;
use engine::{EngineOptions, Error, Result, StateSeed, Threads, session_config, session_state};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::server::TcpIncoming;

use crate::checksums::Checksums;
use crate::coordinator::{Coordinator, Membership};
use crate::disk::Room;
use crate::options::Options;
use crate::pulse::Heart;
use crate::report::{Outbox, deliver};
use crate::service::ControlService;
use crate::shuffle::ShuffleService;
use crate::streamed::Streams;
use crate::task::Workshop;
use crate::tasks::Tasks;
use crate::work_dir::WorkDir;

/// Starts executors.
pub struct Executor;

/// A running executor. Dropping it is like killing the process: nothing is finished, nobody is told.
#[derive(Debug)]
pub struct Handle {
    name: String,
    address: SocketAddr,
    membership: watch::Receiver<Membership>,
    shutdown: CancellationToken,
    ended: JoinHandle<Result<()>>,
    _service: Threads,
    _compute: Threads,
}

impl Executor {
    /// Binds the port, takes the work directory and begins to join; cancelling `shutdown` makes it leave.
    ///
    /// # Errors
    /// For a port or a work directory that cannot be used.
    pub async fn start(options: Options, shutdown: CancellationToken) -> Result<Handle> {
        let work_dir = Arc::new(WorkDir::open(&options.work_dir)?);
        let (service, compute) = (Threads::start("executor", 1)?, Threads::start("task", options.vcores)?);
        let listener = std::net::TcpListener::bind(options.listen).map_err(|error| cannot_listen(&options, &error))?;
        let address = listener.local_addr().map_err(|error| cannot_listen(&options, &error))?;
        let name = options.name.clone().unwrap_or_else(made_up_name);
        let outbox = Outbox::default();
        let checksums = Arc::clone(work_dir.checksums());
        let seed = seed(&options, &work_dir)?;
        let workshop = workshop(&options, &seed, &work_dir, checksums);
        let tasks = Tasks::new(workshop, outbox.clone(), compute.handle().clone());
        let streams = Streams::new(seed, &options, compute.handle().clone());
        let (coordinator, membership) = {
            // The channel lives on the threads under which it is made.
            let _entered = service.handle().enter();
            let coordinator = Coordinator::new(&options, name.clone(), address.port())?;
            let membership = coordinator.memberships();
            (coordinator, membership)
        };
        let (leaves, removals) = (shutdown.clone(), TaskTracker::new());
        let parts = Parts { options, tasks, streams, work_dir, coordinator, outbox, removals, leaves };
        let ended = service.spawn(run(parts, listener));
        Ok(Handle { name, address, membership, shutdown, ended, _service: service, _compute: compute })
    }
}

impl Handle {
    /// The id that the operator sees.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the executor listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns when the executor is a member of the cluster.
    ///
    /// # Errors
    /// Why it cannot become one.
    pub async fn joined(&mut self) -> Result<()> {
        loop {
            match &*self.membership.borrow_and_update() {
                Membership::Joined(_) => return Ok(()),
                Membership::Ended => break,
                Membership::Joining => {}
            }
            if self.membership.changed().await.is_err() {
                break;
            }
        }
        match (&mut self.ended).await {
            Ok(Err(error)) => Err(error),
            Ok(Ok(())) => Err(Error::unavailable("the executor has been stopped")),
            Err(error) => Err(Error::internal(format!("the executor failed: {error}"))),
        }
    }

    /// Makes it finish its tasks and leave; [`Handle::wait`] returns when it has.
    pub fn stop(&self) {
        self.shutdown.cancel();
    }

    /// Returns when the executor has ended.
    ///
    /// # Errors
    /// Why it ended, if it was not stopped.
    pub async fn wait(mut self) -> Result<()> {
        self.ended().await
    }

    /// As [`Handle::wait`], for those who go on with the handle.
    ///
    /// # Errors
    /// Why it ended, if it was not stopped.
    pub async fn ended(&mut self) -> Result<()> {
        (&mut self.ended).await.unwrap_or_else(|error| Err(Error::internal(format!("the executor failed: {error}"))))
    }
}

/// What an executor consists of.
struct Parts {
    options: Options,
    tasks: Arc<Tasks>,
    streams: Streams,
    work_dir: Arc<WorkDir>,
    coordinator: Arc<Coordinator>,
    outbox: Outbox,
    removals: TaskTracker,
    /// Cancelled when it has to leave.
    leaves: CancellationToken,
}

/// Serves, stays joined and delivers outcomes until the shutdown, then drains and leaves.
async fn run(parts: Parts, listener: std::net::TcpListener) -> Result<()> {
    let drained = async {
        parts.leaves.cancelled().await;
        parts.drain().await;
    };
    tokio::select! {
        ended = parts.serve(listener) => ended,
        error = parts.coordinator.stay_joined(&parts.tasks, &parts.work_dir) => Err(error),
        () = deliver(&parts.outbox, &parts.coordinator) => Err(Error::internal("outcomes are no longer delivered")),
        () = drained => Ok(()),
    }
}

impl Parts {
    async fn serve(&self, listener: std::net::TcpListener) -> Result<()> {
        let failed = |error: &dyn std::fmt::Display| Error::unavailable(format!("the executor's port: {error}"));
        listener.set_nonblocking(true).map_err(|error| failed(&error))?;
        let listener = TcpListener::from_std(listener).map_err(|error| failed(&error))?;
        let control = ControlService {
            tasks: Arc::clone(&self.tasks),
            work_dir: Arc::clone(&self.work_dir),
            coordinator: Arc::clone(&self.coordinator),
            removals: self.removals.clone(),
        };
        let control = ExecutorGrpcServer::new(control)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let heart = Heart {
            tasks: Arc::clone(&self.tasks),
            outbox: self.outbox.clone(),
            coordinator: Arc::clone(&self.coordinator),
        };
        let shuffle = FlightServiceServer::new(ShuffleService::new(&self.work_dir, heart, self.leaves.clone()))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let server = self.options.transport.server()?.add_service(control).add_service(shuffle);
        let server = server.add_service(self.streams.service());
        server.serve_with_incoming(incoming).await.map_err(|error| failed(&error))
    }

    /// Takes no new queries, finishes the tasks it has and waits for the readers of its files, all within a limit.
    async fn drain(&self) {
        tracing::info!("leaving the cluster after the tasks that run here");
        self.coordinator.drain();
        let finished = async {
            loop {
                self.tasks.wait_until_idle().await;
                self.streams.wait_until_read().await;
                self.outbox.wait_until_empty().await;
                self.work_dir.wait_until_empty().await;
                if self.tasks.is_idle() && self.streams.are_read() {
                    return;
                }
            }
        };
        if timeout(self.options.drain_timeout, finished).await.is_err() {
            tracing::warn!(limit = ?self.options.drain_timeout, "leaving although queries still need this executor");
        }
        self.coordinator.leave().await;
    }
}

/// Session, memory and object stores for tasks.
fn seed(options: &Options, work_dir: &WorkDir) -> Result<StateSeed> {
    let runtime = engine::runtime(&EngineOptions {
        memory_bytes_max: options.memory_bytes_max,
        spill_bytes_max: options.spill_bytes_max,
        spill_dir: Some(work_dir.spill().to_owned()),
        partitions: options.vcores,
        // The coordinator has checked where a statement goes; managed tables lie where only it knows.
        storage: StorageOptions { allowed_roots: Vec::new(), ..options.storage.clone() },
    })?;
    Ok(StateSeed { config: session_config(options.vcores), runtime })
}

/// What tasks of stages need.
fn workshop(options: &Options, seed: &StateSeed, work_dir: &WorkDir, checksums: Arc<Checksums>) -> Workshop {
    let state = session_state(seed, Arc::new(EmptyCatalogProviderList));
    let config = staged_config(state.config().clone(), &options.transport);
    let room = Room { free_bytes_min: options.disk_free_bytes_min, shuffle_bytes_max: options.shuffle_bytes_max };
    Workshop::new(function_registry(&state), config, Arc::clone(&seed.runtime), work_dir.shuffle(), checksums, room)
}

fn cannot_listen(options: &Options, error: &std::io::Error) -> Error {
    Error::unavailable(format!("cannot listen on {}: {error}; choose another address", options.listen))
}

fn made_up_name() -> String {
    let id = uuid::Uuid::new_v4().simple().to_string();
    format!("executor-{}", &id[..8])
}
