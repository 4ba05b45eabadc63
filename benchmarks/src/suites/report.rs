//! What a run found, as it goes to the JSON file: each run of each query, and the figures over all of them.

use serde::Serialize;

use super::engines::Engine;
use super::machine::Machine;
use super::measure::{Measured, Runs, Verdict};
use super::options::{Place, SuiteOptions};
use super::suite::Suite;
use crate::Error;

/// Everything about a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) benchmark: &'static str,
    #[serde(skip)]
    pub(crate) suite: Suite,
    pub(crate) scale: f64,
    pub(crate) mode: &'static str,
    pub(crate) data: String,
    pub(crate) reps: u32,
    pub(crate) warmups: u32,
    pub(crate) machine: Machine,
    /// Grappe first.
    pub(crate) engines: Vec<EngineReport>,
    pub(crate) queries: Vec<QueryReport>,
}

/// One engine, and its figures.
#[derive(Debug, Serialize)]
pub(crate) struct EngineReport {
    pub(crate) name: &'static str,
    pub(crate) version: String,
    #[serde(flatten)]
    pub(crate) comparison: Comparison,
}

/// An engine beside Grappe; the figures are over the queries that both answered, neither known to be wrong, and the
/// seconds are medians of the runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Comparison {
    pub(crate) compared_queries: usize,
    /// Queries that this engine answered wrongly.
    pub(crate) wrong_queries: usize,
    pub(crate) failed_queries: usize,
    pub(crate) unsupported_queries: usize,
    pub(crate) total_seconds: Option<f64>,
    pub(crate) geometric_mean_seconds: Option<f64>,
    /// Grappe's total over the same queries.
    pub(crate) grappe_total_seconds: Option<f64>,
    /// Grappe's total over this engine's.
    pub(crate) total_ratio: Option<f64>,
    /// Geometric mean of Grappe's seconds over this engine's.
    pub(crate) geometric_mean_ratio: Option<f64>,
}

/// One query on all engines.
#[derive(Debug, Serialize)]
pub(crate) struct QueryReport {
    #[serde(flatten)]
    pub(crate) measured: Measured,
    /// Grappe's median over each engine's, in their order.
    pub(crate) ratios: Vec<Option<f64>>,
}

impl Report {
    /// A report without queries.
    pub(crate) fn new(suite: Suite, options: &SuiteOptions, place: &Place, engines: &[Engine]) -> Self {
        let data = match place {
            Place::Directory { path, .. } => path.display().to_string(),
            Place::Url(url) => url.clone(),
        };
        let blank = |engine: &Engine| EngineReport {
            name: engine.name(),
            version: engine.version().to_owned(),
            comparison: Comparison::default(),
        };
        Self {
            benchmark: suite.name(),
            suite,
            scale: options.scale,
            mode: options.mode.name(),
            data,
            reps: options.reps,
            warmups: options.warmups,
            machine: Machine::this(),
            engines: engines.iter().map(blank).collect(),
            queries: Vec::new(),
        }
    }

    /// Adds a query.
    pub(crate) fn add(&mut self, measured: Measured) {
        let own = measured.engines.first().and_then(Runs::comparable_seconds);
        let ratios = measured.engines.iter().map(|runs| Some(own? / runs.comparable_seconds()?)).collect();
        self.queries.push(QueryReport { measured, ratios });
    }

    /// Fills in the figures over all queries.
    pub(crate) fn summarise(&mut self) {
        for (index, engine) in self.engines.iter_mut().enumerate() {
            engine.comparison = compare(&self.queries, index);
        }
    }

    /// Queries that Grappe did not answer, and those that it answered wrongly.
    pub(crate) fn faults(&self) -> (usize, usize) {
        let count = |verdict| count(&self.queries, 0, verdict);
        (count(Verdict::Failed) + count(Verdict::Unsupported), count(Verdict::Different))
    }

    /// The text of the JSON file.
    pub(crate) fn to_json(&self) -> Result<String, Error> {
        let text = serde_json::to_string_pretty(self).map_err(|error| Error::Internal(error.to_string()))?;
        Ok(text + "\n")
    }
}

fn compare(queries: &[QueryReport], engine: usize) -> Comparison {
    let pairs: Vec<_> = queries.iter().filter_map(|query| seconds_of_both(&query.measured, engine)).collect();
    let total = |of: fn(&(f64, f64)) -> f64| (!pairs.is_empty()).then(|| pairs.iter().map(of).sum::<f64>());
    let (grappe_total_seconds, total_seconds) = (total(|pair| pair.0), total(|pair| pair.1));
    Comparison {
        compared_queries: pairs.len(),
        wrong_queries: count(queries, engine, Verdict::Different),
        failed_queries: count(queries, engine, Verdict::Failed),
        unsupported_queries: count(queries, engine, Verdict::Unsupported),
        total_seconds,
        geometric_mean_seconds: geometric_mean(pairs.iter().map(|pair| pair.1)),
        grappe_total_seconds,
        total_ratio: grappe_total_seconds.zip(total_seconds).map(|(own, other)| own / other),
        geometric_mean_ratio: geometric_mean(pairs.iter().map(|(own, other)| own / other)),
    }
}

/// What Grappe and this engine took; nothing unless both answered.
fn seconds_of_both(measured: &Measured, engine: usize) -> Option<(f64, f64)> {
    let own = measured.engines.first()?.comparable_seconds()?;
    Some((own, measured.engines.get(engine)?.comparable_seconds()?))
}

fn count(queries: &[QueryReport], engine: usize, verdict: Verdict) -> usize {
    let runs = queries.iter().filter_map(|query| query.measured.engines.get(engine));
    runs.filter(|runs| runs.verdict == verdict).count()
}

fn geometric_mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let logarithms: Vec<_> = values.map(f64::ln).collect();
    let count = logarithms.len();
    (count > 0).then(|| (logarithms.iter().sum::<f64>() / count as f64).exp())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn runs(engine: &'static str, seconds: f64, verdict: Verdict) -> Runs {
        Runs { engine, seconds: vec![seconds], rows: Some(1), verdict, detail: None }
    }

    /// Grappe beside a peer that answers queries 1 and 2, is wrong on 3 and does not know 4.
    pub(crate) fn example() -> Report {
        let engine =
            |name, version: &str| EngineReport { name, version: version.to_owned(), comparison: Comparison::default() };
        let mut report = Report {
            benchmark: "tpch",
            suite: Suite::Tpch,
            scale: 1.0,
            mode: "auto",
            data: "/data".to_owned(),
            reps: 1,
            warmups: 0,
            machine: Machine::this(),
            engines: vec![engine("grappe", "0.1.0"), engine("polars", "2.1.0")],
            queries: Vec::new(),
        };
        let peer = [(0.5, Verdict::Verified), (2.0, Verdict::Unchecked), (9.0, Verdict::Different)];
        for (index, (seconds, verdict)) in peer.into_iter().enumerate() {
            let engines = vec![runs("grappe", 1.0, Verdict::Verified), runs("polars", seconds, verdict)];
            report.add(Measured { query: index + 1, engines });
        }
        let unsupported = Runs { engine: "polars", verdict: Verdict::Unsupported, ..Runs::default() };
        report.add(Measured { query: 4, engines: vec![runs("grappe", 1.0, Verdict::Verified), unsupported] });
        report.summarise();
        report
    }

    #[test]
    fn the_geometric_mean_of_a_ratio_and_its_inverse_is_one() {
        let mean = geometric_mean([4.0, 0.25].into_iter()).unwrap();
        assert!((mean - 1.0).abs() < 1e-12, "{mean}");
        assert_eq!(geometric_mean(std::iter::empty()), None);
    }

    #[test]
    fn figures_are_over_the_queries_that_both_answered_rightly() {
        let report = example();
        let peer = &report.engines[1].comparison;
        assert_eq!((peer.compared_queries, peer.wrong_queries), (2, 1));
        assert_eq!((peer.failed_queries, peer.unsupported_queries), (0, 1));
        assert_eq!((peer.grappe_total_seconds, peer.total_seconds), (Some(2.0), Some(2.5)));
        assert_eq!(peer.total_ratio, Some(0.8));
        assert_eq!(report.queries[2].ratios, [Some(1.0), None]);
        assert_eq!(report.engines[0].comparison.total_seconds, Some(4.0));
    }
}
