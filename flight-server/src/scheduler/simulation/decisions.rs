//! How long the scheduler takes to decide, and whether it has decided all that it was asked.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::error::Result as BallistaResult;
use ballista_core::serde::protobuf::ExecutorHeartbeat;
use ballista_core::serde::scheduler::{ExecutorData, ExecutorMetadata};
use ballista_scheduler::cluster::{BoundTask, ClusterState, ClusterStateEvent, ExecutorSlot};
use ballista_scheduler::config::TaskDistributionPolicy;
use ballista_scheduler::state::task_manager::JobInfoCache;
use engine::{Error, Result};
use futures::Stream;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::scheduler::members::Members;

/// A scheduler that is silent for so long has stopped.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// What has been counted.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    /// Decisions, whether or not they bound a task.
    rounds: usize,
    bound: usize,
    launched: usize,
}

/// [`Members`] with a stop watch: Ballista asks it who is alive, and then to bind tasks.
pub(super) struct Decisions {
    members: Arc<Members>,
    counts: watch::Sender<Counts>,
    asked: Mutex<Option<Instant>>,
    took: Mutex<(Vec<Duration>, (usize, Duration))>,
}

impl Decisions {
    pub(super) fn new(members: Arc<Members>) -> Self {
        Self { members, counts: watch::Sender::default(), asked: Mutex::default(), took: Mutex::default() }
    }

    /// Tasks have reached their executor.
    pub(super) fn launched(&self, count: usize) {
        self.counts.send_modify(|counts| counts.launched += count);
    }

    /// Returns when `rounds` decisions have been made and all that they bound is launched.
    pub(super) async fn settled(&self, rounds: usize) -> Result<()> {
        let mut counts = self.counts.subscribe();
        let settled = counts.wait_for(|counts| counts.rounds >= rounds && counts.launched == counts.bound);
        match timeout(SILENCE_MAX, settled).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::internal(format!(
                "the scheduler has said nothing for {SILENCE_MAX:?}: {rounds} decisions are due, {:?}",
                *self.counts.borrow()
            ))),
        }
    }

    /// What decisions took: each that bound a task; number and sum of the others.
    pub(super) fn took(&self) -> (Vec<Duration>, (usize, Duration)) {
        std::mem::take(&mut *self.took.lock())
    }

    fn note(&self, took: Duration, bound: usize) {
        {
            let (deciding, (idle, idle_time)) = &mut *self.took.lock();
            match bound {
                0 => (*idle, *idle_time) = (*idle + 1, *idle_time + took),
                _ => deciding.push(took),
            }
        }
        self.counts.send_modify(|counts| {
            counts.rounds += 1;
            counts.bound += bound;
        });
    }
}

#[async_trait]
impl ClusterState for Decisions {
    async fn bind_schedulable_tasks(
        &self,
        distribution: TaskDistributionPolicy,
        active_jobs: Arc<HashMap<JobId, JobInfoCache>>,
        executors: Option<HashSet<String>>,
    ) -> BallistaResult<Vec<BoundTask>> {
        let asked = self.asked.lock().take().unwrap_or_else(Instant::now);
        let bound = self.members.bind_schedulable_tasks(distribution, active_jobs, executors).await;
        self.note(asked.elapsed(), bound.as_ref().map_or(0, Vec::len));
        bound
    }

    async fn unbind_tasks(&self, slots: Vec<ExecutorSlot>) -> BallistaResult<()> {
        self.members.unbind_tasks(slots).await
    }

    async fn register_executor(&self, metadata: ExecutorMetadata, data: ExecutorData) -> BallistaResult<()> {
        self.members.register_executor(metadata, data).await
    }

    async fn save_executor_metadata(&self, metadata: ExecutorMetadata) -> BallistaResult<()> {
        self.members.save_executor_metadata(metadata).await
    }

    async fn get_executor_metadata(&self, id: &str) -> BallistaResult<ExecutorMetadata> {
        self.members.get_executor_metadata(id).await
    }

    async fn registered_executor_metadata(&self) -> Vec<ExecutorMetadata> {
        self.members.registered_executor_metadata().await
    }

    async fn save_executor_heartbeat(&self, heartbeat: ExecutorHeartbeat) -> BallistaResult<()> {
        self.members.save_executor_heartbeat(heartbeat).await
    }

    async fn remove_executor(&self, id: &str) -> BallistaResult<()> {
        self.members.remove_executor(id).await
    }

    fn executor_heartbeats(&self) -> HashMap<String, ExecutorHeartbeat> {
        *self.asked.lock() = Some(Instant::now());
        self.members.executor_heartbeats()
    }

    fn get_executor_heartbeat(&self, id: &str) -> Option<ExecutorHeartbeat> {
        self.members.get_executor_heartbeat(id)
    }

    async fn cluster_state_events(&self) -> BallistaResult<Pin<Box<dyn Stream<Item = ClusterStateEvent> + Send>>> {
        self.members.cluster_state_events().await
    }
}
