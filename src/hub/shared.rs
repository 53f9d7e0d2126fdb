//! Shared reads: the publications that recovering clients lack are read once per channel and kept in its tail.
//!
//! After a crash, thousands of clients return within seconds, most with nearly the same cursor, and every tail is
//! empty. So reads are made per channel, not per subscriber: a position read also brings the publications that the
//! waiting subscribers will need, and a tail that begins too late is lengthened once for all of them. Later
//! subscribers are served from memory.
//!
//! A page may be sent only while the store would still return the same. A page that was read before a known delete is not
//! kept, because it may hold what was erased.

use super::Hub;
use super::channel::{Filling, Knowledge, ReadState, channel_mut};
use super::exchange::{LogPage, Need, PageWanted};
use super::id::ChannelId;
use super::subscription::{SubscriptionStage, WaitsFor, subscription_mut};
use super::tail::Lengthened;
use crate::id::Offset;
use crate::limits::{REPLAY_PUBLICATIONS_MAX, TAIL_PUBLICATIONS_MAX};
use crate::wire::command::{HistoryRange, StartAt};
use crate::wire::server_frame;

#[cfg(test)]
mod tests;

/// The number of publications to read below the lowest known cursor, because clients with slightly older cursors usually
/// follow a moment later.
const MARGIN: u64 = 16;

impl Hub {
    /// The publications to read for [`Need::Position`], which the waiting subscriptions lack. Call when the read is made.
    pub fn wanted(&self, id: ChannelId) -> PageWanted {
        let nothing = PageWanted { range: HistoryRange::After(Offset::ZERO), limit: 0 };
        let Some(channel) = self.channel(id) else { return nothing };
        let known = channel.position();
        let (mut lowest, mut newest) = (None::<Offset>, 0);
        for from in channel.asked.iter().chain(&channel.waiting).filter_map(|id| self.opens_from(*id)) {
            let cursor = match (from, known) {
                (StartAt::Now, _) => None,
                (StartAt::Last(count), None) => {
                    newest = newest.max(count);
                    None
                }
                (StartAt::Last(count), Some(known)) => {
                    Some(Offset(known.head.0.saturating_sub(count.into())))
                }
                (StartAt::After { offset, .. }, None) => Some(offset),
                (StartAt::After { epoch, offset }, Some(known)) => {
                    (epoch == Some(known.epoch)).then_some(offset)
                }
            };
            lowest = lowest.into_iter().chain(cursor).min();
        }
        match (known, lowest) {
            (None, Some(lowest)) => PageWanted {
                range: HistoryRange::After(Offset(lowest.0.saturating_sub(MARGIN))),
                limit: (REPLAY_PUBLICATIONS_MAX + MARGIN) as u32,
            },
            (None, None) if newest > 0 => {
                PageWanted { range: HistoryRange::Before(Offset(u64::MAX)), limit: newest }
            }
            (Some(known), Some(lowest)) if lowest < channel.tail.begins_after(known.head) => {
                self.older(id).unwrap_or(nothing)
            }
            (None, None) | (Some(_), _) => nothing,
        }
    }

    /// The publications to read for [`Need::Older`], which the tail lacks to serve any recovery. `None` when the
    /// channel is gone.
    pub fn older(&self, id: ChannelId) -> Option<PageWanted> {
        let channel = self.channel(id)?;
        let range = HistoryRange::Before(channel.tail.begins_after(channel.position()?.head).next());
        Some(PageWanted { range, limit: channel.tail.room() as u32 })
    }

    /// Answers [`Need::Older`]. `None` means that the read failed; the caller then calls [`Hub::ask_older`] later.
    /// Subscribers that waited for it are returned by [`Hub::take_caught_up`].
    pub fn older_read(&mut self, id: ChannelId, page: Option<LogPage<'_>>) {
        let Some(page) = page else { return };
        let Some(channel) = channel_mut(&mut self.channels, id) else { return };
        let may_keep = std::mem::replace(&mut channel.older.state, ReadState::Idle).may_keep();
        let lengthened = if may_keep { self.remember(id, &page) } else { Lengthened::Unfit };
        let Some(channel) = channel_mut(&mut self.channels, id) else { return };
        if let Knowledge::Known(position) = &mut channel.knowledge {
            position.floor = position.floor.max(page.position.floor);
        }
        for id in std::mem::take(&mut channel.older.waiting) {
            let Some(subscription) = subscription_mut(&mut self.subscriptions, id) else { continue };
            if let SubscriptionStage::Behind(behind) = &mut subscription.stage {
                behind.waits_for = WaitsFor::Room;
                behind.shared_reads = match lengthened {
                    Lengthened::Yes | Lengthened::Unfit => behind.shared_reads.saturating_sub(1),
                    Lengthened::Full => 0,
                };
                self.caught_up.push(id);
            }
        }
    }

    /// Requests failed reads of older publications again.
    pub fn ask_older(&mut self, id: ChannelId) {
        if self.channel(id).is_some_and(|channel| channel.older.state != ReadState::Idle) {
            self.needs.push(Need::Older(id));
        }
    }

    /// Drops all publications in memory, because some may have been changed in the store without a delete. Pages of reads that
    /// are under way are not kept.
    pub fn forget(&mut self) {
        for (index, channel) in &mut self.channels {
            let id = ChannelId { index: index as u32, serial: channel.serial };
            self.tails.clear(&mut channel.tail, id);
            channel.position_read = channel.position_read.outdated();
            channel.older.state = channel.older.state.outdated();
            if channel.filling == Filling::Asked {
                channel.filling = Filling::Outdated;
            }
        }
    }

    /// Adds to the tail the publications of a page that it lacks, if the page ends where the tail begins and none of
    /// it can have been erased since the read.
    pub(super) fn remember(&mut self, id: ChannelId, page: &LogPage<'_>) -> Lengthened {
        let Some(channel) = channel_mut(&mut self.channels, id) else { return Lengthened::Unfit };
        let Some(known) = channel.position() else { return Lengthened::Unfit };
        let last = channel.tail.begins_after(known.head);
        let fits = page.is_unbroken()
            && page.position.epoch == known.epoch
            && page.position.head >= channel.erased_by
            && page.first <= last
            && page.last >= last;
        if !fits {
            return Lengthened::Unfit;
        }
        let wanted = (last.0 - page.first.0 + 1) as usize;
        let skipped = wanted.saturating_sub(TAIL_PUBLICATIONS_MAX);
        let frames: Vec<&[u8]> = server_frame::split(page.frames).take(wanted).skip(skipped).collect();
        if frames.len() + skipped != wanted {
            return Lengthened::Unfit;
        }
        let lengthened = self.tails.lengthen(&mut channel.tail, id, last, &frames);
        self.evict();
        lengthened
    }
}
