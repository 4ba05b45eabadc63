//! Holds a connection to every executor, over which it tells how it is.
//!
//! When the process dies the connection ends, and a port that refuses another one is proof enough. When the machine or
//! the network dies nothing ends: then the silence counts.

use std::sync::Arc;
use std::time::Duration;

use arrow_flight::Action;
use arrow_flight::flight_service_client::FlightServiceClient;
use engine::distributed::pulse::{DRAIN_ACTION, PULSE_ACTION, Pulse};
use engine::distributed::transport::Transport;
use engine::distributed::wire::status_error;
use engine::{Error, Result};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tonic::Code;
use tonic::transport::Channel;

use crate::scheduler::SchedulerOptions;
use crate::scheduler::jobs::Jobs;
use crate::scheduler::members::Members;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two connections to an executor whose port is open.
const RECONNECT_WAIT: Duration = Duration::from_millis(200);

/// Listens to all executors.
#[derive(Debug)]
pub(crate) struct Pulses {
    members: Arc<Members>,
    jobs: Arc<Jobs>,
    transport: Transport,
    silent_max: Duration,
    task_idle_max: Duration,
    listeners: Mutex<JoinSet<()>>,
}

/// Why a connection has ended.
enum Ended {
    /// It is not known why.
    Broken(String),
    /// The executor is another member now, or none.
    NoMember,
    /// Nothing came for too long.
    Silent,
}

impl Pulses {
    pub(crate) fn new(members: Arc<Members>, jobs: Arc<Jobs>, options: &SchedulerOptions) -> Arc<Self> {
        Arc::new(Self {
            members,
            jobs,
            transport: options.transport.clone(),
            silent_max: options.executor_lost_after,
            task_idle_max: options.task_idle_max,
            listeners: Mutex::default(),
        })
    }

    /// Listens to the member `id` at `address` until it is none any more.
    pub(crate) fn listen(self: &Arc<Self>, id: String, address: String) {
        let mut listeners = self.listeners.lock();
        while listeners.try_join_next().is_some() {}
        let pulses = Arc::clone(self);
        listeners.spawn(async move {
            if let Some(reason) = pulses.listen_to(&id, &address).await {
                pulses.members.lose(&id, &reason);
            }
        });
    }

    /// Returns why it must be given up, or nothing if that has happened.
    async fn listen_to(&self, id: &str, address: &str) -> Option<String> {
        let mut heard = Instant::now();
        while self.members.is_member(id) {
            match self.connected(id, address, &mut heard).await {
                Ended::NoMember => return Some("it is no longer the member that it was".to_owned()),
                Ended::Silent => return Some(format!("nothing was heard of it for {:?}", self.silent_max)),
                Ended::Broken(reason) if is_closed(address).await => {
                    return Some(format!("its connection ended ({reason}) and its port is closed"));
                }
                Ended::Broken(_) if heard.elapsed() > self.silent_max => {
                    return Some(format!("it could not be reached for {:?}", self.silent_max));
                }
                Ended::Broken(reason) => tracing::debug!(executor = %id, %reason, "connecting to an executor again"),
            }
            sleep(RECONNECT_WAIT).await;
        }
        None
    }

    async fn connected(&self, id: &str, address: &str, heard: &mut Instant) -> Ended {
        let stream = match timeout(self.silent_max, self.action(PULSE_ACTION, id, address)).await {
            Err(_) => return Ended::Silent,
            Ok(Err(Error { kind: engine::ErrorKind::NotFound, .. })) => return Ended::NoMember,
            Ok(Err(error)) => return Ended::Broken(error.message),
            Ok(Ok(stream)) => stream,
        };
        let mut stream = stream;
        loop {
            match timeout(self.silent_max, stream.message()).await {
                Err(_) => return Ended::Silent,
                Ok(Err(status)) if status.code() == Code::NotFound => return Ended::NoMember,
                Ok(Err(status)) => return Ended::Broken(status.message().to_owned()),
                Ok(Ok(None)) => return Ended::Broken("the executor ended it".to_owned()),
                Ok(Ok(Some(message))) => {
                    *heard = Instant::now();
                    match Pulse::decode(&message.body) {
                        Ok(pulse) => self.take(id, &pulse),
                        Err(error) => {
                            tracing::warn!(executor = %id, %error, "an executor says what nobody understands")
                        }
                    }
                }
            }
        }
    }

    /// Takes what an executor tells.
    pub(crate) fn take(&self, id: &str, pulse: &Pulse) {
        self.members.note_memory(id, pulse.memory_percent);
        self.jobs.check_tasks(id, &pulse.tasks, self.task_idle_max);
    }

    /// Makes the executor finish what it has and leave.
    ///
    /// # Errors
    /// `Unavailable` if it cannot be reached.
    pub(crate) async fn drain(&self, id: &str, address: &str) -> Result<()> {
        let asked = timeout(self.silent_max, self.action(DRAIN_ACTION, id, address)).await;
        asked.map_err(|_| Error::unavailable(format!("{address} did not answer within {:?}", self.silent_max)))??;
        Ok(())
    }

    async fn action(&self, kind: &str, id: &str, address: &str) -> Result<tonic::Streaming<arrow_flight::Result>> {
        let channel: Channel = self
            .transport
            .endpoint(address)?
            .connect()
            .await
            .map_err(|error| Error::unavailable(format!("{address}: {error}")))?;
        let action = Action { r#type: kind.to_owned(), body: id.as_bytes().to_vec().into() };
        let answer = FlightServiceClient::new(channel).do_action(action).await;
        answer.map(tonic::Response::into_inner).map_err(|status| status_error(&status, address))
    }
}

/// Whether the other side says that nobody listens there.
async fn is_closed(address: &str) -> bool {
    let connected = timeout(CONNECT_TIMEOUT, tokio::net::TcpStream::connect(address)).await;
    matches!(connected, Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused)
}
