//! Frames around members.

use crate::id::CommandId;
use crate::wire::json;
use crate::wire::server_frame::{self, Opcode};

/// Appends a frame with these members.
pub(super) fn frame(out: &mut Vec<u8>, members: impl FnOnce(&mut Vec<u8>)) {
    server_frame::write_with(out, Opcode::Text, |out| json::object(out, members));
}

/// Appends the push `name` with these members.
pub(super) fn push(out: &mut Vec<u8>, name: &'static str, members: impl FnOnce(&mut Vec<u8>)) {
    frame(out, |out| {
        json::key(out, name);
        json::object(out, members);
    });
}

/// Appends the reply `name` with these members.
pub(super) fn reply(
    out: &mut Vec<u8>,
    id: CommandId,
    name: &'static str,
    members: impl FnOnce(&mut Vec<u8>),
) {
    frame(out, |out| {
        json::integer(out, "id", id.0);
        json::key(out, name);
        json::object(out, members);
    });
}
