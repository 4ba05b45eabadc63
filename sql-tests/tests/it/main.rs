//! Runs every file under `slt/` twice: against a coordinator of its own in this process, and with two executors. Then the
//! tests of [`cluster`] and of [`flight_client`].
//!
//! `cargo test -p sql-tests --test it` runs all, `... -- joins` those with `joins` in their name. With GRAPPE_SLT_UPDATE=1
//! the results in the files are replaced by what the coordinator gives.

mod cluster;
mod flight_client;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use client::{Client, Error, ErrorKind};
use libtest_mimic::{Arguments, Failed, Trial};
use local_cluster::{ClusterOptions, LocalCluster};
use sql_tests::{Fixtures, Place};

fn main() -> std::io::Result<ExitCode> {
    // Cargo runs tests in the directory of their package. It is not asked for it while compiling: clones may share a
    // target directory.
    let root = &std::path::absolute(".")?;
    let files = sql_tests::find(&root.join("slt"))?;
    let places: &[Place] = if updates() { &[Place::Chosen] } else { &[Place::Chosen, Place::Executors] };
    let files = files.iter().flat_map(|file| places.iter().map(|place| trial(root, file.clone(), *place)));
    let trials = files.chain(cluster::trials()).chain(flight_client::trials()).collect();
    Ok(libtest_mimic::run(&Arguments::from_args(), trials).exit_code())
}

/// A test with the name of its file, as in `slt/joins.slt` and `executors/slt/joins.slt`.
fn trial(root: &Path, file: PathBuf, place: Place) -> Trial {
    let prefix = if place == Place::Executors { "executors/" } else { "" };
    let name = format!("{prefix}{}", file.strip_prefix(root).unwrap_or(&file).display());
    let data = root.join("data");
    Trial::test(name.clone(), move || test(&file, data, place).map_err(|why| explain(&name, &why)))
}

fn explain(name: &str, why: &str) -> Failed {
    Failed::from(format!("{why}\nrun it again: cargo test --release -p sql-tests --test it -- {name}"))
}

fn test(file: &Path, data: PathBuf, place: Place) -> Result<(), String> {
    let temporary = tempfile::tempdir().map_err(|error| format!("no temporary directory: {error}"))?;
    let fixtures = Fixtures { data, temporary: temporary.path().to_owned() };
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let executors = if place == Place::Executors { 2 } else { 0 };
        let options = ClusterOptions { executors, ..ClusterOptions::default() };
        let cluster = LocalCluster::start(options).await.map_err(|error| error.to_string())?;
        let cluster = Arc::new(cluster);
        let connect = || connect(Arc::clone(&cluster));
        let done = if updates() {
            sql_tests::update(file, &fixtures, connect).await
        } else {
            sql_tests::run(file, &fixtures, place, connect).await
        };
        done.map_err(|failure| failure.to_string())
    })
}

async fn connect(cluster: Arc<LocalCluster>) -> Result<Client, Error> {
    let stream = cluster.connect().map_err(|error| Error::new(ErrorKind::Connection, error.to_string()))?;
    Client::connect_stream(stream).await
}

#[expect(clippy::disallowed_methods, reason = "the switch of a test binary, which has no settings file")]
fn updates() -> bool {
    std::env::var("GRAPPE_SLT_UPDATE").is_ok_and(|value| value == "1")
}
