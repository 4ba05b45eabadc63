//! Threads that compute: whoever serves clients or other processes must not wait for them.

use std::future::Future;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use crate::{Error, ErrorKind, Result};

/// Stack of a thread: plans are trees, and decoding them is recursive.
const STACK_BYTES: usize = 32 << 20;

/// A runtime that goes, with all that runs on it, when it is dropped; also from within another runtime.
#[derive(Debug)]
pub struct Threads {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Threads {
    /// Starts `count` threads.
    ///
    /// # Errors
    /// `Exhausted` if the system gives none.
    pub fn start(name: &str, count: usize) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(count.max(1))
            .thread_name(name)
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()
            .map_err(|error| Error::new(ErrorKind::Exhausted, format!("cannot start {count} threads: {error}")))?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// For those who start work here.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Starts `work` here.
    pub fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.handle.spawn(work)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
