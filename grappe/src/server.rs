//! `grappe server`: a coordinator that runs until it is told to stop.

use std::process::ExitCode;

use flight_server::Coordinator;
use local_cluster::CoordinatorAddresses;

use crate::cli::ServerArguments;
use crate::exit::Failure;
use crate::logging;
use crate::settings::Settings;
use crate::signals::{StopSignals, print, print_json};

/// Serves until SIGINT or SIGTERM; the addresses are a JSON line on standard output.
pub(crate) async fn run(arguments: ServerArguments, settings: Settings) -> Result<ExitCode, Failure> {
    let settings = settings.with_server_arguments(&arguments);
    if arguments.print_config {
        print(&settings.shown()?)?;
        return Ok(ExitCode::SUCCESS);
    }
    logging::start(settings.log.as_deref().unwrap_or(logging::OF_A_SERVICE))?;
    let mut stop = StopSignals::listen(arguments.until_input_closes)?;
    let coordinator = tokio::select! {
        started = Coordinator::start(settings.server()?) => started?,
        () = stop.told() => return Ok(ExitCode::SUCCESS),
    };
    if let (Some(flight), Some(cluster), Some(http)) =
        (coordinator.flight_address(), coordinator.cluster_address(), coordinator.http_address())
    {
        let version = env!("CARGO_PKG_VERSION");
        tracing::info!(%flight, %cluster, %http, version, "the coordinator is ready");
        let addresses = CoordinatorAddresses {
            flight: format!("{}://{flight}", if settings.server.tls_key.is_some() { "grpc+tls" } else { "grpc" }),
            cluster: cluster.to_string(),
            http: format!("http://{http}"),
            postgres: coordinator.postgres_address().map(|address| format!("postgresql://{address}")),
        };
        print_json(&addresses)?;
    }
    tokio::select! {
        () = stop.told() => {}
        () = coordinator.replaced() => {
            return Err(Failure::ours("another coordinator serves this catalog now: start this one again to stand by"));
        }
    }
    tracing::info!("finishing statements, then stopping");
    tokio::select! {
        () = coordinator.drain() => {}
        () = stop.told() => {}
    }
    coordinator.stop().await?;
    Ok(ExitCode::SUCCESS)
}
