//! Who asks: a session belongs to a bearer token or a cookie, and without either to its connection; and to one user.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use engine::limits::Limit;
use engine::{Engine, Error, ErrorKind, Result, Session};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tonic::Request;
use tonic::metadata::MetadataMap;

use crate::authentication::Caller;
use crate::connection::{ConnectionEnded, ConnectionId};

/// Name of the cookie that a client may keep its session by.
pub(crate) const COOKIE_NAME: &str = "grappe_session";

/// What a session belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Owner {
    Token(String),
    /// A cookie of this user's: the cookie of another is another session.
    Cookie(Arc<str>, String),
    Connection(u64, Arc<str>),
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
    /// Held while a session is looked for and opened: two calls of one client must not open two.
    opening: Mutex<()>,
    /// Tells that a connection has ended.
    ended: Notify,
    sessions_max: usize,
    idle_max: Duration,
}

impl Sessions {
    pub(crate) fn new(engine: Arc<Engine>, sessions_max: usize, idle_max: Duration) -> Self {
        Self { engine, slots: DashMap::new(), opening: Mutex::default(), ended: Notify::new(), sessions_max, idle_max }
    }

    /// The session of whoever sent `request`, opened at first use.
    ///
    /// # Errors
    /// `Exhausted` when too many are open.
    pub(crate) fn of<T>(&self, request: &Request<T>) -> Result<Arc<Session>> {
        let caller = caller(request)?;
        let _opening = self.opening.lock();
        let owner = self.owner(request, caller)?;
        if let Some(slot) = self.slots.get(&owner) {
            *slot.last_used.lock() = Instant::now();
            return Ok(Arc::clone(&slot.session));
        }
        self.refuse_too_many(&caller.user)?;
        let open = || Slot {
            session: Arc::new(self.engine.open_session(Arc::clone(&caller.user))),
            last_used: Mutex::new(Instant::now()),
        };
        Ok(Arc::clone(&self.slots.entry(owner).or_insert_with(open).session))
    }

    /// Opens the session of a connection of another port; it ends when [`ConnectionEnded::ended`] is told so.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub(crate) fn open(
        &self,
        connection: u64,
        open: impl FnOnce(&Arc<Engine>) -> Arc<Session>,
    ) -> Result<Arc<Session>> {
        let _opening = self.opening.lock();
        let session = open(&self.engine);
        self.refuse_too_many(session.user())?;
        let slot = Slot { session: Arc::clone(&session), last_used: Mutex::new(Instant::now()) };
        self.slots.insert(Owner::Connection(connection, Arc::clone(session.user())), slot);
        Ok(session)
    }

    /// Returns when no connection has a session any more.
    pub(crate) async fn all_ended(&self) {
        loop {
            let ended = self.ended.notified();
            if !self.slots.iter().any(|slot| matches!(slot.key(), Owner::Connection(..))) {
                return;
            }
            ended.await;
        }
    }

    /// Sessions open at once.
    pub(crate) fn sessions_max(&self) -> usize {
        self.sessions_max
    }

    fn refuse_too_many(&self, user: &str) -> Result<()> {
        let most = self.engine.rules().limits_of(user).limit(Limit::UserSessions);
        if let Some(most) = most.filter(|most| self.count_of(user) >= *most) {
            let message = format!("{user} has {most} sessions, the most allowed ({}); close some", Limit::UserSessions);
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        if self.slots.len() >= self.sessions_max {
            let message = format!("{} sessions are open, the most allowed; close some, or wait", self.sessions_max);
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        Ok(())
    }

    fn count_of(&self, user: &str) -> u64 {
        self.slots.iter().filter(|slot| slot.session.user().as_ref() == user).count() as u64
    }

    /// Ends the session of whoever sent `request`.
    ///
    /// # Errors
    /// `Internal` for a request without a connection.
    pub(crate) fn close<T>(&self, request: &Request<T>) -> Result<()> {
        self.slots.remove(&self.owner(request, caller(request)?)?);
        Ok(())
    }

    /// Closes sessions that nobody has used for too long; those of a connection end with it.
    pub(crate) fn close_idle(&self) {
        self.slots.retain(|owner, slot| {
            matches!(owner, Owner::Connection(..)) || slot.last_used.lock().elapsed() < self.idle_max
        });
    }

    fn owner<T>(&self, request: &Request<T>, caller: &Caller) -> Result<Owner> {
        if let Some(token) = &caller.token {
            return Ok(Owner::Token(token.clone()));
        }
        let connection = request.extensions().get::<ConnectionId>();
        let connection = connection.ok_or_else(|| Error::internal("a request without a connection"))?;
        let of_connection = Owner::Connection(connection.get(), Arc::clone(&caller.user));
        let Some(cookie) = cookie(request.metadata()) else { return Ok(of_connection) };
        let of_cookie = Owner::Cookie(Arc::clone(&caller.user), cookie.to_owned());
        // A client that brings our cookie back wants its session to outlive the connection.
        if cookie == connection.cookie()
            && let Some((_, slot)) = self.slots.remove(&of_connection)
        {
            self.slots.insert(of_cookie.clone(), slot);
        }
        Ok(of_cookie)
    }
}

impl ConnectionEnded for Sessions {
    fn ended(&self, id: u64) {
        self.slots.retain(|owner, _| !matches!(owner, Owner::Connection(of, _) if *of == id));
        self.ended.notify_waiters();
    }
}

/// Who sent `request`, as the guard of the port found out.
///
/// # Errors
/// `Internal` if nobody was asked.
pub(crate) fn caller<T>(request: &Request<T>) -> Result<&Caller> {
    request.extensions().get::<Caller>().ok_or_else(|| Error::internal("a request whose sender was not asked for"))
}

fn cookie(metadata: &MetadataMap) -> Option<&str> {
    let cookies = metadata.get_all("cookie").into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE_NAME).map(|(_, value)| value)
}
