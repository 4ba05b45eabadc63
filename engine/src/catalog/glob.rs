//! Tables whose location holds wildcards, in directories as well as in file names.
//!
//! `*` and `?` stay within one name, `**` crosses directories, as in a shell. DataFusion's own globs see one level only
//! and take directories named `column=value` out of the path before they compare. So a table is listed through a store
//! that shows matching files alone; DataFusion is told of a plain directory and finds partition columns as in any other.

use std::borrow::Cow;
use std::fmt::{Display, Formatter};
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::datasource::listing::ListingTableUrl;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::object_store::ObjectStoreRegistry;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SessionState, SessionStateBuilder};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use glob::{MatchOptions, Pattern};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult,
};
use url::Url;

use crate::{Error, Result};

const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };

/// A pattern below a directory.
#[derive(Debug, Clone)]
pub(crate) struct Glob {
    base: Path,
    pattern: Pattern,
}

/// What a location says: a file, a directory, or a directory and a pattern below it.
#[derive(Debug)]
pub(crate) struct Location {
    pub(crate) url: ListingTableUrl,
    pub(crate) glob: Option<Glob>,
}

impl Location {
    /// Reads a path or URL.
    ///
    /// # Errors
    /// `Invalid` naming what cannot be understood.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let bad = |why: String| Error::invalid(format!("bad location '{text}': {why}"));
        let may_hold_a_glob = text.contains("://") && !text.starts_with("http");
        if let Some(start) = text.find(['*', '?', '[']).filter(|_| may_hold_a_glob) {
            let split = text[..start].rfind('/').map_or(start, |slash| slash + 1);
            let base = Url::parse(&text[..split]).map_err(|error| bad(error.to_string()))?;
            let pattern = Pattern::new(&text[split..]).map_err(|error| bad(error.to_string()))?;
            return Self::below(base, pattern).map_err(|error| bad(error.to_string()));
        }
        // A path of this machine, which DataFusion makes absolute.
        let url = ListingTableUrl::parse(text).map_err(|error| bad(error.strip_backtrace()))?;
        let Some(pattern) = url.get_glob().clone() else { return Ok(Self { url, glob: None }) };
        let base = Url::parse(url.as_str()).map_err(|error| bad(error.to_string()))?;
        Self::below(base, pattern).map_err(|error| bad(error.to_string()))
    }

    fn below(directory: Url, pattern: Pattern) -> DataFusionResult<Self> {
        let url = ListingTableUrl::try_new(directory, None)?;
        Ok(Self { glob: Some(Glob { base: url.prefix().clone(), pattern }), url })
    }
}

impl Glob {
    /// `state`, for which stores list only what matches.
    pub(crate) fn narrow(&self, state: &SessionState) -> DataFusionResult<SessionState> {
        let runtime = state.runtime_env();
        let stores = NarrowRegistry { inner: Arc::clone(&runtime.object_store_registry), glob: self.clone() };
        let runtime = RuntimeEnvBuilder::from_runtime_env(runtime).with_object_store_registry(Arc::new(stores));
        let mut config = state.config().clone();
        // What lies in subdirectories is for the pattern to say.
        config.options_mut().execution.listing_table_ignore_subdirectory = false;
        let builder = SessionStateBuilder::new_from_existing(state.clone());
        Ok(builder.with_config(config).with_runtime_env(runtime.build_arc()?).build())
    }

    /// The columns that the first directories of every file name: none if they differ.
    pub(crate) fn partition_columns(&self, files: &[ObjectMeta]) -> Vec<String> {
        let columns = |file: &ObjectMeta| -> Vec<String> {
            let parts: Vec<_> = file.location.prefix_match(&self.base).into_iter().flatten().collect();
            let directories = parts.split_last().map_or(&[][..], |(_, directories)| directories);
            let names = directories.iter().map_while(|part| part.as_ref().split_once('=').map(|(name, _)| name.into()));
            names.collect()
        };
        let mut all = files.iter().map(columns);
        let Some(first) = all.next() else { return Vec::new() };
        if all.all(|other| other == first) { first } else { Vec::new() }
    }

    fn matches(&self, file: &Path) -> bool {
        let rest = file.as_ref().strip_prefix(self.base.as_ref()).unwrap_or_default();
        self.pattern.matches_with(rest.trim_start_matches('/'), OPTIONS)
    }

    /// Whether no file below a subdirectory can match.
    fn is_flat(&self) -> bool {
        !self.pattern.as_str().contains('/') && !self.pattern.as_str().contains("**")
    }
}

impl Display for Glob {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        Display::fmt(&self.pattern, f)
    }
}

#[derive(Debug)]
struct NarrowRegistry {
    inner: Arc<dyn ObjectStoreRegistry>,
    glob: Glob,
}

impl ObjectStoreRegistry for NarrowRegistry {
    fn register_store(&self, url: &Url, store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        self.inner.register_store(url, store)
    }

    fn get_store(&self, url: &Url) -> DataFusionResult<Arc<dyn ObjectStore>> {
        let inner = self.inner.get_store(url)?;
        Ok(Arc::new(NarrowStore { inner, glob: self.glob.clone() }))
    }
}

/// A store whose listings hold only what matches.
#[derive(Debug)]
struct NarrowStore {
    inner: Arc<dyn ObjectStore>,
    glob: Glob,
}

impl Display for NarrowStore {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        Display::fmt(&self.inner, f)
    }
}

type StoreResult<T> = object_store::Result<T>;

#[async_trait]
impl ObjectStore for NarrowStore {
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        let glob = self.glob.clone();
        let is_match = move |file: &ObjectMeta| std::future::ready(glob.matches(&file.location));
        if !self.glob.is_flat() {
            return self.inner.list(prefix).try_filter(is_match).boxed();
        }
        // The tree below the directory may be large.
        let (inner, prefix) = (Arc::clone(&self.inner), prefix.cloned());
        let listed = async move { inner.list_with_delimiter(prefix.as_ref()).await };
        let files =
            futures::stream::once(listed).map_ok(|found| futures::stream::iter(found.objects.into_iter().map(Ok)));
        files.try_flatten().try_filter(is_match).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        let mut listed = self.inner.list_with_delimiter(prefix).await?;
        listed.objects.retain(|file| self.glob.matches(&file.location));
        Ok(listed)
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> StoreResult<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        self.inner.delete_stream(locations)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// The state to list with: narrowed if there is a pattern.
pub(crate) fn listing_state<'a>(state: &'a SessionState, glob: Option<&Glob>) -> Result<Cow<'a, SessionState>> {
    Ok(match glob {
        Some(glob) => Cow::Owned(glob.narrow(state)?),
        None => Cow::Borrowed(state),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(text: &str) -> Glob {
        Location::parse(text).unwrap().glob.unwrap()
    }

    #[test]
    fn a_glob_in_a_bucket_is_split_from_its_prefix() {
        let location = Location::parse("s3://bucket/a/b-*/x?.parquet").unwrap();
        assert_eq!(location.url.as_str(), "s3://bucket/a/");
        assert_eq!(location.glob.unwrap().pattern.as_str(), "b-*/x?.parquet");
    }

    #[test]
    fn a_question_mark_in_a_web_address_is_a_query() {
        assert!(Location::parse("https://host/x.parquet?version=1").unwrap().glob.is_none());
    }

    #[test]
    fn a_star_stays_within_a_name_and_two_cross_directories() {
        let one = glob("s3://b/data/*.csv");
        assert!(one.matches(&Path::from("data/x.csv")) && !one.matches(&Path::from("data/y/x.csv")));
        let two = glob("s3://b/data/*/x.csv");
        assert!(two.matches(&Path::from("data/k=1/x.csv")) && !two.matches(&Path::from("data/a/b/x.csv")));
        let any = glob("s3://b/**/x.csv");
        assert!(any.matches(&Path::from("a/b/x.csv")) && any.matches(&Path::from("x.csv")));
    }

    #[test]
    fn directories_give_columns_only_where_all_files_have_them_first() {
        let file = |path: &str| ObjectMeta {
            location: Path::from(path),
            last_modified: chrono::DateTime::UNIX_EPOCH,
            size: 1,
            e_tag: None,
            version: None,
        };
        let glob = glob("s3://b/t/**/*.csv");
        assert_eq!(glob.partition_columns(&[file("t/y=1/m=2/x.csv"), file("t/y=2/m=1/z.csv")]), ["y", "m"]);
        assert!(glob.partition_columns(&[file("t/y=1/x.csv"), file("t/x.csv")]).is_empty());
        assert!(glob.partition_columns(&[file("t/old/y=1/x.csv")]).is_empty());
    }
}
