//! One HTTP/1.x request head: bytes to a [`Head`], or to a refusal.
//!
//! The syntax is httparse's; the rules that keep two readers of the same bytes from disagreeing (RFC 9112
//! section 11.2, request smuggling) are here. Whatever could be read in two ways is refused and the
//! connection ends; nothing is repaired.
//!
//! The outcome depends on the bytes alone, not on how they were cut: a head that is refused whole is refused
//! at some prefix for the same reason, and never later than its bound.

use crate::limits::Limits;
use crate::wire::fields::{self, Field, Fields};
use crate::wire::origin::Host;
use crate::wire::page::{self, File};
use std::mem::MaybeUninit;

pub use crate::wire::fault::{Allow, HttpFault, Malformed};

/// Most header lines of any configuration: they are parsed into this many places on the stack.
pub const HEADERS_MAX: usize = 256;

/// The bounds of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes from the request line to the empty line, both included.
    pub head_bytes: usize,
    /// Header lines, at most [`HEADERS_MAX`].
    pub headers: usize,
    /// Bytes of the request target.
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

/// What the bytes received so far are.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "returned once and matched at once; a box would cost more")]
pub enum Parsed<'a> {
    /// The beginning of a head; more bytes decide.
    Partial,
    /// A whole head. [`Head::serve`] says whether what it asks for is served.
    Complete(Head<'a>),
    /// No head we read on from: answer and close.
    Refused(HttpFault),
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Bytes of the head, empty lines before it included; what follows belongs to what follows.
    pub length: usize,
    /// The method.
    pub method: Method,
    /// Which endpoint.
    pub route: Route,
    /// The target's path as sent, never empty.
    pub path: &'a str,
    /// The target's query, without `?`.
    pub query: Option<&'a str>,
    /// The version.
    pub version: Version,
    /// What becomes of the connection after the answer.
    pub after: After,
    /// Whom the request is for: the target's authority, else `Host`. Always there in HTTP/1.1.
    pub host: Option<Host<'a>>,
    /// Whether a body follows.
    pub body: Body,
    /// What else the lines say; `upgrade` reads it.
    pub(super) fields: Fields<'a>,
    bytes: &'a [u8],
}

/// The methods that matter here (RFC 9110 section 9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
    /// `PATCH` or `TRACE`: known, and allowed nowhere.
    Other,
    /// Any other token, and `CONNECT`, which is for proxies.
    Unknown,
}

/// The endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/`, a file that the page there loads, or the client library.
    Page(&'static File),
    /// `/ws`
    Ws,
    /// `/echo`
    Echo,
    /// `/health`
    Health,
    /// `/health/live`, `/livez`
    Live,
    /// `/health/ready`, `/readyz`
    Ready,
    /// `/health/dependencies`
    Dependencies,
    /// `/metrics`
    Metrics,
    /// Any other path.
    Unknown,
}

/// The versions that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: one plain request a connection, no upgrade.
    Http10,
    /// HTTP/1.1
    Http11,
}

/// What becomes of the connection after an answer (RFC 9112 section 9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The next request may follow.
    KeepAlive,
    /// It ends.
    Close,
}

/// Whether a body follows the head (RFC 9112 section 6.3). None is ever read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// No body.
    None,
    /// Some, by `Content-Length` or `Transfer-Encoding`.
    Declared,
}

/// Reads a head from all bytes received of it so far; bytes of what follows may stand behind it.
///
/// Only the first `head_bytes` are looked at, so a head over a bound is refused as soon as it is over.
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

/// Bytes of the target, as far as it has come.
fn target_bytes(window: &[u8], request: &httparse::Request<'_, '_>) -> usize {
    match (request.method, request.path) {
        (_, Some(path)) => path.len(),
        (Some(_), None) => target_so_far(window).0.len(),
        (None, None) => 0,
    }
}

/// A target that httparse did not finish, and what comes after it. The first space ends the method, since
/// nothing but line ends may stand before it.
fn target_so_far(window: &[u8]) -> (&[u8], &[u8]) {
    let method_end = window.iter().position(|b| *b == b' ').map_or(window.len(), |at| at + 1);
    let rest = &window[method_end..];
    let end = rest.iter().position(|b| *b <= b' ' || *b == 0x7F).unwrap_or(rest.len());
    rest.split_at(end)
}

/// Turns httparse's error into the rule that was broken. It looks no further than httparse did.
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
            // A name and a digit make it a version of HTTP, only not one of ours.
            let version = target_so_far(window).1.get(1..).and_then(|rest| rest.strip_prefix(b"HTTP/"));
            if version.and_then(<[u8]>::first).is_some_and(u8::is_ascii_digit) {
                return HttpFault::Version;
            }
            Malformed::RequestLine
        }
        httparse::Error::Token | httparse::Error::Status => match (request.method, target_so_far(window)) {
            (None, _) if window.first() == Some(&0x16) => Malformed::Tls,
            (None, _) => Malformed::RequestLine,
            // `GET /path` and the line ends: HTTP/0.9.
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
        let target = Target::parse(request.path.unwrap_or_default(), method)?;
        let host = match (target.authority, host(&fields, version)?) {
            // RFC 9112 section 3.2.2: an absolute target's authority counts, whatever Host says.
            (Some(authority), _) => Some(authority),
            (None, host) => host,
        };
        let close = fields.connection_close || version == Version::Http10 || body == Body::Declared;
        Ok(Head {
            length: bytes.len(),
            method,
            route: Route::of(target.path),
            path: target.path,
            query: target.query,
            version,
            after: if close { After::Close } else { After::KeepAlive },
            host,
            body,
            fields,
            bytes,
        })
    }

    /// The values of every line of that name, in order; names compare without case.
    pub fn values<'n>(&self, name: &'n str) -> impl DoubleEndedIterator<Item = &'a [u8]> + use<'a, 'n> {
        fields::values(self.bytes, name)
    }

    /// Whether the endpoint serves such a request at all.
    ///
    /// After a refusal the connection goes on as [`HttpFault::after`] says: the head's end is certain.
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

/// httparse takes a lone line feed for a line's end, as RFC 9112 section 2.2 allows; a proxy in front may not,
/// and would then have seen other header lines than we do.
fn has_bare_line_feed(head: &[u8]) -> bool {
    let first = head.first() == Some(&b'\n');
    let next = head.get(1..).unwrap_or_default();
    // No early exit: the loop is then done many bytes at a time.
    head.iter().zip(next).fold(first, |bare, (a, b)| bare | ((*b == b'\n') & (*a != b'\r')))
}

/// RFC 9112 section 6.3, where every doubt is an error.
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
struct Target<'a> {
    authority: Option<Host<'a>>,
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> Target<'a> {
    fn parse(text: &'a str, method: Method) -> Result<Target<'a>, HttpFault> {
        if method == Method::Unknown {
            // CONNECT has a form of its own; the method is refused whatever the target is.
            return Ok(Target { authority: None, path: "/", query: None });
        }
        if text.contains('#') || !text.is_ascii() {
            return Err(HttpFault::Malformed(Malformed::Target));
        }
        if text.starts_with('/') {
            return Ok(Target::of(None, text));
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
        Ok(Target::of(Some(authority), path))
    }

    fn of(authority: Option<Host<'a>>, text: &'a str) -> Target<'a> {
        let (path, query) = match text.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (text, None),
        };
        Target { authority, path: if path.is_empty() { "/" } else { path }, query }
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
    /// Byte for byte: an encoded or doubled spelling of a path is another path, so that what a proxy let
    /// pass is what is served.
    fn of(path: &str) -> Route {
        match path {
            "/ws" => Route::Ws,
            "/echo" => Route::Echo,
            "/health" => Route::Health,
            "/health/live" | "/livez" => Route::Live,
            "/health/ready" | "/readyz" => Route::Ready,
            "/health/dependencies" => Route::Dependencies,
            "/metrics" => Route::Metrics,
            _ => page::find(path).map_or(Route::Unknown, Route::Page),
        }
    }
}

#[cfg(test)]
mod tests;
