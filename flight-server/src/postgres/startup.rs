//! The first words of a connection: TLS, who it is, or a request to cancel.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use bytes::{BufMut, BytesMut};
use engine::{Error, ErrorKind, Result};
use pgwire::messages::startup::{Authentication as Answer, NegotiateProtocolVersion, Startup};
use pgwire::messages::{DecodeContext, Message, PgWireBackendMessage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::authentication::{Authentication, Caller, Refusal as NotKnown};
use crate::connection::ByteStream;
use crate::postgres::cancel::{Cancels, Key};
use crate::postgres::errors::{Refusal, fatal};

/// Bytes of the first message, and of a password.
const STARTUP_BYTES_MAX: usize = 10_000;

/// Version 3.0, the one that we speak; clients of later ones come down to it.
const PROTOCOL: u32 = 3 << 16;

const CANCEL_CODE: u32 = 80_877_102;
const TLS_CODE: u32 = 80_877_103;
const GSS_CODE: u32 = 80_877_104;

/// A connection, plain or encrypted.
pub(super) type Stream = Box<dyn ByteStream>;

/// A client that may go on.
pub(super) struct Started {
    pub(super) stream: Stream,
    pub(super) caller: Caller,
    /// As it calls itself.
    pub(super) user: String,
    /// What it asked for beside that, settings among it.
    pub(super) parameters: BTreeMap<String, String>,
}

/// Reads the first words; `None` for a connection that is done.
///
/// # Errors
/// A client that goes away, speaks something else, or does not get in: it has been told.
pub(super) async fn start(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    authentication: &Authentication,
    cancels: &Cancels,
) -> io::Result<Option<Started>> {
    stream.set_nodelay(true)?;
    let mut is_private = peer.ip().is_loopback();
    let mut stream: Stream = Box::new(stream);
    let mut tls = tls;
    loop {
        let (code, body) = read_first(&mut stream).await?;
        match code {
            TLS_CODE => match tls.take() {
                Some(acceptor) => {
                    stream.write_all(b"S").await?;
                    stream = Box::new(acceptor.accept(stream).await?);
                    is_private = true;
                }
                None => stream.write_all(b"N").await?,
            },
            GSS_CODE => stream.write_all(b"N").await?,
            CANCEL_CODE => {
                if let Some(key) = read_key(&body) {
                    cancels.cancel(key);
                }
                return Ok(None);
            }
            _ => return admit(stream, code, &body, is_private, authentication).await,
        }
    }
}

/// Tells a client why it cannot stay.
pub(super) async fn refuse(mut stream: Stream, refusal: &Refusal) {
    // It may have gone already.
    let _ = send(&mut stream, PgWireBackendMessage::ErrorResponse(refusal.response())).await;
    let _ = stream.shutdown().await;
}

async fn admit(
    mut stream: Stream,
    code: u32,
    body: &[u8],
    is_private: bool,
    authentication: &Authentication,
) -> io::Result<Option<Started>> {
    let admitted = match read_parameters(code, body) {
        Ok(parameters) => match check(&mut stream, &parameters, is_private, authentication).await? {
            Ok((caller, user)) => Ok((caller, user, parameters)),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    match admitted {
        Ok((caller, user, parameters)) => {
            if code > PROTOCOL {
                let spoken = NegotiateProtocolVersion::new(PROTOCOL as i32, Vec::new());
                send(&mut stream, PgWireBackendMessage::NegotiateProtocolVersion(spoken)).await?;
            }
            send(&mut stream, PgWireBackendMessage::Authentication(Answer::Ok)).await?;
            Ok(Some(Started { stream, caller, user, parameters }))
        }
        Err(error) => {
            refuse(stream, &fatal(&error)).await;
            Err(io::Error::new(io::ErrorKind::PermissionDenied, error.message))
        }
    }
}

/// Who it is, once they have shown that they are, and how they call themselves.
async fn check(
    stream: &mut Stream,
    parameters: &BTreeMap<String, String>,
    is_private: bool,
    authentication: &Authentication,
) -> io::Result<Result<(Caller, String)>> {
    let Some(user) = parameters.get("user").filter(|user| !user.is_empty()) else {
        return Ok(Err(Error::invalid("the client did not say which user it is")));
    };
    if let Ok(caller) = authentication.nobody() {
        return Ok(Ok((caller, user.clone())));
    }
    if !is_private {
        let message = "passwords are taken over TLS only; connect with sslmode=require";
        return Ok(Err(Error::new(ErrorKind::Denied, message)));
    }
    send(stream, PgWireBackendMessage::Authentication(Answer::CleartextPassword)).await?;
    let password = read_password(stream).await?;
    let caller = authentication.password(user, &password).await;
    let refused = |refusal: NotKnown| Error::new(ErrorKind::Denied, refusal.message());
    Ok(caller.map(|caller| (caller, user.clone())).map_err(refused))
}

async fn send(stream: &mut Stream, message: PgWireBackendMessage) -> io::Result<()> {
    let mut bytes = BytesMut::new();
    message.encode(&mut bytes).map_err(io::Error::other)?;
    stream.write_all(&bytes).await?;
    stream.flush().await
}

/// The code of the first message, and what follows it.
async fn read_first(stream: &mut Stream) -> io::Result<(u32, Vec<u8>)> {
    let length = checked_length(stream.read_u32().await?, 8)?;
    let code = stream.read_u32().await?;
    let mut body = vec![0; length - 8];
    stream.read_exact(&mut body).await?;
    Ok((code, body))
}

async fn read_password(stream: &mut Stream) -> io::Result<String> {
    if stream.read_u8().await? != b'p' {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no password was sent"));
    }
    let length = checked_length(stream.read_u32().await?, 4)?;
    let mut body = vec![0; length - 4];
    stream.read_exact(&mut body).await?;
    let text = body.strip_suffix(&[0]).unwrap_or(&body);
    String::from_utf8(text.to_vec()).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the password is no text"))
}

fn checked_length(length: u32, least: usize) -> io::Result<usize> {
    let length = length as usize;
    if (least..=STARTUP_BYTES_MAX).contains(&length) {
        return Ok(length);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "this is no PostgreSQL client"))
}

fn read_key(body: &[u8]) -> Option<Key> {
    let (process, secret) = body.split_first_chunk::<4>()?;
    Some(Key { process: i32::from_be_bytes(*process), secret: i32::from_be_bytes(secret.try_into().ok()?) })
}

fn read_parameters(version: u32, body: &[u8]) -> Result<BTreeMap<String, String>> {
    let mut bytes = BytesMut::with_capacity(body.len() + 4);
    bytes.put_u32(version);
    bytes.put_slice(body);
    let startup = Startup::decode_body(&mut bytes, body.len() + 8, &DecodeContext::default());
    startup
        .map(|startup| startup.parameters)
        .map_err(|_| Error::invalid("only version 3 of the protocol is spoken here"))
}
