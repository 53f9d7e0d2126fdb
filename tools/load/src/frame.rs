//! Frames, written as a client must (RFC 6455 section 5.3) and read as a server must have written them.

// Opcodes (RFC 6455 section 11.8).
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;

/// Appends one complete, masked frame.
pub fn write(out: &mut Vec<u8>, opcode: u8, payload: &[u8], mask: u32) {
    out.push(0x80 | opcode);
    match payload.len() {
        length @ ..126 => out.push(0x80 | length as u8),
        length @ ..65_536 => {
            out.push(0xFE);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(0xFF);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let mask = mask.to_ne_bytes();
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(payload) = out.get_mut(start..) {
        apply(payload, mask);
    }
}

fn apply(payload: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from(u32::from_ne_bytes(mask)) * 0x1_0000_0001;
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let word = u64::from_ne_bytes((&*chunk).try_into().unwrap_or_default()) ^ wide;
        chunk.copy_from_slice(&word.to_ne_bytes());
    }
    for (byte, mask) in chunks.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// A server's frame, borrowed from the bytes that were read.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub opcode: u8,
    pub payload: &'a [u8],
    /// Bytes of the whole frame, header included.
    pub length: usize,
}

/// The result of reading one frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// The frame is incomplete.
    Partial,
    Frame(Frame<'a>),
    /// Something a server must not send or Seawall never sends: a masked or fragmented frame, or reserved bits.
    Broken(&'static str),
}

/// Reads the frame at the start of `bytes`.
pub fn next(bytes: &[u8]) -> Next<'_> {
    let [first, second, ..] = *bytes else { return Next::Partial };
    if first & 0x70 != 0 {
        return Next::Broken("reserved bits are set");
    }
    if first & 0x80 == 0 || first & 0x0F == 0 {
        return Next::Broken("a fragment");
    }
    if second & 0x80 != 0 {
        return Next::Broken("a masked frame");
    }
    let (length, start): (usize, usize) = match second {
        126 => match bytes.get(2..4).and_then(|bytes| bytes.try_into().ok()) {
            Some(length) => (usize::from(u16::from_be_bytes(length)), 4),
            None => return Next::Partial,
        },
        127 => match bytes.get(2..10).and_then(|bytes| bytes.try_into().ok()) {
            Some(length) => (u64::from_be_bytes(length) as usize, 10),
            None => return Next::Partial,
        },
        short => (usize::from(short), 2),
    };
    match start.checked_add(length).and_then(|end| bytes.get(start..end)) {
        Some(payload) => Next::Frame(Frame { opcode: first & 0x0F, payload, length: start + length }),
        None => Next::Partial,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame as a server sends it.
    fn unmasked(payload: &[u8]) -> Vec<u8> {
        let mut framed = Vec::new();
        write(&mut framed, TEXT, payload, 0);
        framed[1] &= 0x7F;
        let mask = framed.len() - payload.len() - 4;
        framed.drain(mask..mask + 4);
        framed
    }

    #[test]
    fn masked_frame_matches_the_example_of_the_rfc() {
        let mut out = Vec::new();
        write(&mut out, TEXT, b"Hello", u32::from_ne_bytes([0x37, 0xfa, 0x21, 0x3d]));
        assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }

    #[test]
    fn payloads_of_every_length_are_masked_correctly() {
        for length in [0usize, 1, 7, 8, 9, 125, 126, 1_000, 65_535, 65_536] {
            let payload: Vec<u8> = (0..length).map(|at| (at * 7) as u8).collect();
            let mask = [9u8, 8, 7, 6];
            let mut out = Vec::new();
            write(&mut out, BINARY, &payload, u32::from_ne_bytes(mask));
            let masked = &out[out.len() - length..];
            let back: Vec<u8> =
                masked.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
            assert_eq!(back, payload, "{length}");
        }
    }

    #[test]
    fn incomplete_frame_is_not_read() {
        for length in [0usize, 125, 126, 65_536] {
            let framed = unmasked(&vec![b'x'; length]);
            for cut in [0, 1, 3, framed.len() - 1] {
                assert_eq!(
                    next(&framed[..cut.min(framed.len() - 1)]),
                    Next::Partial,
                    "{length} cut at {cut}"
                );
            }
            let Next::Frame(frame) = next(&framed) else { panic!("{length}: no frame") };
            assert_eq!((frame.opcode, frame.payload.len(), frame.length), (TEXT, length, framed.len()));
        }
    }

    #[test]
    fn frames_a_server_must_not_send_are_broken() {
        for bytes in [[0x81, 0x80], [0x01, 0x00], [0x80, 0x00], [0xC1, 0x00]] {
            assert!(matches!(next(&bytes), Next::Broken(_)), "{bytes:?}");
        }
    }
}
