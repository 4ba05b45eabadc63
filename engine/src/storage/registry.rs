//! DataFusion's registry of object stores, filled on demand: one store for each bucket, account or host.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreRegistry;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use url::{Position, Url};

use crate::storage::directory::any_directory_url;
use crate::storage::listed_again::ListedAgain;
use crate::storage::roots::RootedStore;
use crate::storage::{Secret, StorageOptions};
use crate::{Error, ErrorKind};

/// Stores by `scheme://host:port`, made when first asked for.
#[derive(Debug)]
pub struct StoreRegistry {
    options: StorageOptions,
    /// Where statements may go, by the key of the store; anywhere if there is none.
    roots: Vec<(String, Path)>,
    stores: DashMap<String, Arc<dyn ObjectStore>>,
}

impl StoreRegistry {
    /// A registry that makes stores from these settings.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a setting that its store does not know, and a root that is no directory.
    pub fn new(options: StorageOptions) -> Result<Self, Error> {
        check_keys::<AmazonS3ConfigKey>("s3", &options.s3)?;
        check_keys::<GoogleConfigKey>("gcs", &options.gcs)?;
        check_keys::<AzureConfigKey>("azure", &options.azure)?;
        let roots = options.allowed_roots.iter().map(|root| {
            let url = any_directory_url(root).map_err(|error| error.context("storage.allowed_roots"))?;
            let path = Path::from_url_path(url.path());
            Ok((key_of(&url), path.map_err(|error| Error::invalid(format!("storage.allowed_roots: {error}")))?))
        });
        let roots = roots.collect::<Result<_, Error>>()?;
        Ok(Self { options, roots, stores: DashMap::new() })
    }

    /// The store, as far as statements may use it.
    fn make_rooted(&self, url: &Url) -> Result<Arc<dyn ObjectStore>, Error> {
        let store = self.make(url)?;
        if self.roots.is_empty() {
            return Ok(store);
        }
        let key = key_of(url);
        let roots = self.roots.iter().filter(|(of, _)| *of == key).map(|(_, path)| path.clone());
        Ok(Arc::new(RootedStore::new(store, roots.collect())))
    }

    fn make(&self, url: &Url) -> Result<Arc<dyn ObjectStore>, Error> {
        match url.scheme() {
            "file" => Ok(Arc::new(LocalFileSystem::new())),
            "s3" | "s3a" => self.s3(url),
            "gs" | "gcs" => self.gcs(url),
            "az" | "adl" | "azure" | "abfs" | "abfss" => self.azure(url),
            "http" | "https" => self.http(url),
            other => Err(Error::invalid(format!(
                "cannot read {other}:// addresses: use a path, file://, s3://, gs://, az://, abfss://, http:// or https://"
            ))),
        }
    }

    fn s3(&self, url: &Url) -> Result<Arc<dyn ObjectStore>, Error> {
        let mut builder =
            AmazonS3Builder::new().with_url(url.as_str()).with_retry(self.retry()).with_client_options(self.client());
        let plain =
            self.options.s3.iter().any(|(key, value)| {
                key.to_ascii_lowercase().contains("endpoint") && value.reveal().starts_with("http://")
            });
        builder = builder.with_allow_http(plain);
        for (key, value) in parsed::<AmazonS3ConfigKey>(&self.options.s3) {
            builder = builder.with_config(key, value);
        }
        Ok(self.listed_again(builder.build().map_err(|error| refused(url, &error))?))
    }

    fn gcs(&self, url: &Url) -> Result<Arc<dyn ObjectStore>, Error> {
        let mut builder = GoogleCloudStorageBuilder::new()
            .with_url(url.as_str())
            .with_retry(self.retry())
            .with_client_options(self.client());
        for (key, value) in parsed::<GoogleConfigKey>(&self.options.gcs) {
            builder = builder.with_config(key, value);
        }
        Ok(self.listed_again(builder.build().map_err(|error| refused(url, &error))?))
    }

    fn azure(&self, url: &Url) -> Result<Arc<dyn ObjectStore>, Error> {
        let mut builder = MicrosoftAzureBuilder::new()
            .with_url(url.as_str())
            .with_retry(self.retry())
            .with_client_options(self.client());
        for (key, value) in parsed::<AzureConfigKey>(&self.options.azure) {
            builder = builder.with_config(key, value);
        }
        Ok(self.listed_again(builder.build().map_err(|error| refused(url, &error))?))
    }

    fn http(&self, url: &Url) -> Result<Arc<dyn ObjectStore>, Error> {
        let store = HttpBuilder::new()
            .with_url(&url[..Position::BeforePath])
            .with_retry(self.retry())
            .with_client_options(self.client().with_allow_http(true))
            .build()
            .map_err(|error| refused(url, &error))?;
        Ok(Arc::new(store))
    }

    fn listed_again(&self, store: impl ObjectStore) -> Arc<dyn ObjectStore> {
        Arc::new(ListedAgain::new(Arc::new(store), self.options.retries_max))
    }

    fn retry(&self) -> RetryConfig {
        RetryConfig {
            max_retries: self.options.retries_max,
            retry_timeout: Duration::from_secs(self.options.retry_seconds_max),
            ..RetryConfig::default()
        }
    }

    fn client(&self) -> ClientOptions {
        ClientOptions::new().with_connect_timeout(Duration::from_secs(self.options.connect_seconds_max))
    }
}

impl ObjectStoreRegistry for StoreRegistry {
    fn register_store(&self, url: &Url, store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        self.stores.insert(key_of(url), store)
    }

    fn deregister_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        let removed = self.stores.remove(&key_of(url));
        removed
            .map(|(_, store)| store)
            .ok_or_else(|| DataFusionError::from(Error::not_found(format!("no object store for {}", key_of(url)))))
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        let key = key_of(url);
        if let Some(store) = self.stores.get(&key) {
            return Ok(Arc::clone(store.value()));
        }
        let store = self.make_rooted(url)?;
        Ok(Arc::clone(self.stores.entry(key).or_insert(store).value()))
    }
}

/// Scheme, host and port; a user name or password in the URL is left out.
pub(super) fn key_of(url: &Url) -> String {
    format!("{}://{}", url.scheme(), &url[Position::BeforeHost..Position::AfterPort])
}

fn parsed<K: FromStr>(options: &BTreeMap<String, Secret>) -> impl Iterator<Item = (K, String)> {
    options.iter().filter_map(|(key, value)| Some((key.to_ascii_lowercase().parse().ok()?, value.reveal().to_owned())))
}

fn check_keys<K: FromStr>(section: &str, options: &BTreeMap<String, Secret>) -> Result<(), Error> {
    match options.keys().find(|key| key.to_ascii_lowercase().parse::<K>().is_err()) {
        Some(unknown) => Err(Error::invalid(format!("unknown setting '{unknown}' in storage.{section}"))),
        None => Ok(()),
    }
}

fn refused(url: &Url, error: &object_store::Error) -> Error {
    Error::new(ErrorKind::Invalid, format!("cannot use {}: {error}", key_of(url)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_no_part_of_the_key() {
        let url = Url::parse("https://user:secret@example.org:8443/x").unwrap();
        assert_eq!(key_of(&url), "https://example.org:8443");
    }

    #[test]
    fn an_unknown_scheme_names_the_known_ones() {
        let registry = StoreRegistry::new(StorageOptions::new()).unwrap();
        let error = Error::from(registry.get_store(&Url::parse("ftp://host/x").unwrap()).unwrap_err());
        assert!(error.message.contains("s3://"), "{}", error.message);
    }

    #[test]
    fn an_unknown_setting_is_refused_and_a_secret_is_not_shown() {
        let mut options = StorageOptions::new();
        options.s3.insert("secret_access_key".into(), Secret::new("hush"));
        assert!(!format!("{options:?}").contains("hush"));
        options.s3.insert("colour".into(), Secret::new("red"));
        assert!(StoreRegistry::new(options).unwrap_err().message.contains("colour"));
    }
}
