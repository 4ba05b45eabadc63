//! Who a call is from: users prove who they are once, by password, and get a token for the calls after.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use dashmap::DashMap;
use engine::{Error, ErrorKind, Result};
use uuid::Uuid;

use crate::users::Users;

/// The user of calls that need not say who they are.
const ANONYMOUS: &str = "anonymous";
/// The user of the process's own connections.
const EMBEDDED: &str = "local";

/// Go's clients leave the padding of base64 away, others do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A user who is who they say.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) user: Arc<str>,
    /// By which the session is known, if the call brought one.
    pub(crate) token: Option<String>,
}

/// Why a call is refused, for its user.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Nobody by this name and password.
    Unknown,
    /// A token that was never given, or has expired.
    Expired,
    /// Nothing was said.
    Missing,
    /// An `authorization` header that is neither Basic nor Bearer.
    Malformed,
}

impl Refusal {
    pub(crate) fn message(&self) -> &'static str {
        match self {
            Self::Unknown => "wrong user or password",
            Self::Expired => "the token is unknown or has expired: connect again",
            Self::Missing => "this server asks for a user and a password",
            Self::Malformed => "the authorization header is malformed: send Basic or Bearer",
        }
    }
}

#[derive(Debug)]
struct Token {
    user: Arc<str>,
    last_used: Instant,
}

/// Users and the tokens they hold.
#[derive(Debug)]
pub(crate) struct Authentication {
    users: Users,
    /// Whether calls need not say who they are although there are users.
    anonymous: bool,
    tokens: DashMap<String, Token>,
    tokens_max: usize,
    idle_max: Duration,
}

impl Authentication {
    /// With no users, everybody is let in.
    pub(crate) fn new(users: Users, anonymous: bool, tokens_max: usize, idle_max: Duration) -> Self {
        Self { users, anonymous, tokens: DashMap::new(), tokens_max, idle_max }
    }

    /// Whether a call may come without saying who it is from.
    pub(crate) fn lets_anybody_in(&self) -> bool {
        self.anonymous || self.users.is_empty()
    }

    /// Who sent this `authorization` header, or none.
    pub(crate) async fn caller(&self, authorization: Option<&str>) -> Result<Caller, Refusal> {
        let Some(value) = authorization else { return self.nobody() };
        let (scheme, rest) = value.split_once(' ').ok_or(Refusal::Malformed)?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.bearer(rest.trim());
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(Refusal::Malformed);
        }
        let decoded = BASE64.decode(rest.trim()).map_err(|_| Refusal::Malformed)?;
        let text = String::from_utf8(decoded).map_err(|_| Refusal::Malformed)?;
        let (name, password) = text.split_once(':').ok_or(Refusal::Malformed)?;
        self.password(name, password).await
    }

    /// Who has this name and password.
    pub(crate) async fn password(&self, name: &str, password: &str) -> Result<Caller, Refusal> {
        if self.users.is_empty() {
            return self.nobody();
        }
        if !self.users.verify(name, password).await {
            return Err(Refusal::Unknown);
        }
        Ok(Caller { user: name.into(), token: None })
    }

    /// A call that says nothing.
    pub(crate) fn nobody(&self) -> Result<Caller, Refusal> {
        if self.lets_anybody_in() { Ok(Caller { user: ANONYMOUS.into(), token: None }) } else { Err(Refusal::Missing) }
    }

    fn bearer(&self, token: &str) -> Result<Caller, Refusal> {
        if let Some(mut known) = self.tokens.get_mut(token)
            && known.last_used.elapsed() < self.idle_max
        {
            known.last_used = Instant::now();
            return Ok(Caller { user: Arc::clone(&known.user), token: Some(token.to_owned()) });
        }
        // Where nobody is asked, a token is only the name of a session.
        if self.users.is_empty() {
            return Ok(Caller { token: Some(token.to_owned()), ..self.nobody()? });
        }
        Err(Refusal::Expired)
    }

    /// A token for the calls to come.
    ///
    /// # Errors
    /// `Exhausted` when too many are out.
    pub(crate) fn token(&self, caller: &Caller) -> Result<String> {
        if let Some(token) = &caller.token {
            return Ok(token.clone());
        }
        if self.tokens.len() >= self.tokens_max {
            self.forget_idle();
        }
        if self.tokens.len() >= self.tokens_max {
            let message = format!("{} clients are connected, the most allowed; close some, or wait", self.tokens_max);
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        let token = Uuid::new_v4().to_string();
        self.tokens.insert(token.clone(), Token { user: Arc::clone(&caller.user), last_used: Instant::now() });
        Ok(token)
    }

    /// Takes a token back.
    pub(crate) fn forget(&self, token: &str) {
        self.tokens.remove(token);
    }

    /// Takes back tokens that nobody has used for too long.
    pub(crate) fn forget_idle(&self) {
        self.tokens.retain(|_, token| token.last_used.elapsed() < self.idle_max);
    }
}

/// Who the process itself is.
pub(crate) fn embedded() -> Caller {
    Caller { user: EMBEDDED.into(), token: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::users::hash_password;

    fn with_users(idle_max: Duration) -> Authentication {
        let users = Users::new([("ada".to_owned(), hash_password("pass:word").unwrap())].into()).unwrap();
        Authentication::new(users, false, 10, idle_max)
    }

    #[tokio::test]
    async fn basic_is_taken_with_and_without_padding() {
        let authentication = with_users(Duration::from_secs(60));
        for value in ["Basic YWRhOnBhc3M6d29yZA==", "basic YWRhOnBhc3M6d29yZA"] {
            assert_eq!(&*authentication.caller(Some(value)).await.unwrap().user, "ada");
        }
        let refused = authentication.caller(Some("Basic YWRhOndyb25n")).await.unwrap_err();
        assert_eq!(refused, Refusal::Unknown);
        for value in ["Basic !!!", "Basic YWRh", "Digest x", "nothing"] {
            assert_eq!(authentication.caller(Some(value)).await.unwrap_err(), Refusal::Malformed, "{value}");
        }
        assert_eq!(authentication.caller(None).await.unwrap_err(), Refusal::Missing);
    }

    #[tokio::test]
    async fn a_token_is_good_until_it_is_taken_back_or_idle() {
        let authentication = with_users(Duration::from_secs(60));
        let caller = authentication.password("ada", "pass:word").await.unwrap();
        let token = authentication.token(&caller).unwrap();
        let value = format!("Bearer {token}");
        let again = authentication.caller(Some(&value)).await.unwrap();
        assert_eq!(authentication.token(&again).unwrap(), token);
        authentication.forget(&token);
        assert_eq!(authentication.caller(Some(&value)).await.unwrap_err(), Refusal::Expired);

        let forgetful = with_users(Duration::ZERO);
        let value = format!("Bearer {}", forgetful.token(&caller).unwrap());
        assert_eq!(forgetful.caller(Some(&value)).await.unwrap_err(), Refusal::Expired);
    }
}
