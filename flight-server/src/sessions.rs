//! Who asks: a session belongs to a bearer token or a cookie, and without either to its connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use engine::{Engine, Error, ErrorKind, Result, Session};
use parking_lot::Mutex;
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request};

use crate::connection::{ConnectionEnded, ConnectionId};

/// Name of the cookie that a client may keep its session by.
const COOKIE: &str = "grappe_session";

/// What a session belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Owner {
    Token(String),
    Cookie(String),
    Connection(u64),
}

#[derive(Debug)]
struct Slot {
    session: Arc<Session>,
    last_used: Mutex<Instant>,
}

/// All open sessions.
#[derive(Debug)]
pub(crate) struct Sessions {
    engine: Arc<Engine>,
    slots: DashMap<Owner, Slot>,
    sessions_max: usize,
    idle_max: Duration,
}

impl Sessions {
    pub(crate) fn new(engine: Arc<Engine>, sessions_max: usize, idle_seconds_max: u64) -> Self {
        Self { engine, slots: DashMap::new(), sessions_max, idle_max: Duration::from_secs(idle_seconds_max) }
    }

    /// The session of whoever sent `request`, opened at first use.
    ///
    /// # Errors
    /// `Exhausted` when too many are open.
    pub(crate) fn of<T>(&self, request: &Request<T>) -> Result<Arc<Session>> {
        let owner = owner(request.metadata(), request.extensions())?;
        if let Some(slot) = self.slots.get(&owner) {
            *slot.last_used.lock() = Instant::now();
            return Ok(Arc::clone(&slot.session));
        }
        if self.slots.len() >= self.sessions_max {
            let message = format!("{} sessions are open, the most allowed; close some, or wait", self.sessions_max);
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        let open = || Slot { session: Arc::new(self.engine.open_session()), last_used: Mutex::new(Instant::now()) };
        Ok(Arc::clone(&self.slots.entry(owner).or_insert_with(open).session))
    }

    /// Ends the session of whoever sent `request`.
    ///
    /// # Errors
    /// `Internal` for a request without a connection.
    pub(crate) fn close<T>(&self, request: &Request<T>) -> Result<()> {
        self.slots.remove(&owner(request.metadata(), request.extensions())?);
        Ok(())
    }

    /// Closes sessions that nobody has used for too long; those of a connection end with it.
    pub(crate) fn close_idle(&self) {
        self.slots.retain(|owner, slot| {
            matches!(owner, Owner::Connection(_)) || slot.last_used.lock().elapsed() < self.idle_max
        });
    }
}

impl ConnectionEnded for Sessions {
    fn ended(&self, id: u64) {
        self.slots.remove(&Owner::Connection(id));
    }
}

fn owner(metadata: &MetadataMap, extensions: &Extensions) -> Result<Owner> {
    let text = |key| metadata.get(key).and_then(|value| value.to_str().ok());
    if let Some(token) = text("authorization").and_then(|value| value.strip_prefix("Bearer ")) {
        return Ok(Owner::Token(token.to_owned()));
    }
    let cookies = text("cookie").unwrap_or_default().split(';').filter_map(|pair| pair.trim().split_once('='));
    if let Some((_, id)) = cookies.into_iter().find(|(name, _)| *name == COOKIE) {
        return Ok(Owner::Cookie(id.to_owned()));
    }
    match extensions.get::<ConnectionId>() {
        Some(connection) => Ok(Owner::Connection(connection.get())),
        None => Err(Error::internal("a request without a connection")),
    }
}
