//! What a COPY asks for: where the rows go, as one file or many, and what becomes of what is there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use futures::StreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use url::{Position, Url};

use crate::storage::{check_allowed, directory_url};
use crate::{Error, Result};

/// What happens to a directory that holds files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    /// It stays as it is, and the statement fails.
    Refuse,
    /// The new files join it.
    Append,
    /// The new files take the place of the old ones.
    Overwrite,
}

/// Where rows go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Destination {
    /// URL without a slash at the end.
    pub(super) url: Url,
    pub(super) is_one_file: bool,
    pub(super) existing: Existing,
}

impl Destination {
    /// Where the text of a statement says, with the options that are ours, which it takes from `options`.
    ///
    /// # Errors
    /// `Invalid` for what is no place, and for options that contradict each other.
    pub(super) fn of(place: &str, has_directories: bool, options: &mut BTreeMap<String, String>) -> Result<Self> {
        let is_one_file = take_flag(options, "single_file_output")?;
        let (append, overwrite) = (take_flag(options, "append")?, take_flag(options, "overwrite")?);
        let existing = match (append.unwrap_or(false), overwrite.unwrap_or(false)) {
            (true, true) => return Err(Error::invalid("COPY either appends or overwrites, not both")),
            (true, false) => Existing::Append,
            (false, true) => Existing::Overwrite,
            (false, false) => Existing::Refuse,
        };
        let is_directory = place.ends_with('/');
        let mut url = Url::parse(&directory_url(place)?)
            .map_err(|error| Error::invalid(format!("'{place}' is no place for files: {error}")))?;
        let path = url.path().trim_end_matches('/').to_owned();
        let Some(name) = path.rsplit('/').next().filter(|name| !name.is_empty()) else {
            return Err(Error::invalid(format!("'{place}' is no place for files: name a file or a directory in it")));
        };
        let is_one_file = match is_one_file {
            Some(true) if is_directory => {
                return Err(Error::invalid(format!("'{place}' is a directory, and one file is asked for")));
            }
            Some(true) if has_directories => {
                return Err(Error::invalid("PARTITIONED BY makes directories, and one file is asked for"));
            }
            Some(said) => said,
            None => !is_directory && !has_directories && name.contains('.'),
        };
        if is_one_file && existing == Existing::Append {
            return Err(Error::invalid(format!("cannot append to the file '{place}': name a directory")));
        }
        url.set_path(&path);
        Ok(Self { url, is_one_file, existing })
    }

    /// Whether the rows are written to the destination itself: a store shows an object when it is whole.
    pub(super) fn is_in_place(&self) -> bool {
        self.is_one_file && self.local().is_none()
    }

    /// The path, of a place on this machine.
    pub(super) fn local(&self) -> Option<PathBuf> {
        (self.url.scheme() == "file").then(|| self.url.to_file_path().ok()).flatten()
    }

    /// The store, and the place in it.
    ///
    /// # Errors
    /// `Invalid` for a place that no store can have.
    pub(super) fn in_store(&self, runtime: &RuntimeEnv) -> Result<(Arc<dyn ObjectStore>, Path)> {
        let path = Path::from_url_path(self.url.path())
            .map_err(|error| Error::invalid(format!("bad place '{}': {error}", self.url)))?;
        Ok((runtime.object_store(ObjectStoreUrl::parse(&self.url[..Position::BeforePath])?)?, path))
    }

    /// Looks whether the rows may go there, before any is computed.
    ///
    /// # Errors
    /// `AlreadyExists` for a directory that holds files, unless they are to stay or to go; `Invalid` for a file where a
    /// directory is to be, and the other way round; `Denied` for a place that statements may not write to.
    pub(super) async fn check(&self, runtime: &RuntimeEnv) -> Result<()> {
        check_allowed(runtime, self.url.as_str()).await?;
        if let Some(local) = self.local() {
            match (local.is_dir(), local.exists(), self.is_one_file) {
                (true, _, true) => {
                    return Err(Error::invalid(format!("{} is a directory, not a file", local.display())));
                }
                (false, true, false) => {
                    return Err(Error::invalid(format!("{} is a file, not a directory", local.display())));
                }
                _ => {}
            }
        }
        if self.is_one_file || self.existing != Existing::Refuse {
            return Ok(());
        }
        let (store, path) = self.in_store(runtime)?;
        match store.list(Some(&path)).next().await {
            None | Some(Err(object_store::Error::NotFound { .. })) => Ok(()),
            Some(Ok(_)) => Err(self.is_there()),
            Some(Err(error)) => Err(DataFusionError::ObjectStore(Box::new(error)).into()),
        }
    }

    /// The directory holds files.
    pub(super) fn is_there(&self) -> Error {
        Error::already_exists(format!(
            "{} holds files already: COPY ... OPTIONS ('overwrite' 'true') puts the new ones in their place, \
             'append' adds them",
            self.name()
        ))
    }

    /// As it is said in messages.
    pub(super) fn name(&self) -> String {
        self.local().map_or_else(|| self.url.to_string(), |path| path.display().to_string())
    }
}

/// An option of ours, by its name or as SQL names it, which is taken out.
///
/// # Errors
/// `Invalid` for anything but true and false.
pub(super) fn take_flag(options: &mut BTreeMap<String, String>, name: &str) -> Result<Option<bool>> {
    let value = options.remove(&format!("format.{name}")).or_else(|| options.remove(name));
    match value.as_deref().map(|value| value.trim().to_ascii_lowercase()).as_deref() {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(other) => Err(Error::invalid(format!("the option {name} is true or false, not '{other}'"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(place: &str, options: &[(&str, &str)]) -> Result<Destination> {
        let mut options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Destination::of(place, false, &mut options)
    }

    #[test]
    fn a_name_with_an_ending_is_a_file_and_any_other_is_a_directory() {
        for (place, is_one_file) in
            [("/x/a.parquet", true), ("/x/a.parquet/", false), ("/x/a", false), ("s3://b/a.csv", true)]
        {
            let destination = of(place, &[]).unwrap();
            assert_eq!(destination.is_one_file, is_one_file, "{place}");
            assert!(!destination.url.path().ends_with('/'));
        }
        assert!(of("/x/a", &[("format.single_file_output", "TRUE")]).unwrap().is_one_file);
        assert!(!of("/x/a.csv", &[("single_file_output", "false")]).unwrap().is_one_file);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let refused: [(&str, &[(&str, &str)]); 7] = [
            ("/", &[]),
            ("s3://bucket", &[]),
            ("https://example.org/a.csv", &[]),
            ("/x/a/", &[("single_file_output", "true")]),
            ("/x/a.csv", &[("append", "true")]),
            ("/x/a", &[("append", "true"), ("overwrite", "true")]),
            ("/x/a", &[("overwrite", "perhaps")]),
        ];
        for (place, options) in refused {
            assert_eq!(of(place, options).unwrap_err().kind, crate::ErrorKind::Invalid, "{place} {options:?}");
        }
    }

    #[test]
    fn our_options_are_taken_and_the_format_gets_the_rest() {
        let mut options = BTreeMap::from([
            ("format.overwrite".to_owned(), "true".to_owned()),
            ("format.delimiter".to_owned(), ";".to_owned()),
        ]);
        let destination = Destination::of("/x/a", false, &mut options).unwrap();
        assert_eq!(destination.existing, Existing::Overwrite);
        assert_eq!(options.into_keys().collect::<Vec<_>>(), ["format.delimiter"]);
    }
}
