//! Events that objectives count: messages, replies, health reports, open sessions and their ends. Attempts to connect are in
//! [`attempts`](super::attempts).
//!
//! The pure rules are in [`slo`](crate::slo). A good event costs one addition.

use super::Engine;
use super::peer::ReasonState;
use super::slots::SlotId;
use crate::clock::Moment;
use crate::id::{ChannelName, Key, UserName};
use crate::session::AppendOutcome;
use crate::session::outcome::{AppendError, Attempt};
use crate::slo::ending::{EndingRule, ReasonFate};
use crate::slo::messages::{FailedMessages, MessageAnswer};
use crate::slo::{BadCause, SloOutcome, SloPart};
use std::time::Duration;

/// A reply that comes later is bad.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);
/// A health report that comes later is bad.
const REPORTED_WITHIN: Duration = Duration::from_secs(1);
/// The time between two looks at the messages that failed.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// The state of the counts.
#[derive(Debug)]
pub(super) struct Promises {
    messages: FailedMessages<ahash::RandomState>,
    look_at: Moment,
    /// The health reports of this turn, which its end sends.
    health_reports: u64,
    sessions: SessionTime,
}

/// The sessions that are `connected`, and the time that all of them were open.
#[derive(Debug)]
struct SessionTime {
    open: u64,
    us: u64,
    since: Moment,
}

impl SessionTime {
    fn advance(&mut self, now: Moment) {
        self.us += self.open * now.since(self.since).as_micros() as u64;
        self.since = now;
    }
}

impl Promises {
    pub(super) fn new(hasher: ahash::RandomState, now: Moment) -> Promises {
        Promises {
            messages: FailedMessages::new(hasher),
            look_at: now,
            health_reports: 0,
            sessions: SessionTime { open: 0, us: 0, since: now },
        }
    }
}

/// A message that a client published.
#[derive(Clone, Copy, Debug)]
pub(super) struct MessageName<'a> {
    pub(super) channel: &'a ChannelName,
    pub(super) user: &'a UserName,
    pub(super) key: Option<&'a Key>,
}

impl Engine {
    /// Counts the answer to a `publish`.
    pub(super) fn count_message(&mut self, name: MessageName<'_>, answered: &AppendOutcome) {
        if name.user.is_canary() {
            return;
        }
        let (messages, now) = (&mut self.promises.messages, self.now.at);
        let answer = message_answer(answered);
        if answer == MessageAnswer::Stored && messages.is_empty() {
            return self.tally.slo.count(SloPart::Publish, SloOutcome::Good, 1);
        }
        let hash = name.key.map(|key| messages.hash(name.channel.as_str(), name.user.as_str(), key.as_str()));
        if let Some(outcome) = messages.answered(answer, hash, now) {
            self.tally.slo.count(SloPart::Publish, outcome, 1);
        }
        self.tally.slo.messages_full.set(messages.full());
    }

    /// Counts the reply to a `publish` of `user` that was read at `asked`. The canary counts its own.
    pub(super) fn count_stored(&self, user: &UserName, asked: Moment) {
        if !user.is_canary() {
            self.count_reply(asked);
        }
    }

    /// Counts a reply to a command that was read at `asked`.
    pub(super) fn count_reply(&self, asked: Moment) {
        let in_time = self.now.at.since(asked) <= ANSWERED_WITHIN;
        let outcome = if in_time { SloOutcome::Good } else { SloOutcome::Bad(BadCause::Late) };
        self.tally.slo.count(SloPart::Command, outcome, 1);
    }

    /// Counts a command that was answered at its deadline, without a result.
    pub(super) fn count_no_reply(&self) {
        self.tally.slo.count(SloPart::Command, SloOutcome::Bad(BadCause::Late), 1);
    }

    /// Notes a health report, which the end of the turn sends.
    pub(super) fn note_health_report(&mut self) {
        self.promises.health_reports += 1;
    }

    /// Counts what the turn sent, and the messages that became bad. The turn took `busy`.
    pub(super) fn end_promises(&mut self, busy: Duration) {
        if self.promises.health_reports > 0 {
            let reports = std::mem::take(&mut self.promises.health_reports);
            let in_time = busy <= REPORTED_WITHIN;
            let outcome = if in_time { SloOutcome::Good } else { SloOutcome::Bad(BadCause::Late) };
            self.tally.slo.count(SloPart::Request, outcome, reports);
        }
        if !self.promises.messages.is_empty() && self.promises.look_at <= self.now.at {
            self.promises.look_at = self.now.at + LOOK_PERIOD;
            let bad = self.promises.messages.expire(self.now.at);
            self.tally.slo.count(SloPart::Publish, SloOutcome::Bad(BadCause::NotStored), bad);
        }
    }

    /// Notes that a session is `connected`.
    pub(super) fn open_session_time(&mut self) {
        self.promises.sessions.advance(self.now.at);
        self.promises.sessions.open += 1;
        self.count_session_time();
    }

    /// Notes that a session that was `connected` ended, and what that owes its client.
    pub(super) fn close_session_time(&mut self, id: SlotId, rule: EndingRule) {
        self.promises.sessions.advance(self.now.at);
        self.promises.sessions.open = self.promises.sessions.open.saturating_sub(1);
        self.count_session_time();
        match rule {
            EndingRule::ByClient => {}
            EndingRule::OwesReason => {
                if let Some(peer) = self.peers.get_mut(id) {
                    peer.reason = ReasonState::Owed;
                }
            }
            EndingRule::Unreachable => {
                self.tally.slo.count(SloPart::Endings, ReasonFate::PeerGone.outcome(), 1);
            }
        }
    }

    /// Counts the time of open sessions. Call it about once a second.
    pub(super) fn advance_session_time(&mut self) {
        self.promises.sessions.advance(self.now.at);
        self.count_session_time();
    }

    fn count_session_time(&self) {
        let sessions = &self.promises.sessions;
        self.tally.slo.sessions.set(sessions.open);
        self.tally.slo.set_session_ms(sessions.us / 1_000);
    }

    /// Counts the end of a peer to which a reason was owed.
    pub(super) fn settle_reason(&mut self, id: SlotId, fate: ReasonFate) {
        if let Some(peer) = self.peers.get_mut(id)
            && peer.reason == ReasonState::Owed
        {
            peer.reason = ReasonState::Settled;
            self.tally.slo.count(SloPart::Endings, fate.outcome(), 1);
        }
    }

    /// Counts the end of a peer that is dropped, if a reason is still owed to it. One that took no bytes reads nothing.
    pub(super) fn drop_reason(&mut self, id: SlotId) {
        let stalls = self.peers.get(id).is_some_and(|peer| peer.stalled_since.is_some());
        self.settle_reason(id, if stalls { ReasonFate::PeerGone } else { ReasonFate::GivenUp });
    }
}

fn message_answer(answered: &AppendOutcome) -> MessageAnswer {
    match answered {
        AppendOutcome::Answered(Ok(appended)) => match appended.attempt {
            Attempt::First => MessageAnswer::Stored,
            Attempt::Repeat => MessageAnswer::StoredBefore,
        },
        AppendOutcome::Answered(Err(
            AppendError::NoRoom { .. } | AppendError::Unavailable { .. } | AppendError::Unconfirmed { .. },
        ))
        | AppendOutcome::QueueFull
        | AppendOutcome::Late => MessageAnswer::Failed,
        AppendOutcome::Answered(Err(
            AppendError::KeyConflict
            | AppendError::NotFound
            | AppendError::NotAuthor
            | AppendError::TooManyChannels
            | AppendError::ChannelShareUsed { .. }
            | AppendError::MayNotCreate
            | AppendError::TooManyEdits
            | AppendError::Stream(_),
        )) => MessageAnswer::Refused,
    }
}
