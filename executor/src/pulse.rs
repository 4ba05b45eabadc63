//! The pulse of this executor: told for as long as somebody listens.

use std::sync::Arc;

use arrow_flight::Result as ActionResult;
use engine::distributed::pulse::{PULSE_INTERVAL, Pulse, TaskPulse};
use futures::Stream;
use futures::stream::unfold;
use tokio::time::{MissedTickBehavior, interval};
use tonic::Status;

use crate::coordinator::Coordinator;
use crate::report::Outbox;
use crate::tasks::Tasks;

/// What a pulse is made of.
#[derive(Clone)]
pub(crate) struct Heart {
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) outbox: Outbox,
    pub(crate) coordinator: Arc<Coordinator>,
}

impl Heart {
    /// Pulses as long as the executor is the member `membership`.
    pub(crate) fn pulses(self, membership: String) -> impl Stream<Item = Result<ActionResult, Status>> + Send {
        let mut ticks = interval(PULSE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        unfold((self, ticks, membership), |(heart, mut ticks, membership)| async move {
            ticks.tick().await;
            if !heart.coordinator.is_member(&membership) {
                return None;
            }
            let pulse = ActionResult { body: heart.pulse().encode() };
            Some((Ok(pulse), (heart, ticks, membership)))
        })
    }

    /// Tasks that run come first: one that ends in between is among the outcomes.
    fn pulse(&self) -> Pulse {
        let mut tasks = self.tasks.pulses();
        tasks.extend(self.outbox.undelivered().into_iter().map(|(job, stage, task)| TaskPulse {
            job,
            stage,
            task,
            idle_ms: 0,
        }));
        Pulse { tasks, memory_percent: memory_percent().unwrap_or(0) }
    }
}

/// Memory of the process as a share of what its machine or its control group has.
fn memory_percent() -> Option<u8> {
    let used = resident_bytes()?;
    let percent = used.saturating_mul(100) / available_bytes()?.max(1);
    Some(u8::try_from(percent).unwrap_or(100).min(100))
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    kilobytes_in(&status, "VmRSS:")
}

/// The least of what the machine and the control group allow.
fn available_bytes() -> Option<u64> {
    let machine = kilobytes_in(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")?;
    let limit = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let group = files.into_iter().filter_map(limit).min().unwrap_or(u64::MAX);
    Some(machine.min(group))
}

fn kilobytes_in(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}
