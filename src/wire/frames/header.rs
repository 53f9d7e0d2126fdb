//! A frame's header, taken apart and not judged.
//!
//! tungstenite parses headers too, out of a reader: through a cursor over a slice that costs more than the rest
//! of a short frame.

/// A header as it stands in the bytes (RFC 6455 section 5.2).
pub(super) struct Header {
    /// Final bit, reserved bits, opcode.
    pub(super) first: u8,
    /// What the payload is XORed with (section 5.3); a server's frames have none.
    pub(super) mask: Option<[u8; 4]>,
    /// Of the payload.
    pub(super) length: u64,
    /// Of the header itself.
    pub(super) bytes: usize,
}

/// Takes a header apart; `None` when it is incomplete.
pub(super) fn split_header(bytes: &[u8]) -> Option<Header> {
    let (&[first, second], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match second & 0x7F {
        126 => {
            let (length, rest) = rest.split_first_chunk()?;
            (u64::from(u16::from_be_bytes(*length)), rest)
        }
        127 => {
            let (length, rest) = rest.split_first_chunk()?;
            (u64::from_be_bytes(*length), rest)
        }
        short => (u64::from(short), rest),
    };
    let (mask, rest) = match second & 0x80 {
        0 => (None, rest),
        _ => {
            let (mask, rest) = rest.split_first_chunk()?;
            (Some(*mask), rest)
        }
    };
    Some(Header { first, mask, length, bytes: bytes.len() - rest.len() })
}
