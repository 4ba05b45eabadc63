//! A peer in a Python process: `peers/peer.py` answers queries there, in lines of JSON whose form its docstring tells.
//!
//! The process lives as long as the run, so that starting an engine is not timed. One that dies or does not answer in
//! time costs its query; the next query starts another.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::engines::{Answer, Refusal};
use super::machine;
use super::options::{Peer, SuiteOptions};
use super::suite::Suite;
use super::table::{Table, WireColumn};
use crate::Error;

/// Isolated: neither the working directory nor PYTHON* variables change what is imported.
const ARGUMENTS: &[&str] = &["-I", "-c", include_str!("../../peers/peer.py")];

/// How long a peer may take for one query.
const REPLY_SECONDS_MAX: u64 = 600;
/// How long a reply may be; answers take a few megabytes at any scale.
const REPLY_BYTES_MAX: u64 = 1 << 30;

/// An engine in a Python process.
pub(crate) struct PythonPeer {
    name: &'static str,
    version: String,
    launch: Launch,
    /// Nothing after the process died, until the next query.
    process: Option<Process>,
}

/// What starts a process.
struct Launch {
    program: PathBuf,
    arguments: &'static [&'static str],
    /// The first line it is sent.
    setup: Value,
}

/// A running process.
#[derive(Debug)]
struct Process {
    child: Child,
    requests: ChildStdin,
    replies: BufReader<ChildStdout>,
}

/// A line from a process.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Reply {
    Started { version: String },
    Answered { seconds: f64, columns: Vec<WireColumn>, rows: Vec<Vec<Option<String>>> },
    Unsupported { unsupported: String },
    Failed { error: String },
}

impl PythonPeer {
    /// Starts the engine of this name on the tables in a directory.
    pub(crate) async fn start(
        name: &'static str,
        python: &Path,
        suite: Suite,
        directory: &Path,
    ) -> Result<Self, Error> {
        let setup = json!({ "engine": name, "threads": machine::cores(), "tables": files(suite, directory)? });
        let launch = Launch { program: python.to_owned(), arguments: ARGUMENTS, setup };
        Self::launch(name, launch).await.map_err(|why| {
            Error::Invalid(format!(
                "could not start the peer {name} with {}: {why} (scripts/bench-peers{} makes its environment)",
                python.display(),
                if name == Peer::Spark.name() { " spark" } else { "" }
            ))
        })
    }

    async fn launch(name: &'static str, launch: Launch) -> Result<Self, String> {
        let (process, version) = launch.start().await?;
        Ok(Self { name, version, launch, process: Some(process) })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Runs a query to its last row.
    pub(crate) async fn answer(&mut self, number: usize, sql: &str) -> Result<Answer, Refusal> {
        let request = json!({ "query": number, "sql": sql });
        match self.exchange(&request).await.map_err(Refusal::Failed)? {
            Reply::Answered { seconds, columns, rows } => {
                let table = Table::from_cells(columns, rows).map_err(Refusal::Failed)?;
                Ok(Answer { seconds, table })
            }
            Reply::Unsupported { unsupported } => Err(Refusal::Unsupported(unsupported)),
            Reply::Failed { error } => Err(Refusal::Failed(error)),
            Reply::Started { .. } => Err(Refusal::Failed("the peer answered a query with its version".to_owned())),
        }
    }

    async fn exchange(&mut self, request: &Value) -> Result<Reply, String> {
        let mut process = match self.process.take() {
            Some(process) => process,
            None => self.launch.start().await?.0,
        };
        let reply = process.exchange(request).await?;
        // Not after an error: the process is dead, or what it says next would be taken for the wrong query's answer.
        self.process = Some(process);
        Ok(reply)
    }
}

impl Launch {
    /// Starts a process, and returns it with the version of its engine.
    async fn start(&self) -> Result<(Process, String), String> {
        let mut process = self.spawn().map_err(|error| error.to_string())?;
        match process.exchange(&self.setup).await? {
            Reply::Started { version } => Ok((process, version)),
            Reply::Failed { error } => Err(error),
            other => Err(format!("unexpected reply {other:?}")),
        }
    }

    fn spawn(&self) -> std::io::Result<Process> {
        let mut child = Command::new(&self.program)
            .args(self.arguments)
            // How this program keeps memory is not how its peers do.
            .env_remove("GLIBC_TUNABLES")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(requests), Some(replies)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(std::io::Error::other("the process has no pipes"));
        };
        Ok(Process { child, requests, replies: BufReader::new(replies) })
    }
}

impl Process {
    /// Sends a line and waits for the one that answers it.
    async fn exchange(&mut self, request: &Value) -> Result<Reply, String> {
        let limit = Duration::from_secs(REPLY_SECONDS_MAX);
        let line = match tokio::time::timeout(limit, self.exchange_lines(&format!("{request}\n"))).await {
            Ok(line) => line?,
            Err(_) => return Err(format!("no answer within {REPLY_SECONDS_MAX} seconds; the peer was stopped")),
        };
        serde_json::from_str(&line).map_err(|error| format!("the peer's reply cannot be read: {error}"))
    }

    async fn exchange_lines(&mut self, request: &str) -> Result<String, String> {
        // A process that died does not take the request; why it died is said below.
        let sent = self.requests.write_all(request.as_bytes()).await;
        let mut line = String::new();
        if sent.is_ok() {
            let read = (&mut self.replies).take(REPLY_BYTES_MAX).read_line(&mut line).await;
            read.map_err(|error| format!("the peer's reply cannot be read: {error}"))?;
        }
        if line.ends_with('\n') {
            return Ok(line);
        }
        if line.len() as u64 >= REPLY_BYTES_MAX {
            return Err(format!("the peer's reply is longer than {REPLY_BYTES_MAX} bytes"));
        }
        let status = self.child.wait().await.map_err(|error| error.to_string())?;
        Err(format!("the peer ended: {status}"))
    }
}

/// The Python to run peers with: the one that was asked for, or that of the environment beside the target directory.
pub(crate) fn find(options: &SuiteOptions) -> Result<PathBuf, Error> {
    let python = match &options.peer_python {
        Some(python) => python.clone(),
        None => default_python()?,
    };
    if python.exists() {
        return Ok(python);
    }
    Err(Error::Invalid(format!(
        "no Python for peers at {}: make it with scripts/bench-peers, or name one with --peer-python",
        python.display()
    )))
}

/// `target/venv-bench/bin/python` for `target/release/grappe`.
fn default_python() -> Result<PathBuf, Error> {
    let program = std::env::current_exe().map_err(|error| Error::Internal(error.to_string()))?;
    let target = program.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
    Ok(target.join("venv-bench").join("bin").join("python"))
}

/// The files of each table.
fn files(suite: Suite, directory: &Path) -> Result<Value, Error> {
    let mut files = serde_json::Map::new();
    for table in suite.tables() {
        files.insert((*table).to_owned(), parquet_files(&directory.join(table))?.into());
    }
    Ok(files.into())
}

fn parquet_files(directory: &Path) -> Result<Vec<String>, Error> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(Error::file("read", directory))? {
        let path = entry.map_err(Error::file("read", directory))?.path();
        if path.extension().is_some_and(|extension| extension == "parquet") {
            paths.push(path.display().to_string());
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str) -> Reply {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn replies_are_told_apart() {
        assert!(matches!(reply(r#"{"version": "2.0.0"}"#), Reply::Started { .. }));
        assert!(matches!(reply(r#"{"unsupported": "no"}"#), Reply::Unsupported { .. }));
        assert!(matches!(reply(r#"{"error": "no"}"#), Reply::Failed { .. }));
        let text = r#"{"seconds": 0.5, "columns": [{"name": "a", "kind": "decimal", "places": 2}], "rows": [["1.50"], [null]]}"#;
        let Reply::Answered { seconds, columns, rows } = reply(text) else { panic!("{text}") };
        let table = Table::from_cells(columns, rows).unwrap();
        assert_eq!((seconds, table.columns[0].decimal_places), (0.5, Some(2)));
        assert_eq!(table.rows, [[Some("1.5".to_owned())], [None]]);
    }

    fn shell(script: &'static [&'static str]) -> Launch {
        Launch { program: "/bin/sh".into(), arguments: script, setup: Value::Null }
    }

    #[tokio::test]
    async fn a_process_that_dies_costs_its_query_and_is_started_again() {
        let script = &["-c", r#"read setup; echo '{"version": "1"}'; read query; exit 3"#];
        let mut peer = PythonPeer::launch("duckdb", shell(script)).await.unwrap();
        for query in 1..=2 {
            let Err(Refusal::Failed(why)) = peer.answer(query, "select 1").await else { panic!("query {query}") };
            assert!(why.contains("exit status: 3"), "query {query}: {why}");
        }
    }

    #[tokio::test]
    async fn what_does_not_start_says_so() {
        assert!(shell(&["-c", "exit 0"]).start().await.unwrap_err().contains("the peer ended"));
        let failing = &["-c", r#"read setup; echo '{"error": "no module"}'"#];
        assert_eq!(shell(failing).start().await.unwrap_err(), "no module");
        let nowhere = Launch { program: "/nowhere/python".into(), ..shell(&[]) };
        assert!(nowhere.start().await.is_err());
    }
}
