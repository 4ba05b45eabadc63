//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Args, Parser, Subcommand};

/// Grappe: SQL on files, on one machine or a cluster.
///
/// Without a subcommand this is the shell, with an engine inside it or, with --connect, as a client.
#[derive(Debug, Parser)]
#[command(name = "grappe", version, about, args_conflicts_with_subcommands = false)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) common: Common,

    /// Use the coordinator at this address, grpc://HOST:PORT or grpc+tls://HOST:PORT
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) connect: Option<String>,

    #[command(flatten)]
    pub(crate) shell: shell::Options,
}

/// What to be.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// A coordinator: Flight SQL and HTTP ports
    Server(ServerArguments),
    /// Benchmarks: make data, run queries, verify answers, report times
    #[command(subcommand)]
    Bench(BenchArguments),
}

/// Settings that every subcommand has; each beats the environment, which beats the file.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Common {
    /// Settings file [default: grappe/grappe.toml in the configuration directory of the user, if it is there]
    #[arg(long, value_name = "FILE", global = true, env = "GRAPPE_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// Directory of everything that lasts, or :memory: to keep nothing [default: grappe in the XDG data home]
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) data_dir: Option<PathBuf>,

    /// Memory for queries, such as 8GB [default: 70 % of the machine's]
    #[arg(long, value_name = "BYTES", global = true)]
    pub(crate) memory: Option<ByteSize>,

    /// Disk for what does not fit in memory, such as 200GB
    #[arg(long, value_name = "BYTES", global = true)]
    pub(crate) spill_bytes_max: Option<ByteSize>,

    /// Parts that a query is split into [default: the number of cores]
    #[arg(long, value_name = "N", global = true)]
    pub(crate) partitions: Option<usize>,

    /// What to log, such as info or flight_server=debug
    #[arg(long, value_name = "FILTER", global = true)]
    pub(crate) log: Option<String>,
}

/// Arguments of `grappe server`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerArguments {
    /// Address to listen on
    #[arg(long, value_name = "IP")]
    pub(crate) listen: Option<IpAddr>,

    /// Flight SQL port; 0 takes a free one
    #[arg(long, value_name = "PORT")]
    pub(crate) flight_port: Option<u16>,

    /// HTTP port; 0 takes a free one
    #[arg(long, value_name = "PORT")]
    pub(crate) http_port: Option<u16>,

    /// Listen on an address other than loopback although nobody is asked who they are
    #[arg(long)]
    pub(crate) insecure: bool,

    /// Print the settings that would be used, with secrets hidden, and exit
    #[arg(long)]
    pub(crate) print_config: bool,
}

/// Arguments of `grappe bench`.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchArguments {
    /// TPC-H: 22 queries on generated data, answers verified
    Tpch(benchmarks::tpch::TpchOptions),
}
