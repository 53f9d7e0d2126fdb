//! The client of the canary: blocking, with a deadline for each wait.

use super::wires::{ListenerWires, ProxyWire, TlsWire};
use crate::auth::canary_pass::CanaryPass;
use crate::health::finding::Fault;
use crate::net::deadline::now;
use crate::net::dial::Dialer;
use crate::net::line::Line;
use crate::net::peer::PeerAddress;
use crate::net::tls::TlsTrust;
use crate::net::trouble::Trouble;
use crate::slo::canary::{
    CONNECTED_WITHIN, CanaryFault, DELIVERED_WITHIN, REPORTED_WITHIN, RoundKind, RoundRecord,
};
use crate::slo::canary_round::{CanaryRound, RoundStep};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use socket2::SockAddr;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tungstenite::protocol::{Role, WebSocket};
use tungstenite::{Error, Message};

/// A PROXY header of version 2 for a connection of the proxy's own: signature, version and command `LOCAL`, no addresses (section 2.2
/// of the specification).
const LOCAL_HEADER: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
/// The name in requests. Every configuration answers to it.
const HOST: &str = "localhost";
/// The longest head of an answer that is read.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// A look waits this much longer than it may take, so that one that is late is known to be.
const GRACE: Duration = Duration::from_millis(500);

/// Opens the canary's connections.
#[derive(Debug)]
pub(super) struct CanaryClient {
    pass: Arc<CanaryPass>,
    /// Names the listener in errors.
    peer: PeerAddress,
    address: SockAddr,
    wires: ListenerWires,
    dialer: Dialer,
}

impl CanaryClient {
    pub(super) fn new(pass: Arc<CanaryPass>, address: SocketAddr, wires: ListenerWires) -> CanaryClient {
        let peer = PeerAddress::Tcp { host: HOST.into(), port: address.port() };
        // The certificate is for another name; whether it is valid is known without a look.
        let trust = TlsTrust::of_own_listener();
        let address = SockAddr::from(address);
        CanaryClient { pass, peer, address, wires, dialer: Dialer::new(None, trust) }
    }

    /// Asks for `/health/ready`, and returns the time until the whole head of a 200 came.
    pub(super) fn probe(&mut self) -> Result<Duration, CanaryFault> {
        let began = now();
        let deadline = began + REPORTED_WITHIN + GRACE;
        let mut line = self.open(deadline)?;
        self.ask(&mut line, "/health/ready", "Connection: close\r\n")?;
        let (status, _) = head(&mut line)?;
        if status == 200 { Ok(now() - began) } else { Err(CanaryFault::Status(status)) }
    }

    /// Runs a round. A certificate that expired at `not_after`, in Unix seconds, fails it, as it fails every client.
    pub(super) fn round(&mut self, kind: RoundKind, not_after: Option<u64>, unix_ms: u64) -> RoundRecord {
        let mut record = RoundRecord { connected: Err(CanaryFault::Broken), delivered: None };
        if not_after.is_some_and(|unix_s| unix_s < unix_ms / 1_000) {
            return record;
        }
        let key = format!("{unix_ms:x}-{:016x}", fastrand::u64(..));
        let (mut round, first) = CanaryRound::begin(&self.pass.channel.clone(), key, kind);
        let began = now();
        let mut published = None;
        let mut link = match self.connect(&first, began) {
            Ok(link) => link,
            Err(fault) => return RoundRecord { connected: Err(fault), delivered: None },
        };
        loop {
            let step = match link.text() {
                Ok(text) => round.take(&text),
                Err(fault) => RoundStep::Failed(fault),
            };
            let sent = match step {
                RoundStep::Wait => Ok(()),
                RoundStep::Subscribe(command) => {
                    record.connected = Ok(now() - began);
                    link.until(now() + DELIVERED_WITHIN);
                    link.send(command)
                }
                RoundStep::Publish(command) => {
                    published = Some(now());
                    link.until(now() + DELIVERED_WITHIN);
                    link.send(command)
                }
                RoundStep::Reconnect(command) => {
                    // It is dropped without a word, as by a network that fails.
                    record.delivered = published.map(|at| Ok(now() - at));
                    let again = self.connect(&command, now());
                    again.map(|other| link = other)
                }
                RoundStep::Done => {
                    if record.delivered.is_none() {
                        record.delivered = published.map(|at| Ok(now() - at));
                    }
                    link.close();
                    return record;
                }
                RoundStep::Failed(fault) => Err(fault),
            };
            if let Err(fault) = sent {
                match record.connected {
                    Err(_) => record.connected = Err(fault),
                    Ok(_) => record.delivered = Some(Err(fault)),
                }
                return record;
            }
        }
    }

    /// Opens a connection, upgrades it, and sends the first command. What follows must come within the time to connect.
    fn connect(&mut self, first: &str, began: Instant) -> Result<CanaryLink, CanaryFault> {
        let deadline = began + CONNECTED_WITHIN + GRACE;
        let mut line = self.open(deadline)?;
        let key = STANDARD.encode(fastrand::u128(..).to_be_bytes());
        let upgrade = format!(
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\
             Sec-WebSocket-Protocol: seawall.v1\r\n"
        );
        self.ask(&mut line, "/ws", &upgrade)?;
        let (status, rest) = head(&mut line)?;
        if status != 101 {
            return Err(CanaryFault::Status(status));
        }
        let socket = WebSocket::from_partially_read(line, rest, Role::Client, None);
        let mut link = CanaryLink { socket };
        link.send(first.to_owned())?;
        Ok(link)
    }

    fn open(&mut self, deadline: Instant) -> Result<Line, CanaryFault> {
        let mut line =
            self.dialer.connect(&self.peer, &self.address, deadline).map_err(|trouble| fault_in(&trouble))?;
        if self.wires.proxy == ProxyWire::Header {
            line.write_all(LOCAL_HEADER).map_err(|error| fault_of(&error))?;
        }
        match self.wires.tls {
            TlsWire::Plain => Ok(line),
            TlsWire::Tls => line.secure(&self.dialer.trust, HOST).map_err(|trouble| fault_in(&trouble)),
        }
    }

    fn ask(&self, line: &mut Line, path: &str, fields: &str) -> Result<(), CanaryFault> {
        let token = self.pass.token();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}\r\n{fields}\r\n");
        let sent = line.write_all(request.as_bytes()).and_then(|()| line.flush());
        sent.map_err(|error| fault_of(&error))
    }
}

/// An upgraded connection.
struct CanaryLink {
    socket: WebSocket<Line>,
}

impl CanaryLink {
    fn until(&mut self, deadline: Instant) {
        self.socket.get_mut().begin(deadline);
    }

    fn send(&mut self, text: String) -> Result<(), CanaryFault> {
        self.socket.send(Message::text(text)).map_err(|error| fault_of_socket(&error))
    }

    /// The next text.
    fn text(&mut self) -> Result<String, CanaryFault> {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => return Ok(text.as_str().to_owned()),
                Ok(Message::Close(frame)) => {
                    return Err(frame.map_or(CanaryFault::Broken, |it| CanaryFault::Closed(it.code.into())));
                }
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(Message::Binary(_) | Message::Frame(_)) => return Err(CanaryFault::Broken),
                Err(error) => return Err(fault_of_socket(&error)),
            }
        }
    }

    /// Closes the connection, and waits a little for the gateway's answer.
    fn close(mut self) {
        self.until(now() + GRACE);
        // The gateway may be ending.
        let _ = self.socket.close(None);
        while self.socket.read().is_ok() {}
    }
}

/// Reads the head of an answer. Returns its status, and the bytes after it.
fn head(line: &mut Line) -> Result<(u16, Vec<u8>), CanaryFault> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 1_024];
    loop {
        let read = line.read(&mut chunk).map_err(|error| fault_of(&error))?;
        bytes.extend_from_slice(chunk.get(..read).unwrap_or_default());
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let status = bytes.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3));
            let status = status.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
            return Ok((status.ok_or(CanaryFault::Broken)?, bytes.split_off(end + 4)));
        }
        if bytes.len() > HEAD_BYTES_MAX {
            return Err(CanaryFault::Broken);
        }
    }
}

/// The fault behind a connection that could not be opened.
fn fault_in(trouble: &Trouble) -> CanaryFault {
    if trouble.fault == Fault::Timeout { CanaryFault::Late } else { CanaryFault::Broken }
}

fn fault_of_socket(error: &Error) -> CanaryFault {
    match error {
        Error::Io(error) => fault_of(error),
        _ => CanaryFault::Broken,
    }
}

/// A wait that ended at its deadline is late.
fn fault_of(error: &io::Error) -> CanaryFault {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => CanaryFault::Late,
        _ => CanaryFault::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::proxy::{ProxyHead, proxy_v2};

    #[test]
    fn header_is_that_of_a_proxys_own_connection() {
        let expected = ProxyHead::Complete { length: LOCAL_HEADER.len(), source: None };
        assert_eq!(proxy_v2(LOCAL_HEADER), expected);
    }
}
