//! Requests of a command to the admin listener of the running gateway.

use super::admin::{self, TokenPlace};
use super::config::Config;
use super::running::RunningGateway;
use serde_json::Value;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;
use zeroize::Zeroizing;

/// Timeout to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout of one response. An order takes up to 6 s: half a second in the queue, 4.5 s until its commit, and one for the instances.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(8);
/// The report of a gateway with many dependencies.
const RESPONSE_BYTES_MAX: u64 = 4 << 20;

/// The admin listener of a gateway.
pub(super) struct Remote {
    address: SocketAddr,
    token: Zeroizing<String>,
    place: TokenPlace,
}

/// The answer to a request.
pub(super) struct RemoteAnswer {
    pub(super) status: u16,
    pub(super) body: String,
}

/// A request without an answer.
pub(super) enum RemoteFailure {
    /// No process listens at the address, or it has exited.
    Gone,
    /// The error to print.
    Failed(String),
}

impl Remote {
    /// The listener of the gateway that was found running, or else of one with this configuration.
    pub(super) fn of(config: &Config, running: Option<&RunningGateway>) -> Result<Remote, String> {
        let off = "admin.listen is \"off\", so the gateway cannot be reached: send its process SIGTERM, which also drains it";
        if let Some(gateway) = running {
            let shut = "the gateway has no admin listener, because admin.listen is \"off\" or its address was in use (its log has \
                        `admin listener unavailable`), so it cannot be reached: send its process SIGTERM, which also drains it";
            let listen = gateway.admin.ok_or(shut)?;
            let (token, place) = match (&gateway.token_file, &config.admin.token) {
                (Some(file), _) => {
                    let token = fs::read(file).map(Zeroizing::new).map_err(|error| {
                        format!("cannot read the admin token in {}: {error}", file.display())
                    })?;
                    (Zeroizing::new(token.trim_ascii().to_vec()), TokenPlace::File(file.clone()))
                }
                (None, Some(token)) => (Zeroizing::new(token.bytes().to_vec()), TokenPlace::Setting),
                (None, None) => {
                    return Err(
                        "the gateway has its admin token from a setting: give it to this command in \
                                SEAWALL_ADMIN_TOKEN"
                            .into(),
                    );
                }
            };
            return Ok(Remote::at(listen, &token, place));
        }
        let listen = config.admin.listen.ok_or(off)?;
        if listen.port() == 0 {
            return Err(
                "no running gateway was found, and admin.listen has port 0, so its port is unknown".into()
            );
        }
        let (token, place) = admin::token_of(config)?;
        Ok(Remote::at(listen, &token, place))
    }

    fn at(listen: SocketAddr, token: &[u8], place: TokenPlace) -> Remote {
        let ip = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        let token = Zeroizing::new(String::from_utf8_lossy(token).into_owned());
        Remote { address: SocketAddr::new(ip, listen.port()), token, place }
    }

    /// The address of the listener.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes a request without a body.
    pub(super) fn ask(&self, method: &str, path: &str) -> Result<RemoteAnswer, RemoteFailure> {
        self.send(method, path, "")
    }

    /// Makes a request with this body, JSON; empty for none.
    pub(super) fn send(&self, method: &str, path: &str, body: &str) -> Result<RemoteAnswer, RemoteFailure> {
        let response = self.call(method, path, body).map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => RemoteFailure::Gone,
            _ => RemoteFailure::Failed(format!(
                "cannot reach the gateway at {} (admin.listen): {error}",
                self.address
            )),
        })?;
        let (head, body) = response.split_once("\r\n\r\n").ok_or(RemoteFailure::Gone)?;
        match head.split(' ').nth(1).and_then(|status| status.parse().ok()) {
            Some(401) => Err(RemoteFailure::Failed(format!(
                "the gateway at {} rejects this token ({}): use the store.data or admin.token that it was started with",
                self.address,
                self.place.describe()
            ))),
            Some(status) => Ok(RemoteAnswer { status, body: body.to_owned() }),
            None => Err(self.not_a_gateway(path)),
        }
    }

    /// Makes a request and reads the body of its answer; the error is the message of a refusal, or says what answered.
    pub(super) fn read<T>(
        &self,
        method: &str,
        path: &str,
        body: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, String> {
        let answer = self.send(method, path, body).map_err(|failure| self.message(failure))?;
        let unknown = || self.message(self.not_a_gateway(path));
        match answer {
            RemoteAnswer { status: 200 | 201, body } => read(&body).ok_or_else(unknown),
            RemoteAnswer { body, .. } => Err(message_of(&body).unwrap_or_else(unknown)),
        }
    }

    /// The failure of a request whose answer makes no sense.
    pub(super) fn not_a_gateway(&self, path: &str) -> RemoteFailure {
        RemoteFailure::Failed(format!(
            "the process at {} (admin.listen) is not a gateway, or is an older version without {path}",
            self.address
        ))
    }

    pub(super) fn message(&self, failure: RemoteFailure) -> String {
        match failure {
            RemoteFailure::Gone => format!(
                "no process answers at {} (admin.listen): no gateway runs here, or its configuration is different",
                self.address
            ),
            RemoteFailure::Failed(message) => message,
        }
    }

    fn call(&self, method: &str, path: &str, body: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.address, CONNECT_TIMEOUT)?;
        stream.set_read_timeout(Some(RESPONSE_TIMEOUT))?;
        stream.set_write_timeout(Some(RESPONSE_TIMEOUT))?;
        let (address, token) = (self.address, &*self.token);
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let head = Zeroizing::new(format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n{length}\r\n"
        ));
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut response = String::new();
        stream.take(RESPONSE_BYTES_MAX).read_to_string(&mut response)?;
        Ok(response)
    }
}

/// The message of a refusal; `None` if it is no such answer.
pub(super) fn message_of(body: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    body["message"].as_str().map(str::to_owned)
}
