//! The `stream` frame that has all of an open stream, or all from a position on.

use crate::stream::{SharedStream, StreamEvent};
use crate::wire::json;
use crate::wire::server_frame::{self, Opcode};
use crate::wire::stream::{Generation, Position, StreamId, WholeStream};

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
    let events = stream.text.events_from(at);
    let next = stream.text.next();
    let mut frame = Vec::with_capacity(text.len() + 256);
    server_frame::write_with(&mut frame, Opcode::Text, |out| {
        json::object(out, |out| {
            json::key(out, "stream");
            json::object(out, |out| {
                json::text(out, "channel", id.channel.as_str());
                json::integer(out, "offset", id.offset.0);
                json::integer(out, "gen", stream.generation.0.into());
                json::integer(out, "at", at.0.into());
                json::text(out, "text", &text);
                if !events.is_empty() {
                    json::key(out, "events");
                    write_events(out, events);
                }
                json::integer(out, "next", next.0.into());
                json::text(out, "state", stream.state.word());
            });
        });
    });
    let (generation, state) = (stream.generation, stream.state);
    let stream = WholeStream { id, generation, next, state, frame: frame.into() };
    WholeFrame { stream, is_from_beginning: at == Position::ZERO }
}

/// `[[position,"type",data],…]`
fn write_events(out: &mut Vec<u8>, events: &[StreamEvent]) {
    out.push(b'[');
    for (place, event) in events.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        out.push(b'[');
        json::digits(out, event.at.0.into());
        out.push(b',');
        json::string(out, event.kind.as_str());
        out.push(b',');
        out.extend_from_slice(event.data.as_bytes());
        out.push(b']');
    }
    out.push(b']');
}
