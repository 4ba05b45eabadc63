//! What is taken from a simulation, and how it is said.

use std::time::Duration;

use local_cluster::{SimulationOptions, SimulationReport};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::output::say;

/// Of one simulation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Figures {
    executors: usize,
    vcores: u32,
    jobs: usize,
    tasks: usize,
    stages: usize,
    partitions: usize,
    wall_seconds: f64,
    /// Tasks bound and launched in a second of the run.
    tasks_per_second: f64,
    /// Looks for work that bound a task.
    decisions: usize,
    decision_p50_ms: f64,
    decision_p99_ms: f64,
    decision_max_ms: f64,
    /// All of these together.
    deciding_seconds: f64,
    /// Looks for work that found none, or no free core.
    idle_decisions: usize,
    idle_seconds: f64,
    planning_p50_ms: f64,
    planning_max_ms: f64,
    launch_bytes_per_task: f64,
    beat_rounds: usize,
    beat_max_ms: f64,
    simulated_seconds: f64,
    busy_percent: f64,
    /// Before the first executor joined, and at most; where the system tells.
    memory_before_bytes: Option<u64>,
    memory_peak_bytes: Option<u64>,
}

impl Figures {
    pub(super) fn new(
        point: &SimulationOptions,
        mut report: SimulationReport,
        memory_before_bytes: Option<u64>,
    ) -> Self {
        report.decisions.sort_unstable();
        report.planning.sort_unstable();
        let (idle_decisions, idle_time) = report.idle_decisions;
        let (beat_rounds, beat_max) = report.beats;
        Self {
            executors: point.executors,
            vcores: point.vcores,
            jobs: report.jobs,
            tasks: report.tasks,
            stages: point.stages,
            partitions: point.partitions,
            wall_seconds: report.wall.as_secs_f64(),
            tasks_per_second: report.tasks as f64 / report.wall.as_secs_f64(),
            decisions: report.decisions.len(),
            decision_p50_ms: quantile_ms(&report.decisions, 0.5),
            decision_p99_ms: quantile_ms(&report.decisions, 0.99),
            decision_max_ms: quantile_ms(&report.decisions, 1.0),
            deciding_seconds: report.decisions.iter().sum::<Duration>().as_secs_f64(),
            idle_decisions,
            idle_seconds: idle_time.as_secs_f64(),
            planning_p50_ms: quantile_ms(&report.planning, 0.5),
            planning_max_ms: quantile_ms(&report.planning, 1.0),
            launch_bytes_per_task: report.launch_bytes as f64 / report.tasks as f64,
            beat_rounds,
            beat_max_ms: ms(beat_max),
            simulated_seconds: report.simulated.as_secs_f64(),
            busy_percent: report.busy * 100.0,
            memory_before_bytes,
            memory_peak_bytes: memory_peak_bytes(),
        }
    }

    pub(super) fn print(&self) -> Result<(), Error> {
        let Self { executors, tasks, wall_seconds, tasks_per_second, decision_p50_ms, decision_p99_ms, .. } = self;
        let memory = self.memory_peak_bytes.map_or_else(|| "-".to_owned(), |bytes| (bytes >> 20).to_string());
        say(&format!(
            "{executors:>9}{tasks:>10}{wall_seconds:>10.2}{tasks_per_second:>10.0}{decision_p50_ms:>9.3}{decision_p99_ms:>9.3}\
             {:>10.0}{:>9.1}{:>9.0}{memory:>9}",
            self.launch_bytes_per_task, self.beat_max_ms, self.busy_percent
        ))
    }
}

/// Prints what the columns mean.
pub(super) fn print_header(first: &SimulationOptions) -> Result<(), Error> {
    let SimulationOptions { vcores, stages, partitions, jobs_at_once, task_time, .. } = first;
    say(&format!(
        "{vcores} cores an executor, jobs of {stages} x {partitions} + 1 tasks, {jobs_at_once} at once, {task_time:?} a task"
    ))?;
    say(&format!(
        "{:>9}{:>10}{:>10}{:>10}{:>9}{:>9}{:>10}{:>9}{:>9}{:>9}",
        "executors", "tasks", "wall s", "tasks/s", "p50 ms", "p99 ms", "B/task", "beat ms", "busy %", "MiB"
    ))
}

/// Prints what another task and another executor cost in memory, by the ends of the grid.
pub(super) fn print_growth(figures: &[Figures]) -> Result<(), Error> {
    let most = figures.iter().map(|point| point.executors).max();
    let by_task = growth(figures.iter().filter(|point| Some(point.executors) == most), |point| point.tasks);
    if let (Some(bytes), Some(executors)) = (by_task, most) {
        say(&format!("memory: {bytes:.0} bytes for each further task at {executors} executors"))?;
    }
    let least = figures.iter().map(|point| point.tasks).min();
    let by_executor = growth(figures.iter().filter(|point| Some(point.tasks) == least), |point| point.executors);
    if let (Some(bytes), Some(tasks)) = (by_executor, least) {
        say(&format!("memory: {bytes:.0} bytes for each further executor at {tasks} tasks"))?;
    }
    Ok(())
}

/// Bytes for each further thing that `count` counts, between the fewest and the most.
fn growth<'f>(points: impl Iterator<Item = &'f Figures> + Clone, count: impl Fn(&Figures) -> usize) -> Option<f64> {
    let fewest = points.clone().min_by_key(|point| count(point))?;
    let most = points.max_by_key(|point| count(point))?;
    let more = count(most).checked_sub(count(fewest)).filter(|more| *more > 0)?;
    let bytes = most.memory_peak_bytes? as f64 - fewest.memory_peak_bytes? as f64;
    Some(bytes / more as f64)
}

/// The smallest value that so large a share is not above; 0 if there are none.
fn quantile_ms(sorted: &[Duration], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().map_or(0.0, ms)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// Memory of this process now, as far as Linux tells.
pub(super) fn memory_bytes() -> Option<u64> {
    status_bytes("VmRSS:")
}

/// The most that it ever had.
fn memory_peak_bytes() -> Option<u64> {
    status_bytes("VmHWM:")
}

fn status_bytes(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes = value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(executors: usize, tasks: usize, memory: u64) -> Figures {
        let point = SimulationOptions { executors, ..SimulationOptions::default() };
        let report = SimulationReport {
            jobs: 1,
            tasks,
            wall: Duration::from_secs(2),
            decisions: [3, 1, 2].map(Duration::from_millis).to_vec(),
            idle_decisions: (0, Duration::ZERO),
            planning: Vec::new(),
            launch_bytes: 10 * tasks as u64,
            beats: (1, Duration::from_millis(5)),
            simulated: Duration::from_secs(4),
            busy: 0.5,
        };
        Figures { memory_peak_bytes: Some(memory), ..Figures::new(&point, report, None) }
    }

    #[test]
    fn growth_is_between_the_ends_of_the_grid() {
        let grid = [figures(10, 100, 1_000), figures(10, 1_100, 6_000), figures(20, 100, 1_500)];
        assert_eq!(growth(grid.iter().filter(|point| point.executors == 10), |point| point.tasks), Some(5.0));
        assert_eq!(growth(grid.iter().filter(|point| point.tasks == 100), |point| point.executors), Some(50.0));
        assert_eq!(growth(grid[..1].iter(), |point| point.tasks), None);
    }

    #[test]
    fn figures_are_of_the_whole_run() {
        let figures = figures(10, 100, 1_000);
        assert_eq!((figures.tasks_per_second, figures.launch_bytes_per_task), (50.0, 10.0));
        assert_eq!((figures.decision_p50_ms, figures.decision_max_ms), (2.0, 3.0));
    }
}
