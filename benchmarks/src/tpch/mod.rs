//! TPC-H: 22 questions of a wholesale supplier, at any scale.
//!
//! The life of a run:
//! 1. `options` says where the data are; `generate` makes them there by the files of `layout`, from `tables`.
//! 2. `names` tells the coordinator the tables and the execution mode.
//! 3. `measure` runs each of `queries` on the `engines`, and compares with the answers by the rules of `compare`.
//! 4. `report` prints a line for each and writes the file.

mod compare;
mod engines;
mod generate;
mod layout;
mod measure;
mod names;
mod options;
mod queries;
mod report;
mod table;
mod tables;

use std::path::{Path, PathBuf};

use client::Client;

use self::engines::Engine;
use self::measure::Plan;
use self::options::Place;
pub use self::options::{Mode, Peer, QueryList, TpchOptions};
use self::report::{JsonFile, Report};
use crate::Error;

/// How a run went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Queries that were run.
    pub queries: usize,
    /// Those that gave an error.
    pub failed: usize,
    /// Those whose answer is wrong.
    pub wrong: usize,
}

impl Outcome {
    /// Whether every query was answered, and no answer is known to be wrong.
    pub fn is_success(&self) -> bool {
        self.failed == 0 && self.wrong == 0
    }
}

/// Makes the data, unless they are there, and returns their directory; nothing if `--data` is a URL.
///
/// [`run`] does this too; alone it needs no coordinator, as `--generate-only` wants it.
///
/// # Errors
/// [`Error::File`] when the directory cannot be written, [`Error::Invalid`] when it holds something else.
pub async fn generate(options: &TpchOptions, data_dir: &Path) -> Result<Option<PathBuf>, Error> {
    match options.place(data_dir)? {
        Place::Directory { path, .. } => {
            generate::ensure(options.scale, &path).await?;
            Ok(Some(path))
        }
        Place::Url(_) => Ok(None),
    }
}

/// Runs the benchmark against the coordinator of `client`, and prints its findings on standard output.
///
/// The session of `client` keeps the execution mode and default schema that the run sets.
///
/// # Errors
/// When the run cannot be prepared or reported. A query that fails or answers wrongly is counted in the [`Outcome`].
pub async fn run(options: TpchOptions, client: Client, data_dir: PathBuf) -> Result<Outcome, Error> {
    let verify = options.verifies()?;
    let place = options.place(&data_dir)?;
    generate(&options, &data_dir).await?;
    if options.generate_only {
        return Ok(Outcome::default());
    }
    let json = options.json.as_deref().map(JsonFile::create).transpose()?;
    names::prepare(&client, &place, options.scale, options.mode).await?;
    let engines = engines(&options, client, &place).await?;
    let plan = Plan { scale: options.scale, reps: options.reps, warmups: options.warmups, verify };
    let mut report = Report::new(&options, &place, &engines);
    report.print_header()?;
    for &number in options.queries.numbers() {
        report.add(measure::measure(number, &engines, &plan).await)?;
    }
    report.summarise()?;
    json.map_or(Ok(()), |file| file.write(&report))?;
    let (failed, wrong) = report.faults();
    Ok(Outcome { queries: options.queries.numbers().len(), failed, wrong })
}

async fn engines(options: &TpchOptions, client: Client, place: &Place) -> Result<Vec<Engine>, Error> {
    let mut engines = vec![Engine::Grappe(client)];
    for &peer in &options.peers {
        engines.push(Engine::peer(peer, place).await?);
    }
    Ok(engines)
}
