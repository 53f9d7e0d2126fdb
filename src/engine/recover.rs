//! Store reads for recovering clients: a few at a time, the others in order behind them.
//!
//! When all clients return at once, their reads would fill the store's queue, and a client that pages through history would
//! wait behind them. So an engine has only a few such reads outstanding, and those of one user wait behind those of the others. A session answers its client at its own deadline,
//! however long its read waits here; past the bound on waiting reads it is refused as `unavailable` at once.
//!
//! Subscribers that lack the same page while its read waits share one read, and its bytes. A subscriber that needs the page
//! while it is being read gets a separate read, because a publication that was erased in between must not be sent.

use super::Engine;
use super::order::Job;
use super::peer::{Peer, Replays};
use super::pending::{Request, Subscriber, Unanswered};
use super::slots::{SlotId, Slots};
use crate::auth::fair_queue::FairQueue;
use crate::auth::party::Party;
use crate::clock::Moment;
use crate::hub::{ChannelId, Hub, PageWanted, ReplayPage, SubscriptionId};
use crate::id::{ChannelName, Offset};
use crate::job::{Form, Page, PageRequest, Read, Span};
use crate::limits::{
    HEADS_PERIOD, RECOVERIES_AT_ONCE, RECOVERIES_PER_PARTY, RECOVERIES_WAITING_MAX, RECOVERY_PAGE_BYTES_MAX,
    REFILL_RETRY, REPLAY_PAGE_BYTES_MAX, REPLAYS_PER_READ,
};
use crate::wire::command::HistoryRange;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

/// Reads of the log that are still to be made, and reads to be repeated.
#[derive(Debug)]
pub(super) struct Reads {
    /// Peers with subscriptions that are catching up, whose outboxes have room again.
    pub(super) rooms: Vec<SlotId>,
    retries: VecDeque<(Moment, Retry)>,
    pub(super) recoveries: Recoveries,
    pub(super) heads: HeadsRound,
}

impl Reads {
    pub(super) fn new(now: Moment) -> Reads {
        Reads {
            rooms: Vec::new(),
            retries: VecDeque::new(),
            recoveries: Recoveries::default(),
            heads: HeadsRound::starting(now),
        }
    }

    /// Tries again after a read failed. All retries have the same delay, so they come up in this order.
    pub(super) fn retry(&mut self, retry: Retry, now: Moment) {
        self.retries.push_back((now + REFILL_RETRY, retry));
    }

    /// The moment of the next retry.
    pub(super) fn retry_due(&self) -> Option<Moment> {
        self.retries.front().map(|(due, _)| *due)
    }

    pub(super) fn pop_retry(&mut self, now: Moment) -> Option<Retry> {
        self.retries.pop_front_if(|(due, _)| *due <= now).map(|(_, retry)| retry)
    }

    #[cfg(test)]
    pub(super) fn retries(&self) -> usize {
        self.retries.len()
    }
}

/// The progress of the round over all channels' heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadsRound {
    /// The next round begins at this moment.
    Rests(Moment),
    /// The next slice begins at this channel.
    Runs(usize),
    /// The same, and broadcasts were missed since the round began, so another round follows at once. (A round that restarted
    /// at each miss would never reach the last channels.)
    RunsAndAgain(usize),
}

impl HeadsRound {
    pub(super) fn starting(now: Moment) -> HeadsRound {
        HeadsRound::Rests(now + HEADS_PERIOD)
    }
}

/// A read to be repeated.
#[derive(Clone, Copy, Debug)]
pub(super) enum Retry {
    CatchUp(SlotId),
    Fill(ChannelId),
    Older(ChannelId),
    Streams(ChannelId),
}

/// A read that a recovering client needs.
#[derive(Clone, Debug)]
pub(super) enum Recovery {
    /// The position of a channel's log, and the publications that its tail lacks.
    Position(ChannelId),
    /// The publications that its tail lacks.
    Older(ChannelId),
    /// A channel's open streams.
    Streams(ChannelId),
    /// A page for subscribers that no tail serves.
    Page(PageKey),
}

/// A page of a channel: the publications after an offset.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PageKey {
    channel: ChannelName,
    after: Offset,
}

/// The subscribers that lack a page whose read waits.
#[derive(Debug, Default)]
struct Lacking {
    /// Publications that the page may hold: no more than the hub knows of.
    limit: u32,
    subscribers: Vec<Subscriber>,
}

/// Reads that wait for their turn.
#[derive(Debug, Default)]
pub(super) struct Recoveries {
    /// By the party of a client that needs the read; `None`: its client has left.
    waiting: FairQueue<Option<Party>, Recovery>,
    /// A page is in here exactly while its read waits.
    pages: HashMap<PageKey, Lacking, ahash::RandomState>,
}

impl Recoveries {
    /// Reads that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Channels with a page whose read waits.
    #[cfg(test)]
    pub(super) fn channels(&self) -> impl Iterator<Item = &ChannelName> {
        self.pages.keys().map(|key| &key.channel)
    }

    /// Panics unless a page is known exactly while its read waits.
    pub(super) fn check_invariants(&self) {
        let mut waiting = 0;
        for recovery in self.waiting.entries() {
            if let Recovery::Page(key) = recovery {
                waiting += 1;
                assert!(self.pages.contains_key(key), "a read without subscribers: {key:?}");
            }
        }
        assert_eq!(waiting, self.pages.len(), "pages whose reads wait");
    }

    /// Notes a subscriber that lacks a page; true exactly if no read for it waited yet.
    fn lack(&mut self, key: &PageKey, subscriber: Subscriber, limit: u32) -> bool {
        let lacking = self.pages.entry(key.clone()).or_default();
        lacking.limit = lacking.limit.max(limit);
        lacking.subscribers.push(subscriber);
        lacking.subscribers.len() == 1
    }

    /// Takes at most [`REPLAYS_PER_READ`] subscribers of a page, with the publications to read. The others wait for the next
    /// read.
    fn take_lacking(&mut self, key: &PageKey, party: impl FnOnce(&Subscriber) -> Option<Party>) -> Lacking {
        let Some(mut lacking) = self.pages.remove(key) else { return Lacking::default() };
        if lacking.subscribers.len() > REPLAYS_PER_READ {
            let subscribers = lacking.subscribers.split_off(REPLAYS_PER_READ);
            let party = subscribers.first().and_then(party);
            self.pages.insert(key.clone(), Lacking { limit: lacking.limit, subscribers });
            self.waiting.push(party, Recovery::Page(key.clone()));
        }
        lacking
    }
}

impl Engine {
    /// Makes the read now or in the turn of its party. If too many wait, the party with the most loses its newest.
    pub(super) fn recover(&mut self, recovery: Recovery) {
        if self.reads.recoveries.waiting.is_empty() && self.has_recovery_room() {
            return self.read_recovery(recovery);
        }
        let party = self.party_of(&recovery);
        let waiting = &mut self.reads.recoveries.waiting;
        let is_full = waiting.len() >= RECOVERIES_WAITING_MAX;
        match is_full.then(|| waiting.displace_for(&party)) {
            None => waiting.push(party, recovery),
            Some(Some(displaced)) => {
                waiting.push(party, recovery);
                self.fail_recovery(displaced);
            }
            Some(None) => self.fail_recovery(recovery),
        }
    }

    /// The party of the client that has waited longest for a read.
    fn party_of(&self, recovery: &Recovery) -> Option<Party> {
        let subscription = match recovery {
            Recovery::Position(id) | Recovery::Older(id) | Recovery::Streams(id) => {
                self.hub.waits_longest(*id)?
            }
            Recovery::Page(key) => self.reads.recoveries.pages.get(key)?.subscribers.first()?.subscription,
        };
        party(&self.peers, &self.hub, subscription)
    }

    /// Makes the waiting reads that there is room for.
    pub(super) fn recover_waiting(&mut self) {
        while self.has_recovery_room()
            && let Some(recovery) = self.reads.recoveries.waiting.pop()
        {
            self.read_recovery(recovery);
        }
    }

    /// Fails all waiting reads.
    pub(super) fn fail_waiting(&mut self) {
        while let Some(recovery) = self.reads.recoveries.waiting.pop() {
            self.fail_recovery(recovery);
        }
    }

    /// True exactly when the next read can be made now. It waits while other reactors have filled the queue: a failure would
    /// bring its client back to ask again.
    fn has_recovery_room(&self) -> bool {
        let parties = self.reads.recoveries.waiting.parties();
        let places = self.turns.room.places(RECOVERIES_AT_ONCE, RECOVERIES_PER_PARTY, parties);
        self.pending.recoveries() < places && self.out.read_room > 0
    }

    fn read_recovery(&mut self, recovery: Recovery) {
        let (request, id, wanted) = match recovery {
            Recovery::Position(id) => (Request::Position(id), id, self.hub.wanted(id)),
            Recovery::Older(id) => match self.hub.older(id) {
                Some(wanted) => (Request::Older(id), id, wanted),
                None => return,
            },
            Recovery::Streams(id) => return self.read_streams(id),
            Recovery::Page(key) => return self.read_page(&key),
        };
        if let Some(channel) = self.hub.channel_name(id).cloned() {
            self.ask_log(request, channel, wanted, RECOVERY_PAGE_BYTES_MAX);
        }
    }

    fn take_lacking(&mut self, key: &PageKey) -> Lacking {
        let (peers, hub) = (&self.peers, &self.hub);
        self.reads.recoveries.take_lacking(key, |one| party(peers, hub, one.subscription))
    }

    fn read_page(&mut self, key: &PageKey) {
        let Lacking { limit, subscribers } = self.take_lacking(key);
        let (here, gone): (Vec<_>, Vec<_>) =
            subscribers.into_iter().partition(|one| self.hub.slot(one.subscription).is_some());
        if !here.is_empty() {
            self.tally.replay_pages.add(1);
            let wanted = PageWanted { range: HistoryRange::After(key.after), limit };
            let request = Request::Replay { subscribers: here };
            self.ask_log(request, key.channel.clone(), wanted, REPLAY_PAGE_BYTES_MAX);
        }
        // These subscriptions ended while they waited; the other subscriptions of their connections continue.
        for one in gone {
            self.note_page(one.slot, Replays::Stepping);
            self.catch_up(one.slot);
        }
    }

    /// Reads frames of a channel's log.
    pub(super) fn ask_log(
        &mut self,
        request: Request,
        channel: ChannelName,
        wanted: PageWanted,
        bytes_max: usize,
    ) {
        let PageWanted { range, limit } = wanted;
        self.ask(request, self.now.at, |ticket| {
            let (span, form) = (Span::from(range), Form::Frames);
            Job::Read(Read::Page(PageRequest { ticket, channel, span, limit, bytes_max, form }))
        });
    }

    fn fail_recovery(&mut self, recovery: Recovery) {
        let request = match recovery {
            Recovery::Position(id) => Request::Position(id),
            Recovery::Older(id) => Request::Older(id),
            Recovery::Streams(id) => Request::Streams(id),
            Recovery::Page(key) => Request::Replay { subscribers: self.take_lacking(&key).subscribers },
        };
        self.answer_without_worker(request, Unanswered::Refused);
    }

    /// Requests a page for one subscriber. All that lack the same page by the time it is read share it.
    pub(super) fn ask_page(
        &mut self,
        subscriber: Subscriber,
        channel: ChannelName,
        after: Offset,
        limit: u32,
    ) {
        let replays = self.chat_mut(subscriber.slot).map(|chat| chat.replays);
        debug_assert_ne!(replays, Some(Replays::PageAsked), "one page at a time");
        self.note_page(subscriber.slot, Replays::PageAsked);
        let key = PageKey { channel, after };
        if self.reads.recoveries.lack(&key, subscriber, limit) {
            self.recover(Recovery::Page(key));
        }
    }

    /// Gives a page to the subscribers that it was read for; without one they try again a little later.
    pub(super) fn replay_page(&mut self, subscribers: &[Subscriber], page: Option<Page>) {
        let frames: Rc<[u8]> = page.as_ref().map_or_else(Rc::default, |page| Rc::from(page.body.as_slice()));
        let piece = page.as_ref().map(|page| ReplayPage {
            floor: page.position.floor,
            first: page.first,
            last: page.last,
        });
        for &Subscriber { slot, subscription } in subscribers {
            self.note_page(slot, Replays::Stepping);
            if self.hub.page_read(subscription, piece)
                && let Some(peer) = self.peers.get_mut(slot)
            {
                peer.outbox.push_shared(self.scratch.sharing.page(&frames));
                if let Some(chat) = peer.chat_mut() {
                    chat.session.replayed(frames.len(), &self.setup.policy, self.now.at);
                }
                self.mark_dirty(slot);
            }
            match piece {
                Some(_) => self.catch_up(slot),
                None => self.rest(slot),
            }
        }
    }

    fn note_page(&mut self, slot: SlotId, replays: Replays) {
        if let Some(chat) = self.chat_mut(slot) {
            chat.replays = replays;
        }
    }

    /// Takes the publications that a tail lacked. Without a page they are read again a little later.
    pub(super) fn older(&mut self, channel: ChannelId, page: Option<Page>) {
        match &page {
            Some(page) => self.hub.older_read(channel, Some(page.into())),
            None => self.reads.retry(Retry::Older(channel), self.now.at),
        }
    }
}

/// The party of a subscription's client.
fn party(peers: &Slots<Peer>, hub: &Hub, subscription: SubscriptionId) -> Option<Party> {
    peers.at(hub.slot(subscription)?.0).map(Peer::party)
}

impl From<HistoryRange> for Span {
    fn from(range: HistoryRange) -> Span {
        match range {
            HistoryRange::Before(offset) => Span::Before(offset),
            HistoryRange::After(offset) => Span::After(offset),
        }
    }
}

impl<'a> From<&'a Page> for crate::hub::LogPage<'a> {
    fn from(page: &'a Page) -> crate::hub::LogPage<'a> {
        crate::hub::LogPage {
            position: page.position,
            first: page.first,
            last: page.last,
            count: page.count,
            frames: &page.body,
            has_streams: page.has_streams,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscribers_that_lack_the_same_page_share_reads_of_bounded_width() {
        let mut hub = crate::hub::Hub::new(1, 0, ahash::RandomState::with_seeds(1, 2, 3, 4));
        let channel = ChannelName::parse("c").expect("valid");
        let opened = hub.open(&channel, crate::hub::Slot(0), crate::wire::command::StartAt::Now);
        let (subscription, _) = opened.expect("room");
        let subscriber = |index| Subscriber { slot: SlotId { index, generation: 0 }, subscription };
        let key = |after| PageKey { channel: channel.clone(), after: Offset(after) };
        let mut recoveries = Recoveries::default();
        for index in 0..=REPLAYS_PER_READ as u32 {
            let is_first = recoveries.lack(&key(7), subscriber(index), 10 + index);
            assert_eq!(is_first, index == 0);
        }
        assert!(recoveries.lack(&key(8), subscriber(0), 1), "another page");
        let lacking = recoveries.take_lacking(&key(7), |_| None);
        assert_eq!(
            (lacking.subscribers.len(), lacking.limit),
            (REPLAYS_PER_READ, 10 + REPLAYS_PER_READ as u32)
        );
        assert_eq!(recoveries.waiting(), 1, "the others wait for the next");
        assert!(!recoveries.lack(&key(7), subscriber(0), 1), "they wait already");
        assert_eq!(recoveries.take_lacking(&key(7), |_| None).subscribers.len(), 2);
        assert!(recoveries.lack(&key(7), subscriber(0), 1), "a page that is being read is not joined");
        assert_eq!(recoveries.waiting(), 1);
    }
}
