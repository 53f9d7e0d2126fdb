//! A byte stream to a gateway: plain, or TLS if the gateway uses it.

use super::wait::{is_interrupted, left, named, resumed};
use rcgen::{CertificateParams, KeyPair};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

/// The TLS configuration of a client for each gateway with TLS, by address, so that a test reaches an address the same
/// way with or without TLS.
static TRUSTED: LazyLock<Mutex<HashMap<SocketAddr, Arc<ClientConfig>>>> = LazyLock::new(Mutex::default);

pub fn trust(address: SocketAddr, config: Option<Arc<ClientConfig>>) {
    let mut trusted = TRUSTED.lock().expect("no holder panics");
    match config {
        Some(config) => trusted.insert(address, config),
        // The address of an earlier gateway may be reused.
        None => trusted.remove(&address),
    };
}

/// Forgets the configuration of a gateway that ends, unless its successor at the address has another.
pub fn forget(address: SocketAddr, config: &Arc<ClientConfig>) {
    let mut trusted = TRUSTED.lock().expect("no holder panics");
    if trusted.get(&address).is_some_and(|own| Arc::ptr_eq(own, config)) {
        trusted.remove(&address);
    }
}

pub fn trusted(address: SocketAddr) -> Option<Arc<ClientConfig>> {
    TRUSTED.lock().expect("no holder panics").get(&address).cloned()
}

/// A self-signed certificate for localhost, and the configuration of a client that trusts it.
#[derive(Clone)]
pub struct Certificate {
    pub pem: String,
    pub key: String,
    der: CertificateDer<'static>,
}

impl Certificate {
    pub fn new() -> Certificate {
        Certificate::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let key = KeyPair::generate().expect("a key");
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("names");
        change(&mut params);
        let certificate = params.self_signed(&key).expect("signed by itself");
        Certificate { pem: certificate.pem(), key: key.serialize_pem(), der: certificate.der().clone() }
    }

    /// Writes `tls.crt` and `tls.key`.
    pub fn write(&self, folder: &Path) {
        std::fs::write(folder.join("tls.crt"), &self.pem).expect("written");
        std::fs::write(folder.join("tls.key"), &self.key).expect("written");
    }

    /// The configuration of a client that trusts only this certificate and resumes sessions.
    pub fn client(&self) -> ClientConfig {
        self.client_of(&[&TLS12, &TLS13])
    }

    /// The same, limited to these TLS versions.
    pub fn client_of(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("a certificate");
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(64);
        config
    }
}

/// A plain or TLS stream over one socket.
pub enum Line {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Line {
    /// Wraps an open socket, in TLS if the gateway at its peer address uses it.
    pub fn over(socket: TcpStream) -> Line {
        match socket.peer_addr().ok().and_then(trusted) {
            Some(config) => Line::tls(socket, config, "localhost"),
            None => Line::Plain(socket),
        }
    }

    pub fn tls(socket: TcpStream, config: Arc<ClientConfig>, name: &'static str) -> Line {
        let name = ServerName::try_from(name).expect("a name");
        let connection = ClientConnection::new(config, name).expect("a client");
        Line::Tls(Box::new(StreamOwned::new(connection, socket)))
    }

    pub fn tcp(&self) -> &TcpStream {
        match self {
            Line::Plain(socket) => socket,
            Line::Tls(stream) => &stream.sock,
        }
    }

    /// The TLS connection; panics on a plain one.
    pub fn connection(&self) -> &ClientConnection {
        match self {
            Line::Plain(_) => panic!("a plain connection"),
            Line::Tls(stream) => &stream.conn,
        }
    }

    pub fn connection_mut(&mut self) -> &mut ClientConnection {
        match self {
            Line::Plain(_) => panic!("a plain connection"),
            Line::Tls(stream) => &mut stream.conn,
        }
    }

    /// Completes the handshake.
    pub fn handshake(&mut self) -> io::Result<()> {
        match self {
            Line::Plain(_) => Ok(()),
            Line::Tls(stream) => {
                while stream.conn.is_handshaking() {
                    resumed(|| stream.conn.complete_io(&mut stream.sock))?;
                }
                Ok(())
            }
        }
    }

    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.tcp().set_read_timeout(timeout)
    }

    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.tcp().set_write_timeout(timeout)
    }
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let begun = Instant::now();
        let mut once = |line: &mut Line| match line {
            Line::Plain(socket) => socket.read(buffer),
            Line::Tls(stream) => stream.read(buffer),
        };
        let mut read = once(self);
        if is_interrupted(&read) {
            let timeout = self.tcp().read_timeout()?;
            while is_interrupted(&read) {
                self.set_read_timeout(timeout.map(|whole| left(begun + whole)))?;
                read = once(self);
            }
            self.set_read_timeout(timeout)?;
        }
        read.map_err(named)
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        resumed(|| match self {
            Line::Plain(socket) => socket.write(bytes),
            Line::Tls(stream) => stream.write(bytes),
        })
        .map_err(named)
    }

    fn flush(&mut self) -> io::Result<()> {
        resumed(|| match self {
            Line::Plain(socket) => socket.flush(),
            Line::Tls(stream) => stream.flush(),
        })
    }
}
