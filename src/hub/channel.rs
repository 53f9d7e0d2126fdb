//! One channel as a reactor sees it: who follows it, how far it came, and what it got in this turn.

use super::tail::Tail;
use super::{LogPage, Slot, SubscriptionId};
use crate::id::{ChannelName, Offset};
use crate::wire::publication::{Change, Published};
use crate::wire::push::LogPosition;

/// A subscriber that has everything up to the channel's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live {
    /// Its connection.
    pub slot: Slot,
    /// Its subscription's index in the hub.
    pub(super) subscription: u32,
}

/// What is known of a channel's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Knowledge {
    /// Nothing was read yet; `seen` in [`Channel`] keeps what went by meanwhile.
    Unknown,
    /// `head` is the last publication that runs contained; the store may be ahead.
    Known(LogPosition),
}

/// Whether the store is being asked where the log stands. One question at a time; it is over only when it
/// is answered, also when all it was asked for have left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    None,
    UnderWay,
}

/// Whether a hole is being filled. Meanwhile nothing is taken from the bus: the page may hold it as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filling {
    No,
    Asked,
}

/// Whether the bus was asked for what other instances publish here.
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

/// What became of a publication that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intake {
    /// It is the next one.
    Taken,
    /// It is known already, or will come out of the store.
    Dropped,
    /// Those after this offset are missing; ask the store.
    Hole(Offset),
}

/// What a page that was to fill a hole came to, and after which offset more is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Filled {
    pub(super) outcome: FillOutcome,
    pub(super) more: Option<Offset>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FillOutcome {
    /// It is in the run.
    Taken,
    /// What is missing after this offset is no longer retained.
    Gone(Offset),
    /// It held nothing new.
    Nothing,
}

#[derive(Debug)]
pub(super) struct Channel {
    pub(super) name: ChannelName,
    pub(super) serial: u32,
    pub(super) knowledge: Knowledge,
    /// The newest offset heard of, from the bus or the store.
    pub(super) seen: Offset,
    pub(super) filling: Filling,
    pub(super) following: Following,
    pub(super) subscribers: u32,
    pub(super) live: Vec<Live>,
    pub(super) question: Question,
    /// Subscriptions the position under way is for, and those that came after it was asked.
    pub(super) asked: Vec<SubscriptionId>,
    pub(super) waiting: Vec<SubscriptionId>,
    /// Subscribers with a cursor above the head: they go on when it moves.
    pub(super) ahead: Vec<SubscriptionId>,
    pub(super) run: Vec<u8>,
    /// Publications in it.
    pub(super) run_publications: u32,
    pub(super) run_state: RunState,
    /// The head before the run.
    pub(super) run_after: Offset,
    pub(super) tail: Tail,
    /// The newest publication that may have erased another: what was read before it may not be given out.
    pub(super) erased_by: Offset,
    /// Whether older publications are being read for the tail, and who waits for them.
    pub(super) lengthening: Question,
    pub(super) for_older: Vec<SubscriptionId>,
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
            question: Question::None,
            asked: Vec::new(),
            waiting: Vec::new(),
            ahead: Vec::new(),
            run: Vec::new(),
            run_publications: 0,
            run_state: RunState::Clean,
            run_after: Offset::ZERO,
            tail: Tail::default(),
            erased_by: Offset::ZERO,
            lengthening: Question::None,
            for_older: Vec::new(),
        }
    }

    pub(super) fn position(&self) -> Option<LogPosition> {
        match self.knowledge {
            Knowledge::Unknown => None,
            Knowledge::Known(position) => Some(position),
        }
    }

    /// Judges a publication by its offset, and takes it into the run if it is the next one.
    pub(super) fn intake(&mut self, published: &Published) -> Intake {
        self.seen = self.seen.max(published.offset);
        if matches!(published.change, Change::Deletes(_)) {
            self.erased_by = self.erased_by.max(published.offset);
        }
        let Knowledge::Known(position) = &mut self.knowledge else { return Intake::Dropped };
        if published.offset <= position.head || self.filling == Filling::Asked {
            return Intake::Dropped;
        }
        if published.offset != position.head.next() {
            self.filling = Filling::Asked;
            return Intake::Hole(position.head);
        }
        let before = std::mem::replace(&mut position.head, published.offset);
        self.add_to_run(before, &published.frame, 1);
        Intake::Taken
    }

    pub(super) fn add_signal(&mut self, frame: &[u8]) {
        if let Some(position) = self.position() {
            self.add_to_run(position.head, frame, 0);
        }
    }

    /// `head` is the head before these frames.
    fn add_to_run(&mut self, head: Offset, frames: &[u8], publications: u32) {
        if self.run_state == RunState::Clean {
            self.run_after = head;
        }
        self.run.extend_from_slice(frames);
        self.run_publications += publications;
    }

    /// Takes the store's word on where the log stands; `Some` when the hub lacks what is after that offset.
    pub(super) fn learn(&mut self, read: LogPosition) -> Option<Offset> {
        self.seen = self.seen.max(read.head);
        match &mut self.knowledge {
            Knowledge::Unknown => self.knowledge = Knowledge::Known(read),
            Knowledge::Known(position) => {
                position.floor = position.floor.max(read.floor);
                position.epoch = read.epoch;
            }
        }
        let head = self.position()?.head;
        if self.seen <= head || self.filling == Filling::Asked {
            return None;
        }
        self.filling = Filling::Asked;
        Some(head)
    }

    /// Takes a page that fills a hole.
    pub(super) fn fill(&mut self, page: &LogPage<'_>) -> Filled {
        self.filling = Filling::No;
        let mut outcome = FillOutcome::Nothing;
        // Where nothing after the head is retained, an empty page still moves it.
        let reached = page.last.max(Offset(page.position.floor.0.saturating_sub(1)));
        if let Knowledge::Known(position) = &mut self.knowledge
            && reached > position.head
        {
            let before = std::mem::replace(&mut position.head, reached);
            self.erased_by = self.erased_by.max(reached);
            if page.first == before.next() {
                self.add_to_run(before, page.frames, page.count);
                outcome = FillOutcome::Taken;
            } else {
                outcome = FillOutcome::Gone(before);
            }
        } else {
            // The store has nothing more: what was heard of above it was a rumour.
            self.seen = self.position().map_or(self.seen, |position| position.head);
        }
        Filled { outcome, more: self.learn(page.position) }
    }

    /// The run was taken: the next one begins.
    pub(super) fn end_run(&mut self) {
        self.run_state = RunState::Clean;
        self.run.clear();
        self.run_publications = 0;
        // A burst's buffer is not kept by a channel that may fall silent.
        self.run.shrink_to(4 << 10);
    }
}

#[cfg(test)]
mod tests {
    use crate::hub::{Hub, LogPage, Need, OpenRefused, Slot, SubscriptionId};
    use crate::id::{ChannelName, Epoch, Offset};
    use crate::wire::command::From;
    use crate::wire::push::{LogPosition, Recovery};

    fn hub() -> (Hub, ChannelName) {
        let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
        (Hub::new(10, 1 << 20, hasher), ChannelName::parse("c").expect("valid"))
    }

    fn at(head: u64) -> LogPosition {
        LogPosition { epoch: Epoch(7), head: Offset(head), floor: Offset(1) }
    }

    fn after(offset: u64) -> From {
        From::After { epoch: Some(Epoch(7)), offset: Offset(offset) }
    }

    fn opened(result: Result<(SubscriptionId, Option<crate::hub::Decision>), OpenRefused>) -> SubscriptionId {
        let (id, decision) = result.expect("room");
        assert_eq!(decision, None);
        id
    }

    #[test]
    fn who_comes_while_a_question_is_under_way_is_not_answered_by_it_though_its_askers_left() {
        let (mut hub, name) = hub();
        let first = opened(hub.open(&name, Slot(1), From::Now));
        let needs = hub.take_needs();
        let [Need::Position(channel)] = needs[..] else { panic!("{needs:?}") };
        // The store reads head 40 now; the cursor of the second was stored after that.
        let second = opened(hub.open(&name, Slot(2), after(50)));
        hub.close(first);
        assert_eq!(hub.take_needs(), []);
        assert_eq!(hub.position_read(channel, Some(LogPage::bare(at(40)))), []);
        assert_eq!(hub.take_needs(), [Need::Position(channel)]);
        let decided = hub.position_read(channel, Some(LogPage::bare(at(50))));
        let [(id, Some(decision))] = decided[..] else { panic!("{decided:?}") };
        assert_eq!((id, decision.outcome), (second, Recovery::Recovered));
    }

    #[test]
    fn what_an_answer_taught_does_for_those_that_came_after_the_question() {
        let (mut hub, name) = hub();
        opened(hub.open(&name, Slot(1), From::Now));
        let needs = hub.take_needs();
        let [Need::Position(channel)] = needs[..] else { panic!("{needs:?}") };
        let second = opened(hub.open(&name, Slot(2), From::Now));
        let decided = hub.position_read(channel, Some(LogPage::bare(at(40))));
        assert!(decided.iter().any(|(id, decision)| *id == second && decision.is_some()));
        assert_eq!(hub.take_needs(), []);
    }

    #[test]
    fn a_question_that_fails_fails_for_all_that_wait() {
        let (mut hub, name) = hub();
        let first = opened(hub.open(&name, Slot(1), From::Now));
        let needs = hub.take_needs();
        let [Need::Position(channel)] = needs[..] else { panic!("{needs:?}") };
        let second = opened(hub.open(&name, Slot(2), From::Now));
        assert_eq!(hub.position_read(channel, None), [(first, None), (second, None)]);
        assert_eq!(hub.take_needs(), []);
    }
}
