//! Requests to cancel, which come on a connection of their own with the key of another.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use dashmap::DashMap;
use parking_lot::Mutex;
use uuid::Uuid;

use crate::query::Query;

/// The statement that a connection runs now.
#[derive(Debug, Default)]
pub(super) struct Current(Mutex<Option<Arc<Query>>>);

impl Current {
    pub(super) fn set(&self, query: &Arc<Query>) {
        *self.0.lock() = Some(Arc::clone(query));
    }

    pub(super) fn clear(&self) {
        *self.0.lock() = None;
    }
}

/// What a client must know to cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) process: i32,
    pub(super) secret: i32,
}

/// All connections by their keys.
#[derive(Debug, Default)]
pub(super) struct Cancels {
    by_key: DashMap<Key, Arc<Current>>,
    last_process: AtomicI32,
}

/// Forgets the key with the connection.
#[derive(Debug)]
pub(super) struct Registered {
    cancels: Arc<Cancels>,
    pub(super) key: Key,
    pub(super) current: Arc<Current>,
}

impl Cancels {
    /// Gives a connection its key.
    pub(super) fn register(self: &Arc<Self>) -> Registered {
        let process = self.last_process.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        // Random bits that nobody can guess.
        let [a, b, c, d, ..] = Uuid::new_v4().into_bytes();
        let key = Key { process, secret: i32::from_be_bytes([a, b, c, d]) };
        let current = Arc::<Current>::default();
        self.by_key.insert(key, Arc::clone(&current));
        Registered { cancels: Arc::clone(self), key, current }
    }

    /// Stops what the connection with this key runs, if there is one and it runs something: the protocol has no answer.
    pub(super) fn cancel(&self, key: Key) {
        let current = self.by_key.get(&key).and_then(|current| current.0.lock().clone());
        if let Some(query) = current {
            query.cancel();
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.cancels.by_key.remove(&self.key);
    }
}
