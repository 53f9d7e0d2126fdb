//! The client's half of the opening handshake (RFC 6455 section 4.1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};
use std::net::SocketAddr;

/// The GUID appended to the key before hashing.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The request for `path`, and the accept key the answer must contain.
pub fn request(path: &str, target: SocketAddr) -> (Vec<u8>, String) {
    let key = STANDARD.encode(fastrand::u128(..).to_ne_bytes());
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {target}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    (request.into_bytes(), accept(key.as_bytes()))
}

fn accept(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// The server's answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The answer is incomplete.
    Partial,
    /// The connection is open; frames begin after this many bytes.
    Open(usize),
    /// The upgrade was refused, for this reason.
    Refused(String),
}

/// Parses the server's answer.
pub fn answer(bytes: &[u8], accept: &str) -> Answer {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Partial) => return Answer::Partial,
        Ok(httparse::Status::Complete(length)) => length,
        Err(error) => return Answer::Refused(format!("no HTTP response: {error}")),
    };
    if response.code != Some(101) {
        return Answer::Refused(format!("HTTP status {}", response.code.unwrap_or(0)));
    }
    let accepted =
        response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("sec-websocket-accept"));
    match accepted {
        Some(header) if header.value == accept.as_bytes() => Answer::Open(length),
        Some(_) => Answer::Refused("wrong accept key".to_owned()),
        None => Answer::Refused("no accept key".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_accept_key_of_the_rfc_example_is_accepted() {
        let wanted = accept(b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(wanted, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let head = format!("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {wanted}\r\n\r\n");
        assert_eq!(answer(head.as_bytes(), &wanted), Answer::Open(head.len()));
        assert_eq!(answer(&head.as_bytes()[..head.len() - 1], &wanted), Answer::Partial);
        assert!(matches!(answer(head.as_bytes(), "other"), Answer::Refused(_)));
        assert!(matches!(answer(b"HTTP/1.1 503 Busy\r\n\r\n", &wanted), Answer::Refused(_)));
    }
}
