//! Parses one HTTP/1.x request head from bytes into a [`Head`], or into a refusal.
//!
//! httparse checks the syntax. The rules that keep two readers of the same bytes from disagreeing (RFC 9112 section 11.2,
//! request smuggling) are here. Ambiguous heads are refused and the connection ends; nothing is repaired.
//!
//! The outcome depends only on the bytes, not on how they were split: a head that is refused as a whole is refused
//! for the same reason at some prefix, and never later than its bound.

use crate::limits::Limits;
use crate::wire::fields::{self, Field, Fields};
use crate::wire::files::{self, File};
use crate::wire::origin::Host;
use std::mem::MaybeUninit;

pub use crate::wire::after::After;
pub use crate::wire::fault::{Allow, HttpFault, Malformed};

/// The most header lines of any configuration; they are parsed into this many places on the stack.
pub const HEADERS_MAX: usize = 256;

/// The bounds on a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// The bytes from the request line to the empty line, both included.
    pub head_bytes: usize,
    /// The number of header lines, at most [`HEADERS_MAX`].
    pub headers: usize,
    pub uri_bytes: usize,
}

impl From<&Limits> for HeadLimits {
    fn from(limits: &Limits) -> HeadLimits {
        HeadLimits {
            head_bytes: limits.head_bytes as usize,
            headers: (limits.headers as usize).min(HEADERS_MAX),
            uri_bytes: limits.uri_bytes as usize,
        }
    }
}

/// The result of parsing the bytes received so far.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "returned once and matched at once; a box would cost more")]
pub enum Parsed<'a> {
    /// The beginning of a head; more bytes are needed.
    Partial,
    /// A complete head. [`Head::serve`] decides whether the request is served.
    Complete(Head<'a>),
    /// The head is refused; answer and close.
    Refused(HttpFault),
}

#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The bytes of the head, including empty lines before it.
    pub length: usize,
    pub method: Method,
    pub route: Route,
    /// The target's path as sent, never empty.
    pub path: &'a str,
    /// The target's query, without `?`.
    pub query: Option<&'a str>,
    pub version: Version,
    /// The state of the connection after the answer, unless the request is upgraded. It closes if there is a body, which is not read.
    pub after: After,
    /// The same, for a reader of bodies.
    pub after_body: After,
    /// The host of the request: the target's authority, otherwise `Host`. Always present in HTTP/1.1.
    pub host: Option<Host<'a>>,
    pub body: Body,
    /// The other fields, for `upgrade`.
    pub(super) fields: Fields<'a>,
    bytes: &'a [u8],
}

/// The methods that matter here (RFC 9110 section 9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
    /// `PATCH` or `TRACE`: known, but no path allows them.
    Other,
    /// Any other token, and `CONNECT`, which is for proxies.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/`, a file that the page at `/` loads, or the client library.
    Page(&'static File),
    Ws,
    Echo,
    Health,
    /// `/health/live`, `/livez`
    Live,
    /// `/health/ready`, `/readyz`
    Ready,
    /// `/health/dependencies`
    Dependencies,
    Metrics,
    /// Any other path.
    Unknown,
}

/// The supported HTTP versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: one plain request per connection, no upgrade.
    Http10,
    Http11,
}

/// The body after a head (RFC 9112 section 6.3). It is never read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    None,
    /// `Content-Length` or `Transfer-Encoding` declares a body.
    Declared,
}

/// Parses a head from all bytes received so far; bytes after the head are ignored.
///
/// Only the first `head_bytes` are examined, so a head is refused as soon as it exceeds a bound.
pub fn parse(bytes: &[u8], limits: HeadLimits) -> Parsed<'_> {
    let window = bytes.get(..limits.head_bytes).unwrap_or(bytes);
    let mut lines = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let lines = &mut lines[..limits.headers.min(HEADERS_MAX)];
    let mut request = httparse::Request::new(&mut []);
    let outcome = request.parse_with_uninit_headers(window, lines);
    if target_bytes(window, &request) > limits.uri_bytes {
        return Parsed::Refused(HttpFault::UriTooLong { bound: limits.uri_bytes });
    }
    match outcome {
        Ok(httparse::Status::Complete(length)) => match Head::read(&window[..length], &request) {
            Ok(head) => Parsed::Complete(head),
            Err(fault) => Parsed::Refused(fault),
        },
        Ok(httparse::Status::Partial) if window.len() < limits.head_bytes => Parsed::Partial,
        Ok(httparse::Status::Partial) => {
            Parsed::Refused(HttpFault::HeadTooLarge { bound: limits.head_bytes })
        }
        Err(error) => Parsed::Refused(diagnose(error, window, &request, limits)),
    }
}

/// The number of bytes of the target received so far.
fn target_bytes(window: &[u8], request: &httparse::Request<'_, '_>) -> usize {
    match (request.method, request.path) {
        (_, Some(path)) => path.len(),
        (Some(_), None) => target_so_far(window).0.len(),
        (None, None) => 0,
    }
}

/// A target that httparse did not finish, and the bytes after it. The first space ends the method, because only line
/// ends may come before it.
fn target_so_far(window: &[u8]) -> (&[u8], &[u8]) {
    let method_end = window.iter().position(|b| *b == b' ').map_or(window.len(), |at| at + 1);
    let rest = &window[method_end..];
    let end = rest.iter().position(|b| *b <= b' ' || *b == 0x7F).unwrap_or(rest.len());
    rest.split_at(end)
}

/// Turns httparse's error into the broken rule. It reads no further than httparse did.
fn diagnose(
    error: httparse::Error,
    window: &[u8],
    request: &httparse::Request<'_, '_>,
    limits: HeadLimits,
) -> HttpFault {
    let rule = match error {
        httparse::Error::TooManyHeaders => return HttpFault::TooManyHeaders { bound: limits.headers },
        httparse::Error::HeaderName => Malformed::HeaderName,
        httparse::Error::HeaderValue => Malformed::HeaderValue,
        httparse::Error::NewLine => Malformed::LineEnd,
        httparse::Error::Version => {
            // `HTTP/` and a digit are a version of HTTP, but not a supported one.
            let version = target_so_far(window).1.get(1..).and_then(|rest| rest.strip_prefix(b"HTTP/"));
            if version.and_then(<[u8]>::first).is_some_and(u8::is_ascii_digit) {
                return HttpFault::Version;
            }
            Malformed::RequestLine
        }
        httparse::Error::Token | httparse::Error::Status => match (request.method, target_so_far(window)) {
            (None, _) if window.first() == Some(&0x16) => Malformed::Tls,
            (None, _) => Malformed::RequestLine,
            // `GET /path` without a version is HTTP/0.9.
            (Some(_), ([_, ..], [b'\r' | b'\n', ..])) => return HttpFault::Version,
            (Some(_), _) => Malformed::Target,
        },
    };
    HttpFault::Malformed(rule)
}

impl<'a> Head<'a> {
    fn read(bytes: &'a [u8], request: &httparse::Request<'_, 'a>) -> Result<Head<'a>, HttpFault> {
        if has_bare_line_feed(bytes) {
            return Err(HttpFault::Malformed(Malformed::BareLineFeed));
        }
        let method = Method::of(request.method.unwrap_or_default());
        let version = if request.version == Some(1) { Version::Http11 } else { Version::Http10 };
        let fields = Fields::collect(request.headers);
        let body = body(&fields, version)?;
        let target = RequestTarget::parse(request.path.unwrap_or_default(), method)?;
        let host = match (target.authority, host(&fields, version)?) {
            // RFC 9112 section 3.2.2: an absolute target's authority overrides Host.
            (Some(authority), _) => Some(authority),
            (None, host) => host,
        };
        // A proxy may tunnel everything that follows an Upgrade, whatever the answer is.
        let ends = fields.connection_close || fields.upgrade || version == Version::Http10;
        let state = |closes| if closes { After::Close } else { After::KeepAlive };
        Ok(Head {
            length: bytes.len(),
            method,
            route: Route::of(target.path),
            path: target.path,
            query: target.query,
            version,
            after: state(ends || body == Body::Declared),
            after_body: state(ends),
            host,
            body,
            fields,
            bytes,
        })
    }

    /// The values of every line with that name, in order; names are compared without case.
    pub fn values<'n>(&self, name: &'n str) -> impl DoubleEndedIterator<Item = &'a [u8]> + use<'a, 'n> {
        fields::values(self.bytes, name)
    }

    /// The bearer token (RFC 6750, section 2.1), if there is exactly one.
    pub fn bearer(&self) -> Option<&'a [u8]> {
        let mut shown = self.values("authorization");
        let (Some(value), None) = (shown.next(), shown.next()) else { return None };
        let (scheme, token) = value.split_at_checked("Bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
    }

    /// Decides whether the endpoint serves the request.
    ///
    /// After a refusal the connection continues as [`HttpFault::after`] says, because the end of the head is certain.
    pub fn serve(&self) -> Result<(), HttpFault> {
        let allow = match self.route {
            Route::Unknown if self.method != Method::Unknown => return Err(HttpFault::UnknownPath),
            Route::Ws | Route::Echo => Allow::Get,
            Route::Page(_)
            | Route::Health
            | Route::Live
            | Route::Ready
            | Route::Dependencies
            | Route::Metrics
            | Route::Unknown => Allow::GetHead,
        };
        match (self.method, allow) {
            (Method::Unknown, _) => return Err(HttpFault::UnknownMethod),
            (Method::Get, _) | (Method::Head, Allow::GetHead) => {}
            (
                Method::Head | Method::Post | Method::Put | Method::Delete | Method::Options | Method::Other,
                _,
            ) => {
                return Err(HttpFault::MethodNotAllowed(allow));
            }
        }
        if self.body == Body::Declared {
            return Err(HttpFault::BodyNotTaken);
        }
        // RFC 9110 section 10.1.1: an expectation in HTTP/1.0 is ignored.
        if self.version == Version::Http11 && !self.fields.expect.is_absent() {
            return Err(HttpFault::Expectation);
        }
        Ok(())
    }
}

/// httparse accepts a bare line feed as a line end, as RFC 9112 section 2.2 allows. A proxy in front may not, and
/// would then have seen other header lines.
fn has_bare_line_feed(head: &[u8]) -> bool {
    let first = head.first() == Some(&b'\n');
    let next = head.get(1..).unwrap_or_default();
    // No early exit, so that the loop is vectorised.
    head.iter().zip(next).fold(first, |bare, (a, b)| bare | ((*b == b'\n') & (*a != b'\r')))
}

/// Applies RFC 9112 section 6.3; every ambiguity is an error.
fn body(fields: &Fields<'_>, version: Version) -> Result<Body, HttpFault> {
    let length = match fields.content_length {
        Field::Absent => None,
        Field::Once(digits) => Some(digits),
        Field::Repeated => return Err(HttpFault::Malformed(Malformed::LengthRepeated)),
    };
    match (length, fields.transfer_encoding.is_absent(), version) {
        (Some(_), false, _) => Err(HttpFault::Malformed(Malformed::LengthAndEncoding)),
        (None, false, Version::Http10) => Err(HttpFault::Malformed(Malformed::EncodingInHttp10)),
        (None, false, Version::Http11) => Ok(Body::Declared),
        (None, true, _) => Ok(Body::None),
        (Some(digits), true, _) if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) => {
            Err(HttpFault::Malformed(Malformed::LengthInvalid))
        }
        (Some(digits), true, _) if digits.iter().all(|b| *b == b'0') => Ok(Body::None),
        (Some(_), true, _) => Ok(Body::Declared),
    }
}

/// RFC 9112 section 3.2: exactly one valid `Host` in HTTP/1.1, at most one in HTTP/1.0.
fn host<'a>(fields: &Fields<'a>, version: Version) -> Result<Option<Host<'a>>, HttpFault> {
    match (fields.host, version) {
        (Field::Once(text), _) => {
            Host::parse(text).map(Some).ok_or(HttpFault::Malformed(Malformed::HostInvalid))
        }
        (Field::Absent, Version::Http10) => Ok(None),
        (Field::Absent, Version::Http11) => Err(HttpFault::Malformed(Malformed::HostMissing)),
        (Field::Repeated, _) => Err(HttpFault::Malformed(Malformed::HostRepeated)),
    }
}

/// The target's parts (RFC 9112 section 3.2).
struct RequestTarget<'a> {
    authority: Option<Host<'a>>,
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> RequestTarget<'a> {
    fn parse(text: &'a str, method: Method) -> Result<RequestTarget<'a>, HttpFault> {
        if method == Method::Unknown {
            // CONNECT has its own form of target; the method is refused in any case.
            return Ok(RequestTarget { authority: None, path: "/", query: None });
        }
        if text.contains('#') || !text.is_ascii() {
            return Err(HttpFault::Malformed(Malformed::Target));
        }
        if text.starts_with('/') {
            return Ok(RequestTarget::of(None, text));
        }
        if text == "*" && method == Method::Options {
            return Err(HttpFault::MethodNotAllowed(Allow::GetHead));
        }
        let rest = ["http://", "https://"]
            .iter()
            .find(|scheme| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
            .and_then(|scheme| text.get(scheme.len()..))
            .ok_or(HttpFault::Malformed(Malformed::Target))?;
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let authority =
            Host::parse(authority.as_bytes()).ok_or(HttpFault::Malformed(Malformed::HostInvalid))?;
        Ok(RequestTarget::of(Some(authority), path))
    }

    fn of(authority: Option<Host<'a>>, text: &'a str) -> RequestTarget<'a> {
        let (path, query) = match text.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (text, None),
        };
        RequestTarget { authority, path: if path.is_empty() { "/" } else { path }, query }
    }
}

impl Method {
    fn of(token: &str) -> Method {
        match token {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "OPTIONS" => Method::Options,
            "PUT" => Method::Put,
            "DELETE" => Method::Delete,
            "PATCH" | "TRACE" => Method::Other,
            _ => Method::Unknown,
        }
    }
}

impl Route {
    /// Compares byte for byte. An encoded spelling of a path is another path, so that the gateway serves exactly the
    /// path that a proxy let pass.
    fn of(path: &str) -> Route {
        match path {
            "/ws" => Route::Ws,
            "/echo" => Route::Echo,
            "/health" => Route::Health,
            "/health/live" | "/livez" => Route::Live,
            "/health/ready" | "/readyz" => Route::Ready,
            "/health/dependencies" => Route::Dependencies,
            "/metrics" => Route::Metrics,
            _ => files::find(path).map_or(Route::Unknown, Route::Page),
        }
    }
}

#[cfg(test)]
mod tests;
