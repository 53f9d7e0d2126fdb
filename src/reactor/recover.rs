//! Reads for those that come back: a few at a time, the others in order behind them.
//!
//! When all come back at once the store's readers would be asked for everything at once, and whoever pages through history
//! would wait behind it. So a reactor has a handful of such reads under way. A session answers its client at its own
//! deadline, however long its read waits here; past the bound on those that wait it is told `unavailable` at once.
//!
//! Subscribers that lack the same page while it waits for its turn share one read, and the bytes of it. Who asks while it is
//! read has another one: what was erased in between must not be given out.

use super::connection::{Connection, Replays};
use super::pending::{Request, Subscriber};
use super::slots::SlotId;
use super::{Reactor, Retry};
use crate::hub::{ChannelId, ReplayPage, Wanted};
use crate::id::{ChannelName, Offset};
use crate::job::{Form, PageRequest, Read, Span};
use crate::limits::{
    RECOVERIES_AT_ONCE, RECOVERIES_WAITING_MAX, RECOVERY_PAGE_BYTES_MAX, REFILL_RETRY, REPLAY_PAGE_BYTES_MAX,
    REPLAYS_PER_READ,
};
use crate::wire::command::Range;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

/// A read that somebody who came back needs.
#[derive(Clone, Debug)]
pub(super) enum Recovery {
    /// Where a channel's log stands, and what its tail lacks.
    Position(ChannelId),
    /// What its tail lacks.
    Older(ChannelId),
    /// A page for those whom no tail serves.
    Page(PageKey),
}

/// A page of a channel: what follows an offset.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PageKey {
    channel: ChannelName,
    after: Offset,
}

/// Those who lack a page that is not yet read for.
#[derive(Debug, Default)]
struct Lacking {
    /// Publications that the page may hold: no more than the hub knows of.
    limit: u32,
    subscribers: Vec<Subscriber>,
}

/// Reads that wait for their turn.
#[derive(Debug, Default)]
pub(super) struct Recoveries {
    waiting: VecDeque<Recovery>,
    /// A page is in here exactly while its read waits.
    pages: HashMap<PageKey, Lacking, ahash::RandomState>,
}

impl Recoveries {
    /// Reads that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Channels of which a page waits for its turn.
    #[cfg(test)]
    pub(super) fn channels(&self) -> impl Iterator<Item = &ChannelName> {
        self.pages.keys().map(|key| &key.channel)
    }

    /// Notes who lacks a page; true exactly when no read for it waits yet.
    fn lack(&mut self, key: &PageKey, subscriber: Subscriber, limit: u32) -> bool {
        let lacking = self.pages.entry(key.clone()).or_default();
        lacking.limit = lacking.limit.max(limit);
        lacking.subscribers.push(subscriber);
        lacking.subscribers.len() == 1
    }

    /// Takes up to a page's share of those who lack it, and says how many publications to read. The others wait for the next.
    fn take_lacking(&mut self, key: &PageKey) -> Lacking {
        let Some(mut lacking) = self.pages.remove(key) else { return Lacking::default() };
        if lacking.subscribers.len() > REPLAYS_PER_READ {
            let subscribers = lacking.subscribers.split_off(REPLAYS_PER_READ);
            self.pages.insert(key.clone(), Lacking { limit: lacking.limit, subscribers });
            self.waiting.push_back(Recovery::Page(key.clone()));
        }
        lacking
    }
}

impl Reactor {
    /// Reads this now or in its turn. It is answered in any case, by a failure where there is no room.
    pub(super) fn recover(&mut self, recovery: Recovery) {
        if self.recoveries.waiting.is_empty() && self.has_recovery_room() {
            self.read_recovery(recovery);
        } else if self.recoveries.waiting.len() < RECOVERIES_WAITING_MAX {
            self.recoveries.waiting.push_back(recovery);
        } else {
            self.fail_recovery(recovery);
        }
    }

    /// Makes the next reads, as far as there is room.
    pub(super) fn recover_waiting(&mut self) {
        while self.has_recovery_room()
            && let Some(recovery) = self.recoveries.waiting.pop_front()
        {
            self.read_recovery(recovery);
        }
    }

    /// Fails all that wait.
    pub(super) fn fail_waiting(&mut self) {
        while let Some(recovery) = self.recoveries.waiting.pop_front() {
            self.fail_recovery(recovery);
        }
    }

    /// True exactly when the next one is read now. Where others have filled the queue it waits: a failure would bring its
    /// client back to ask again.
    fn has_recovery_room(&self) -> bool {
        self.pending.recoveries() < RECOVERIES_AT_ONCE && !self.queues.read.is_full()
    }

    fn read_recovery(&mut self, recovery: Recovery) {
        let asked = match &recovery {
            Recovery::Position(id) => {
                let Some(channel) = self.hub.channel_name(*id).cloned() else { return };
                let wanted = self.hub.wanted(*id);
                self.ask_log(Request::Position(*id), channel, wanted, RECOVERY_PAGE_BYTES_MAX)
            }
            Recovery::Older(id) => {
                let Some(wanted) = self.hub.older(*id) else { return };
                let Some(channel) = self.hub.channel_name(*id).cloned() else { return };
                self.ask_log(Request::Older(*id), channel, wanted, RECOVERY_PAGE_BYTES_MAX)
            }
            Recovery::Page(key) => return self.read_page(key),
        };
        if !asked {
            self.fail_recovery(recovery);
        }
    }

    fn read_page(&mut self, key: &PageKey) {
        let Lacking { limit, subscribers } = self.recoveries.take_lacking(key);
        let (here, gone): (Vec<_>, Vec<_>) =
            subscribers.into_iter().partition(|one| self.hub.slot(one.subscription).is_some());
        if !here.is_empty() {
            self.counters.replay_pages.add(1);
            let wanted = Wanted { range: Range::After(key.after), limit };
            let request = Request::Replay { subscribers: here.clone() };
            if !self.ask_log(request, key.channel.clone(), wanted, REPLAY_PAGE_BYTES_MAX) {
                self.fail_page(&here);
            }
        }
        // Their subscriptions ended while they waited, or the whole connections: then the others of theirs step on.
        for one in gone {
            self.note_page(one.slot, Replays::Stepping);
            self.catch_up(one.slot);
        }
    }

    fn ask_log(&mut self, request: Request, channel: ChannelName, wanted: Wanted, bytes_max: usize) -> bool {
        let Wanted { range, limit } = wanted;
        let asked = self.ask_store(request, self.now.at, |ticket| {
            let (span, form) = (Span::from(range), Form::Frames);
            Read::Page(PageRequest { ticket, channel, span, limit, bytes_max, form })
        });
        self.counters.recovery_reads.add(u64::from(asked));
        asked
    }

    fn fail_recovery(&mut self, recovery: Recovery) {
        match recovery {
            Recovery::Position(id) => {
                self.counters.recoveries_refused.add(1);
                self.position(id, None);
            }
            Recovery::Older(id) => {
                self.counters.recoveries_refused.add(1);
                self.older(id, None);
            }
            Recovery::Page(key) => {
                let lacking = self.recoveries.take_lacking(&key);
                self.fail_page(&lacking.subscribers);
            }
        }
    }

    fn fail_page(&mut self, subscribers: &[Subscriber]) {
        self.counters.recoveries_refused.add(1);
        self.replay_page(subscribers, None);
    }

    /// A page for one subscriber, and for all who lack the same by the time it is read.
    pub(super) fn ask_page(
        &mut self,
        subscriber: Subscriber,
        channel: ChannelName,
        after: Offset,
        limit: u32,
    ) {
        self.note_page(subscriber.slot, Replays::PageAsked);
        let key = PageKey { channel, after };
        if self.recoveries.lack(&key, subscriber, limit) {
            self.recover(Recovery::Page(key));
        }
    }

    /// Gives a page to those it was read for; without one they try again a little later.
    pub(super) fn replay_page(&mut self, subscribers: &[Subscriber], page: Option<crate::job::Page>) {
        let frames: Rc<[u8]> = page.as_ref().map_or_else(Rc::default, |page| Rc::from(page.body.as_slice()));
        let piece = page.as_ref().map(|page| ReplayPage {
            floor: page.position.floor,
            first: page.first,
            last: page.last,
        });
        for &Subscriber { slot, subscription } in subscribers {
            self.note_page(slot, Replays::Stepping);
            if self.hub.page_read(subscription, piece)
                && let Some(connection) = self.slots.get_mut(slot)
            {
                connection.outbox.push_shared(self.sharing.page(&frames));
                self.mark_dirty(slot);
            }
            match piece {
                Some(_) => self.catch_up(slot),
                None => self.rest(slot),
            }
        }
    }

    fn note_page(&mut self, slot: SlotId, replays: Replays) {
        if let Some(chat) = self.slots.get_mut(slot).and_then(Connection::chat_mut) {
            chat.replays = replays;
        }
    }

    /// What a tail lacked was read, or not: those that waited go on, now or after the next try.
    pub(super) fn older(&mut self, channel: ChannelId, page: Option<crate::job::Page>) {
        match &page {
            Some(page) => self.hub.older_read(channel, Some(page.into())),
            None => self.retries.push_back((self.now.at + REFILL_RETRY, Retry::Older(channel))),
        }
    }
}

impl From<Range> for Span {
    fn from(range: Range) -> Span {
        match range {
            Range::Before(offset) => Span::Before(offset),
            Range::After(offset) => Span::After(offset),
        }
    }
}

impl<'a> From<&'a crate::job::Page> for crate::hub::LogPage<'a> {
    fn from(page: &'a crate::job::Page) -> crate::hub::LogPage<'a> {
        crate::hub::LogPage {
            position: page.position,
            first: page.first,
            last: page.last,
            count: page.count,
            frames: &page.body,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_lack_the_same_page_share_reads_of_bounded_width() {
        let mut hub = crate::hub::Hub::new(1, 0, ahash::RandomState::with_seeds(1, 2, 3, 4));
        let channel = ChannelName::parse("c").expect("valid");
        let opened = hub.open(&channel, crate::hub::Slot(0), crate::wire::command::From::Now);
        let (subscription, _) = opened.expect("room");
        let subscriber = |index| Subscriber { slot: SlotId { index, generation: 0 }, subscription };
        let key = |after| PageKey { channel: channel.clone(), after: Offset(after) };
        let mut recoveries = Recoveries::default();
        for index in 0..=REPLAYS_PER_READ as u32 {
            let is_first = recoveries.lack(&key(7), subscriber(index), 10 + index);
            assert_eq!(is_first, index == 0);
        }
        assert!(recoveries.lack(&key(8), subscriber(0), 1), "another page");
        let lacking = recoveries.take_lacking(&key(7));
        assert_eq!(
            (lacking.subscribers.len(), lacking.limit),
            (REPLAYS_PER_READ, 10 + REPLAYS_PER_READ as u32)
        );
        assert_eq!(recoveries.waiting(), 1, "the others wait for the next");
        assert!(!recoveries.lack(&key(7), subscriber(0), 1), "they wait already");
        assert_eq!(recoveries.take_lacking(&key(7)).subscribers.len(), 2);
        assert!(recoveries.lack(&key(7), subscriber(0), 1), "what is being read is not joined");
        assert_eq!(recoveries.waiting(), 1);
    }
}
