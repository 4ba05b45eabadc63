//! `grappe cluster run`: a coordinator and executors as child processes.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use local_cluster::{ProcessCluster, ProcessClusterOptions};

use crate::cli::ClusterRunArguments;
use crate::exit::Failure;
use crate::logging;
use crate::settings::Settings;
use crate::signals::{StopSignals, print_json};

/// Runs the cluster until SIGINT or SIGTERM. Once all have joined, one JSON line on standard output tells the addresses
/// and processes.
pub(crate) async fn run(
    arguments: ClusterRunArguments,
    settings: Settings,
    config: Option<PathBuf>,
) -> Result<ExitCode, Failure> {
    let settings = settings.with_ports(&arguments.ports);
    logging::start(settings.log.as_deref().unwrap_or(logging::OF_A_SERVICE))?;
    let binary = std::env::current_exe().map_err(|error| Failure::ours(format!("cannot find this binary: {error}")))?;
    let options = ProcessClusterOptions {
        binary,
        executors: arguments.executors as usize,
        vcores: arguments.vcores as usize,
        flight_port: settings.server.flight_port,
        cluster_port: settings.server.cluster_port,
        http_port: settings.server.http_port,
        data_dir: settings.data_dir.clone(),
        memory_bytes_max: settings.memory.as_u64() / (u64::from(arguments.executors) + 1),
        common_arguments: common_arguments(&settings, config),
        environment: environment(&settings),
        restart: !arguments.no_restart,
    };
    let mut stop = StopSignals::listen(false)?;
    let mut cluster = ProcessCluster::start(options).await?;
    print_json(&cluster.summary())?;
    tokio::select! {
        () = stop.told() => {}
        ended = cluster.watch() => ended?,
    }
    tracing::info!("stopping");
    cluster.stop().await?;
    Ok(ExitCode::SUCCESS)
}

/// What every process of the cluster is told: what it reads by itself it finds alike.
fn common_arguments(settings: &Settings, config: Option<PathBuf>) -> Vec<OsString> {
    let log = settings.log.iter().map(|log| ("--log", log.into()));
    let config = config.into_iter().map(|file| ("--config", file.into_os_string()));
    let warehouse = settings.warehouse.iter().map(|place| ("--warehouse", place.into()));
    log.chain(config).chain(warehouse).flat_map(|(flag, value)| [flag.into(), value]).collect()
}

/// What no other user of the machine is to see in a list of processes.
fn environment(settings: &Settings) -> Vec<(OsString, OsString)> {
    settings.catalog_url.iter().map(|url| ("GRAPPE_CATALOG_URL".into(), url.into())).collect()
}
