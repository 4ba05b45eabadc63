//! Suites: questions about generated tables, asked of Grappe and of other engines on the same files.
//!
//! The life of a run:
//! 1. `options` says where the data are; `generate` makes them there by the files of `layout`, from the tables of a
//!    `suite`, such as `tpch`, whose texts `questions` embeds.
//! 2. `names` tells the coordinator the tables and the execution mode.
//! 3. `measure` runs each of its queries on the `engines`, one of which may be a `python` process, and compares with the
//!    answers by the rules of `compare`.
//! 4. `report` gathers what was found, and on what `machine`; `print` says it line by line, `picture` draws it, and
//!    `output` files take it.

mod clickbench;
mod compare;
mod engines;
pub(crate) mod generate;
mod h2o;
mod layout;
mod machine;
mod measure;
pub(crate) mod names;
mod options;
mod picture;
mod print;
mod python;
mod questions;
mod report;
mod suite;
mod table;
mod tpcds;
mod tpch;

use std::path::{Path, PathBuf};

use client::Client;

use self::engines::Engine;
use self::measure::Plan;
pub use self::options::{Mode, Peer, QueryList, SuiteOptions};
pub(crate) use self::options::{Place, parse_scale};
use self::report::Report;
pub use self::suite::Suite;
use crate::output::OutputFile;
use crate::{Error, Outcome};

/// Makes the data, unless they are there, and returns their directory; nothing if `--data` is a URL.
///
/// [`run`] does this too; alone it needs no coordinator, as `--generate-only` wants it.
///
/// # Errors
/// [`Error::File`] when the directory cannot be written, [`Error::Invalid`] when it holds something else.
pub async fn generate(suite: Suite, options: &SuiteOptions, data_dir: &Path) -> Result<Option<PathBuf>, Error> {
    let place = options.place(suite, data_dir)?;
    generate::ensure_at(suite, &place, options.scale).await?;
    match place {
        Place::Directory { path, .. } => Ok(Some(path)),
        Place::Url(_) => Ok(None),
    }
}

/// Runs a suite against the coordinator of `client`, and prints its findings on standard output.
///
/// The session of `client` keeps the execution mode and default schema that the run sets.
///
/// # Errors
/// When the run cannot be prepared or reported. A query that fails or answers wrongly is counted in the [`Outcome`].
pub async fn run(suite: Suite, options: SuiteOptions, client: Client, data_dir: PathBuf) -> Result<Outcome, Error> {
    let queries = options.queries(suite)?;
    let verify = options.verifies(suite)?;
    let place = options.place(suite, &data_dir)?;
    if !options.generate_only {
        engines::check_peers(&options, &place)?;
    }
    generate(suite, &options, &data_dir).await?;
    if options.generate_only {
        return Ok(Outcome::default());
    }
    let json = options.json.as_deref().map(OutputFile::create).transpose()?;
    let svg = options.svg.as_deref().map(OutputFile::create).transpose()?;
    names::prepare(suite, &client, &place, options.scale, options.mode).await?;
    let mut engines = vec![Engine::Grappe(client)];
    engines.extend(Engine::peers(suite, &options, &place).await?);
    let plan = Plan { suite, scale: options.scale, reps: options.reps, warmups: options.warmups, verify };
    let mut report = Report::new(suite, &options, &place, &engines);
    print::header(&report)?;
    for &number in &queries {
        report.add(measure::measure(number, &mut engines, &plan).await);
        print::last_query(&report)?;
    }
    report.summarise();
    print::summary(&report)?;
    json.map_or(Ok(()), |file| file.write(&report.to_json()?))?;
    svg.map_or(Ok(()), |file| file.write(&picture::draw(&report)))?;
    let (failed, wrong) = report.faults();
    Ok(Outcome { queries: queries.len(), failed, wrong })
}
