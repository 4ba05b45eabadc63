//! The settings of a process: defaults, then the file, then `GRAPPE_*` of the environment, then the command line.
//!
//! Only this module reads the environment. Object stores also take the variables that their own tools take
//! (`AWS_*`, `GOOGLE_*`, `AZURE_*`).

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use engine::catalog::hide_password;
use engine::limits::Limits;
use etcetera::{BaseStrategy, choose_base_strategy};
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use flight_server::{CoordinatorOptions, EngineOptions, SchedulerOptions, Secret, StorageOptions, TlsFiles};
use serde::{Deserialize, Serialize};

use crate::cli::{Common, Ports, ServerArguments};
use crate::exit::Failure;

/// Where nothing is kept.
const NOWHERE: &str = ":memory:";

/// Percent of the machine's memory that queries may hold; the rest is for files being decoded, messages and the system.
const MEMORY_PERCENT: u64 = 70;

/// Everything that can be set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Directory of everything that lasts, or `:memory:`.
    pub(crate) data_dir: PathBuf,
    /// Where names are kept, if not in the data directory: a `postgres://` URL or a path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) catalog_url: Option<String>,
    /// Where managed tables lie, if not in the data directory: a path or a URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) warehouse: Option<String>,
    /// Memory for queries.
    pub(crate) memory: ByteSize,
    /// Disk for what does not fit in memory.
    pub(crate) spill_bytes_max: ByteSize,
    /// Disk that executors leave free; a twentieth of a small one.
    pub(crate) disk_free_bytes_min: ByteSize,
    /// Disk for what an executor's tasks write for each other; 0 is no limit.
    pub(crate) executor_shuffle_bytes_max: ByteSize,
    /// Parts that a query is split into.
    pub(crate) partitions: usize,
    /// What to log; nothing said means warnings, and of a process that serves others also what it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log: Option<String>,
    /// The coordinator.
    pub(crate) server: ServerSettings,
    /// Object stores.
    pub(crate) storage: StorageSettings,
    /// What `server.limits` says.
    #[serde(skip)]
    limits: Limits,
}

/// A limit: a number, or a text with a unit.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum LimitValue {
    /// `60`
    Number(u64),
    /// `"10GB"`
    Text(String),
}

impl Display for LimitValue {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => Display::fmt(number, f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// Settings of a coordinator.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerSettings {
    /// Address to listen on.
    pub(crate) listen: IpAddr,
    /// Address of the HTTP port, if it is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) http_listen: Option<IpAddr>,
    /// Address of the cluster port, if it is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cluster_listen: Option<IpAddr>,
    /// PEM file of the Flight SQL port's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_certificate: Option<PathBuf>,
    /// PEM file of its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Whether nobody need say who they are although there are users; on loopback only.
    pub(crate) anonymous: bool,
    /// Flight SQL port.
    pub(crate) flight_port: u16,
    /// HTTP port.
    pub(crate) http_port: u16,
    /// PostgreSQL port; none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pg_port: Option<u16>,
    /// Cluster port, on which executors join.
    pub(crate) cluster_port: u16,
    /// Seconds of silence after which an executor is lost.
    pub(crate) executor_lost_seconds_max: u64,
    /// Seconds that a query waits for an executor when none is left.
    pub(crate) executor_wait_seconds_max: u64,
    /// How often a query is run that loses executors before its first row has been delivered.
    pub(crate) query_attempts_max: usize,
    /// How often executors may die under one query with their memory nearly full before it is stopped.
    pub(crate) query_deaths_max: usize,
    /// Seconds for which nothing of a query may run although an executor is idle before it is started again.
    pub(crate) query_stalled_seconds_max: u64,
    /// Seconds that a task may neither compute nor be given anything before it is given up.
    pub(crate) task_idle_seconds_max: u64,
    /// Bytes of a result that are gathered before its first row is delivered: so much survives lost executors.
    pub(crate) result_spool_bytes_max: ByteSize,
    /// Bytes of a streamed result that are gathered before the first row is delivered.
    pub(crate) streamed_result_bytes_max: ByteSize,
    /// Parts of a stage at most: there are two for each virtual core of the cluster, and not more than these.
    pub(crate) stage_parts_max: usize,
    /// Seconds that statements may hold up a stop.
    pub(crate) drain_seconds_max: u64,
    /// Whether to wait until no other coordinator serves the same catalog, and to serve it then.
    pub(crate) standby: bool,
    /// Whether to listen elsewhere than on loopback although nobody is asked who they are.
    pub(crate) insecure: bool,
    /// Statements remembered in `system.queries` after they have ended.
    pub(crate) query_history_rows_max: usize,
    /// Seconds after which files that no table has are removed; longer than any query runs.
    pub(crate) sweep_after_seconds: u64,
    /// Seconds that a result waits for its first reader.
    pub(crate) result_idle_seconds_max: u64,
    /// Seconds that a client who asks how far a statement is may stay away before it is stopped.
    pub(crate) poll_pause_seconds_max: u64,
    /// Seconds that a session of a token lives after its last use.
    pub(crate) session_idle_seconds_max: u64,
    /// Limits by name, such as `query_runtime_seconds_max`: `SHOW LIMITS` lists them.
    pub(crate) limits: BTreeMap<String, LimitValue>,
    /// Users by group.
    pub(crate) groups: BTreeMap<String, Vec<String>>,
    /// Users who may change the settings of others; everybody may if there are none.
    pub(crate) admins: Vec<String>,
    /// Sessions open at once.
    pub(crate) sessions_max: usize,
    /// Bytes of one statement's text.
    pub(crate) statement_bytes_max: ByteSize,
    /// Bytes of one message.
    pub(crate) message_bytes_max: ByteSize,
    /// Users: names with the argon2 hashes of their passwords, from `grappe hash-password`.
    pub(crate) users: BTreeMap<String, String>,
}

/// Settings of object stores.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StorageSettings {
    /// Paths and URLs of the directories that statements may read and write, beside the warehouse; all if there is none.
    pub(crate) allowed_roots: Vec<String>,
    /// Most times a failed request is sent again.
    pub(crate) retries_max: usize,
    /// Seconds after which a failing request is given up.
    pub(crate) retry_seconds_max: u64,
    /// Seconds to wait for a connection.
    pub(crate) connect_seconds_max: u64,
    /// S3: `endpoint`, `region`, `access_key_id`, `secret_access_key`, `virtual_hosted_style_request`, ...
    pub(crate) s3: BTreeMap<String, String>,
    /// Google Cloud Storage: `service_account`, ...
    pub(crate) gcs: BTreeMap<String, String>,
    /// Azure: `account_name`, `account_key`, ...
    pub(crate) azure: BTreeMap<String, String>,
}

impl Settings {
    /// Reads all sources.
    ///
    /// # Errors
    /// A file that cannot be read, an unknown key, a value of the wrong kind: with the name of its source.
    pub(crate) fn load(flags: &Common) -> Result<Self, Failure> {
        let mut figment = Figment::from(Serialized::defaults(Self::defaults()?));
        if let Some(file) = config_file(flags)? {
            figment = figment.merge(Toml::file_exact(file));
        }
        let environment = Env::prefixed("GRAPPE_").ignore(&["config", "password"]).split("__");
        let mut settings: Self = figment.merge(environment).extract().map_err(refused)?;
        let limits = settings.server.limits.iter().map(|(name, value)| (name.as_str(), value.to_string()));
        settings.limits = Limits::of_settings(limits)
            .map_err(|error| Failure::ours(format!("bad settings: server.limits: {}", error.message)))?;
        Ok(settings.with_flags(flags).with_storage_environment())
    }

    fn defaults() -> Result<Self, Failure> {
        let server = CoordinatorOptions::default();
        let storage = StorageOptions::new();
        Ok(Self {
            data_dir: base_directories()?.data_dir().join("grappe"),
            catalog_url: None,
            warehouse: None,
            memory: ByteSize::b(machine_memory_bytes() / 100 * MEMORY_PERCENT),
            spill_bytes_max: ByteSize::b(server.engine.spill_bytes_max),
            disk_free_bytes_min: ByteSize::gib(1),
            executor_shuffle_bytes_max: ByteSize::b(0),
            partitions: server.engine.partitions,
            log: None,
            server: ServerSettings {
                listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
                flight_port: 7470,
                http_port: 7480,
                pg_port: None,
                cluster_port: 7471,
                executor_lost_seconds_max: server.scheduler.executor_lost_after.as_secs(),
                executor_wait_seconds_max: server.scheduler.executor_wait.as_secs(),
                query_attempts_max: server.scheduler.attempts_max,
                query_deaths_max: server.scheduler.deaths_max,
                query_stalled_seconds_max: server.scheduler.stalled_after.as_secs(),
                task_idle_seconds_max: server.scheduler.task_idle_max.as_secs(),
                result_spool_bytes_max: ByteSize::b(server.scheduler.result_spool_bytes_max),
                streamed_result_bytes_max: ByteSize::b(server.scheduler.streamed_result_bytes_max),
                stage_parts_max: server.scheduler.stage_parts_max,
                drain_seconds_max: server.drain_seconds_max,
                standby: false,
                http_listen: None,
                cluster_listen: None,
                tls_certificate: None,
                tls_key: None,
                anonymous: false,
                insecure: false,
                query_history_rows_max: server.query_history_rows_max,
                sweep_after_seconds: server.sweep_after_seconds,
                result_idle_seconds_max: server.result_idle_seconds_max,
                poll_pause_seconds_max: server.poll_pause_seconds_max,
                session_idle_seconds_max: server.session_idle_seconds_max,
                limits: BTreeMap::new(),
                groups: BTreeMap::new(),
                admins: Vec::new(),
                sessions_max: server.sessions_max,
                statement_bytes_max: ByteSize::b(server.statement_bytes_max as u64),
                message_bytes_max: ByteSize::b(server.message_bytes_max as u64),
                users: BTreeMap::new(),
            },
            storage: StorageSettings {
                allowed_roots: Vec::new(),
                retries_max: storage.retries_max,
                retry_seconds_max: storage.retry_seconds_max,
                connect_seconds_max: storage.connect_seconds_max,
                s3: BTreeMap::new(),
                gcs: BTreeMap::new(),
                azure: BTreeMap::new(),
            },
            limits: Limits::default(),
        })
    }

    fn with_flags(mut self, flags: &Common) -> Self {
        self.data_dir = flags.data_dir.clone().unwrap_or(self.data_dir);
        self.catalog_url = flags.catalog_url.clone().or(self.catalog_url);
        self.warehouse = flags.warehouse.clone().or(self.warehouse);
        self.memory = flags.memory.unwrap_or(self.memory);
        self.spill_bytes_max = flags.spill_bytes_max.unwrap_or(self.spill_bytes_max);
        self.partitions = flags.partitions.unwrap_or(self.partitions).max(1);
        self.log = flags.log.clone().or(self.log);
        self
    }

    /// The flags of `grappe server` over the rest.
    pub(crate) fn with_server_arguments(mut self, arguments: &ServerArguments) -> Self {
        self.server.listen = arguments.listen.unwrap_or(self.server.listen);
        self.server.http_listen = arguments.http_listen.or(self.server.http_listen);
        self.server.cluster_listen = arguments.cluster_listen.or(self.server.cluster_listen);
        self.server.tls_certificate = arguments.tls_certificate.clone().or(self.server.tls_certificate);
        self.server.tls_key = arguments.tls_key.clone().or(self.server.tls_key);
        self.server.insecure |= arguments.insecure;
        self.server.standby |= arguments.standby;
        self.server.pg_port = arguments.pg_port.or(self.server.pg_port);
        self.with_ports(&arguments.ports)
    }

    /// The flags of a coordinator's ports over the rest.
    pub(crate) fn with_ports(mut self, ports: &Ports) -> Self {
        self.server.flight_port = ports.flight_port.unwrap_or(self.server.flight_port);
        self.server.http_port = ports.http_port.unwrap_or(self.server.http_port);
        self.server.cluster_port = ports.cluster_port.unwrap_or(self.server.cluster_port);
        self
    }

    /// Variables that the stores' own tools read fill what is not set otherwise.
    fn with_storage_environment(mut self) -> Self {
        for (name, value) in std::env::vars() {
            let key = name.to_ascii_lowercase();
            let section = match key.split('_').next() {
                Some("aws") => &mut self.storage.s3,
                Some("google") => &mut self.storage.gcs,
                Some("azure") => &mut self.storage.azure,
                _ => continue,
            };
            let short = key.split_once('_').map_or(key.as_str(), |(_, rest)| rest).to_owned();
            if StorageOptions::knows(&key) && !section.contains_key(&short) {
                section.entry(key).or_insert(value);
            }
        }
        self
    }

    /// The directory of everything that lasts, if something is to last.
    pub(crate) fn data_dir(&self) -> Option<&Path> {
        (self.data_dir != Path::new(NOWHERE)).then_some(self.data_dir.as_path())
    }

    /// A coordinator inside this process.
    pub(crate) fn embedded(&self) -> CoordinatorOptions {
        let server = &self.server;
        CoordinatorOptions {
            flight_address: None,
            http_address: None,
            postgres_address: None,
            cluster_address: None,
            scheduler: SchedulerOptions {
                executor_lost_after: Duration::from_secs(server.executor_lost_seconds_max),
                executor_wait: Duration::from_secs(server.executor_wait_seconds_max),
                attempts_max: server.query_attempts_max.max(1),
                deaths_max: server.query_deaths_max.max(1),
                stalled_after: Duration::from_secs(server.query_stalled_seconds_max),
                task_idle_max: Duration::from_secs(server.task_idle_seconds_max),
                result_spool_bytes_max: server.result_spool_bytes_max.as_u64(),
                streamed_result_bytes_max: server.streamed_result_bytes_max.as_u64(),
                stage_parts_max: server.stage_parts_max.max(1),
                ..SchedulerOptions::default()
            },
            tls: None,
            users: BTreeMap::new(),
            anonymous: false,
            insecure: false,
            data_dir: self.data_dir().map(Path::to_owned),
            catalog_url: self.catalog_url.as_deref().map(Secret::new),
            warehouse: self.warehouse.clone(),
            engine: EngineOptions {
                memory_bytes_max: self.memory.as_u64() as usize,
                spill_bytes_max: self.spill_bytes_max.as_u64(),
                spill_dir: None,
                partitions: self.partitions,
                storage: self.storage.options(),
            },
            query_history_rows_max: server.query_history_rows_max,
            drain_seconds_max: server.drain_seconds_max,
            is_standby: false,
            sweep_after_seconds: server.sweep_after_seconds,
            result_idle_seconds_max: server.result_idle_seconds_max,
            poll_pause_seconds_max: server.poll_pause_seconds_max,
            session_idle_seconds_max: server.session_idle_seconds_max,
            limits: self.limits,
            groups: server.groups.clone(),
            admins: server.admins.clone(),
            sessions_max: server.sessions_max,
            statement_bytes_max: server.statement_bytes_max.as_u64() as usize,
            message_bytes_max: server.message_bytes_max.as_u64() as usize,
        }
    }

    /// A coordinator with ports.
    ///
    /// # Errors
    /// A certificate without its key, or a key without its certificate.
    pub(crate) fn server(&self) -> Result<CoordinatorOptions, Failure> {
        let server = &self.server;
        let tls = match (&server.tls_certificate, &server.tls_key) {
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate: certificate.clone(), key: key.clone() }),
            (None, None) => None,
            _ => return Err(Failure::ours("TLS takes both --tls-certificate and --tls-key")),
        };
        let http = server.http_listen.unwrap_or(server.listen);
        let cluster = server.cluster_listen.unwrap_or(server.listen);
        Ok(CoordinatorOptions {
            flight_address: Some(SocketAddr::new(server.listen, server.flight_port)),
            http_address: Some(SocketAddr::new(http, server.http_port)),
            postgres_address: server.pg_port.map(|port| SocketAddr::new(server.listen, port)),
            cluster_address: Some(SocketAddr::new(cluster, server.cluster_port)),
            tls,
            users: server.users.clone(),
            anonymous: server.anonymous,
            insecure: server.insecure,
            is_standby: server.standby,
            ..self.embedded()
        })
    }

    /// As TOML, secrets hidden.
    pub(crate) fn shown(&self) -> Result<String, Failure> {
        let mut shown = self.clone();
        for section in [&mut shown.storage.s3, &mut shown.storage.gcs, &mut shown.storage.azure] {
            for (key, value) in section.iter_mut().filter(|(key, _)| !is_harmless(key)) {
                tracing::debug!(key, "hidden");
                *value = "***".to_owned();
            }
        }
        shown.catalog_url = shown.catalog_url.as_deref().map(hide_password);
        shown.server.users.values_mut().for_each(|hash| *hash = "***".to_owned());
        toml::to_string(&shown).map_err(|error| Failure::ours(format!("the settings cannot be shown: {error}")))
    }
}

impl StorageSettings {
    /// As the engine takes them.
    pub(crate) fn options(&self) -> StorageOptions {
        let hidden = |section: &BTreeMap<String, String>| {
            section.iter().map(|(key, value)| (key.clone(), Secret::new(value.as_str()))).collect()
        };
        StorageOptions {
            s3: hidden(&self.s3),
            gcs: hidden(&self.gcs),
            azure: hidden(&self.azure),
            allowed_roots: self.allowed_roots.clone(),
            retries_max: self.retries_max,
            retry_seconds_max: self.retry_seconds_max,
            connect_seconds_max: self.connect_seconds_max,
        }
    }
}

/// Options whose values may be shown; any other may be a secret.
fn is_harmless(key: &str) -> bool {
    const WORDS: [&str; 6] = ["region", "endpoint", "bucket", "allow_http", "style", "account_name"];
    WORDS.iter().any(|word| key.to_ascii_lowercase().contains(word))
}

/// The file asked for, which must be there, or the user's, which need not.
fn config_file(flags: &Common) -> Result<Option<PathBuf>, Failure> {
    if let Some(file) = &flags.config {
        if !file.is_file() {
            return Err(Failure::ours(format!("there is no settings file {}", file.display())));
        }
        return Ok(Some(file.clone()));
    }
    let usual = base_directories()?.config_dir().join("grappe/grappe.toml");
    Ok(usual.is_file().then_some(usual))
}

/// Where the user keeps a program's start-up file, for the shell.
pub(crate) fn startup_file() -> Option<PathBuf> {
    Some(base_directories().ok()?.config_dir().join("grappe/grapperc"))
}

fn base_directories() -> Result<impl BaseStrategy, Failure> {
    choose_base_strategy().map_err(|error| Failure::ours(format!("there is no home directory: {error}; set HOME")))
}

/// What this process may use: the machine's memory, or less in a container.
fn machine_memory_bytes() -> u64 {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    match system.cgroup_limits() {
        Some(limits) if limits.total_memory > 0 => limits.total_memory.min(system.total_memory()),
        _ => system.total_memory(),
    }
}

fn refused(error: figment::Error) -> Failure {
    let lines: Vec<String> = error.into_iter().map(|one| one.to_string()).collect();
    Failure::ours(format!("bad settings: {}", lines.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let mut settings = Settings::defaults().unwrap();
        settings.storage.s3.insert("secret_access_key".into(), "hush".into());
        settings.storage.s3.insert("region".into(), "eu-west-1".into());
        settings.server.users.insert("ada".into(), "hush".into());
        settings.catalog_url = Some("postgres://ada:hush@db/names".into());
        let shown = settings.shown().unwrap();
        assert!(!shown.contains("hush") && shown.contains("eu-west-1") && shown.contains("@db/names"), "{shown}");
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        let shown = Settings::defaults().unwrap().shown().unwrap();
        let read: Settings = Figment::from(Toml::string(&shown)).extract().unwrap();
        assert_eq!(read.shown().unwrap(), shown);
    }
}
