//! The lines of a run on standard output: one a query as it ends, then the figures over all of them.

use super::measure::{Runs, Verdict};
use super::report::{Comparison, EngineReport, QueryReport, Report};
use crate::Error;
use crate::output::say;

/// Characters of why a query failed; the JSON file has all of them.
const DETAIL_CHARACTERS_MAX: usize = 300;

/// Prints what the columns mean.
pub(crate) fn header(report: &Report) -> Result<(), Error> {
    let Report { suite, scale, mode, reps, warmups, machine, data, .. } = report;
    let (cores, cpu) = (machine.cores, machine.cpu.as_deref().unwrap_or("unknown"));
    let memory = machine.memory_bytes.map_or_else(String::new, |bytes| format!(", memory {} GiB", bytes >> 30));
    say(&format!("{suite} at scale {scale}, mode {mode}, runs {reps} (after {warmups}), data in {data}"))?;
    say(&format!("cores {cores} of {cpu}{memory}"))?;
    let versions: Vec<_> = report.engines.iter().map(|engine| format!("{} {}", engine.name, engine.version)).collect();
    say(&versions.join(" beside "))?;
    if report.engines.len() > 1 {
        say("ratio: seconds of grappe over those of the peer; below 1 grappe is faster")?;
    }
    let peers: String = peers(report).map(|peer| format!("  {:>12}  {:>6}", peer.name, "ratio")).collect();
    say(&format!("\n{:<8}{:>10}{:>12}{:>10}  {:<8}{peers}", "query", "min s", "median s", "rows", "answer"))
}

/// Prints the query that was added last.
pub(crate) fn last_query(report: &Report) -> Result<(), Error> {
    let Some(QueryReport { measured, ratios }) = report.queries.last() else { return Ok(()) };
    let Some((own, peers)) = measured.engines.split_first() else { return Ok(()) };
    let rows = own.rows.map_or_else(|| "-".to_owned(), |rows| rows.to_string());
    let cells: String = peers.iter().zip(&ratios[1..]).map(|(peer, ratio)| peer_cells(peer, *ratio)).collect();
    let (min, median, answer) = (seconds(own.min_seconds()), seconds(own.median_seconds()), answer(own.verdict));
    let query = format!("q{:02}", measured.query);
    say(&format!("{query:<8}{min:>10}{median:>12}{rows:>10}  {answer:<8}{cells}"))?;
    for runs in &measured.engines {
        if let Some(detail) = &runs.detail {
            say(&format!("    {}: {}", runs.engine, shortened(detail)))?;
        }
    }
    Ok(())
}

/// Prints the figures over all queries: Grappe's, then those of each peer beside Grappe.
pub(crate) fn summary(report: &Report) -> Result<(), Error> {
    let Some(own) = report.engines.first().map(|engine| &engine.comparison) else { return Ok(()) };
    say(&format!("{:<8}{:>10}{:>12}", "total", "", seconds(own.total_seconds)))?;
    say(&format!("{:<8}{:>10}{:>12}", "geomean", "", seconds(own.geometric_mean_seconds)))?;
    peers(report).try_for_each(|peer| say(&beside(peer, report.queries.len())))
}

fn beside(EngineReport { name, comparison, .. }: &EngineReport, queries: usize) -> String {
    let Comparison { compared_queries, grappe_total_seconds, total_seconds, .. } = comparison;
    format!(
        "beside {name}: {compared_queries} of {queries} queries{}, {} s to {} s, ratio {}, geometric mean {}",
        left_out(comparison),
        seconds(*grappe_total_seconds),
        seconds(*total_seconds),
        ratio(comparison.total_ratio),
        ratio(comparison.geometric_mean_ratio),
    )
}

/// Why a peer has fewer queries: ` (1 wrong, 2 unsupported)`.
fn left_out(comparison: &Comparison) -> String {
    let counts = [
        (comparison.wrong_queries, "wrong"),
        (comparison.failed_queries, "failed"),
        (comparison.unsupported_queries, "unsupported"),
    ];
    let some: Vec<_> = counts.iter().filter(|(n, _)| *n > 0).map(|(n, why)| format!("{n} {why}")).collect();
    if some.is_empty() { String::new() } else { format!(" ({})", some.join(", ")) }
}

fn peers(report: &Report) -> impl Iterator<Item = &EngineReport> {
    report.engines.iter().skip(1)
}

fn answer(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Unchecked => "-",
        Verdict::Verified => "ok",
        Verdict::Different => "WRONG",
        Verdict::Failed => "FAILED",
        Verdict::Unsupported => "NO SQL",
    }
}

/// Seconds and ratio; in place of a ratio, why there is none.
fn peer_cells(runs: &Runs, value: Option<f64>) -> String {
    let cell = match runs.verdict {
        Verdict::Unchecked | Verdict::Verified => ratio(value),
        Verdict::Different | Verdict::Failed | Verdict::Unsupported => answer(runs.verdict).to_owned(),
    };
    format!("  {:>12}  {cell:>6}", seconds(runs.median_seconds()))
}

fn seconds(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"))
}

fn ratio(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}

/// One line of at most [`DETAIL_CHARACTERS_MAX`].
fn shortened(detail: &str) -> String {
    let line = detail.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(DETAIL_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

/// Prints a line at once: a run lasts, and its reader may be a pipe.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::suites::report::tests::example;

    #[test]
    fn a_peer_is_summed_up_with_what_was_left_out() {
        let report = example();
        assert_eq!(
            beside(&report.engines[1], report.queries.len()),
            "beside polars: 2 of 4 queries (1 wrong, 1 unsupported), 2.000 s to 2.500 s, ratio 0.80, geometric mean 1.00"
        );
    }

    #[test]
    fn a_query_without_a_ratio_says_why() {
        let report = example();
        let cells =
            |query: usize| peer_cells(&report.queries[query].measured.engines[1], report.queries[query].ratios[1]);
        assert_eq!(cells(0), "         0.500    2.00");
        assert_eq!(cells(2), "         9.000   WRONG");
        assert_eq!(cells(3), "             -  NO SQL");
    }

    #[test]
    fn long_reasons_are_cut_between_characters() {
        assert_eq!(shortened("a\n  b"), "a b");
        assert_eq!(shortened(&"ä".repeat(400)).chars().count(), DETAIL_CHARACTERS_MAX + 3);
    }
}
