//! Whether a task gets anywhere: it computes, or is given something to compute with.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Counts when the parts of a task's plan are asked for batches and when they answer.
#[derive(Debug)]
pub(crate) struct Activity {
    asked: AtomicU64,
    answered: AtomicU64,
    /// What was counted when it was last looked at, and since when that has not changed.
    seen: Mutex<(u64, Instant)>,
}

impl Default for Activity {
    fn default() -> Self {
        Self { asked: AtomicU64::new(0), answered: AtomicU64::new(0), seen: Mutex::new((0, Instant::now())) }
    }
}

impl Activity {
    /// Counts `poll`.
    pub(crate) fn count<T>(&self, poll: impl FnOnce() -> T) -> T {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let answer = poll();
        self.answered.fetch_add(1, Ordering::Relaxed);
        answer
    }

    /// How long nobody was asked and nobody owed an answer, as far as those can tell who look now and then.
    pub(crate) fn idle_for(&self) -> Duration {
        let (answered, asked) = (self.answered.load(Ordering::Relaxed), self.asked.load(Ordering::Relaxed));
        let mut seen = self.seen.lock();
        if asked != answered || asked != seen.0 {
            *seen = (asked, Instant::now());
        }
        seen.1.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_idle_when_nothing_is_asked_and_nothing_is_owed() {
        let activity = Activity::default();
        std::thread::sleep(Duration::from_millis(20));
        assert!(activity.idle_for() >= Duration::from_millis(20));
        activity.count(|| assert!(activity.idle_for() < Duration::from_millis(20), "it computes"));
        assert!(activity.idle_for() < Duration::from_millis(20), "it has answered since the last look");
        std::thread::sleep(Duration::from_millis(20));
        assert!(activity.idle_for() >= Duration::from_millis(20));
    }
}
