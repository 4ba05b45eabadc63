//! Runs every file under `slt/`, each against a coordinator of its own in this process.
//!
//! `cargo test -p sql-tests --test it` runs all, `... -- joins` those with `joins` in their name. With GRAPPE_SLT_UPDATE=1
//! the results in the files are replaced by what the coordinator gives.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use client::{Client, Error, ErrorKind};
use libtest_mimic::{Arguments, Failed, Trial};
use local_cluster::{ClusterOptions, LocalCluster};
use sql_tests::Fixtures;

fn main() -> std::io::Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = sql_tests::find(&root.join("slt"))?;
    let trials = files.into_iter().map(|file| trial(root, file)).collect();
    Ok(libtest_mimic::run(&Arguments::from_args(), trials).exit_code())
}

/// A test with the name of its file, as in `slt/joins.slt`.
fn trial(root: &Path, file: PathBuf) -> Trial {
    let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
    let data = root.join("data");
    Trial::test(name.clone(), move || test(&file, data).map_err(|why| explain(&name, &why)))
}

fn explain(name: &str, why: &str) -> Failed {
    Failed::from(format!("{why}\nrun it again: cargo test --release -p sql-tests --test it -- {name}"))
}

fn test(file: &Path, data: PathBuf) -> Result<(), String> {
    let temporary = tempfile::tempdir().map_err(|error| format!("no temporary directory: {error}"))?;
    let fixtures = Fixtures { data, temporary: temporary.path().to_owned() };
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let cluster = LocalCluster::start(ClusterOptions::default()).await.map_err(|error| error.to_string())?;
        let cluster = Arc::new(cluster);
        let connect = || connect(Arc::clone(&cluster));
        let done = if updates() {
            sql_tests::update(file, &fixtures, connect).await
        } else {
            sql_tests::run(file, &fixtures, connect).await
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
