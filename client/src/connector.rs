//! Bytes to a coordinator: to the first of several addresses that answers, and told when they stop.

use std::io::{ErrorKind, IoSlice, Result};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};

/// How long one of several addresses may take to answer before the next is tried.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);

/// The connections of a client, one after another.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    ended: AtomicU64,
    /// The newest one.
    present: Mutex<Option<std::net::TcpStream>>,
}

impl Connections {
    /// How many are no more, whether or not that was noticed yet: a program that waits for its user looks at nothing.
    pub(crate) fn lost(&self) -> u64 {
        let present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        let is_dead = present.as_ref().is_some_and(|stream| match stream.peek(&mut [0]) {
            Ok(bytes) => bytes == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        });
        self.ended.load(Ordering::Acquire) + u64::from(is_dead)
    }

    fn counted(self: &Arc<Self>, stream: TcpStream) -> Result<Counted> {
        let same = stream.as_fd().try_clone_to_owned()?;
        *self.present.lock().unwrap_or_else(PoisonError::into_inner) = Some(same.into());
        Ok(Counted { stream, connections: Arc::clone(self) })
    }

    fn ended(&self) {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        *present = None;
        self.ended.fetch_add(1, Ordering::Release);
    }
}

/// Connects to one of `addresses`, now and whenever the connection is made again.
pub(crate) async fn connected(
    endpoint: &Endpoint,
    addresses: Vec<String>,
    connections: Arc<Connections>,
) -> std::result::Result<Channel, tonic::transport::Error> {
    let connector = tower::service_fn(move |_| {
        let (addresses, connections) = (addresses.clone(), Arc::clone(&connections));
        async move { connections.counted(first_that_answers(&addresses).await?).map(TokioIo::new) }
    });
    endpoint.connect_with_connector(connector).await
}

async fn first_that_answers(addresses: &[String]) -> Result<TcpStream> {
    let mut failed = std::io::Error::other("no address is given");
    for address in addresses {
        let connecting = TcpStream::connect(address);
        let connected = match addresses.len() {
            1 => connecting.await,
            _ => timeout(ANSWER_TIME_MAX, connecting).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into())),
        };
        match connected {
            Ok(stream) => return stream.set_nodelay(true).map(|()| stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// A connection that is counted when it ends.
struct Counted {
    stream: TcpStream,
    connections: Arc<Connections>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.connections.ended();
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
