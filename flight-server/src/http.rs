//! The HTTP port: is the coordinator alive, is it ready, which version.

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Serves until `stop` fires.
///
/// # Errors
/// When the listener fails.
pub(crate) async fn serve(listener: TcpListener, stop: CancellationToken) -> std::io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(|| async { "ready\n" }))
        .route("/version", get(|| async { concat!(env!("CARGO_PKG_VERSION"), "\n") }));
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}
