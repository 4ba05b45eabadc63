//! Settings of the object stores: keys and values as the `object_store` crate names them, secrets never shown.

use std::collections::BTreeMap;
use std::fmt::{Debug, Formatter};

use object_store::aws::AmazonS3ConfigKey;
use object_store::azure::AzureConfigKey;
use object_store::gcp::GoogleConfigKey;

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for the one who needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl Debug for Secret {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Settings for one kind of store each, by the option names of `object_store`, such as `region` or `endpoint` for S3.
#[derive(Debug, Clone, Default)]
pub struct StorageOptions {
    /// `s3://` and `s3a://`: options of `AmazonS3ConfigKey`.
    pub s3: BTreeMap<String, Secret>,
    /// `gs://`: options of `GoogleConfigKey`.
    pub gcs: BTreeMap<String, Secret>,
    /// `az://`, `abfs://`, `abfss://`: options of `AzureConfigKey`.
    pub azure: BTreeMap<String, Secret>,
    /// Paths and URLs of the directories that statements may read and write; everything is allowed if there is none.
    pub allowed_roots: Vec<String>,
    /// Most times a failed request is sent again.
    pub retries_max: usize,
    /// Seconds after which a failing request is given up, all tries together.
    pub retry_seconds_max: u64,
    /// Seconds to wait for a connection to a store.
    pub connect_seconds_max: u64,
}

impl StorageOptions {
    /// Limits for people who wait at a prompt: an unreachable store is an error within seconds.
    pub fn new() -> Self {
        Self { retries_max: 4, retry_seconds_max: 20, connect_seconds_max: 5, ..Self::default() }
    }

    /// Whether a store of some kind has an option of this name.
    pub fn knows(key: &str) -> bool {
        key.parse::<AmazonS3ConfigKey>().is_ok()
            || key.parse::<GoogleConfigKey>().is_ok()
            || key.parse::<AzureConfigKey>().is_ok()
    }
}
