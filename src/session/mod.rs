//! The protocol state machine of one connection, from `connect` to the end.
//!
//! A session only decides. Events go in through three kinds of methods:
//!
//! - [`Session::text`]: the peer sent a text message;
//! - `token_checked`, `opened`, `appended`, `history_read`: an effect was answered;
//! - [`Session::expire`]: time passed.
//!
//! Each takes a [`Context`] and appends its results there: frames for this peer to `out`, in the order in which they
//! must be sent, and [`Effect`]s for the reactor. After an [`Effect::Close`] it produces nothing more. Call
//! [`Session::end`] exactly once, when the connection is gone; it releases the connection's subscriptions and its
//! user's count.

mod address_share;
mod answer;
mod connect;
mod context;
pub mod effect;
pub mod heartbeat;
mod held_rosters;
mod life;
mod member;
mod meters;
pub mod outcome;
pub mod policy;
pub(crate) mod publish;
mod recheck;
mod refusal;
mod report;
mod restoring;
mod returning;
mod roster;
mod stream;
mod stream_refusal;
mod subscribe;
#[cfg(test)]
mod tests;

pub use address_share::AddressShare;
pub use answer::{AppendOutcome, HistoryOutcome, PresenceOutcome, StreamReadOutcome, StreamReply};
pub use context::Context;
pub use effect::{AppendEffect, Effect, ReportEffect, RosterEffect, StreamCommand, StreamEffect};
pub use life::{ClientText, Life};
pub use meters::ExceededRate;
pub use policy::{AuthMode, Policy, PresencePolicy, StreamPolicy, StreamsMode};
pub use refusal::Refusal;
pub use returning::ReturningClient;
pub use stream_refusal::StreamRefusal;

use crate::clock::Moment;
use crate::close::CloseReason;
use crate::cluster::order::OrderedSession;
use crate::flag::FlagSet;
use crate::hub::{Hub, SubscriptionId};
use crate::id::{ChannelName, Offset, UserName};
use crate::roster::Departure;
use crate::wire::command::{self, Command, CommandFrame};
use crate::wire::push;
use heartbeat::Beat;
use member::Member;
use restoring::{PendingConnect, Restoring};
use std::collections::VecDeque;

/// A reload removed the key, the service or the issuer of the session's token.
const UNTRUSTED: &str = "the key or issuer of the token is no longer trusted; get a new one";

/// The state of one connection: see the module documentation.
#[derive(Debug)]
pub struct Session {
    stage: SessionStage,
    /// The token of the upgrade request, which takes precedence over that of `connect`. With auth off it is the canary's, or none.
    token: Option<Box<str>>,
}

#[derive(Debug)]
enum SessionStage {
    /// Only `connect` is accepted.
    AwaitingConnect,
    /// The auth worker checks the token; commands that arrive meanwhile are held in order.
    AwaitingToken { connect: Box<PendingConnect>, held: Held },
    /// The store reads the positions of the channels to restore.
    AwaitingPositions { member: Box<Member>, restoring: Restoring, held: Held },
    /// `connected` was sent.
    Open(Box<Member>),
    /// Closed or closing: all input is ignored. If the session was open, the member has ended and is kept until that is recorded.
    Over(Option<Box<Member>>),
}

/// Commands that arrived before `connected`. Bounded, because a peer need not wait for `connected`.
#[derive(Debug, Default)]
struct Held {
    texts: VecDeque<(Box<str>, Moment)>,
    bytes: usize,
}

impl Session {
    /// Creates a session after the upgrade, with the token of the upgrade request.
    pub fn new(token: Option<Box<str>>) -> Session {
        Session { stage: SessionStage::AwaitingConnect, token }
    }

    /// True exactly when `connected` was sent and the session is not closing.
    pub fn is_open(&self) -> bool {
        matches!(self.stage, SessionStage::Open(_))
    }

    /// True exactly when it is open and the canary's.
    pub fn is_of_canary(&self) -> bool {
        matches!(&self.stage, SessionStage::Open(member) if member.user.is_canary())
    }

    /// True exactly while `limits.connect_ms` applies.
    pub fn awaits_connect(&self) -> bool {
        matches!(self.stage, SessionStage::AwaitingConnect)
    }

    /// True exactly when an accepted command waits for its reply.
    pub fn awaits_answers(&self) -> bool {
        match &self.stage {
            SessionStage::Open(member) => member.pending > 0 || !member.opening.is_empty(),
            SessionStage::AwaitingConnect
            | SessionStage::AwaitingToken { .. }
            | SessionStage::AwaitingPositions { .. }
            | SessionStage::Over(_) => false,
        }
    }

    /// The user whose shares of the common bounds the session uses; `None`: those of its address.
    pub fn sharing_user(&self) -> Option<&UserName> {
        match &self.stage {
            SessionStage::AwaitingPositions { member, .. } | SessionStage::Open(member) => {
                member.meters.belong_to_user().then_some(&member.user)
            }
            SessionStage::AwaitingConnect | SessionStage::AwaitingToken { .. } | SessionStage::Over(_) => {
                None
            }
        }
    }

    /// The user, once the session was open.
    pub fn user(&self) -> Option<&UserName> {
        match &self.stage {
            SessionStage::AwaitingPositions { member, .. } | SessionStage::Open(member) => Some(&member.user),
            SessionStage::Over(member) => member.as_ref().map(|member| &member.user),
            SessionStage::AwaitingConnect | SessionStage::AwaitingToken { .. } => None,
        }
    }

    /// The facts that orders look at, once the session has a user. `connection` is the name of its connection.
    pub fn ordered(&self, connection: u64) -> Option<OrderedSession<'_>> {
        match &self.stage {
            SessionStage::AwaitingPositions { member, .. } | SessionStage::Open(member) => {
                let Member { user, opened, stamp, .. } = &**member;
                Some(OrderedSession { user, connection, opened: *opened, stamp: *stamp })
            }
            SessionStage::AwaitingConnect | SessionStage::AwaitingToken { .. } | SessionStage::Over(_) => {
                None
            }
        }
    }

    /// The subscriptions of an open session.
    pub fn subscriptions(&self) -> &[SubscriptionId] {
        match &self.stage {
            SessionStage::Open(member) => &member.subscriptions,
            SessionStage::AwaitingConnect
            | SessionStage::AwaitingToken { .. }
            | SessionStage::AwaitingPositions { .. }
            | SessionStage::Over(_) => &[],
        }
    }

    /// Counts bytes of replayed publications that were sent to the peer.
    pub fn replayed(&self, bytes: usize, policy: &Policy, now: Moment) {
        match &self.stage {
            SessionStage::Open(member) => member.read(bytes, policy, now),
            SessionStage::AwaitingConnect
            | SessionStage::AwaitingToken { .. }
            | SessionStage::AwaitingPositions { .. }
            | SessionStage::Over(_) => {}
        }
    }

    /// Takes a text message from the peer.
    pub fn text(&mut self, text: &str, cx: &mut Context<'_>) {
        match &mut self.stage {
            SessionStage::Over(_) => {}
            SessionStage::AwaitingConnect => self.first(text, cx),
            SessionStage::AwaitingToken { held, .. } | SessionStage::AwaitingPositions { held, .. } => {
                hold(held, text, cx);
            }
            SessionStage::Open(member) => {
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
            Ok(CommandFrame { id: Some(id), command: Command::Connect(connect) }) => {
                self.connect(id, connect, cx)
            }
            Ok(_) => cx.close(CloseReason::Unauthenticated("send connect first")),
            Err(rejected) => {
                // The client also learns what was wrong with the command.
                cx.refuse_rejected(&rejected);
                cx.close(CloseReason::Unauthenticated("send connect first"));
            }
        }
        self.stop_if_closed(cx);
    }

    /// Closes the session if its token expired, has it checked again if that is due, and answers subscriptions that the store did not answer in time.
    pub fn expire(&mut self, cx: &mut Context<'_>) {
        self.expire_openings(cx);
        self.recheck_if_due(cx);
        if let SessionStage::Open(member) = &self.stage
            && member.expires_unix_ms.is_some_and(|expires| expires <= cx.now.unix_ms)
        {
            cx.close(CloseReason::Unauthenticated("the token expired; send refresh before it expires"));
            self.stop_if_closed(cx);
        }
    }

    /// Closes the session if the source of its rights is no longer trusted.
    pub fn rejudge(&mut self, cx: &mut Context<'_>) {
        match &self.stage {
            SessionStage::AwaitingPositions { member, .. } | SessionStage::Open(member)
                if !cx.policy.allows(member.origin.as_ref()) =>
            {
                cx.close(CloseReason::Unauthenticated(UNTRUSTED));
                self.stop_if_closed(cx);
            }
            SessionStage::AwaitingConnect
            | SessionStage::AwaitingToken { .. }
            | SessionStage::AwaitingPositions { .. }
            | SessionStage::Open(_)
            | SessionStage::Over(_) => {}
        }
    }

    /// The earliest time at which a subscription must be answered even if the store has not answered.
    pub fn answer_by(&self) -> Option<Moment> {
        match &self.stage {
            SessionStage::Open(member) => member.opening.iter().map(|opening| opening.answer_by).min(),
            SessionStage::AwaitingPositions { restoring, .. } => Some(restoring.answer_by),
            SessionStage::AwaitingConnect | SessionStage::AwaitingToken { .. } | SessionStage::Over(_) => {
                None
            }
        }
    }

    /// The token's expiry, in Unix milliseconds.
    pub fn expires_unix_ms(&self) -> Option<u64> {
        match &self.stage {
            SessionStage::Open(member) => member.expires_unix_ms,
            SessionStage::AwaitingConnect
            | SessionStage::AwaitingToken { .. }
            | SessionStage::AwaitingPositions { .. }
            | SessionStage::Over(_) => None,
        }
    }

    /// Closes the session because its peer exceeded `limits.control_frames_per_s`.
    pub fn control_frame_refused(&mut self, cx: &mut Context<'_>, retry_ms: u32) {
        cx.close(CloseReason::RateLimited { bound: "limits.control_frames_per_s", retry_ms });
        self.stop_if_closed(cx);
    }

    /// Ends the subscriptions, leaves the rosters, and releases the user's count.
    pub fn end(&mut self, departure: Departure, cx: &mut Context<'_>) {
        match std::mem::replace(&mut self.stage, SessionStage::Over(None)) {
            SessionStage::AwaitingPositions { mut member, .. } | SessionStage::Open(mut member) => {
                member.end(departure, cx);
                self.stage = SessionStage::Over(Some(member));
            }
            over @ SessionStage::Over(_) => self.stage = over,
            SessionStage::AwaitingConnect | SessionStage::AwaitingToken { .. } => {}
        }
    }

    /// Takes the life of a session that is over, once.
    pub fn take_life(&mut self) -> Option<Life> {
        match &mut self.stage {
            SessionStage::Over(member) => member.take().map(|member| member.into_life()),
            SessionStage::AwaitingConnect
            | SessionStage::AwaitingToken { .. }
            | SessionStage::AwaitingPositions { .. }
            | SessionStage::Open(_) => None,
        }
    }

    /// The client and the beginning of an open session. The client is empty if `connect` had none.
    pub fn client(&self) -> Option<(&str, Moment)> {
        match &self.stage {
            SessionStage::Open(member) => Some((member.client.as_str(), member.opened)),
            SessionStage::AwaitingConnect
            | SessionStage::AwaitingToken { .. }
            | SessionStage::AwaitingPositions { .. }
            | SessionStage::Over(_) => None,
        }
    }

    /// Sends the flags that are on. They replace what the client knows.
    pub fn tell_flags(&mut self, cx: &mut Context<'_>) {
        match &mut self.stage {
            SessionStage::Open(member) => push::flags(cx.out, &member.take_flags(cx.flags)),
            // `connected` has them.
            SessionStage::AwaitingConnect
            | SessionStage::AwaitingToken { .. }
            | SessionStage::AwaitingPositions { .. }
            | SessionStage::Over(_) => {}
        }
    }

    /// The flags that an open session was sent last.
    pub fn flags(&self) -> FlagSet {
        match &self.stage {
            SessionStage::Open(member) => member.flags,
            SessionStage::AwaitingConnect
            | SessionStage::AwaitingToken { .. }
            | SessionStage::AwaitingPositions { .. }
            | SessionStage::Over(_) => FlagSet::default(),
        }
    }

    /// Takes the client's last connection, if it named one.
    pub fn take_returning(&mut self) -> Option<Box<ReturningClient>> {
        match &mut self.stage {
            SessionStage::Open(member) => member.returning.take(),
            SessionStage::AwaitingConnect
            | SessionStage::AwaitingToken { .. }
            | SessionStage::AwaitingPositions { .. }
            | SessionStage::Over(_) => None,
        }
    }

    /// Ends the session if it ordered its close.
    fn stop_if_closed(&mut self, cx: &mut Context<'_>) {
        let departure = cx.effects.iter().find_map(|effect| match effect {
            Effect::Close(reason) | Effect::Deny(reason) => Some(Departure::by_code(reason.code())),
            _ => None,
        });
        if let Some(departure) = departure {
            self.end(departure, cx);
        }
    }

    /// Processes the commands that were held before `connected`.
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

/// Writes a `beat` if one is due, with the status revision and the heads that moved since the last one.
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
