//! Scheduling alone: how many tasks a coordinator places in a second, and what it remembers of each, by the numbers of
//! executors and of tasks.
//!
//! The simulation is `local-cluster`'s; `options` spans a grid over it, of which each point has a process of its own, so
//! that no memory of one is counted to another; `figures` says what came out.

mod figures;
mod options;

use std::process::Stdio;

use local_cluster::{SimulationOptions, simulate};
use tokio::process::Command;

use self::figures::{Figures, memory_bytes, print_growth, print_header};
pub use self::options::SchedulingOptions;
use crate::output::{OutputFile, say};
use crate::{Error, Outcome};

/// Runs the simulations, and prints their figures on standard output.
///
/// # Errors
/// When a simulation does not end well, or cannot be reported.
pub async fn run(options: SchedulingOptions) -> Result<Outcome, Error> {
    let json = options.json.as_deref().map(OutputFile::create).transpose()?;
    let points = options.points();
    if !options.bare
        && let Some(first) = points.first()
    {
        print_header(first)?;
    }
    let mut all = Vec::with_capacity(points.len());
    for point in &points {
        let figures = if points.len() == 1 { here(point).await? } else { elsewhere(&options, point).await? };
        match options.bare {
            true => say(&text(&figures)?)?,
            false => figures.print()?,
        }
        all.push(figures);
    }
    if !options.bare {
        print_growth(&all)?;
    }
    json.map_or(Ok(()), |file| file.write(&text(&all)?))?;
    Ok(Outcome { queries: all.len(), ..Outcome::default() })
}

async fn here(point: &SimulationOptions) -> Result<Figures, Error> {
    let before = memory_bytes();
    let report = simulate(point.clone()).await;
    let report = report.map_err(|error| Error::Internal(format!("the simulation: {}", error.message)))?;
    Ok(Figures::new(point, report, before))
}

/// The same, in another process of this program.
async fn elsewhere(options: &SchedulingOptions, point: &SimulationOptions) -> Result<Figures, Error> {
    let failed = |why: String| {
        Error::Internal(format!("the simulation of {} executors and {} tasks: {why}", point.executors, point.tasks))
    };
    let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
    let mut command = Command::new(program);
    command.args(options.arguments(point)).stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
    let output = command.output().await.map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(format!("its process ended with {}", output.status)));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))
}

fn text(figures: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string_pretty(figures).map_err(|error| Error::Internal(error.to_string()))
}
