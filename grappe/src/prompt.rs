//! The shell: over a coordinator in this process, or over a connection.

use std::process::ExitCode;

use client::Client;
use local_cluster::{ClusterOptions, LocalCluster};

use crate::cli::Credentials;
use crate::connect::connect_options;
use crate::exit::Failure;
use crate::logging;
use crate::settings::{Settings, startup_file};

/// Runs the shell to its end.
pub(crate) async fn run(
    options: shell::Options,
    connect: Option<String>,
    credentials: &Credentials,
    settings: &Settings,
) -> Result<ExitCode, Failure> {
    logging::start(settings.log.as_deref().unwrap_or(logging::OF_A_COMMAND))?;
    let mut environment = shell::Environment {
        server: connect.clone().unwrap_or_else(|| "an engine in this process".to_owned()),
        history_file: settings.data_dir().map(|dir| dir.join("history")),
        startup_file: startup_file(),
    };
    let code = match connect {
        Some(url) => {
            environment.server = url.clone();
            let connection = Client::connect(&url, &connect_options(credentials)?).await;
            shell::run(options, connection, environment).await
        }
        None => {
            let cluster =
                LocalCluster::start(ClusterOptions { coordinator: settings.embedded(), ..ClusterOptions::default() })
                    .await?;
            let connection = Client::connect_stream(cluster.connect()?).await;
            let code = shell::run(options, connection, environment).await;
            cluster.stop().await?;
            code
        }
    };
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
