//! Runs one query on every engine in turn, and finds out how long it took and whether the answer is right.

use serde::Serialize;

use super::compare::{self, difference};
use super::engines::{Engine, Refusal};
use super::suite::Suite;
use super::table::Table;

/// What is to be done with each query.
pub(crate) struct Plan {
    pub(crate) suite: Suite,
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
    /// As the stored answer, or as that of the independent engine that runs beside.
    Verified,
    /// Not as that.
    Different,
    /// There is no answer but an error.
    Failed,
    /// The engine does not know this SQL.
    Unsupported,
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

    /// The median, unless the answer is wrong: how long it takes to be wrong says nothing.
    pub(crate) fn comparable_seconds(&self) -> Option<f64> {
        match self.verdict {
            Verdict::Unchecked | Verdict::Verified => self.median_seconds(),
            Verdict::Different | Verdict::Failed | Verdict::Unsupported => None,
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        let (verdict, why) = match refusal {
            Refusal::Unsupported(why) => (Verdict::Unsupported, why),
            Refusal::Failed(why) => (Verdict::Failed, why),
        };
        self.seconds.clear();
        self.verdict = verdict;
        self.detail = Some(why);
    }

    fn is_refused(&self) -> bool {
        matches!(self.verdict, Verdict::Failed | Verdict::Unsupported)
    }
}

/// Runs query `number` on all engines, alternating: what disturbs the machine disturbs them all.
pub(crate) async fn measure(number: usize, engines: &mut [Engine], plan: &Plan) -> Measured {
    let blank = |engine: &Engine| Runs { engine: engine.name(), ..Runs::default() };
    let mut runs: Vec<_> = engines.iter().map(blank).collect();
    let sql = plan.suite.sql(number, plan.scale).unwrap_or_default();
    let mut answers: Vec<Option<Table>> = engines.iter().map(|_| None).collect();
    for round in 0..plan.warmups + plan.reps {
        let is_timed = round >= plan.warmups;
        for turn in 0..engines.len() {
            // Who goes first changes, as the first finds the files less warm.
            let index = (turn + round as usize) % engines.len();
            if !runs[index].is_refused() {
                answers[index] = run_once(&mut engines[index], &sql, is_timed, &mut runs[index], number, plan).await;
            }
        }
    }
    if plan.verify && plan.suite.answer(number, plan.scale).is_none() {
        verify_by_peer(&sql, engines, &answers, &mut runs);
    }
    Measured { query: number, engines: runs }
}

async fn run_once(
    engine: &mut Engine,
    sql: &str,
    is_timed: bool,
    runs: &mut Runs,
    number: usize,
    plan: &Plan,
) -> Option<Table> {
    let answer = match engine.answer(number, sql).await {
        Ok(answer) => answer,
        Err(refusal) => {
            runs.refuse(refusal);
            return None;
        }
    };
    if is_timed {
        runs.seconds.push(answer.seconds);
    }
    runs.rows = Some(answer.table.rows.len());
    if plan.verify && runs.verdict != Verdict::Different {
        (runs.verdict, runs.detail) = verify(number, sql, plan, &answer.table);
    }
    Some(answer.table)
}

/// The first engine that shares no code with Grappe and has an answer says what is right.
fn verify_by_peer(sql: &str, engines: &[Engine], answers: &[Option<Table>], runs: &mut [Runs]) {
    let judges = engines.iter().zip(answers).enumerate();
    let mut judges = judges.filter_map(|(index, (engine, answer))| {
        answer.as_ref().filter(|_| engine.is_independent()).map(|answer| (index, answer))
    });
    let Some((judge, expected)) = judges.next() else { return };
    for (index, (runs, answer)) in runs.iter_mut().zip(answers).enumerate() {
        let Some(actual) = answer.as_ref().filter(|_| index != judge) else { continue };
        (runs.verdict, runs.detail) = compared(sql, expected, actual);
    }
}

fn verify(number: usize, sql: &str, plan: &Plan, actual: &Table) -> (Verdict, Option<String>) {
    let Some(expected) = plan.suite.answer(number, plan.scale) else { return (Verdict::Unchecked, None) };
    let expected = match Table::from_answer(expected) {
        Ok(expected) => expected,
        Err(error) => return (Verdict::Different, Some(format!("the answer file cannot be read: {error}"))),
    };
    compared(sql, &expected, actual)
}

fn compared(sql: &str, expected: &Table, actual: &Table) -> (Verdict, Option<String>) {
    match difference(expected, actual, &compare::sort_columns(sql), compare::limit(sql)) {
        None => (Verdict::Verified, None),
        different => (Verdict::Different, different),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suites::generate;
    use crate::suites::options::Place;

    #[test]
    fn the_median_is_in_the_middle() {
        let median = |seconds: &[f64]| Runs { seconds: seconds.to_vec(), ..Runs::default() }.median_seconds();
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn what_a_wrong_answer_took_is_not_compared() {
        let runs = |verdict| Runs { seconds: vec![1.0], verdict, ..Runs::default() };
        assert_eq!(runs(Verdict::Verified).comparable_seconds(), Some(1.0));
        assert_eq!(runs(Verdict::Unchecked).comparable_seconds(), Some(1.0));
        assert_eq!(runs(Verdict::Different).comparable_seconds(), None);
    }

    /// The queries, the data and the rules of comparison hold together, whatever Grappe does.
    #[tokio::test]
    async fn the_peer_answers_every_query_as_the_answer_files_say() {
        let scale = 0.01;
        let directory = tempfile::tempdir().unwrap();
        generate::ensure(Suite::Tpch, scale, directory.path()).await.unwrap();
        let place = Place::Directory { path: directory.path().to_owned(), is_default: false };
        let mut engines = [Engine::datafusion(Suite::Tpch, &place).await.unwrap()];
        let plan = Plan { suite: Suite::Tpch, scale, reps: 1, warmups: 0, verify: true };
        for number in 1..=Suite::Tpch.queries() {
            let measured = measure(number, &mut engines, &plan).await;
            let runs = &measured.engines[0];
            assert_eq!(runs.verdict, Verdict::Verified, "query {number}: {:?}", runs.detail);
        }
    }
}
