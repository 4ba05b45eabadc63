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
    pub(crate) credentials: Credentials,

    #[command(flatten)]
    pub(crate) shell: shell::Options,
}

/// What to be.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// A coordinator: Flight SQL and HTTP ports
    Server(ServerArguments),
    /// An executor: runs tasks of a coordinator's queries
    Executor(ExecutorArguments),
    /// A whole cluster on this machine
    #[command(subcommand)]
    Cluster(ClusterArguments),
    /// Benchmarks: make data, run queries, verify answers, report times
    #[command(subcommand)]
    Bench(BenchArguments),
    /// Ask for a password and print its hash, for a user in the settings of a server
    HashPassword,
}

/// Who a client is.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Credentials {
    /// User at the coordinator; the password comes from GRAPPE_PASSWORD, or is asked for
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) user: Option<String>,

    /// PEM file of certificates that the coordinator's must stand on [default: those of the system]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) tls_ca: Option<PathBuf>,

    #[arg(long, hide = true, env = "GRAPPE_PASSWORD", hide_env_values = true, global = true)]
    pub(crate) password: Option<String>,
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

    /// Where names are kept, postgres://USER:PASSWORD@HOST/DATABASE or a path; a password is better in
    /// GRAPPE_CATALOG_URL, which others do not see [default: catalog.sqlite in the data directory]
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) catalog_url: Option<String>,

    /// Where tables made with CREATE TABLE lie, a path or s3://BUCKET/PATH and the like [default: warehouse in the data
    /// directory]
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) warehouse: Option<String>,

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

/// The ports of a coordinator.
#[derive(Debug, Clone, Args)]
pub(crate) struct Ports {
    /// Flight SQL port; 0 takes a free one
    #[arg(long, value_name = "PORT")]
    pub(crate) flight_port: Option<u16>,

    /// HTTP port; 0 takes a free one
    #[arg(long, value_name = "PORT")]
    pub(crate) http_port: Option<u16>,

    /// Port on which executors join; 0 takes a free one
    #[arg(long, value_name = "PORT")]
    pub(crate) cluster_port: Option<u16>,
}

/// Arguments of `grappe server`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerArguments {
    /// Address to listen on
    #[arg(long, value_name = "IP")]
    pub(crate) listen: Option<IpAddr>,

    /// Address of the HTTP port, if it is another
    #[arg(long, value_name = "IP")]
    pub(crate) http_listen: Option<IpAddr>,

    /// Address of the port on which executors join, if it is another
    #[arg(long, value_name = "IP")]
    pub(crate) cluster_listen: Option<IpAddr>,

    /// Certificate of the Flight SQL port, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_certificate: Option<PathBuf>,

    /// Its private key, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) ports: Ports,

    /// PostgreSQL port, closed unless given; 0 takes a free one
    #[arg(long, value_name = "PORT")]
    pub(crate) pg_port: Option<u16>,

    /// Wait until no other coordinator serves the same catalog, and serve it then
    #[arg(long)]
    pub(crate) standby: bool,

    /// Stop when standard input is closed, as a parent process does when it ends
    #[arg(long, hide = true)]
    pub(crate) until_input_closes: bool,

    /// Listen on an address other than loopback although anybody could run SQL there
    #[arg(long)]
    pub(crate) insecure: bool,

    /// Print the settings that would be used, with secrets hidden, and exit
    #[arg(long)]
    pub(crate) print_config: bool,
}

/// What to do with executors.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ExecutorCommand {
    /// Have an executor take no more tasks, finish what it has and end; --connect names the coordinator
    Drain {
        /// Its id in system.executors
        id: String,
    },
}

/// Arguments of `grappe executor`.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct ExecutorArguments {
    #[command(subcommand)]
    pub(crate) command: Option<ExecutorCommand>,

    /// Cluster port of the coordinator; several, separated by commas, if one of them stands by for another
    #[arg(long, value_name = "HOST:PORT", required = true)]
    pub(crate) coordinator: Option<String>,

    /// Name of this executor, unique in the cluster [default: made up]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// Tasks that run at once [default: the number of cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) vcores: Option<u32>,

    /// Directory for shuffle and spill files, for this executor alone [default: executor in the data directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) work_dir: Option<PathBuf>,

    /// Address to listen on for tasks and shuffle reads
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub(crate) listen: IpAddr,

    /// Port to listen on; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub(crate) port: u16,

    /// Host under which the others reach this executor [default: the one it listens on]
    #[arg(long, value_name = "HOST")]
    pub(crate) advertised_host: Option<String>,

    /// Listen on an address other than loopback although nobody is asked who they are
    #[arg(long)]
    pub(crate) insecure: bool,

    /// Stop when standard input is closed, as a parent process does when it ends
    #[arg(long, hide = true)]
    pub(crate) until_input_closes: bool,
}

/// Arguments of `grappe cluster`.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterArguments {
    /// Start a coordinator and executors as child processes, and keep them running
    Run(ClusterRunArguments),
}

/// Arguments of `grappe cluster run`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClusterRunArguments {
    /// How many executors
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) executors: u32,

    /// Tasks that each executor runs at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) vcores: u32,

    #[command(flatten)]
    pub(crate) ports: Ports,

    /// Leave a process that dies dead
    #[arg(long)]
    pub(crate) no_restart: bool,
}

/// Arguments of `grappe bench`.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchArguments {
    /// TPC-H: 22 queries on generated data, answers verified
    Tpch(benchmarks::suites::SuiteOptions),
    /// TPC-DS: 99 queries on generated data, answers verified by a peer
    Tpcds(benchmarks::suites::SuiteOptions),
    /// H2O: 15 groups and joins as dataframes are asked for them, on generated data
    H2o(benchmarks::suites::SuiteOptions),
    /// ClickBench: 43 questions of a web analyst, on generated data, answers verified by a peer
    Clickbench(benchmarks::suites::SuiteOptions),
    /// Many clients at once: throughput, and how long small queries take beside large ones
    Clients(benchmarks::clients::ClientsOptions),
    /// Scheduling alone: many executors and tasks that are simulated, without data
    Scheduling(benchmarks::scheduling::SchedulingOptions),
}
