//! The executor's tie to its coordinator: joining, heartbeats, and joining again when it is lost.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ballista_core::BALLISTA_PROTOCOL_VERSION;
use ballista_core::serde::protobuf::executor_resource::Resource;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{
    ExecutorOperatingSystemSpecification, ExecutorRegistration, ExecutorResource, ExecutorSpecification,
    ExecutorStatus, ExecutorStoppedParams, HeartBeatParams, RegisterExecutorParams, executor_status,
};
use engine::distributed::transport::MESSAGE_BYTES_MAX;
use engine::distributed::wire::{Hello, membership_id, status_error};
use engine::{Error, ErrorKind, Result};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::options::Options;
use crate::tasks::Tasks;
use crate::work_dir::WorkDir;

/// First and longest wait between attempts to join.
const JOIN_WAIT_MIN: Duration = Duration::from_millis(50);
const JOIN_WAIT_MAX: Duration = Duration::from_secs(2);
/// Heartbeats that nobody hears before another coordinator is looked for.
const UNHEARD_BEATS_MAX: usize = 2;
/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the executor stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Membership {
    /// It tries to join.
    Joining,
    /// It has joined under this id.
    Joined(String),
    /// It has left, or could not join.
    Ended,
}

/// The coordinator as the executor sees it.
#[derive(Debug)]
pub(crate) struct Coordinator {
    /// Where coordinators may be, of which one serves.
    places: Vec<(String, Channel)>,
    /// The one that is tried, or that answered.
    place: AtomicUsize,
    hello: Hello,
    host: Option<String>,
    port: u16,
    vcores: u32,
    join_timeout: Duration,
    heartbeat_interval: Duration,
    membership: watch::Sender<Membership>,
    /// The membership that was asked for last.
    asked: Mutex<String>,
    is_draining: watch::Sender<bool>,
}

impl Coordinator {
    /// Makes the tie; no connection yet. The executor can be reached at `port`.
    pub(crate) fn new(options: &Options, name: String, port: u16) -> Result<Arc<Self>> {
        let instance = uuid::Uuid::new_v4().simple().to_string();
        let place = |address: &str| {
            let address = address.trim();
            Ok((address.to_owned(), options.transport.endpoint(address)?.connect_lazy()))
        };
        let hello = Hello { name, version: options.version.clone(), pid: std::process::id(), instance };
        Ok(Arc::new(Self {
            places: options.coordinator.split(',').map(place).collect::<Result<_>>()?,
            place: AtomicUsize::new(0),
            hello,
            host: advertised_host(options),
            port,
            vcores: u32::try_from(options.vcores.max(1)).unwrap_or(u32::MAX),
            join_timeout: options.join_timeout,
            heartbeat_interval: options.heartbeat_interval,
            membership: watch::Sender::new(Membership::Joining),
            asked: Mutex::default(),
            is_draining: watch::Sender::new(false),
        }))
    }

    /// A client of the coordinator's cluster port.
    pub(crate) fn client(&self) -> SchedulerGrpcClient<Channel> {
        SchedulerGrpcClient::new(self.place().1.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn place(&self) -> &(String, Channel) {
        &self.places[self.place.load(Ordering::Relaxed) % self.places.len()]
    }

    fn address(&self) -> &str {
        &self.place().0
    }

    /// Whether `executor_id` is what this executor is now.
    pub(crate) fn is_member(&self, executor_id: &str) -> bool {
        match &*self.membership.borrow() {
            Membership::Joined(id) => id == executor_id,
            Membership::Joining => *self.asked.lock() == executor_id,
            Membership::Ended => false,
        }
    }

    /// Tells every change of membership.
    pub(crate) fn memberships(&self) -> watch::Receiver<Membership> {
        self.membership.subscribe()
    }

    /// The coordinator no longer counts on the membership `executor_id`.
    pub(crate) fn membership_lost(&self, executor_id: &str) {
        self.membership.send_if_modified(|membership| {
            let is_current = matches!(membership, Membership::Joined(id) if id == executor_id);
            if is_current {
                *membership = Membership::Joining;
            }
            is_current
        });
    }

    /// Takes no further queries; heartbeats go on and say so.
    pub(crate) fn drain(&self) {
        self.is_draining.send_replace(true);
    }

    /// Joins, and joins again whenever the membership is lost. Returns only if the first join fails.
    pub(crate) async fn stay_joined(&self, tasks: &Tasks, work_dir: &WorkDir) -> Error {
        let mut deadline = Some(Instant::now() + self.join_timeout);
        loop {
            if let Err(error) = self.join(deadline.take()).await {
                self.membership.send_replace(Membership::Ended);
                return error;
            }
            self.keep_alive().await;
            if *self.membership.borrow() == Membership::Ended {
                // The executor leaves: whoever made it leave ends this too.
                return std::future::pending().await;
            }
            tracing::warn!(coordinator = %self.address(), "the membership is lost: joining again");
            self.asked.lock().clear();
            tasks.cancel_all().await;
            if let Err(error) = work_dir.remove_all_jobs() {
                tracing::warn!(%error, "shuffle files could not be removed");
            }
        }
    }

    /// Says goodbye, as far as the coordinator can be reached.
    pub(crate) async fn leave(&self) {
        let membership = self.membership.send_replace(Membership::Ended);
        let Membership::Joined(executor_id) = membership else { return };
        let goodbye = ExecutorStoppedParams { executor_id, reason: "the executor was stopped".to_owned() };
        if let Err(error) = self.call(|mut client| async move { client.executor_stopped(goodbye).await }).await {
            tracing::warn!(%error, "the coordinator does not know that this executor leaves");
        }
    }

    /// Attempts until one succeeds, one shows that none can, or the deadline is over.
    async fn join(&self, deadline: Option<Instant>) -> Result<()> {
        let mut wait = JOIN_WAIT_MIN;
        loop {
            let executor_id = membership_id(&self.hello.name, now_ms());
            // Tasks may come before the answer does.
            self.asked.lock().clone_from(&executor_id);
            let error = match self.register(&executor_id).await {
                Ok(()) => {
                    tracing::info!(coordinator = %self.address(), executor = %executor_id, "joined");
                    self.membership.send_replace(Membership::Joined(executor_id));
                    return Ok(());
                }
                Err(error) => error,
            };
            let is_hopeless = matches!(error.kind, ErrorKind::Invalid | ErrorKind::Denied);
            let is_late = deadline.is_some_and(|deadline| Instant::now() + wait >= deadline);
            if is_hopeless || is_late {
                return Err(error.context("cannot join the cluster"));
            }
            tracing::info!(%error, wait_ms = wait.as_millis(), "cannot join the cluster yet");
            self.place.fetch_add(1, Ordering::Relaxed);
            sleep(wait).await;
            wait = (wait * 2).min(JOIN_WAIT_MAX);
        }
    }

    async fn register(&self, executor_id: &str) -> Result<()> {
        let request = self.greeted(RegisterExecutorParams { metadata: Some(self.registration(executor_id)) })?;
        self.call(|mut client| async move { client.register_executor(request).await }).await.map(|_| ())
    }

    /// Heartbeats until the membership is lost.
    async fn keep_alive(&self) {
        let mut ticks = interval(self.heartbeat_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut memberships, mut draining) = (self.membership.subscribe(), self.is_draining.subscribe());
        let mut unheard = 0;
        loop {
            let Membership::Joined(executor_id) = memberships.borrow_and_update().clone() else { return };
            tokio::select! {
                _ = ticks.tick() => {}
                _ = draining.changed() => {}
                _ = memberships.changed() => continue,
            }
            match self.beat(&executor_id).await {
                true => unheard = 0,
                false => unheard += 1,
            }
            if unheard >= UNHEARD_BEATS_MAX && self.places.len() > 1 {
                self.membership_lost(&executor_id);
                self.place.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Whether it was heard.
    async fn beat(&self, executor_id: &str) -> bool {
        let status = match *self.is_draining.borrow() {
            true => executor_status::Status::Terminating(String::new()),
            false => executor_status::Status::Active(String::new()),
        };
        let beat = HeartBeatParams {
            executor_id: executor_id.to_owned(),
            metrics: vec![],
            status: Some(ExecutorStatus { status: Some(status) }),
            metadata: Some(self.registration(executor_id)),
        };
        let Ok(request) = self.greeted(beat) else { return false };
        match self.call(|mut client| async move { client.heart_beat_from_executor(request).await }).await {
            Ok(reply) => {
                if reply.reregister {
                    self.membership_lost(executor_id);
                }
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the coordinator does not hear this executor");
                false
            }
        }
    }

    async fn call<T, F>(&self, call: impl FnOnce(SchedulerGrpcClient<Channel>) -> F) -> Result<T>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        match timeout(CALL_TIMEOUT, call(self.client())).await {
            Ok(Ok(reply)) => Ok(reply.into_inner()),
            Ok(Err(status)) if status.code() == Code::Unimplemented => Err(Error::invalid(format!(
                "{} is not the cluster port of a coordinator: give its --cluster-port as --coordinator",
                self.address()
            ))),
            Ok(Err(status)) => Err(status_error(&status, self.address())),
            Err(_) => Err(Error::unavailable(format!("{} did not answer within {CALL_TIMEOUT:?}", self.address()))),
        }
    }

    fn greeted<T>(&self, message: T) -> Result<Request<T>> {
        let mut request = Request::new(message);
        self.hello.write(request.metadata_mut())?;
        Ok(request)
    }

    fn registration(&self, executor_id: &str) -> ExecutorRegistration {
        ExecutorRegistration {
            id: executor_id.to_owned(),
            host: self.host.clone(),
            port: u32::from(self.port),
            grpc_port: u32::from(self.port),
            specification: Some(ExecutorSpecification {
                resources: vec![ExecutorResource { resource: Some(Resource::Vcores(self.vcores)) }],
            }),
            os_info: Some(ExecutorOperatingSystemSpecification::default()),
            ballista_protocol_version: BALLISTA_PROTOCOL_VERSION,
        }
    }
}

/// The host that others shall use, if the executor can tell.
fn advertised_host(options: &Options) -> Option<String> {
    let host = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let listened = (!options.listen.ip().is_unspecified()).then(|| host(options.listen.ip()));
    options.advertised_host.clone().or(listened)
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64)
}
