//! Reasons to refuse an HTTP request, and the one place that turns each into a status and a message.
//!
//! A message names the rule or the bound, by its setting, and what to do. It never repeats anything that the peer
//! sent, so that an answer cannot carry content of an attacker's choosing.

use crate::wire::after::After;
use std::fmt;

/// The reason why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpFault {
    /// 400: the head breaks a rule of RFC 9112. The connection ends, because the start of the next request is uncertain.
    Malformed(Malformed),
    /// 400: an upgrade breaks a rule of RFC 6455 section 4.2.1, or of `docs/protocol.md`.
    Handshake(Handshake),
    /// 401: the admin listener requires a bearer token (RFC 9110 section 15.5.2).
    Unauthorized,
    /// 403: the `Origin` is neither the `Host`'s own nor configured (RFC 6455 section 10.2).
    OriginForbidden,
    /// 403: the `Host` is not one that this server accepts on loopback without auth.
    HostForbidden,
    /// 404: the path does not exist or is turned off.
    UnknownPath,
    /// 405: the path exists but serves other methods.
    MethodNotAllowed(Allow),
    /// 408: the head was not complete in time.
    HeadTimeout {
        /// `limits.head_ms`
        bound_ms: u32,
    },
    /// 413: the request declares a body; no path accepts one.
    BodyNotTaken,
    /// 414: the request target is too long.
    UriTooLong {
        /// `limits.uri_bytes`
        bound: usize,
    },
    /// 417: the request has `Expect`, but no path accepts a body.
    Expectation,
    /// 426: a plain request to a path that serves only WebSocket (RFC 9110 section 15.5.22).
    UpgradeRequired,
    /// 426: a WebSocket version other than 13 (RFC 6455 section 4.4).
    UpgradeVersion,
    /// 429: one address has too many connections.
    TooManyConnections {
        /// `limits.connections_per_address`
        bound: u32,
    },
    /// 429: one address opens connections too fast.
    TooFast { retry_ms: u32 },
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
    /// 501: the method is unknown (RFC 9110 section 9.1).
    UnknownMethod,
    /// 503: more clients arrive than could be upgraded just to be refused with `bye`.
    OverCapacity { retry_ms: u32 },
    /// 503: a critical dependency is down, or the process drains.
    Unavailable { retry_ms: u32 },
    /// 505: neither HTTP/1.0 nor HTTP/1.1.
    Version,
}

/// The rule of RFC 9112 that a head breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The bytes are a TLS handshake on a plain listener.
    Tls,
    /// The bytes are plain HTTP on a TLS listener.
    Plain,
    /// The request line is not `METHOD SP target SP HTTP/1.x` (section 3).
    RequestLine,
    /// The target has an unsupported form, or bytes that a URI must not have (section 3.2).
    Target,
    /// A line has no valid field name before its colon, a space before the colon, or is folded (section 5).
    HeaderName,
    /// A value has a control character (RFC 9110 section 5.5).
    HeaderValue,
    /// A carriage return without a line feed (section 2.2).
    LineEnd,
    /// A line feed without a carriage return, which other readers may treat differently (section 2.2).
    BareLineFeed,
    /// HTTP/1.1 without `Host` (section 3.2).
    HostMissing,
    /// More than one `Host` (section 3.2).
    HostRepeated,
    /// A `Host` or an authority that is not `name[:port]` (section 3.2).
    HostInvalid,
    /// A `Content-Length` that is not a decimal number (RFC 9110 section 8.6).
    LengthInvalid,
    /// More than one `Content-Length` (RFC 9110 section 8.6).
    LengthRepeated,
    /// Both `Transfer-Encoding` and `Content-Length` (section 6.3).
    LengthAndEncoding,
    /// `Transfer-Encoding` in HTTP/1.0 (section 6.1).
    EncodingInHttp10,
}

/// The rule that an upgrade breaks.
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
    /// A `Sec-WebSocket-Protocol` that is not a list of tokens.
    SubprotocolInvalid,
    /// Subprotocols without a `seawall.v…` among them.
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
    /// The status and the word of every reason, in the order of the metric.
    pub const REASONS: [(u16, &'static str); 21] = [
        (400, "malformed"),
        (400, "bad_handshake"),
        (401, "unauthorized"),
        (403, "origin_forbidden"),
        (403, "host_forbidden"),
        (404, "not_found"),
        (405, "method_not_allowed"),
        (408, "head_timeout"),
        (413, "body_not_taken"),
        (414, "uri_too_long"),
        (417, "expectation_failed"),
        (426, "upgrade_required"),
        (426, "websocket_version"),
        (429, "too_many_connections"),
        (429, "rate_limited"),
        (431, "head_too_large"),
        (431, "too_many_headers"),
        (501, "unknown_method"),
        (503, "over_capacity"),
        (503, "unavailable"),
        (505, "http_version"),
    ];

    /// The place in [`REASONS`](HttpFault::REASONS).
    pub const fn index(self) -> usize {
        match self {
            HttpFault::Malformed(_) => 0,
            HttpFault::Handshake(_) => 1,
            HttpFault::Unauthorized => 2,
            HttpFault::OriginForbidden => 3,
            HttpFault::HostForbidden => 4,
            HttpFault::UnknownPath => 5,
            HttpFault::MethodNotAllowed(_) => 6,
            HttpFault::HeadTimeout { .. } => 7,
            HttpFault::BodyNotTaken => 8,
            HttpFault::UriTooLong { .. } => 9,
            HttpFault::Expectation => 10,
            HttpFault::UpgradeRequired => 11,
            HttpFault::UpgradeVersion => 12,
            HttpFault::TooManyConnections { .. } => 13,
            HttpFault::TooFast { .. } => 14,
            HttpFault::HeadTooLarge { .. } => 15,
            HttpFault::TooManyHeaders { .. } => 16,
            HttpFault::UnknownMethod => 17,
            HttpFault::OverCapacity { .. } => 18,
            HttpFault::Unavailable { .. } => 19,
            HttpFault::Version => 20,
        }
    }

    pub const fn status(self) -> u16 {
        HttpFault::REASONS[self.index()].0
    }

    /// The `error` of the body, and the label of a metric: one word for programs.
    pub const fn word(self) -> &'static str {
        HttpFault::REASONS[self.index()].1
    }

    /// The state of the connection after the refusal, where `head` is the state according to the head.
    ///
    /// The connection ends if the start of the next request is uncertain, or if the refusal is directed at the peer
    /// itself.
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

    /// The header lines that the status requires, except `Retry-After`.
    pub const fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            HttpFault::Unauthorized => &[("WWW-Authenticate", "Bearer")],
            HttpFault::MethodNotAllowed(Allow::Get) => &[("Allow", "GET")],
            HttpFault::MethodNotAllowed(Allow::GetHead) => &[("Allow", "GET, HEAD")],
            // RFC 9110 section 7.8: a sender of Upgrade must name it in Connection.
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

    /// `Retry-After` in whole seconds, rounded up so that no client returns early.
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

/// The `message` of the body: a sentence for people, without bytes that JSON would escape.
impl fmt::Display for HttpFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpFault::Malformed(rule) => f.write_str(rule.text()),
            HttpFault::Handshake(rule) => f.write_str(rule.text()),
            HttpFault::Unauthorized => f.write_str("send Authorization: Bearer with the admin token"),
            HttpFault::OriginForbidden => f.write_str(
                "the page's origin is not this server's own; add it to server.origins to allow it",
            ),
            HttpFault::HostForbidden => f.write_str(
                "without auth, this server accepts only the hosts localhost, 127.0.0.1 and [::1]; \
                add the host of your request to server.hosts, or configure auth",
            ),
            HttpFault::UnknownPath => f.write_str("this path does not exist; there are /, /ws, /health, /health/live, /health/ready, /health/dependencies and /metrics"),
            HttpFault::MethodNotAllowed(Allow::Get) => f.write_str("this path accepts only GET"),
            HttpFault::MethodNotAllowed(Allow::GetHead) => f.write_str("this path accepts only GET and HEAD"),
            HttpFault::HeadTimeout { bound_ms } => {
                write!(
                    f,
                    "the request head exceeded limits.head_ms ({bound_ms} ms); connect and send it again"
                )
            }
            HttpFault::BodyNotTaken => f.write_str("no path accepts a request body; send none"),
            HttpFault::UriTooLong { bound } => {
                write!(f, "the request target exceeds limits.uri_bytes ({bound} bytes); send a shorter one")
            }
            HttpFault::Expectation => f.write_str("no path accepts a request body; send no Expect header"),
            HttpFault::UpgradeRequired => f.write_str(
                "this path serves only WebSocket; if you sent Upgrade: websocket, \
                make the proxy in between forward Upgrade and Connection over HTTP/1.1",
            ),
            HttpFault::UpgradeVersion => {
                f.write_str("this server supports only WebSocket version 13 (RFC 6455)")
            }
            HttpFault::TooManyConnections { bound } => {
                write!(
                    f,
                    "your address has {bound} connections, the most that \
                     limits.connections_per_address allows; close one first"
                )
            }
            HttpFault::TooFast { retry_ms } => {
                write!(f, "your address exceeds limits.handshakes_per_s; wait {retry_ms} ms")
            }
            HttpFault::HeadTooLarge { bound } => {
                write!(f, "the request head exceeds limits.head_bytes ({bound} bytes); send fewer headers")
            }
            HttpFault::TooManyHeaders { bound } => {
                write!(
                    f,
                    "the request has more header lines than limits.headers ({bound}) allows; send fewer"
                )
            }
            HttpFault::UnknownMethod => f.write_str("the request method is unknown; use GET"),
            HttpFault::OverCapacity { retry_ms } => {
                write!(f, "more clients connect than limits.admissions_per_s admits; wait {retry_ms} ms")
            }
            HttpFault::Unavailable { retry_ms } => {
                write!(f, "the service is unavailable; retry in {retry_ms} ms")
            }
            HttpFault::Version => {
                f.write_str("this server supports HTTP/1.1, and HTTP/1.0 without upgrade; send HTTP/1.1")
            }
        }
    }
}

impl Malformed {
    const fn text(self) -> &'static str {
        match self {
            Malformed::Tls => {
                "this port serves plain HTTP but received a TLS handshake; use http:// or ws://"
            }
            Malformed::Plain => "this port serves TLS but received plain HTTP; use https:// or wss://",
            Malformed::RequestLine => "the request line is not METHOD, space, target, space, HTTP/1.1",
            Malformed::Target => "the request target is neither a path nor an http:// URI of visible ASCII",
            Malformed::HeaderName => {
                "a header line has an invalid name, has a space before its colon, or continues the line before"
            }
            Malformed::HeaderValue => "a header value has a control character",
            Malformed::LineEnd => "a carriage return has no line feed after it; end each line with CR LF",
            Malformed::BareLineFeed => {
                "a line feed has no carriage return before it; end each line with CR LF"
            }
            Malformed::HostMissing => "the request has no Host header, which HTTP/1.1 requires",
            Malformed::HostRepeated => "the request has more than one Host header; send one",
            Malformed::HostInvalid => "the host is not a name or name:port",
            Malformed::LengthInvalid => "Content-Length is not a decimal number",
            Malformed::LengthRepeated => "the request has more than one Content-Length; send one",
            Malformed::LengthAndEncoding => {
                "the request has both Content-Length and Transfer-Encoding; send neither"
            }
            Malformed::EncodingInHttp10 => "the request has Transfer-Encoding, which HTTP/1.0 does not allow",
        }
    }
}

impl Handshake {
    const fn text(self) -> &'static str {
        match self {
            Handshake::Connection => {
                "the Connection header does not name Upgrade; make the proxy in between forward both headers"
            }
            Handshake::KeyMissing => "the request has no Sec-WebSocket-Key",
            Handshake::KeyRepeated => "the request has more than one Sec-WebSocket-Key; send one",
            Handshake::KeyInvalid => "Sec-WebSocket-Key is not 16 bytes in base64",
            Handshake::VersionMissing => "the request has no Sec-WebSocket-Version; send 13",
            Handshake::VersionRepeated => "the request has more than one Sec-WebSocket-Version; send one",
            Handshake::OriginRepeated => "the request has more than one Origin; send one",
            Handshake::AuthorizationRepeated => "the request has more than one Authorization; send one",
            Handshake::AuthorizationInvalid => "the bearer token in Authorization is not visible ASCII",
            Handshake::SubprotocolInvalid => "Sec-WebSocket-Protocol is not a list of tokens",
            Handshake::SubprotocolUnknown => "no offered subprotocol is supported; offer seawall.v1",
            Handshake::TokenRepeated => {
                "the request offers more than one seawall.token subprotocol; offer one"
            }
        }
    }
}
