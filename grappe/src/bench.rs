//! `grappe bench`: benchmarks over a coordinator in this process, or over a connection.

use std::process::ExitCode;

use benchmarks::tpch;
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
    let BenchArguments::Tpch(options) = arguments;
    let data_dir = settings.data_dir().map_or_else(std::env::temp_dir, std::path::Path::to_owned);
    let failed = |error: benchmarks::Error| Failure::ours(error.to_string());
    let outcome = match connect {
        Some(url) => {
            let client = Client::connect(&url, &connect_options(credentials)?).await?;
            tpch::run(options, client, data_dir).await.map_err(failed)?
        }
        None => {
            let cluster =
                LocalCluster::start(ClusterOptions { coordinator: settings.embedded(), ..ClusterOptions::default() })
                    .await?;
            let client = Client::connect_stream(cluster.connect()?).await?;
            let outcome = tpch::run(options, client, data_dir).await.map_err(failed)?;
            cluster.stop().await?;
            outcome
        }
    };
    Ok(if outcome.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
