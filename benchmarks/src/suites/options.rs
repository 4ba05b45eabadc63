//! What can be asked of the benchmark on the command line.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::suite::Suite;
use crate::Error;

/// Run a suite: make the data, run the queries, verify the answers, report the times.
#[derive(Debug, Clone, clap::Args)]
pub struct SuiteOptions {
    /// Scale factor: 1 is about 1 GB of text in TPC-H and TPC-DS, which is 330 MB of Parquet in TPC-H, 10 million rows in
    /// H2O and 1 million in ClickBench
    #[arg(long, value_name = "SF", default_value_t = 1.0, value_parser = parse_scale)]
    pub scale: f64,
    /// Directory of the data, made if they are not there; or a URL that the server can read, where they are already
    /// [default: bench/<SUITE>-sf<SF> in the data directory]
    #[arg(long, value_name = "DIR")]
    pub data: Option<String>,
    /// Queries to run, such as 1,5-9 [default: all]
    #[arg(long, value_name = "LIST")]
    pub queries: Option<QueryList>,
    /// Execution mode to ask for
    #[arg(long, value_enum, default_value_t = Mode::Auto)]
    pub mode: Mode,
    /// Timed runs of each query
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub reps: u32,
    /// Runs of each query before the timed ones
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub warmups: u32,
    /// Write everything to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Draw the times to this file as SVG
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Insist on comparing the answers with an independent engine's: those that are stored, for TPC-H at scale 0.01, 0.1
    /// and 1, or else those of the first of duckdb, polars and spark that runs beside [default: if there are any]
    #[arg(long, overrides_with = "no_verify")]
    pub verify: bool,
    /// Do not compare the answers
    #[arg(long, overrides_with = "verify")]
    pub no_verify: bool,
    /// Make the data and stop
    #[arg(long)]
    pub generate_only: bool,
    /// Run these engines beside Grappe, on the same files, query by query
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAME")]
    pub peers: Vec<Peer>,
    /// Python that runs duckdb, polars and spark; scripts/bench-peers makes it [default: venv-bench/bin/python beside the
    /// directory of this program]
    #[arg(long, value_name = "PATH")]
    pub peer_python: Option<PathBuf>,
}

/// How a query is to be executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// The coordinator chooses for each query
    Auto,
    /// In the coordinator
    Local,
    /// Pipelined stages on the executors
    Streamed,
    /// Stages with durable shuffles on the executors
    Staged,
}

/// An engine to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Peer {
    /// DataFusion in this process, with its default settings
    Datafusion,
    /// DuckDB in a Python process, with views over the files
    Duckdb,
    /// Polars in a Python process, as far as its SQL goes
    Polars,
    /// Spark in a Java process of this machine, with views over the files
    Spark,
}

/// Numbers of queries, in the order they were asked for, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryList(Vec<usize>);

/// Where the data are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A directory of this machine, and whether it is the one that the scale has by default.
    Directory { path: PathBuf, is_default: bool },
    /// Somewhere that the coordinator reads.
    Url(String),
}

impl SuiteOptions {
    pub(crate) fn place(&self, suite: Suite, data_dir: &Path) -> Result<Place, Error> {
        Place::of(suite, self.data.as_deref(), self.scale, data_dir)
    }

    /// The numbers of the queries to run.
    pub(crate) fn queries(&self, suite: Suite) -> Result<Vec<usize>, Error> {
        let Some(QueryList(numbers)) = &self.queries else { return Ok((1..=suite.queries()).collect()) };
        match numbers.iter().find(|number| **number > suite.queries()) {
            Some(number) => {
                let message = format!("{suite} has no query {number}: its last one is {}", suite.queries());
                Err(Error::Invalid(message))
            }
            None => Ok(numbers.clone()),
        }
    }

    /// Whether answers are compared; an error if they must be and there are none.
    pub(crate) fn verifies(&self, suite: Suite) -> Result<bool, Error> {
        let has_answers = suite.answer(1, self.scale).is_some() || self.peers.iter().any(|peer| peer.is_independent());
        if self.verify && !has_answers {
            let message = format!(
                "no answers to verify {suite} against at scale {}: run duckdb, polars or spark beside it (--peers)",
                self.scale
            );
            return Err(Error::Invalid(message));
        }
        Ok(has_answers && !self.no_verify)
    }
}

impl Place {
    /// Where `data` says, or where a scale is by default.
    pub(crate) fn of(suite: Suite, data: Option<&str>, scale: f64, data_dir: &Path) -> Result<Self, Error> {
        let path = match data {
            Some(data) if data.contains("://") => return Ok(Self::Url(data.trim_end_matches('/').to_owned())),
            Some(data) => PathBuf::from(data),
            None => data_dir.join("bench").join(format!("{}-sf{scale}", suite.name())),
        };
        let path = std::path::absolute(&path).map_err(Error::file("find", &path))?;
        Ok(Self::Directory { path, is_default: data.is_none() })
    }
}

impl Mode {
    /// The value of `grappe.execution_mode`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Local => "local",
            Self::Streamed => "streamed",
            Self::Staged => "staged",
        }
    }
}

impl Peer {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Datafusion => "datafusion",
            Self::Duckdb => "duckdb",
            Self::Polars => "polars",
            Self::Spark => "spark",
        }
    }

    /// Whether it shares no code with Grappe.
    pub(crate) fn is_independent(self) -> bool {
        self.is_python()
    }

    /// Whether it runs in a Python process.
    pub(crate) fn is_python(self) -> bool {
        match self {
            Self::Datafusion => false,
            Self::Duckdb | Self::Polars | Self::Spark => true,
        }
    }
}

impl FromStr for QueryList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut numbers = Vec::new();
        for item in text.split(',') {
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            for number in parse_number(first)?..=parse_number(last)? {
                if !numbers.contains(&number) {
                    numbers.push(number);
                }
            }
        }
        if numbers.is_empty() { Err(format!("no query in '{text}'")) } else { Ok(Self(numbers)) }
    }
}

fn parse_number(text: &str) -> Result<usize, String> {
    let number = text.trim().parse().ok().filter(|number| (1..=QUERIES_MAX).contains(number));
    number.ok_or_else(|| format!("'{text}' is no query: use numbers from 1, as in 1,5-9"))
}

/// No suite has as many.
const QUERIES_MAX: usize = 1_000;

pub(crate) fn parse_scale(text: &str) -> Result<f64, String> {
    let scale = text.parse().ok().filter(|scale: &f64| (SCALE_MIN..=SCALE_MAX).contains(scale));
    scale.ok_or_else(|| format!("use a number from {SCALE_MIN} to {SCALE_MAX}"))
}

/// One supplier is left at less.
const SCALE_MIN: f64 = 0.001;
/// The keys of orders do not fit the generator's arithmetic far beyond this.
const SCALE_MAX: f64 = 100_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_take_numbers_and_ranges() {
        let list = |text: &str| text.parse::<QueryList>().map(|list| list.0);
        assert_eq!(list("1,5-7,6"), Ok(vec![1, 5, 6, 7]));
        assert_eq!(list("1-22").unwrap().len(), 22);
        for wrong in ["", "0", "1001", "5-", "9-5", "a"] {
            assert!(list(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn scales_are_positive_numbers() {
        assert_eq!(parse_scale("0.1"), Ok(0.1));
        for wrong in ["0", "-1", "NaN", "inf", "x", "1e9"] {
            assert!(parse_scale(wrong).is_err(), "{wrong}");
        }
    }
}
