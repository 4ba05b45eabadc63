//! A cluster without executors: the scheduling code as it is, driven by executors that are pretended.
//!
//! Real are Ballista's scheduler with its adaptive planner and its event loop, and our tables of executors and jobs, the
//! bookkeeping of launches, the service of the cluster port, and the judgement of pulses. Plans are planned, split into
//! stages, cut into tasks and encoded. Pretended are the executors ([`fleet`]): what would be sent to them goes into a
//! queue, and their reports, heartbeats and pulses are calls of the functions that the cluster port calls. Nothing goes
//! over a network, nothing is computed, no result is read, and no shuffle file removed.
//!
//! Tasks take their time on a clock of the simulation ([`clock`]), which moves on when the scheduler has answered
//! ([`decisions`]); heartbeats and pulses come on the real clock, as often as real ones ([`beats`]). [`run`] is the loop
//! around them.

mod beats;
mod clock;
mod decisions;
mod fleet;
mod plan;
mod run;

use std::time::Duration;

use engine::{Error, Result};

/// What is simulated.
#[derive(Debug, Clone)]
pub struct SimulationOptions {
    /// Executors.
    pub executors: usize,
    /// Tasks that each of them runs at once.
    pub vcores: u32,
    /// Tasks of all jobs together, at least.
    pub tasks: usize,
    /// Stages of a job that have as many tasks as the next option says. One task more gathers the result.
    pub stages: usize,
    /// Tasks of such a stage; each writes for as many.
    pub partitions: usize,
    /// Jobs that run at once.
    pub jobs_at_once: usize,
    /// What a task takes on the simulation's clock, give or take the half.
    pub task_time: Duration,
    /// Tasks that end within so much of the simulation's time are reported together.
    pub tick: Duration,
    /// Of the random numbers.
    pub seed: u64,
}

impl Default for SimulationOptions {
    /// A hundred executors, and as many jobs of four hundred tasks as there must be for ten thousand.
    fn default() -> Self {
        Self {
            executors: 100,
            vcores: 4,
            tasks: 10_000,
            stages: 4,
            partitions: 100,
            jobs_at_once: 4,
            task_time: Duration::from_secs(1),
            tick: Duration::from_millis(10),
            seed: 1,
        }
    }
}

impl SimulationOptions {
    /// Tasks of one job.
    pub fn job_tasks(&self) -> usize {
        self.stages * self.partitions + 1
    }

    fn check(&self) -> Result<()> {
        let least = [self.executors, self.vcores as usize, self.tasks, self.stages, self.partitions, self.jobs_at_once];
        match least.contains(&0) {
            true => Err(Error::invalid(
                "a simulation needs at least one of each: executors, cores, tasks, stages, parts, jobs",
            )),
            false => Ok(()),
        }
    }
}

/// What a simulation has found.
#[derive(Debug, Clone)]
pub struct SimulationReport {
    /// Jobs that have ended, each with all its tasks.
    pub jobs: usize,
    /// Tasks that were bound, launched and reported, each once.
    pub tasks: usize,
    /// From the first job to the end of the last, without the joining of executors.
    pub wall: Duration,
    /// What one decision took, from asking who is alive to the tasks that are bound; those that bound any.
    pub decisions: Vec<Duration>,
    /// Decisions that bound nothing, and what they took.
    pub idle_decisions: (usize, Duration),
    /// From the submission of a job to its first stage.
    pub planning: Vec<Duration>,
    /// Bytes of tasks that would have been sent.
    pub launch_bytes: u64,
    /// Rounds of pulses of all executors, a heartbeat with every fourth, and what the slowest took.
    pub beats: (usize, Duration),
    /// What the simulation's clock says at the end.
    pub simulated: Duration,
    /// Share of the virtual cores that had a task, on the simulation's clock.
    pub busy: f64,
}

/// Runs a simulation to its end.
///
/// # Errors
/// `Invalid` for options with a zero; `Internal` if a job does not end well, a task runs twice or not at all, or the
/// scheduler stops answering.
pub async fn simulate(options: SimulationOptions) -> Result<SimulationReport> {
    options.check()?;
    run::Run::start(options).await?.finish().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn few() -> SimulationOptions {
        SimulationOptions { executors: 20, tasks: 2_000, partitions: 125, ..SimulationOptions::default() }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_task_runs_once_and_the_simulation_ends() {
        let options = few();
        let report = simulate(options.clone()).await.unwrap();
        assert_eq!((report.jobs, report.tasks), (4, 4 * options.job_tasks()));
        assert!(report.tasks >= options.tasks && report.decisions.len() <= report.tasks, "{report:?}");
        // 80 cores and tasks of a second: more than these would be more cores than there are.
        let least = options.tasks as f64 / 80.0 / 2.0;
        assert!(report.simulated.as_secs_f64() > least && report.busy <= 1.0, "{report:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_job_may_have_one_stage_of_many_tasks() {
        let report = simulate(SimulationOptions { stages: 1, partitions: 1_500, tasks: 1, ..few() }).await.unwrap();
        assert_eq!((report.jobs, report.tasks), (1, 1_501));
    }

    #[tokio::test]
    async fn nothing_can_be_simulated_with_nothing() {
        let error = simulate(SimulationOptions { vcores: 0, ..few() }).await.unwrap_err();
        assert_eq!(error.kind, engine::ErrorKind::Invalid);
    }
}
