//! Files are read as they were when their scan was planned, or not at all.
//!
//! A scan is planned from a listing and reads later, in many requests, from many executors. An object that is replaced
//! meanwhile would give rows of two versions, or rows of one under the bounds of another. So whatever is read is compared
//! with what was listed: size, time and, where plans keep it, the entity tag.

use std::collections::HashMap;
use std::fmt::{Display, Formatter};
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::DateTime;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileScanConfig, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreRegistry;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::ExecutionPlan;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, OBJECT_STORE_COALESCE_DEFAULT, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, coalesce_ranges,
};
use url::Url;

use super::registry::key_of;

/// What is known of the files of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// All that the listing said.
    Here,
    /// What is left of it after the plan was sent: sizes, and the times of files that can change.
    Elsewhere,
}

/// `plan` and `runtime` such that its files are read as they were listed.
///
/// # Errors
/// Those of making object stores.
pub fn pinned(
    plan: Arc<dyn ExecutionPlan>,
    runtime: &Arc<RuntimeEnv>,
    listed: Listed,
) -> Result<(Arc<dyn ExecutionPlan>, Arc<RuntimeEnv>)> {
    let mut pins: HashMap<String, (Url, HashMap<Path, ObjectMeta>)> = HashMap::new();
    plan.apply(|node| {
        if let Some(config) = scan_of(node.as_ref()) {
            let url: &Url = config.object_store_url.as_ref();
            let (_, files) = pins.entry(key_of(url)).or_insert_with(|| (url.clone(), HashMap::new()));
            let can_change =
                config.file_groups.iter().flat_map(|group| group.files()).filter(|file| can_change(file, listed));
            files.extend(can_change.map(|file| (file.object_meta.location.clone(), file.object_meta.clone())));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    pins.retain(|_, (_, files)| !files.is_empty());
    if pins.is_empty() {
        return Ok((plan, Arc::clone(runtime)));
    }
    let store = |(key, (url, pins)): (String, (Url, HashMap<Path, ObjectMeta>))| {
        let inner = runtime.object_store_registry.get_store(&url)?;
        let is_local = url.scheme() == "file";
        Ok((key, Arc::new(PinnedStore { inner, pins, is_local })))
    };
    let stores: HashMap<String, Arc<PinnedStore>> = pins.into_iter().map(store).collect::<Result<_>>()?;
    let registry = Arc::new(PinnedRegistry { inner: Arc::clone(&runtime.object_store_registry), stores });
    let plan = plan.transform_up(|node| {
        Ok(match with_factory(node.as_ref(), &registry.stores, runtime) {
            Some(scan) => Transformed::yes(scan),
            None => Transformed::no(node),
        })
    })?;
    let runtime = RuntimeEnv { object_store_registry: registry, ..runtime.as_ref().clone() };
    Ok((plan.data, Arc::new(runtime)))
}

fn scan_of(node: &dyn ExecutionPlan) -> Option<&FileScanConfig> {
    node.downcast_ref::<DataSourceExec>()?.data_source().downcast_ref::<FileScanConfig>()
}

/// Files of a table that is never changed in place are not compared: their log says when they were written, not the store.
fn can_change(file: &PartitionedFile, listed: Listed) -> bool {
    match listed {
        Listed::Here => file.object_meta.e_tag.is_some(),
        Listed::Elsewhere => file.object_meta.last_modified != DateTime::UNIX_EPOCH,
    }
}

/// Scans of Parquet have a store of their own.
fn with_factory(
    node: &dyn ExecutionPlan,
    stores: &HashMap<String, Arc<PinnedStore>>,
    runtime: &RuntimeEnv,
) -> Option<Arc<dyn ExecutionPlan>> {
    let config = scan_of(node)?;
    let source = config.file_source().downcast_ref::<ParquetSource>()?;
    let store = stores.get(&key_of(config.object_store_url.as_ref()))?;
    let metadata = runtime.cache_manager.get_file_metadata_cache();
    let factory = CachedParquetFileReaderFactory::new(Arc::clone(store) as _, metadata);
    let source = source.clone().with_parquet_file_reader_factory(Arc::new(factory));
    let config = FileScanConfigBuilder::from(config.clone()).with_source(Arc::new(source)).build();
    Some(DataSourceExec::from_data_source(config))
}

/// Hands out stores that compare.
#[derive(Debug)]
struct PinnedRegistry {
    inner: Arc<dyn ObjectStoreRegistry>,
    stores: HashMap<String, Arc<PinnedStore>>,
}

impl ObjectStoreRegistry for PinnedRegistry {
    fn register_store(&self, url: &Url, store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        self.inner.register_store(url, store)
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        match self.stores.get(&key_of(url)) {
            Some(store) => Ok(Arc::clone(store) as _),
            None => self.inner.get_store(url),
        }
    }
}

/// A store that gives of some objects only what was listed.
#[derive(Debug)]
struct PinnedStore {
    inner: Arc<dyn ObjectStore>,
    pins: HashMap<Path, ObjectMeta>,
    is_local: bool,
}

impl PinnedStore {
    fn check(&self, found: &ObjectMeta) -> object_store::Result<()> {
        let Some(listed) = self.pins.get(&found.location) else { return Ok(()) };
        // Listings tell fractions of a second that answers to requests do not.
        let is_same_time = match self.is_local {
            true => listed.last_modified == found.last_modified,
            false => listed.last_modified.timestamp() == found.last_modified.timestamp(),
        };
        let is_same_tag = match (&listed.e_tag, &found.e_tag) {
            (Some(listed), Some(found)) => listed == found,
            _ => is_same_time,
        };
        if listed.size == found.size && is_same_tag {
            return Ok(());
        }
        let source = format!(
            "it was changed while the query read it: it had {} bytes of {}, and has {} of {}; run the query again",
            listed.size, listed.last_modified, found.size, found.last_modified
        );
        Err(Error::Precondition { path: found.location.to_string(), source: source.into() })
    }
}

impl Display for PinnedStore {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        Display::fmt(&self.inner, f)
    }
}

#[async_trait]
impl ObjectStore for PinnedStore {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        let result = self.inner.get_opts(location, options).await?;
        self.check(&result.meta)?;
        Ok(result)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        if self.is_local {
            // One open file gives all ranges.
            self.check(&self.inner.head(location).await?)?;
            return self.inner.get_ranges(location, ranges).await;
        }
        coalesce_ranges(ranges, |range| self.get_range(location, range), OBJECT_STORE_COALESCE_DEFAULT).await
    }

    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    async fn store(is_local: bool) -> (Arc<InMemory>, PinnedStore, Path) {
        let (inner, path) = (Arc::new(InMemory::new()), Path::from("a"));
        inner.put(&path, "0123456789".into()).await.unwrap();
        let listed = ObjectMeta { e_tag: None, ..inner.head(&path).await.unwrap() };
        let pins = HashMap::from([(path.clone(), listed)]);
        (Arc::clone(&inner), PinnedStore { inner, pins, is_local }, path)
    }

    #[tokio::test]
    async fn what_was_listed_is_read_and_what_came_after_is_not() {
        for is_local in [true, false] {
            let (inner, store, path) = store(is_local).await;
            assert_eq!(store.get_range(&path, 2..4).await.unwrap(), "23");
            assert_eq!(store.get_ranges(&path, &[0..1, 9..10]).await.unwrap(), ["0", "9"]);
            inner.put(&path, "01234".into()).await.unwrap();
            let error = store.get(&path).await.unwrap_err();
            assert!(error.to_string().contains("it was changed while the query read it"), "{error}");
            assert!(store.get_ranges(&path, &[0..1, 2..3]).await.is_err());
            inner.put(&Path::from("b"), "x".into()).await.unwrap();
            assert!(store.get(&Path::from("b")).await.is_ok(), "nobody has listed it");
        }
    }

    #[tokio::test]
    async fn the_same_size_at_another_time_is_another_object() {
        let (_, mut store, path) = store(true).await;
        let listed = store.pins.get_mut(&path).unwrap();
        listed.last_modified -= chrono::TimeDelta::milliseconds(1);
        assert!(store.get(&path).await.is_err());
    }
}
