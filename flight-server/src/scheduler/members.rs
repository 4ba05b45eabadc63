//! The executors of the cluster: who is a member, how it is, and which of its virtual cores are free.
//!
//! Ballista asks this table through [`ClusterState`]. Whether an executor is alive is decided here alone, on a clock
//! that nobody sets; what Ballista sees are time stamps that make it agree.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::error::Result as BallistaResult;
use ballista_core::serde::protobuf::{ExecutorHeartbeat, ExecutorStatus, executor_status};
use ballista_core::serde::scheduler::{ExecutorData, ExecutorMetadata};
use ballista_scheduler::cluster::memory::InMemoryClusterState;
use ballista_scheduler::cluster::{BoundTask, ClusterState, ClusterStateEvent, ExecutorSlot};
use ballista_scheduler::config::TaskDistributionPolicy;
use ballista_scheduler::state::task_manager::JobInfoCache;
use engine::distributed::wire::Hello;
use engine::{Error, Result};
use futures::Stream;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::scheduler::SchedulerOptions;
use crate::scheduler::held::{Freed, Held, TaskName};
use crate::scheduler::jobs::Jobs;
use crate::system::ExecutorSummary;

/// How long an executor that has gone is still shown.
const GONE_SHOWN: Duration = Duration::from_secs(300);

/// How long an executor gets no tasks of which results were lost.
const UNWELL_REST: Duration = Duration::from_secs(30);
/// Share of its memory from which on the death of an executor is taken for the work of what it ran.
const FULL_PERCENT: u8 = 85;

/// Whether an executor takes queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It does.
    Active,
    /// It finishes what it has and leaves.
    Draining,
    /// It was not heard of for too long, has left, or could not be reached.
    Lost,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Lost => "lost",
        })
    }
}

/// Who asks to join.
#[derive(Debug, Clone)]
pub(crate) struct Joining {
    pub(crate) hello: Hello,
    pub(crate) metadata: ExecutorMetadata,
}

#[derive(Debug)]
struct Member {
    hello: Hello,
    address: String,
    vcores: u32,
    is_draining: bool,
    /// It said goodbye, or has joined again.
    is_gone: bool,
    /// Its process has died, or nobody can reach it.
    is_dead: bool,
    /// When results of it were lost last.
    unwell_since: Option<Instant>,
    /// Share of its memory that it used when it was last heard of, in percent.
    memory_percent: u8,
    heard: Instant,
    heard_at: SystemTime,
}

impl Member {
    fn is_unwell(&self) -> bool {
        self.unwell_since.is_some_and(|since| since.elapsed() < UNWELL_REST)
    }

    fn is_full(&self) -> bool {
        self.memory_percent >= FULL_PERCENT
    }

    fn state(&self, lost_after: Duration) -> State {
        match self {
            member if member.is_gone || member.is_dead || member.heard.elapsed() > lost_after => State::Lost,
            member if member.is_draining => State::Draining,
            _ => State::Active,
        }
    }
}

/// The table of executors.
pub(crate) struct Members {
    /// Ballista's own accounting of free virtual cores.
    slots: InMemoryClusterState,
    held: Held,
    table: Mutex<HashMap<String, Member>>,
    /// Executors that were lost, for display.
    lost: Mutex<Vec<(Instant, ExecutorSummary)>>,
    jobs: Arc<Jobs>,
    lost_after: Duration,
    /// Executors that take queries.
    active: watch::Sender<usize>,
}

impl std::fmt::Debug for Members {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Members").field("table", &self.table).finish_non_exhaustive()
    }
}

impl Members {
    pub(crate) fn new(jobs: Arc<Jobs>, options: &SchedulerOptions) -> Self {
        Self {
            slots: InMemoryClusterState::default(),
            held: Held::default(),
            table: Mutex::default(),
            lost: Mutex::default(),
            jobs,
            lost_after: options.executor_lost_after,
            active: watch::Sender::new(0),
        }
    }

    /// Takes an executor in; `false` for one that asks again because the answer was lost, and is a member already.
    ///
    /// # Errors
    /// `AlreadyExists` if another living executor has its name.
    pub(crate) async fn join(&self, joining: Joining) -> Result<bool> {
        let Joining { hello, metadata } = joining;
        let vcores = metadata.specification.vcores;
        let id = metadata.id.clone();
        {
            let mut table = self.table.lock();
            if table.contains_key(&id) {
                return Ok(false);
            }
            self.check_name(&table, &hello)?;
            // Joining again, it has forgotten what it had as the member that it was.
            table
                .values_mut()
                .filter(|member| member.hello.name == hello.name)
                .for_each(|member| member.is_gone = true);
            let (heard, heard_at) = (Instant::now(), SystemTime::now());
            let address = format!("{}:{}", metadata.host, metadata.port);
            let member = Member {
                hello,
                address,
                vcores,
                is_draining: false,
                is_gone: false,
                is_dead: false,
                unwell_since: None,
                memory_percent: 0,
                heard,
                heard_at,
            };
            tracing::info!(executor = %id, address = %member.address, vcores, "an executor joins");
            table.insert(id.clone(), member);
        }
        let data = ExecutorData { executor_id: id, total_vcores: vcores, available_vcores: vcores };
        let joined = self.slots.register_executor(metadata, data).await;
        self.count_active();
        joined.map(|()| true).map_err(|error| Error::internal(error.to_string()))
    }

    /// Two executors with one name would be taken for one; a process that started anew replaces the one it was.
    fn check_name(&self, table: &HashMap<String, Member>, hello: &Hello) -> Result<()> {
        let is_other = |member: &&Member| member.hello.name == hello.name && member.hello.instance != hello.instance;
        let other = table.values().find(is_other);
        match other {
            Some(other) if other.state(self.lost_after) != State::Lost => Err(Error::already_exists(format!(
                "an executor named {} is a member already (process {} at {}): choose another --name, or wait {:?} if it is dead",
                hello.name, other.hello.pid, other.address, self.lost_after
            ))),
            _ => Ok(()),
        }
    }

    /// Hears of an executor; `false` if it is no member and has to join again.
    pub(crate) fn heartbeat(&self, id: &str, is_draining: bool) -> bool {
        let is_member = {
            let mut table = self.table.lock();
            let member = table.get_mut(id).filter(|member| member.state(self.lost_after) != State::Lost);
            let is_member = member.is_some();
            if let Some(member) = member {
                member.heard = Instant::now();
                member.heard_at = SystemTime::now();
                member.is_draining |= is_draining;
            }
            is_member
        };
        self.count_active();
        is_member
    }

    /// Whether `id` is a member, living or draining.
    pub(crate) fn is_member(&self, id: &str) -> bool {
        self.table.lock().get(id).is_some_and(|member| member.state(self.lost_after) != State::Lost)
    }

    /// An executor says goodbye. Ballista learns it the next time it looks, within a second.
    pub(crate) fn leave(&self, id: &str) {
        if let Some(member) = self.table.lock().get_mut(id) {
            tracing::info!(executor = %id, "an executor leaves");
            member.is_draining = true;
            member.is_gone = true;
        }
        self.count_active();
    }

    /// An executor is dead: whoever waits for it is told now, and Ballista within a second.
    pub(crate) fn lose(&self, id: &str, reason: &str) {
        let lost = {
            let mut table = self.table.lock();
            let member = table.get_mut(id).filter(|member| member.state(self.lost_after) != State::Lost);
            member.map(|member| {
                member.is_dead = true;
                member.is_full()
            })
        };
        if let Some(was_full) = lost {
            tracing::warn!(executor = %id, %reason, "an executor is dead");
            self.count_active();
            self.jobs.executor_lost(id, was_full);
        }
    }

    /// Notes how much of its memory an executor uses.
    pub(crate) fn note_memory(&self, id: &str, percent: u8) {
        if let Some(member) = self.table.lock().get_mut(id) {
            member.memory_percent = percent;
        }
    }

    /// An executor cannot keep results, or others cannot read them: it gets no tasks for a while, if others can take them.
    pub(crate) fn rest(&self, id: &str) {
        if let Some(member) = self.table.lock().get_mut(id) {
            tracing::warn!(executor = %id, rest = ?UNWELL_REST, "results of an executor were lost: it gets no tasks for a while");
            member.unwell_since = Some(Instant::now());
        }
    }

    /// A task is sent to its executor.
    pub(crate) fn launched(&self, task: &TaskName) {
        self.held.launched(task);
    }

    /// A task has ended on its executor, or was not sent: others may have its virtual cores.
    pub(crate) async fn release(&self, task: &TaskName) -> bool {
        self.free(self.held.release(task).into_iter().collect()).await
    }

    /// No task of the job will be sent any more.
    pub(crate) async fn release_unlaunched(&self, job: &JobId) -> bool {
        self.free(self.held.release_unlaunched(job)).await
    }

    async fn free(&self, freed: Vec<Freed>) -> bool {
        let is_any = !freed.is_empty();
        if let Err(error) = self.slots.unbind_tasks(freed).await {
            tracing::error!(%error, "virtual cores were not given back");
        }
        is_any
    }

    /// Some executor that takes queries, or finishes those that it has.
    pub(crate) fn any_living(&self) -> Option<String> {
        let table = self.table.lock();
        let is_living = |member: &Member| member.state(self.lost_after) != State::Lost;
        table.iter().find(|(_, member)| is_living(member)).map(|(id, _)| id.clone())
    }

    /// Whether an executor takes queries of which no results were lost lately.
    pub(crate) fn has_well_executor(&self) -> bool {
        self.table.lock().values().any(|member| self.is_active(member) && !member.is_unwell())
    }

    /// Membership and address of the executor that operators know as `name`.
    ///
    /// # Errors
    /// `NotFound` if none is a member now.
    pub(crate) fn find(&self, name: &str) -> Result<(String, String)> {
        let table = self.table.lock();
        let is_it = |member: &Member| member.hello.name == name && member.state(self.lost_after) != State::Lost;
        let found = table.iter().find(|(_, member)| is_it(member));
        found.map(|(id, member)| (id.clone(), member.address.clone())).ok_or_else(|| {
            Error::not_found(format!("no executor is named '{name}': SELECT id FROM system.executors lists them"))
        })
    }

    /// Takes no more tasks, from now on.
    pub(crate) fn drain(&self, id: &str) {
        if let Some(member) = self.table.lock().get_mut(id) {
            member.is_draining = true;
        }
        self.count_active();
    }

    fn summary(&self, id: &str, member: &Member) -> ExecutorSummary {
        ExecutorSummary {
            id: member.hello.name.clone(),
            address: member.address.clone(),
            pid: member.hello.pid,
            version: member.hello.version.clone(),
            vcores: member.vcores,
            running_tasks: self.jobs.running_on(id),
            state: member.state(self.lost_after).to_string(),
            last_heartbeat: member.heard_at.into(),
        }
    }

    /// Virtual cores of all executors that take queries.
    pub(crate) fn vcores(&self) -> usize {
        let table = self.table.lock();
        table.values().filter(|member| self.is_active(member)).map(|member| member.vcores as usize).sum()
    }

    /// `HOST:PORT` of the executors that take queries, in order.
    pub(crate) fn active_addresses(&self) -> Vec<String> {
        let table = self.table.lock();
        let active = table.values().filter(|member| self.is_active(member));
        let mut addresses: Vec<String> = active.map(|member| member.address.clone()).collect();
        addresses.sort();
        addresses
    }

    /// Whether an executor that takes queries has nothing to do.
    pub(crate) fn has_idle_executor(&self) -> bool {
        let active: Vec<String> = {
            let table = self.table.lock();
            table.iter().filter(|(_, member)| self.is_active(member)).map(|(id, _)| id.clone()).collect()
        };
        active.iter().any(|id| self.jobs.running_on(id) == 0)
    }

    /// Returns when `count` executors take queries.
    pub(crate) async fn wait_for(&self, count: usize) {
        let mut active = self.active.subscribe();
        // The sender lives as long as this does.
        let _ = active.wait_for(|active| *active >= count).await;
    }

    fn is_active(&self, member: &Member) -> bool {
        member.state(self.lost_after) == State::Active
    }

    /// All of them, if none is well.
    fn without_unwell(&self, executors: HashSet<String>) -> HashSet<String> {
        let table = self.table.lock();
        let is_well = |id: &&String| table.get(*id).is_some_and(|member| !member.is_unwell());
        let well: HashSet<String> = executors.iter().filter(is_well).cloned().collect();
        if well.is_empty() { executors } else { well }
    }

    fn count_active(&self) {
        let count = self.table.lock().values().filter(|member| self.is_active(member)).count();
        self.active.send_if_modified(|active| std::mem::replace(active, count) != count);
    }

    /// What Ballista has to see so that it comes to the same verdict.
    fn projected(&self, id: &str, member: &Member) -> ExecutorHeartbeat {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let (status, timestamp) = match member.state(self.lost_after) {
            State::Active => (executor_status::Status::Active(String::new()), now),
            State::Draining => (executor_status::Status::Terminating(String::new()), now),
            // As terminating: it would be called to stop if not, and that call can hang.
            State::Lost => (executor_status::Status::Terminating(String::new()), 0),
        };
        ExecutorHeartbeat {
            executor_id: id.to_owned(),
            timestamp,
            status: Some(ExecutorStatus { status: Some(status) }),
            ..ExecutorHeartbeat::default()
        }
    }
}

impl Members {
    /// Every member, and those lost lately.
    pub(crate) fn summaries(&self) -> Vec<ExecutorSummary> {
        let mut executors: Vec<ExecutorSummary> = {
            let table = self.table.lock();
            table.iter().filter(|(_, member)| !member.is_gone).map(|(id, member)| self.summary(id, member)).collect()
        };
        let mut lost = self.lost.lock();
        lost.retain(|(since, _)| since.elapsed() < GONE_SHOWN);
        let known: HashSet<String> = executors.iter().map(|executor| executor.id.clone()).collect();
        executors.extend(lost.iter().map(|(_, lost)| lost).filter(|lost| !known.contains(&lost.id)).cloned());
        executors.sort_by(|one, other| one.id.cmp(&other.id));
        executors
    }
}

#[async_trait]
impl ClusterState for Members {
    async fn bind_schedulable_tasks(
        &self,
        distribution: TaskDistributionPolicy,
        active_jobs: Arc<HashMap<JobId, JobInfoCache>>,
        executors: Option<HashSet<String>>,
    ) -> BallistaResult<Vec<BoundTask>> {
        let executors = executors.map(|executors| self.without_unwell(executors));
        let tasks = self.slots.bind_schedulable_tasks(distribution, active_jobs, executors).await?;
        for (executor, task) in &tasks {
            let name = TaskName {
                job: task.key.job_id.clone(),
                stage: task.key.stage_id as u32,
                stage_attempt: task.stage_attempt_num as u32,
                task: task.key.task_id as u32,
            };
            let before = self.held.take(name, executor, task.vcores_consumed);
            self.free(before.into_iter().collect()).await;
        }
        Ok(tasks)
    }

    /// Tasks hold their virtual cores until [`Members::release`].
    async fn unbind_tasks(&self, _slots: Vec<ExecutorSlot>) -> BallistaResult<()> {
        Ok(())
    }

    async fn register_executor(&self, metadata: ExecutorMetadata, data: ExecutorData) -> BallistaResult<()> {
        self.slots.register_executor(metadata, data).await
    }

    async fn save_executor_metadata(&self, metadata: ExecutorMetadata) -> BallistaResult<()> {
        self.slots.save_executor_metadata(metadata).await
    }

    async fn get_executor_metadata(&self, id: &str) -> BallistaResult<ExecutorMetadata> {
        self.slots.get_executor_metadata(id).await
    }

    async fn registered_executor_metadata(&self) -> Vec<ExecutorMetadata> {
        self.slots.registered_executor_metadata().await
    }

    /// Heartbeats arrive at [`Members::heartbeat`].
    async fn save_executor_heartbeat(&self, _heartbeat: ExecutorHeartbeat) -> BallistaResult<()> {
        Ok(())
    }

    /// Ballista has given an executor up: it was lost, has left, or did not take a task.
    async fn remove_executor(&self, id: &str) -> BallistaResult<()> {
        let member = self.table.lock().remove(id);
        let was_full = member.as_ref().is_some_and(Member::is_full);
        if let Some(member) = member.filter(|member| !member.is_gone) {
            tracing::warn!(executor = %id, address = %member.address, "an executor is lost");
            let summary = self.summary(id, &member);
            let summary = ExecutorSummary { state: State::Lost.to_string(), running_tasks: 0, ..summary };
            self.lost.lock().push((Instant::now(), summary));
        }
        self.count_active();
        self.jobs.executor_lost(id, was_full);
        self.held.forget(id);
        self.slots.remove_executor(id).await
    }

    fn executor_heartbeats(&self) -> HashMap<String, ExecutorHeartbeat> {
        self.count_active();
        self.table.lock().iter().map(|(id, member)| (id.clone(), self.projected(id, member))).collect()
    }

    fn get_executor_heartbeat(&self, id: &str) -> Option<ExecutorHeartbeat> {
        self.table.lock().get(id).map(|member| self.projected(id, member))
    }

    async fn cluster_state_events(&self) -> BallistaResult<Pin<Box<dyn Stream<Item = ClusterStateEvent> + Send>>> {
        self.slots.cluster_state_events().await
    }
}
