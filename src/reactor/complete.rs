//! Takes what the workers and the other reactors sent, and asks for what the hub lacks.

use super::connection::{Connection, Reading, Stage};
use super::pending::Request;
use super::recover::Recovery;
use super::slots::SlotId;
use super::{Reactor, Retry};
use crate::clock::Moment;
use crate::health::drain::Phase;
use crate::hub::{ChannelId, Need};
use crate::id::Offset;
use crate::job::bus::Interest;
use crate::job::{
    Admit, Completion, Counted, Denied, Form, Identity, Live, Page, PageRequest, Read, ReadError, Span,
    Ticket,
};
use crate::limits::{
    COMPLETIONS_PER_TURN, GATHER_MAX, GATHER_MIN, HEADS_CHANNELS_MAX, HEADS_PERIOD, REFILL_RETRY,
    REPLAY_PAGE_BYTES_MAX, REPLAY_PUBLICATIONS_MAX,
};
use crate::session::{AppendOutcome, HistoryOutcome};

/// Whether a quota left something in the inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InboxLeft {
    No,
    Yes,
}

/// Where the round over all channels' heads stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadsRound {
    /// The next one begins then.
    Rests(Moment),
    /// The next slice begins at this channel.
    Runs(usize),
    /// The same, and something was missed since the round began: another one follows at once. (Beginning
    /// anew at each miss would never come to the last channels.)
    RunsAndAgain(usize),
}

impl HeadsRound {
    pub(super) fn starting(now: Moment) -> HeadsRound {
        HeadsRound::Rests(now + HEADS_PERIOD)
    }
}

impl Reactor {
    /// Live ones first: an answer that was read later may know of them. Then the answers, a quota each.
    pub(super) fn complete(&mut self) {
        self.inbox.answer_door();
        self.inbox_left = InboxLeft::No;
        if self.gathers() {
            return;
        }
        self.take_live();
        self.deliver();
        self.take_answers();
        self.read_heads();
        self.ask_needs();
        self.deliver();
        if !self.leaving.is_empty() {
            self.send_leaving();
        }
    }

    /// Whether to leave the inbox for a moment, since more publications of ours are about to come.
    ///
    /// A subscriber is sent what a channel got in a turn by one write, so two publications in one turn cost
    /// half of two turns with one. While a fan-out runs, the store commits the next ones, and both take
    /// turns for ever: each turn finds only a part. So a fan-out waits until the store has answered what it
    /// was given, but never longer than the last one took: a quiet reactor waits for nothing, and a busy one
    /// gains more than it waits.
    pub(super) fn gathers(&mut self) -> bool {
        let answered = self.inbox.answers.len() >= self.pending.appends();
        let gain = self.fan_out.min(GATHER_MAX);
        if answered
            || gain < GATHER_MIN
            || self.inbox.live.is_empty()
            || self.draining.phase == Phase::Closing
        {
            self.gathering = None;
            return false;
        }
        let since = *self.gathering.get_or_insert(self.now.at);
        if since + gain <= self.now.at {
            self.gathering = None;
        }
        self.gathering.is_some()
    }

    fn take_live(&mut self) {
        let mut quota = COMPLETIONS_PER_TURN;
        while let Ok(live) = self.inbox.live.try_recv() {
            match live {
                Live::Published(batch) => {
                    self.arrivals.published = self.now.at;
                    quota = quota.saturating_sub(batch.len());
                    for published in batch.iter() {
                        self.hub.publish(published);
                    }
                }
                Live::Signal { channel, frame } => {
                    quota = quota.saturating_sub(1);
                    self.hub.signal(&channel, &frame);
                }
                Live::Heads(heads) => {
                    quota = quota.saturating_sub(heads.len());
                    for (channel, position) in heads.iter() {
                        self.hub.heads_read(channel, *position);
                    }
                }
                Live::Canary(canary) => canary.arrive(),
            }
            if quota == 0 {
                self.inbox_left = InboxLeft::Yes;
                break;
            }
        }
        if self.inbox.take_missed() {
            self.counters.live_missed.add(1);
            self.heads = match self.heads {
                HeadsRound::Rests(_) | HeadsRound::Runs(0) => HeadsRound::Runs(0),
                HeadsRound::Runs(from) | HeadsRound::RunsAndAgain(from) => HeadsRound::RunsAndAgain(from),
            };
        }
    }

    fn take_answers(&mut self) {
        for _ in 0..COMPLETIONS_PER_TURN {
            let Ok(completion) = self.inbox.answers.try_recv() else { return };
            self.take_answer(completion);
            if self.turn_is_full() {
                break;
            }
        }
        self.inbox_left = InboxLeft::Yes;
    }

    fn take_answer(&mut self, completion: Completion) {
        match completion {
            Completion::Appended { ticket, outcome } => {
                if let Some(Request::Append { slot, id, channel, key }) = self.pending.take(ticket) {
                    if outcome.is_ok() {
                        self.counters.published.add(1);
                    }
                    let outcome = AppendOutcome::Answered(outcome);
                    self.with_session(slot, |session, cx| {
                        session.appended(id, &channel, key.as_ref(), outcome, cx);
                    });
                }
            }
            Completion::Page { ticket, outcome } => self.page(ticket, outcome),
            Completion::Heads { ticket, outcome } => {
                if let (Some(_), Ok(heads)) = (self.pending.take(ticket), outcome) {
                    for (channel, position) in heads {
                        self.hub.heads_read(&channel, position);
                    }
                }
            }
            Completion::Followed { ticket } => {
                if let Some(Request::Follow(channel)) = self.pending.take(ticket) {
                    self.recover(Recovery::Position(channel));
                }
            }
            Completion::TokenChecked { ticket, outcome } => self.token_checked(ticket, outcome),
            Completion::AddressChecked { ticket, address, outcome } => match self.pending.take(ticket) {
                Some(Request::Address { slot }) if self.awaits_address(slot) => {
                    self.address_checked(slot, Some(outcome));
                }
                _ if outcome.is_ok() => self.leave(Admit::Depart { address }),
                _ => {}
            },
        }
    }

    fn token_checked(&mut self, ticket: Ticket, outcome: Result<Identity, Denied>) {
        match (self.pending.take(ticket), outcome) {
            (Some(Request::Token { slot, id }), outcome) if self.is_chat(slot) => {
                self.with_session(slot, |session, cx| session.token_checked(id, Some(outcome), cx));
                // The token may expire before anything else is due.
                self.schedule(slot);
            }
            // Nobody waits any more: what was counted is counted off again. A refresh counts nobody.
            (_, Ok(identity)) if identity.counted == Counted::Yes => {
                self.leave(Admit::Leave { user: identity.user });
            }
            (_, _) => {}
        }
    }

    fn is_chat(&mut self, id: SlotId) -> bool {
        self.slots.get_mut(id).is_some_and(|connection| connection.chat_mut().is_some())
    }

    fn awaits_address(&mut self, id: SlotId) -> bool {
        let alive = |connection: &&mut Connection| connection.reading != Reading::Dead;
        self.slots.get_mut(id).filter(alive).is_some_and(|connection| match connection.stage {
            Stage::Address(_) => true,
            Stage::Head(_) | Stage::WebSocket(_) | Stage::Closing(_) | Stage::Lingering { .. } => false,
        })
    }

    fn page(&mut self, ticket: Ticket, outcome: Result<Page, ReadError>) {
        match self.pending.take(ticket) {
            Some(Request::History { slot, id, channel }) => self.with_session(slot, |session, cx| {
                let outcome = match &outcome {
                    Ok(page) => HistoryOutcome::Page(page.position, &page.body),
                    Err(error) => HistoryOutcome::Unavailable { retry_ms: error.retry_ms },
                };
                session.history_read(id, &channel, &outcome, cx);
            }),
            Some(Request::Replay { subscribers }) => self.replay_page(&subscribers, outcome.ok()),
            Some(Request::Position(channel)) => self.position(channel, outcome.ok()),
            Some(Request::Older(channel)) => self.older(channel, outcome.ok()),
            Some(Request::Fill(channel)) => self.fill(channel, outcome.ok()),
            Some(
                Request::Append { .. }
                | Request::Token { .. }
                | Request::Address { .. }
                | Request::Follow(_)
                | Request::Heads,
            )
            | None => {}
        }
    }

    /// Where a channel's log stands, or not: the subscriptions that waited for it begin, or are refused.
    pub(super) fn position(&mut self, channel: ChannelId, page: Option<Page>) {
        for (subscription, decision) in self.hub.position_read(channel, page.as_ref().map(Into::into)) {
            let slot = self.hub.slot(subscription).and_then(|slot| self.slot_of(slot));
            if let Some(slot) = slot {
                self.with_session(slot, |session, cx| session.opened(subscription, decision, cx));
            }
        }
    }

    pub(super) fn fill(&mut self, channel: ChannelId, page: Option<Page>) {
        match &page {
            Some(page) => self.hub.filled(channel, Some(page.into())),
            None => self.retries.push_back((self.now.at + REFILL_RETRY, Retry::Fill(channel))),
        }
    }

    /// Asks for what the hub lacks: the store, and before it the bus where a channel is new.
    pub(super) fn ask_needs(&mut self) {
        self.send_unfollowed();
        while self.hub.has_needs() {
            for need in self.hub.take_needs() {
                match need {
                    Need::Position(id) if self.queues.bus.is_some() && self.hub.ask_follow(id) => {
                        self.follow(id);
                    }
                    Need::Position(id) => self.recover(Recovery::Position(id)),
                    Need::Older(id) => self.recover(Recovery::Older(id)),
                    Need::Fill(id, after) => self.ask_fill(id, after),
                }
            }
            self.recover_waiting();
        }
        self.recover_waiting();
    }

    /// What a hole lacks waits for nobody: who is here already misses it.
    fn ask_fill(&mut self, id: ChannelId, after: Offset) {
        let Some(channel) = self.hub.channel_name(id).cloned() else { return };
        let asked = self.ask_store(Request::Fill(id), self.now.at, |ticket| {
            let (span, form) = (Span::After(after), Form::Frames);
            let (limit, bytes_max) = (REPLAY_PUBLICATIONS_MAX as u32, REPLAY_PAGE_BYTES_MAX);
            Read::Page(PageRequest { ticket, channel, span, limit, bytes_max, form })
        });
        if !asked {
            self.fill(id, None);
        }
    }

    /// Has the bus bring a channel. Where the log stands is asked after that: what is published in between comes by the bus.
    fn follow(&mut self, id: ChannelId) {
        let Some(channel) = self.hub.channel_name(id).cloned() else { return };
        // Behind those that are left, or a channel that is followed again would be left for good.
        let room = self.unfollowing.is_empty();
        let ticket = if room { self.pending.insert(Request::Follow(id), self.now.at).ok() } else { None };
        let sent = ticket.is_some_and(|ticket| {
            let interest = Interest::Follow { ticket, channel };
            let sent = self.queues.bus.as_ref().is_some_and(|bus| bus.want(interest).is_ok());
            if !sent {
                self.pending.take(ticket);
            }
            sent
        });
        if !sent {
            self.hub.not_asked(id);
            self.position(id, None);
        }
    }

    /// Tells the bus of channels that nobody here follows any more. They wait here while its queue is full.
    pub(super) fn send_unfollowed(&mut self) {
        self.unfollowing.extend(self.hub.take_unfollowed());
        let Some(bus) = &self.queues.bus else { return self.unfollowing.clear() };
        while let Some(channel) = self.unfollowing.pop_front() {
            if let Err(Interest::Leave { channel } | Interest::Follow { channel, .. }) =
                bus.want(Interest::Leave { channel })
            {
                self.unfollowing.push_front(channel);
                return;
            }
        }
    }

    /// Asks where the followed logs stand, a slice a turn, once a period: what was lost on its way here
    /// shows as a hole then.
    fn read_heads(&mut self) {
        let from = match self.heads {
            HeadsRound::Rests(until) if until > self.now.at => return,
            HeadsRound::Rests(_) => 0,
            HeadsRound::Runs(from) | HeadsRound::RunsAndAgain(from) => from,
        };
        let (channels, next) = self.hub.names_from(from, HEADS_CHANNELS_MAX);
        self.heads = match (next, self.heads) {
            (Some(next), HeadsRound::RunsAndAgain(_)) => HeadsRound::RunsAndAgain(next),
            (Some(next), HeadsRound::Runs(_) | HeadsRound::Rests(_)) => HeadsRound::Runs(next),
            (None, HeadsRound::RunsAndAgain(_)) => HeadsRound::Runs(0),
            (None, HeadsRound::Runs(_) | HeadsRound::Rests(_)) => HeadsRound::starting(self.now.at),
        };
        if !channels.is_empty() {
            self.ask_store(Request::Heads, self.now.at, |ticket| Read::Heads { ticket, channels });
        }
    }

    /// A request's deadline passed: it is answered without its worker.
    pub(super) fn answer_late(&mut self, request: Request) {
        self.counters.late.add(1);
        match request {
            Request::Append { slot, id, channel, key } => self.with_session(slot, |session, cx| {
                session.appended(id, &channel, key.as_ref(), AppendOutcome::Late, cx);
            }),
            Request::History { slot, id, channel } => self.with_session(slot, |session, cx| {
                session.history_read(id, &channel, &HistoryOutcome::Late, cx);
            }),
            Request::Token { slot, id } => {
                self.with_session(slot, |session, cx| session.token_checked(id, None, cx));
            }
            Request::Address { slot } => self.address_checked(slot, None),
            Request::Replay { subscribers } => self.replay_page(&subscribers, None),
            Request::Position(channel) | Request::Follow(channel) => self.position(channel, None),
            Request::Older(channel) => self.older(channel, None),
            Request::Fill(channel) => self.fill(channel, None),
            Request::Heads => {}
        }
    }
}
