//! Who the client is: sent with every call.

use arrow_flight::flight_service_client::FlightServiceClient;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::{Error, ErrorKind};

/// A Flight client whose calls say who they are from.
pub(crate) type Flight = FlightServiceClient<InterceptedService<Channel, Authorization>>;

/// A user and the proof of being them.
#[derive(Clone)]
pub struct Credentials {
    /// Name.
    pub user: String,
    /// Password; never shown.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// The `authorization` header of each call, if there is one. It says the same every time, so that a shell left alone for
/// an hour can go on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Authorization(Option<MetadataValue<Ascii>>);

impl Authorization {
    pub(crate) fn of(credentials: Option<&Credentials>) -> Result<Self, Error> {
        let Some(Credentials { user, password }) = credentials else { return Ok(Self::default()) };
        if user.contains(':') {
            return Err(Error::new(ErrorKind::Invalid, format!("a user's name has no colon: '{user}'")));
        }
        let value = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
        let mut value = MetadataValue::try_from(value)
            .map_err(|_| Error::new(ErrorKind::Invalid, "the user or the password cannot be sent"))?;
        value.set_sensitive(true);
        Ok(Self(Some(value)))
    }

    pub(crate) fn is_there(&self) -> bool {
        self.0.is_some()
    }
}

impl Interceptor for Authorization {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}
