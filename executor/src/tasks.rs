//! The tasks that this executor has: started once each, cancelled for real, and waited for.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use ballista_core::JobId;
use ballista_core::serde::protobuf::MultiTaskDefinition;
use engine::distributed::pulse::TaskPulse;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cancel::TaskControl;
use crate::report::Outbox;
use crate::task::{Workshop, unneeded};

/// Jobs whose end is remembered, so that a launch that was overtaken by it starts nothing.
const ENDED_JOBS_MAX: usize = 4096;

/// A task in the cluster: job, stage, attempt of the stage, task.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct TaskKey {
    job: JobId,
    stage: u32,
    stage_attempt: u32,
    task: u32,
}

/// All tasks of an executor.
pub(crate) struct Tasks {
    workshop: Arc<Workshop>,
    outbox: Outbox,
    /// Threads for tasks alone, so that heartbeats and shuffle reads are answered while all of them compute.
    threads: Handle,
    state: Mutex<State>,
    /// How many tasks run now.
    running: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    running: HashMap<TaskKey, TaskControl>,
    /// Every task launched of jobs that have not ended.
    launched: HashMap<JobId, HashSet<TaskKey>>,
    ended: HashSet<JobId>,
    ended_in_order: VecDeque<JobId>,
    handles: JoinSet<()>,
}

impl Tasks {
    /// Room for tasks that run on `threads` and leave their outcomes in `outbox`.
    pub(crate) fn new(workshop: Workshop, outbox: Outbox, threads: Handle) -> Arc<Self> {
        let workshop = Arc::new(workshop);
        Arc::new(Self { workshop, outbox, threads, state: Mutex::default(), running: watch::Sender::new(0) })
    }

    /// Starts a task, unless it has been started before or its job has ended.
    pub(crate) fn launch(self: &Arc<Self>, definition: MultiTaskDefinition, executor_id: String) {
        let key = TaskKey {
            job: JobId::new(definition.job_id.clone()),
            stage: definition.stage_id,
            stage_attempt: definition.stage_attempt_num,
            task: definition.task_ids.first().map_or(0, |task| task.task_id),
        };
        let mut state = self.state.lock();
        while state.handles.try_join_next().is_some() {}
        if state.ended.contains(&key.job) {
            // The coordinator keeps a place for it until it hears of it.
            return self.outbox.put(executor_id, unneeded(&definition));
        }
        if !state.launched.entry(key.job.clone()).or_default().insert(key.clone()) {
            return;
        }
        let control = TaskControl::default();
        state.running.insert(key.clone(), control.clone());
        self.running.send_replace(state.running.len());
        let tasks = Arc::clone(self);
        state.handles.spawn_on(async move { tasks.run(key, definition, executor_id, control).await }, &self.threads);
    }

    async fn run(&self, key: TaskKey, definition: MultiTaskDefinition, executor_id: String, control: TaskControl) {
        tracing::debug!(job = %key.job, stage = key.stage, task = key.task, "task starts");
        let status = self.workshop.run(definition, &executor_id, &control).await;
        tracing::debug!(job = %key.job, stage = key.stage, task = key.task, ?status.status, "task has ended");
        self.outbox.put(executor_id, status);
        let mut state = self.state.lock();
        state.running.remove(&key);
        self.running.send_replace(state.running.len());
    }

    /// Cancels one task, whichever attempt of its stage it belongs to.
    pub(crate) fn cancel(&self, job: &JobId, stage: u32, task: u32) {
        let state = self.state.lock();
        let matching = |key: &&TaskKey| key.job == *job && key.stage == stage && key.task == task;
        state.running.iter().filter(|(key, _)| matching(key)).for_each(|(_, control)| control.token.cancel());
    }

    /// Cancels what still runs of a job, takes no more of it, and returns when nothing of it runs.
    pub(crate) async fn end_job(&self, job: &JobId) {
        self.remember_end(job);
        let runs = |state: &State| state.running.keys().any(|key| key.job == *job);
        self.wait_until(|state| !runs(state)).await;
    }

    fn remember_end(&self, job: &JobId) {
        let mut state = self.state.lock();
        state.launched.remove(job);
        state.running.iter().filter(|(key, _)| key.job == *job).for_each(|(_, control)| control.token.cancel());
        if state.ended.insert(job.clone()) {
            state.ended_in_order.push_back(job.clone());
        }
        let oldest = if state.ended_in_order.len() > ENDED_JOBS_MAX { state.ended_in_order.pop_front() } else { None };
        if let Some(oldest) = oldest {
            state.ended.remove(&oldest);
        }
    }

    /// Cancels everything and returns when nothing runs.
    pub(crate) async fn cancel_all(&self) {
        {
            let mut state = self.state.lock();
            state.launched.clear();
            state.running.values().for_each(|control| control.token.cancel());
        }
        self.wait_until_idle().await;
    }

    /// How each task is that runs now.
    pub(crate) fn pulses(&self) -> Vec<TaskPulse> {
        let state = self.state.lock();
        let pulse = |(key, control): (&TaskKey, &TaskControl)| TaskPulse {
            job: key.job.to_string(),
            stage: key.stage,
            task: key.task,
            idle_ms: u64::try_from(control.activity.idle_for().as_millis()).unwrap_or(u64::MAX),
        };
        state.running.iter().map(pulse).collect()
    }

    /// Whether nothing runs.
    pub(crate) fn is_idle(&self) -> bool {
        self.state.lock().running.is_empty()
    }

    /// Returns when nothing runs.
    pub(crate) async fn wait_until_idle(&self) {
        self.wait_until(|state| state.running.is_empty()).await;
    }

    async fn wait_until(&self, is_reached: impl Fn(&State) -> bool) {
        let mut changes = self.running.subscribe();
        while !is_reached(&self.state.lock()) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}
