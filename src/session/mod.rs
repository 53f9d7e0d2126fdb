//! One connection's protocol life, from `connect` to the end, as a state machine.
//!
//! A session performs nothing. It is handed what happened, by methods in three kinds:
//!
//! - [`Session::text`]: the peer sent a text message;
//! - `token_checked`, `opened`, `appended`, `history_read`: an effect it asked for was answered;
//! - [`Session::expire`]: time passed.
//!
//! Each takes a [`Context`] and leaves two things there: frames for this peer in `out`, already in the order
//! they are to be sent, and [`Effect`]s for the reactor. After an [`Effect::Close`] it says nothing more.
//! [`Session::end`] must be called once, when the connection is gone: it gives back what others count.

mod connect;
pub mod effect;
pub mod heartbeat;
mod member;
pub mod outcome;
pub mod policy;
mod publish;
mod refusal;
mod subscribe;
#[cfg(test)]
mod tests;

pub use effect::{AppendEffect, Effect};
pub use policy::{AuthMode, Policy};
pub use publish::{AppendOutcome, HistoryOutcome};
pub use refusal::Refusal;

use crate::clock::{Moment, Now};
use crate::close::CloseReason;
use crate::hub::{Hub, Slot, SubscriptionId};
use crate::id::{ChannelName, CommandId, Offset};
use crate::wire::command::{self, Command, Cursor, Rejected, Request};
use crate::wire::push::{self, ErrorCode};
use heartbeat::Beat;
use member::Member;
use std::collections::VecDeque;

/// What a session is handed with every call.
pub struct Context<'a> {
    /// Both clocks.
    pub now: Now,
    /// When the command in hand came: earlier than now for one that was held.
    pub asked: Moment,
    /// What holds for all sessions.
    pub policy: &'a Policy,
    /// Who follows what on this reactor.
    pub hub: &'a mut Hub,
    /// Where this connection lives.
    pub slot: Slot,
    /// The connection's name, for `connected`.
    pub connection: u64,
    /// The `status` object, encoded when the health snapshot changed.
    pub status: &'a str,
    /// Bytes that wait for this socket.
    pub waiting_bytes: usize,
    /// Frames for this peer.
    pub out: &'a mut Vec<u8>,
    /// What is to be done.
    pub effects: &'a mut Vec<Effect>,
    /// Errors told, for the reactor to count.
    pub refused: &'a mut Vec<ErrorCode>,
}

impl Context<'_> {
    fn refuse(&mut self, id: Option<CommandId>, refusal: &Refusal<'_>) {
        self.refused.push(refusal.code());
        refusal.write(self.out, id, self.policy);
    }

    fn close(&mut self, reason: CloseReason) {
        self.effects.push(Effect::Close(reason));
    }
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    stage: Stage,
    /// The token of the upgrade, which wins over that of `connect`.
    token: Option<Box<str>>,
}

#[derive(Debug)]
enum Stage {
    /// Nothing but `connect` is expected.
    AwaitingConnect,
    /// The token is with the auth worker; commands that came meanwhile are held, in order.
    AwaitingToken { id: CommandId, asked: Moment, recover: Vec<Cursor>, held: Held },
    /// The positions of the channels to restore are with the store.
    AwaitingPositions { member: Box<Member>, restoring: connect::Restoring, held: Held },
    /// In full service.
    Open(Box<Member>),
    /// Closed or closing: whatever comes is ignored.
    Over,
}

/// Commands that came before `connected`: bounded, since the peer need not wait for it.
#[derive(Debug, Default)]
struct Held {
    texts: VecDeque<(Box<str>, Moment)>,
    bytes: usize,
}

impl Session {
    /// Begins after the upgrade.
    pub fn new(token: Option<Box<str>>) -> Session {
        Session { stage: Stage::AwaitingConnect, token }
    }

    /// True exactly when `connected` was said and no close.
    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open(_))
    }

    /// True exactly while `limits.connect_ms` runs.
    pub fn awaits_connect(&self) -> bool {
        matches!(self.stage, Stage::AwaitingConnect)
    }

    /// True exactly when a command that was taken waits for its answer.
    pub fn awaits_answers(&self) -> bool {
        match &self.stage {
            Stage::Open(member) => member.pending > 0 || !member.opening.is_empty(),
            Stage::AwaitingConnect
            | Stage::AwaitingToken { .. }
            | Stage::AwaitingPositions { .. }
            | Stage::Over => false,
        }
    }

    /// This connection's subscriptions.
    pub fn subscriptions(&self) -> &[SubscriptionId] {
        match &self.stage {
            Stage::Open(member) => &member.subscriptions,
            Stage::AwaitingConnect
            | Stage::AwaitingToken { .. }
            | Stage::AwaitingPositions { .. }
            | Stage::Over => &[],
        }
    }

    /// The peer sent a text message.
    pub fn text(&mut self, text: &str, cx: &mut Context<'_>) {
        match &mut self.stage {
            Stage::Over => {}
            Stage::AwaitingConnect => self.first(text, cx),
            Stage::AwaitingToken { held, .. } | Stage::AwaitingPositions { held, .. } => {
                hold(held, text, cx);
            }
            Stage::Open(member) => {
                match command::parse(text, cx.policy.bounds) {
                    Ok(request) => member.command(request, cx),
                    Err(rejected) => member.rejected(&rejected, cx),
                }
                self.stop_if_closed(cx);
            }
        }
    }

    fn first(&mut self, text: &str, cx: &mut Context<'_>) {
        match command::parse(text, cx.policy.bounds) {
            Ok(Request { id: Some(id), command: Command::Connect(connect) }) => self.connect(id, connect, cx),
            Ok(_) => cx.close(CloseReason::Unauthenticated("send connect first")),
            Err(rejected) => {
                // It is told what was wrong with it as well.
                refuse_rejected(&rejected, cx);
                cx.close(CloseReason::Unauthenticated("send connect first"));
            }
        }
        self.stop_if_closed(cx);
    }

    /// Time passed: tokens expire, and what the store did not tell in time is answered without it.
    pub fn expire(&mut self, cx: &mut Context<'_>) {
        self.expire_openings(cx);
        if let Stage::Open(member) = &self.stage
            && member.expires_unix_ms.is_some_and(|expires| expires <= cx.now.unix_ms)
        {
            cx.close(CloseReason::Unauthenticated("the token expired; refresh earlier"));
            self.stop_if_closed(cx);
        }
    }

    /// When something is to be answered without the store, unless it answers earlier.
    pub fn answer_by(&self) -> Option<Moment> {
        match &self.stage {
            Stage::Open(member) => member.opening.iter().map(|opening| opening.answer_by).min(),
            Stage::AwaitingPositions { restoring, .. } => Some(restoring.answer_by),
            Stage::AwaitingConnect | Stage::AwaitingToken { .. } | Stage::Over => None,
        }
    }

    /// When the token expires, Unix milliseconds.
    pub fn expires_unix_ms(&self) -> Option<u64> {
        match &self.stage {
            Stage::Open(member) => member.expires_unix_ms,
            Stage::AwaitingConnect
            | Stage::AwaitingToken { .. }
            | Stage::AwaitingPositions { .. }
            | Stage::Over => None,
        }
    }

    /// The peer sent a ping or a pong: counted against `limits.control_frames_per_s`.
    pub fn control_frame_refused(&mut self, cx: &mut Context<'_>, retry_ms: u32) {
        cx.close(CloseReason::RateLimited { bound: "limits.control_frames_per_s", retry_ms });
        self.stop_if_closed(cx);
    }

    /// The connection is gone: its subscriptions end and its user is counted off.
    pub fn end(&mut self, cx: &mut Context<'_>) {
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        if let Stage::AwaitingPositions { member, .. } | Stage::Open(member) = stage {
            member.end(cx);
        }
    }

    /// A session that asked to be closed serves nothing more.
    fn stop_if_closed(&mut self, cx: &mut Context<'_>) {
        if cx.effects.iter().any(|effect| matches!(effect, Effect::Close(_))) {
            self.end(cx);
        }
    }

    /// Hands over what was held back while the session could not serve it.
    fn release(&mut self, held: Held, cx: &mut Context<'_>) {
        let asked = cx.asked;
        for (text, came) in held.texts {
            cx.asked = came;
            self.text(&text, cx);
        }
        cx.asked = asked;
    }
}

fn hold(held: &mut Held, text: &str, cx: &mut Context<'_>) {
    let limits = &cx.policy.limits;
    let fits = held.texts.len() < limits.pending as usize
        && held.bytes + text.len() <= limits.message_bytes as usize;
    if fits {
        held.bytes += text.len();
        held.texts.push_back((Box::from(text), cx.asked));
        return;
    }
    let id = command::parse(text, cx.policy.bounds).map_or_else(|rejected| rejected.id, |request| request.id);
    cx.refuse(id, &Refusal::Pending);
}

fn refuse_rejected(rejected: &Rejected, cx: &mut Context<'_>) {
    cx.refuse(rejected.id, &Refusal::Rejected(rejected));
}

/// Writes a `beat` if one is due: the status revision, and the heads that moved since the last one.
pub fn write_beat(session: &Session, hub: &mut Hub, beat: Beat, revision: u64, out: &mut Vec<u8>) {
    let moved: Vec<(ChannelName, Offset)> =
        session.subscriptions().iter().filter_map(|id| hub.moved(*id)).collect();
    let tell = match beat {
        Beat::NotDue => false,
        Beat::IfMoved => !moved.is_empty(),
        Beat::Now => true,
    };
    if tell {
        push::beat(out, revision, moved.iter().map(|(channel, head)| (channel, *head)));
    }
}
