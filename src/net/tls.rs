//! The certificates that are trusted.

use super::trouble::Trouble;
use crate::health::finding::Fault;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::PathBuf;
use std::sync::Arc;

/// The checks of a server's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Check {
    /// Its issuer, and that it is valid for the server's name in our configuration.
    #[default]
    Name,
    /// Its issuer.
    Chain,
    /// Only that the server has its key.
    Nothing,
}

/// The system's certificate authorities, or those of one file. They are read at the first use and again after an error, so that
/// a file that appears later is used.
#[derive(Debug)]
pub(crate) struct TlsTrust {
    file: Option<PathBuf>,
    /// Names the setting that holds the file, for errors.
    setting: &'static str,
    check: Check,
    config: std::sync::OnceLock<Arc<ClientConfig>>,
}

impl TlsTrust {
    /// For everything except PostgreSQL.
    pub(crate) fn new(file: Option<PathBuf>) -> TlsTrust {
        TlsTrust { file, setting: "ca_file", check: Check::Name, config: std::sync::OnceLock::new() }
    }

    /// For a PostgreSQL server.
    pub(crate) fn of_postgres(file: Option<PathBuf>, check: Check) -> TlsTrust {
        TlsTrust { file, setting: "sslrootcert", check, config: std::sync::OnceLock::new() }
    }

    /// For the listener of this process: its certificate is for another name.
    pub(crate) fn of_own_listener() -> TlsTrust {
        TlsTrust { file: None, setting: "", check: Check::Nothing, config: std::sync::OnceLock::new() }
    }

    /// Reads the file of authorities, if there is one, as the first connection does.
    pub(crate) fn check_file(&self) -> Result<(), Trouble> {
        if self.file.is_some() { self.roots().map(drop) } else { Ok(()) }
    }

    /// For a client without a certificate of its own.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, Trouble> {
        if let Some(config) = self.config.get() {
            return Ok(config.clone());
        }
        let made = Arc::new(self.make()?);
        Ok(self.config.get_or_init(|| made).clone())
    }

    fn make(&self) -> Result<ClientConfig, Trouble> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Trouble::new(Fault::Tls, error.to_string()))?;
        let lenient = |roots| Arc::new(Lenient::new(roots, &provider));
        let builder = match self.check {
            Check::Name => builder.with_root_certificates(self.roots()?),
            Check::Chain => {
                builder.dangerous().with_custom_certificate_verifier(lenient(Some(self.roots()?)))
            }
            Check::Nothing => builder.dangerous().with_custom_certificate_verifier(lenient(None)),
        };
        Ok(builder.with_no_client_auth())
    }

    fn roots(&self) -> Result<RootCertStore, Trouble> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.authorities()?);
        if !roots.is_empty() {
            return Ok(roots);
        }
        let text = match &self.file {
            Some(file) => format!("{} {} has no certificate in it", self.setting, file.display()),
            None => {
                format!("no certificate authority is known: install ca-certificates or set {}", self.setting)
            }
        };
        Err(Trouble::new(Fault::Tls, text))
    }

    fn authorities(&self) -> Result<Vec<CertificateDer<'static>>, Trouble> {
        let Some(file) = &self.file else {
            return Ok(rustls_native_certs::load_native_certs().certs);
        };
        let read = CertificateDer::pem_file_iter(file).and_then(|found| found.collect::<Result<Vec<_>, _>>());
        read.map_err(|error| {
            let text = format!("{} {} cannot be read: {error}", self.setting, file.display());
            Trouble::new(Fault::Tls, text)
        })
    }
}

/// Checks less than a browser does, because the operator asked for that.
///
/// The handshake's signature is always checked: without that, anyone could present the certificate of the real server, and the
/// channel binding of a password exchange to that certificate (RFC 5929) would be worthless.
#[derive(Debug)]
struct Lenient {
    /// `None`: any issuer.
    roots: Option<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Lenient {
    fn new(roots: Option<RootCertStore>, provider: &CryptoProvider) -> Lenient {
        Lenient { roots, algorithms: provider.signature_verification_algorithms }
    }
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            let parsed = ParsedCertificate::try_from(certificate)?;
            let algorithms = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, algorithms)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
