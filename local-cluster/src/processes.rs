//! The cluster as child processes of this one. A child is told to stop by the end of its standard input, which also ends
//! it when this process is killed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use flight_server::Error;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{sleep, timeout};

use crate::wire::{ClusterSummary, CoordinatorAddresses, ExecutorReady, Process};

/// How long a process may take until it is ready.
const READY_SECONDS_MAX: Duration = Duration::from_secs(60);
/// How long a process may take to finish its work when it is told to stop.
const STOP_SECONDS_MAX: Duration = Duration::from_secs(75);
/// Pause before a process that died is started again, doubled each time it dies at once, up to the longest.
const RESTART_PAUSE_MIN: Duration = Duration::from_millis(250);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(30);
/// A process that lived so long did not die at once.
const SETTLED_AFTER: Duration = Duration::from_secs(60);

/// What the cluster is made of.
#[derive(Debug, Clone)]
pub struct ProcessClusterOptions {
    /// The `grappe` binary.
    pub binary: PathBuf,
    /// How many executors.
    pub executors: usize,
    /// Tasks that each of them runs at once.
    pub vcores: usize,
    /// Flight SQL port; 0 takes a free one.
    pub flight_port: u16,
    /// Port on which executors join, likewise.
    pub cluster_port: u16,
    /// HTTP port, likewise.
    pub http_port: u16,
    /// The coordinator's data directory, or `:memory:`.
    pub data_dir: PathBuf,
    /// Bytes that the queries in one process may hold in memory.
    pub memory_bytes_max: u64,
    /// Arguments that every process gets.
    pub common_arguments: Vec<OsString>,
    /// Variables that every process gets beside those of this one.
    pub environment: Vec<(OsString, OsString)>,
    /// Whether a process that dies is started again.
    pub restart: bool,
}

/// One child: how to start it, and how it is.
#[derive(Debug)]
struct Member {
    arguments: Vec<String>,
    child: Child,
    /// Apart from the child: waiting for a child closes its input, and that would tell it to stop.
    input: Option<ChildStdin>,
    started: Instant,
    pause: Duration,
}

/// A running cluster; dropping it kills its processes.
#[derive(Debug)]
pub struct ProcessCluster {
    options: ProcessClusterOptions,
    summary: ClusterSummary,
    /// The coordinator first, then the executors.
    members: Vec<Member>,
    _work_dirs: tempfile::TempDir,
}

impl ProcessCluster {
    /// Starts all processes and waits until the executors have joined.
    ///
    /// # Errors
    /// `Unavailable` for a process that does not start, or is not ready in time.
    pub async fn start(options: ProcessClusterOptions) -> Result<Self, Error> {
        let work_dirs = tempfile::Builder::new()
            .prefix("grappe-executors-")
            .tempdir()
            .map_err(|error| Error::unavailable(format!("cannot make the executors' work directories: {error}")))?;
        let ports = [options.flight_port, options.cluster_port, options.http_port];
        let (mut coordinator, addresses) =
            Member::start::<CoordinatorAddresses>(&options, coordinator_arguments(&options, ports)).await?;
        // Started again, it must be found where it was.
        coordinator.arguments = coordinator_arguments(&options, ports_of(&addresses)?);
        let pid = coordinator.child.id().unwrap_or_default();
        let mut members = vec![coordinator];
        let mut executors = Vec::new();
        for number in 1..=options.executors {
            let work_dir = work_dirs.path().join(format!("executor-{number}"));
            let arguments = executor_arguments(&options, &addresses.cluster, number, &work_dir.to_string_lossy());
            let (member, ready) = Member::start::<ExecutorReady>(&options, arguments).await?;
            members.push(member);
            executors.push(ready);
        }
        let summary = ClusterSummary { addresses, coordinator: Process { pid }, executors };
        Ok(Self { options, summary, members, _work_dirs: work_dirs })
    }

    /// Addresses and processes, as they were when all had joined.
    pub fn summary(&self) -> ClusterSummary {
        self.summary.clone()
    }

    /// Starts processes again that die; returns only if that is off and one has died.
    ///
    /// # Errors
    /// `Unavailable` when a process has died and is not to be started again.
    pub async fn watch(&mut self) -> Result<(), Error> {
        loop {
            let number = self.next_death().await;
            let member = &mut self.members[number];
            if !self.options.restart {
                return Err(Error::unavailable(format!("a process has died: {}", member.arguments.join(" "))));
            }
            member.pause = if member.started.elapsed() > SETTLED_AFTER {
                RESTART_PAUSE_MIN
            } else {
                (member.pause * 2).min(RESTART_PAUSE_MAX)
            };
            tracing::warn!(arguments = member.arguments.join(" "), pause = ?member.pause, "a process died; starting it again");
            sleep(member.pause).await;
            member.child = spawn(&self.options, &member.arguments)?;
            member.input = member.child.stdin.take();
            member.started = Instant::now();
        }
    }

    /// Has the executors finish their tasks and leave, then stops the coordinator.
    ///
    /// # Errors
    /// `Unavailable` for a process that had to be killed.
    pub async fn stop(mut self) -> Result<(), Error> {
        let coordinator = self.members.drain(..1).collect::<Vec<_>>();
        for generation in [self.members, coordinator] {
            let stops = generation.into_iter().map(Member::stop);
            futures::future::try_join_all(stops).await?;
        }
        Ok(())
    }

    /// Waits until a child ends; which one.
    async fn next_death(&mut self) -> usize {
        let deaths = self.members.iter_mut().map(|member| Box::pin(member.child.wait()));
        futures::future::select_all(deaths).await.1
    }
}

impl Member {
    /// Starts a process and waits for its line.
    async fn start<Ready: DeserializeOwned>(
        options: &ProcessClusterOptions,
        arguments: Vec<String>,
    ) -> Result<(Self, Ready), Error> {
        let mut child = spawn(options, &arguments)?;
        let died = |why: &str| Error::unavailable(format!("'grappe {}' {why}", arguments.join(" ")));
        let out = child.stdout.take().ok_or_else(|| died("has no output"))?;
        let mut lines = BufReader::new(out).lines();
        let line = timeout(READY_SECONDS_MAX, lines.next_line())
            .await
            .map_err(|_| died(&format!("was not ready after {} s", READY_SECONDS_MAX.as_secs())))?
            .ok()
            .flatten()
            .ok_or_else(|| died("ended before it was ready; see its message above"))?;
        let input = child.stdin.take();
        let ready = serde_json::from_str(&line).map_err(|error| died(&format!("said something else: {error}")))?;
        Ok((Self { arguments, child, input, started: Instant::now(), pause: RESTART_PAUSE_MIN }, ready))
    }

    async fn stop(mut self) -> Result<(), Error> {
        drop(self.input.take());
        if timeout(STOP_SECONDS_MAX, self.child.wait()).await.is_ok() {
            return Ok(());
        }
        // It is killed on the way out, because it is dropped.
        Err(Error::unavailable(format!("had to kill 'grappe {}': it did not stop", self.arguments.join(" "))))
    }
}

fn spawn(options: &ProcessClusterOptions, arguments: &[String]) -> Result<Child, Error> {
    Command::new(&options.binary)
        .args(arguments)
        .args(&options.common_arguments)
        .envs(options.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        // Ctrl-C is for this process, which then stops its children in order.
        .process_group(0)
        .spawn()
        .map_err(|error| Error::unavailable(format!("cannot start {}: {error}", options.binary.display())))
}

fn coordinator_arguments(options: &ProcessClusterOptions, [flight, cluster, http]: [u16; 3]) -> Vec<String> {
    let memory = format!("{}B", options.memory_bytes_max);
    let data_dir = options.data_dir.to_string_lossy();
    [
        "server",
        "--until-input-closes",
        "--flight-port",
        &flight.to_string(),
        "--cluster-port",
        &cluster.to_string(),
        "--http-port",
        &http.to_string(),
        "--data-dir",
        &data_dir,
        "--memory",
        &memory,
    ]
    .map(str::to_owned)
    .to_vec()
}

fn executor_arguments(
    options: &ProcessClusterOptions,
    coordinator: &str,
    number: usize,
    work_dir: &str,
) -> Vec<String> {
    let (memory, vcores) = (format!("{}B", options.memory_bytes_max), options.vcores.to_string());
    let name = format!("executor-{number}");
    [
        "executor",
        "--until-input-closes",
        "--coordinator",
        coordinator,
        "--name",
        &name,
        "--vcores",
        &vcores,
        "--work-dir",
        work_dir,
        "--memory",
        &memory,
    ]
    .map(str::to_owned)
    .to_vec()
}

/// The ports that a coordinator has taken.
fn ports_of(addresses: &CoordinatorAddresses) -> Result<[u16; 3], Error> {
    let port = |address: &str| {
        let port = address.rsplit(':').next().and_then(|port| port.parse().ok());
        port.ok_or_else(|| Error::internal(format!("the coordinator told an address without a port: {address}")))
    };
    Ok([port(&addresses.flight)?, port(&addresses.cluster)?, port(&addresses.http)?])
}
