//! Reads the body of a response as it arrives, and makes orders of it.

use super::answer::BodyForm;
use super::parts::{PARTS_MAX, TextPart};
use crate::id::{ChannelName, Key};
use crate::wire::command::{AnswerPlace, ResponseCommand, parse_response};
use crate::wire::lines::{LINE_BYTES_MAX, LineBuffer, LineTooLong};
use crate::wire::stream::{Generation, Piece, Position, StreamEnd, StreamId};
use std::fmt;

/// The depth of nested arrays and objects in one command.
const DEPTH_MAX: u32 = 32;
/// The bytes of one character at most.
const CHARACTER_BYTES: usize = 4;

/// An order of a backend.
#[derive(Debug, PartialEq)]
pub enum ResponseOrder {
    Append {
        generation: Generation,
        at: Position,
        piece: Piece,
    },
    /// The next orders are for the next generation.
    Restart,
    /// The text has no more room in its publication: the stream is completed, and the next orders are for one that continues it.
    Continue {
        generation: Generation,
        at: Position,
        key: Key,
    },
    End {
        generation: Generation,
        at: Position,
        end: StreamEnd,
        data: Option<Box<str>>,
    },
    Publish {
        /// `None`: the channel of the question.
        channel: Option<ChannelName>,
        key: Key,
        data: Box<str>,
    },
}

/// Why the rest of a body is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseFault {
    /// A line of more than 64 KiB.
    TooLong,
    /// The text is not UTF-8.
    NotText,
    /// A line that is no command of a response.
    Malformed { line: u32, message: String },
    /// A command for a stream that is not the answer.
    NotTheAnswer { line: u32 },
    /// A publication for a channel that the route does not list.
    NotAllowed { channel: ChannelName },
    /// A text for more than [`PARTS_MAX`] publications.
    TooManyParts,
}

impl From<LineTooLong> for ResponseFault {
    fn from(_: LineTooLong) -> ResponseFault {
        ResponseFault::TooLong
    }
}

impl fmt::Display for ResponseFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResponseFault::TooLong => write!(f, "a line has more than {LINE_BYTES_MAX} bytes"),
            ResponseFault::NotText => f.write_str("the body is not UTF-8"),
            ResponseFault::Malformed { line, message } => write!(f, "line {line}: {message}"),
            ResponseFault::NotTheAnswer { line } => {
                write!(f, "line {line} names a stream that is not the answer; use a WebSocket for others")
            }
            ResponseFault::NotAllowed { channel } => {
                write!(f, "a response of this route may not publish to {channel}; list it in publish")
            }
            ResponseFault::TooManyParts => write!(f, "the text needs more than {PARTS_MAX} publications"),
        }
    }
}

/// The reader of one body.
#[derive(Debug)]
pub struct ResponseReader {
    form: BodyForm,
    /// `None`: the question has no answer that was stored with it.
    answer: Option<StreamId>,
    /// The generation that the next order is for.
    generation: Generation,
    /// The place of the next piece without one.
    at: Position,
    /// The `webhook-id` of the request: the beginning of keys.
    message_id: Box<str>,
    line: u32,
    lines: LineBuffer,
    /// The whole body of [`BodyForm::One`], or the begin of a character.
    begun: Vec<u8>,
    /// Of [`BodyForm::Text`].
    part: TextPart,
    /// Parts that are complete.
    parts: u32,
}

impl ResponseReader {
    /// `message_bytes`: the bound on the data of a publication.
    pub fn new(
        form: BodyForm,
        answer: Option<(StreamId, Generation)>,
        message_id: &str,
        message_bytes: usize,
    ) -> ResponseReader {
        let generation = answer.as_ref().map_or(Generation::FIRST, |(_, generation)| *generation);
        ResponseReader {
            form,
            answer: answer.map(|(id, _)| id),
            generation,
            at: Position::ZERO,
            message_id: message_id.into(),
            line: 0,
            lines: LineBuffer::default(),
            begun: Vec::new(),
            part: TextPart::new(message_bytes),
            parts: 0,
        }
    }

    /// Takes bytes of the body and gives the orders in them to `take`, which may stop the reading.
    pub fn push<E: From<ResponseFault>>(
        &mut self,
        bytes: &[u8],
        mut take: impl FnMut(ResponseOrder) -> Result<(), E>,
    ) -> Result<(), E> {
        match self.form {
            BodyForm::Nothing => Ok(()),
            BodyForm::Text => {
                let text = self.text(bytes)?;
                let mut rest = &*text;
                while !rest.is_empty() {
                    let (now, later) = self.part.take(rest);
                    if !now.is_empty() {
                        take(self.append(AnswerPlace::default(), Piece::Text(now.into())))?;
                    }
                    if !later.is_empty() {
                        take(self.next_part()?)?;
                    }
                    rest = later;
                }
                Ok(())
            }
            BodyForm::One => {
                if self.begun.len() + bytes.len() > LINE_BYTES_MAX {
                    return Err(ResponseFault::TooLong.into());
                }
                self.begun.extend_from_slice(bytes);
                Ok(())
            }
            BodyForm::Lines => {
                let mut lines = std::mem::take(&mut self.lines);
                let pushed = lines.push(bytes, |line| match self.command(line).map_err(PushStop::Fault)? {
                    Some(order) => take(order).map_err(PushStop::Taker),
                    None => Ok(()),
                });
                self.lines = lines;
                pushed.map_err(PushStop::into)
            }
        }
    }

    /// The body ended properly. Text that came is complete with it.
    pub fn finish<E: From<ResponseFault>>(
        &mut self,
        mut take: impl FnMut(ResponseOrder) -> Result<(), E>,
    ) -> Result<(), E> {
        let last = match self.form {
            BodyForm::Nothing => return Ok(()),
            BodyForm::Text if !self.begun.is_empty() => return Err(ResponseFault::NotText.into()),
            BodyForm::Text if self.at == Position::ZERO => return Ok(()),
            BodyForm::Text => {
                let (generation, at) = (self.generation, self.at);
                return take(ResponseOrder::End { generation, at, end: StreamEnd::Completed, data: None });
            }
            BodyForm::One => std::mem::take(&mut self.begun),
            BodyForm::Lines => self.lines.finish().map_err(ResponseFault::from)?,
        };
        match self.command(&last)? {
            Some(order) => take(order),
            None => Ok(()),
        }
    }

    /// The text in the bytes, up to the last whole character.
    fn text(&mut self, bytes: &[u8]) -> Result<String, ResponseFault> {
        if self.answer.is_none() {
            return Ok(String::new());
        }
        self.begun.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.begun) {
            Ok(text) => text.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => return Err(ResponseFault::NotText),
        };
        let rest = self.begun.split_off(whole);
        debug_assert!(rest.len() < CHARACTER_BYTES, "a character has at most four bytes");
        let text = String::from_utf8(std::mem::replace(&mut self.begun, rest));
        text.map_err(|_| ResponseFault::NotText)
    }

    /// Completes the part that is full.
    fn next_part(&mut self) -> Result<ResponseOrder, ResponseFault> {
        self.parts += 1;
        if self.parts >= PARTS_MAX {
            return Err(ResponseFault::TooManyParts);
        }
        let (generation, at) = (self.generation, self.at);
        (self.generation, self.at) = (Generation::FIRST, Position::ZERO);
        self.part = self.part.next();
        let key = self.key(&format!("part{}", self.parts + 1))?;
        Ok(ResponseOrder::Continue { generation, at, key })
    }

    fn append(&mut self, place: AnswerPlace, piece: Piece) -> ResponseOrder {
        let (generation, at) = self.place(&place);
        let length = u32::try_from(piece.length()).unwrap_or(u32::MAX);
        self.at = Position(at.0.saturating_add(length));
        ResponseOrder::Append { generation, at, piece }
    }

    fn place(&self, place: &AnswerPlace) -> (Generation, Position) {
        (place.generation.unwrap_or(self.generation), place.at.unwrap_or(self.at))
    }

    /// Reads a line; `None`: it is empty.
    fn command(&mut self, line: &[u8]) -> Result<Option<ResponseOrder>, ResponseFault> {
        self.line = self.line.saturating_add(1);
        let text = std::str::from_utf8(line).map_err(|_| ResponseFault::NotText)?;
        if text.trim().is_empty() {
            return Ok(None);
        }
        let parsed = parse_response(text, DEPTH_MAX);
        match parsed.map_err(|message| ResponseFault::Malformed { line: self.line, message })? {
            ResponseCommand::Append { place, piece } => {
                self.check(&place)?;
                Ok(Some(self.append(place, piece)))
            }
            ResponseCommand::Restart { place } => {
                self.check(&place)?;
                self.generation = Generation(self.generation.0.saturating_add(1));
                self.at = Position::ZERO;
                Ok(Some(ResponseOrder::Restart))
            }
            ResponseCommand::End { place, end, data } => {
                self.check(&place)?;
                let (generation, at) = self.place(&place);
                Ok(Some(ResponseOrder::End { generation, at, end, data: data.map(Box::from) }))
            }
            ResponseCommand::Publish { channel, key, data } => {
                let key = key.map_or_else(|| self.key(&self.line.to_string()), Ok)?;
                Ok(Some(ResponseOrder::Publish { channel, key, data: data.into() }))
            }
        }
    }

    /// The key of a publication without one: a repeat of the request and its response stores nothing twice.
    fn key(&self, of: &str) -> Result<Key, ResponseFault> {
        let malformed = |_| ResponseFault::Malformed { line: self.line, message: "no key".to_owned() };
        Key::parse(&format!("{}_{of}", self.message_id)).map_err(malformed)
    }

    /// Refuses a command for another stream than the answer.
    fn check(&self, place: &AnswerPlace) -> Result<(), ResponseFault> {
        let fits = self.answer.as_ref().is_some_and(|answer| {
            place.channel.as_ref().is_none_or(|channel| *channel == answer.channel)
                && place.offset.is_none_or(|offset| offset == answer.offset)
        });
        if fits { Ok(()) } else { Err(ResponseFault::NotTheAnswer { line: self.line }) }
    }
}

/// Why a push stops.
enum PushStop<E> {
    Fault(ResponseFault),
    Taker(E),
}

impl<E> From<LineTooLong> for PushStop<E> {
    fn from(_: LineTooLong) -> PushStop<E> {
        PushStop::Fault(ResponseFault::TooLong)
    }
}

impl<E: From<ResponseFault>> PushStop<E> {
    fn into(self) -> E {
        match self {
            PushStop::Fault(fault) => fault.into(),
            PushStop::Taker(error) => error,
        }
    }
}

#[cfg(test)]
mod tests;
