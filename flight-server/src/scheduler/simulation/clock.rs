//! The simulation's clock: when the tasks that run will have ended.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::time::Duration;

use super::fleet::Launch;

/// A task that will end, ordered by when and then by who was first.
struct Due {
    at: Duration,
    number: u64,
    launch: Launch,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// Tasks that run, and what time it is.
pub(super) struct Clock {
    now: Duration,
    running: BinaryHeap<Reverse<Due>>,
    random: fastrand::Rng,
    task_time: Duration,
    started: u64,
    /// Of all tasks together.
    worked: Duration,
}

impl Clock {
    pub(super) fn new(task_time: Duration, seed: u64) -> Self {
        Self {
            now: Duration::ZERO,
            running: BinaryHeap::new(),
            random: fastrand::Rng::with_seed(seed),
            task_time,
            started: 0,
            worked: Duration::ZERO,
        }
    }

    /// A task begins now.
    pub(super) fn begin(&mut self, launch: Launch) {
        let takes = self.task_time.mul_f64(0.5 + self.random.f64());
        self.started += 1;
        self.worked += takes;
        self.running.push(Reverse(Due { at: self.now + takes, number: self.started, launch }));
    }

    /// Moves to the next end of a task, and returns all tasks that end within `tick` from then.
    pub(super) fn advance(&mut self, tick: Duration) -> Vec<Launch> {
        let mut ended = Vec::new();
        let Some(Reverse(first)) = self.running.peek() else { return ended };
        let until = first.at + tick;
        while let Some(next) = self.running.peek_mut().filter(|next| next.0.at <= until) {
            let Reverse(due) = PeekMut::pop(next);
            self.now = due.at;
            ended.push(due.launch);
        }
        ended
    }

    pub(super) fn now(&self) -> Duration {
        self.now
    }

    /// Share of `vcores` that had a task.
    pub(super) fn busy(&self, vcores: usize) -> f64 {
        let capacity = self.now.as_secs_f64() * vcores as f64;
        if capacity > 0.0 { self.worked.as_secs_f64() / capacity } else { 0.0 }
    }
}
