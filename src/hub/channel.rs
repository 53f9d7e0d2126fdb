//! One channel of a reactor: its subscribers, its head, and the run of this turn.

use super::exchange::LogPage;
use super::id::{ChannelId, Slot, SubscriptionId};
use super::streams::state::ChannelStreams;
use super::tail::Tail;
use crate::id::{ChannelName, Offset};
use crate::wire::publication::{Change, Published, UNKNOWN_TIME, time_of};
use crate::wire::push::LogPosition;
use slab::Slab;

/// A subscriber that has everything up to the channel's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveSubscriber {
    pub slot: Slot,
    /// The index of its subscription in the hub.
    pub(super) subscription: u32,
}

/// The position of a channel's log, if it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Knowledge {
    /// Nothing was read yet. [`Channel::seen`] keeps the newest offset that arrived meanwhile.
    Unknown,
    /// `head` is the last publication in the runs so far; the store may be ahead.
    Known(LogPosition),
}

/// The state of a store read. Only one is made at a time. It ends only with its answer, even if every subscription
/// that it was made for has been closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadState {
    Idle,
    UnderWay,
    /// It is under way, and its page must not be kept: it may hold what was erased since ([`Hub::forget`](super::Hub::forget)).
    Outdated,
}

impl ReadState {
    /// True exactly when the page may be kept.
    pub(super) fn may_keep(self) -> bool {
        self != ReadState::Outdated
    }

    /// The state after everything in memory was forgotten.
    pub(super) fn outdated(self) -> ReadState {
        if self == ReadState::Idle { ReadState::Idle } else { ReadState::Outdated }
    }
}

/// The publications in the run of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RunContent {
    pub(super) publications: u32,
    /// The time of the commit of the first of them.
    pub(super) time_ms: u64,
    /// The head before them.
    pub(super) after: Offset,
}

/// The state of the read that fills a hole. While it is under way, publications from the live lane are dropped,
/// because the page may hold them too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filling {
    No,
    Asked,
    /// It is under way, and its page must not be kept: it may hold what was erased since ([`Hub::forget`](super::Hub::forget)).
    Outdated,
}

/// The state of the bus subscription that brings the publications of other instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Following {
    No,
    Asked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunState {
    Clean,
    Dirty,
}

/// The outcome for a publication that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intake {
    /// It was the next one and is in the run.
    Taken,
    /// It is a duplicate, or a read from the store will bring it.
    Dropped,
    /// The publications after this offset are missing; read them from the store.
    Hole(Offset),
    /// It is another publication than the one that subscribers were sent under its offset. The head is this.
    Contradicts(Offset),
}

/// The outcome of a page that was read to fill a hole. Publications after `more` are still missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Filled {
    pub(super) outcome: FillOutcome,
    pub(super) more: Option<Offset>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FillOutcome {
    /// The page is in the run.
    Taken,
    /// The missing publications after this offset are no longer retained.
    Gone(Offset),
    /// The page held nothing new.
    Nothing,
}

#[derive(Debug)]
pub(super) struct Channel {
    pub(super) name: ChannelName,
    pub(super) serial: u32,
    pub(super) knowledge: Knowledge,
    /// The newest offset that the live lane or the store named.
    pub(super) seen: Offset,
    pub(super) filling: Filling,
    pub(super) following: Following,
    pub(super) subscribers: u32,
    pub(super) live: Vec<LiveSubscriber>,
    pub(super) position_read: ReadState,
    /// The subscriptions that the position read under way decides, and the later ones that wait for the next read.
    pub(super) asked: Vec<SubscriptionId>,
    pub(super) waiting: Vec<SubscriptionId>,
    /// Subscribers that wait until the head moves or the run is delivered.
    pub(super) ahead: Vec<SubscriptionId>,
    pub(super) run: Vec<u8>,
    pub(super) run_content: RunContent,
    pub(super) run_state: RunState,
    pub(super) tail: Tail,
    /// The newest publication that may have erased another one: pages read before it must not be sent.
    pub(super) erased_by: Offset,
    pub(super) older: OlderRead,
    /// `None`: there are none.
    pub(super) streams: Option<Box<ChannelStreams>>,
}

/// The read of older publications for the tail, and the subscribers that wait for it.
#[derive(Debug)]
pub(super) struct OlderRead {
    pub(super) state: ReadState,
    pub(super) waiting: Vec<SubscriptionId>,
}

impl Channel {
    pub(super) fn new(name: ChannelName, serial: u32) -> Channel {
        Channel {
            name,
            serial,
            knowledge: Knowledge::Unknown,
            seen: Offset::ZERO,
            filling: Filling::No,
            following: Following::No,
            subscribers: 0,
            live: Vec::new(),
            position_read: ReadState::Idle,
            asked: Vec::new(),
            waiting: Vec::new(),
            ahead: Vec::new(),
            run: Vec::new(),
            run_content: RunContent { publications: 0, time_ms: UNKNOWN_TIME, after: Offset::ZERO },
            run_state: RunState::Clean,
            tail: Tail::default(),
            erased_by: Offset::ZERO,
            older: OlderRead { state: ReadState::Idle, waiting: Vec::new() },
            streams: None,
        }
    }

    pub(super) fn position(&self) -> Option<LogPosition> {
        match self.knowledge {
            Knowledge::Unknown => None,
            Knowledge::Known(position) => Some(position),
        }
    }

    /// Compares a publication's offset with the head, and appends it to the run if it is the next one.
    pub(super) fn intake(&mut self, published: &Published) -> Intake {
        self.seen = self.seen.max(published.offset);
        if matches!(published.change, Change::Deletes(_)) {
            self.erased_by = self.erased_by.max(published.offset);
        }
        let Knowledge::Known(position) = &mut self.knowledge else { return Intake::Dropped };
        if published.offset <= position.head {
            let contradicts = self.tail.contradicts(published);
            return if contradicts { Intake::Contradicts(position.head) } else { Intake::Dropped };
        }
        if self.filling != Filling::No {
            return Intake::Dropped;
        }
        if published.offset != position.head.next() {
            self.filling = Filling::Asked;
            return Intake::Hole(position.head);
        }
        let before = std::mem::replace(&mut position.head, published.offset);
        if self.run_content.publications == 0 {
            self.run_content.time_ms = published.time_ms;
        }
        self.add_to_run(before, &published.frame, 1);
        Intake::Taken
    }

    /// Appends frames that are not part of the log.
    pub(super) fn add_signal(&mut self, frame: &[u8]) {
        if let Some(position) = self.position() {
            self.add_to_run(position.head, frame, 0);
        }
    }

    /// Appends frames to the run; `head` is the head before them.
    pub(super) fn add_to_run(&mut self, head: Offset, frames: &[u8], publications: u32) {
        if self.run_state == RunState::Clean {
            self.run_content.after = head;
        }
        self.run.extend_from_slice(frames);
        self.run_content.publications += publications;
    }

    /// Takes the log's position as read from the store. `Some(offset)` when the hub lacks publications after that offset.
    pub(super) fn learn(&mut self, read: LogPosition) -> Option<Offset> {
        self.seen = self.seen.max(read.head);
        match &mut self.knowledge {
            Knowledge::Unknown => self.knowledge = Knowledge::Known(read),
            Knowledge::Known(position) => {
                position.floor = position.floor.max(read.floor);
                position.epoch = read.epoch;
            }
        }
        self.lacks()
    }

    /// Takes an offset that the log is known to have. `Some(offset)` when the hub lacks publications after that offset.
    pub(super) fn hear_of(&mut self, offset: Offset) -> Option<Offset> {
        self.seen = self.seen.max(offset);
        self.lacks()
    }

    fn lacks(&mut self) -> Option<Offset> {
        let head = self.position()?.head;
        if self.seen <= head || self.filling != Filling::No {
            return None;
        }
        self.filling = Filling::Asked;
        Some(head)
    }

    /// Takes a page that fills a hole.
    pub(super) fn fill(&mut self, page: &LogPage<'_>) -> Filled {
        self.filling = Filling::No;
        let mut outcome = FillOutcome::Nothing;
        // An empty page still moves the head if nothing after the head is retained.
        let reached = page.last.max(Offset(page.position.floor.0.saturating_sub(1)));
        if let Knowledge::Known(position) = &mut self.knowledge
            && reached > position.head
        {
            let before = std::mem::replace(&mut position.head, reached);
            self.erased_by = self.erased_by.max(reached);
            if page.first == before.next() {
                if self.run_content.publications == 0 {
                    self.run_content.time_ms = time_of(page.frames);
                }
                self.add_to_run(before, page.frames, page.count);
                outcome = FillOutcome::Taken;
            } else {
                outcome = FillOutcome::Gone(before);
            }
        } else {
            // The store has nothing more, so the offset seen above the head was wrong.
            self.seen = self.position().map_or(self.seen, |position| position.head);
        }
        Filled { outcome, more: self.learn(page.position) }
    }

    /// Clears the run after it was taken.
    pub(super) fn end_run(&mut self) {
        self.run_state = RunState::Clean;
        self.run.clear();
        self.run_content.publications = 0;
        // A channel that may become quiet must not keep the buffer of a burst.
        self.run.shrink_to(4 << 10);
    }
}

pub(super) fn channel_mut(channels: &mut Slab<Channel>, id: ChannelId) -> Option<&mut Channel> {
    channels.get_mut(id.index as usize).filter(|channel| channel.serial == id.serial)
}

#[cfg(test)]
mod tests {
    use crate::hub::{Hub, LogPage, Need, OpenRefused, Slot, SubscriptionId};
    use crate::id::{ChannelName, Epoch, Offset};
    use crate::wire::command::StartAt;
    use crate::wire::push::{LogPosition, RecoveryOutcome};

    fn hub() -> (Hub, ChannelName) {
        let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
        (Hub::new(10, 1 << 20, hasher), ChannelName::parse("c").expect("valid"))
    }

    fn at(head: u64) -> LogPosition {
        LogPosition { epoch: Epoch(7), head: Offset(head), floor: Offset(1) }
    }

    fn after(offset: u64) -> StartAt {
        StartAt::After { epoch: Some(Epoch(7)), offset: Offset(offset) }
    }

    fn opened(result: Result<(SubscriptionId, Option<crate::hub::Decision>), OpenRefused>) -> SubscriptionId {
        let (id, decision) = result.expect("room");
        assert_eq!(decision, None);
        id
    }

    #[test]
    fn late_subscriber_is_not_decided_by_a_read_started_before_it() {
        let (mut hub, name) = hub();
        let first = opened(hub.open(&name, Slot(1), StartAt::Now));
        let needs = hub.take_needs();
        let [Need::Position(channel)] = needs[..] else { panic!("{needs:?}") };
        // The store reads head 40 now; the second client's cursor is newer than that.
        let second = opened(hub.open(&name, Slot(2), after(50)));
        hub.close(first);
        assert_eq!(hub.take_needs(), []);
        assert_eq!(hub.position_read(channel, Some(LogPage::bare(at(40)))), []);
        assert_eq!(hub.take_needs(), [Need::Position(channel)]);
        let decided = hub.position_read(channel, Some(LogPage::bare(at(50))));
        let [(id, Some(decision))] = decided[..] else { panic!("{decided:?}") };
        assert_eq!((id, decision.outcome), (second, RecoveryOutcome::Recovered));
    }

    #[test]
    fn late_subscriber_is_decided_from_memory_if_the_earlier_read_suffices() {
        let (mut hub, name) = hub();
        opened(hub.open(&name, Slot(1), StartAt::Now));
        let needs = hub.take_needs();
        let [Need::Position(channel)] = needs[..] else { panic!("{needs:?}") };
        let second = opened(hub.open(&name, Slot(2), StartAt::Now));
        let decided = hub.position_read(channel, Some(LogPage::bare(at(40))));
        assert!(decided.iter().any(|(id, decision)| *id == second && decision.is_some()));
        assert_eq!(hub.take_needs(), []);
    }

    #[test]
    fn failed_position_read_fails_every_waiting_subscriber() {
        let (mut hub, name) = hub();
        let first = opened(hub.open(&name, Slot(1), StartAt::Now));
        let needs = hub.take_needs();
        let [Need::Position(channel)] = needs[..] else { panic!("{needs:?}") };
        let second = opened(hub.open(&name, Slot(2), StartAt::Now));
        assert_eq!(hub.position_read(channel, None), [(first, None), (second, None)]);
        assert_eq!(hub.take_needs(), []);
    }
}
