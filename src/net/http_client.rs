//! A blocking HTTP client: for probes, for calls to an auth service, for notices, and for the relay.
//!
//! `ureq` speaks the protocol over [`Line`], so that a call keeps its deadline and leaves from the configured address.
//! Redirects are not followed and proxies from the environment are not used: the request goes to the address as written.

use crate::health::finding::Fault;
use crate::net::deadline::{left, now};
use crate::net::dial::Dialer;
use crate::net::http_reading::{CallControl, HttpReading, trouble_of};
use crate::net::line::Line;
use crate::net::peer::PeerAddress;
use crate::net::trouble::Trouble;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};
use zeroize::Zeroizing;

/// The bytes of a body that are read.
pub(crate) const BODY_BYTES_MAX: usize = 64 * 1024;

/// The time to connect for a request that is tried again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The longest rest of a connection of [`HttpClient::reading`]. Servers close theirs after some seconds, and a request that meets the
/// end of its connection may have arrived.
const READING_IDLE_MAX: Duration = Duration::from_secs(1);

/// The characters of a body that a cause may quote.
pub(crate) const QUOTE_CHARS: usize = 80;

/// The value of `Authorization` with a user and a password (RFC 7617).
pub(crate) fn basic(user: &str, password: &str) -> Zeroizing<String> {
    let login = Zeroizing::new(format!("{user}:{password}"));
    let encoded = Zeroizing::new(STANDARD.encode(login.as_bytes()));
    Zeroizing::new(format!("Basic {}", encoded.as_str()))
}

/// An answer, its body cut at 64 KiB.
#[derive(Debug)]
pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// The body was longer.
    pub(crate) is_cut: bool,
    /// The header `Retry-After`.
    pub(crate) retry_after: Option<String>,
}

impl HttpAnswer {
    /// The beginning of the body, for people.
    pub(crate) fn quote(&self) -> String {
        String::from_utf8_lossy(&self.body).trim().chars().take(QUOTE_CHARS).collect()
    }
}

/// An HTTP client that keeps its connection.
#[derive(Debug)]
pub(crate) struct HttpClient {
    agent: ureq::Agent,
}

impl HttpClient {
    pub(crate) fn new(dialer: Arc<Mutex<Dialer>>) -> HttpClient {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_idle_connections(1)
            .max_response_header_size(16 * 1024)
            .proxy(None)
            .user_agent(concat!("seawall/", env!("CARGO_PKG_VERSION")))
            .build();
        let connector = LineConnector { dialer, control: None };
        HttpClient { agent: ureq::Agent::with_parts(config, connector, Unresolved) }
    }

    /// A client whose responses are read as they arrive. Deadlines and the end of a call come from `control`.
    pub(crate) fn reading(dialer: Arc<Mutex<Dialer>>, control: Arc<CallControl>) -> HttpClient {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_idle_connections(1)
            .max_idle_age(READING_IDLE_MAX)
            .max_response_header_size(16 * 1024)
            .proxy(None)
            .user_agent(concat!("seawall/", env!("CARGO_PKG_VERSION")))
            .build();
        let connector = LineConnector { dialer, control: Some(control) };
        HttpClient { agent: ureq::Agent::with_parts(config, connector, Unresolved) }
    }

    /// Sends `POST` with JSON, and returns once the head of the response is there. The body is not read, so a backend may take its
    /// time with it. The client must be one that was made by [`HttpClient::reading`].
    pub(crate) fn post_reading(
        &self,
        url: &str,
        headers: &[(&str, Zeroizing<String>)],
        json: &[u8],
        peer: &PeerAddress,
    ) -> Result<HttpReading, Trouble> {
        let request = self.agent.post(url).header("content-type", "application/json");
        let request =
            headers.iter().fold(request, |request, (name, value)| request.header(*name, value.as_str()));
        let response = request.send(json).map_err(|error| trouble_of(&error, peer))?;
        Ok(HttpReading::new(response, peer.clone()))
    }

    /// Sends `GET`.
    pub(crate) fn fetch(
        &self,
        url: &str,
        headers: &[(&str, Zeroizing<String>)],
        peer: &PeerAddress,
        deadline: Instant,
    ) -> Result<HttpAnswer, Trouble> {
        in_time(peer, deadline)?;
        let request = self.agent.get(url).config().timeout_global(Some(left(deadline, now()))).build();
        let request =
            headers.iter().fold(request, |request, (name, value)| request.header(*name, value.as_str()));
        answered(request.call(), peer)
    }

    /// Sends `POST` with a form (`application/x-www-form-urlencoded`).
    pub(crate) fn post_form(
        &self,
        url: &str,
        headers: &[(&str, Zeroizing<String>)],
        form: &str,
        peer: &PeerAddress,
        deadline: Instant,
    ) -> Result<HttpAnswer, Trouble> {
        in_time(peer, deadline)?;
        let request = self.agent.post(url).config().timeout_global(Some(left(deadline, now()))).build();
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let request =
            headers.iter().fold(request, |request, (name, value)| request.header(*name, value.as_str()));
        answered(request.send(form), peer)
    }

    /// Sends `POST` with JSON.
    pub(crate) fn post_json(
        &self,
        url: &str,
        headers: &[(&str, Zeroizing<String>)],
        json: &str,
        peer: &PeerAddress,
        deadline: Instant,
    ) -> Result<HttpAnswer, Trouble> {
        in_time(peer, deadline)?;
        let config = self.agent.post(url).config().timeout_global(Some(left(deadline, now())));
        let request = config.timeout_connect(Some(CONNECT_TIMEOUT)).build();
        let request = request.header("content-type", "application/json");
        let request =
            headers.iter().fold(request, |request, (name, value)| request.header(*name, value.as_str()));
        answered(request.send(json), peer)
    }
}

/// Fails with a timeout once the deadline has passed.
pub(crate) fn in_time(peer: &PeerAddress, deadline: Instant) -> Result<(), Trouble> {
    if now() < deadline {
        return Ok(());
    }
    Err(Trouble::new(Fault::Timeout, format!("no answer from {peer} in time")))
}

fn answered(
    called: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    peer: &PeerAddress,
) -> Result<HttpAnswer, Trouble> {
    let mut response = called.map_err(|error| trouble_of(&error, peer))?;
    let retry_after =
        response.headers().get("retry-after").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut body = Vec::new();
    // Reads to the very end, so that the connection can be kept.
    let read = response.body_mut().as_reader().take(BODY_BYTES_MAX as u64 + 1).read_to_end(&mut body);
    read.map_err(|error| match error.get_ref().and_then(|inside| inside.downcast_ref::<ureq::Error>()) {
        Some(inside) => trouble_of(inside, peer),
        None => Trouble::of_io(&peer.to_string(), &error),
    })?;
    let is_cut = body.len() > BODY_BYTES_MAX;
    body.truncate(BODY_BYTES_MAX);
    let status = response.status().as_u16();
    Ok(HttpAnswer { status, body, is_cut, retry_after })
}

/// Gives `ureq` the address it wants to see; the dialer resolves names.
#[derive(Debug)]
struct Unresolved;

impl Resolver for Unresolved {
    fn resolve(
        &self,
        _: &http::Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        addresses.push(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        Ok(addresses)
    }
}

#[derive(Debug)]
struct LineConnector {
    dialer: Arc<Mutex<Dialer>>,
    /// `None`: the deadlines are those of each request.
    control: Option<Arc<CallControl>>,
}

impl Connector for LineConnector {
    type Out = LineTransport;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<LineTransport>, ureq::Error> {
        let io = |trouble: Trouble| ureq::Error::Io(trouble.into_io());
        let host = details.uri.host().unwrap_or_default().to_string();
        let port = details.uri.port_u16().unwrap_or(if details.needs_tls() { 443 } else { 80 });
        let mut dialer = self.dialer.lock();
        let peer = PeerAddress::Tcp { host: host.clone(), port };
        let until = self.control.as_ref().map_or_else(|| now() + *details.timeout.after, |it| it.deadline());
        let mut line = dialer.dial(&peer, until).map_err(io)?;
        if details.needs_tls() {
            line = line.secure(&dialer.trust, &host).map_err(io)?;
        }
        let buffers =
            LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(LineTransport { line, buffers, is_open: true, control: self.control.clone() }))
    }
}

#[derive(Debug)]
struct LineTransport {
    line: Line,
    buffers: LazyBuffers,
    is_open: bool,
    control: Option<Arc<CallControl>>,
}

impl LineTransport {
    fn until(&self, timeout: NextTimeout) -> Instant {
        self.control.as_ref().map_or_else(|| now() + *timeout.after, |control| control.deadline())
    }

    /// Reads until there are bytes, the deadline has passed, or the call was ended.
    fn read(&mut self, until: Instant) -> std::io::Result<usize> {
        let Some(control) = &self.control else {
            self.line.set_deadline(until);
            return self.line.read(self.buffers.input_append_buf());
        };
        // A response may be long, and its bound is its time.
        self.line.begin(until);
        loop {
            let slice = control.slice(until)?;
            self.line.set_deadline(slice);
            match self.line.read(self.buffers.input_append_buf()) {
                Err(error) if error.kind() == ErrorKind::TimedOut && slice < until => {}
                read => return read,
            }
        }
    }
}

impl Transport for LineTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        // The first bytes of a request begin its look.
        let until = self.until(timeout);
        self.line.begin(until);
        let output = self.buffers.output();
        let sent =
            self.line.write_all(output.get(..amount).unwrap_or_default()).and_then(|()| self.line.flush());
        self.is_open = sent.is_ok();
        sent.map_err(ureq::Error::Io)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let until = self.until(timeout);
        match self.read(until) {
            Ok(count) => {
                self.buffers.input_appended(count);
                Ok(count > 0)
            }
            Err(error) => {
                self.is_open = false;
                // The end of the connection may be the end of a body without a length.
                if self.line.has_ended() { Ok(false) } else { Err(ureq::Error::Io(error)) }
            }
        }
    }

    fn is_open(&mut self) -> bool {
        // A connection that was closed while it rested must not carry a request that may be sent only once.
        self.is_open && (self.control.is_none() || self.line.is_silent())
    }

    fn is_tls(&self) -> bool {
        self.line.is_tls()
    }
}
