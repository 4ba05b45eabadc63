//! Runs one query on every engine in turn, and finds out how long it took and whether the answer is right.

use std::time::Instant;

use serde::Serialize;

use super::compare::difference;
use super::engines::{Answer, Engine};
use super::queries;
use super::table::Table;

/// What is to be done with each query.
pub(crate) struct Plan {
    pub(crate) scale: f64,
    pub(crate) reps: u32,
    pub(crate) warmups: u32,
    pub(crate) verify: bool,
}

/// What one query gave on each engine, in the order of the engines.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) query: usize,
    pub(crate) engines: Vec<Runs>,
}

/// The runs of one query on one engine.
#[derive(Debug, Clone, Serialize, Default)]
pub(crate) struct Runs {
    pub(crate) engine: &'static str,
    /// Of the timed runs; empty if one failed.
    pub(crate) seconds: Vec<f64>,
    pub(crate) rows: Option<usize>,
    pub(crate) verdict: Verdict,
    /// What differs, or why it failed.
    pub(crate) detail: Option<String>,
}

/// Whether the answer is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// There is nothing to compare it with.
    #[default]
    Unchecked,
    /// As the independent engine's.
    Verified,
    /// Not as the independent engine's.
    Different,
    /// There is no answer but an error.
    Failed,
}

impl Runs {
    pub(crate) fn median_seconds(&self) -> Option<f64> {
        let mut sorted = self.seconds.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match sorted.len() {
            0 => None,
            odd if odd % 2 == 1 => Some(sorted[middle]),
            _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
        }
    }

    pub(crate) fn min_seconds(&self) -> Option<f64> {
        self.seconds.iter().copied().min_by(f64::total_cmp)
    }

    fn fail(&mut self, why: String) {
        self.seconds.clear();
        self.verdict = Verdict::Failed;
        self.detail = Some(why);
    }
}

/// Runs query `number` on all engines, alternating: what disturbs the machine disturbs them all.
pub(crate) async fn measure(number: usize, engines: &[Engine], plan: &Plan) -> Measured {
    let blank = |engine: &Engine| Runs { engine: engine.name(), ..Runs::default() };
    let mut runs: Vec<_> = engines.iter().map(blank).collect();
    let sql = queries::sql(number, plan.scale).unwrap_or_default();
    for round in 0..plan.warmups + plan.reps {
        let is_timed = round >= plan.warmups;
        for turn in 0..engines.len() {
            // Who goes first changes, as the first finds the files less warm.
            let index = (turn + round as usize) % engines.len();
            if runs[index].verdict != Verdict::Failed {
                run_once(&engines[index], &sql, is_timed, &mut runs[index], number, plan).await;
            }
        }
    }
    Measured { query: number, engines: runs }
}

async fn run_once(engine: &Engine, sql: &str, is_timed: bool, runs: &mut Runs, number: usize, plan: &Plan) {
    let start = Instant::now();
    let answer = match engine.answer(sql).await {
        Ok(answer) => answer,
        Err(error) => return runs.fail(error),
    };
    if is_timed {
        runs.seconds.push(start.elapsed().as_secs_f64());
    }
    runs.rows = Some(answer.batches.iter().map(|batch| batch.num_rows()).sum());
    if plan.verify && runs.verdict != Verdict::Different {
        (runs.verdict, runs.detail) = verify(number, sql, plan.scale, &answer);
    }
}

fn verify(number: usize, sql: &str, scale: f64, answer: &Answer) -> (Verdict, Option<String>) {
    let Some(expected) = queries::answer(number, scale) else { return (Verdict::Unchecked, None) };
    let expected = match Table::from_answer(expected) {
        Ok(expected) => expected,
        Err(error) => return (Verdict::Different, Some(format!("the answer file cannot be read: {error}"))),
    };
    let actual = match Table::from_batches(&answer.schema, &answer.batches) {
        Ok(actual) => actual,
        Err(error) => return (Verdict::Different, Some(format!("the result cannot be read: {error}"))),
    };
    match difference(&expected, &actual, &queries::sort_columns(sql), queries::limit(sql)) {
        None => (Verdict::Verified, None),
        different => (Verdict::Different, different),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tpch::generate;
    use crate::tpch::options::{Peer, Place};

    #[test]
    fn the_median_is_in_the_middle() {
        let median = |seconds: &[f64]| Runs { seconds: seconds.to_vec(), ..Runs::default() }.median_seconds();
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    /// The queries, the data and the rules of comparison hold together, whatever Grappe does.
    #[tokio::test]
    async fn the_peer_answers_every_query_as_the_answer_files_say() {
        let scale = 0.01;
        let directory = tempfile::tempdir().unwrap();
        generate::ensure(scale, directory.path()).await.unwrap();
        let place = Place::Directory { path: directory.path().to_owned(), is_default: false };
        let engines = [Engine::peer(Peer::Datafusion, &place).await.unwrap()];
        let plan = Plan { scale, reps: 1, warmups: 0, verify: true };
        for number in 1..=queries::COUNT {
            let measured = measure(number, &engines, &plan).await;
            let runs = &measured.engines[0];
            assert_eq!(runs.verdict, Verdict::Verified, "query {number}: {:?}", runs.detail);
        }
    }
}
