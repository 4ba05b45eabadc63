//! `grappe cluster run`: a coordinator and executors as child processes.

use std::process::ExitCode;

use local_cluster::{ProcessCluster, ProcessClusterOptions};

use crate::cli::ClusterRunArguments;
use crate::exit::Failure;
use crate::logging;
use crate::settings::Settings;
use crate::signals::{print_json, told_to_stop};

/// Runs the cluster until SIGINT or SIGTERM. Once all have joined, one JSON line on standard output tells the addresses
/// and processes.
pub(crate) async fn run(arguments: ClusterRunArguments, settings: Settings) -> Result<ExitCode, Failure> {
    logging::start(if settings.log == "warn" { "info" } else { &settings.log })?;
    let binary = std::env::current_exe().map_err(|error| Failure::ours(format!("cannot find this binary: {error}")))?;
    let options = ProcessClusterOptions {
        binary,
        executors: arguments.executors as usize,
        vcores: arguments.vcores as usize,
        flight_port: arguments.flight_port.unwrap_or(settings.server.flight_port),
        cluster_port: arguments.cluster_port.unwrap_or(settings.server.cluster_port),
        http_port: arguments.http_port.unwrap_or(settings.server.http_port),
        data_dir: settings.data_dir.clone(),
        memory_bytes_max: settings.memory.as_u64() / (u64::from(arguments.executors) + 1),
        common_arguments: vec!["--log".to_owned(), settings.log.clone()],
        restart: !arguments.no_restart,
    };
    let mut cluster = ProcessCluster::start(options).await?;
    print_json(&cluster.summary())?;
    tokio::select! {
        stopped = told_to_stop(false) => stopped?,
        ended = cluster.watch() => ended?,
    }
    tracing::info!("stopping");
    cluster.stop().await?;
    Ok(ExitCode::SUCCESS)
}
