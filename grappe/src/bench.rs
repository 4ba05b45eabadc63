//! `grappe bench`: benchmarks over a coordinator in this process, or over a connection.

use std::process::ExitCode;

use benchmarks::clients;
use benchmarks::scheduling;
use benchmarks::suites::{self, Suite};
use client::Client;
use local_cluster::{ClusterOptions, LocalCluster};

use crate::cli::{BenchArguments, Credentials};
use crate::connect::connect_options;
use crate::exit::Failure;
use crate::logging;
use crate::settings::Settings;

/// Runs a benchmark; the exit code says whether every answer was right.
pub(crate) async fn run(
    arguments: BenchArguments,
    connect: Option<String>,
    credentials: &Credentials,
    settings: &Settings,
) -> Result<ExitCode, Failure> {
    logging::start(settings.log.as_deref().unwrap_or(logging::OF_A_COMMAND))?;
    let data_dir = settings.data_dir().map_or_else(std::env::temp_dir, std::path::Path::to_owned);
    let failed = |error: benchmarks::Error| Failure::ours(error.to_string());
    let is_simulated = matches!(arguments, BenchArguments::Scheduling(_));
    if is_simulated && connect.is_some() {
        return Err(Failure::ours("bench scheduling simulates a cluster in this process: leave out --connect"));
    }
    let embedded = match &connect {
        _ if is_simulated => None,
        Some(_) => None,
        None => {
            let coordinator = settings.embedded();
            Some(LocalCluster::start(ClusterOptions { coordinator, ..ClusterOptions::default() }).await?)
        }
    };
    let credentials = connect_options(credentials)?;
    let client = async || match (&connect, &embedded) {
        (Some(url), _) => Client::connect(url, &credentials).await,
        (None, Some(cluster)) => match cluster.connect() {
            Ok(stream) => Client::connect_stream(stream).await,
            Err(error) => Err(client::Error::new(client::ErrorKind::Connection, error.message)),
        },
        (None, None) => Err(client::Error::new(client::ErrorKind::Connection, "there is no coordinator")),
    };
    let suite = async |suite: Suite, options| {
        suites::run(suite, options, client().await?, data_dir.clone()).await.map_err(failed)
    };
    let outcome = match arguments {
        BenchArguments::Tpch(options) => suite(Suite::Tpch, options).await?,
        BenchArguments::Tpcds(options) => suite(Suite::Tpcds, options).await?,
        BenchArguments::H2o(options) => suite(Suite::H2o, options).await?,
        BenchArguments::Clickbench(options) => suite(Suite::Clickbench, options).await?,
        BenchArguments::Clients(options) => clients::run(options, client, data_dir).await.map_err(failed)?,
        BenchArguments::Scheduling(options) => scheduling::run(options).await.map_err(failed)?,
    };
    if let Some(cluster) = embedded {
        cluster.stop().await?;
    }
    Ok(if outcome.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
