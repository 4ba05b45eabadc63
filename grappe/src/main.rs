//! `grappe`: shell, coordinator, executor, local cluster and benchmarks in one binary.
//!
//! Here are the command line, the settings and the logs; everything else is in the crates.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod allocator;
mod bench;
mod cli;
mod cluster;
mod connect;
mod executor;
mod exit;
mod logging;
mod prompt;
mod server;
mod settings;
mod signals;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::exit::Failure;
use crate::settings::Settings;

/// Bytes of stack of a worker thread: deep plans are walked by recursion.
const STACK_BYTES: usize = 32 << 20;

/// How long a process that has nothing more to do waits for work that nobody waits for.
const ABANDONED_TIME_MAX: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    allocator::settle();
    // Spilled and shuffled rows lie in many files. Whoever has to keep fewer open says so with the hard limit.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, usize::from).max(2))
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(run(cli));
            // A statement that was given up may still be planned: nothing stops DataFusion in the middle of that.
            runtime.shutdown_timeout(ABANDONED_TIME_MAX);
            ended
        }
        Err(error) => Err(Failure::ours(format!("cannot start threads: {error}"))),
    };
    ended.unwrap_or_else(|failure| failure.report())
}

async fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let settings = Settings::load(&cli.common)?;
    match cli.command {
        None => prompt::run(cli.shell, cli.connect, &cli.credentials, &settings).await,
        Some(Command::Server(arguments)) => server::run(arguments, settings).await,
        Some(Command::Executor(cli::ExecutorArguments {
            command: Some(cli::ExecutorCommand::Drain { id }), ..
        })) => executor::drain(&id, cli.connect.as_deref(), &cli.credentials).await,
        Some(Command::Executor(arguments)) => executor::run(arguments, &settings).await,
        Some(Command::Cluster(cli::ClusterArguments::Run(arguments))) => {
            cluster::run(arguments, settings, cli.common.config).await
        }
        Some(Command::Bench(arguments)) => bench::run(arguments, cli.connect, &cli.credentials, &settings).await,
        Some(Command::HashPassword) => {
            let hash = flight_server::hash_password(&connect::new_password()?)?;
            signals::print(&format!("{hash}\n"))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
