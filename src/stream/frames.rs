//! The `stream` frames of what a flush committed.

use super::pieces::{PieceEntry, Pieces, position};
use crate::wire::json;
use crate::wire::server_frame::{self, Opcode};
use crate::wire::stream::{Generation, Position, StreamId, StreamState};
use std::sync::Arc;

fn frame(out: &mut Vec<u8>, id: &StreamId, generation: Generation, members: impl FnOnce(&mut Vec<u8>)) {
    server_frame::write_with(out, Opcode::Text, |out| {
        json::object(out, |out| {
            json::key(out, "stream");
            json::object(out, |out| {
                json::text(out, "channel", id.channel.as_str());
                json::integer(out, "offset", id.offset.0);
                json::integer(out, "gen", generation.0.into());
                members(out);
            });
        });
    });
}

/// One frame for each text and each event. `out` is a buffer that is used again.
pub(super) fn pieces(id: &StreamId, generation: Generation, pieces: &Pieces, out: &mut Vec<u8>) -> Arc<[u8]> {
    out.clear();
    for entry in pieces.entries() {
        frame(out, id, generation, |out| match entry {
            PieceEntry::Text { at, text } => {
                json::integer(out, "at", at.0.into());
                json::text(out, "text", text);
                json::integer(out, "next", position(at.0 as usize + text.len()).0.into());
            }
            PieceEntry::Event(event) => {
                json::integer(out, "at", event.at.0.into());
                json::key(out, "event");
                json::object(out, |out| {
                    json::text(out, "type", event.kind.as_str());
                    json::raw(out, "data", &event.data);
                });
                json::integer(out, "next", position(event.at.0 as usize + 1).0.into());
            }
        });
    }
    Arc::from(out.as_slice())
}

pub(super) fn state(id: &StreamId, generation: Generation, state: StreamState) -> Arc<[u8]> {
    let mut out = Vec::new();
    frame(&mut out, id, generation, |out| json::text(out, "state", state.word()));
    out.into()
}

/// The whole frame of a generation that has just begun.
pub(super) fn restarted(id: &StreamId, generation: Generation, state: StreamState) -> Arc<[u8]> {
    let mut out = Vec::new();
    frame(&mut out, id, generation, |out| {
        json::integer(out, "at", Position::ZERO.0.into());
        json::text(out, "text", "");
        json::integer(out, "next", Position::ZERO.0.into());
        json::text(out, "state", state.word());
    });
    out.into()
}
