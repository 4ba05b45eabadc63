//! What can be asked of the benchmark on the command line.

use std::path::PathBuf;
use std::time::Duration;

use local_cluster::SimulationOptions;

/// Drive the scheduler alone with executors that are simulated: decisions a second and memory, without data.
#[derive(Debug, Clone, clap::Args)]
pub struct SchedulingOptions {
    /// Numbers of executors
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "100", value_parser = parse_count)]
    pub executors: Vec<usize>,
    /// Numbers of tasks, of all jobs together and at least; each with each number of executors, in a process of its own
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "10000", value_parser = parse_count)]
    pub tasks: Vec<usize>,
    /// Tasks that an executor runs at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub vcores: u32,
    /// Stages of a job; one more, of one task, gathers the result
    #[arg(long, value_name = "N", default_value = "4", value_parser = parse_count)]
    pub stages: usize,
    /// Tasks of a stage; each writes for as many of the next
    #[arg(long, value_name = "N", default_value = "100", value_parser = parse_count)]
    pub partitions: usize,
    /// Jobs that run at once
    #[arg(long, value_name = "N", default_value = "4", value_parser = parse_count)]
    pub jobs_at_once: usize,
    /// What a task takes in simulated milliseconds, give or take the half
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub task_ms: u64,
    /// Tasks that end within so many simulated milliseconds are reported together
    #[arg(long, value_name = "MS", default_value_t = 10)]
    pub tick_ms: u64,
    /// Of the random numbers
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Write the figures to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Print the figures of one simulation as JSON and nothing else
    #[arg(long, hide = true)]
    pub bare: bool,
}

impl SchedulingOptions {
    /// Every number of executors with every number of tasks.
    pub(super) fn points(&self) -> Vec<SimulationOptions> {
        let point = |executors: usize, tasks: usize| SimulationOptions {
            executors,
            vcores: self.vcores,
            tasks,
            stages: self.stages,
            partitions: self.partitions,
            jobs_at_once: self.jobs_at_once,
            task_time: Duration::from_millis(self.task_ms),
            tick: Duration::from_millis(self.tick_ms),
            seed: self.seed,
        };
        self.executors
            .iter()
            .flat_map(|executors| self.tasks.iter().map(move |tasks| point(*executors, *tasks)))
            .collect()
    }

    /// The command line that simulates one of them.
    pub(super) fn arguments(&self, point: &SimulationOptions) -> Vec<String> {
        let options = [
            ("--executors", point.executors.to_string()),
            ("--tasks", point.tasks.to_string()),
            ("--vcores", self.vcores.to_string()),
            ("--stages", self.stages.to_string()),
            ("--partitions", self.partitions.to_string()),
            ("--jobs-at-once", self.jobs_at_once.to_string()),
            ("--task-ms", self.task_ms.to_string()),
            ("--tick-ms", self.tick_ms.to_string()),
            ("--seed", self.seed.to_string()),
        ];
        let options = options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
        ["bench", "scheduling", "--bare"].map(str::to_owned).into_iter().chain(options).collect()
    }
}

fn parse_count(text: &str) -> Result<usize, String> {
    let count = text.trim().parse().ok().filter(|count| (1..=COUNT_MAX).contains(count));
    count.ok_or_else(|| format!("use numbers from 1 to {COUNT_MAX}"))
}

/// More than a machine remembers.
const COUNT_MAX: usize = 100_000_000;

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        options: SchedulingOptions,
    }

    #[test]
    fn what_a_process_is_asked_for_is_one_point_of_the_grid() {
        let line = "scheduling --executors 10,20 --tasks 5,6,7 --stages 2 --partitions 30 --task-ms 40 --seed 9";
        let options = Command::try_parse_from(line.split_whitespace()).unwrap().options;
        let points = options.points();
        assert_eq!(points.len(), 6);
        let again = options.arguments(&points[4]);
        let again = Command::try_parse_from(&again[1..]).unwrap().options;
        assert!(again.bare);
        assert_eq!(format!("{:?}", again.points()), format!("{:?}", [&points[4]]));
    }
}
