//! `grappe server`: a coordinator that runs until it is told to stop.

use std::io::Write;
use std::process::ExitCode;

use flight_server::Coordinator;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::ServerArguments;
use crate::exit::Failure;
use crate::logging;
use crate::settings::Settings;

/// Serves until SIGINT or SIGTERM.
pub(crate) async fn run(arguments: ServerArguments, settings: Settings) -> Result<ExitCode, Failure> {
    let settings = settings.with_server_arguments(&arguments);
    if arguments.print_config {
        print(&settings.shown()?)?;
        return Ok(ExitCode::SUCCESS);
    }
    logging::start(if settings.log == "warn" { "info" } else { &settings.log })?;
    let coordinator = Coordinator::start(settings.server()).await?;
    if let (Some(flight), Some(http)) = (coordinator.flight_address(), coordinator.http_address()) {
        tracing::info!(%flight, %http, version = env!("CARGO_PKG_VERSION"), "the coordinator is ready");
        print(&format!("{{\"flight\":\"grpc://{flight}\",\"http\":\"http://{http}\"}}\n"))?;
    }
    told_to_stop().await?;
    tracing::info!("stopping");
    coordinator.stop().await?;
    Ok(ExitCode::SUCCESS)
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| Failure::ours(format!("cannot write to standard output: {error}")))
}

/// Waits for SIGINT or SIGTERM.
async fn told_to_stop() -> Result<(), Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::ours(format!("cannot listen to signals: {error}")));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
