//! What a run says: a line a query on standard output as it ends, a summary, and a JSON file.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::engines::Engine;
use super::measure::{Measured, Runs, Verdict};
use super::options::{Place, TpchOptions};
use crate::Error;

/// Everything about a run, as it goes to the JSON file.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    benchmark: &'static str,
    scale: f64,
    mode: &'static str,
    data: String,
    reps: u32,
    warmups: u32,
    cores: usize,
    engines: Vec<EngineReport>,
    queries: Vec<QueryReport>,
}

/// One engine, and its figures over the queries that all engines answered; the seconds are medians of the runs.
#[derive(Debug, Serialize)]
struct EngineReport {
    name: &'static str,
    version: &'static str,
    total_seconds: Option<f64>,
    geometric_mean_seconds: Option<f64>,
    /// Grappe's total over this engine's.
    total_ratio: Option<f64>,
    /// Geometric mean of Grappe's seconds over this engine's.
    geometric_mean_ratio: Option<f64>,
}

#[derive(Debug, Serialize)]
struct QueryReport {
    #[serde(flatten)]
    measured: Measured,
    /// Grappe's median over each engine's, in their order.
    ratios: Vec<Option<f64>>,
}

impl Report {
    pub(crate) fn new(options: &TpchOptions, place: &Place, engines: &[Engine]) -> Self {
        let data = match place {
            Place::Directory { path, .. } => path.display().to_string(),
            Place::Url(url) => url.clone(),
        };
        let blank = |engine: &Engine| EngineReport {
            name: engine.name(),
            version: engine.version(),
            total_seconds: None,
            geometric_mean_seconds: None,
            total_ratio: None,
            geometric_mean_ratio: None,
        };
        Self {
            benchmark: "tpch",
            scale: options.scale,
            mode: options.mode.name(),
            data,
            reps: options.reps,
            warmups: options.warmups,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            engines: engines.iter().map(blank).collect(),
            queries: Vec::new(),
        }
    }

    /// Prints what the columns mean.
    pub(crate) fn print_header(&self) -> Result<(), Error> {
        let Self { scale, mode, reps, warmups, cores, data, .. } = self;
        say(&format!(
            "TPC-H at scale {scale}, mode {mode}, runs {reps} (after {warmups}), cores {cores}, data in {data}"
        ))?;
        let versions: Vec<_> =
            self.engines.iter().map(|engine| format!("{} {}", engine.name, engine.version)).collect();
        say(&versions.join(" beside "))?;
        if self.engines.len() > 1 {
            say("ratio: seconds of grappe over those of the peer; below 1 grappe is faster")?;
        }
        let peers: String = self.peers().map(|peer| format!("  {:>12}  {:>6}", peer.name, "ratio")).collect();
        say(&format!("\n{:<8}{:>10}{:>12}{:>10}  {:<8}{peers}", "query", "min s", "median s", "rows", "answer"))
    }

    /// Adds a query and prints its line.
    pub(crate) fn add(&mut self, measured: Measured) -> Result<(), Error> {
        let own = measured.engines.first().and_then(Runs::median_seconds);
        let ratios = measured.engines.iter().map(|runs| Some(own? / runs.median_seconds()?)).collect();
        let query = QueryReport { measured, ratios };
        print_query(&query)?;
        self.queries.push(query);
        Ok(())
    }

    /// Fills in the figures over all queries, and prints them.
    pub(crate) fn summarise(&mut self) -> Result<(), Error> {
        let answered: Vec<Vec<f64>> = self.queries.iter().filter_map(all_medians).collect();
        for (index, engine) in self.engines.iter_mut().enumerate() {
            let seconds = || answered.iter().map(|medians| medians[index]);
            let own = || answered.iter().map(|medians| medians[0]);
            let ratio = || answered.iter().map(|medians| medians[0] / medians[index]);
            engine.geometric_mean_seconds = geometric_mean(seconds());
            engine.geometric_mean_ratio = geometric_mean(ratio());
            if !answered.is_empty() {
                engine.total_seconds = Some(seconds().sum());
                engine.total_ratio = Some(own().sum::<f64>() / seconds().sum::<f64>());
            }
        }
        self.print_summary("total", |engine| (engine.total_seconds, engine.total_ratio))?;
        self.print_summary("geomean", |engine| (engine.geometric_mean_seconds, engine.geometric_mean_ratio))?;
        if answered.len() < self.queries.len() {
            say(&format!(
                "over {} of {} queries, those that every engine answered",
                answered.len(),
                self.queries.len()
            ))?;
        }
        Ok(())
    }

    fn print_summary(&self, name: &str, of: impl Fn(&EngineReport) -> (Option<f64>, Option<f64>)) -> Result<(), Error> {
        let own = self.engines.first().and_then(|engine| of(engine).0);
        let peers: String = self.peers().map(|peer| peer_cells(of(peer).0, of(peer).1)).collect();
        say(&format!("{name:<8}{:>10}{:>12}{:>10}  {:<8}{peers}", "", seconds(own), "", ""))
    }

    fn peers(&self) -> impl Iterator<Item = &EngineReport> {
        self.engines.iter().skip(1)
    }

    /// Queries that Grappe did not answer, and those that it answered wrongly.
    pub(crate) fn faults(&self) -> (usize, usize) {
        let count = |verdict| {
            let own = self.queries.iter().filter_map(|query| query.measured.engines.first());
            own.filter(|runs| runs.verdict == verdict).count()
        };
        (count(Verdict::Failed), count(Verdict::Different))
    }
}

fn print_query(query: &QueryReport) -> Result<(), Error> {
    let QueryReport { measured, ratios } = query;
    let Some((own, peers)) = measured.engines.split_first() else { return Ok(()) };
    let answer = match own.verdict {
        Verdict::Unchecked => "-",
        Verdict::Verified => "ok",
        Verdict::Different => "WRONG",
        Verdict::Failed => "FAILED",
    };
    let rows = own.rows.map_or_else(|| "-".to_owned(), |rows| rows.to_string());
    let cells: String =
        peers.iter().zip(&ratios[1..]).map(|(peer, ratio)| peer_cells(peer.median_seconds(), *ratio)).collect();
    let (min, median) = (seconds(own.min_seconds()), seconds(own.median_seconds()));
    say(&format!("q{:<7}{min:>10}{median:>12}{rows:>10}  {answer:<8}{cells}", Padded(measured.query)))?;
    for runs in &measured.engines {
        if let Some(detail) = &runs.detail {
            say(&format!("    {}: {detail}", runs.engine))?;
        }
    }
    Ok(())
}

/// A number of two digits that takes the width it is given.
struct Padded(usize);

impl std::fmt::Display for Padded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&format!("{:02}", self.0))
    }
}

fn peer_cells(median: Option<f64>, ratio: Option<f64>) -> String {
    let ratio = ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
    format!("  {:>12}  {ratio:>6}", seconds(median))
}

fn seconds(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"))
}

fn all_medians(query: &QueryReport) -> Option<Vec<f64>> {
    query.measured.engines.iter().map(Runs::median_seconds).collect()
}

fn geometric_mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let logarithms: Vec<_> = values.map(f64::ln).collect();
    let count = logarithms.len();
    (count > 0).then(|| (logarithms.iter().sum::<f64>() / count as f64).exp())
}

/// Prints a line at once: a run lasts, and its reader may be a pipe.
fn say(line: &str) -> Result<(), Error> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(Error::file("write", Path::new("standard output")))
}

/// The JSON file, opened before the run: better to know at once that it cannot be written.
pub(crate) struct JsonFile {
    path: PathBuf,
    file: File,
}

impl JsonFile {
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        let file = File::create(path).map_err(Error::file("create", path))?;
        Ok(Self { path: path.to_owned(), file })
    }

    pub(crate) fn write(mut self, report: &Report) -> Result<(), Error> {
        serde_json::to_writer_pretty(&self.file, report).map_err(Error::file("write", &self.path))?;
        writeln!(self.file).map_err(Error::file("write", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_geometric_mean_of_a_ratio_and_its_inverse_is_one() {
        let mean = geometric_mean([4.0, 0.25].into_iter()).unwrap();
        assert!((mean - 1.0).abs() < 1e-12, "{mean}");
        assert_eq!(geometric_mean(std::iter::empty()), None);
    }
}
