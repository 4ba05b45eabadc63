//! Asks every call who it is from before anything reads it, and gives cookies to clients that keep them.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::header::{AUTHORIZATION, COOKIE, HeaderValue, SET_COOKIE};
use http::{HeaderMap, Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use crate::authentication::{Authentication, Caller, Refusal, embedded};
use crate::connection::ConnectionId;
use crate::sessions::COOKIE_NAME;

/// The one call that may come from a stranger: it is how they stop being one.
const HANDSHAKE: &str = "/arrow.flight.protocol.FlightService/Handshake";

/// A service whose calls say who they are from: as a [`Caller`] in their extensions.
#[derive(Debug, Clone)]
pub(crate) struct Guarded<S> {
    inner: S,
    authentication: Arc<Authentication>,
}

impl<S> Guarded<S> {
    pub(crate) fn new(inner: S, authentication: Arc<Authentication>) -> Self {
        Self { inner, authentication }
    }
}

impl<S: NamedService> NamedService for Guarded<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The one that is ready goes with the call, its copy stays.
        let copy = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, copy);
        let authentication = Arc::clone(&self.authentication);
        Box::pin(async move {
            let connection = request.extensions().get::<ConnectionId>().cloned();
            match caller(&authentication, connection.as_ref(), request.headers()).await {
                Ok(caller) => _ = request.extensions_mut().insert(caller),
                Err(Refusal::Missing) if request.uri().path() == HANDSHAKE => {}
                Err(refusal) => return Ok(Status::unauthenticated(refusal.message()).into_http()),
            }
            let wants_cookie = [AUTHORIZATION, COOKIE].iter().all(|name| !request.headers().contains_key(name));
            let mut response = inner.call(request).await?;
            if let Some(connection) = connection.filter(|connection| wants_cookie && !connection.is_embedded())
                && let Ok(cookie) = HeaderValue::try_from(format!("{COOKIE_NAME}={}", connection.cookie()))
            {
                response.headers_mut().append(SET_COOKIE, cookie);
            }
            Ok(response)
        })
    }
}

async fn caller(
    authentication: &Authentication,
    connection: Option<&ConnectionId>,
    headers: &HeaderMap,
) -> Result<Caller, Refusal> {
    if connection.is_some_and(ConnectionId::is_embedded) {
        return Ok(embedded());
    }
    let said = headers.get(AUTHORIZATION).map(HeaderValue::to_str).transpose();
    authentication.caller(said.map_err(|_| Refusal::Malformed)?).await
}
