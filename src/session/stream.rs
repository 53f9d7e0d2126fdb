//! `append`, `restart`, `end`, `cancel` and `stream`: writing to streams, ending them and reading them.
//!
//! The session decides by the token alone. If a stream is open, whose it is and whether a piece fits are decided by the owner of the
//! streams, which answers.

use super::answer::{StreamReadOutcome, StreamReply};
use super::context::Context;
use super::effect::{Effect, StreamCommand, StreamEffect};
use super::member::Member;
use super::outcome::CancelAuthority;
use super::policy::{Policy, StreamsMode};
use super::refusal::Refusal;
use super::stream_refusal::StreamRefusal;
use super::{Session, SessionStage};
use crate::auth::permission::Right;
use crate::id::{ChannelName, CommandId};
use crate::wire::command::{AppendPiece, EndStream};
use crate::wire::push;
use crate::wire::stream::{Generation, Position, ProducerNotice, StreamFault, StreamId, StreamOutcome};

/// When a client should retry if there was no answer in time, in milliseconds.
const LATE_RETRY_MS: u32 = 1_000;

impl Member {
    /// Checks that the member may begin a stream, in addition to the publication that begins it.
    #[cold]
    pub(super) fn may_begin(&self, id: CommandId, channel: &ChannelName, cx: &mut Context<'_>) -> bool {
        match cx.policy.streams.mode {
            StreamsMode::On => self.may(Right::Stream, channel, Some(id), cx),
            StreamsMode::Off => {
                cx.refuse(Some(id), &Refusal::Stream(StreamRefusal::Off));
                false
            }
        }
    }

    pub(super) fn append_to_stream(
        &mut self,
        id: Option<CommandId>,
        append: AppendPiece,
        cx: &mut Context<'_>,
    ) {
        let AppendPiece { channel, offset, generation, at, piece } = append;
        self.write_stream(
            id,
            StreamId { channel, offset },
            StreamCommand::Append { generation, at, piece },
            cx,
        );
    }

    pub(super) fn restart_stream(&mut self, id: CommandId, stream: StreamId, cx: &mut Context<'_>) {
        self.write_stream(Some(id), stream, StreamCommand::Restart, cx);
    }

    pub(super) fn end_stream(&mut self, id: CommandId, end: EndStream<'_>, cx: &mut Context<'_>) {
        let EndStream { channel, offset, generation, at, end, data } = end;
        let command = StreamCommand::End { generation, at, end, data: data.map(Box::from) };
        self.write_stream(Some(id), StreamId { channel, offset }, command, cx);
    }

    /// Sends a command of a producer. Only the right is checked: that the stream is the member's is known to its owner.
    fn write_stream(
        &mut self,
        id: Option<CommandId>,
        stream: StreamId,
        command: StreamCommand,
        cx: &mut Context<'_>,
    ) {
        if self.has(Right::Stream, &stream.channel, cx.policy) {
            self.send_to_stream(id, stream, command, cx);
        } else {
            cx.refuse_of_stream(id, &stream, &Refusal::Forbidden(Right::Stream.name()));
        }
    }

    /// Asks for the end of a stream, which the user whom it is for may do without any right.
    pub(super) fn cancel_stream(&mut self, id: CommandId, stream: StreamId, cx: &mut Context<'_>) {
        let authority = if self.permissions.allow(Right::Moderate, &stream.channel) {
            CancelAuthority::Moderator
        } else if self.may_know_streams(&stream.channel, cx.policy) {
            CancelAuthority::Reader
        } else {
            CancelAuthority::Outsider
        };
        self.send_to_stream(Some(id), stream, StreamCommand::Cancel { authority }, cx);
    }

    pub(super) fn read_stream(
        &mut self,
        id: CommandId,
        stream: StreamId,
        known: Option<(Generation, Position)>,
        cx: &mut Context<'_>,
    ) {
        if self.may(Right::Subscribe, &stream.channel, Some(id), cx) {
            self.send_to_stream(Some(id), stream, StreamCommand::Read { known }, cx);
        }
    }

    fn send_to_stream(
        &mut self,
        id: Option<CommandId>,
        stream: StreamId,
        command: StreamCommand,
        cx: &mut Context<'_>,
    ) {
        if id.is_none_or(|id| self.reserve(id, cx)) {
            let (user, asked) = (self.user.clone(), cx.asked);
            cx.effects.push(Effect::Stream(Box::new(StreamEffect { id, stream, user, command, asked })));
        }
    }
}

impl Session {
    /// Takes the answer to a command that writes to a stream or cancels it.
    pub fn stream_answered(
        &mut self,
        id: CommandId,
        stream: &StreamId,
        reply: &StreamReply,
        cx: &mut Context<'_>,
    ) {
        let SessionStage::Open(member) = &mut self.stage else { return };
        member.pending = member.pending.saturating_sub(1);
        let refusal = match reply {
            StreamReply::Outcome(StreamOutcome::Refused(fault)) => {
                member.refusal_of(*fault, stream, cx.policy)
            }
            StreamReply::Outcome(StreamOutcome::Unavailable { retry_ms }) => {
                Refusal::Unavailable { retry_ms: *retry_ms }
            }
            StreamReply::Outcome(StreamOutcome::Unconfirmed { retry_ms }) => {
                Refusal::Stream(StreamRefusal::Unconfirmed { retry_ms: *retry_ms })
            }
            StreamReply::Outcome(
                outcome @ (StreamOutcome::Appended { .. }
                | StreamOutcome::Restarted { .. }
                | StreamOutcome::Ended { .. }
                | StreamOutcome::Cancelling
                | StreamOutcome::Processing { .. }),
            ) => return push::stream_answered(cx.out, id, stream, outcome),
            StreamReply::QueueFull => Refusal::Queue,
            StreamReply::Late => Refusal::Stream(StreamRefusal::Unconfirmed { retry_ms: LATE_RETRY_MS }),
        };
        cx.refuse_of_stream(Some(id), stream, &refusal);
    }

    /// Takes the answer to `stream`.
    pub fn stream_read(
        &mut self,
        id: CommandId,
        stream: &StreamId,
        outcome: StreamReadOutcome<'_>,
        cx: &mut Context<'_>,
    ) {
        let SessionStage::Open(member) = &mut self.stage else { return };
        member.pending = member.pending.saturating_sub(1);
        let refusal = match outcome {
            StreamReadOutcome::Read(Some(whole)) => {
                member.read(whole.frame.len(), cx.policy, cx.now.at);
                return push::stream_read(cx.out, id, whole);
            }
            StreamReadOutcome::Read(None) => Refusal::Stream(StreamRefusal::Fault(StreamFault::NotFound)),
            StreamReadOutcome::Ended { end, edit } => {
                member.refusal_of(StreamFault::AlreadyEnded { end, edit }, stream, cx.policy)
            }
            StreamReadOutcome::QueueFull => Refusal::Queue,
            StreamReadOutcome::Unavailable { retry_ms } => Refusal::Unavailable { retry_ms },
            StreamReadOutcome::Late => Refusal::Unavailable { retry_ms: LATE_RETRY_MS },
        };
        cx.refuse_of_stream(Some(id), stream, &refusal);
    }

    /// Sends a producer what answers none of its commands.
    pub fn notify_producer(&mut self, notice: &ProducerNotice, cx: &mut Context<'_>) {
        let SessionStage::Open(member) = &mut self.stage else { return };
        match notice {
            ProducerNotice::Refused { id, fault } => {
                let refusal = member.refusal_of(*fault, id, cx.policy);
                cx.refuse_of_stream(None, id, &refusal);
            }
            ProducerNotice::Appended { id, generation, next } => {
                push::appended(cx.out, id, *generation, *next);
            }
            ProducerNotice::Cancel { id, generation, user, end_ms } => {
                push::cancel(cx.out, id, *generation, user, *end_ms);
            }
            // The reactor carries them out.
            ProducerNotice::Pause | ProducerNotice::Resume => {}
        }
    }

    /// Refuses a piece without an id that no queue has room for.
    pub fn piece_refused(&mut self, stream: &StreamId, cx: &mut Context<'_>) {
        if self.is_open() {
            cx.refuse_of_stream(None, stream, &Refusal::Queue);
        }
    }
}

impl Member {
    /// A user who cannot read the channel must not find out which streams it has, unless they may write to it.
    fn may_know_streams(&self, channel: &ChannelName, policy: &Policy) -> bool {
        self.has(Right::Subscribe, channel, policy) || self.has(Right::Stream, channel, policy)
    }

    fn refusal_of(&self, fault: StreamFault, stream: &StreamId, policy: &Policy) -> Refusal<'static> {
        match fault {
            StreamFault::NotAuthor | StreamFault::AlreadyEnded { .. }
                if !self.may_know_streams(&stream.channel, policy) =>
            {
                Refusal::Stream(StreamRefusal::Fault(StreamFault::NotFound))
            }
            fault => Refusal::Stream(StreamRefusal::Fault(fault)),
        }
    }
}
