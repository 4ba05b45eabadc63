//! Listings that break off are taken up again.
//!
//! The clients of object stores repeat a request that fails, and read on where the body of a file broke off. If it is the
//! body of a listing that breaks off, they give up (object_store 0.13). Here the listing goes on after the last name.

use std::fmt::{self, Display, Formatter};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// What all clients say of it.
const BROKEN_OFF: &str = "list response body";
/// How long the first pause is; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(50);

/// A store whose listings are taken up again.
#[derive(Debug)]
pub(super) struct ListedAgain {
    store: Arc<dyn ObjectStore>,
    /// Times in a row.
    retries_max: usize,
}

impl ListedAgain {
    /// `store`, whose listings may break off so many times without a name in between.
    pub(super) fn new(store: Arc<dyn ObjectStore>, retries_max: usize) -> Self {
        Self { store, retries_max }
    }

    /// What `list` gives, from the start or after a name.
    fn begun(&self, start: Option<Path>, list: impl Lister) -> BoxStream<'static, Result<ObjectMeta>> {
        let (rows, retries_max) = (list(start.as_ref()), self.retries_max);
        let listing = Listing { list, rows, last: start, retries: 0, retries_max };
        stream::unfold(listing, |mut listing| async move { listing.next().await.map(|row| (row, listing)) }).boxed()
    }
}

trait Lister: Fn(Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> + Send + 'static {}
impl<F: Fn(Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> + Send + 'static> Lister for F {}

struct Listing<L> {
    list: L,
    rows: BoxStream<'static, Result<ObjectMeta>>,
    last: Option<Path>,
    /// Since the last name.
    retries: usize,
    retries_max: usize,
}

impl<L: Lister> Listing<L> {
    async fn next(&mut self) -> Option<Result<ObjectMeta>> {
        loop {
            match self.rows.next().await? {
                Ok(file) => {
                    self.last = Some(file.location.clone());
                    self.retries = 0;
                    return Some(Ok(file));
                }
                Err(error) if is_broken_off(&error) && self.retries < self.retries_max => {
                    pause(self.retries).await;
                    self.retries += 1;
                    self.rows = (self.list)(self.last.as_ref());
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn is_broken_off(error: &Error) -> bool {
    matches!(error, Error::Generic { source, .. } if source.to_string().contains(BROKEN_OFF))
}

async fn pause(retries: usize) {
    tokio::time::sleep(PAUSE * (1 << retries.min(6))).await;
}

impl Display for ListedAgain {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.store, f)
    }
}

#[async_trait]
impl ObjectStore for ListedAgain {
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (Arc::clone(&self.store), prefix.cloned());
        self.begun(None, move |last: Option<&Path>| match last {
            Some(last) => store.list_with_offset(prefix.as_ref(), last),
            None => store.list(prefix.as_ref()),
        })
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix, first) = (Arc::clone(&self.store), prefix.cloned(), offset.clone());
        self.begun(Some(offset.clone()), move |last: Option<&Path>| {
            store.list_with_offset(prefix.as_ref(), last.unwrap_or(&first))
        })
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut retries = 0;
        loop {
            match self.store.list_with_delimiter(prefix).boxed().await {
                Err(error) if is_broken_off(&error) && retries < self.retries_max => pause(retries).await,
                outcome => return outcome,
            }
            retries += 1;
        }
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.store.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.store.get_ranges(location, ranges).await
    }

    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.store.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.store.delete_stream(locations)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::TryStreamExt;
    use parking_lot::Mutex;

    use super::*;

    fn broken(text: &str) -> Error {
        Error::Generic { store: "S3", source: text.into() }
    }

    fn file(name: &str) -> ObjectMeta {
        let last_modified = chrono::DateTime::UNIX_EPOCH;
        ObjectMeta { location: Path::from(name), last_modified, size: 1, e_tag: None, version: None }
    }

    /// Names a to h through listings that break off after so many names each; then one runs to the end.
    async fn names(breaks: Vec<usize>, text: &'static str, retries_max: usize) -> (Result<String>, usize) {
        let breaks = Arc::new(Mutex::new(breaks.into_iter()));
        let listings = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&listings);
        let list = move |last: Option<&Path>| {
            counted.fetch_add(1, Ordering::Relaxed);
            let after = last.map(|last| last.to_string()).unwrap_or_default();
            let rest = ["a", "b", "c", "d", "e", "f", "g", "h"].into_iter().filter(move |name| **name > *after);
            let Some(count) = breaks.lock().next() else {
                return stream::iter(rest.map(|name| Ok(file(name)))).boxed();
            };
            stream::iter(rest.take(count).map(|name| Ok(file(name)))).chain(stream::iter([Err(broken(text))])).boxed()
        };
        let store = ListedAgain::new(Arc::new(object_store::memory::InMemory::new()), retries_max);
        let found: Result<Vec<ObjectMeta>> = store.begun(None, list).try_collect().await;
        let found = found.map(|files| files.iter().map(|file| file.location.to_string()).collect());
        (found, listings.load(Ordering::Relaxed))
    }

    const CUT: &str = "Error getting list response body: HTTP error: request or response body error";

    #[tokio::test]
    async fn a_listing_goes_on_after_the_last_name() {
        let (found, listings) = names(vec![3, 0, 2, 1], CUT, 2).await;
        assert_eq!((found.unwrap().as_str(), listings), ("abcdefgh", 5));
    }

    #[tokio::test]
    async fn it_is_given_up_when_it_gets_nowhere() {
        let (found, listings) = names(vec![3, 0, 0, 0], CUT, 2).await;
        assert!(found.unwrap_err().to_string().contains("list response body"));
        assert_eq!(listings, 3);
    }

    #[tokio::test]
    async fn other_errors_are_told_at_once() {
        let (found, listings) = names(vec![3], "access denied", 2).await;
        assert!(found.is_err());
        assert_eq!(listings, 1);
    }
}
