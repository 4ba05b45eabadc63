//! One task: from its definition to its outcome.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ballista_core::client_pool::BallistaClientPool;
use ballista_core::error::BallistaError;
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_core::serde::BallistaCodec;
use ballista_core::serde::protobuf::failed_task::FailedReason;
use ballista_core::serde::protobuf::{
    ExecutionError, FailedTask, IoError, MultiTaskDefinition, OperatorMetricsSet, ResultLost, ShuffleWritePartition,
    SuccessfulTask, TaskKilled, TaskStatus, task_status,
};
use ballista_core::serde::scheduler::TaskDefinition;
use ballista_core::serde::scheduler::from_proto::get_task_definition_vec;
use ballista_core::{JobId, RuntimeProducer};
use ballista_executor::execution_engine::{DefaultExecutionEngine, ExecutionEngine, QueryStageExecutor};
use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::SessionConfig;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use engine::distributed::clients::ShuffleClients;
use engine::distributed::wire::write_error;
use engine::storage::{Listed, pinned};
use engine::{Error, ErrorKind, fit_to_memory, grappe_options, query_runtime, runnable};
use futures::FutureExt;

use crate::cancel::{TaskControl, cancellable};
use crate::checksums::Checksums;
use crate::disk::{Room, SHUFFLE_BYTES_MAX};
use crate::reads::Reads;

/// What every task of an executor needs.
pub(crate) struct Workshop {
    codec: BallistaCodec<LogicalPlanNode, PhysicalPlanNode>,
    functions: Arc<BallistaFunctionRegistry>,
    config: SessionConfig,
    runtime: Arc<RuntimeEnv>,
    stages: DefaultExecutionEngine,
    reads: Reads,
    room: Room,
}

impl Workshop {
    /// Tasks share `runtime`: one memory budget, one spill directory and one set of object stores for the process.
    pub(crate) fn new(
        functions: Arc<BallistaFunctionRegistry>,
        config: SessionConfig,
        runtime: Arc<RuntimeEnv>,
        shuffle_dir: &Path,
        checksums: Arc<Checksums>,
        room: Room,
    ) -> Self {
        let clients: Arc<dyn BallistaClientPool> = Arc::new(ShuffleClients::default());
        let shuffle_dir = shuffle_dir.to_string_lossy().into_owned();
        Self {
            codec: engine::distributed::codec::ballista_codec(),
            functions,
            config,
            runtime,
            stages: DefaultExecutionEngine::with_client_pool(Arc::clone(&clients)),
            reads: Reads { checksums, clients, shuffle_dir },
            room,
        }
    }

    /// Runs a task to its end, however it ends.
    pub(crate) async fn run(
        &self,
        definition: MultiTaskDefinition,
        executor_id: &str,
        control: &TaskControl,
    ) -> TaskStatus {
        let mut status = empty_status(&definition);
        status.start_exec_time = now_ms();
        let outcome = AssertUnwindSafe(self.run_stage(definition, control)).catch_unwind().await;
        let outcome = outcome.unwrap_or_else(|panic| Err(panicked(panic.as_ref())));
        status.end_exec_time = now_ms();
        status.status = Some(match outcome {
            Ok((mut success, metrics)) => {
                success.executor_id = executor_id.to_owned();
                status.metrics = metrics;
                task_status::Status::Successful(success)
            }
            Err(_) if control.token.is_cancelled() => task_status::Status::Failed(cancelled()),
            Err(error) => task_status::Status::Failed(failed(error, &self.reads.shuffle_dir)),
        });
        status
    }

    async fn run_stage(
        &self,
        definition: MultiTaskDefinition,
        control: &TaskControl,
    ) -> Result<(SuccessfulTask, Vec<OperatorMetricsSet>), DataFusionError> {
        self.room.check(Path::new(&self.reads.shuffle_dir))?;
        let mut task = self.decode(definition)?;
        let limits = grappe_options(&task.session_config).limits;
        let runtime = query_runtime(&self.runtime, task.job_id.as_str(), &limits)?;
        fit_to_memory(&mut task.session_config, runtime.memory_pool.as_ref(), self.config.target_partitions());
        let (plan, runtime) = pinned(task.plan, &runtime, Listed::Elsewhere)?;
        let plan = cancellable(runnable(self.reads.checked(plan)?)?, control)?;
        let stage = self.stages.create_query_stage_exec(
            task.job_id.clone(),
            task.stage_id,
            task.task_id,
            task.global_output_partition_ids,
            plan,
            &self.reads.shuffle_dir,
            &task.session_config,
        )?;
        let context = TaskContext::new(
            None,
            task.session_id,
            task.session_config,
            self.functions.scalar_functions.clone(),
            self.functions.higher_order_functions.clone(),
            self.functions.aggregate_functions.clone(),
            self.functions.window_functions.clone(),
            runtime,
        );
        let partitions = stage.execute_query_stage(task.task_id, Arc::new(context)).await?;
        self.record(task.job_id, task.stage_id, partitions.clone()).await?;
        let success = SuccessfulTask {
            executor_id: String::new(),
            partitions,
            runtime_stats: stage.collect_runtime_stats_reports(),
            task_column_stats: stage.collect_column_stats(),
            window_state: stage.collect_window_state_reports()?,
        };
        Ok((success, operator_metrics(stage.as_ref())))
    }

    /// Takes the checksums of the files that a task has written.
    async fn record(
        &self,
        job: JobId,
        stage: usize,
        written: Vec<ShuffleWritePartition>,
    ) -> Result<(), DataFusionError> {
        let checksums = Arc::clone(&self.reads.checksums);
        let recorded = tokio::task::spawn_blocking(move || checksums.record(&job, stage, &written)).await;
        let untaken = |error: &dyn std::fmt::Display| Error::unavailable(format!("no checksums were taken: {error}"));
        recorded.map_err(|error| untaken(&error))?.map_err(|error| untaken(&error))?;
        Ok(())
    }

    fn decode(&self, definition: MultiTaskDefinition) -> Result<TaskDefinition, DataFusionError> {
        let runtime = Arc::clone(&self.runtime);
        let runtimes: RuntimeProducer = Arc::new(move |_| Ok(Arc::clone(&runtime)));
        let tasks = get_task_definition_vec(
            definition,
            runtimes,
            self.config.clone(),
            self.functions.scalar_functions.clone(),
            self.functions.aggregate_functions.clone(),
            self.functions.window_functions.clone(),
            self.functions.higher_order_functions.clone(),
            self.codec.clone(),
        )
        .map_err(|error| undecodable(&error))?;
        let no_task = || DataFusionError::Internal("a launch without a task".to_owned());
        tasks.into_iter().next().ok_or_else(no_task)
    }
}

/// The outcome of a task that has never been run: its job has ended.
pub(crate) fn unneeded(definition: &MultiTaskDefinition) -> TaskStatus {
    TaskStatus { status: Some(task_status::Status::Failed(cancelled())), ..empty_status(definition) }
}

fn undecodable(error: &BallistaError) -> DataFusionError {
    Error::internal(format!("the executor cannot read its task: {error}")).into()
}

fn operator_metrics(stage: &dyn QueryStageExecutor) -> Vec<OperatorMetricsSet> {
    let metrics: Result<_, BallistaError> = stage.collect_plan_metrics().into_iter().map(TryInto::try_into).collect();
    // Metrics explain a run; they must not fail it.
    metrics.unwrap_or_default()
}

fn empty_status(definition: &MultiTaskDefinition) -> TaskStatus {
    TaskStatus {
        task_id: definition.task_ids.first().map_or(0, |task| task.task_id),
        job_id: definition.job_id.clone(),
        stage_id: definition.stage_id,
        stage_attempt_num: definition.stage_attempt_num,
        launch_time: definition.launch_time,
        ..TaskStatus::default()
    }
}

/// Ballista's judgement whether input was lost, ours whether another try can help, and our error for the user.
fn failed(error: DataFusionError, shuffle_dir: &str) -> FailedTask {
    let disk = disk_fault(&error);
    let error = Arc::new(error);
    let judged = FailedTask::from(BallistaError::from(DataFusionError::Shared(Arc::clone(&error))));
    let mut own = Error::from(DataFusionError::Shared(unwrapped(error)));
    if let Some(fault) = disk {
        let message = format!("{fault} under {shuffle_dir}: make room, or give the executor another --work-dir");
        own = Error::new(ErrorKind::Exhausted, message);
    }
    if let Some(FailedReason::FetchPartitionError(_)) = judged.failed_reason {
        own.kind = ErrorKind::Unavailable;
        return FailedTask { error: write_error(&own.context("shuffle files were lost")), ..judged };
    }
    let (is_retryable, reason) = match own.kind {
        // What an executor cannot keep, another one may.
        _ if disk.is_some() => (true, FailedReason::ResultLost(ResultLost {})),
        ErrorKind::Unavailable => (true, FailedReason::IoError(IoError {})),
        _ => (false, FailedReason::ExecutionError(ExecutionError {})),
    };
    FailedTask {
        error: write_error(&own),
        retryable: is_retryable,
        count_to_failures: is_retryable,
        failed_reason: Some(reason),
    }
}

/// What is wrong with the executor's disk, whatever is around the system's words for it.
fn disk_fault(error: &DataFusionError) -> Option<&'static str> {
    let text = error.to_string().to_lowercase();
    let faults = [
        (SHUFFLE_BYTES_MAX, "the shuffle files have all of executor_shuffle_bytes_max"),
        ("no space left on device", "the disk is full"),
        ("disk quota exceeded", "the disk quota is used up"),
        ("read-only file system", "the disk is read-only"),
        ("input/output error", "the disk has an error"),
    ];
    faults.into_iter().find(|(words, _)| text.contains(words)).map(|(_, fault)| fault)
}

/// Shuffle writers hide what went wrong in an error of Ballista's.
fn unwrapped(error: Arc<DataFusionError>) -> Arc<DataFusionError> {
    // The cause is only borrowed from the error that holds it: its text is what can be kept, and its kind is not lost
    // for the causes that have one of their own.
    let DataFusionError::External(outer) = error.find_root() else { return error };
    match outer.downcast_ref::<BallistaError>() {
        Some(BallistaError::DataFusionError(inner)) => Arc::new(copied(inner)),
        Some(BallistaError::ArrowError(inner)) => Arc::new(copied_arrow(inner)),
        _ => error,
    }
}

/// As much of an error as can be copied.
fn copied(error: &DataFusionError) -> DataFusionError {
    match error.find_root() {
        DataFusionError::Shared(inner) => DataFusionError::Shared(Arc::clone(inner)),
        DataFusionError::ResourcesExhausted(message) => DataFusionError::ResourcesExhausted(message.clone()),
        DataFusionError::External(inner) => match inner.downcast_ref::<Error>() {
            Some(own) => own.clone().into(),
            None => DataFusionError::Execution(inner.to_string()),
        },
        DataFusionError::ArrowError(inner, _) => copied_arrow(inner),
        DataFusionError::IoError(inner) => std::io::Error::new(inner.kind(), inner.to_string()).into(),
        other => DataFusionError::Execution(other.to_string()),
    }
}

fn copied_arrow(error: &ArrowError) -> DataFusionError {
    match error {
        ArrowError::DivideByZero => DataFusionError::from(ArrowError::DivideByZero),
        ArrowError::CastError(message) => DataFusionError::from(ArrowError::CastError(message.clone())),
        ArrowError::ComputeError(message) => DataFusionError::from(ArrowError::ComputeError(message.clone())),
        ArrowError::ExternalError(inner) => {
            let own = inner.downcast_ref::<Error>().cloned();
            let nested = || inner.downcast_ref::<DataFusionError>().map(copied);
            let text = || DataFusionError::Execution(inner.to_string());
            own.map(Into::into).or_else(nested).unwrap_or_else(text)
        }
        other => DataFusionError::Execution(other.to_string()),
    }
}

fn cancelled() -> FailedTask {
    FailedTask {
        error: write_error(&Error::cancelled()),
        retryable: true,
        count_to_failures: false,
        failed_reason: Some(FailedReason::TaskKilled(TaskKilled {})),
    }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> DataFusionError {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned());
    engine::panicked(&text).into()
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64)
}
