//! The header of a client's frame (RFC 6455 section 5.2): read, and judged by itself.

use super::FrameLimits;
use crate::close::CloseReason;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

pub(super) const RESERVED_OPCODE: &str = "a reserved opcode";
const UNMASKED: &str = "a client's frame must be masked";
/// The longest payload of a control frame (RFC 6455 section 5.5).
const CONTROL_BYTES_MAX: usize = 125;

/// A frame whose header is read and whose payload is not all here.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenFrame {
    pub(super) opcode: OpCode,
    pub(super) fin: Fin,
    pub(super) mask: [u8; 4],
    /// Payload bytes still to come.
    pub(super) missing: usize,
    /// Payload bytes received so far, which says where in the mask the next one stands.
    pub(super) received: usize,
}

/// The final bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fin {
    Last,
    More,
}

/// Reads a header and checks what can be checked of it alone; `None` when it is incomplete.
pub(super) fn read_header(
    bytes: &[u8],
    limits: FrameLimits,
) -> Result<Option<(OpenFrame, usize)>, CloseReason> {
    check_start(bytes).map_err(CloseReason::ProtocolError)?;
    let Some((payload, mask, rest)) = split(bytes) else { return Ok(None) };
    if !is_minimal(bytes[1] & 0x7F, payload) {
        return Err(CloseReason::ProtocolError("a length that is not encoded in the fewest bytes"));
    }
    if payload > u64::from(limits.frame_bytes) {
        return Err(CloseReason::TooBig("limits.frame_bytes"));
    }
    let fin = if bytes[0] & 0x80 != 0 { Fin::Last } else { Fin::More };
    let opcode = OpCode::from(bytes[0] & 0x0F);
    let frame = OpenFrame { opcode, fin, mask, missing: payload as usize, received: 0 };
    Ok(Some((frame, bytes.len() - rest.len())))
}

/// Takes the header of a masked frame apart: the payload's length, the mask, and what follows the header.
/// `None` when it is incomplete.
///
/// tungstenite parses headers too, out of a reader: through a cursor over a slice that costs more than the
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

/// RFC 6455 section 5.2: the fewest bytes must be used, and the top bit of eight must be zero.
fn is_minimal(form: u8, length: u64) -> bool {
    match form {
        126 => length >= 126,
        127 => (65_536..1 << 63).contains(&length),
        _ => true,
    }
}

/// Judges a header by its first two bytes, as many as are there (RFC 6455 section 5.2), in the order in which
/// they come: so a frame that breaks two rules is told the same one however it was cut, and a peer that sends
/// no more than a wrong start is not left without its answer.
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
        return Err("a fragmented control frame");
    }
    let Some(second) = bytes.get(1) else { return Ok(()) };
    if second & 0x80 == 0 {
        return Err(UNMASKED);
    }
    if is_control && usize::from(second & 0x7F) > CONTROL_BYTES_MAX {
        return Err("a control frame over 125 bytes");
    }
    Ok(())
}
