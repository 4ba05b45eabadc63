//! A directory to write to, as a URL.

use url::Url;

use crate::{Error, Result};

/// Schemes of stores that can be written to.
const WRITABLE: [&str; 10] = ["file", "s3", "s3a", "gs", "gcs", "az", "adl", "azure", "abfs", "abfss"];

/// The URL of the directory that a path or URL names, with a slash at the end. It need not be there yet.
///
/// # Errors
/// `Invalid` for what is neither, and for a store that cannot be written to.
pub fn directory_url(place: &str) -> Result<String> {
    let url = any_directory_url(place)?;
    if !WRITABLE.contains(&url.scheme()) {
        return Err(not_one(place, &"use a path, file://, s3://, gs://, az:// or abfss://"));
    }
    Ok(url.into())
}

/// The same, of a directory that is perhaps only read.
///
/// # Errors
/// `Invalid` for what is neither.
pub(super) fn any_directory_url(place: &str) -> Result<Url> {
    if !place.contains("://") {
        let path = std::path::absolute(place).map_err(|error| not_one(place, &error))?;
        return Url::from_directory_path(path).map_err(|()| not_one(place, &"it cannot be written as a URL"));
    }
    let mut url = Url::parse(place).map_err(|error| not_one(place, &error))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(not_one(place, &"it has a '?' or '#'"));
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

fn not_one(place: &str, why: &dyn std::fmt::Display) -> Error {
    Error::invalid(format!("'{place}' is no directory: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_urls_end_with_a_slash() {
        assert_eq!(directory_url("/data/my tables").unwrap(), "file:///data/my%20tables/");
        assert_eq!(directory_url("/data/").unwrap(), "file:///data/");
        assert_eq!(directory_url("file:///data").unwrap(), "file:///data/");
        assert_eq!(directory_url("s3://bucket").unwrap(), "s3://bucket/");
        assert_eq!(directory_url("s3://bucket/a/b").unwrap(), "s3://bucket/a/b/");
        let here = directory_url("tables").unwrap();
        assert!(here.starts_with("file:///") && here.ends_with("/tables/"), "{here}");
    }

    #[test]
    fn what_cannot_be_written_to_is_refused() {
        for place in ["https://example.org/x", "s3://bucket/x?y", "", "ftp://host/x"] {
            assert_eq!(directory_url(place).unwrap_err().kind, crate::ErrorKind::Invalid, "{place}");
        }
    }
}
