//! One simulation, from the joining of its executors to the end of its last job.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ballista_core::JobId;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpc;
use ballista_core::serde::protobuf::{TaskStatus, UpdateTaskStatusParams};
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::state::execution_stage::ExecutionStage;
use datafusion::common::runtime::SpawnedTask;
use datafusion::prelude::SessionContext;
use engine::distributed::wire::Hello;
use engine::{Error, Result};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;
use tonic::Request;

use super::beats::{Rounds, beat};
use super::clock::Clock;
use super::decisions::Decisions;
use super::fleet::{Fleet, Launch, Road, Shape};
use super::plan::Plan;
use super::{SimulationOptions, SimulationReport};
use crate::scheduler::jobs::{Jobs, Phase};
use crate::scheduler::launcher::{Executors, Launcher};
use crate::scheduler::members::{Joining, Members};
use crate::scheduler::pulses::Pulses;
use crate::scheduler::service::ClusterService;
use crate::scheduler::{Ballista, SchedulerOptions, start_ballista};

/// How long the last task of a job may take from its report to the job's end, and a job to be planned.
const JOB_TIME_MAX: Duration = Duration::from_secs(600);

/// The scheduler, and what is pretended around it.
pub(super) struct Run {
    options: SimulationOptions,
    ballista: Arc<Ballista>,
    members: Arc<Members>,
    jobs: Arc<Jobs>,
    service: ClusterService,
    fleet: Arc<Fleet>,
    decisions: Arc<Decisions>,
    arrivals: UnboundedReceiver<Launch>,
    launch_bytes: Arc<AtomicU64>,
    rounds: Rounds,
    plan: Plan,
    clock: Clock,
    /// Stage and number of the tasks that were sent, by job that has not ended.
    active: HashMap<JobId, HashSet<(u32, u32)>>,
    shapes: HashMap<(JobId, u32), Shape>,
    /// Decisions that the scheduler owes.
    due: usize,
    submitted: usize,
    ended: usize,
    tasks: usize,
    planning: Vec<Duration>,
    _beats: SpawnedTask<()>,
}

impl Run {
    /// Starts the scheduler and has the executors join.
    pub(super) async fn start(options: SimulationOptions) -> Result<Self> {
        let settings = SchedulerOptions::default();
        let jobs = Arc::new(Jobs::default());
        let members = Arc::new(Members::new(Arc::clone(&jobs), &settings));
        let decisions = Arc::new(Decisions::new(Arc::clone(&members)));
        let fleet = Arc::new(Fleet::new(options.executors, options.vcores));
        let (sender, arrivals) = unbounded_channel();
        let launch_bytes = Arc::new(AtomicU64::new(0));
        let executors = Arc::new(Executors::new(settings.transport.clone()));
        let road = Road {
            launcher: Launcher::new(executors, Arc::clone(&members), Arc::clone(&jobs)),
            fleet: Arc::clone(&fleet),
            decisions: Arc::clone(&decisions),
            arrivals: sender,
            bytes: Arc::clone(&launch_bytes),
        };
        let cluster = BallistaCluster::new(Arc::clone(&decisions) as _, Arc::clone(&jobs) as _);
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let ballista = start_ballista(&settings, nowhere, cluster, Arc::new(road)).await?;
        let pulses = Pulses::new(Arc::clone(&members), Arc::clone(&jobs), &settings);
        let (for_ballista, for_members, for_jobs) = (Arc::clone(&ballista), Arc::clone(&members), Arc::clone(&jobs));
        let service = ClusterService::new(for_ballista, for_members, for_jobs, Arc::clone(&pulses), &settings);
        join(&fleet, &members).await?;
        let rounds = Rounds::default();
        let beats = beat(Arc::clone(&fleet), service.clone(), pulses, Arc::clone(&rounds));
        Ok(Self {
            plan: Plan::new(options.stages, options.partitions).await?,
            clock: Clock::new(options.task_time, options.seed),
            options,
            ballista,
            members,
            jobs,
            service,
            fleet,
            decisions,
            arrivals,
            launch_bytes,
            rounds,
            active: HashMap::new(),
            shapes: HashMap::new(),
            due: 0,
            submitted: 0,
            ended: 0,
            tasks: 0,
            planning: Vec::new(),
            _beats: SpawnedTask::spawn(beats),
        })
    }

    /// Submits jobs, ends tasks and waits for the scheduler, in turns.
    pub(super) async fn finish(mut self) -> Result<SimulationReport> {
        let begun = Instant::now();
        let wanted = self.options.tasks.div_ceil(self.options.job_tasks());
        while self.ended < wanted {
            while self.submitted < wanted && self.active.len() < self.options.jobs_at_once {
                self.submit().await?;
            }
            self.decisions.settled(self.due).await?;
            self.take_arrivals()?;
            let ended = self.clock.advance(self.options.tick);
            match ended.is_empty() {
                // Nothing runs: what is left is that jobs end, or the scheduler has decided more often than it was asked
                // to, and what it owes is still to come.
                true => self.news().await?,
                false => self.report(ended).await?,
            }
            self.end_jobs()?;
        }
        let wall = begun.elapsed();
        let (decisions, idle_decisions) = self.decisions.took();
        Ok(SimulationReport {
            jobs: self.ended,
            tasks: self.tasks,
            wall,
            decisions,
            idle_decisions,
            planning: self.planning,
            launch_bytes: self.launch_bytes.load(Ordering::Relaxed),
            beats: *self.rounds.lock(),
            simulated: self.clock.now(),
            busy: self.clock.busy(self.members.vcores()),
        })
    }

    async fn submit(&mut self) -> Result<()> {
        let begun = Instant::now();
        let context = Arc::new(SessionContext::new_with_state(self.plan.state.clone()));
        let submitted = self.ballista.submit_job("simulated", context, &self.plan.logical, None).await;
        let id = submitted.map_err(|error| Error::internal(format!("the scheduler takes no job: {error}")))?;
        let mut phases = self.jobs.job(&id).phases();
        let planned = timeout(JOB_TIME_MAX, phases.wait_for(|phase| !matches!(phase, Phase::Planning))).await;
        let phase = planned.map_err(|_| Error::internal(format!("a job was not planned within {JOB_TIME_MAX:?}")))?;
        if let Ok(phase) = phase
            && phase.is_final()
        {
            return Err(Error::internal(format!("a simulated job was not begun: {:?}", *phase)));
        }
        self.planning.push(begun.elapsed());
        self.active.insert(id, HashSet::new());
        self.submitted += 1;
        self.due += 1;
        Ok(())
    }

    fn take_arrivals(&mut self) -> Result<()> {
        while let Ok(launch) = self.arrivals.try_recv() {
            self.take(launch)?;
        }
        Ok(())
    }

    fn take(&mut self, launch: Launch) -> Result<()> {
        let Launch { job, stage, task, .. } = &launch;
        let Some(sent) = self.active.get_mut(job) else {
            return Err(Error::internal(format!("a task of the job {job} came after its end")));
        };
        if !sent.insert((*stage, *task)) {
            return Err(Error::internal(format!("task {task} of stage {stage} of the job {job} was sent twice")));
        }
        self.tasks += 1;
        self.clock.begin(launch);
        Ok(())
    }

    /// Each executor reports what has ended on it.
    async fn report(&mut self, ended: Vec<Launch>) -> Result<()> {
        let mut reports: BTreeMap<usize, Vec<TaskStatus>> = BTreeMap::new();
        for launch in &ended {
            let shape = self.shape(&launch.job, launch.stage).await?;
            reports.entry(launch.executor).or_default().push(self.fleet.report(launch, shape));
        }
        for (executor, task_status) in reports {
            // The service passes them on job by job.
            self.due += task_status.iter().map(|report| &report.job_id).collect::<HashSet<_>>().len();
            let executor_id = self.fleet.executors[executor].id.clone();
            let taken =
                self.service.update_task_status(Request::new(UpdateTaskStatusParams { executor_id, task_status }));
            taken.await.map_err(|status| Error::internal(format!("a report was not taken: {}", status.message())))?;
        }
        ended.iter().for_each(|launch| self.fleet.forget(launch));
        Ok(())
    }

    async fn shape(&mut self, job: &JobId, stage: u32) -> Result<Shape> {
        let key = (job.clone(), stage);
        if let Some(shape) = self.shapes.get(&key) {
            return Ok(*shape);
        }
        let running = self.ballista.state.task_manager.get_running_job_cache();
        let gone = || Error::internal(format!("stage {stage} of the job {job} runs and is not known"));
        let graph = running.get(job).ok_or_else(gone)?.execution_graph.read().await;
        let Some(ExecutionStage::Running(running)) = graph.stages().get(&(stage as usize)) else { return Err(gone()) };
        let shape = Shape::of(running.plan.as_ref());
        self.shapes.insert(key, shape);
        Ok(shape)
    }

    /// Waits for a task to arrive, or for a job to end.
    async fn news(&mut self) -> Result<()> {
        let Some(job) = self.active.keys().next().and_then(|id| self.jobs.known(id)) else { return Ok(()) };
        let mut phases = job.phases();
        let news = async {
            tokio::select! {
                _ = phases.wait_for(Phase::is_final) => None,
                launch = self.arrivals.recv() => launch,
            }
        };
        match timeout(JOB_TIME_MAX, news).await {
            Ok(Some(launch)) => self.take(launch),
            Ok(None) => Ok(()),
            Err(_) => Err(Error::internal(format!("a job has no tasks left and did not end within {JOB_TIME_MAX:?}"))),
        }
    }

    /// Forgets the jobs that have ended, as a sweep does that has no files to remove.
    fn end_jobs(&mut self) -> Result<()> {
        let (jobs, job_tasks) = (&self.jobs, self.options.job_tasks());
        let mut ended = Vec::new();
        for (id, sent) in &self.active {
            let Some(job) = jobs.known(id) else { continue };
            match &*job.phases().borrow() {
                Phase::Planning | Phase::Running(_) => {}
                Phase::Done(_) if sent.len() == job_tasks => ended.push(id.clone()),
                Phase::Done(_) => {
                    let message =
                        format!("the job {id} has {job_tasks} tasks and {} ran: some more than once", sent.len());
                    return Err(Error::internal(message));
                }
                phase @ (Phase::Failed(_) | Phase::Broken(_) | Phase::Unsuitable(_)) => {
                    return Err(Error::internal(format!("the job {id} did not end well: {phase:?}")));
                }
            }
        }
        for id in ended {
            self.jobs.remove(&id);
            self.active.remove(&id);
            self.shapes.retain(|(job, _), _| *job != id);
            self.ended += 1;
        }
        Ok(())
    }
}

async fn join(fleet: &Fleet, members: &Members) -> Result<()> {
    for (number, executor) in fleet.executors.iter().enumerate() {
        let hello = Hello {
            name: format!("executor-{number}"),
            version: engine::distributed::VERSION.to_owned(),
            pid: 1,
            instance: number.to_string(),
        };
        members.join(Joining { hello, metadata: executor.clone() }).await?;
    }
    Ok(())
}
