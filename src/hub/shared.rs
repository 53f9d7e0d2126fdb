//! One read for many: what recoveries lack of a channel is read once, and kept in its tail.
//!
//! After a crash thousands come back within seconds, most with nearly the same cursor, and no tail holds anything. So what
//! is asked of the store is asked for a channel, not for a subscriber: where the log stands comes with the publications that
//! those who ask are going to need, and a tail that begins too late is made longer for all that wait for it. Whoever comes
//! later is served from memory.
//!
//! What was read may be given out only while it is what the store would still say. A page that was read before a delete
//! that is known here is not kept: it may hold what was erased.

use super::channel::{Knowledge, Question};
use super::tail::Lengthened;
use super::{ChannelId, Hub, Need, Stage, channel_mut, subscription_mut};
use crate::id::Offset;
use crate::limits::{REPLAY_PUBLICATIONS_MAX, TAIL_PUBLICATIONS_MAX};
use crate::wire::command::{From, Range};
use crate::wire::push::LogPosition;
use crate::wire::server_frame;

#[cfg(test)]
mod tests;

/// Reads for all that one subscriber waits for before it has pages of its own: as many as fill a tail, and some more for
/// those that a delete made worthless.
pub(super) const READS_MAX: u8 = 8;
/// Publications read below the lowest cursor that is known: others have nearly the same one, and come a moment later.
const MARGIN: u64 = 16;

/// What is to be read of a log beside where it stands; `limits::RECOVERY_PAGE_BYTES_MAX` bounds it as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Which part.
    pub range: Range,
    /// Publications at most; 0: only where the log stands.
    pub limit: u32,
}

/// What was read of a log.
pub struct LogPage<'a> {
    /// Where the log stood.
    pub position: LogPosition,
    /// The first publication in it; [`Offset::ZERO`] when there is none.
    pub first: Offset,
    /// The last publication in it.
    pub last: Offset,
    /// Publications in it.
    pub count: u32,
    /// Whole frames.
    pub frames: &'a [u8],
}

impl LogPage<'_> {
    /// Only where the log stands.
    pub fn bare(position: LogPosition) -> LogPage<'static> {
        LogPage { position, first: Offset::ZERO, last: Offset::ZERO, count: 0, frames: &[] }
    }

    /// True exactly when it holds something, and each publication from the first to the last.
    fn is_unbroken(&self) -> bool {
        self.count > 0 && self.last.0.checked_sub(self.first.0) == Some(u64::from(self.count) - 1)
    }
}

impl Hub {
    /// What to read for [`Need::Position`]: what those lack who wait for the answer. To be asked when the read is made.
    pub fn wanted(&self, id: ChannelId) -> Wanted {
        let nothing = Wanted { range: Range::After(Offset::ZERO), limit: 0 };
        let Some(channel) = self.channel(id) else { return nothing };
        let known = channel.position();
        let (mut lowest, mut newest) = (None::<Offset>, 0);
        for from in channel.asked.iter().chain(&channel.waiting).filter_map(|id| self.opens_from(*id)) {
            let cursor = match (from, known) {
                (From::Now, _) => None,
                (From::Last(count), None) => {
                    newest = newest.max(count);
                    None
                }
                (From::Last(count), Some(known)) => Some(Offset(known.head.0.saturating_sub(count.into()))),
                (From::After { offset, .. }, None) => Some(offset),
                (From::After { epoch, offset }, Some(known)) => {
                    (epoch == Some(known.epoch)).then_some(offset)
                }
            };
            lowest = lowest.into_iter().chain(cursor).min();
        }
        match (known, lowest) {
            (None, Some(lowest)) => Wanted {
                range: Range::After(Offset(lowest.0.saturating_sub(MARGIN))),
                limit: (REPLAY_PUBLICATIONS_MAX + MARGIN) as u32,
            },
            (None, None) if newest > 0 => Wanted { range: Range::Before(Offset(u64::MAX)), limit: newest },
            (Some(known), Some(lowest)) if lowest < channel.tail.begins_after(known.head) => {
                self.older(id).unwrap_or(nothing)
            }
            (None, None) | (Some(_), _) => nothing,
        }
    }

    /// What to read for [`Need::Older`]: all that the tail lacks to be what any recovery needs. `None` when the channel is
    /// gone.
    pub fn older(&self, id: ChannelId) -> Option<Wanted> {
        let channel = self.channel(id)?;
        let range = Range::Before(channel.tail.begins_after(channel.position()?.head).next());
        Some(Wanted { range, limit: channel.tail.room() as u32 })
    }

    /// Answers [`Need::Older`]; with `None` it could not be read, and the caller calls [`Hub::ask_older`] later. Whoever
    /// waited is among [`Hub::take_caught_up`].
    pub fn older_read(&mut self, id: ChannelId, page: Option<LogPage<'_>>) {
        let Some(page) = page else { return };
        let lengthened = self.remember(id, &page);
        let Some(channel) = channel_mut(&mut self.channels, id) else { return };
        channel.lengthening = Question::None;
        if let Knowledge::Known(position) = &mut channel.knowledge {
            position.floor = position.floor.max(page.position.floor);
        }
        for id in std::mem::take(&mut channel.for_older) {
            let Some(subscription) = subscription_mut(&mut self.subscriptions, id) else { continue };
            if let Stage::Behind(behind) = &mut subscription.stage {
                behind.waits = super::Waits::Room;
                behind.shared = match lengthened {
                    Lengthened::Yes | Lengthened::Unfit => behind.shared.saturating_sub(1),
                    Lengthened::Full => 0,
                };
                self.caught_up.push(id);
            }
        }
    }

    /// Asks again for what [`Hub::older_read`] could not bring.
    pub fn ask_older(&mut self, id: ChannelId) {
        if self.channel(id).is_some_and(|channel| channel.lengthening == Question::UnderWay) {
            self.needs.push(Need::Older(id));
        }
    }

    /// Keeps of a page what the tail lacks, if the tail follows it and nothing in it can have been erased since.
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
