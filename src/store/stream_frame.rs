//! The `stream` frame that has all of an open stream, or all from a position on.

use crate::stream::{SharedStream, StreamEvent};
use crate::wire::json;
use crate::wire::stream::{Generation, Position, StreamId, WholeStream, WholeText};

/// A frame, and its kind.
pub(super) struct WholeFrame {
    pub(super) stream: WholeStream,
    pub(super) is_from_beginning: bool,
}

/// Encodes a stream: from the end of what the client has, if that is a part of it, else from the beginning.
pub(super) fn whole(
    id: StreamId,
    stream: &SharedStream,
    known: Option<(Generation, Position)>,
) -> WholeFrame {
    let at = known
        .filter(|(generation, at)| *generation == stream.generation && *at <= stream.text.next())
        .map_or(Position::ZERO, |(_, at)| at);
    let (at, text) = match stream.text.text_from(at) {
        Some(text) => (at, text),
        // Not between two characters.
        None => (Position::ZERO, stream.text.text_from(Position::ZERO).unwrap_or_default()),
    };
    let next = stream.text.next();
    let (generation, state) = (stream.generation, stream.state);
    let frame = WholeText { id: &id, generation, at, text: &text, next, state }
        .frame(stream.text.events_from(at), write_event);
    let stream = WholeStream { id, generation, next, state, frame: frame.into() };
    WholeFrame { stream, is_from_beginning: at == Position::ZERO }
}

/// `[position,"type",data]`
fn write_event(out: &mut Vec<u8>, event: &StreamEvent) {
    out.push(b'[');
    json::digits(out, event.at.0.into());
    out.push(b',');
    json::string(out, event.kind.as_str());
    out.push(b',');
    out.extend_from_slice(event.data.as_bytes());
    out.push(b']');
}
