//! What all sessions of a process share: memory, disk, object stores, the catalog, the ways to run a statement.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use datafusion::catalog::{EmptyCatalogProviderList, SchemaProvider};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::SessionConfig;
use parking_lot::Mutex;
use tempfile::TempDir;

use crate::catalog::Catalog;
use crate::config::session_config;
use crate::delta::DeltaTables;
use crate::execution::Modes;
use crate::extras::SessionExtras;
use crate::limits::Rules;
use crate::memory::{fit_to_memory, memory_pool};
use crate::session::Session;
use crate::state::{StateSeed, session_state_with};
use crate::storage::{StorageOptions, StoreRegistry, directory_url};
use crate::{Error, Result};

/// Bytes of Parquet footers and page indexes kept, checked against size and time of the file at every use.
const METADATA_CACHE_BYTES: usize = 64 << 20;

/// Limits of the process's engine.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Bytes that queries may hold in memory, all together.
    pub memory_bytes_max: usize,
    /// Bytes that queries may spill to disk, all together.
    pub spill_bytes_max: u64,
    /// Where they spill to; a directory of the system's if none is given.
    pub spill_dir: Option<PathBuf>,
    /// Parts that a query is split into: one a core.
    pub partitions: usize,
    /// Object stores.
    pub storage: StorageOptions,
}

impl Default for EngineOptions {
    /// 1 GiB of memory, 100 GiB of disk, a part for each core.
    fn default() -> Self {
        Self {
            memory_bytes_max: 1 << 30,
            spill_bytes_max: 100 << 30,
            spill_dir: None,
            partitions: std::thread::available_parallelism().map_or(1, usize::from),
            storage: StorageOptions::new(),
        }
    }
}

/// Where managed tables lie.
#[derive(Debug, Clone, Copy)]
pub struct Warehouse<'a> {
    /// Path or URL; the tables live as long as the engine if none is given.
    pub location: Option<&'a str>,
    /// How long files stay that no table has and nobody writes.
    pub sweep_after: Duration,
}

/// Places to which statements of this process write, before they belong to a table.
pub(crate) type Leases = Arc<Mutex<HashSet<String>>>;

/// The engine of one process.
#[derive(Debug)]
pub struct Engine {
    runtime: Arc<RuntimeEnv>,
    catalog: Arc<dyn Catalog>,
    system: Arc<dyn SchemaProvider>,
    modes: Modes,
    rules: Arc<Rules>,
    /// What a new session starts with.
    first_state: Arc<SessionState>,
    delta: Arc<DeltaTables>,
    /// As a URL; a directory that is made when first needed if none was given.
    warehouse: Option<String>,
    sweep_after: Duration,
    leases: Leases,
    made_warehouse: Mutex<Option<TempDir>>,
}

impl Engine {
    /// An engine over `catalog`, with the live tables of `system`, the ways to run a statement in `modes`, and the limits
    /// and defaults of `rules`.
    ///
    /// # Errors
    /// `Invalid` for a warehouse that is no place.
    pub fn new(
        runtime: Arc<RuntimeEnv>,
        partitions: usize,
        catalog: Arc<dyn Catalog>,
        system: Arc<dyn SchemaProvider>,
        modes: Modes,
        rules: Arc<Rules>,
        warehouse: Warehouse<'_>,
    ) -> Result<Arc<Self>> {
        let mut defaults = session_config(partitions);
        fit_to_memory(&mut defaults, runtime.memory_pool.as_ref(), partitions);
        let first_state = Arc::new(state(defaults, &runtime, &SessionExtras::default()));
        Ok(Arc::new(Self {
            runtime,
            catalog,
            system,
            modes,
            rules,
            first_state,
            delta: Arc::default(),
            warehouse: warehouse.location.map(directory_url).transpose()?,
            sweep_after: warehouse.sweep_after,
            leases: Leases::default(),
            made_warehouse: Mutex::default(),
        }))
    }

    /// A new conversation with `user`.
    pub fn open_session(self: &Arc<Self>, user: Arc<str>) -> Session {
        self.open_session_with(user, SessionExtras::default())
    }

    /// A new conversation that sees more than others.
    pub fn open_session_with(self: &Arc<Self>, user: Arc<str>, extras: SessionExtras) -> Session {
        Session::new(Arc::clone(self), user, extras)
    }

    /// Memory, disk and object stores.
    pub fn runtime(&self) -> &Arc<RuntimeEnv> {
        &self.runtime
    }

    /// Schemas and tables.
    pub fn catalog(&self) -> &Arc<dyn Catalog> {
        &self.catalog
    }

    /// What system, groups and users have set.
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Where managed tables lie: a URL that ends with a slash.
    ///
    /// # Errors
    /// `Denied` or `Exhausted` if a directory cannot be made.
    pub(crate) fn warehouse(&self) -> Result<String> {
        if let Some(warehouse) = &self.warehouse {
            return Ok(warehouse.clone());
        }
        let mut made = self.made_warehouse.lock();
        if made.is_none() {
            let directory = tempfile::Builder::new().prefix("grappe-tables-").tempdir();
            *made = Some(directory.map_err(|error| Error::from(DataFusionError::from(error)))?);
        }
        match made.as_ref() {
            Some(directory) => directory_url(&directory.path().display().to_string()),
            None => Err(Error::internal("a directory that was made is gone")),
        }
    }

    /// How long files stay that no table has and nobody writes.
    pub(crate) fn sweep_after(&self) -> Duration {
        self.sweep_after
    }

    /// Places that are being written to.
    pub(crate) fn leases(&self) -> &Leases {
        &self.leases
    }

    /// The Delta tables that are known.
    pub(crate) fn delta(&self) -> &Arc<DeltaTables> {
        &self.delta
    }

    pub(crate) fn system(&self) -> &Arc<dyn SchemaProvider> {
        &self.system
    }

    pub(crate) fn modes(&self) -> &Modes {
        &self.modes
    }

    /// What a new session starts with; it sees no catalog.
    pub(crate) fn first_state(&self) -> &Arc<SessionState> {
        &self.first_state
    }

    /// The same with other settings, and with what one session has beside that.
    pub(crate) fn state(&self, config: SessionConfig, extras: &SessionExtras) -> SessionState {
        state(config, &self.runtime, extras)
    }
}

fn state(config: SessionConfig, runtime: &Arc<RuntimeEnv>, extras: &SessionExtras) -> SessionState {
    let seed = StateSeed { config, runtime: Arc::clone(runtime) };
    session_state_with(&seed, Arc::new(EmptyCatalogProviderList), extras)
}

/// The memory pool, spill directory, caches and object stores of a process.
///
/// # Errors
/// `Denied` or `Exhausted` if the spill directory cannot be made; `Invalid` for a bad storage setting.
pub fn runtime(options: &EngineOptions) -> Result<Arc<RuntimeEnv>> {
    // Two are compiled in, because Delta Lake's crates bring another: TLS takes none by itself then.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mode = match &options.spill_dir {
        Some(directory) => DiskManagerMode::Directories(vec![directory.clone()]),
        None => DiskManagerMode::OsTmpDirectory,
    };
    let disk = DiskManagerBuilder::default().with_mode(mode).with_max_temp_directory_size(options.spill_bytes_max);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(memory_pool(options.memory_bytes_max))
        .with_disk_manager_builder(disk)
        .with_metadata_cache_limit(METADATA_CACHE_BYTES)
        // A cached listing would hide files that others have added.
        .with_object_list_cache_limit(0)
        .with_object_store_registry(Arc::new(StoreRegistry::new(options.storage.clone())?))
        .build_arc()?;
    Ok(runtime)
}
