//! Where a catalog lies, and how that is said without its password.

use std::path::PathBuf;

use url::Url;

use crate::{Error, Result};

/// What stands for a password wherever a URL is shown.
const HIDDEN: &str = "***";

/// A file, or a database of a PostgreSQL server.
#[derive(Clone)]
pub(super) enum Place {
    File(PathBuf),
    Postgres(Url),
}

impl Place {
    /// # Errors
    /// `Invalid` for a URL of neither kind.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("sqlite", text));
        match scheme {
            "sqlite" | "file" => absolute(rest).map(Self::File),
            "postgres" | "postgresql" => Ok(Self::Postgres(Url::parse(text).map_err(|error| unreadable(&error))?)),
            other => Err(Error::invalid(format!(
                "cannot keep a catalog at {other}://: use a path, or postgres://USER:PASSWORD@HOST:PORT/DATABASE"
            ))),
        }
    }

    /// As it is said in messages.
    pub(super) fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Postgres(url) => shown(url.clone()).into(),
        }
    }
}

/// The same path or URL with asterisks in place of a password, to be shown.
pub fn hide_password(place: &str) -> String {
    if !place.contains("://") {
        return place.to_owned();
    }
    Url::parse(place).map_or_else(|_| HIDDEN.to_owned(), |url| shown(url).into())
}

fn shown(mut url: Url) -> Url {
    // A URL that cannot have a password has none to hide.
    let _ = url.password().is_some().then(|| url.set_password(Some(HIDDEN)));
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    if pairs.iter().any(|(key, _)| key == "password") {
        let hidden = pairs.iter().map(|(key, value)| (key, if key == "password" { HIDDEN } else { value }));
        url.query_pairs_mut().clear().extend_pairs(hidden);
    }
    url
}

fn absolute(path: &str) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| Error::invalid(format!("'{path}' is no path for a catalog: {error}")))
}

/// The URL itself may hold a password.
fn unreadable(error: &url::ParseError) -> Error {
    Error::invalid(format!(
        "the URL of the catalog cannot be read: {error}; it is postgres://USER:PASSWORD@HOST:PORT/DATABASE, with other \
         characters than letters and digits percent-encoded"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown_wherever_it_stands() {
        let user = "postgres://ada:hush@db:5432/names?sslmode=require";
        assert_eq!(hide_password(user), "postgres://ada:***@db:5432/names?sslmode=require");
        assert_eq!(
            hide_password("postgres://db/names?password=hush&user=ada"),
            "postgres://db/names?password=***&user=ada"
        );
        assert_eq!(hide_password("postgres://[hush"), "***");
        assert_eq!(hide_password("/data/catalog.sqlite"), "/data/catalog.sqlite");
    }

    #[test]
    fn a_path_is_a_file_and_an_unknown_scheme_is_refused() {
        assert!(matches!(Place::parse("/data/c.sqlite"), Ok(Place::File(path)) if path.ends_with("c.sqlite")));
        assert!(matches!(Place::parse("postgresql://db/names"), Ok(Place::Postgres(_))));
        let refused = Place::parse("mysql://ada:hush@db/names").map(|_| ()).unwrap_err();
        assert!(refused.message.contains("mysql://") && !refused.message.contains("hush"), "{}", refused.message);
    }
}
