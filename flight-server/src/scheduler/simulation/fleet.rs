//! Executors that are pretended: they take tasks and say that they have done them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::error::Result as BallistaResult;
use ballista_core::execution_plans::{ShuffleWriter, ShuffleWriterExec, SortShuffleWriterExec};
use ballista_core::serde::protobuf::operator_metric::Metric;
use ballista_core::serde::protobuf::{
    ExecutorOperatingSystemSpecification, MultiTaskDefinition, OperatorMetric, OperatorMetricsSet,
    ShuffleWritePartition, SuccessfulTask, TaskStatus, task_status,
};
use ballista_core::serde::scheduler::{ExecutorMetadata, ExecutorSpecification};
use ballista_scheduler::state::executor_manager::ExecutorManager;
use ballista_scheduler::state::task_manager::TaskLauncher;
use datafusion::physical_plan::ExecutionPlan;
use engine::distributed::pulse::TaskPulse;
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::mpsc::UnboundedSender;

use super::decisions::Decisions;
use crate::scheduler::launcher::{Launcher, messages};

/// What a task is said to have written for each part of the next stage.
const PART_BYTES: u64 = 64 << 10;
const PART_ROWS: u64 = 1_000;

/// A task on its executor.
#[derive(Debug, Clone)]
pub(super) struct Launch {
    /// Place of its executor in the fleet.
    pub(super) executor: usize,
    pub(super) job: JobId,
    pub(super) stage: u32,
    pub(super) stage_attempt: u32,
    pub(super) task: u32,
    /// The parts of the result that it writes, if nothing is shuffled.
    pub(super) parts: Vec<u32>,
    launched_at_ms: u64,
}

/// What the tasks of a stage write, and what they count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// Parts of the next stage; none if each part of this one goes on by itself.
    outputs: Option<usize>,
    is_sorted: bool,
    operators: usize,
}

/// The executors.
pub(super) struct Fleet {
    pub(super) executors: Vec<ExecutorMetadata>,
    places: HashMap<String, usize>,
    running: Vec<Mutex<HashSet<(JobId, u32, u32)>>>,
}

impl Fleet {
    pub(super) fn new(count: usize, vcores: u32) -> Self {
        let executors: Vec<_> = (0..count).map(|number| metadata(number, vcores)).collect();
        let places = executors.iter().enumerate().map(|(place, executor)| (executor.id.clone(), place)).collect();
        let running = executors.iter().map(|_| Mutex::default()).collect();
        Self { executors, places, running }
    }

    /// What an executor would tell of its tasks.
    pub(super) fn pulses(&self, executor: usize) -> Vec<TaskPulse> {
        let pulse = |(job, stage, task): &(JobId, u32, u32)| TaskPulse {
            job: job.to_string(),
            stage: *stage,
            task: *task,
            idle_ms: 0,
        };
        self.running[executor].lock().iter().map(pulse).collect()
    }

    /// The reports of tasks that end now. An executor has a task until its report is taken.
    pub(super) fn report(&self, launch: &Launch, shape: Shape) -> TaskStatus {
        let success = SuccessfulTask {
            executor_id: self.executors[launch.executor].id.clone(),
            partitions: written(launch, shape),
            ..SuccessfulTask::default()
        };
        TaskStatus {
            task_id: launch.task,
            job_id: launch.job.to_string(),
            stage_id: launch.stage,
            stage_attempt_num: launch.stage_attempt,
            launch_time: launch.launched_at_ms,
            start_exec_time: launch.launched_at_ms,
            end_exec_time: launch.launched_at_ms,
            metrics: vec![metrics(); shape.operators],
            status: Some(task_status::Status::Successful(success)),
        }
    }

    /// The report of a task was taken.
    pub(super) fn forget(&self, launch: &Launch) {
        self.running[launch.executor].lock().remove(&(launch.job.clone(), launch.stage, launch.task));
    }
}

fn metadata(number: usize, vcores: u32) -> ExecutorMetadata {
    let name = format!("executor-{number}");
    ExecutorMetadata {
        id: engine::distributed::wire::membership_id(&name, number as u64),
        host: format!("{name}.cluster.example"),
        port: 50051,
        grpc_port: 50052,
        specification: ExecutorSpecification { vcores },
        // Real ones tell nothing of their system either.
        os_info: ExecutorOperatingSystemSpecification::default().into(),
    }
}

fn written(launch: &Launch, shape: Shape) -> Vec<ShuffleWritePartition> {
    let file = |part: u64| ShuffleWritePartition {
        partition_id: part,
        num_batches: 1,
        num_rows: PART_ROWS,
        num_bytes: PART_BYTES,
        file_id: Some(u64::from(launch.task)),
        is_sort_shuffle: shape.is_sorted,
    };
    match shape.outputs {
        Some(outputs) => (0..outputs as u64).map(file).collect(),
        None => launch.parts.iter().map(|part| file(u64::from(*part))).collect(),
    }
}

/// As few numbers as an operator has that counts anything.
fn metrics() -> OperatorMetricsSet {
    let metrics = [
        Metric::OutputRows(PART_ROWS),
        Metric::ElapseTime(1_000_000),
        Metric::StartTimestamp(0),
        Metric::EndTimestamp(1_000_000),
    ];
    let metrics = metrics.map(|metric| OperatorMetric { partition: Some(0), metric: Some(metric) });
    OperatorMetricsSet { metrics: metrics.to_vec() }
}

impl Shape {
    /// What the tasks of a stage do, by its plan.
    pub(super) fn of(stage: &dyn ExecutionPlan) -> Self {
        let sorted = stage.downcast_ref::<SortShuffleWriterExec>();
        let plain = stage.downcast_ref::<ShuffleWriterExec>().and_then(ShuffleWriter::shuffle_output_partitioning);
        let partitioning = sorted.map(SortShuffleWriterExec::shuffle_output_partitioning).or(plain);
        Self {
            outputs: partitioning.map(|partitioning| partitioning.partition_count()),
            is_sorted: sorted.is_some(),
            operators: operators(stage),
        }
    }
}

/// Operators that count something.
fn operators(plan: &dyn ExecutionPlan) -> usize {
    let children = plan.children().into_iter().map(|child| operators(child.as_ref()));
    usize::from(plan.metrics().is_some()) + children.sum::<usize>()
}

/// The way to the executors: all that [`Launcher`] does, but for the network.
pub(super) struct Road {
    pub(super) launcher: Launcher,
    pub(super) fleet: Arc<Fleet>,
    pub(super) decisions: Arc<Decisions>,
    pub(super) arrivals: UnboundedSender<Launch>,
    pub(super) bytes: Arc<AtomicU64>,
}

#[async_trait]
impl TaskLauncher for Road {
    async fn launch_tasks(
        &self,
        executor: &ExecutorMetadata,
        tasks: Vec<MultiTaskDefinition>,
        _: &ExecutorManager,
    ) -> BallistaResult<HashSet<JobId>> {
        let bound = tasks.iter().map(|task| task.task_ids.len()).sum();
        let (tasks, refused) = self.launcher.admit(tasks, &executor.id).await;
        for message in messages(tasks) {
            self.bytes.fetch_add(message.encode_to_vec().len() as u64, Ordering::Relaxed);
            for definition in message.multi_tasks {
                self.arrive(self.fleet.places[&executor.id], definition);
            }
        }
        self.decisions.launched(bound);
        Ok(refused)
    }
}

impl Road {
    fn arrive(&self, executor: usize, definition: MultiTaskDefinition) {
        let job = JobId::new(definition.job_id);
        for task in definition.task_ids {
            let launch = Launch {
                executor,
                job: job.clone(),
                stage: definition.stage_id,
                stage_attempt: definition.stage_attempt_num,
                task: task.task_id,
                parts: task.global_output_partition_ids,
                launched_at_ms: definition.launch_time,
            };
            self.fleet.running[executor].lock().insert((job.clone(), launch.stage, launch.task));
            // Nobody takes it if the simulation has ended.
            let _ = self.arrivals.send(launch);
        }
    }
}
