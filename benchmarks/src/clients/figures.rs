//! What is taken from how long queries took, and how it is said.

use std::time::Duration;

use serde::Serialize;

use super::kinds::Kind;
use super::options::ClientsOptions;
use super::{Asked, Fate};
use crate::output::say;
use crate::{Error, Outcome};

/// All steps of a run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    scale: f64,
    mode: &'static str,
    mix: String,
    seconds: u64,
    steps: Vec<Step>,
}

/// So many clients for some time.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    clients: usize,
    /// Answers a second.
    throughput: f64,
    kinds: Vec<Figures>,
}

/// Of the queries of one kind in one step.
#[derive(Debug, Serialize)]
struct Figures {
    kind: Kind,
    answered: usize,
    failed: usize,
    wrong: usize,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

impl Report {
    pub(super) fn new(options: &ClientsOptions) -> Self {
        let ClientsOptions { scale, mode, mix, seconds, .. } = options;
        Self { scale: *scale, mode: mode.name(), mix: mix.to_string(), seconds: *seconds, steps: Vec::new() }
    }

    pub(super) fn print_header(&self) -> Result<(), Error> {
        let Self { scale, mode, mix, seconds, .. } = self;
        say(&format!("TPC-H tables at scale {scale}, mode {mode}, {mix}, {seconds} s a step"))?;
        say(&format!(
            "{:>7}  {:<6}{:>10}{:>8}{:>8}{:>10}{:>10}{:>10}{:>12}",
            "clients", "kind", "answered", "failed", "wrong", "p50 ms", "p99 ms", "max ms", "answers/s"
        ))
    }

    /// Takes a step, and prints it.
    pub(super) fn add(&mut self, step: Step) -> Result<(), Error> {
        for (index, figures) in step.kinds.iter().enumerate() {
            let Figures { kind, answered, failed, wrong, p50_ms, p99_ms, max_ms } = figures;
            let throughput = if index == 0 { format!("{:.1}", step.throughput) } else { String::new() };
            say(&format!(
                "{:>7}  {:<6}{answered:>10}{failed:>8}{wrong:>8}{p50_ms:>10.2}{p99_ms:>10.2}{max_ms:>10.2}{throughput:>12}",
                step.clients,
                kind.name(),
            ))?;
        }
        self.steps.push(step);
        Ok(())
    }

    pub(super) fn outcome(&self) -> Outcome {
        let mut outcome = Outcome::default();
        for figures in self.steps.iter().flat_map(|step| &step.kinds) {
            outcome.queries += figures.answered + figures.failed + figures.wrong;
            outcome.failed += figures.failed;
            outcome.wrong += figures.wrong;
        }
        outcome
    }

    pub(super) fn to_json(&self) -> Result<String, Error> {
        serde_json::to_string_pretty(self).map_err(|error| Error::Internal(error.to_string()))
    }
}

impl Step {
    pub(super) fn new(clients: usize, took: Duration, asked: &[Asked]) -> Self {
        let answered = asked.iter().filter(|asked| asked.fate == Fate::Answered).count();
        let of_kind = |kind: Kind| {
            let asked: Vec<_> = asked.iter().filter(|asked| asked.kind == kind).collect();
            (!asked.is_empty()).then(|| Figures::new(kind, &asked))
        };
        let kinds = Kind::ALL.into_iter().filter_map(of_kind).collect();
        Self { clients, throughput: answered as f64 / took.as_secs_f64(), kinds }
    }
}

impl Figures {
    fn new(kind: Kind, asked: &[&Asked]) -> Self {
        let count = |fate: Fate| asked.iter().filter(|asked| asked.fate == fate).count();
        let mut ms: Vec<_> = asked.iter().map(|asked| asked.took.as_secs_f64() * 1_000.0).collect();
        ms.sort_by(f64::total_cmp);
        Self {
            kind,
            answered: count(Fate::Answered),
            failed: count(Fate::Failed),
            wrong: count(Fate::Wrong),
            p50_ms: quantile(&ms, 0.5),
            p99_ms: quantile(&ms, 0.99),
            max_ms: quantile(&ms, 1.0),
        }
    }
}

/// The smallest value that so large a share is not above; 0 if there are none.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let values: Vec<_> = (1..=200).map(f64::from).collect();
        assert_eq!([0.5, 0.99, 1.0].map(|share| quantile(&values, share)), [100.0, 198.0, 200.0]);
        assert_eq!(quantile(&[], 0.5), 0.0);
        assert_eq!(quantile(&[7.0], 0.99), 7.0);
    }

    #[test]
    fn what_failed_is_no_throughput() {
        let asked = |kind, fate| Asked { kind, took: Duration::from_millis(4), fate };
        let all = [
            asked(Kind::Point, Fate::Answered),
            asked(Kind::Point, Fate::Failed),
            asked(Kind::Q6, Fate::Answered),
            asked(Kind::Q6, Fate::Wrong),
        ];
        let step = Step::new(2, Duration::from_secs(2), &all);
        assert_eq!(step.throughput, 1.0);
        assert_eq!(step.kinds.len(), 2);
        let options = crate::clients::tests::options("");
        let mut report = Report::new(&options);
        report.add(step).unwrap();
        assert_eq!(report.outcome(), Outcome { queries: 4, failed: 1, wrong: 1 });
        assert!(report.to_json().unwrap().contains("\"p99_ms\": 4.0"));
    }
}
