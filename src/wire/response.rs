//! Writes HTTP/1.1 answers: the 101 of an upgrade, plain answers, and refusals as JSON.
//!
//! Everything is appended to a buffer that the reactor reuses. There is no `Server` and no `Date`, because this
//! module has no clock.

use crate::wire::fault::HttpFault;
use crate::wire::request::{After, Method};
use crate::wire::upgrade::{OfferedVersion, SUBPROTOCOL, Upgrade};
use std::io::Write as _;

/// The options of an answer, in addition to its body.
#[derive(Clone, Copy, Debug)]
pub struct ResponseOptions<'a> {
    /// The request's method: `HEAD` gets the same head and no body.
    pub method: Method,
    /// The state of the connection, for the header; the caller must act on it.
    pub after: After,
    pub cache_control: &'a str,
    /// Further header lines. They must not come from the peer, and no value may contain a line end.
    pub headers: &'a [(&'a str, &'a str)],
}

impl ResponseOptions<'_> {
    /// An answer that must not be cached, without further header lines.
    pub const fn plain(method: Method, after: After) -> ResponseOptions<'static> {
        ResponseOptions { method, after, cache_control: "no-store", headers: &[] }
    }
}

/// Appends the answer that completes an upgrade (RFC 6455 section 4.2.2). The token is never echoed.
pub fn switching(out: &mut Vec<u8>, upgrade: &Upgrade<'_>) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
    );
    out.extend_from_slice(upgrade.accept.as_bytes());
    out.extend_from_slice(b"\r\n");
    match upgrade.version {
        OfferedVersion::V1Named => field(out, "Sec-WebSocket-Protocol", SUBPROTOCOL),
        OfferedVersion::Unsupported(name) => field(out, "Sec-WebSocket-Protocol", name),
        OfferedVersion::NotNamed => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a plain answer.
///
/// `Content-Length` is that of `body`, even if the body itself is omitted for `HEAD` and 304 (RFC 9110 section 8.6).
/// A 204 has neither.
pub fn answer(
    out: &mut Vec<u8>,
    status: u16,
    content_type: &str,
    body: &[u8],
    options: &ResponseOptions<'_>,
) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "HTTP/1.1 {status} {}\r\n", reason(status));
    if status != 204 {
        let _ = write!(out, "Content-Length: {}\r\n", body.len());
        field(out, "Content-Type", content_type);
    }
    field(out, "Cache-Control", options.cache_control);
    out.extend_from_slice(b"X-Content-Type-Options: nosniff\r\n");
    for (name, value) in options.headers {
        field(out, name, value);
    }
    match options.after {
        After::Close => out.extend_from_slice(b"Connection: close\r\n\r\n"),
        After::KeepAlive => out.extend_from_slice(b"\r\n"),
    }
    if options.method != Method::Head && !matches!(status, 204 | 304) {
        out.extend_from_slice(body);
    }
}

/// Appends a refusal, `{"error":"…","message":"…"}`, and returns the state of the connection after it.
///
/// `method` and `after` are the head's; for a head that could not be read, pass [`Method::Get`] and [`After::Close`].
pub fn fault(out: &mut Vec<u8>, fault: HttpFault, method: Method, after: After) -> After {
    let after = fault.after(after);
    let retry_after = fault.retry_after_s().map(|seconds| seconds.to_string());
    let mut headers = fault.headers().to_vec();
    headers.extend(retry_after.as_deref().map(|seconds| ("Retry-After", seconds)));
    let body = format!("{{\"error\":\"{}\",\"message\":\"{fault}\"}}\n", fault.word());
    let options = ResponseOptions { headers: &headers, ..ResponseOptions::plain(method, after) };
    answer(out, fault.status(), "application/json", body.as_bytes(), &options);
    after
}

fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    debug_assert!(!value.bytes().any(|b| b.is_ascii_control()), "{name} would break the head");
    for part in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// The reason phrase of RFC 9110 section 15; clients must not depend on it.
const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        303 => "See Other",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests;
