//! The virtual cores that tasks hold, task by task.
//!
//! Ballista gives virtual cores back when it believes that a task has ended: twice for a task that is cancelled between
//! binding and launching, never for the tasks of a stage that it takes back, and at once for a cancelled task that still
//! runs. Here a task holds its own until its executor reports it, or it is certain that it was never sent.

use std::collections::HashMap;

use ballista_core::JobId;
use parking_lot::Mutex;

/// A task in the cluster: job, stage, attempt of the stage, task.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TaskName {
    pub(crate) job: JobId,
    pub(crate) stage: u32,
    pub(crate) stage_attempt: u32,
    pub(crate) task: u32,
}

#[derive(Debug)]
struct Holding {
    executor: String,
    vcores: u32,
    is_launched: bool,
}

/// Who holds what.
#[derive(Debug, Default)]
pub(crate) struct Held {
    tasks: Mutex<HashMap<TaskName, Holding>>,
}

/// Virtual cores of an executor.
pub(crate) type Freed = (String, u32);

impl Held {
    /// A task is bound to an executor. A stage that is taken back counts its tasks anew: one that had the name before
    /// holds nothing any more.
    pub(crate) fn take(&self, task: TaskName, executor: &str, vcores: u32) -> Option<Freed> {
        let holding = Holding { executor: executor.to_owned(), vcores, is_launched: false };
        let before = self.tasks.lock().insert(task, holding);
        before.map(|holding| (holding.executor, holding.vcores))
    }

    /// The task is sent: only a report frees what it holds.
    pub(crate) fn launched(&self, task: &TaskName) {
        if let Some(holding) = self.tasks.lock().get_mut(task) {
            holding.is_launched = true;
        }
    }

    /// The task has ended, or was not sent.
    pub(crate) fn release(&self, task: &TaskName) -> Option<Freed> {
        self.tasks.lock().remove(task).map(|holding| (holding.executor, holding.vcores))
    }

    /// No task of the job will be sent any more.
    pub(crate) fn release_unlaunched(&self, job: &JobId) -> Vec<Freed> {
        self.remove(|task, holding| task.job == *job && !holding.is_launched)
    }

    /// The executor is gone, with all its virtual cores.
    pub(crate) fn forget(&self, executor: &str) {
        self.remove(|_, holding| holding.executor == executor);
    }

    fn remove(&self, is_meant: impl Fn(&TaskName, &Holding) -> bool) -> Vec<Freed> {
        let mut tasks = self.tasks.lock();
        let removed = tasks.extract_if(|task, holding| is_meant(task, holding));
        removed.map(|(_, holding)| (holding.executor, holding.vcores)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(task: u32) -> TaskName {
        TaskName { job: JobId::new("job"), stage: 1, stage_attempt: 0, task }
    }

    #[test]
    fn what_a_task_holds_is_freed_once() {
        let held = Held::default();
        held.take(task(1), "a", 2);
        assert_eq!(held.release(&task(1)), Some(("a".to_owned(), 2)));
        assert_eq!(held.release(&task(1)), None);
        assert_eq!(held.take(task(1), "a", 1), None);
        assert_eq!(held.take(task(1), "b", 1), Some(("a".to_owned(), 1)));
    }

    #[test]
    fn a_task_that_was_sent_holds_on_when_its_job_is_over() {
        let held = Held::default();
        held.take(task(1), "a", 1);
        held.take(task(2), "b", 1);
        held.launched(&task(1));
        assert_eq!(held.release_unlaunched(&JobId::new("job")), [("b".to_owned(), 1)]);
        assert_eq!(held.release(&task(1)), Some(("a".to_owned(), 1)));
        held.take(task(3), "c", 1);
        held.forget("c");
        assert_eq!(held.release(&task(3)), None);
    }
}
