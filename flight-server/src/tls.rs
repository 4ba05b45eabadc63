//! TLS of the public ports: certificate and key from files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use engine::{Error, Result};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tonic::transport::{Identity, ServerTlsConfig};

/// How long a client may take to agree on a connection.
const HANDSHAKE_SECONDS_MAX: Duration = Duration::from_secs(10);

/// Where certificate and key lie, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate of the server, then those between it and the root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl TlsFiles {
    /// Reads both.
    ///
    /// # Errors
    /// `Invalid` naming the file that cannot be read.
    pub(crate) fn server_config(&self) -> Result<ServerTlsConfig> {
        let identity = Identity::from_pem(read(&self.certificate)?, read(&self.key)?);
        Ok(ServerTlsConfig::new().identity(identity).timeout(HANDSHAKE_SECONDS_MAX))
    }
}

impl TlsFiles {
    /// The same for a port that is not gRPC's.
    ///
    /// # Errors
    /// `Invalid` naming the file that cannot be read, or for a key that is not the certificate's.
    pub(crate) fn rustls_config(&self) -> Result<Arc<ServerConfig>> {
        let unusable = |path: &Path, error: &dyn std::fmt::Display| {
            Error::invalid(format!("the TLS certificate or key cannot be used: {}: {error}", path.display()))
        };
        let chain = CertificateDer::pem_slice_iter(&read(&self.certificate)?).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| unusable(&self.certificate, &error))?;
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?).map_err(|error| unusable(&self.key, &error))?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
        let config =
            config.map_err(|error| Error::invalid(format!("the TLS certificate or key cannot be used: {error}")));
        Ok(Arc::new(config?))
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| Error::invalid(format!("cannot read {}: {error}", path.display())))
}
