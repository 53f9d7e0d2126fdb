//! As much of PostgreSQL's protocol (version 3) as a look needs: start, authenticate, simple queries, cancel.
//!
//! `postgres-protocol` is the codec. Simple queries survive every mode of pgbouncer.

use crate::health::finding::Fault;
use crate::worker::line::binding::end_point;
use crate::worker::line::postgres::session_options;
use crate::worker::line::trouble::Trouble;
use crate::worker::line::{Dialer, Line, Peer};
use crate::worker::probe::target::{PostgresTarget, Purpose};
use bytes::BytesMut;
use fallible_iterator::FallibleIterator as _;
use postgres_protocol::authentication::{md5_hash, sasl};
use postgres_protocol::message::backend::{DataRowBody, ErrorResponseBody, Header, Message};
use postgres_protocol::message::frontend;
use std::io::{self, Read as _, Write as _};
use std::time::{Duration, Instant};
use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, SslMode};

/// A message longer than this is none that a look asks for.
const MESSAGE_BYTES_MAX: i32 = 64 * 1024;

/// Time for a cancellation, beyond the look's deadline.
const CANCEL: Duration = Duration::from_millis(40);

/// One row, as text.
pub(super) type Row = Vec<Option<String>>;

/// An error that the server reports: its SQLSTATE and its words.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) code: String,
    pub(super) message: String,
}

/// Why a call failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server says so.
    Server(Report),
    /// The connection, or what came over it.
    Line(Trouble),
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Failure {
        Failure::Line(trouble)
    }
}

/// Whether a server offers to bind an exchange of passwords to its certificate.
#[derive(Clone, Copy, Debug)]
enum Offer {
    Bound,
    Unbound,
}

/// An open connection.
#[derive(Debug)]
pub(in crate::worker::probe) struct Connection {
    line: Line,
    peer: Peer,
    received: BytesMut,
    key: Option<(i32, i32)>,
}

impl Connection {
    /// Connects, with TLS where the address wants it, and authenticates.
    pub(super) fn open(
        dialer: &mut Dialer,
        target: &PostgresTarget,
        (place, peer): (usize, &Peer),
        deadline: Instant,
    ) -> Result<Connection, Failure> {
        let line = dialer.dial(peer, deadline)?;
        let line = secure(line, dialer, target, (place, peer))?;
        let mut connection = Connection { line, peer: peer.clone(), received: BytesMut::new(), key: None };
        connection.start(target)?;
        Ok(connection)
    }

    pub(super) fn begin(&mut self, deadline: Instant) {
        self.line.begin(deadline);
    }

    /// Runs one simple query, which commits by itself.
    pub(super) fn query(&mut self, sql: &str) -> Result<Vec<Row>, Failure> {
        self.send(|out| frontend::query(sql, out))?;
        let mut rows = Vec::new();
        let mut report = None;
        loop {
            match self.receive() {
                Ok(Message::DataRow(body)) => rows.push(self.row(&body)?),
                Ok(Message::ErrorResponse(body)) => report = Some(reported(&body)),
                Ok(Message::ReadyForQuery(_)) => break,
                Ok(_) => {}
                // A fatal error ends the connection right after its words: those count.
                Err(trouble) => return Err(report.map_or(Failure::Line(trouble), Failure::Server)),
            }
        }
        report.map_or(Ok(rows), |report| Err(Failure::Server(report)))
    }

    /// Asks the server to end what this connection waits for, such as a commit that no standby confirms: each look would leave one
    /// more backend waiting. Nobody waits for the result.
    pub(super) fn cancel(self, dialer: &mut Dialer, now: Instant) {
        let Some((process, secret)) = self.key else { return };
        let Ok(mut line) = dialer.dial(&self.peer, now + CANCEL) else { return };
        let mut out = BytesMut::new();
        frontend::cancel_request(process, secret, &mut out);
        // Lost with the connection at worst, and the next look's own cancellation comes then.
        let _ = line.write_all(&out);
    }

    fn start(&mut self, target: &PostgresTarget) -> Result<(), Failure> {
        let config = &target.address.config;
        let user = config.get_user().unwrap_or_default();
        let mut parameters =
            vec![("user", user), ("client_encoding", "UTF8"), ("application_name", "seawall-probe")];
        parameters.extend(config.get_dbname().map(|name| ("database", name)));
        let own = config.get_options().unwrap_or_default();
        let options = match target.purpose {
            Purpose::Service => own.to_owned(),
            Purpose::Store => format!("{} {own}", session_options()),
        };
        if !options.is_empty() {
            parameters.push(("options", &options));
        }
        self.send(|out| frontend::startup_message(parameters, out))?;
        self.authenticate(user, config)?;
        loop {
            match self.receive()? {
                Message::BackendKeyData(body) => self.key = Some((body.process_id(), body.secret_key())),
                Message::ErrorResponse(body) => return Err(Failure::Server(reported(&body))),
                Message::ReadyForQuery(_) => return Ok(()),
                _ => {}
            }
        }
    }

    fn authenticate(&mut self, user: &str, config: &Config) -> Result<(), Failure> {
        let password = config.get_password();
        let mut must_bind = config.get_channel_binding() == ChannelBinding::Require;
        let wanted =
            || Trouble::new(Fault::Credentials, "the server wants a password, and the address has none");
        loop {
            match self.receive()? {
                Message::ErrorResponse(body) => return Err(Failure::Server(reported(&body))),
                Message::AuthenticationOk
                | Message::AuthenticationCleartextPassword
                | Message::AuthenticationMd5Password(_)
                    if must_bind =>
                {
                    return Err(self.no_binding().into());
                }
                Message::AuthenticationOk => return Ok(()),
                Message::AuthenticationCleartextPassword => {
                    let password = password.ok_or_else(wanted)?;
                    self.send(|out| frontend::password_message(password, out))?;
                }
                Message::AuthenticationMd5Password(body) => {
                    let hash = md5_hash(user.as_bytes(), password.ok_or_else(wanted)?, body.salt());
                    self.send(|out| frontend::password_message(hash.as_bytes(), out))?;
                }
                Message::AuthenticationSasl(body) => {
                    let bound = body.mechanisms().any(|name| Ok(name == sasl::SCRAM_SHA_256_PLUS));
                    let bound = bound.map_err(|error| self.garbled(&error.to_string()))?;
                    let offer = if bound { Offer::Bound } else { Offer::Unbound };
                    self.scram(password.ok_or_else(wanted)?, config.get_channel_binding(), offer)?;
                    must_bind = false;
                }
                Message::NoticeResponse(_) => {}
                _ => {
                    let text = format!("{} asks for a way to authenticate that is not known here", self.peer);
                    return Err(Trouble::new(Fault::Credentials, text).into());
                }
            }
        }
    }

    /// SCRAM-SHA-256 (RFC 7677), which also proves that the server knows the password. Over TLS it is bound to the certificate.
    fn scram(&mut self, password: &[u8], wanted: ChannelBinding, offer: Offer) -> Result<(), Failure> {
        let binding = match wanted {
            ChannelBinding::Disable => None,
            _ => self.line.certificate().and_then(end_point),
        };
        let (mechanism, binding) = match (offer, binding) {
            (Offer::Bound, Some(hash)) => {
                (sasl::SCRAM_SHA_256_PLUS, sasl::ChannelBinding::tls_server_end_point(hash))
            }
            (Offer::Unbound, Some(_)) => (sasl::SCRAM_SHA_256, sasl::ChannelBinding::unrequested()),
            (Offer::Bound | Offer::Unbound, None) => {
                (sasl::SCRAM_SHA_256, sasl::ChannelBinding::unsupported())
            }
        };
        if wanted == ChannelBinding::Require && mechanism != sasl::SCRAM_SHA_256_PLUS {
            return Err(self.no_binding().into());
        }
        let mut scram = sasl::ScramSha256::new(password, binding);
        self.send(|out| frontend::sasl_initial_response(mechanism, scram.message(), out))?;
        loop {
            match self.receive()? {
                Message::AuthenticationSaslContinue(body) => {
                    scram.update(body.data()).map_err(|error| self.credentials(&error))?;
                    self.send(|out| frontend::sasl_response(scram.message(), out))?;
                }
                Message::AuthenticationSaslFinal(body) => {
                    scram.finish(body.data()).map_err(|error| self.credentials(&error))?;
                    return Ok(());
                }
                Message::ErrorResponse(body) => return Err(Failure::Server(reported(&body))),
                _ => return Err(self.garbled("no part of an authentication").into()),
            }
        }
    }

    fn no_binding(&self) -> Trouble {
        let text =
            format!("{} offers no channel binding, and the address says channel_binding=require", self.peer);
        Trouble::new(Fault::Credentials, text)
    }

    fn credentials(&self, error: &io::Error) -> Trouble {
        Trouble::new(Fault::Credentials, format!("{} failed the exchange of passwords: {error}", self.peer))
    }

    fn garbled(&self, what: &str) -> Trouble {
        Trouble::new(Fault::Protocol, format!("{} does not answer as PostgreSQL does: {what}", self.peer))
    }

    fn send<E: std::fmt::Display>(
        &mut self,
        write: impl FnOnce(&mut BytesMut) -> Result<(), E>,
    ) -> Result<(), Trouble> {
        let mut out = BytesMut::new();
        write(&mut out).map_err(|error| Trouble::new(Fault::Internal, error.to_string()))?;
        self.line
            .write_all(&out)
            .and_then(|()| self.line.flush())
            .map_err(|error| self.line.trouble_or(error))
    }

    fn receive(&mut self) -> Result<Message, Trouble> {
        loop {
            // The codec reserves what a header announces: four bytes of garbage could be two gigabytes.
            match Header::parse(&self.received) {
                Ok(Some(header))
                    if header.len() > MESSAGE_BYTES_MAX || !header.tag().is_ascii_alphanumeric() =>
                {
                    return Err(self.garbled("the header of a message is impossible"));
                }
                Ok(_) => {}
                Err(error) => return Err(self.garbled(&error.to_string())),
            }
            match Message::parse(&mut self.received) {
                Ok(Some(message)) => return Ok(message),
                Ok(None) => {}
                Err(error) => return Err(self.garbled(&error.to_string())),
            }
            let mut piece = [0; 4096];
            let count = self.line.read(&mut piece).map_err(|error| self.line.trouble_or(error))?;
            self.received.extend_from_slice(piece.get(..count).unwrap_or_default());
        }
    }

    fn row(&self, body: &DataRowBody) -> Result<Row, Trouble> {
        let text = |range: std::ops::Range<usize>| {
            String::from_utf8_lossy(body.buffer().get(range).unwrap_or_default()).into_owned()
        };
        let columns = body.ranges().map(|range| Ok(range.map(text))).collect();
        columns.map_err(|error: io::Error| self.garbled(&error.to_string()))
    }
}

/// Asks for TLS as the store does: where the address says `prefer`, a server that has none is spoken to in the clear.
fn secure(
    mut line: Line,
    dialer: &Dialer,
    target: &PostgresTarget,
    (place, peer): (usize, &Peer),
) -> Result<Line, Trouble> {
    let mode = target.address.config.get_ssl_mode();
    let (false, Some(name)) = (mode == SslMode::Disable, target.address.name(place)) else {
        return Ok(line);
    };
    let mut out = BytesMut::new();
    frontend::ssl_request(&mut out);
    let mut answer = [0];
    line.write_all(&out)
        .and_then(|()| line.read_exact(&mut answer))
        .map_err(|error| line.trouble_or(error))?;
    match answer {
        [b'S'] => line.secure(&dialer.trust, &name),
        [b'N'] if mode == SslMode::Prefer => Ok(line),
        [b'N'] => Err(Trouble::no_tls(&peer.to_string())),
        _ => Err(Trouble::new(
            Fault::Protocol,
            format!("{peer} does not answer as PostgreSQL does when asked for TLS"),
        )),
    }
}

fn reported(body: &ErrorResponseBody) -> Report {
    let mut report = Report { code: String::new(), message: String::new() };
    let mut fields = body.fields();
    while let Ok(Some(field)) = fields.next() {
        let text = String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'C' => report.code = text,
            b'M' => report.message = text,
            _ => {}
        }
    }
    report
}
