//! Tickets: names of statements that only this process can make, good for one user and for a time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use engine::{Error, ErrorKind, Result};
use prost::Message;
use ring::hmac;

use crate::users::new_key;

/// Bytes of the signature that each ticket ends with.
const SIGNATURE_BYTES: usize = 32;

/// What a ticket says.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub(crate) struct Claims {
    /// The statement.
    #[prost(string, tag = "1")]
    pub(crate) query_id: String,
    /// Whose it is.
    #[prost(string, tag = "2")]
    pub(crate) user: String,
    /// Part of the result, from 0.
    #[prost(uint32, tag = "3")]
    pub(crate) part: u32,
    /// Seconds since 1970 until which rows are given for it.
    #[prost(uint64, tag = "4")]
    pub(crate) expires_at: u64,
}

/// Makes and checks tickets.
#[derive(Debug)]
pub(crate) struct Tickets {
    key: hmac::Key,
    lifetime: Duration,
}

impl Tickets {
    /// Tickets good for `lifetime`.
    ///
    /// # Errors
    /// `Internal` without a source of random numbers.
    pub(crate) fn new(lifetime: Duration) -> Result<Self> {
        Ok(Self { key: new_key()?, lifetime })
    }

    /// When a ticket made now expires, in seconds since 1970.
    pub(crate) fn expiry(&self) -> u64 {
        unix_seconds() + self.lifetime.as_secs()
    }

    /// A ticket for part `part` of a statement's result.
    pub(crate) fn seal(&self, query_id: &str, user: &str, part: u32) -> Bytes {
        let claims = Claims { query_id: query_id.to_owned(), user: user.to_owned(), part, expires_at: self.expiry() };
        let mut bytes = claims.encode_to_vec();
        let signature = hmac::sign(&self.key, &bytes);
        bytes.extend_from_slice(signature.as_ref());
        bytes.into()
    }

    /// What a ticket of `user`'s says; it may have expired, see [`Claims::check_time`].
    ///
    /// # Errors
    /// `Denied` for one that was not made here, or for another user.
    pub(crate) fn open(&self, bytes: &[u8], user: &str) -> Result<Claims> {
        let forged = || {
            let message = "the ticket was not made by this server, or before it was started again: run the statement \
                           again";
            Error::new(ErrorKind::Denied, message)
        };
        let at = bytes.len().checked_sub(SIGNATURE_BYTES).ok_or_else(forged)?;
        let (said, signature) = bytes.split_at(at);
        hmac::verify(&self.key, said, signature).map_err(|_| forged())?;
        let claims = Claims::decode(said).map_err(|_| forged())?;
        if claims.user != user {
            return Err(Error::new(ErrorKind::Denied, "the ticket belongs to another user"));
        }
        Ok(claims)
    }
}

impl Claims {
    /// Whether rows may still be asked for.
    ///
    /// # Errors
    /// `Denied` if it has expired.
    pub(crate) fn check_time(&self) -> Result<()> {
        if unix_seconds() < self.expires_at {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Denied, "the ticket has expired: run the statement again"))
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_good_for_its_user_and_as_it_was_made() {
        let tickets = Tickets::new(Duration::from_secs(60)).unwrap();
        let ticket = tickets.seal("q", "ada", 2);
        let claims = tickets.open(&ticket, "ada").unwrap();
        assert_eq!((claims.query_id.as_str(), claims.part), ("q", 2));
        claims.check_time().unwrap();
        assert!(tickets.open(&ticket, "bob").unwrap_err().message.contains("another user"));
        let other = Tickets::new(Duration::from_secs(60)).unwrap();
        assert!(other.open(&ticket, "ada").unwrap_err().message.contains("not made by this server"));
    }

    #[test]
    fn a_ticket_changed_in_any_byte_is_refused() {
        let tickets = Tickets::new(Duration::from_secs(60)).unwrap();
        let ticket = tickets.seal("q", "ada", 0);
        for at in 0..ticket.len() {
            let mut forged = ticket.to_vec();
            forged[at] ^= 1;
            assert!(tickets.open(&forged, "ada").is_err(), "byte {at}");
            assert!(tickets.open(&ticket[..at], "ada").is_err(), "cut at {at}");
        }
    }

    #[test]
    fn an_expired_ticket_says_so() {
        let tickets = Tickets::new(Duration::ZERO).unwrap();
        let claims = tickets.open(&tickets.seal("q", "ada", 0), "ada").unwrap();
        assert!(claims.check_time().unwrap_err().message.contains("expired"));
    }
}
