//! TLS for the crowd's connections. Any certificate is accepted, because the identity of the server does not matter here.
//!
//! Session tickets have a store of our own: the usual one keeps eight per server, while a crowd that reconnects at once
//! represents many clients with a ticket each.

use mio::net::TcpStream;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, NamedGroup, SignatureScheme,
};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// The maximum number of tickets kept: two per connection of a large crowd.
const TICKETS_MAX: usize = 100_000;

/// Controls whether connections resume earlier TLS sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Resuming {
    /// With a ticket, if there is one
    On,
    /// Never: every handshake is a full one
    Off,
}

/// The TLS configuration shared by all connections.
pub(crate) fn config(resuming: Resuming) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("no TLS: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AcceptAny(provider)))
        .with_no_client_auth();
    config.resumption = match resuming {
        Resuming::On => Resumption::store(Arc::new(Tickets::default())),
        Resuming::Off => Resumption::disabled(),
    };
    Ok(Arc::new(config))
}

/// The TLS session of one connection.
#[derive(Debug)]
pub(crate) struct Tls {
    connection: ClientConnection,
    /// Bytes of the handshake written while reading.
    sent_aside: usize,
}

impl Tls {
    /// Creates a client session. The name is the address, because it is not verified.
    pub(crate) fn new(config: &Arc<ClientConfig>, address: IpAddr) -> Result<Tls, String> {
        let name = ServerName::IpAddress(address.into());
        let mut connection =
            ClientConnection::new(Arc::clone(config), name).map_err(|error| format!("no TLS: {error}"))?;
        connection.set_buffer_limit(None);
        Ok(Tls { connection, sent_aside: 0 })
    }

    /// True if the handshake resumed an earlier session.
    pub(crate) fn resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// True if the handshake is done and nothing waits to be written.
    pub(crate) fn has_sent_all(&self) -> bool {
        !self.connection.wants_write() && !self.connection.is_handshaking()
    }

    /// Encrypts `waiting` and writes until the kernel takes no more. Returns the number of bytes written.
    pub(crate) fn flush(&mut self, stream: &mut TcpStream, waiting: &mut Vec<u8>) -> io::Result<usize> {
        self.connection.writer().write_all(waiting)?;
        waiting.clear();
        self.send(stream)?;
        Ok(std::mem::take(&mut self.sent_aside))
    }

    fn send(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(stream) {
                Ok(bytes) => self.sent_aside += bytes,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads until the buffer is full or the socket is empty. Returns the number of plaintext bytes; 0 at a clean end of the
    /// stream.
    pub(crate) fn read(&mut self, stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        loop {
            let Some(room @ [_, ..]) = buffer.get_mut(filled..) else { return Ok(filled) };
            match self.connection.reader().read(room) {
                Ok(0) => return Ok(filled),
                Ok(bytes) => {
                    filled += bytes;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if filled == 0 => return Err(error),
                Err(_) => return Ok(filled),
            }
            match self.connection.read_tls(stream) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && filled > 0 => return Ok(filled),
                Err(error) => return Err(error),
            }
            self.connection
                .process_new_packets()
                .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            self.send(stream)?;
        }
    }
}

/// Accepts every certificate whose private key the server proves to have.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The tickets of all connections; there is only one server.
#[derive(Debug, Default)]
struct Tickets(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    group: Option<NamedGroup>,
    tickets: Vec<Tls13ClientSessionValue>,
}

impl Tickets {
    fn with<T>(&self, act: impl FnOnce(&mut Kept) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.with(|kept| kept.group = Some(group));
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.with(|kept| kept.group)
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.with(|kept| {
            if kept.tickets.len() < TICKETS_MAX {
                kept.tickets.push(ticket);
            }
        });
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.with(|kept| kept.tickets.pop())
    }
}
