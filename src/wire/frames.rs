//! Reads a client's frames (RFC 6455 section 5) from the buffer into which they were received.
//!
//! Nearly every message is complete in the read buffer. It is unmasked in place and borrowed from there, without a
//! copy, an allocation or state. Only a connection in the middle of a frame or of a fragmented message owns an
//! [`Assembly`], which holds the received bytes, never as much as a header announced.
//!
//! Opcodes and close codes are tungstenite's public types; the tests compare with its message decoder.
//! `docs/decisions/0001-frames.md` gives the reason why that decoder is not used here.

mod header;
mod limits;

use crate::clock::Moment;
use crate::close::CloseReason;
pub use limits::FrameLimits;

use header::{Fin, OpenFrame, RESERVED_OPCODE, read_header};
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// The longest header of a client's frame: two bytes, an eight byte length, the mask.
const HEADER_BYTES_MAX: usize = 14;

/// The meaning of the next bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// The input is used up; more bytes are needed.
    Incomplete,
    /// A text message, with all fragments joined.
    Text(&'a str),
    /// A binary message, with all fragments joined.
    Binary(&'a [u8]),
    /// Answer with a pong that has the same payload.
    Ping(&'a [u8]),
    Pong,
    /// The peer closes with this code, or without one (`None`). Nothing after it is read.
    Close(Option<u16>),
    /// The peer violated a rule; close the connection with this reason.
    Violation(CloseReason),
}

/// Received bytes and the read position in them.
pub struct Input<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl<'a> Input<'a> {
    /// Starts at the first byte. `bytes` are unmasked in place.
    pub fn new(bytes: &'a mut [u8]) -> Input<'a> {
        Input { bytes, at: 0 }
    }

    /// True exactly when nothing is left.
    pub fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    fn unread(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    fn take(&mut self, length: usize) -> &mut [u8] {
        let start = self.at;
        self.at += length;
        &mut self.bytes[start..start + length]
    }
}

/// Reads one connection's frames.
#[derive(Debug, Default)]
pub struct Decoder {
    assembly: Option<Box<Assembly>>,
}

/// The remainder of earlier input. Boxed, because an idle connection has none.
#[derive(Debug, Default)]
struct Assembly {
    /// The arrival of its first byte.
    began: Moment,
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: usize,
    frame: Option<OpenFrame>,
    control: Vec<u8>,
    message: Option<PartialMessage>,
    /// True exactly when the last call lent `message` or `control` out whole.
    lent: bool,
}

/// A message whose last frame is incomplete.
#[derive(Debug)]
struct PartialMessage {
    kind: MessageKind,
    bytes: Vec<u8>,
    frames: u32,
    /// The number of bytes known to be valid UTF-8. Each frame is checked at its end.
    checked: usize,
    began: Moment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MessageKind {
    Text,
    Binary,
}

impl Decoder {
    /// The start of the incomplete message or frame, for `limits.message_ms`.
    pub fn incomplete_since(&self) -> Option<Moment> {
        let assembly = self.assembly.as_ref()?;
        match (&assembly.message, assembly.lent) {
            (Some(message), false) => Some(message.began),
            (Some(message), true) => (message.frames > 0).then_some(message.began),
            (None, false) => Some(assembly.began),
            (None, true) => None,
        }
    }

    /// Counts the time of incomplete input from now on.
    pub fn restart(&mut self, now: Moment) {
        if let Some(assembly) = &mut self.assembly {
            assembly.began = now;
            if let Some(message) = &mut assembly.message {
                message.began = now;
            }
        }
    }

    /// Bytes held for incomplete input.
    pub fn bytes(&self) -> usize {
        self.assembly.as_ref().map_or(0, |assembly| {
            let message = assembly.message.as_ref().map_or(0, |message| message.bytes.capacity());
            size_of::<Assembly>() + assembly.control.capacity() + message
        })
    }

    /// Reads up to one message or control frame.
    ///
    /// Call it until it returns [`Frame::Incomplete`], a close or a violation; after the latter two, not again.
    pub fn next<'a>(&'a mut self, input: &'a mut Input<'_>, limits: FrameLimits, now: Moment) -> Frame<'a> {
        if self.assembly.is_some() { self.resume(input, limits, now) } else { self.fresh(input, limits, now) }
    }

    /// Reads a frame in place if no earlier input is held.
    fn fresh<'a>(&'a mut self, input: &'a mut Input<'_>, limits: FrameLimits, now: Moment) -> Frame<'a> {
        if input.is_empty() {
            return Frame::Incomplete;
        }
        let (frame, length) = match read_header(input.unread(), limits) {
            Ok(Some(found)) => found,
            Ok(None) => return self.park(input, limits, now),
            Err(reason) => return Frame::Violation(reason),
        };
        let whole = input.unread().len() - length >= frame.missing;
        let kind = match frame.opcode {
            OpCode::Data(Data::Text) if whole && frame.fin == Fin::Last => MessageKind::Text,
            OpCode::Data(Data::Binary) if whole && frame.fin == Fin::Last => MessageKind::Binary,
            OpCode::Control(control) if whole => {
                input.take(length);
                let payload = input.take(frame.missing);
                unmask(payload, frame.mask, 0);
                return finish_control(control, payload);
            }
            OpCode::Data(_) | OpCode::Control(_) => return self.park(input, limits, now),
        };
        if frame.missing > limits.message_bytes as usize {
            return Frame::Violation(CloseReason::TooBig("limits.message_bytes"));
        }
        input.take(length);
        let payload = input.take(frame.missing);
        unmask(payload, frame.mask, 0);
        finish_message(kind, payload)
    }

    fn park<'a>(&'a mut self, input: &'a mut Input<'_>, limits: FrameLimits, now: Moment) -> Frame<'a> {
        self.assembly = Some(Box::new(Assembly { began: now, ..Assembly::default() }));
        self.resume(input, limits, now)
    }

    /// Continues a frame or message, or begins one that needs an [`Assembly`].
    fn resume<'a>(&'a mut self, input: &'a mut Input<'_>, limits: FrameLimits, now: Moment) -> Frame<'a> {
        if self.assembly.as_mut().is_some_and(|assembly| assembly.is_done()) {
            self.assembly = None;
            return self.fresh(input, limits, now);
        }
        match self.assembly.as_mut() {
            Some(assembly) => assembly.next(input, limits, now),
            None => Frame::Incomplete,
        }
    }
}

impl Assembly {
    /// Drops the message that the last call lent out. True exactly when nothing else is held.
    fn is_done(&mut self) -> bool {
        if !self.lent {
            return false;
        }
        self.lent = false;
        self.control.clear();
        self.message.as_ref().is_none_or(|message| message.frames == 0) && self.frame.is_none() && {
            self.message = None;
            true
        }
    }

    fn next<'a>(&'a mut self, input: &mut Input<'_>, limits: FrameLimits, now: Moment) -> Frame<'a> {
        loop {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.open_frame(input, limits, now) {
                    Ok(Some(frame)) => frame,
                    Ok(None) => return Frame::Incomplete,
                    Err(reason) => return Frame::Violation(reason),
                },
            };
            let length = frame.missing.min(input.unread().len());
            let payload = input.take(length);
            unmask(payload, frame.mask, frame.received);
            frame.received += length;
            frame.missing -= length;
            match (frame.opcode, self.message.as_mut()) {
                (OpCode::Data(_), Some(message)) => message.bytes.extend_from_slice(payload),
                (OpCode::Data(_), None) => {}
                (OpCode::Control(_), _) => self.control.extend_from_slice(payload),
            }
            if frame.missing > 0 {
                self.frame = Some(frame);
                return Frame::Incomplete;
            }
            match (frame.opcode, frame.fin) {
                (OpCode::Control(control), _) => {
                    self.lent = true;
                    return finish_control(control, &self.control);
                }
                (OpCode::Data(_), Fin::Last) => return self.lend_message(),
                (OpCode::Data(_), Fin::More) => {
                    if let Some(Err(reason)) = self.message.as_mut().map(PartialMessage::check_fragment) {
                        return Frame::Violation(reason);
                    }
                }
            }
        }
    }

    /// Reads the next header, across several inputs if necessary, and checks it against the open message.
    fn open_frame(
        &mut self,
        input: &mut Input<'_>,
        limits: FrameLimits,
        now: Moment,
    ) -> Result<Option<OpenFrame>, CloseReason> {
        let before = self.header_bytes;
        let taken = (HEADER_BYTES_MAX - before).min(input.unread().len());
        self.header[before..before + taken].copy_from_slice(&input.unread()[..taken]);
        let Some((frame, length)) = read_header(&self.header[..before + taken], limits)? else {
            input.take(taken);
            self.header_bytes += taken;
            return Ok(None);
        };
        input.take(length - before);
        self.header_bytes = 0;
        if let OpCode::Data(data) = frame.opcode {
            self.admit(data, frame.missing, limits, now)?;
        }
        Ok(Some(frame))
    }

    /// Opens or continues a message (RFC 6455 section 5.4).
    fn admit(
        &mut self,
        data: Data,
        length: usize,
        limits: FrameLimits,
        now: Moment,
    ) -> Result<(), CloseReason> {
        let kind = match data {
            Data::Text => Some(MessageKind::Text),
            Data::Binary => Some(MessageKind::Binary),
            Data::Continue | Data::Reserved(_) => None,
        };
        let message = match (kind, &mut self.message) {
            (Some(_), Some(_)) => {
                return Err(CloseReason::ProtocolError("a new message began inside a fragmented one"));
            }
            (None, None) => {
                return Err(CloseReason::ProtocolError("a continuation frame has no message to continue"));
            }
            (Some(kind), none) => {
                none.insert(PartialMessage { kind, bytes: Vec::new(), frames: 0, checked: 0, began: now })
            }
            (None, Some(message)) => message,
        };
        if message.bytes.len() + length > limits.message_bytes as usize {
            return Err(CloseReason::TooBig("limits.message_bytes"));
        }
        message.frames += 1;
        if message.frames > limits.fragments {
            return Err(CloseReason::TooBig("limits.fragments"));
        }
        Ok(())
    }

    fn lend_message(&mut self) -> Frame<'_> {
        self.lent = true;
        match self.message.as_mut() {
            Some(message) => {
                message.frames = 0;
                finish_message(message.kind, &message.bytes)
            }
            None => Frame::Incomplete,
        }
    }
}

impl PartialMessage {
    /// Checks a text fragment at once, so that invalid text is not answered only at the end of the message. A
    /// character that the fragment's end cuts is left for the next one.
    fn check_fragment(&mut self) -> Result<(), CloseReason> {
        if self.kind == MessageKind::Binary {
            return Ok(());
        }
        match std::str::from_utf8(&self.bytes[self.checked..]) {
            Ok(_) => self.checked = self.bytes.len(),
            Err(fault) if fault.error_len().is_none() => self.checked += fault.valid_up_to(),
            Err(_) => return Err(CloseReason::InvalidUtf8),
        }
        Ok(())
    }
}

fn finish_message(kind: MessageKind, payload: &[u8]) -> Frame<'_> {
    match kind {
        MessageKind::Binary => Frame::Binary(payload),
        MessageKind::Text => match std::str::from_utf8(payload) {
            Ok(text) => Frame::Text(text),
            Err(_) => Frame::Violation(CloseReason::InvalidUtf8),
        },
    }
}

fn finish_control(control: Control, payload: &[u8]) -> Frame<'_> {
    match control {
        Control::Ping => Frame::Ping(payload),
        Control::Pong => Frame::Pong,
        Control::Close => finish_close(payload),
        Control::Reserved(_) => Frame::Violation(CloseReason::ProtocolError(RESERVED_OPCODE)),
    }
}

/// RFC 6455 sections 5.5.1 and 7.4: no payload, or an allowed code and UTF-8.
fn finish_close(payload: &[u8]) -> Frame<'_> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return match payload {
            [] => Frame::Close(None),
            _ => Frame::Violation(CloseReason::ProtocolError("a close frame has a payload of one byte")),
        };
    };
    let code = u16::from_be_bytes(*code);
    if !CloseCode::from(code).is_allowed() {
        return Frame::Violation(CloseReason::ProtocolError(
            "a close frame has a code that must not be sent",
        ));
    }
    match std::str::from_utf8(reason) {
        Ok(_) => Frame::Close(Some(code)),
        Err(_) => Frame::Violation(CloseReason::InvalidUtf8),
    }
}

/// Unmasks eight bytes at a time (RFC 6455 section 5.3). `from` is the number of payload bytes before these.
fn unmask(payload: &mut [u8], mask: [u8; 4], from: usize) {
    let mut key = mask;
    key.rotate_left(from % 4);
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests;
