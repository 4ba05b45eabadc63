//! `grappe executor`: joins a coordinator and runs tasks until it is told to stop.

use std::net::SocketAddr;
use std::process::ExitCode;

use client::Client;
use executor::{Executor, Options};
use local_cluster::ExecutorReady;
use tokio_util::sync::CancellationToken;

use crate::cli::{Credentials, ExecutorArguments};
use crate::connect::connect_options;
use crate::exit::Failure;
use crate::logging;
use crate::settings::Settings;
use crate::signals::{StopSignals, print, print_json};

/// Runs tasks until SIGINT or SIGTERM, finishes them, leaves. Once joined, a JSON line on standard output says so.
pub(crate) async fn run(arguments: ExecutorArguments, settings: &Settings) -> Result<ExitCode, Failure> {
    let coordinator = arguments.coordinator.clone().unwrap_or_default();
    logging::start(settings.log.as_deref().unwrap_or(logging::OF_A_SERVICE))?;
    if !arguments.listen.is_loopback() && !arguments.insecure {
        let message = format!(
            "refusing to listen on {}: everyone who reaches it could run tasks here; use a loopback address, or \
             --insecure on a network that you trust",
            arguments.listen
        );
        return Err(Failure::ours(message));
    }
    let is_address = |address: &str| {
        address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    if !coordinator.split(',').all(is_address) {
        let message = format!("--coordinator '{coordinator}' is not HOST:PORT of a cluster port");
        return Err(Failure::ours(message));
    }
    let options = options(&arguments, coordinator, settings);
    let vcores = options.vcores;
    let mut stop = StopSignals::listen(arguments.until_input_closes)?;
    let mut executor = Executor::start(options, CancellationToken::new()).await?;
    tokio::select! {
        joined = executor.joined() => joined?,
        () = stop.told() => return Ok(ExitCode::SUCCESS),
    }
    tracing::info!(name = executor.name(), address = %executor.address(), "the executor has joined");
    print_json(&ExecutorReady { id: executor.name().to_owned(), pid: std::process::id(), vcores })?;
    tokio::select! {
        () = stop.told() => {}
        ended = executor.ended() => return ended.map(|()| ExitCode::SUCCESS).map_err(Failure::from),
    }
    tracing::info!("finishing tasks, then leaving");
    executor.stop();
    executor.wait().await?;
    Ok(ExitCode::SUCCESS)
}

fn options(arguments: &ExecutorArguments, coordinator: String, settings: &Settings) -> Options {
    let work_dir = arguments.work_dir.clone().unwrap_or_else(|| {
        let parent = settings.data_dir().map_or_else(std::env::temp_dir, std::path::Path::to_owned);
        parent.join("executor")
    });
    let defaults = Options::new(coordinator, work_dir);
    Options {
        name: arguments.name.clone(),
        listen: SocketAddr::new(arguments.listen, arguments.port),
        advertised_host: arguments.advertised_host.clone(),
        vcores: arguments.vcores.map_or(defaults.vcores, |vcores| vcores as usize),
        memory_bytes_max: settings.memory.as_u64() as usize,
        spill_bytes_max: settings.spill_bytes_max.as_u64(),
        disk_free_bytes_min: settings.disk_free_bytes_min.as_u64(),
        shuffle_bytes_max: Some(settings.executor_shuffle_bytes_max.as_u64()).filter(|most| *most > 0),
        storage: settings.storage.options(),
        ..defaults
    }
}

/// `grappe executor drain ID`: returns when the executor has been told.
pub(crate) async fn drain(id: &str, url: Option<&str>, credentials: &Credentials) -> Result<ExitCode, Failure> {
    let url = url.ok_or_else(|| Failure::ours("say which coordinator, with --connect grpc://HOST:FLIGHT_PORT"))?;
    if id.contains('\'') {
        return Err(Failure::ours(format!("no executor is named {id}")));
    }
    let client = Client::connect(url, &connect_options(credentials)?).await?;
    client.execute(&format!("DRAIN EXECUTOR '{id}'")).await?.ready().await?;
    print(&format!("{id} takes no more tasks, and ends when nobody needs its files\n"))?;
    Ok(ExitCode::SUCCESS)
}
