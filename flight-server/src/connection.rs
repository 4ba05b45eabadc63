//! Connections of the Flight SQL port: TCP, or a byte stream inside the process, each with an identity that a session
//! can belong to.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;
use uuid::Uuid;

/// Who is told that a connection has ended.
pub(crate) trait ConnectionEnded: Send + Sync {
    /// The connection with this id is gone.
    fn ended(&self, id: u64);
}

/// Identity of a connection, in the extensions of each of its requests.
#[derive(Clone)]
pub(crate) struct ConnectionId(Arc<Identity>);

struct Identity {
    id: u64,
    /// What a client that keeps cookies may know its session by, once the connection is gone.
    cookie: Option<String>,
    observer: Arc<dyn ConnectionEnded>,
}

impl ConnectionId {
    pub(crate) fn get(&self) -> u64 {
        self.0.id
    }

    /// Whether it does not leave the process.
    pub(crate) fn is_embedded(&self) -> bool {
        self.0.cookie.is_none()
    }

    /// Unguessable; empty for a connection inside the process.
    pub(crate) fn cookie(&self) -> &str {
        self.0.cookie.as_deref().unwrap_or_default()
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        self.observer.ended(self.id);
    }
}

/// Bytes both ways.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// An id that no other connection of this process has, on whatever port.
pub(crate) fn next_id() -> u64 {
    static NEXT_ID: AtomicU64 = AtomicU64::new(1);
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

/// A connection of either kind.
pub(crate) struct Connection {
    stream: Box<dyn ByteStream>,
    id: ConnectionId,
}

impl Connection {
    /// A connection of somebody else's.
    pub(crate) fn of_client<S>(stream: S, observer: Arc<dyn ConnectionEnded>) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Self::new(stream, Some(Uuid::new_v4().to_string()), observer)
    }

    /// A connection of this process's.
    pub(crate) fn embedded<S>(stream: S, observer: Arc<dyn ConnectionEnded>) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Self::new(stream, None, observer)
    }

    fn new<S>(stream: S, cookie: Option<String>, observer: Arc<dyn ConnectionEnded>) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let id = next_id();
        Self { stream: Box::new(stream), id: ConnectionId(Arc::new(Identity { id, cookie, observer })) }
    }
}

impl Connected for Connection {
    type ConnectInfo = ConnectionId;

    fn connect_info(&self) -> ConnectionId {
        self.id.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
