//! Many clients at once: how fast small queries stay while others ask too, and while large ones run.
//!
//! Each client has a connection of its own and asks one query after the other over the tables of TPC-H, drawn from a mix
//! of `kinds` by random numbers of its own. A step is a number of clients for some seconds; steps follow each other on the
//! same coordinator. `figures` are taken from how long each query took; what differs from an earlier answer is wrong.

mod figures;
mod kinds;
mod options;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use client::Client;
use futures::TryStreamExt;
use futures::future::{join_all, try_join_all};

use self::figures::{Report, Step};
use self::kinds::Kind;
pub use self::options::{ClientsOptions, Mix};
use crate::output::OutputFile;
use crate::suites::{Suite, generate, names};
use crate::{Error, Outcome};

/// One query of one client.
#[derive(Debug, Clone, Copy)]
struct Asked {
    kind: Kind,
    took: Duration,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    Failed,
    Wrong,
}

/// What has been answered up to now, by the text of the query.
type Answers = Arc<Mutex<HashMap<String, String>>>;

/// Runs the benchmark over connections that `connect` makes, and prints its findings on standard output.
///
/// # Errors
/// When the run cannot be prepared or reported. A query that fails or answers wrongly is counted in the [`Outcome`].
pub async fn run(
    options: ClientsOptions,
    connect: impl AsyncFn() -> Result<Client, client::Error>,
    data_dir: PathBuf,
) -> Result<Outcome, Error> {
    let place = options.place(&data_dir)?;
    generate::ensure_at(Suite::Tpch, &place, options.scale).await?;
    let json = options.json.as_deref().map(OutputFile::create).transpose()?;
    let most = options.clients.iter().copied().max().unwrap_or(0);
    let connections = try_join_all((0..most).map(|_| connect())).await;
    let clients = connections.map_err(|error| Error::Invalid(format!("{most} clients cannot connect: {error}")))?;
    for client in &clients {
        names::prepare(Suite::Tpch, client, &place, options.scale, options.mode).await?;
    }
    let clients: Vec<_> = clients.into_iter().map(Arc::new).collect();
    let mut report = Report::new(&options);
    report.print_header()?;
    let answers = Answers::default();
    for &count in &options.clients {
        let begun = Instant::now();
        let asked = step(&clients[..count], &options, &answers).await;
        report.add(Step::new(count, begun.elapsed(), &asked))?;
    }
    json.map_or(Ok(()), |file| file.write(&report.to_json()?))?;
    Ok(report.outcome())
}

/// All clients at once until the time is over; each ends the query that it has begun.
async fn step(clients: &[Arc<Client>], options: &ClientsOptions, answers: &Answers) -> Vec<Asked> {
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let one = |(number, client): (usize, &Arc<Client>)| {
        let (client, answers, mix, scale) = (Arc::clone(client), Arc::clone(answers), options.mix, options.scale);
        let mut random = fastrand::Rng::with_seed(options.seed ^ ((clients.len() * 1_000_000 + number) as u64));
        async move {
            let mut asked = Vec::new();
            while Instant::now() < end {
                let kind = mix.draw(&mut random);
                asked.push(ask(&client, kind, &kind.sql(scale, &mut random), &answers).await);
            }
            asked
        }
    };
    join_all(clients.iter().enumerate().map(one)).await.concat()
}

async fn ask(client: &Client, kind: Kind, sql: &str, answers: &Answers) -> Asked {
    let begun = Instant::now();
    let batches = read(client, sql).await;
    let took = begun.elapsed();
    let fate = match batches {
        Err(_) => Fate::Failed,
        Ok(batches) if is_as_before(sql, &kind.fingerprint(&batches), answers) && kind.is_plausible(&batches) => {
            Fate::Answered
        }
        Ok(_) => Fate::Wrong,
    };
    Asked { kind, took, fate }
}

async fn read(client: &Client, sql: &str) -> Result<Vec<RecordBatch>, client::Error> {
    let mut query = client.execute(sql).await?;
    query.stream().await?.try_collect().await
}

fn is_as_before(sql: &str, answer: &str, answers: &Answers) -> bool {
    let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
    match answers.get(sql) {
        Some(before) => before == answer,
        None => {
            answers.insert(sql.to_owned(), answer.to_owned());
            true
        }
    }
}

/// The rows as text.
fn text(batches: &[RecordBatch]) -> String {
    pretty_format_batches(batches).map_or_else(|error| error.to_string(), |table| table.to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        options: ClientsOptions,
    }

    pub(super) fn options(arguments: &str) -> ClientsOptions {
        Command::parse_from(std::iter::once("clients").chain(arguments.split_whitespace())).options
    }

    #[test]
    fn an_answer_that_changes_is_wrong() {
        let answers = Answers::default();
        assert!(
            is_as_before("a", "1", &answers) && is_as_before("a", "1", &answers) && is_as_before("b", "2", &answers)
        );
        assert!(!is_as_before("a", "2", &answers));
    }
}
