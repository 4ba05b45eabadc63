//! Users and their passwords, as the settings give them: names, and hashes that only a password can prove.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use dashmap::DashMap;
use engine::{Error, Result};
use ring::hmac;
use ring::rand::SystemRandom;
use tokio::sync::Semaphore;

/// Passwords that are checked at once: each check takes 19 MiB and tens of milliseconds on purpose.
const CHECKS_AT_ONCE: usize = 2;
/// How long a password that was right is remembered, so that a client may send it with every call.
const REMEMBERED_SECONDS: Duration = Duration::from_secs(300);
/// Most passwords that are remembered.
const REMEMBERED_MAX: usize = 10_000;
/// Bytes of a password; longer ones are wrong.
const PASSWORD_BYTES_MAX: usize = 1 << 10;

/// Who may ask.
pub(crate) struct Users {
    hashes: BTreeMap<String, String>,
    checks: Semaphore,
    /// Keyed digests of names and passwords that were right.
    remembered: DashMap<Vec<u8>, Instant>,
    key: hmac::Key,
    /// A hash that no password fits, so that an unknown name takes as long as a known one.
    nobody: String,
}

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Users").field("names", &self.hashes.keys()).finish_non_exhaustive()
    }
}

impl Users {
    /// Names with the argon2 hashes of their passwords; see [`hash_password`].
    ///
    /// # Errors
    /// `Invalid` for a hash that is none, naming the user and not the hash.
    pub(crate) fn new(hashes: BTreeMap<String, String>) -> Result<Self> {
        for (name, hash) in &hashes {
            let is_argon2 = hash.starts_with("$argon2") && PasswordHash::new(hash).is_ok();
            if name.is_empty() || !is_argon2 {
                return Err(Error::invalid(format!(
                    "the password of user \"{name}\" in the settings is not an argon2 hash: make one with grappe \
                     hash-password"
                )));
            }
        }
        let nobody = if hashes.is_empty() { String::new() } else { hash_password("")? };
        Ok(Self { hashes, checks: Semaphore::new(CHECKS_AT_ONCE), remembered: DashMap::new(), key: new_key()?, nobody })
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Whether `password` is that of `name`.
    pub(crate) async fn verify(&self, name: &str, password: &str) -> bool {
        if password.len() > PASSWORD_BYTES_MAX {
            return false;
        }
        let digest = hmac::sign(&self.key, format!("{}:{name}{password}", name.len()).as_bytes()).as_ref().to_vec();
        if self.remembered.get(&digest).is_some_and(|since| since.elapsed() < REMEMBERED_SECONDS) {
            return true;
        }
        let Ok(_check) = self.checks.acquire().await else { return false };
        let known = self.hashes.get(name);
        let (hash, password) = (known.unwrap_or(&self.nobody).clone(), password.to_owned());
        let fits = tokio::task::spawn_blocking(move || fits(&hash, &password)).await.unwrap_or(false);
        if fits && known.is_some() {
            if self.remembered.len() >= REMEMBERED_MAX {
                self.remembered.clear();
            }
            self.remembered.insert(digest, Instant::now());
            return true;
        }
        false
    }
}

fn fits(hash: &str, password: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

/// The argon2id hash of a password, with a salt of its own, as the settings take it.
///
/// # Errors
/// `Invalid` for a password that is too long; `Internal` without a source of random numbers.
pub fn hash_password(password: &str) -> Result<String> {
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(Error::invalid(format!("a password has at most {PASSWORD_BYTES_MAX} bytes")));
    }
    let hash = Argon2::default().hash_password(password.as_bytes());
    Ok(hash.map_err(|error| Error::internal(format!("the password cannot be hashed: {error}")))?.to_string())
}

/// A random key for signing what only this process must be able to make.
///
/// # Errors
/// `Internal` without a source of random numbers.
pub(crate) fn new_key() -> Result<hmac::Key> {
    hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
        .map_err(|_| Error::internal("the system gives no random numbers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_the_one_of_its_user() {
        let hashes = [("ada", "one"), ("bob", "two")].map(|(name, word)| (name.into(), hash_password(word).unwrap()));
        let users = Users::new(hashes.into()).unwrap();
        for _remembered in 0..2 {
            assert!(users.verify("ada", "one").await);
            assert!(!users.verify("ada", "two").await);
            assert!(!users.verify("eve", "one").await);
            assert!(!users.verify("eve", "").await);
            // The border between a name and a password is part of what is remembered.
            assert!(!users.verify("adao", "ne").await);
        }
    }

    #[test]
    fn a_password_in_the_clear_is_refused_without_showing_it() {
        let error = Users::new([("ada".to_owned(), "hush".to_owned())].into()).unwrap_err();
        assert!(error.message.contains("ada") && !error.message.contains("hush"), "{}", error.message);
    }
}
