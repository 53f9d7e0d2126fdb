//! Writes server frames: unmasked and never fragmented (RFC 6455 section 5.1).
//!
//! The payload is written first and the header is put before it, because the payload's length determines the header's
//! length. A server frame is the same bytes for every receiver, so it is framed once and shared.

/// The opcodes of server frames (RFC 6455 section 5.2), with the FIN bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    Text = 0x81,
    Binary = 0x82,
    /// The payload is a code and a reason.
    Close = 0x88,
    /// The payload has at most 125 bytes.
    Ping = 0x89,
    /// The payload is that of the ping.
    Pong = 0x8A,
}

/// Appends one frame whose payload is known.
pub fn write(out: &mut Vec<u8>, kind: Opcode, payload: &[u8]) {
    let (header, length) = header(kind, payload.len());
    out.extend_from_slice(&header[..length]);
    out.extend_from_slice(payload);
}

/// Appends one frame whose payload `body` appends.
///
/// Space for the usual header is reserved before the payload. A longer or shorter header moves the payload by a few
/// bytes, which costs less than measuring it first.
pub fn write_with(out: &mut Vec<u8>, kind: Opcode, body: impl FnOnce(&mut Vec<u8>)) {
    const USUAL: usize = 4;
    let start = out.len();
    out.extend_from_slice(&[0; USUAL]);
    body(out);
    let payload = out.len() - start - USUAL;
    let (header, length) = header(kind, payload);
    if length == USUAL {
        out[start..start + USUAL].copy_from_slice(&header[..USUAL]);
    } else {
        out.splice(start..start + USUAL, header[..length].iter().copied());
    }
}

/// Appends a close frame with a code and a reason of at most 123 bytes, which the caller must ensure.
pub fn write_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    debug_assert!(reason.len() <= crate::limits::CLOSE_REASON_BYTES_MAX);
    write_with(out, Opcode::Close, |out| {
        out.extend_from_slice(&code.to_be_bytes());
        out.extend_from_slice(reason.as_bytes());
    });
}

/// Splits consecutive frames as written by this module. An incomplete frame at the end is omitted.
pub fn split(frames: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = frames;
    std::iter::from_fn(move || {
        let (frame, after) = rest.split_at_checked(length(rest)?)?;
        rest = after;
        Some(frame)
    })
}

/// The payload, if these bytes are exactly one text frame as written by this module.
pub fn text(frame: &[u8]) -> Option<&[u8]> {
    let whole = frame.first() == Some(&(Opcode::Text as u8)) && length(frame)? == frame.len();
    let header = match *frame.get(1)? {
        126 => 4,
        127 => 10,
        short if short < 126 => 2,
        _ => return None,
    };
    frame.get(header..).filter(|_| whole)
}

/// The number of bytes of the first frame, including its header.
fn length(frame: &[u8]) -> Option<usize> {
    let payload = match *frame.get(1)? {
        126 => 4 + usize::from(u16::from_be_bytes(*frame.get(2..)?.first_chunk()?)),
        127 => {
            10usize.checked_add(usize::try_from(u64::from_be_bytes(*frame.get(2..)?.first_chunk()?)).ok()?)?
        }
        short => 2 + usize::from(short),
    };
    Some(payload)
}

fn header(kind: Opcode, payload: usize) -> ([u8; 10], usize) {
    let mut bytes = [0u8; 10];
    bytes[0] = kind as u8;
    if payload < 126 {
        bytes[1] = payload as u8;
        (bytes, 2)
    } else if payload <= usize::from(u16::MAX) {
        bytes[1] = 126;
        bytes[2..4].copy_from_slice(&(payload as u16).to_be_bytes());
        (bytes, 4)
    } else {
        bytes[1] = 127;
        bytes[2..10].copy_from_slice(&(payload as u64).to_be_bytes());
        (bytes, 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;
    use tungstenite::protocol::frame::FrameSocket;

    #[test]
    fn frame_of_any_length_reads_back() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
            let payload = vec![b'x'; length];
            let mut direct = b"before".to_vec();
            write(&mut direct, Opcode::Text, &payload);
            let mut measured = b"before".to_vec();
            write_with(&mut measured, Opcode::Text, |out| out.extend_from_slice(&payload));
            assert_eq!(direct, measured, "{length}");
            let mut socket = FrameSocket::new(Cursor::new(direct[6..].to_vec()));
            let frame = socket.read(None).expect("valid").expect("one frame");
            assert_eq!(frame.payload(), payload);
        }
    }

    #[test]
    fn consecutive_frames_are_split() {
        let lengths = [0, 1, 125, 126, 65_535, 65_536, 3];
        let frame = |length: usize| {
            let mut frame = Vec::new();
            write(&mut frame, Opcode::Text, &vec![b'x'; length]);
            frame
        };
        let frames: Vec<Vec<u8>> = lengths.map(frame).into();
        let mut bytes = frames.concat();
        assert!(split(&bytes).eq(frames.iter().map(Vec::as_slice)));
        bytes.pop();
        assert_eq!(split(&bytes).count(), lengths.len() - 1, "the last frame is incomplete");
        assert_eq!(split(&[0x81, 127, 255, 255, 255, 255, 255, 255, 255, 255]).count(), 0);
        assert_eq!(split(&[0x81]).count(), 0);
    }
}
