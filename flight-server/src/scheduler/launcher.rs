//! Sends tasks to executors, and makes sure that they arrive.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::error::{BallistaError, Result as BallistaResult};
use ballista_core::serde::protobuf::executor_grpc_client::ExecutorGrpcClient;
use ballista_core::serde::protobuf::{LaunchMultiTaskParams, MultiTaskDefinition};
use ballista_core::serde::scheduler::ExecutorMetadata;
use ballista_scheduler::state::executor_manager::ExecutorManager;
use ballista_scheduler::state::task_manager::TaskLauncher;
use dashmap::DashMap;
use engine::distributed::transport::{MESSAGE_BYTES_MAX, Transport};
use engine::distributed::wire::{status_error, write_membership};
use engine::{Error, Result};
use prost::Message;
use tokio::time::{sleep, timeout};
use tonic::transport::Channel;
use tonic::{Code, Request};

use crate::scheduler::held::TaskName;
use crate::scheduler::jobs::Jobs;
use crate::scheduler::members::Members;

/// How long an executor may take to say that it has a task; it answers before it looks at it.
const LAUNCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Waits between the tries of a call that did not arrive. Executors take the same call twice without harm.
const RETRY_WAITS: [Duration; 3] = [Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(800)];
/// Room for the frame around the tasks.
const FRAME_BYTES: usize = 1 << 16;

/// Connections to the executors' control services.
pub(crate) struct Executors {
    transport: Transport,
    channels: DashMap<String, Channel>,
}

impl Executors {
    pub(crate) fn new(transport: Transport) -> Self {
        Self { transport, channels: DashMap::new() }
    }

    /// A client of the executor at `address`.
    pub(crate) fn client(&self, address: &str) -> Result<ExecutorGrpcClient<Channel>> {
        let channel = match self.channels.get(address) {
            Some(channel) => channel.clone(),
            None => {
                let channel = self.transport.endpoint(address)?.connect_lazy();
                self.channels.entry(address.to_owned()).or_insert(channel).clone()
            }
        };
        Ok(ExecutorGrpcClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// Forgets the connection to an executor that could not be reached.
    pub(crate) fn forget(&self, address: &str) {
        self.channels.remove(address);
    }

    /// Calls until it is answered, an answer cannot be expected, or the tries are over.
    pub(crate) async fn call<T, F>(&self, address: &str, call: impl Fn(ExecutorGrpcClient<Channel>) -> F) -> Result<T>
    where
        F: Future<Output = std::result::Result<tonic::Response<T>, tonic::Status>>,
    {
        let mut waits = RETRY_WAITS.iter();
        loop {
            let answer = timeout(LAUNCH_TIMEOUT, call(self.client(address)?)).await;
            let error = match answer {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) if status.code() != Code::Unavailable => return Err(status_error(&status, address)),
                Ok(Err(status)) => status_error(&status, address),
                Err(_) => Error::unavailable(format!("{address} did not answer within {LAUNCH_TIMEOUT:?}")),
            };
            let Some(wait) = waits.next() else {
                self.forget(address);
                return Err(error);
            };
            sleep(*wait).await;
        }
    }
}

/// Ballista's way to our executors.
pub(crate) struct Launcher {
    executors: Arc<Executors>,
    members: Arc<Members>,
    jobs: Arc<Jobs>,
}

impl Launcher {
    pub(crate) fn new(executors: Arc<Executors>, members: Arc<Members>, jobs: Arc<Jobs>) -> Self {
        Self { executors, members, jobs }
    }

    /// Notes what is about to be sent: the tasks that are to be, and the jobs that cannot be.
    pub(crate) async fn admit(
        &self,
        tasks: Vec<MultiTaskDefinition>,
        executor: &str,
    ) -> (Vec<MultiTaskDefinition>, HashSet<JobId>) {
        let (fitting, refused) = self.split_off_too_large(tasks);
        let mut tasks = Vec::with_capacity(fitting.len());
        for task in fitting {
            if self.launched(&task, executor).await {
                tasks.push(task);
            }
        }
        (tasks, refused)
    }

    /// Notes a launch. Asked after that whether the executor is there: one that is lost meanwhile has it taken away.
    async fn launched(&self, task: &MultiTaskDefinition, executor: &str) -> bool {
        let is_wanted = self.jobs.launched(task, executor);
        let is_sent = is_wanted && self.members.is_member(executor);
        if is_wanted && !is_sent {
            self.jobs.not_launched(task);
        }
        for name in names(task) {
            match is_sent {
                true => self.members.launched(&name),
                false => _ = self.members.release(&name).await,
            }
        }
        is_sent
    }

    /// Tasks that no executor could ever receive fail their job, and not the executor.
    fn split_off_too_large(&self, tasks: Vec<MultiTaskDefinition>) -> (Vec<MultiTaskDefinition>, HashSet<JobId>) {
        let (fitting, too_large): (Vec<_>, Vec<_>) =
            tasks.into_iter().partition(|task| task.encoded_len() + FRAME_BYTES < MESSAGE_BYTES_MAX);
        let refuse = |task: &MultiTaskDefinition| {
            let id = JobId::new(task.job_id.clone());
            self.jobs.refuse(&id, Error::invalid(format!(
                "the plan has {} bytes and at most {MESSAGE_BYTES_MAX} can be sent: split the statement, or load its literals as a table",
                task.encoded_len()
            )));
            id
        };
        (fitting, too_large.iter().map(refuse).collect())
    }
}

#[async_trait]
impl TaskLauncher for Launcher {
    /// An error makes Ballista give the executor up, so it is returned only if the executor did not answer.
    async fn launch_tasks(
        &self,
        executor: &ExecutorMetadata,
        tasks: Vec<MultiTaskDefinition>,
        _: &ExecutorManager,
    ) -> BallistaResult<HashSet<JobId>> {
        let (tasks, refused) = self.admit(tasks, &executor.id).await;
        let address = format!("{}:{}", executor.host, executor.grpc_port);
        for message in messages(tasks) {
            let call = |mut client: ExecutorGrpcClient<Channel>| {
                let mut request = Request::new(message.clone());
                let written = write_membership(&executor.id, request.metadata_mut());
                async move {
                    written.map_err(|error| tonic::Status::internal(error.message))?;
                    client.launch_multi_task(request).await
                }
            };
            if let Err(error) = self.executors.call(&address, call).await {
                tracing::warn!(executor = %executor.id, %error, "an executor did not take tasks");
                return Err(BallistaError::General(error.to_string()));
            }
        }
        Ok(refused)
    }
}

fn names(definition: &MultiTaskDefinition) -> impl Iterator<Item = TaskName> {
    let job = JobId::new(definition.job_id.clone());
    let (stage, stage_attempt) = (definition.stage_id, definition.stage_attempt_num);
    definition.task_ids.iter().map(move |task| TaskName { job: job.clone(), stage, stage_attempt, task: task.task_id })
}

/// Tasks in messages of a size that can be sent.
pub(crate) fn messages(tasks: Vec<MultiTaskDefinition>) -> impl Iterator<Item = LaunchMultiTaskParams> {
    let message = |multi_tasks| LaunchMultiTaskParams { multi_tasks, scheduler_endpoint: String::new() };
    chunks(tasks).into_iter().map(message)
}

fn chunks(tasks: Vec<MultiTaskDefinition>) -> Vec<Vec<MultiTaskDefinition>> {
    let mut chunks: Vec<Vec<MultiTaskDefinition>> = Vec::new();
    let mut bytes = usize::MAX;
    for task in tasks {
        let task_bytes = task.encoded_len() + 16;
        bytes = bytes.saturating_add(task_bytes);
        match chunks.last_mut() {
            Some(chunk) if bytes + FRAME_BYTES < MESSAGE_BYTES_MAX => chunk.push(task),
            _ => {
                bytes = task_bytes;
                chunks.push(vec![task]);
            }
        }
    }
    chunks
}
