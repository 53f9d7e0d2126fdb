//! Reads and checks the header of a client's frame (RFC 6455 section 5.2), without the frames before it.

use super::limits::FrameLimits;
use crate::close::CloseReason;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

pub(super) const RESERVED_OPCODE: &str = "a frame has a reserved opcode";
const UNMASKED: &str = "a frame is not masked; clients must mask every frame";
/// The longest payload of a control frame (RFC 6455 section 5.5).
const CONTROL_BYTES_MAX: usize = 125;

/// A frame with a complete header and an incomplete payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenFrame {
    pub(super) opcode: OpCode,
    pub(super) fin: Fin,
    pub(super) mask: [u8; 4],
    /// Payload bytes not yet received.
    pub(super) missing: usize,
    /// Payload bytes received so far; they determine the position in the mask.
    pub(super) received: usize,
}

/// The FIN bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fin {
    Last,
    More,
}

/// Reads a header and checks it; `None` if it is incomplete.
pub(super) fn read_header(
    bytes: &[u8],
    limits: FrameLimits,
) -> Result<Option<(OpenFrame, usize)>, CloseReason> {
    check_start(bytes).map_err(CloseReason::ProtocolError)?;
    let Some((payload, mask, rest)) = split(bytes) else { return Ok(None) };
    if !is_minimal(bytes[1] & 0x7F, payload) {
        return Err(CloseReason::ProtocolError("a frame's length is not encoded in the fewest bytes"));
    }
    if payload > u64::from(limits.frame_bytes) {
        return Err(CloseReason::TooBig("limits.frame_bytes"));
    }
    let fin = if bytes[0] & 0x80 != 0 { Fin::Last } else { Fin::More };
    let opcode = OpCode::from(bytes[0] & 0x0F);
    let frame = OpenFrame { opcode, fin, mask, missing: payload as usize, received: 0 };
    Ok(Some((frame, bytes.len() - rest.len())))
}

/// Splits the header of a masked frame into the payload's length and the mask, and returns the bytes after it. `None`
/// if the header is incomplete.
///
/// tungstenite can parse headers too, but only from a reader; through a cursor over a slice that costs more than the
/// rest of a short frame.
fn split(bytes: &[u8]) -> Option<(u64, [u8; 4], &[u8])> {
    let ([_, second], rest) = bytes.split_first_chunk()?;
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
    let (mask, rest) = rest.split_first_chunk()?;
    Some((length, *mask, rest))
}

/// RFC 6455 section 5.2: a length must use the fewest bytes, and the top bit of an eight byte length must be zero.
fn is_minimal(form: u8, length: u64) -> bool {
    match form {
        126 => length >= 126,
        127 => (65_536..1 << 63).contains(&length),
        _ => true,
    }
}

/// Checks the first two bytes of a header, or as many as have arrived (RFC 6455 section 5.2), in their order. So a
/// frame that breaks two rules gets the same error however it was split, and a peer that sends only a wrong start is
/// still answered.
fn check_start(bytes: &[u8]) -> Result<(), &'static str> {
    let Some(first) = bytes.first() else { return Ok(()) };
    if first & 0x70 != 0 {
        return Err("a reserved bit is set; no extension was negotiated");
    }
    let is_control = match OpCode::from(first & 0x0F) {
        OpCode::Data(Data::Reserved(_)) | OpCode::Control(Control::Reserved(_)) => {
            return Err(RESERVED_OPCODE);
        }
        OpCode::Data(Data::Text | Data::Binary | Data::Continue) => false,
        OpCode::Control(Control::Ping | Control::Pong | Control::Close) => true,
    };
    if is_control && first & 0x80 == 0 {
        return Err("a control frame is fragmented");
    }
    let Some(second) = bytes.get(1) else { return Ok(()) };
    if second & 0x80 == 0 {
        return Err(UNMASKED);
    }
    if is_control && usize::from(second & 0x7F) > CONTROL_BYTES_MAX {
        return Err("a control frame has more than 125 bytes");
    }
    Ok(())
}
