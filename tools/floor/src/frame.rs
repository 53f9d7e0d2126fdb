//! Frames as both sides of a measurement send them: unfragmented, with a payload length of 7, 16 or 64 bits.

/// A client's frame, as positions in the bytes of one read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The first byte: FIN bit and opcode.
    pub(crate) first: u8,
    /// The start of the unmasked payload.
    pub(crate) start: usize,
    /// The end of the payload and of the frame.
    pub(crate) end: usize,
}

/// Finds the frame at `at` and unmasks it in place; `None` if it is incomplete.
pub(crate) fn next(bytes: &mut [u8], at: usize) -> Option<Frame> {
    let head = bytes.get(at..)?;
    let (first, second) = (*head.first()?, *head.get(1)?);
    let (length, size) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes(head.get(2..4)?.try_into().ok()?)), 4),
        127 => (usize::try_from(u64::from_be_bytes(head.get(2..10)?.try_into().ok()?)).ok()?, 10),
        short => (usize::from(short), 2),
    };
    let mask: [u8; 4] = head.get(size..size + 4)?.try_into().ok()?;
    let start = at + size + 4;
    let end = start.checked_add(length)?;
    unmask(bytes.get_mut(start..end)?, mask);
    Some(Frame { first, start, end })
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
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

/// Appends a server's frame with the first byte of the client's.
pub(crate) fn write(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    out.push(first);
    match payload.len() {
        length @ ..126 => out.push(length as u8),
        length @ ..65_536 => {
            out.push(126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masked_frame_is_unmasked_and_incomplete_frame_is_kept() {
        let mask = [1, 2, 3, 4];
        for length in [0usize, 5, 125, 126, 1_000] {
            let payload: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let mut plain = Vec::new();
            write(&mut plain, 0x81, &payload);
            let head = plain.len() - length;
            let mut masked = plain[..head].to_vec();
            masked[1] |= 0x80;
            masked.extend_from_slice(&mask);
            masked.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
            let mut cut = masked[..masked.len() - 1].to_vec();
            assert_eq!(next(&mut cut, 0), None);
            let frame = next(&mut masked, 0).expect("whole");
            assert_eq!((frame.first, &masked[frame.start..frame.end]), (0x81, &payload[..]));
        }
    }
}
