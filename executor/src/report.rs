//! Outcomes of tasks, sent until the coordinator acknowledges them: a lost outcome would leave a query waiting forever.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ballista_core::serde::protobuf::{TaskStatus, UpdateTaskStatusParams};
use parking_lot::Mutex;
use tokio::sync::watch;
use tonic::Code;

use crate::coordinator::Coordinator;

/// First and longest wait before a report is sent again.
const RETRY_WAIT_MIN: Duration = Duration::from_millis(50);
const RETRY_WAIT_MAX: Duration = Duration::from_secs(2);
/// Reports sent together.
const BATCH_MAX: usize = 256;

/// Where tasks leave their outcomes. It is as long as tasks were launched, which the coordinator limits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outbox {
    reports: Arc<Mutex<VecDeque<Report>>>,
    /// How many outcomes nobody has acknowledged.
    waiting: watch::Sender<usize>,
}

/// An outcome, and the membership under which the task was taken.
#[derive(Debug, Clone)]
struct Report {
    executor_id: String,
    status: TaskStatus,
}

impl Outbox {
    /// Leaves an outcome.
    pub(crate) fn put(&self, executor_id: String, status: TaskStatus) {
        let mut reports = self.reports.lock();
        reports.push_back(Report { executor_id, status });
        self.waiting.send_replace(reports.len());
    }

    /// Returns when every outcome has been acknowledged, or is wanted by nobody.
    pub(crate) async fn wait_until_empty(&self) {
        self.wait_until(|waiting| waiting == 0).await;
    }

    /// Job, stage and task of every outcome that nobody has acknowledged.
    pub(crate) fn undelivered(&self) -> Vec<(String, u32, u32)> {
        let reports = self.reports.lock();
        let task = |report: &Report| (report.status.job_id.clone(), report.status.stage_id, report.status.task_id);
        reports.iter().map(task).collect()
    }

    async fn wait_until(&self, is_reached: impl Fn(usize) -> bool) {
        // The sender lives as long as this does.
        let _ = self.waiting.subscribe().wait_for(|waiting| is_reached(*waiting)).await;
    }

    /// The first outcomes, of one membership: they stay until [`Outbox::remove`].
    fn first(&self) -> Option<UpdateTaskStatusParams> {
        let reports = self.reports.lock();
        let executor_id = reports.front()?.executor_id.clone();
        let group = reports.iter().take(BATCH_MAX).take_while(|report| report.executor_id == executor_id);
        let task_status = group.map(|report| report.status.clone()).collect();
        Some(UpdateTaskStatusParams { executor_id, task_status })
    }

    fn remove(&self, count: usize) {
        let mut reports = self.reports.lock();
        reports.drain(..count);
        self.waiting.send_replace(reports.len());
    }
}

/// Sends outcomes as long as the executor lives.
pub(crate) async fn deliver(outbox: &Outbox, coordinator: &Coordinator) {
    loop {
        outbox.wait_until(|waiting| waiting > 0).await;
        while let Some(message) = outbox.first() {
            let count = message.task_status.len();
            deliver_one(message, coordinator).await;
            outbox.remove(count);
        }
    }
}

/// Until it is acknowledged, or the coordinator no longer knows the membership: then nobody waits for the outcome.
async fn deliver_one(message: UpdateTaskStatusParams, coordinator: &Coordinator) {
    let mut wait = RETRY_WAIT_MIN;
    while coordinator.is_member(&message.executor_id) {
        match coordinator.client().update_task_status(message.clone()).await {
            Ok(_) => return,
            Err(status) if status.code() == Code::NotFound => return,
            Err(status) => tracing::warn!(%status, "the coordinator did not take the outcome of a task"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_WAIT_MAX);
    }
}
