//! The start of a subscription: the client's cursor compared with the log's position. Pure arithmetic.

use super::tail::Coverage;
use crate::id::{Epoch, Offset};
use crate::limits::REPLAY_PUBLICATIONS_MAX;
use crate::wire::command::StartAt;
use crate::wire::push::{LogPosition, NotRecovered, RecoveryOutcome};

/// The start of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The log's position, for the reply.
    pub position: LogPosition,
    /// The outcome of the client's cursor, for the reply.
    pub outcome: RecoveryOutcome,
    /// The replay begins after this offset; equal to the head when there is nothing to replay.
    pub cursor: Offset,
}

/// Decides from a position that was just read.
pub(super) fn decide(from: StartAt, position: LogPosition) -> Decision {
    let head = position.head;
    let (outcome, cursor) = match from {
        StartAt::Now => (RecoveryOutcome::NotAsked, head),
        StartAt::Last(count) => {
            let oldest = Offset(position.floor.0.saturating_sub(1));
            (RecoveryOutcome::NotAsked, Offset(head.0.saturating_sub(u64::from(count))).max(oldest).min(head))
        }
        StartAt::After { epoch, offset } => match not_recovered_because(epoch, offset, position) {
            None => (RecoveryOutcome::Recovered, offset),
            Some(because) => (RecoveryOutcome::Not(because), head),
        },
    };
    Decision { position, outcome, cursor }
}

fn not_recovered_because(
    epoch: Option<Epoch>,
    offset: Offset,
    position: LogPosition,
) -> Option<NotRecovered> {
    if epoch != Some(position.epoch) || offset > position.head {
        Some(NotRecovered::EpochChanged)
    } else if offset < position.head && offset.next() < position.floor {
        Some(NotRecovered::Expired)
    } else if position.head.0 - offset.0 > REPLAY_PUBLICATIONS_MAX {
        Some(NotRecovered::TooFar)
    } else {
        None
    }
}

/// Decides from the hub's own position if the store would decide the same. The hub's floor may be stale and its head
/// may be behind the store's.
pub(super) fn decide_from_memory(from: StartAt, position: LogPosition, tail: Coverage) -> Option<Decision> {
    let begins = match from {
        StartAt::Now => position.head,
        StartAt::Last(count) => Offset(position.head.0.saturating_sub(u64::from(count))),
        StartAt::After { epoch, .. } if epoch != Some(position.epoch) => position.head,
        // Already too far behind to replay, whatever head the store has.
        StartAt::After { offset, .. }
            if position.head.0.saturating_sub(offset.0) > REPLAY_PUBLICATIONS_MAX =>
        {
            position.head
        }
        StartAt::After { offset, .. } => offset,
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

    fn after(offset: u64) -> StartAt {
        StartAt::After { epoch: Some(EPOCH), offset: Offset(offset) }
    }

    #[test]
    fn cursor_is_recovered_exactly_within_the_bounds() {
        let other = StartAt::After { epoch: Some(Epoch(8)), offset: Offset(900) };
        let table = [
            (after(1000), RecoveryOutcome::Recovered, 1000),
            (after(700), RecoveryOutcome::Recovered, 700),
            (after(699), RecoveryOutcome::Not(NotRecovered::TooFar), 1000),
            (after(599), RecoveryOutcome::Not(NotRecovered::TooFar), 1000),
            (after(98), RecoveryOutcome::Not(NotRecovered::Expired), 1000),
            (after(1001), RecoveryOutcome::Not(NotRecovered::EpochChanged), 1000),
            (other, RecoveryOutcome::Not(NotRecovered::EpochChanged), 1000),
            (
                StartAt::After { epoch: None, offset: Offset(900) },
                RecoveryOutcome::Not(NotRecovered::EpochChanged),
                1000,
            ),
            (StartAt::Now, RecoveryOutcome::NotAsked, 1000),
            (StartAt::Last(20), RecoveryOutcome::NotAsked, 980),
            (StartAt::Last(0), RecoveryOutcome::NotAsked, 1000),
        ];
        for (from, outcome, cursor) in table {
            let decision = decide(from, at(1000, 100));
            assert_eq!((decision.outcome, decision.cursor), (outcome, Offset(cursor)), "{from:?}");
        }
    }

    #[test]
    fn replay_begins_no_earlier_than_the_floor() {
        assert_eq!(decide(StartAt::Last(300), at(10, 4)).cursor, Offset(3));
        assert_eq!(decide(StartAt::Last(300), at(10, 11)).cursor, Offset(10));
        assert_eq!(decide(StartAt::Last(5), at(0, 1)).cursor, Offset(0));
        assert_eq!(decide(after(3), at(10, 4)).outcome, RecoveryOutcome::Recovered);
        assert_eq!(decide(after(2), at(10, 4)).outcome, RecoveryOutcome::Not(NotRecovered::Expired));
        // Everything has expired, but this client missed nothing.
        assert_eq!(decide(after(10), at(10, 11)).outcome, RecoveryOutcome::Recovered);
        assert_eq!(decide(after(0), at(0, 1)).outcome, RecoveryOutcome::Recovered);
    }

    #[test]
    fn memory_decides_only_what_the_tail_covers() {
        let tail = Coverage::from_to(Offset(5), Offset(10));
        let decide = |from| decide_from_memory(from, at(10, 1), tail).map(|decision| decision.cursor);
        assert_eq!(decide(StartAt::Now), Some(Offset(10)));
        assert_eq!(decide(after(4)), Some(Offset(4)));
        assert_eq!(decide(after(3)), None);
        assert_eq!(decide(after(11)), None, "the store may be ahead of this reactor");
        assert_eq!(decide(StartAt::Last(6)), Some(Offset(4)));
        assert_eq!(decide(StartAt::Last(7)), None);
        let expired = decide_from_memory(StartAt::Now, at(10, 12), tail);
        assert_eq!(expired, None, "a head below the floor must not be sent");
    }
}
