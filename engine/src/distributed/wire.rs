//! What our processes say to each other beyond Ballista's messages.

use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::{Error, ErrorKind, Result};

const VERSION_KEY: &str = "grappe-version";
const NAME_KEY: &str = "grappe-executor";
const PID_KEY: &str = "grappe-pid";
const INSTANCE_KEY: &str = "grappe-instance";
const MEMBERSHIP_KEY: &str = "grappe-membership";

/// What an executor says about itself when it joins and with each heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The id that the operator sees. Ballista's id adds a part for each time the executor joined.
    pub name: String,
    /// Version of the executor.
    pub version: String,
    /// Process id on the executor's machine.
    pub pid: u32,
    /// Tells one start of an executor from another, also within one process.
    pub instance: String,
}

impl Hello {
    /// Writes the headers of a request.
    pub fn write(&self, headers: &mut MetadataMap) -> Result<()> {
        let pid = self.pid.to_string();
        let pairs =
            [(VERSION_KEY, &self.version), (NAME_KEY, &self.name), (PID_KEY, &pid), (INSTANCE_KEY, &self.instance)];
        for (key, value) in pairs {
            let value = value.parse().map_err(|_| Error::invalid(format!("'{value}' cannot be sent as {key}")))?;
            headers.insert(key, value);
        }
        Ok(())
    }

    /// Reads the headers of a request.
    pub fn read(headers: &MetadataMap) -> Result<Self> {
        let get = |key: &str| {
            let value = headers.get(key).and_then(|value| value.to_str().ok());
            value
                .map(str::to_owned)
                .ok_or_else(|| Error::invalid(format!("the header {key} is missing: is this an executor of Grappe?")))
        };
        let pid = get(PID_KEY)?;
        let pid = pid.parse().map_err(|_| Error::invalid(format!("'{pid}' is not a process id")))?;
        Ok(Self { name: get(NAME_KEY)?, version: get(VERSION_KEY)?, pid, instance: get(INSTANCE_KEY)? })
    }
}

/// The id of one membership of an executor: an executor that joins again is another one for Ballista.
pub fn membership_id(name: &str, incarnation: u64) -> String {
    format!("{name}@{incarnation:x}")
}

/// Says for which membership of the executor a launch is meant.
pub fn write_membership(id: &str, headers: &mut MetadataMap) -> Result<()> {
    let value = id.parse().map_err(|_| Error::invalid(format!("'{id}' cannot be sent as {MEMBERSHIP_KEY}")))?;
    headers.insert(MEMBERSHIP_KEY, value);
    Ok(())
}

/// What [`write_membership`] wrote.
pub fn membership_of(headers: &MetadataMap) -> Result<String> {
    let value = headers.get(MEMBERSHIP_KEY).and_then(|value| value.to_str().ok());
    value.map(str::to_owned).ok_or_else(|| Error::invalid(format!("the header {MEMBERSHIP_KEY} is missing")))
}

/// Every kind, with the word that stands for it.
const KINDS: [(ErrorKind, &str); 8] = [
    (ErrorKind::Invalid, "invalid"),
    (ErrorKind::NotFound, "not-found"),
    (ErrorKind::AlreadyExists, "already-exists"),
    (ErrorKind::Denied, "denied"),
    (ErrorKind::Unavailable, "unavailable"),
    (ErrorKind::Exhausted, "exhausted"),
    (ErrorKind::Cancelled, "cancelled"),
    (ErrorKind::Internal, "internal"),
];

/// Marks the start and the end of an error inside the texts that Ballista puts around it.
const MARK: char = '\u{1f}';

/// `error` as text that [`read_error`] finds again in any text around it.
pub fn write_error(error: &Error) -> String {
    let word = KINDS.iter().find(|(kind, _)| *kind == error.kind).map_or("internal", |(_, word)| word);
    format!("{MARK}{word}{MARK}{}{MARK}", error.message)
}

/// The first error that [`write_error`] wrote somewhere in `text`.
pub fn read_error(text: &str) -> Option<Error> {
    let mut parts = text.split(MARK).skip(1);
    let (word, message) = (parts.next()?, parts.next()?);
    let (kind, _) = KINDS.iter().find(|(_, known)| *known == word)?;
    Some(Error::new(*kind, message))
}

/// What went wrong with a call to another process of the cluster.
pub fn status_error(status: &Status, address: &str) -> Error {
    use tonic::Code;
    let message = format!("{address}: {}", status.message());
    match status.code() {
        Code::FailedPrecondition | Code::InvalidArgument | Code::OutOfRange => Error::invalid(message),
        Code::AlreadyExists => Error::already_exists(message),
        Code::NotFound => Error::not_found(message),
        Code::Unauthenticated | Code::PermissionDenied => Error::new(ErrorKind::Denied, message),
        _ => Error::unavailable(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_found_in_the_text_around_it() {
        let sent = Error::new(ErrorKind::Exhausted, "no memory: raise --memory");
        let text = format!("Job failed due to stage 1 failed: {}\n", write_error(&sent));
        let read = read_error(&text).unwrap();
        assert_eq!((read.kind, read.message), (sent.kind, sent.message));
        assert!(read_error("Job failed due to something else").is_none());
    }

    #[test]
    fn a_greeting_survives_its_headers() {
        let hello = Hello { name: "executor-1".into(), version: "0.1.0".into(), pid: 7, instance: "a".into() };
        let mut headers = MetadataMap::new();
        hello.write(&mut headers).unwrap();
        assert_eq!(Hello::read(&headers).unwrap(), hello);
    }
}
