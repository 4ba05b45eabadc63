//! What each job has done and whether it can still end.
//!
//! Ballista keeps the graph of a job's stages; this table keeps what those who wait for the job need to know. It is
//! Ballista's [`JobState`], so that no change passes it by, and it sees every launch and every report.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::error::{BallistaError, Result as BallistaResult};
use ballista_core::extension::SessionConfigExt;
use ballista_core::serde::protobuf::failed_task::FailedReason;
use ballista_core::serde::protobuf::job_status::Status;
use ballista_core::serde::protobuf::{JobStatus, MultiTaskDefinition, PartitionLocation, TaskStatus, task_status};
use ballista_core::{JobStatusSubscriber, serde::protobuf::FailedTask};
use ballista_scheduler::cluster::{JobState, JobStateEventStream};
use ballista_scheduler::state::execution_graph::ExecutionGraphBox;
use dashmap::DashMap;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::sanity_checker::SanityCheckPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use engine::distributed::pulse::TaskPulse;
use engine::distributed::wire::read_error;
use engine::limits::Limit;
use engine::{Error, ErrorKind, Progress};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::scheduler::explain::rows_scanned;

/// How long an executor may take to know a task that was sent to it.
const UNKNOWN_MAX: Duration = Duration::from_secs(10);

/// Where a job stands.
#[derive(Debug, Clone)]
pub(crate) enum Phase {
    /// Ballista plans it.
    Planning,
    /// Its first stages can run; these are the columns of its result.
    Running(SchemaRef),
    /// Its result lies on executors.
    Done(Vec<PartitionLocation>),
    /// It cannot end well.
    Failed(Error),
    /// It can no longer end, through no fault of its own: start it again.
    Broken(String),
    /// Ballista could begin with it, but not go on: it must run elsewhere.
    Unsuitable(String),
}

impl Phase {
    /// Whether nothing more will happen.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Failed(_) | Self::Broken(_) | Self::Unsuitable(_))
    }
}

/// One job.
pub(crate) struct Job {
    phase: watch::Sender<Phase>,
    /// Whether Ballista has put the job away: it launches nothing of it any more.
    is_closed: watch::Sender<bool>,
    /// Executors that were lost although they had tasks of it.
    losses: watch::Sender<Vec<Loss>>,
    tasks: Mutex<Tasks>,
    graph: Mutex<Option<ExecutionGraphBox>>,
}

/// The loss of an executor, as a job sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Loss {
    /// The membership that has ended.
    pub(crate) executor: String,
    /// Whether it was running tasks of the job.
    pub(crate) was_running: bool,
    /// Whether its memory was nearly full when it was last heard of.
    pub(crate) was_full: bool,
}

impl Loss {
    /// Whether the job may be why.
    pub(crate) fn is_suspicious(&self) -> bool {
        self.was_running && self.was_full
    }
}

/// A task on its way.
#[derive(Debug)]
struct Launch {
    executor: String,
    since: Instant,
}

struct Tasks {
    /// By stage and task.
    running: HashMap<(u32, u32), Launch>,
    reported: HashSet<(u32, u32)>,
    /// Every executor that had a task.
    executors: HashSet<String>,
    first_error: Option<Error>,
    rows_scanned: u64,
    /// Bytes that its stages have written for each other, and how many they may.
    shuffle_bytes: u64,
    shuffle_bytes_max: Option<u64>,
    changed: Instant,
    stages: HashMap<u32, StageReports>,
}

/// What the tasks of one stage have reported.
#[derive(Debug, Default)]
struct StageReports {
    /// Number of metrics in the first report that had any.
    metrics: Option<usize>,
    /// Files that hold something, by task, with the executor that holds them.
    files: HashMap<u32, (String, usize)>,
}

impl Default for Job {
    fn default() -> Self {
        let tasks = Tasks {
            running: HashMap::new(),
            reported: HashSet::new(),
            executors: HashSet::new(),
            first_error: None,
            rows_scanned: 0,
            shuffle_bytes: 0,
            shuffle_bytes_max: None,
            changed: Instant::now(),
            stages: HashMap::new(),
        };
        Self {
            phase: watch::Sender::new(Phase::Planning),
            is_closed: watch::Sender::new(false),
            losses: watch::Sender::new(Vec::new()),
            tasks: Mutex::new(tasks),
            graph: Mutex::new(None),
        }
    }
}

impl Job {
    /// Tells where the job stands, now and at each change.
    pub(crate) fn phases(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Tells which executors were lost, now and at each change.
    pub(crate) fn losses(&self) -> watch::Receiver<Vec<Loss>> {
        self.losses.subscribe()
    }

    /// The first error that a task ended with.
    pub(crate) fn first_error(&self) -> Option<Error> {
        self.tasks.lock().first_error.clone()
    }

    /// Whether Ballista launches nothing of it any more.
    pub(crate) fn is_closed(&self) -> bool {
        *self.is_closed.borrow()
    }

    /// Returns when Ballista launches nothing of it any more.
    pub(crate) async fn closed(&self) {
        // The sender lives as long as this does.
        let _ = self.is_closed.subscribe().wait_for(|is_closed| *is_closed).await;
    }

    /// The graph of a job that has ended.
    pub(crate) fn graph(&self) -> Option<ExecutionGraphBox> {
        self.graph.lock().as_ref().map(|graph| graph.cloned())
    }

    /// Executors that had tasks of the job.
    pub(crate) fn executors(&self) -> HashSet<String> {
        self.tasks.lock().executors.clone()
    }

    /// How long no task of it was running, launched or reported.
    pub(crate) fn idle_for(&self) -> Duration {
        let tasks = self.tasks.lock();
        if tasks.running.is_empty() { tasks.changed.elapsed() } else { Duration::ZERO }
    }

    /// The job can no longer end.
    pub(crate) fn give_up(&self, reason: String) {
        self.advance(Phase::Broken(reason));
    }

    /// Tasks launched and reported. The total grows as stages are planned, so there is no fraction.
    pub(crate) fn progress(&self) -> Progress {
        let tasks = self.tasks.lock();
        let done = tasks.reported.len() as u64;
        let total = done + tasks.running.len() as u64;
        Progress { fraction: None, rows_scanned: tasks.rows_scanned, tasks_done: done, tasks_total: total }
    }

    /// Stops the job when its stages have written more for each other.
    pub(crate) fn limit_shuffle(&self, bytes_max: u64) {
        let mut tasks = self.tasks.lock();
        tasks.shuffle_bytes_max = Some(bytes_max);
        if let Some(error) = tasks.excess() {
            drop(tasks);
            self.advance(Phase::Failed(error));
        }
    }

    fn advance(&self, next: Phase) {
        self.phase.send_if_modified(|phase| {
            let is_open = !phase.is_final();
            if is_open {
                *phase = next;
            }
            is_open
        });
    }

    fn fail(&self, text: &str) {
        let first = self.tasks.lock().first_error.clone();
        let error = first.or_else(|| read_error(text)).unwrap_or_else(|| Error::internal(text.trim().to_owned()));
        self.advance(Phase::Failed(error));
    }

    /// Notes a launch; `false` if the job was put away, and its executors have been told or are about to be.
    fn launched(&self, task: (u32, u32), executor: &str) -> bool {
        let mut tasks = self.tasks.lock();
        // Under the lock: whoever reads the executors of a closed job sees this one, or it is not sent anything.
        if self.is_closed() {
            return false;
        }
        tasks.running.insert(task, Launch { executor: executor.to_owned(), since: Instant::now() });
        tasks.executors.insert(executor.to_owned());
        tasks.changed = Instant::now();
        true
    }

    /// Notes a report; `false` if it was noted before.
    fn reported(&self, report: &mut TaskStatus) -> bool {
        let task = (report.stage_id, report.task_id);
        let mut tasks = self.tasks.lock();
        tasks.running.remove(&task);
        tasks.changed = Instant::now();
        if !tasks.reported.insert(task) {
            return false;
        }
        tasks.note_stage(report);
        if let Some(error) = tasks.excess() {
            drop(tasks);
            self.advance(Phase::Failed(error));
            return true;
        }
        if let Some(task_status::Status::Failed(failure)) = &report.status {
            let lost = tasks.note_failure(failure, report.stage_id);
            drop(tasks);
            if let Some(reason) = lost {
                self.give_up(reason);
            }
        }
        true
    }

    /// The job has ended well, unless Ballista forgot a report: it only logs what it cannot make sense of, and rows
    /// would be missing.
    fn succeed(&self, locations: Vec<PartitionLocation>) {
        let files = {
            let tasks = self.tasks.lock();
            let last = tasks.stages.keys().max();
            let last = last.and_then(|stage| tasks.stages.get(stage));
            last.map_or(0, |stage| stage.files.values().map(|(_, files)| files).sum())
        };
        if files == locations.len() {
            self.advance(Phase::Done(locations));
        } else {
            self.give_up(format!("{files} files of the result were reported and {} are known", locations.len()));
        }
    }
}

impl Tasks {
    /// Ballista refuses a report whose metrics differ in number from those of the stage's other tasks, as they do when
    /// tasks work on different branches of a union, and loses the task's output with them: such metrics are left out.
    fn note_stage(&mut self, report: &mut TaskStatus) {
        let stage = self.stages.entry(report.stage_id).or_default();
        if !report.metrics.is_empty() && *stage.metrics.get_or_insert(report.metrics.len()) != report.metrics.len() {
            report.metrics.clear();
        }
        if let Some(task_status::Status::Successful(success)) = &report.status {
            let files = success.partitions.iter().filter(|file| file.num_bytes > 0).count();
            stage.files.insert(report.task_id, (success.executor_id.clone(), files));
            self.shuffle_bytes += success.partitions.iter().map(|file| file.num_bytes).sum::<u64>();
        }
    }

    /// The error of a job that has written more than it may.
    fn excess(&self) -> Option<Error> {
        let most = self.shuffle_bytes_max.filter(|most| self.shuffle_bytes > *most)?;
        let (bytes, name) = (self.shuffle_bytes, Limit::Shuffle);
        let message =
            format!("the stages of the query have written {bytes} bytes for each other, more than {name} = {most}");
        Some(Error::new(ErrorKind::Exhausted, message))
    }

    /// Keeps the error that fails the job; returns a reason if the job cannot recover from the failure.
    fn note_failure(&mut self, failure: &FailedTask, stage: u32) -> Option<String> {
        match failure.failed_reason {
            Some(FailedReason::FetchPartitionError(_)) => Some("shuffle files were lost".to_owned()),
            Some(FailedReason::ExecutionError(_) | FailedReason::IoError(_)) => {
                self.first_error.get_or_insert_with(|| error_of(failure, stage));
                None
            }
            Some(FailedReason::ResultLost(_)) => {
                let error = self.first_error.get_or_insert_with(|| error_of(failure, stage));
                Some(format!("an executor cannot keep its results: {}", error.message))
            }
            _ => None,
        }
    }
}

/// What a task says went wrong.
fn error_of(failure: &FailedTask, stage: u32) -> Error {
    let error = read_error(&failure.error).unwrap_or_else(|| Error::internal(failure.error.clone()));
    // What a limit was reached in, operators say; which of them, only with the stage.
    if error.kind == ErrorKind::Exhausted { error.context(format!("stage {stage}")) } else { error }
}

/// All jobs that have not been swept.
#[derive(Default)]
pub(crate) struct Jobs {
    jobs: DashMap<JobId, Arc<Job>>,
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jobs").field("jobs", &self.jobs.len()).finish()
    }
}

impl Jobs {
    /// The job `id`, made if Ballista has not told of it yet.
    pub(crate) fn job(&self, id: &JobId) -> Arc<Job> {
        Arc::clone(&self.jobs.entry(id.clone()).or_default())
    }

    /// The job `id`, if it has not been swept.
    pub(crate) fn known(&self, id: &JobId) -> Option<Arc<Job>> {
        self.jobs.get(id).map(|job| Arc::clone(&job))
    }

    /// Forgets a job.
    pub(crate) fn remove(&self, id: &JobId) {
        self.jobs.remove(id);
    }

    /// A task is about to be sent to an executor; reports can arrive before the answer. `false` if its job was put away
    /// since Ballista bound the task: it must not be sent, for nobody would ever cancel it. Ballista has its virtual
    /// cores back already.
    pub(crate) fn launched(&self, definition: &MultiTaskDefinition, executor: &str) -> bool {
        let Some(job) = self.known(&JobId::new(definition.job_id.clone())) else { return false };
        definition.task_ids.iter().all(|task| job.launched((definition.stage_id, task.task_id), executor))
    }

    /// The reports among `reports` that are news. Executors send a report again until it is acknowledged, and Ballista
    /// would give the task's virtual cores back each time.
    pub(crate) fn news(&self, reports: Vec<TaskStatus>) -> Vec<TaskStatus> {
        let news = |mut report: TaskStatus| {
            let job = self.known(&JobId::new(report.job_id.clone()))?;
            job.reported(&mut report).then_some(report)
        };
        reports.into_iter().filter_map(news).collect()
    }

    /// A job cannot be launched, whatever the executor.
    pub(crate) fn refuse(&self, id: &JobId, error: Error) {
        if let Some(job) = self.known(id) {
            job.advance(Phase::Failed(error));
        }
    }

    /// A launch that will not be made: its executor was lost in the moment.
    pub(crate) fn not_launched(&self, definition: &MultiTaskDefinition) {
        let Some(job) = self.known(&JobId::new(definition.job_id.clone())) else { return };
        let mut tasks = job.tasks.lock();
        for task in &definition.task_ids {
            tasks.running.remove(&(definition.stage_id, task.task_id));
        }
    }

    /// Every job that used the executor is told; what becomes of it is decided by whoever waits for it.
    pub(crate) fn executor_lost(&self, executor: &str, was_full: bool) {
        for job in &self.jobs {
            let mut tasks = job.tasks.lock();
            let running = tasks.running.len();
            tasks.running.retain(|_, launch| launch.executor != executor);
            let was_running = tasks.running.len() < running;
            for stage in tasks.stages.values_mut() {
                stage.files.retain(|_, (holder, _)| holder != executor);
            }
            let is_affected = tasks.executors.contains(executor);
            drop(tasks);
            if is_affected {
                let loss = Loss { executor: executor.to_owned(), was_running, was_full };
                job.losses.send_if_modified(|losses| {
                    let is_news = losses.iter().all(|known| known.executor != loss.executor);
                    if is_news {
                        losses.push(loss);
                    }
                    is_news
                });
            }
        }
    }

    /// Gives up jobs of which an executor has a task that nothing will come of: it has been idle for `idle_max`, or the
    /// executor does not know it.
    pub(crate) fn check_tasks(&self, executor: &str, known: &[TaskPulse], idle_max: Duration) {
        for job in &self.jobs {
            let mut reason = None;
            for ((stage, task), launch) in &job.tasks.lock().running {
                if launch.executor != executor {
                    continue;
                }
                let is_it = |pulse: &&TaskPulse| {
                    pulse.stage == *stage && pulse.task == *task && pulse.job == job.key().as_str()
                };
                match known.iter().find(is_it) {
                    Some(pulse) if Duration::from_millis(pulse.idle_ms) > idle_max => {
                        reason =
                            Some(format!("task {task} of stage {stage} on {executor} did nothing for {idle_max:?}"));
                    }
                    None if launch.since.elapsed() > UNKNOWN_MAX => {
                        reason = Some(format!("{executor} has forgotten task {task} of stage {stage}"));
                    }
                    _ => {}
                }
            }
            if let Some(reason) = reason {
                job.give_up(reason);
            }
        }
    }

    /// Tasks that `executor` has now.
    pub(crate) fn running_on(&self, executor: &str) -> u32 {
        let count = |job: &Job| job.tasks.lock().running.values().filter(|launch| launch.executor == executor).count();
        self.jobs.iter().map(|job| count(&job) as u32).sum()
    }

    fn take_over(&self, id: &JobId, graph: &ExecutionGraphBox) {
        let Some(job) = self.known(id) else { return };
        job.tasks.lock().rows_scanned = rows_scanned(graph.as_ref());
        match &graph.status().status {
            Some(Status::Successful(success)) => {
                *job.graph.lock() = Some(graph.cloned());
                job.succeed(success.partition_location.clone());
            }
            Some(Status::Failed(failure)) => job.fail(&failure.error),
            _ => return,
        }
        job.is_closed.send_replace(true);
    }

    fn ids(&self, is_wanted: impl Fn(&Job) -> bool) -> HashSet<JobId> {
        self.jobs.iter().filter(|job| is_wanted(job)).map(|job| job.key().clone()).collect()
    }
}

/// Adaptive planning puts exchanges into a plan whose orders were settled without them, and checks them only when the
/// first stage has ended: of an error it then keeps no record but a line in the log, and the job hangs. One way there is
/// `ORDER BY` a column that is a constant in each branch of a `UNION ALL`.
fn check_exchanges(plan: &Arc<dyn ExecutionPlan>) -> Result<(), String> {
    match SanityCheckPlan::new().optimize(Arc::clone(plan), &ConfigOptions::default()) {
        Err(error) if error.to_string().contains("does not satisfy order requirements") => {
            Err("its order does not survive the exchange between two stages".to_owned())
        }
        // What else it finds is settled by adaptive planning on the way.
        _ => Ok(()),
    }
}

#[async_trait]
impl JobState for Jobs {
    fn accept_job(&self, id: &JobId, _name: &str, _queued_at: u64) -> BallistaResult<()> {
        self.job(id);
        Ok(())
    }

    fn pending_job_number(&self) -> usize {
        self.ids(|job| matches!(*job.phase.borrow(), Phase::Planning)).len()
    }

    async fn submit_job(
        &self,
        id: JobId,
        graph: &ExecutionGraphBox,
        _subscriber: Option<JobStatusSubscriber>,
    ) -> BallistaResult<()> {
        let plan = graph.physical_plan();
        if let Err(reason) = check_exchanges(&plan) {
            self.job(&id).advance(Phase::Unsuitable(reason.clone()));
            return Err(BallistaError::General(reason));
        }
        self.job(&id).advance(Phase::Running(plan.schema()));
        Ok(())
    }

    async fn get_jobs(&self) -> BallistaResult<HashSet<JobId>> {
        Ok(self.ids(|job| job.phase.borrow().is_final()))
    }

    async fn get_all_jobs(&self) -> BallistaResult<HashSet<JobId>> {
        Ok(self.ids(|_| true))
    }

    async fn get_job_status(&self, _id: &JobId) -> BallistaResult<Option<JobStatus>> {
        Ok(None)
    }

    async fn get_execution_graph(&self, id: &JobId) -> BallistaResult<Option<ExecutionGraphBox>> {
        Ok(self.known(id).and_then(|job| job.graph()))
    }

    async fn save_job(&self, id: &JobId, graph: &ExecutionGraphBox) -> BallistaResult<()> {
        self.take_over(id, graph);
        Ok(())
    }

    async fn fail_unscheduled_job(&self, id: &JobId, reason: String) -> BallistaResult<()> {
        let job = self.job(id);
        job.fail(&reason);
        job.is_closed.send_replace(true);
        Ok(())
    }

    async fn remove_job(&self, id: &JobId) -> BallistaResult<()> {
        self.remove(id);
        Ok(())
    }

    async fn try_acquire_job(&self, _id: &JobId) -> BallistaResult<Option<ExecutionGraphBox>> {
        Ok(None)
    }

    async fn job_state_events(&self) -> BallistaResult<JobStateEventStream> {
        Ok(Box::pin(futures::stream::empty()))
    }

    /// Jobs bring their session along.
    async fn create_or_update_session(&self, _id: &str, _: &SessionConfig) -> BallistaResult<Arc<SessionContext>> {
        Err(BallistaError::NotImplemented("sessions of the scheduler".to_owned()))
    }

    async fn remove_session(&self, _id: &str) -> BallistaResult<()> {
        Ok(())
    }

    fn produce_config(&self) -> SessionConfig {
        SessionConfig::new_with_ballista()
    }
}

#[cfg(test)]
mod tests {
    use ballista_core::serde::protobuf::TaskId;

    use super::*;

    #[test]
    fn a_task_of_a_job_that_was_put_away_is_not_launched() {
        let (jobs, id) = (Jobs::default(), JobId::new("job".to_owned()));
        let task = MultiTaskDefinition {
            job_id: "job".to_owned(),
            task_ids: vec![TaskId { task_id: 7, ..TaskId::default() }],
            ..MultiTaskDefinition::default()
        };
        assert!(!jobs.launched(&task, "executor"), "nobody knows the job");
        let job = jobs.job(&id);
        assert!(jobs.launched(&task, "executor"));
        job.is_closed.send_replace(true);
        assert!(!jobs.launched(&task, "another"));
        assert_eq!(job.executors(), HashSet::from(["executor".to_owned()]));
    }

    fn launched(jobs: &Jobs, executor: &str) -> Arc<Job> {
        let job = jobs.job(&JobId::new("job".to_owned()));
        assert!(job.launched((1, 7), executor));
        job
    }

    #[test]
    fn a_task_that_gets_nowhere_breaks_its_job_and_one_that_works_does_not() {
        let jobs = Jobs::default();
        let job = launched(&jobs, "a");
        let pulse = |idle_ms| [TaskPulse { job: "job".to_owned(), stage: 1, task: 7, idle_ms }];
        let idle_max = Duration::from_secs(60);
        jobs.check_tasks("a", &pulse(59_000), idle_max);
        jobs.check_tasks("b", &pulse(61_000), idle_max);
        // One that has just been sent may be unknown.
        jobs.check_tasks("a", &[], idle_max);
        assert!(matches!(*job.phases().borrow(), Phase::Planning));
        jobs.check_tasks("a", &pulse(61_000), idle_max);
        let phases = job.phases();
        let phase = phases.borrow();
        let Phase::Broken(reason) = &*phase else { panic!("{phase:?}") };
        assert!(reason.contains("task 7 of stage 1 on a did nothing"), "{reason}");
    }

    #[test]
    fn a_task_that_its_executor_has_forgotten_breaks_its_job() {
        let jobs = Jobs::default();
        let job = launched(&jobs, "a");
        let long_ago = Instant::now().checked_sub(UNKNOWN_MAX * 2).unwrap();
        job.tasks.lock().running.values_mut().for_each(|launch| launch.since = long_ago);
        jobs.check_tasks("a", &[], Duration::MAX);
        assert!(matches!(&*job.phases().borrow(), Phase::Broken(reason) if reason.contains("has forgotten task 7")));
    }

    #[test]
    fn only_the_death_of_a_full_executor_that_ran_it_is_held_against_a_job() {
        for (executor, was_full, expected) in [("a", true, Some(true)), ("a", false, Some(false)), ("b", true, None)] {
            let jobs = Jobs::default();
            let job = launched(&jobs, "a");
            jobs.executor_lost(executor, was_full);
            jobs.executor_lost(executor, was_full);
            let losses = job.losses().borrow().iter().map(Loss::is_suspicious).collect::<Vec<_>>();
            assert_eq!(losses, Vec::from_iter(expected), "{executor} {was_full}");
        }
    }
}
