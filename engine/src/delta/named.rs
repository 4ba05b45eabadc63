//! A store that puts a query's id before the names of the files it is given, so that whoever cleans up after the query
//! finds them.

use std::fmt::{Display, Formatter};
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

/// Files are written under longer names; everything else is as it is.
#[derive(Debug)]
pub(crate) struct NamedStore {
    inner: Arc<dyn ObjectStore>,
    prefix: String,
}

impl NamedStore {
    /// Over `inner`; file names begin with `prefix` and a dash.
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, prefix: String) -> Self {
        Self { inner, prefix }
    }

    /// The path under which a file was written.
    pub(crate) fn named(path: &str, prefix: &str) -> String {
        match path.rsplit_once('/') {
            Some((directory, name)) => format!("{directory}/{prefix}-{name}"),
            None => format!("{prefix}-{path}"),
        }
    }

    /// Whether the file was written under this prefix.
    pub(crate) fn is_named(path: &Path, prefix: &str) -> bool {
        let rest = path.filename().and_then(|name| name.strip_prefix(prefix));
        rest.is_some_and(|rest| rest.starts_with('-'))
    }

    fn place(&self, location: &Path) -> Result<Path> {
        // A path is its own text: parsing it does not encode it again.
        Ok(Path::parse(Self::named(location.as_ref(), &self.prefix))?)
    }
}

impl Display for NamedStore {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        Display::fmt(&self.inner, f)
    }
}

#[async_trait]
impl ObjectStore for NamedStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(&self.place(location)?, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(&self.place(location)?, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
