//! The canned upgrade response, in which only the accept key is computed (RFC 6455 section 4.2.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

/// The GUID appended to the key before hashing.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The path a client requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// `/echo`
    Echo,
    /// `/ws`
    Chat,
}

/// The result of parsing an upgrade request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// It is incomplete.
    Partial,
    /// An upgrade to this path, which ends after this many bytes.
    Whole(Path, usize),
    /// Any other request.
    Foreign,
}

/// Parses a request and appends the response.
pub(crate) fn answer(bytes: &[u8], out: &mut Vec<u8>) -> Head {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Head::Partial };
    let path = if bytes.starts_with(b"GET /echo ") {
        Path::Echo
    } else if bytes.starts_with(b"GET /ws ") {
        Path::Chat
    } else {
        return Head::Foreign;
    };
    const NAME: &[u8] = b"\r\nsec-websocket-key: ";
    let Some(name) = bytes.windows(NAME.len()).position(|window| window.eq_ignore_ascii_case(NAME)) else {
        return Head::Foreign;
    };
    let key = bytes.get(name + NAME.len()..name + NAME.len() + 24).unwrap_or_default();
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
    );
    out.extend_from_slice(STANDARD.encode(digest).as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
    Head::Whole(path, end + 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn example_of_the_rfc_is_answered() {
        let head = b"GET /ws HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let mut out = Vec::new();
        assert_eq!(answer(&head[..head.len() - 1], &mut out), Head::Partial);
        assert_eq!(answer(head, &mut out), Head::Whole(Path::Chat, head.len()));
        assert!(String::from_utf8(out).expect("text").contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }
}
