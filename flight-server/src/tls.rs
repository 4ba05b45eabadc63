//! TLS of the public ports: certificate and key from files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::{Error, Result};
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

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| Error::invalid(format!("cannot read {}: {error}", path.display())))
}
