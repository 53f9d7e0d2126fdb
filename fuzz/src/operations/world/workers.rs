//! The workers of a world: what becomes of a request that is answered, refused or too late.

use super::super::store::FramePage;
use super::{Answer, CALL_BYTES_MAX, PENDING_MAX, PeerState, Request, Who, World};
use seawall::hub::{ChannelId, LogPage, ReplayPage, SubscriptionId, Wanted};
use seawall::id::{ChannelName, CommandId, Offset};
use seawall::limits::{REPLAY_PUBLICATIONS_MAX, REPLY_TIMEOUT};
use seawall::session::outcome::{AppendError, Counted, Denied, Occasion};
use seawall::session::{AppendEffect, AppendOutcome, HistoryOutcome};
use seawall::wire::command::Range;
use seawall::wire::push::LogPosition;

/// Whether a log could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    Done,
    Failed,
}

impl World {
    pub(super) fn ask(&mut self, request: Request) {
        if self.pending.len() >= PENDING_MAX {
            self.refuse(request);
        } else {
            self.pending.push_back((self.now.at + REPLY_TIMEOUT, request));
        }
    }

    /// A queue is full.
    fn refuse(&mut self, request: Request) {
        match request {
            Request::Append(who, effect) => self.appended(who, &effect, AppendOutcome::QueueFull),
            Request::History { who, id, channel, .. } => {
                self.history_read(who, id, &channel, &HistoryOutcome::QueueFull);
            }
            other => self.answer_request(other, None),
        }
    }

    /// `None`: it was not answered in time.
    pub(super) fn answer_request(&mut self, request: Request, answer: Option<Answer>) {
        let read = if matches!(answer, Some(Answer::Succeed(_))) { Read::Done } else { Read::Failed };
        match request {
            Request::Append(who, effect) => {
                let outcome = match &answer {
                    None => AppendOutcome::Late,
                    Some(Answer::Fail) => {
                        AppendOutcome::Answered(Err(AppendError::Unconfirmed { retry_ms: 1 }))
                    }
                    Some(Answer::Succeed(_)) => {
                        AppendOutcome::Answered(self.store.append(&effect).map(|(appended, published)| {
                            self.lane.extend(published);
                            appended
                        }))
                    }
                };
                self.appended(who, &effect, outcome);
            }
            Request::History { who, id, channel, range, limit } => {
                let body = self.page_of(&channel, range, limit);
                let outcome = match answer {
                    None => HistoryOutcome::Late,
                    Some(Answer::Fail) => HistoryOutcome::Unavailable { retry_ms: 1 },
                    Some(Answer::Succeed(_)) => HistoryOutcome::Page(self.store.position(&channel), &body),
                };
                self.history_read(who, id, &channel, &outcome);
            }
            Request::Token { who, id, occasion } => self.token_checked(who, id, &occasion, answer),
            Request::Replay { who, subscription, channel, after, limit } => {
                self.replay_page(who, subscription, (read == Read::Done).then_some((channel, after, limit)));
            }
            Request::Position(id) => self.position(id, read),
            Request::Older(id) => self.older(id, read),
            Request::Fill(id, after) => self.fill(id, after, read),
        }
    }

    fn is_there(&self, who: Who) -> bool {
        let peer = &self.peers[who.peer];
        peer.generation == who.generation && peer.state == PeerState::Served
    }

    fn appended(&mut self, who: Who, effect: &AppendEffect, outcome: AppendOutcome) {
        if self.is_there(who) {
            let AppendEffect { id, channel, key, .. } = effect;
            self.call(who.peer, CALL_BYTES_MAX, |session, cx| {
                session.appended(*id, channel, key.as_ref(), outcome, cx);
            });
        }
    }

    fn page_of(&self, channel: &ChannelName, range: Range, limit: u32) -> Vec<u8> {
        let limit = u64::from(limit);
        match range {
            Range::Before(offset) => {
                let last = self.store.head(channel).min(offset.0.saturating_sub(1));
                self.store.json(channel, (last + 1).saturating_sub(limit).max(1), last)
            }
            Range::After(offset) => self.store.json(channel, offset.0 + 1, offset.0 + limit),
        }
    }

    fn history_read(&mut self, who: Who, id: CommandId, channel: &ChannelName, outcome: &HistoryOutcome<'_>) {
        if self.is_there(who) {
            let page = if let HistoryOutcome::Page(_, body) = outcome { body.len() } else { 0 };
            self.call(who.peer, CALL_BYTES_MAX + page, |session, cx| {
                session.history_read(id, channel, outcome, cx)
            });
        }
    }

    fn token_checked(&mut self, who: Who, id: CommandId, occasion: &Occasion, answer: Option<Answer>) {
        let outcome = match answer {
            None => None,
            Some(Answer::Fail) => Some(Err(Denied::OtherUser)),
            Some(Answer::Succeed(outcome)) => Some(outcome),
        };
        let mut outcome = outcome;
        if let (Occasion::Refresh(_), Some(Ok(identity))) = (occasion, &mut outcome) {
            identity.counted = Counted::No;
        }
        let counted = i64::from(matches!(&outcome, Some(Ok(identity)) if identity.counted == Counted::Yes));
        self.counted += counted;
        // Also a session that is over is told: it counts off what it was granted too late.
        if self.peers[who.peer].generation == who.generation {
            self.call(who.peer, CALL_BYTES_MAX, |session, cx| session.token_checked(id, outcome, cx));
        } else {
            self.counted -= counted;
        }
    }

    fn replay_page(
        &mut self,
        who: Who,
        subscription: SubscriptionId,
        asked: Option<(ChannelName, Offset, u32)>,
    ) {
        if !self.is_there(who) {
            return;
        }
        let peer = &mut self.peers[who.peer];
        peer.page_asked = false;
        let Some((channel, after, limit)) = asked else {
            let _ = self.hub.page_read(subscription, None);
            peer.retries = true;
            return;
        };
        let page = self.store.frames(&channel, after.0, u64::from(limit).min(10));
        let floor = self.store.position(&channel).floor;
        let piece = ReplayPage { floor, first: Offset(page.first), last: Offset(page.last) };
        if self.hub.page_read(subscription, Some(piece)) {
            peer.outbox.extend_from_slice(&page.frames);
        }
        self.catch_up(who.peer);
    }

    fn position(&mut self, id: ChannelId, read: Read) {
        let Some(channel) = self.hub.channel_name(id).cloned() else { return };
        let (position, page) = (self.store.position(&channel), self.wanted(&channel, self.hub.wanted(id)));
        let read = (read == Read::Done).then(|| log_page(position, &page));
        for (subscription, decision) in self.hub.position_read(id, read) {
            if let Some(slot) = self.hub.slot(subscription) {
                self.call(slot.0 as usize, CALL_BYTES_MAX, |session, cx| {
                    session.opened(subscription, decision, cx)
                });
            }
        }
    }

    /// A page for a tail.
    fn wanted(&self, channel: &ChannelName, wanted: Wanted) -> FramePage {
        let limit = u64::from(wanted.limit);
        match wanted.range {
            Range::After(after) => self.store.frames(channel, after.0, limit),
            Range::Before(before) => {
                let last = self.store.head(channel).min(before.0.saturating_sub(1));
                self.store.frames(channel, last.saturating_sub(limit), limit.min(last))
            }
        }
    }

    fn older(&mut self, id: ChannelId, read: Read) {
        let (Some(channel), Some(wanted)) = (self.hub.channel_name(id).cloned(), self.hub.older(id)) else {
            return;
        };
        if read == Read::Failed {
            self.hub.older_read(id, None);
            self.refills.push(id);
            return;
        }
        let (position, page) = (self.store.position(&channel), self.wanted(&channel, wanted));
        self.hub.older_read(id, Some(log_page(position, &page)));
    }

    fn fill(&mut self, id: ChannelId, after: Offset, read: Read) {
        let Some(channel) = self.hub.channel_name(id).cloned() else { return };
        if read == Read::Failed {
            self.hub.filled(id, None);
            self.refills.push(id);
            return;
        }
        let page = self.store.frames(&channel, after.0, REPLAY_PUBLICATIONS_MAX);
        let position = self.store.position(&channel);
        self.hub.filled(id, Some(log_page(position, &page)));
    }
}

fn log_page(position: LogPosition, page: &FramePage) -> LogPage<'_> {
    let (first, last) = (Offset(page.first), Offset(page.last));
    LogPage { position, first, last, count: page.count, frames: &page.frames }
}
