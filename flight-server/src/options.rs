//! Settings of a coordinator, as data.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use engine::EngineOptions;
use engine::limits::Limits;
use engine::storage::Secret;

use crate::scheduler::SchedulerOptions;
use crate::tls::TlsFiles;

/// What a coordinator needs to know to start.
#[derive(Debug, Clone)]
pub struct CoordinatorOptions {
    /// Address of the Flight SQL port; none for a coordinator that only this process talks to.
    pub flight_address: Option<SocketAddr>,
    /// Address of the cluster port, on which executors join; none for a coordinator that runs everything itself.
    pub cluster_address: Option<SocketAddr>,
    /// How executors are watched and queries spread over them.
    pub scheduler: SchedulerOptions,
    /// Address of the HTTP port, likewise.
    pub http_address: Option<SocketAddr>,
    /// Address of the PostgreSQL port, likewise.
    pub postgres_address: Option<SocketAddr>,
    /// Certificate and key of the ports for clients; none serves in the clear.
    pub tls: Option<TlsFiles>,
    /// Who may ask: names with argon2 hashes of their passwords. Without any, nobody is asked who they are.
    pub users: BTreeMap<String, String>,
    /// Whether calls need not say who they are from although there are users.
    pub anonymous: bool,
    /// Whether an address other than loopback may be opened without TLS and users.
    pub insecure: bool,
    /// Directory of everything that lasts; none keeps nothing.
    pub data_dir: Option<PathBuf>,
    /// Where names are kept: a `postgres://` URL, or a path; `catalog.sqlite` in the data directory if none is given.
    pub catalog_url: Option<Secret>,
    /// Directory of managed tables, a path or a URL; `warehouse` in the data directory if none is given.
    pub warehouse: Option<String>,
    /// Memory, disk, cores and object stores. The spill directory is the coordinator's to choose if there is a data
    /// directory.
    pub engine: EngineOptions,
    /// Statements remembered in `system.queries` after they have ended.
    pub query_history_rows_max: usize,
    /// Seconds after which files that no table has are removed; longer than any query runs.
    pub sweep_after_seconds: u64,
    /// Seconds that statements and readers of results may hold up a stop.
    pub drain_seconds_max: u64,
    /// Whether to wait, before any port is opened, until no other coordinator serves the same catalog.
    pub is_standby: bool,
    /// Seconds that a result waits for its first reader before it is dropped, and that its tickets are good for.
    pub result_idle_seconds_max: u64,
    /// Seconds that a client who asks how far a statement is may stay away before it is stopped.
    pub poll_pause_seconds_max: u64,
    /// Seconds that a token lives after its last use, and a session that does not belong to a connection.
    pub session_idle_seconds_max: u64,
    /// Limits that hold unless `ALTER SYSTEM SET` says otherwise.
    pub limits: Limits,
    /// Users by group: a group has limits of its own.
    pub groups: BTreeMap<String, Vec<String>>,
    /// Users who may change the settings of others and stop what others run; everybody may do the former if there are none.
    pub admins: Vec<String>,
    /// Sessions open at once.
    pub sessions_max: usize,
    /// Bytes of one statement's text.
    pub statement_bytes_max: usize,
    /// Bytes of one message on the Flight SQL port.
    pub message_bytes_max: usize,
}

impl Default for CoordinatorOptions {
    /// A coordinator without ports that keeps nothing.
    fn default() -> Self {
        Self {
            flight_address: None,
            cluster_address: None,
            scheduler: SchedulerOptions::default(),
            http_address: None,
            postgres_address: None,
            tls: None,
            users: BTreeMap::new(),
            anonymous: false,
            insecure: false,
            data_dir: None,
            catalog_url: None,
            warehouse: None,
            engine: EngineOptions::default(),
            sweep_after_seconds: 24 * 3600,
            query_history_rows_max: 1_000,
            drain_seconds_max: 60,
            is_standby: false,
            result_idle_seconds_max: 600,
            poll_pause_seconds_max: 15,
            session_idle_seconds_max: 1_800,
            limits: Limits::default(),
            groups: BTreeMap::new(),
            admins: Vec::new(),
            sessions_max: 10_000,
            statement_bytes_max: 16 << 20,
            message_bytes_max: 256 << 20,
        }
    }
}
