//! An HTTP service: one GET, its status, and a field of its JSON where one is asked for.
//!
//! `ureq` speaks the protocol over [`Line`], so that a look keeps its deadline and leaves from the configured address. Redirects are
//! not followed and proxies of the environment not used: what is looked at is the address as written.

use super::in_time;
use super::target::{Expect, HttpTarget};
use crate::health::finding::Fault;
use crate::worker::line::trouble::Trouble;
use crate::worker::line::{Dialer, Line, Peer, left, now};
use base64::Engine as _;
use parking_lot::Mutex;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

/// A body is read up to here.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a body that a cause may quote.
const QUOTE_CHARS: usize = 80;

/// An answer, its body cut at 64 KiB.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    /// There was more.
    pub(super) is_cut: bool,
}

impl Answer {
    /// The beginning of the body, for people.
    pub(super) fn quote(&self) -> String {
        String::from_utf8_lossy(&self.body).trim().chars().take(QUOTE_CHARS).collect()
    }
}

pub(super) fn look(
    browser: &Browser,
    target: &HttpTarget,
    deadline: Instant,
) -> Result<Option<String>, Trouble> {
    let authorization = (!target.user.is_empty() || !target.password.is_empty()).then(|| {
        let plain = format!("{}:{}", target.user, target.password);
        ("authorization", format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(plain)))
    });
    let headers: Vec<(&str, String)> = authorization.into_iter().collect();
    let answer = browser.fetch(target.url.as_str(), &headers, &target.peer, deadline)?;
    judge(&answer, &target.expect, &target.peer)?;
    Ok(None)
}

fn judge(answer: &Answer, expect: &Expect, peer: &Peer) -> Result<(), Trouble> {
    let status = answer.status;
    let (is_right, wanted) = match expect.status {
        Some(wanted) => (status == wanted, wanted.to_string()),
        None => ((200..300).contains(&status), "2xx".into()),
    };
    if !is_right {
        let quote = answer.quote();
        let text = format!("{peer} answers with status {status}, expected is {wanted}: {quote}");
        return Err(Trouble::new(Fault::Status, text));
    }
    let Some((path, wanted)) = &expect.field else { return Ok(()) };
    let fault = |text: String| Err(Trouble::new(Fault::Field, text));
    if answer.is_cut {
        return fault(format!(
            "the body of {peer} is longer than {BODY_BYTES_MAX} bytes: its field {path} was not looked at"
        ));
    }
    let Ok(body) = serde_json::from_slice::<serde_json::Value>(&answer.body) else {
        return fault(format!(
            "the body of {peer} is not JSON, so it has no field {path}: {}",
            answer.quote()
        ));
    };
    let pointer: String = path.split('.').flat_map(|part| ["/", part]).collect();
    let found = match body.pointer(&pointer) {
        None => return fault(format!("the body of {peer} has no field {path}")),
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    if found == *wanted {
        return Ok(());
    }
    let found: String = found.chars().take(QUOTE_CHARS).collect();
    fault(format!("the field {path} of {peer} is {found:?}, expected is {wanted:?}"))
}

/// An HTTP client that keeps its connection.
#[derive(Debug)]
pub(super) struct Browser {
    agent: ureq::Agent,
}

impl Browser {
    pub(super) fn new(dialer: Arc<Mutex<Dialer>>) -> Browser {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_idle_connections(1)
            .max_response_header_size(16 * 1024)
            .proxy(None)
            .user_agent(concat!("seawall/", env!("CARGO_PKG_VERSION")))
            .build();
        Browser { agent: ureq::Agent::with_parts(config, LineConnector { dialer }, Unresolved) }
    }

    pub(super) fn fetch(
        &self,
        url: &str,
        headers: &[(&str, String)],
        peer: &Peer,
        deadline: Instant,
    ) -> Result<Answer, Trouble> {
        in_time(peer, deadline)?;
        let request = self.agent.get(url).config().timeout_global(Some(left(deadline, now()))).build();
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        let mut response = request.call().map_err(|error| told(&error, peer))?;
        let mut body = Vec::new();
        // To the very end, so that the connection can be kept.
        let read = response.body_mut().as_reader().take(BODY_BYTES_MAX as u64 + 1).read_to_end(&mut body);
        read.map_err(|error| {
            match error.get_ref().and_then(|inside| inside.downcast_ref::<ureq::Error>()) {
                Some(inside) => told(inside, peer),
                None => Trouble::of_io(&peer.to_string(), &error),
            }
        })?;
        let is_cut = body.len() > BODY_BYTES_MAX;
        body.truncate(BODY_BYTES_MAX);
        Ok(Answer { status: response.status().as_u16(), body, is_cut })
    }
}

fn told(error: &ureq::Error, peer: &Peer) -> Trouble {
    match error {
        ureq::Error::Io(error) => Trouble::of_io(&peer.to_string(), error),
        ureq::Error::Timeout(_) => Trouble::new(Fault::Timeout, format!("no answer from {peer} in time")),
        // The library's words may repeat the address, and with it what is secret in its query.
        ureq::Error::BadUri(_) => {
            Trouble::new(Fault::Internal, format!("the address of {peer} cannot be asked for"))
        }
        other => Trouble::new(Fault::Protocol, format!("{peer} does not answer as HTTP: {other}")),
    }
}

/// Names are resolved by the dialer; `ureq` only wants to have seen an address.
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
        let peer = Peer::Tcp { host: host.clone(), port };
        let mut line = dialer.dial(&peer, now() + *details.timeout.after).map_err(io)?;
        if details.needs_tls() {
            line = line.secure(&dialer.trust, &host).map_err(io)?;
        }
        let buffers =
            LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(LineTransport { line, buffers, is_open: true }))
    }
}

#[derive(Debug)]
struct LineTransport {
    line: Line,
    buffers: LazyBuffers,
    is_open: bool,
}

impl Transport for LineTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        // The first bytes of a request: its look begins.
        self.line.begin(now() + *timeout.after);
        let output = self.buffers.output();
        let sent =
            self.line.write_all(output.get(..amount).unwrap_or_default()).and_then(|()| self.line.flush());
        self.is_open = sent.is_ok();
        sent.map_err(ureq::Error::Io)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.line.set_deadline(now() + *timeout.after);
        match self.line.read(self.buffers.input_append_buf()) {
            Ok(count) => {
                self.buffers.input_appended(count);
                Ok(count > 0)
            }
            Err(error) => {
                self.is_open = false;
                // The end may be that of a body without a length.
                if self.line.has_ended() { Ok(false) } else { Err(ureq::Error::Io(error)) }
            }
        }
    }

    fn is_open(&mut self) -> bool {
        self.is_open
    }

    fn is_tls(&self) -> bool {
        self.line.is_tls()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, body: &str, expect: &Expect) -> Result<(), (Fault, String)> {
        let answer = Answer { status, body: body.into(), is_cut: false };
        let peer = Peer::Tcp { host: "api".into(), port: 80 };
        judge(&answer, expect, &peer).map_err(|trouble| (trouble.fault, trouble.text))
    }

    #[test]
    fn any_2xx_will_do_unless_a_status_is_asked_for() {
        let any = Expect::default();
        assert!(judged(204, "", &any).is_ok());
        let (fault, text) = judged(503, "sold out", &any).expect_err("503");
        assert_eq!(fault, Fault::Status);
        assert!(text.contains("503") && text.contains("2xx") && text.contains("sold out"), "{text}");
        let teapot = Expect { status: Some(418), field: None };
        assert!(judged(418, "", &teapot).is_ok());
        assert!(judged(200, "", &teapot).is_err());
    }

    #[test]
    fn a_field_is_found_by_its_path_and_compared_as_text() {
        let expect =
            |path: &str, wanted: &str| Expect { status: None, field: Some((path.into(), wanted.into())) };
        let body = r#"{"checks":[{"state":"up","lag":3}],"ok":true}"#;
        assert!(judged(200, body, &expect("checks.0.state", "up")).is_ok());
        assert!(judged(200, body, &expect("checks.0.lag", "3")).is_ok());
        assert!(judged(200, body, &expect("ok", "true")).is_ok());
        for (path, wanted, word) in [("ok", "false", "true"), ("not.there", "1", "no field")] {
            let (fault, text) = judged(200, body, &expect(path, wanted)).expect_err(path);
            assert!(fault == Fault::Field && text.contains(word), "{text}");
        }
        assert!(judged(200, "<html>", &expect("ok", "true")).expect_err("not JSON").1.contains("not JSON"));
    }
}
