//! Which places statements may read and write: a store that serves what lies below its roots and refuses the rest.

use std::fmt::{Display, Formatter};
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::error::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnv;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt, future};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use url::Url;

/// Looks whether statements may go to `location`, a URL, before anything is begun there.
///
/// # Errors
/// `Denied` if they may not; `Invalid` for a location that is none.
pub(crate) async fn check_allowed(runtime: &RuntimeEnv, location: &str) -> crate::Result<()> {
    let bad = |error: &dyn Display| crate::Error::invalid(format!("bad location '{location}': {error}"));
    let url = Url::parse(location).map_err(|error| bad(&error))?;
    let path = Path::from_url_path(url.path()).map_err(|error| bad(&error))?;
    match runtime.object_store_registry.get_store(&url)?.head(&path).await {
        Err(error @ (Error::PermissionDenied { .. } | Error::Unauthenticated { .. })) => {
            Err(DataFusionError::ObjectStore(Box::new(error)).into())
        }
        _ => Ok(()),
    }
}

/// Serves only what lies below its roots.
#[derive(Debug)]
pub(super) struct RootedStore {
    inner: Arc<dyn ObjectStore>,
    roots: Arc<[Path]>,
}

impl RootedStore {
    /// Over `inner`; nothing of it without roots.
    pub(super) fn new(inner: Arc<dyn ObjectStore>, roots: Vec<Path>) -> Self {
        Self { inner, roots: roots.into() }
    }

    fn check(&self, path: &Path) -> Result<()> {
        check(&self.roots, path)
    }
}

fn check(roots: &[Path], path: &Path) -> Result<()> {
    match roots.iter().any(|root| path.prefix_matches(root)) {
        true => Ok(()),
        false => Err(Error::PermissionDenied {
            path: path.to_string(),
            source: "it lies outside of the places that storage.allowed_roots names".into(),
        }),
    }
}

impl Display for RootedStore {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        Display::fmt(&self.inner, f)
    }
}

#[async_trait]
impl ObjectStore for RootedStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.check(location)?;
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.check(location)?;
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.check(location)?;
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.check(location)?;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let roots = Arc::clone(&self.roots);
        let allowed = locations.and_then(move |path| future::ready(check(&roots, &path).map(|()| path)));
        self.inner.delete_stream(allowed.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let directory = prefix.cloned().unwrap_or_default();
        match self.check(&directory) {
            Ok(()) => self.inner.list(prefix),
            Err(error) => future::ready(Err(error)).into_stream().boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.check(&prefix.cloned().unwrap_or_default())?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.check(from)?;
        self.check(to)?;
        self.inner.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    fn path(text: &str) -> Path {
        Path::from(text)
    }

    #[tokio::test]
    async fn what_lies_below_a_root_is_served_and_the_rest_is_refused() {
        let inner = Arc::new(InMemory::new());
        for place in ["data/a", "data/b/c", "database/d", "other/e"] {
            inner.put(&path(place), "x".into()).await.unwrap();
        }
        let store = RootedStore::new(Arc::clone(&inner) as _, vec![path("data"), path("more")]);
        assert!(store.get(&path("data/b/c")).await.is_ok());
        store.put(&path("more/f"), "x".into()).await.unwrap();
        for place in ["database/d", "other/e", "none", ""] {
            let refused = [
                store.get(&path(place)).await.map(|_| ()),
                store.put(&path(place), "y".into()).await.map(|_| ()),
                store.delete(&path(place)).await,
                store.copy(&path("data/a"), &path(place)).await,
                store.copy(&path(place), &path("data/z")).await,
                store.list(Some(&path(place))).try_collect::<Vec<_>>().await.map(|_| ()),
                store.list_with_delimiter(Some(&path(place))).await.map(|_| ()),
            ];
            for outcome in refused {
                let error = outcome.unwrap_err().to_string();
                assert!(error.contains("storage.allowed_roots"), "{place}: {error}");
            }
        }
        assert!(store.list(None).try_collect::<Vec<_>>().await.is_err());
        assert_eq!(store.list(Some(&path("data"))).try_collect::<Vec<_>>().await.unwrap().len(), 2);
        assert!(inner.get(&path("other/e")).await.is_ok());
    }
}
