//! Why an HTTP request is refused: one enum, and the one place that turns a reason into status and words.
//!
//! What a person reads names the rule or the bound, by its configuration name, and what to do. Nothing the
//! peer sent is repeated, so an answer can carry nothing of an attacker's choosing.

use crate::wire::request::After;
use std::fmt;

/// Why a request is not served as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpFault {
    /// 400: the head breaks a rule of RFC 9112. The connection ends, since where the next request begins is
    /// not certain.
    Malformed(Malformed),
    /// 400: an upgrade breaks a rule of RFC 6455 section 4.2.1, or of `docs/protocol.md`.
    Handshake(Handshake),
    /// 401: the admin listener wants a bearer token (RFC 9110 section 15.5.2).
    Unauthorized,
    /// 403: the `Origin` is neither the `Host`'s own nor configured (RFC 6455 section 10.2).
    OriginForbidden,
    /// 403: the `Host` is not one this server answers to on loopback without auth.
    HostForbidden,
    /// 404: no such path, or one that is switched off.
    UnknownPath,
    /// 405: the path exists and serves other methods.
    MethodNotAllowed(Allow),
    /// 408: the head was not complete in time.
    HeadTimeout {
        /// `limits.head_ms`
        bound_ms: u32,
    },
    /// 413: the request declares a body; no path takes one.
    BodyNotTaken,
    /// 414: the request target is too long.
    UriTooLong {
        /// `limits.uri_bytes`
        bound: usize,
    },
    /// 417: an `Expect` on a server that takes no body.
    Expectation,
    /// 426: a plain request to a path that speaks only WebSocket (RFC 9110 section 15.5.22).
    UpgradeRequired,
    /// 426: a WebSocket version other than 13 (RFC 6455 section 4.4).
    UpgradeVersion,
    /// 429: one address has too many connections.
    TooManyConnections {
        /// `limits.connections_per_address`
        bound: u32,
    },
    /// 429: one address connects too often.
    TooFast {
        /// When to come back.
        retry_ms: u32,
    },
    /// 431: the head has too many bytes.
    HeadTooLarge {
        /// `limits.head_bytes`
        bound: usize,
    },
    /// 431: the head has too many lines.
    TooManyHeaders {
        /// `limits.headers`
        bound: usize,
    },
    /// 501: a method this server does not know (RFC 9110 section 9.1).
    UnknownMethod,
    /// 503: more come than the upgrades that would tell them could be completed.
    OverCapacity {
        /// When to come back.
        retry_ms: u32,
    },
    /// 503: a critical dependency is down, or the process drains.
    Unavailable {
        /// When to come back.
        retry_ms: u32,
    },
    /// 505: not HTTP/1.0 or HTTP/1.1.
    Version,
}

/// The rule of RFC 9112 that a head breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The bytes are a TLS handshake, and the listener is a plain one.
    Tls,
    /// The bytes are plain HTTP, and the listener speaks TLS.
    Plain,
    /// The request line is no `METHOD SP target SP HTTP/1.x` (section 3).
    RequestLine,
    /// The target is of no form we read, or has bytes a URI may not have (section 3.2).
    Target,
    /// A line has no valid field name before its colon, a space before the colon, or is folded (section 5).
    HeaderName,
    /// A value has a control character (RFC 9110 section 5.5).
    HeaderValue,
    /// A carriage return without a line feed (section 2.2).
    LineEnd,
    /// A line feed without a carriage return: some would read on where we would stop (section 2.2).
    BareLineFeed,
    /// HTTP/1.1 without `Host` (section 3.2).
    HostMissing,
    /// More than one `Host` (section 3.2).
    HostRepeated,
    /// A `Host` or an authority that is no `name[:port]` (section 3.2).
    HostInvalid,
    /// A `Content-Length` that is no decimal number (RFC 9110 section 8.6).
    LengthInvalid,
    /// More than one `Content-Length` (RFC 9110 section 8.6).
    LengthRepeated,
    /// Both `Transfer-Encoding` and `Content-Length` (section 6.3).
    LengthAndEncoding,
    /// `Transfer-Encoding` in HTTP/1.0 (section 6.1).
    EncodingInHttp10,
}

/// The rule an upgrade breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// `Upgrade` without `Connection: Upgrade`.
    Connection,
    /// No `Sec-WebSocket-Key`.
    KeyMissing,
    /// More than one `Sec-WebSocket-Key`.
    KeyRepeated,
    /// A `Sec-WebSocket-Key` that is not 16 bytes in base64.
    KeyInvalid,
    /// No `Sec-WebSocket-Version`.
    VersionMissing,
    /// More than one `Sec-WebSocket-Version`.
    VersionRepeated,
    /// More than one `Origin`.
    OriginRepeated,
    /// More than one `Authorization`.
    AuthorizationRepeated,
    /// A bearer token that is not visible ASCII.
    AuthorizationInvalid,
    /// A `Sec-WebSocket-Protocol` that is no list of tokens.
    SubprotocolInvalid,
    /// Subprotocols, and no `seawall.v…` among them.
    SubprotocolUnknown,
    /// More than one `seawall.token.…`.
    TokenRepeated,
}

/// The methods of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allow {
    /// `/ws`, `/echo`
    Get,
    /// Everything else.
    GetHead,
}

impl HttpFault {
    /// The status code.
    pub const fn status(self) -> u16 {
        match self {
            HttpFault::Malformed(_) | HttpFault::Handshake(_) => 400,
            HttpFault::Unauthorized => 401,
            HttpFault::OriginForbidden | HttpFault::HostForbidden => 403,
            HttpFault::UnknownPath => 404,
            HttpFault::MethodNotAllowed(_) => 405,
            HttpFault::HeadTimeout { .. } => 408,
            HttpFault::BodyNotTaken => 413,
            HttpFault::UriTooLong { .. } => 414,
            HttpFault::Expectation => 417,
            HttpFault::UpgradeRequired | HttpFault::UpgradeVersion => 426,
            HttpFault::TooManyConnections { .. } | HttpFault::TooFast { .. } => 429,
            HttpFault::HeadTooLarge { .. } | HttpFault::TooManyHeaders { .. } => 431,
            HttpFault::UnknownMethod => 501,
            HttpFault::OverCapacity { .. } | HttpFault::Unavailable { .. } => 503,
            HttpFault::Version => 505,
        }
    }

    /// The `error` of the body, and the label of a metric: one word for programs.
    pub const fn word(self) -> &'static str {
        match self {
            HttpFault::Malformed(_) => "malformed",
            HttpFault::Handshake(_) => "bad_handshake",
            HttpFault::Unauthorized => "unauthorized",
            HttpFault::OriginForbidden => "origin_forbidden",
            HttpFault::HostForbidden => "host_forbidden",
            HttpFault::UnknownPath => "not_found",
            HttpFault::MethodNotAllowed(_) => "method_not_allowed",
            HttpFault::HeadTimeout { .. } => "head_timeout",
            HttpFault::BodyNotTaken => "body_not_taken",
            HttpFault::UriTooLong { .. } => "uri_too_long",
            HttpFault::Expectation => "expectation_failed",
            HttpFault::UpgradeRequired => "upgrade_required",
            HttpFault::UpgradeVersion => "websocket_version",
            HttpFault::TooManyConnections { .. } => "too_many_connections",
            HttpFault::TooFast { .. } => "rate_limited",
            HttpFault::HeadTooLarge { .. } => "head_too_large",
            HttpFault::TooManyHeaders { .. } => "too_many_headers",
            HttpFault::UnknownMethod => "unknown_method",
            HttpFault::OverCapacity { .. } => "over_capacity",
            HttpFault::Unavailable { .. } => "unavailable",
            HttpFault::Version => "http_version",
        }
    }

    /// What becomes of the connection, when the head alone would have it `head`.
    ///
    /// It ends when the place of the next request is not certain, and when the peer is turned away as such.
    pub const fn after(self, head: After) -> After {
        match self {
            HttpFault::Malformed(_)
            | HttpFault::HeadTimeout { .. }
            | HttpFault::BodyNotTaken
            | HttpFault::UriTooLong { .. }
            | HttpFault::TooManyConnections { .. }
            | HttpFault::TooFast { .. }
            | HttpFault::HeadTooLarge { .. }
            | HttpFault::TooManyHeaders { .. }
            | HttpFault::OverCapacity { .. }
            | HttpFault::Version => After::Close,
            HttpFault::Handshake(_)
            | HttpFault::Unauthorized
            | HttpFault::OriginForbidden
            | HttpFault::HostForbidden
            | HttpFault::UnknownPath
            | HttpFault::MethodNotAllowed(_)
            | HttpFault::Expectation
            | HttpFault::UpgradeRequired
            | HttpFault::UpgradeVersion
            | HttpFault::UnknownMethod
            | HttpFault::Unavailable { .. } => head,
        }
    }

    /// The header lines that the status asks for, save `Retry-After`.
    pub const fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            HttpFault::Unauthorized => &[("WWW-Authenticate", "Bearer")],
            HttpFault::MethodNotAllowed(Allow::Get) => &[("Allow", "GET")],
            HttpFault::MethodNotAllowed(Allow::GetHead) => &[("Allow", "GET, HEAD")],
            // RFC 9110 section 7.8: who sends Upgrade names it in Connection.
            HttpFault::UpgradeRequired => &[("Upgrade", "websocket"), ("Connection", "Upgrade")],
            HttpFault::UpgradeVersion => {
                &[("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13")]
            }
            HttpFault::Malformed(_)
            | HttpFault::Handshake(_)
            | HttpFault::OriginForbidden
            | HttpFault::HostForbidden
            | HttpFault::UnknownPath
            | HttpFault::HeadTimeout { .. }
            | HttpFault::BodyNotTaken
            | HttpFault::UriTooLong { .. }
            | HttpFault::Expectation
            | HttpFault::TooManyConnections { .. }
            | HttpFault::TooFast { .. }
            | HttpFault::HeadTooLarge { .. }
            | HttpFault::TooManyHeaders { .. }
            | HttpFault::UnknownMethod
            | HttpFault::OverCapacity { .. }
            | HttpFault::Unavailable { .. }
            | HttpFault::Version => &[],
        }
    }

    /// `Retry-After` in whole seconds, rounded up so that nobody comes back early.
    pub fn retry_after_s(self) -> Option<u32> {
        if let HttpFault::TooFast { retry_ms }
        | HttpFault::OverCapacity { retry_ms }
        | HttpFault::Unavailable { retry_ms } = self
        {
            Some(retry_ms.div_ceil(1_000).max(1))
        } else {
            None
        }
    }
}

/// The `message` of the body: one sentence for a person, without a byte that JSON would escape.
impl fmt::Display for HttpFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpFault::Malformed(rule) => f.write_str(rule.text()),
            HttpFault::Handshake(rule) => f.write_str(rule.text()),
            HttpFault::Unauthorized => f.write_str("send Authorization: Bearer with the admin token"),
            HttpFault::OriginForbidden => f.write_str(
                "this page's origin is neither the server's own nor allowed; add it to server.origins",
            ),
            HttpFault::HostForbidden => f.write_str(
                "without auth this server answers only to localhost, 127.0.0.1 and [::1]; \
                 add the name of your Host header to server.hosts, or configure auth",
            ),
            HttpFault::UnknownPath => f.write_str("there is nothing here; the paths are in docs/http.md"),
            HttpFault::MethodNotAllowed(Allow::Get) => f.write_str("this path takes GET only"),
            HttpFault::MethodNotAllowed(Allow::GetHead) => f.write_str("this path takes GET and HEAD only"),
            HttpFault::HeadTimeout { bound_ms } => {
                write!(f, "the request's head took longer than limits.head_ms ({bound_ms} ms)")
            }
            HttpFault::BodyNotTaken => f.write_str("no path here takes a body; send the request without one"),
            HttpFault::UriTooLong { bound } => {
                write!(f, "the request target is over limits.uri_bytes ({bound} bytes)")
            }
            HttpFault::Expectation => f.write_str("no path here takes a body; send no Expect"),
            HttpFault::UpgradeRequired => f.write_str(
                "this path speaks WebSocket only; if you sent Upgrade: websocket, \
                 a proxy in between must pass Upgrade and Connection on, over HTTP/1.1",
            ),
            HttpFault::UpgradeVersion => f.write_str("this server speaks WebSocket version 13 (RFC 6455)"),
            HttpFault::TooManyConnections { bound } => {
                write!(f, "your address has limits.connections_per_address ({bound}) connections open")
            }
            HttpFault::TooFast { retry_ms } => {
                write!(f, "your address connects faster than limits.handshakes_per_s; wait {retry_ms} ms")
            }
            HttpFault::HeadTooLarge { bound } => {
                write!(f, "the request's head is over limits.head_bytes ({bound} bytes)")
            }
            HttpFault::TooManyHeaders { bound } => {
                write!(f, "the request has more header lines than limits.headers ({bound})")
            }
            HttpFault::UnknownMethod => f.write_str("this server knows no such method; use GET"),
            HttpFault::OverCapacity { retry_ms } => {
                write!(
                    f,
                    "more clients come than can be let in (limits.admissions_per_s); wait {retry_ms} ms"
                )
            }
            HttpFault::Unavailable { retry_ms } => {
                write!(f, "the service is not available now; come back in {retry_ms} ms")
            }
            HttpFault::Version => f.write_str("this port speaks HTTP/1.1 (and 1.0 without upgrade)"),
        }
    }
}

impl Malformed {
    const fn text(self) -> &'static str {
        match self {
            Malformed::Tls => {
                "this port speaks plain HTTP, and this is a TLS handshake; use http:// or ws://"
            }
            Malformed::Plain => "this port speaks TLS, and this is plain HTTP; use https:// or wss://",
            Malformed::RequestLine => "the request line is not METHOD, space, target, space, HTTP/1.1",
            Malformed::Target => "the request target is neither a path nor an http:// URI of visible ASCII",
            Malformed::HeaderName => {
                "a header line has an invalid name, a space before its colon, or continues the line before"
            }
            Malformed::HeaderValue => "a header value has a control character",
            Malformed::LineEnd => "a carriage return is not followed by a line feed",
            Malformed::BareLineFeed => "a line ends in a line feed alone; lines end in CR LF",
            Malformed::HostMissing => "HTTP/1.1 needs a Host header",
            Malformed::HostRepeated => "there is more than one Host header",
            Malformed::HostInvalid => "the host is not name or name:port",
            Malformed::LengthInvalid => "Content-Length is not a decimal number",
            Malformed::LengthRepeated => "there is more than one Content-Length",
            Malformed::LengthAndEncoding => "Content-Length and Transfer-Encoding exclude each other",
            Malformed::EncodingInHttp10 => "HTTP/1.0 has no Transfer-Encoding",
        }
    }
}

impl Handshake {
    const fn text(self) -> &'static str {
        match self {
            Handshake::Connection => {
                "Connection does not name Upgrade; a proxy in between must pass both headers on"
            }
            Handshake::KeyMissing => "there is no Sec-WebSocket-Key",
            Handshake::KeyRepeated => "there is more than one Sec-WebSocket-Key",
            Handshake::KeyInvalid => "Sec-WebSocket-Key is not 16 bytes in base64",
            Handshake::VersionMissing => "there is no Sec-WebSocket-Version; send 13",
            Handshake::VersionRepeated => "there is more than one Sec-WebSocket-Version",
            Handshake::OriginRepeated => "there is more than one Origin",
            Handshake::AuthorizationRepeated => "there is more than one Authorization",
            Handshake::AuthorizationInvalid => "the bearer token in Authorization is not visible ASCII",
            Handshake::SubprotocolInvalid => "Sec-WebSocket-Protocol is not a list of tokens",
            Handshake::SubprotocolUnknown => {
                "none of the offered subprotocols is ours; offer seawall.v1 as well"
            }
            Handshake::TokenRepeated => "more than one seawall.token subprotocol is offered",
        }
    }
}
