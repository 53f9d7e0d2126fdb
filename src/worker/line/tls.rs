//! Whose certificates are believed.

use super::trouble::Trouble;
use crate::health::finding::Fault;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::path::PathBuf;
use std::sync::Arc;

/// The system's certificate authorities, or those of one file. They are read at the first use and again after an error, so that
/// a file which appears later is seen.
#[derive(Debug)]
pub(in crate::worker) struct Trust {
    file: Option<PathBuf>,
    config: std::sync::OnceLock<Arc<ClientConfig>>,
}

impl Trust {
    pub(in crate::worker) fn new(file: Option<PathBuf>) -> Trust {
        Trust { file, config: std::sync::OnceLock::new() }
    }

    /// For a client that shows no certificate of its own.
    pub(in crate::worker) fn config(&self) -> Result<Arc<ClientConfig>, Trouble> {
        if let Some(config) = self.config.get() {
            return Ok(config.clone());
        }
        let made = Arc::new(self.make()?);
        Ok(self.config.get_or_init(|| made).clone())
    }

    fn make(&self) -> Result<ClientConfig, Trouble> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.authorities()?);
        if roots.is_empty() {
            return Err(Trouble::new(
                Fault::Tls,
                "no certificate authority is known: install ca-certificates or set ca_file",
            ));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Trouble::new(Fault::Tls, error.to_string()))?;
        Ok(builder.with_root_certificates(roots).with_no_client_auth())
    }

    fn authorities(&self) -> Result<Vec<CertificateDer<'static>>, Trouble> {
        let Some(file) = &self.file else {
            return Ok(rustls_native_certs::load_native_certs().certs);
        };
        let read = CertificateDer::pem_file_iter(file).and_then(|found| found.collect::<Result<Vec<_>, _>>());
        read.map_err(|error| {
            Trouble::new(Fault::Tls, format!("ca_file {} cannot be read: {error}", file.display()))
        })
    }
}
