//! Bytes to messages and back, once a connection has said who it is.

use bytes::BytesMut;
use pgwire::error::PgWireError;
use pgwire::messages::{DecodeContext, PgWireBackendMessage, PgWireFrontendMessage, ProtocolVersion};
use tokio_util::codec::{Decoder, Encoder};

/// Bytes of the type and the length of a message.
const HEADER_BYTES: usize = 5;

/// Bytes that are gathered before they are sent.
pub(super) const WRITE_BUFFER_BYTES: usize = 64 << 10;

/// Cuts messages out of the stream by their length, so that a malformed one cannot reach into the next.
#[derive(Debug)]
pub(super) struct Codec {
    context: DecodeContext,
    message_bytes_max: usize,
}

impl Codec {
    pub(super) fn new(message_bytes_max: usize) -> Self {
        let mut context = DecodeContext::new(ProtocolVersion::PROTOCOL3_0);
        context.awaiting_frontend_ssl = false;
        context.awaiting_frontend_startup = false;
        Self { context, message_bytes_max }
    }
}

impl Decoder for Codec {
    type Item = PgWireFrontendMessage;
    type Error = PgWireError;

    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Self::Item>, Self::Error> {
        let Some(&[_, a, b, c, d]) = bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        // The length counts itself, but not the type.
        let length = u32::from_be_bytes([a, b, c, d]) as usize + 1;
        if length < HEADER_BYTES || length > self.message_bytes_max {
            return Err(PgWireError::MessageTooLarge(self.message_bytes_max, length));
        }
        if bytes.len() < length {
            bytes.reserve(length - bytes.len());
            return Ok(None);
        }
        PgWireFrontendMessage::decode(&mut bytes.split_to(length), &self.context)
    }
}

impl Encoder<PgWireBackendMessage> for Codec {
    type Error = std::io::Error;

    fn encode(&mut self, message: PgWireBackendMessage, bytes: &mut BytesMut) -> Result<(), Self::Error> {
        message.encode(bytes).map_err(std::io::Error::other)
    }
}
