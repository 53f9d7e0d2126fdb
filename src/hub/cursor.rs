//! The start of a subscription: the client's cursor compared with the log's position. Pure arithmetic.

use super::tail::Coverage;
use crate::id::{Epoch, Offset};
use crate::limits::REPLAY_PUBLICATIONS_MAX;
use crate::wire::command::From;
use crate::wire::push::{Because, LogPosition, Recovery};

/// The start of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The log's position, for the reply.
    pub position: LogPosition,
    /// The outcome of the client's cursor, for the reply.
    pub outcome: Recovery,
    /// The replay begins after this offset; equal to the head when there is nothing to replay.
    pub cursor: Offset,
}

/// Decides from a position that was just read.
pub(super) fn decide(from: From, position: LogPosition) -> Decision {
    let head = position.head;
    let (outcome, cursor) = match from {
        From::Now => (Recovery::NotAsked, head),
        From::Last(count) => {
            let oldest = Offset(position.floor.0.saturating_sub(1));
            (Recovery::NotAsked, Offset(head.0.saturating_sub(u64::from(count))).max(oldest).min(head))
        }
        From::After { epoch, offset } => match not_recovered_because(epoch, offset, position) {
            None => (Recovery::Recovered, offset),
            Some(because) => (Recovery::Not(because), head),
        },
    };
    Decision { position, outcome, cursor }
}

fn not_recovered_because(epoch: Option<Epoch>, offset: Offset, position: LogPosition) -> Option<Because> {
    if epoch != Some(position.epoch) || offset > position.head {
        Some(Because::EpochChanged)
    } else if offset < position.head && offset.next() < position.floor {
        Some(Because::Expired)
    } else if position.head.0 - offset.0 > REPLAY_PUBLICATIONS_MAX {
        Some(Because::TooFar)
    } else {
        None
    }
}

/// Decides from the hub's own position if the store would decide the same. The hub's floor may be stale and its head
/// may be behind the store's.
pub(super) fn decide_from_memory(from: From, position: LogPosition, tail: Coverage) -> Option<Decision> {
    let begins = match from {
        From::Now => position.head,
        From::Last(count) => Offset(position.head.0.saturating_sub(u64::from(count))),
        From::After { epoch, .. } if epoch != Some(position.epoch) => position.head,
        // Already too far behind to replay, whatever head the store has.
        From::After { offset, .. } if position.head.0.saturating_sub(offset.0) > REPLAY_PUBLICATIONS_MAX => {
            position.head
        }
        From::After { offset, .. } => offset,
    };
    // Everything up to the hub's head has expired, so the hub missed later publications.
    let left_behind = position.floor > position.head.next();
    let covered = begins == position.head || (begins < position.head && tail.reaches(begins));
    (covered && !left_behind).then(|| decide(from, position))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Epoch = Epoch(7);

    fn at(head: u64, floor: u64) -> LogPosition {
        LogPosition { epoch: EPOCH, head: Offset(head), floor: Offset(floor) }
    }

    fn after(offset: u64) -> From {
        From::After { epoch: Some(EPOCH), offset: Offset(offset) }
    }

    #[test]
    fn cursor_is_recovered_exactly_within_the_bounds() {
        let other = From::After { epoch: Some(Epoch(8)), offset: Offset(900) };
        let table = [
            (after(1000), Recovery::Recovered, 1000),
            (after(700), Recovery::Recovered, 700),
            (after(699), Recovery::Not(Because::TooFar), 1000),
            (after(599), Recovery::Not(Because::TooFar), 1000),
            (after(98), Recovery::Not(Because::Expired), 1000),
            (after(1001), Recovery::Not(Because::EpochChanged), 1000),
            (other, Recovery::Not(Because::EpochChanged), 1000),
            (From::After { epoch: None, offset: Offset(900) }, Recovery::Not(Because::EpochChanged), 1000),
            (From::Now, Recovery::NotAsked, 1000),
            (From::Last(20), Recovery::NotAsked, 980),
            (From::Last(0), Recovery::NotAsked, 1000),
        ];
        for (from, outcome, cursor) in table {
            let decision = decide(from, at(1000, 100));
            assert_eq!((decision.outcome, decision.cursor), (outcome, Offset(cursor)), "{from:?}");
        }
    }

    #[test]
    fn replay_begins_no_earlier_than_the_floor() {
        assert_eq!(decide(From::Last(300), at(10, 4)).cursor, Offset(3));
        assert_eq!(decide(From::Last(300), at(10, 11)).cursor, Offset(10));
        assert_eq!(decide(From::Last(5), at(0, 1)).cursor, Offset(0));
        assert_eq!(decide(after(3), at(10, 4)).outcome, Recovery::Recovered);
        assert_eq!(decide(after(2), at(10, 4)).outcome, Recovery::Not(Because::Expired));
        // Everything has expired, but this client missed nothing.
        assert_eq!(decide(after(10), at(10, 11)).outcome, Recovery::Recovered);
        assert_eq!(decide(after(0), at(0, 1)).outcome, Recovery::Recovered);
    }

    #[test]
    fn memory_decides_only_what_the_tail_covers() {
        let tail = Coverage::from_to(Offset(5), Offset(10));
        let decide = |from| decide_from_memory(from, at(10, 1), tail).map(|decision| decision.cursor);
        assert_eq!(decide(From::Now), Some(Offset(10)));
        assert_eq!(decide(after(4)), Some(Offset(4)));
        assert_eq!(decide(after(3)), None);
        assert_eq!(decide(after(11)), None, "the store may be ahead of this reactor");
        assert_eq!(decide(From::Last(6)), Some(Offset(4)));
        assert_eq!(decide(From::Last(7)), None);
        let expired = decide_from_memory(From::Now, at(10, 12), tail);
        assert_eq!(expired, None, "a head below the floor must not be sent");
    }
}
