//! Connecting: the hosts of an address in turn, TLS if the address asks for it, the startup message; and cancelling.

use super::address::{Access, PostgresAddress, Requirement};
use super::answer::Incoming;
use super::failure::{Failure, ServerError};
use crate::health::finding::Fault;
use crate::net::deadline::{first_of, now};
use crate::net::dial::Dialer;
use crate::net::line::Line;
use crate::net::peer::PeerAddress;
use crate::net::trouble::Trouble;
use bytes::BytesMut;
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;
use socket2::SockAddr;
use std::fmt;
use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

/// A connection ends if the server's machine acknowledges nothing for this long.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(5);

/// The server to connect to, and the settings of the session.
#[derive(Clone, Debug)]
pub(crate) struct Startup {
    pub(crate) address: PostgresAddress,
    pub(crate) application_name: String,
    /// Session options, in the form of a command line.
    pub(crate) options: String,
    /// The least time that each of several hosts is given.
    pub(crate) share_min: Duration,
    /// The bound on the answer to one call.
    pub(crate) answer_bytes_max: usize,
}

/// An open connection.
pub(crate) struct Connection {
    pub(super) line: Line,
    pub(super) received: Incoming,
    /// The server at the other end: a request to cancel must reach the same one, and a host name may have several addresses.
    server: ServerAddress,
    dialer: Dialer,
    key: Option<(i32, i32)>,
    pub(super) phase: SessionPhase,
}

/// The phase of a session at the server, which decides how it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionPhase {
    /// The server has not accepted the session: it would take a farewell for a password.
    Starting,
    /// The server waits for a request.
    Idle,
    /// The server has not answered yet, and may never do so.
    Calling,
}

struct ServerAddress {
    peer: PeerAddress,
    at: SockAddr,
    encryption: Requirement,
    /// The name that its certificate must have, if names are checked; `None` for a Unix socket.
    name: Option<String>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Connection").field("line", &self.line).finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects to the first host that accepts the session.
    pub(crate) fn open(
        dialer: &mut Dialer,
        startup: &Startup,
        deadline: Instant,
    ) -> Result<Connection, Failure> {
        let (address, encryption) = (&startup.address, startup.address.encryption);
        let peers = address.peers().into_iter().enumerate().collect();
        let nowhere = Trouble::new(Fault::Unreachable, "the address names no host").into();
        first_of(peers, deadline, nowhere, |(place, peer), until| {
            let until = until.max(now() + startup.share_min);
            let places = dialer.addresses(&peer, until)?;
            let nowhere = Trouble::no_route(&peer.to_string()).into();
            first_of(places, until, nowhere, |at, until| {
                let server = ServerAddress { peer: peer.clone(), at, encryption, name: address.name(place) };
                Connection::open_one(dialer, startup, server, until)
            })
        })
    }

    fn open_one(
        dialer: &Dialer,
        startup: &Startup,
        server: ServerAddress,
        deadline: Instant,
    ) -> Result<Connection, Failure> {
        let mut connection = Connection {
            line: server.line(dialer, deadline)?,
            received: Incoming::new(startup.answer_bytes_max),
            server,
            dialer: dialer.another(),
            key: None,
            phase: SessionPhase::Starting,
        };
        connection.line.set_bytes_max(startup.answer_bytes_max);
        connection.start(startup)?;
        connection.check_access(startup.address.access)?;
        Ok(connection)
    }

    /// Begins a call, which ends at the deadline.
    pub(crate) fn begin(&mut self, deadline: Instant) {
        self.line.begin(deadline);
    }

    /// Asks the server to end the current statement, such as a commit that no standby confirms: closing the connection does not end
    /// it, so it would keep occupying a server process. The result is not awaited.
    pub(crate) fn cancel(&self, deadline: Instant) {
        let Some((process, secret)) = self.key else { return };
        let Ok(mut line) = self.server.line(&self.dialer, deadline) else { return };
        let mut out = BytesMut::new();
        frontend::cancel_request(process, secret, &mut out);
        // If the request is lost, the next timeout sends another.
        let _ = line.write_all(&out).and_then(|()| line.flush());
    }

    fn start(&mut self, startup: &Startup) -> Result<(), Failure> {
        let user = startup.address.user.as_deref().unwrap_or_default();
        let name = startup.application_name.as_str();
        let mut parameters = vec![("user", user), ("client_encoding", "UTF8"), ("application_name", name)];
        parameters.extend(startup.address.database.as_deref().map(|name| ("database", name)));
        if !startup.options.is_empty() {
            parameters.push(("options", &startup.options));
        }
        let mut out = BytesMut::new();
        frontend::startup_message(parameters, &mut out)
            .map_err(|error| Trouble::new(Fault::Internal, error.to_string()))?;
        self.send(&out)?;
        self.authenticate(&startup.address)?;
        loop {
            match self.receive()? {
                Message::BackendKeyData(body) => self.key = Some((body.process_id(), body.secret_key())),
                Message::ErrorResponse(body) => return Err(Failure::Server(ServerError::of(&body))),
                Message::ReadyForQuery(_) => {
                    self.phase = SessionPhase::Idle;
                    return Ok(());
                }
                _ => {}
            }
        }
    }

    /// Rejects a server that does not match `target_session_attrs`.
    fn check_access(&mut self, wanted: Access) -> Result<(), Failure> {
        let (question, accepted, text) = match wanted {
            Access::Any => return Ok(()),
            Access::ReadWrite => (
                "SHOW transaction_read_only",
                "off",
                "the server takes no writes (target_session_attrs=read-write)",
            ),
            Access::ReadOnly => (
                "SHOW transaction_read_only",
                "on",
                "the server takes writes (target_session_attrs=read-only)",
            ),
            Access::Primary => {
                ("SELECT pg_is_in_recovery()", "f", "the server is a standby (target_session_attrs=primary)")
            }
        };
        let rows = self.simple(question)?;
        let answer = rows.first().and_then(|row| row.texts().into_iter().next().flatten());
        if answer.as_deref() == Some(accepted) {
            Ok(())
        } else {
            Err(Trouble::new(Fault::ReadOnly, text).into())
        }
    }
}

impl Drop for Connection {
    /// Ends the session as the protocol says, or the server's log reports a client that was lost.
    fn drop(&mut self) {
        let mut out = BytesMut::new();
        frontend::terminate(&mut out);
        match self.phase {
            SessionPhase::Starting => {}
            SessionPhase::Calling => self.line.say_last(&out),
            SessionPhase::Idle => {
                self.line.say_last(&out);
                self.line.await_end();
            }
        }
    }
}

impl ServerAddress {
    /// Connects, with TLS if the address asks for it. With `prefer`, a server without TLS is used unencrypted. Unix sockets are never
    /// encrypted, as in libpq.
    fn line(&self, dialer: &Dialer, deadline: Instant) -> Result<Line, Trouble> {
        let peer = &self.peer;
        let mut line = dialer.connect(peer, &self.at, deadline)?;
        line.keep_alive(UNACKNOWLEDGED_MAX).map_err(|error| Trouble::of_io(&peer.to_string(), &error))?;
        let name = self.name.as_ref().filter(|_| self.encryption != Requirement::Never && !self.at.is_unix());
        let Some(name) = name else { return Ok(line) };
        let mut out = BytesMut::new();
        frontend::ssl_request(&mut out);
        let mut answer = [0];
        line.write_all(&out)
            .and_then(|()| line.read_exact(&mut answer))
            .map_err(|error| line.trouble_or(error))?;
        match answer {
            [b'S'] => line.secure(&dialer.trust, name),
            [b'N'] if self.encryption == Requirement::Prefer => Ok(line),
            [b'N'] => Err(Trouble::no_tls(&peer.to_string())),
            _ => Err(Trouble::new(
                Fault::Protocol,
                format!("{peer} does not answer as PostgreSQL does when asked for TLS"),
            )),
        }
    }
}
