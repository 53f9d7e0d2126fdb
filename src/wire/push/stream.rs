//! Replies and pushes about streams to producers, to users who cancel, and to clients that ask for one. The frames for readers are made where the text is.

use super::error_code::{CommandError, error_rest};
use super::framing::{frame, push, reply};
use crate::id::{CommandId, Offset, UserName};
use crate::wire::json;
use crate::wire::server_frame::{self, Opcode};
use crate::wire::stream::{
    BegunStream, Generation, Position, StreamFault, StreamId, StreamOutcome, WholeStream,
};

/// Appends the member `stream` of `published`.
#[cold]
pub(super) fn begun(out: &mut Vec<u8>, begun: &BegunStream) {
    json::key(out, "stream");
    json::object(out, |out| {
        place(out, begun.generation, begun.next);
        if let Some((end, edit)) = begun.ended {
            json::text(out, "state", end.word());
            json::integer(out, "edit", edit.0);
        }
    });
}

/// Appends the reply to `append` with an id, `restart`, `end` or `cancel`: `appended`, `restarted`, `ended` or `cancelling`. Nothing
/// for outcomes that are errors.
pub fn stream_answered(out: &mut Vec<u8>, id: CommandId, stream: &StreamId, outcome: &StreamOutcome) {
    match outcome {
        StreamOutcome::Appended { generation, next } => {
            reply(out, id, "appended", |out| reached(out, stream, *generation, *next));
        }
        StreamOutcome::Restarted { generation, next } => {
            reply(out, id, "restarted", |out| reached(out, stream, *generation, *next));
        }
        StreamOutcome::Ended { edit, end, duplicate } => reply(out, id, "ended", |out| {
            name(out, stream);
            json::integer(out, "edit", edit.0);
            json::text(out, "state", end.word());
            json::truth(out, "duplicate", *duplicate);
        }),
        StreamOutcome::Cancelling => reply(out, id, "cancelling", |out| name(out, stream)),
        // No client asks for that.
        StreamOutcome::Processing { .. }
        | StreamOutcome::Refused(_)
        | StreamOutcome::Unavailable { .. }
        | StreamOutcome::Unconfirmed { .. } => {}
    }
}

/// Appends the reply to `stream`: the frame of the stream, with the id.
pub fn stream_read(out: &mut Vec<u8>, id: CommandId, whole: &WholeStream) {
    let members = whole.json().and_then(|json| json.get(1..)).unwrap_or(b"}");
    server_frame::write_with(out, Opcode::Text, |out| {
        out.push(b'{');
        json::integer(out, "id", id.0);
        out.push(b',');
        out.extend_from_slice(members);
    });
}

/// Appends the push that everything of a stream below `next` is committed.
pub fn appended(out: &mut Vec<u8>, stream: &StreamId, generation: Generation, next: Position) {
    push(out, "appended", |out| reached(out, stream, generation, next));
}

/// Appends the push to a producer that `user` asked for the end of its stream, which the gateway ends after `end_ms` milliseconds.
pub fn cancel(out: &mut Vec<u8>, stream: &StreamId, generation: Generation, user: &UserName, end_ms: u32) {
    push(out, "cancel", |out| {
        name(out, stream);
        json::integer(out, "gen", generation.0.into());
        json::text(out, "user", user.as_str());
        json::integer(out, "end_ms", end_ms.into());
    });
}

/// Appends an `error` about a stream: it names the stream, because an `append` may have no id, and says where to continue.
pub fn stream_error(
    out: &mut Vec<u8>,
    id: Option<CommandId>,
    stream: &StreamId,
    fault: Option<&StreamFault>,
    error: &CommandError<'_>,
) {
    frame(out, |out| {
        if let Some(id) = id {
            json::integer(out, "id", id.0);
        }
        json::key(out, "error");
        json::object(out, |out| {
            json::text(out, "code", error.code.as_str());
            name(out, stream);
            if let Some(fault) = fault {
                remedy(out, fault);
            }
            error_rest(out, error);
        });
    });
}

/// Appends the members of an error that name the stream and say how to go on.
pub fn stream_of_error(out: &mut Vec<u8>, stream: &StreamId, fault: Option<&StreamFault>) {
    name(out, stream);
    if let Some(fault) = fault {
        remedy(out, fault);
    }
}

/// Appends what a producer needs to go on.
fn remedy(out: &mut Vec<u8>, fault: &StreamFault) {
    match fault {
        StreamFault::Stale { generation } => json::integer(out, "gen", generation.0.into()),
        StreamFault::Gap { next } | StreamFault::Diverged { next } => {
            json::integer(out, "next", next.0.into())
        }
        StreamFault::AlreadyEnded { end, edit } => {
            json::text(out, "state", end.word());
            json::integer(out, "edit", edit.0);
        }
        StreamFault::TooLarge
        | StreamFault::NotFound
        | StreamFault::NotAuthor
        | StreamFault::Overloaded { .. }
        | StreamFault::ChannelFull { .. }
        | StreamFault::NoGeneration => {}
    }
}

fn name(out: &mut Vec<u8>, stream: &StreamId) {
    let Offset(offset) = stream.offset;
    json::text(out, "channel", stream.channel.as_str());
    json::integer(out, "offset", offset);
}

fn place(out: &mut Vec<u8>, generation: Generation, next: Position) {
    json::integer(out, "gen", generation.0.into());
    json::integer(out, "next", next.0.into());
}

fn reached(out: &mut Vec<u8>, stream: &StreamId, generation: Generation, next: Position) {
    name(out, stream);
    place(out, generation, next);
}
