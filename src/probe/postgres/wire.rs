//! The part of PostgreSQL's protocol (version 3) that a look needs: startup, authentication, simple queries, cancel.
//!
//! `postgres-protocol` is the codec. Simple queries work in every mode of pgbouncer.

use crate::health::finding::Fault;
use crate::net::binding::end_point;
use crate::net::dial::Dialer;
use crate::net::line::Line;
use crate::net::peer::PeerAddress;
use crate::net::postgres::session_options;
use crate::net::target::{PostgresTarget, Purpose};
use crate::net::trouble::Trouble;
use bytes::BytesMut;
use fallible_iterator::FallibleIterator as _;
use postgres_protocol::authentication::{md5_hash, sasl};
use postgres_protocol::message::backend::{DataRowBody, ErrorResponseBody, Header, Message};
use postgres_protocol::message::frontend;
use std::io::{self, Read as _, Write as _};
use std::time::{Duration, Instant};
use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, SslMode};

/// The longest message accepted: no query of a look has a longer answer.
const MESSAGE_BYTES_MAX: i32 = 64 * 1024;

/// The time for a cancel request, beyond the look's deadline.
const CANCEL: Duration = Duration::from_millis(40);

/// One row, as text.
pub(super) type Row = Vec<Option<String>>;

/// An error reported by the server: its SQLSTATE and its message.
#[derive(Clone, Debug)]
pub(super) struct ErrorReport {
    pub(super) code: String,
    pub(super) message: String,
}

/// The reason why a call failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server reported an error.
    Server(ErrorReport),
    /// The connection failed, or carried something unexpected.
    Line(Trouble),
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Failure {
        Failure::Line(trouble)
    }
}

/// One of the hosts that an address names.
#[derive(Clone, Copy)]
pub(super) struct DialHost<'a> {
    /// Its place in the address.
    pub(super) place: usize,
    pub(super) peer: &'a PeerAddress,
}

/// A server's offer to bind the password exchange to its certificate.
#[derive(Clone, Copy, Debug)]
enum AuthOffer {
    Bound,
    Unbound,
}

#[derive(Debug)]
pub(crate) struct ProbeConnection {
    line: Line,
    peer: PeerAddress,
    received: BytesMut,
    key: Option<(i32, i32)>,
}

impl ProbeConnection {
    /// Connects, with TLS if the address asks for it, and authenticates.
    pub(super) fn open(
        dialer: &mut Dialer,
        target: &PostgresTarget,
        host: DialHost<'_>,
        deadline: Instant,
    ) -> Result<ProbeConnection, Failure> {
        let line = secure(dialer.dial(host.peer, deadline)?, dialer, target, host)?;
        let mut connection =
            ProbeConnection { line, peer: host.peer.clone(), received: BytesMut::new(), key: None };
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
                // A fatal error ends the connection right after its message; the message counts.
                Err(trouble) => return Err(report.map_or(Failure::Line(trouble), Failure::Server)),
            }
        }
        report.map_or(Ok(rows), |report| Err(Failure::Server(report)))
    }

    /// Asks the server to cancel this connection's statement, such as a commit that no standby confirms; otherwise each look
    /// would leave one more waiting backend. The result is not awaited.
    pub(super) fn cancel(self, dialer: &mut Dialer, now: Instant) {
        let Some((process, secret)) = self.key else { return };
        let Ok(mut line) = dialer.dial(&self.peer, now + CANCEL) else { return };
        let mut out = BytesMut::new();
        frontend::cancel_request(process, secret, &mut out);
        // At worst it is lost with the connection, and the next look cancels again.
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
                    let offer = if bound { AuthOffer::Bound } else { AuthOffer::Unbound };
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
    fn scram(&mut self, password: &[u8], wanted: ChannelBinding, offer: AuthOffer) -> Result<(), Failure> {
        let binding = match wanted {
            ChannelBinding::Disable => None,
            _ => self.line.certificate().and_then(end_point),
        };
        let (mechanism, binding) = match (offer, binding) {
            (AuthOffer::Bound, Some(hash)) => {
                (sasl::SCRAM_SHA_256_PLUS, sasl::ChannelBinding::tls_server_end_point(hash))
            }
            (AuthOffer::Unbound, Some(_)) => (sasl::SCRAM_SHA_256, sasl::ChannelBinding::unrequested()),
            (AuthOffer::Bound | AuthOffer::Unbound, None) => {
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
            // The codec allocates what a header announces: four bytes of garbage could mean two gigabytes.
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

/// Requests TLS as the store does: with `prefer`, a server without TLS is used unencrypted.
fn secure(
    mut line: Line,
    dialer: &Dialer,
    target: &PostgresTarget,
    DialHost { place, peer }: DialHost<'_>,
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

fn reported(body: &ErrorResponseBody) -> ErrorReport {
    let mut report = ErrorReport { code: String::new(), message: String::new() };
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
