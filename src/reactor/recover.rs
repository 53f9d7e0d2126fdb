//! Reads for those that come back: a few at a time, the others in order behind them.
//!
//! When all come back at once the store's readers would be asked for everything at once, and whoever pages through history
//! would wait behind it. So a reactor has a handful of such reads under way. A session answers its client at its own
//! deadline, however long its read waits here; past the bound on those that wait it is told `unavailable` at once.

use super::connection::{Connection, Replays};
use super::pending::Request;
use super::slots::SlotId;
use super::{Reactor, Retry};
use crate::hub::{ChannelId, SubscriptionId, Wanted};
use crate::id::{ChannelName, Offset};
use crate::job::{Form, PageRequest, Read, Span};
use crate::limits::{
    RECOVERIES_AT_ONCE, RECOVERIES_WAITING_MAX, RECOVERY_PAGE_BYTES_MAX, REFILL_RETRY, REPLAY_PAGE_BYTES_MAX,
};
use crate::wire::command::Range;

/// A read that somebody who came back needs.
#[derive(Debug)]
pub(super) enum Recovery {
    /// Where a channel's log stands, and what its tail lacks.
    Position(ChannelId),
    /// What its tail lacks.
    Older(ChannelId),
    /// A page for one subscriber alone.
    Replay { slot: SlotId, subscription: SubscriptionId, channel: ChannelName, after: Offset, limit: u32 },
}

impl Reactor {
    /// Reads this now or in its turn. It is answered in any case, by a failure where there is no room.
    pub(super) fn recover(&mut self, recovery: Recovery) {
        if self.recoveries.is_empty() && self.has_recovery_room() {
            self.read_recovery(recovery);
        } else if self.recoveries.len() < RECOVERIES_WAITING_MAX {
            self.recoveries.push_back(recovery);
        } else {
            self.fail_recovery(recovery);
        }
    }

    /// Makes the next reads, as far as there is room.
    pub(super) fn recover_waiting(&mut self) {
        while self.has_recovery_room()
            && let Some(recovery) = self.recoveries.pop_front()
        {
            self.read_recovery(recovery);
        }
    }

    /// True exactly when the next one is read now. Where others have filled the queue it waits: a failure would bring its
    /// client back to ask again.
    fn has_recovery_room(&self) -> bool {
        self.pending.recoveries() < RECOVERIES_AT_ONCE && !self.queues.read.is_full()
    }

    fn read_recovery(&mut self, recovery: Recovery) {
        let (request, channel, wanted, bytes_max) = match &recovery {
            Recovery::Position(id) => {
                let Some(channel) = self.hub.channel_name(*id).cloned() else { return };
                (Request::Position(*id), channel, self.hub.wanted(*id), RECOVERY_PAGE_BYTES_MAX)
            }
            Recovery::Older(id) => {
                let Some(wanted) = self.hub.older(*id) else { return };
                let Some(channel) = self.hub.channel_name(*id).cloned() else { return };
                (Request::Older(*id), channel, wanted, RECOVERY_PAGE_BYTES_MAX)
            }
            Recovery::Replay { slot, subscription, channel, after, limit } => {
                // Its subscription ended while it waited, or the whole connection: then the others of that connection step on.
                if self.hub.slot(*subscription).is_none() {
                    self.note_page(*slot, Replays::Stepping);
                    return self.catch_up(*slot);
                }
                self.counters.replay_pages.add(1);
                let request = Request::Replay { slot: *slot, subscription: *subscription };
                let wanted = Wanted { range: Range::After(*after), limit: *limit };
                (request, channel.clone(), wanted, REPLAY_PAGE_BYTES_MAX)
            }
        };
        let Wanted { range, limit } = wanted;
        let asked = self.ask_store(request, self.now.at, |ticket| {
            let (span, form) = (Span::from(range), Form::Frames);
            Read::Page(PageRequest { ticket, channel, span, limit, bytes_max, form })
        });
        if asked {
            self.counters.recovery_reads.add(1);
        } else {
            self.fail_recovery(recovery);
        }
    }

    /// It is not read: those that wait are told, or try again later.
    pub(super) fn fail_recovery(&mut self, recovery: Recovery) {
        self.counters.recoveries_refused.add(1);
        match recovery {
            Recovery::Position(id) => self.position(id, None),
            Recovery::Older(id) => self.older(id, None),
            Recovery::Replay { slot, subscription, .. } => {
                self.note_page(slot, Replays::Stepping);
                self.page_failed(slot, subscription);
            }
        }
    }

    /// A page for one subscriber alone.
    pub(super) fn ask_page(
        &mut self,
        slot: SlotId,
        subscription: SubscriptionId,
        channel: ChannelName,
        after: Offset,
        limit: u32,
    ) {
        self.note_page(slot, Replays::PageAsked);
        self.recover(Recovery::Replay { slot, subscription, channel, after, limit });
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
