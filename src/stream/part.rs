//! Rows of the store: the pieces of one stream from one flush.
//!
//! ```text
//! body    entry*
//! entry   0 u8 | length u32 | text                                    integers are little-endian
//!         1 u8 | length u32 | kind length u8 | kind | data            length is that of the three together
//!         2 u8 | length u8 | text                                     if that is enough
//! ```
//!
//! Most rows are one token, of which a longer length would be a third. Each entry says where it ends, because PostgreSQL joins the bodies
//! of a stream when it reads them. SQLite has a body with a single text as the text alone.

use super::pieces::{PieceEntry, Pieces, position};
use crate::wire::stream::{EVENT_DATA_BYTES_MAX, EventKind, Generation, Position, StreamId};
use serde::de::IgnoredAny;

const TEXT: u8 = 0;
const EVENT: u8 = 1;
const SHORT_TEXT: u8 = 2;
/// The bytes before an entry's own.
const ENTRY_HEAD_BYTES: usize = 1 + 4;

/// A row of `stream_parts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartRow {
    pub id: StreamId,
    pub generation: Generation,
    pub at: Position,
    pub next: Position,
    pub body: Vec<u8>,
}

/// The reason why a row was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartFault {
    /// The body is no list of entries, or not as long as its positions say.
    Body,
    /// Pieces before it are missing.
    Gap,
}

impl PartRow {
    pub(super) fn new(id: StreamId, generation: Generation, pieces: &Pieces) -> PartRow {
        let (at, next) = (position(pieces.at()), position(pieces.next()));
        PartRow { id, generation, at, next, body: encode(pieces) }
    }

    /// A row with a text and nothing else.
    pub fn of_text(id: StreamId, generation: Generation, at: Position, text: &[u8]) -> PartRow {
        let mut body = Vec::with_capacity(text.len() + ENTRY_HEAD_BYTES);
        write_text(&mut body, text);
        PartRow { id, generation, at, next: position(at.0 as usize + text.len()), body }
    }

    /// The text of a row that has nothing else.
    pub fn only_text(&self) -> Option<&[u8]> {
        let (kind, rest) = self.body.split_first()?;
        let (length, text) = match *kind {
            SHORT_TEXT => rest.split_first().map(|(length, text)| (usize::from(*length), text))?,
            TEXT => {
                let (length, text) = rest.split_first_chunk::<4>()?;
                (u32::from_le_bytes(*length) as usize, text)
            }
            _ => return None,
        };
        (text.len() == length).then_some(text)
    }
}

fn write_head(body: &mut Vec<u8>, kind: u8, length: usize) {
    body.push(kind);
    body.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

fn write_text(body: &mut Vec<u8>, text: &[u8]) {
    match u8::try_from(text.len()) {
        Ok(length) => body.extend_from_slice(&[SHORT_TEXT, length]),
        Err(_) => write_head(body, TEXT, text.len()),
    }
    body.extend_from_slice(text);
}

fn encode(pieces: &Pieces) -> Vec<u8> {
    let mut body = Vec::with_capacity(pieces.bytes() + ENTRY_HEAD_BYTES);
    for entry in pieces.entries() {
        match entry {
            PieceEntry::Text { text, .. } => write_text(&mut body, text.as_bytes()),
            PieceEntry::Event(event) => {
                let kind = event.kind.as_str();
                write_head(&mut body, EVENT, 1 + kind.len() + event.data.len());
                body.push(u8::try_from(kind.len()).unwrap_or(u8::MAX));
                body.extend_from_slice(kind.as_bytes());
                body.extend_from_slice(event.data.as_bytes());
            }
        }
    }
    body
}

/// Reads the body of a row. The bytes may be any.
pub fn decode(at: Position, next: Position, body: &[u8]) -> Result<Pieces, PartFault> {
    let mut pieces = Pieces::empty(at.0 as usize);
    read_entries(body, &mut pieces)?;
    if pieces.next() == next.0 as usize { Ok(pieces) } else { Err(PartFault::Body) }
}

/// Joins rows that adjoin, as far as they can be read.
pub(super) fn join(parts: &[PartRow]) -> (Pieces, Result<(), PartFault>) {
    let mut joined = Pieces::empty(0);
    for row in parts {
        if joined.next() != row.at.0 as usize {
            return (joined, Err(PartFault::Gap));
        }
        let mut pieces = Pieces::empty(joined.next());
        let read = read_entries(&row.body, &mut pieces);
        joined.extend(pieces);
        match read {
            Ok(()) if joined.next() == row.next.0 as usize => {}
            Ok(()) => return (joined, Err(PartFault::Body)),
            Err(fault) => return (joined, Err(fault)),
        }
    }
    (joined, Ok(()))
}

/// Adds the entries of a body, up to the first that cannot be read.
fn read_entries(body: &[u8], pieces: &mut Pieces) -> Result<(), PartFault> {
    let mut rest = body;
    while let Some((kind, after)) = rest.split_first() {
        if *kind == SHORT_TEXT {
            let (length, after) = after.split_first().ok_or(PartFault::Body)?;
            let (text, after) = after.split_at_checked(usize::from(*length)).ok_or(PartFault::Body)?;
            pieces.push_text(std::str::from_utf8(text).map_err(|_| PartFault::Body)?);
            rest = after;
            continue;
        }
        let (length, after) = after.split_first_chunk::<4>().ok_or(PartFault::Body)?;
        let (entry, after) =
            after.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or(PartFault::Body)?;
        match *kind {
            TEXT => pieces.push_text(std::str::from_utf8(entry).map_err(|_| PartFault::Body)?),
            EVENT => {
                let (kind, data) = event(entry).ok_or(PartFault::Body)?;
                pieces.push_event(kind, data);
            }
            _ => return Err(PartFault::Body),
        }
        rest = after;
    }
    Ok(())
}

fn event(entry: &[u8]) -> Option<(EventKind, Box<str>)> {
    let (length, rest) = entry.split_first()?;
    let (kind, data) = rest.split_at_checked(usize::from(*length))?;
    let kind = EventKind::parse(std::str::from_utf8(kind).ok()?)?;
    let data = std::str::from_utf8(data).ok()?;
    // The data goes into frames and ends as it is: anything else there would spoil what is around it.
    let is_json = data.len() <= EVENT_DATA_BYTES_MAX && serde_json::from_str::<IgnoredAny>(data).is_ok();
    is_json.then(|| (kind, Box::from(data)))
}
