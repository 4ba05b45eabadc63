//! What was written is moved to where it was asked for. On this machine a file or a new directory is there all at once; in
//! a store files are copied when all of them are whole, one after the other.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use datafusion::error::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnv;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use url::Url;

use crate::copies::destination::{Destination, Existing};
use crate::sinks::WrittenFile;
use crate::{Error, Result};

/// Files that a store copies at once.
const COPIES_AT_ONCE: usize = 8;
/// Directory of the files that are published, below the place where they were written.
const OUT: &str = "out";

/// Moves the files that were reported from `staging` to the destination.
///
/// # Errors
/// Those of the store; `AlreadyExists` if somebody has written to the destination meanwhile.
pub(super) async fn publish(
    runtime: &RuntimeEnv,
    destination: &Destination,
    staging: &str,
    written: &[WrittenFile],
) -> Result<()> {
    if destination.is_in_place() {
        return Ok(());
    }
    let parts: Vec<WrittenFile> = written.to_vec();
    match destination.local() {
        Some(path) => {
            let (destination, staging) = (destination.clone(), local(staging)?);
            let moved = tokio::task::spawn_blocking(move || publish_local(&destination, &path, &staging, &parts));
            moved.await.map_err(|error| Error::internal(format!("publishing failed: {error}")))?
        }
        None => publish_objects(runtime, destination, staging, &parts).await,
    }
}

fn local(staging: &str) -> Result<PathBuf> {
    let path = Url::parse(staging).ok().and_then(|url| url.to_file_path().ok());
    path.ok_or_else(|| Error::internal(format!("{staging} is not on this machine")))
}

fn publish_local(destination: &Destination, path: &Path, staging: &Path, parts: &[WrittenFile]) -> Result<()> {
    let failed = |error: io::Error| Error::from(DataFusionError::from(error)).context(destination.name());
    let mut files = Vec::new();
    for part in parts {
        let directory = staging.join(part.file.trim_end_matches('/'));
        if part.rows > 0 && !directory.is_dir() {
            return Err(elsewhere(destination));
        }
        if directory.is_dir() {
            collect(&directory, &directory, &mut files).map_err(failed)?;
        }
    }
    if destination.is_one_file {
        let [(file, _)] = files.as_slice() else { return Err(elsewhere(destination)) };
        return fs::rename(file, path).map_err(failed);
    }
    let out = match destination.existing {
        Existing::Append => path.to_owned(),
        Existing::Refuse | Existing::Overwrite => staging.join(OUT),
    };
    fs::create_dir_all(&out).map_err(failed)?;
    for (file, name) in files {
        let to = out.join(name);
        fs::create_dir_all(to.parent().unwrap_or(&out)).and_then(|()| fs::rename(file, &to)).map_err(failed)?;
    }
    match destination.existing {
        Existing::Append => Ok(()),
        // What was there is removed with the rest of the staging place.
        Existing::Overwrite if path.exists() => {
            renameat_with(CWD, &out, CWD, path, RenameFlags::EXCHANGE).map_err(|error| failed(error.into()))
        }
        // A directory that is there and empty is replaced; one that is not is refused.
        Existing::Refuse | Existing::Overwrite => fs::rename(&out, path).map_err(|error| match error.kind() {
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => destination.is_there(),
            _ => failed(error),
        }),
    }
}

/// Files below `directory`, each with its name from `root` on.
fn collect(root: &Path, directory: &Path, files: &mut Vec<(PathBuf, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, files)?;
        } else if let Ok(name) = path.strip_prefix(root) {
            files.push((path.clone(), name.to_owned()));
        }
    }
    Ok(())
}

fn elsewhere(destination: &Destination) -> Error {
    Error::unavailable(format!(
        "the files for {} were written by executors to a disk that the coordinator does not see: name a directory that \
         they share, an object store, or SET grappe.execution_mode = 'local'",
        destination.name()
    ))
}

async fn publish_objects(
    runtime: &RuntimeEnv,
    destination: &Destination,
    staging: &str,
    parts: &[WrittenFile],
) -> Result<()> {
    let (store, to) = destination.in_store(runtime)?;
    let failed = |error: object_store::Error| Error::from(DataFusionError::ObjectStore(Box::new(error)));
    let old: Vec<ObjectMeta> = match destination.existing {
        Existing::Append => Vec::new(),
        Existing::Refuse | Existing::Overwrite => store.list(Some(&to)).try_collect().await.map_err(failed)?,
    };
    if destination.existing == Existing::Refuse && !old.is_empty() {
        return Err(destination.is_there());
    }
    let staged = Url::parse(staging).ok().and_then(|url| object_store::path::Path::from_url_path(url.path()).ok());
    let staged = staged.ok_or_else(|| Error::internal(format!("{staging} is no place in a store")))?;
    let mut moves = Vec::new();
    for part in parts {
        let directory = staged.clone().join(part.file.trim_end_matches('/'));
        let files: Vec<ObjectMeta> = store.list(Some(&directory)).try_collect().await.map_err(failed)?;
        if part.rows > 0 && files.is_empty() {
            return Err(Error::unavailable(format!("files for {} are not there any more", destination.name())));
        }
        for file in files {
            let name = file.location.prefix_match(&directory).into_iter().flatten();
            let place = name.fold(to.clone(), |place, part| place.join(part));
            moves.push((file.location.clone(), place));
        }
    }
    let copies = stream::iter(moves).map(|(from, to)| {
        let store = &store;
        async move { store.copy(&from, &to).await }
    });
    copies.buffer_unordered(COPIES_AT_ONCE).try_collect::<Vec<()>>().await.map_err(failed)?;
    remove(store.as_ref(), old).await.map_err(failed)
}

async fn remove(store: &dyn ObjectStore, files: Vec<ObjectMeta>) -> object_store::Result<()> {
    let places = stream::iter(files).map(|file| Ok(file.location)).boxed();
    store.delete_stream(places).try_collect::<Vec<_>>().await.map(|_| ())
}
