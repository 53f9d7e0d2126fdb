//! Counters of the answers of backends.
//!
//! Several threads write the store, so these are shared.

use super::clients::BoundHistogram;
use super::slo::PartCells;
use super::store::bump;
use crate::slo::{SloPart, answers};
use crate::stream::AnswerFact;
use crate::wire::stream::{EndCause, StreamEnd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bounds of the times to a first piece, in milliseconds: models take from a tenth of a second to minutes.
const FIRST_PIECE_BOUNDS_MS: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 20_000, 30_000, 60_000, 300_000, 3_600_000];
/// The ends of answers, with the reasons of the gateway.
const ENDS: [(StreamEnd, Option<EndCause>); 12] = [
    (StreamEnd::Completed, None),
    (StreamEnd::Cancelled, None),
    (StreamEnd::Failed, None),
    (StreamEnd::Failed, Some(EndCause::Refused)),
    (StreamEnd::Failed, Some(EndCause::NotDelivered)),
    (StreamEnd::Failed, Some(EndCause::Damaged)),
    (StreamEnd::Interrupted, None),
    (StreamEnd::Interrupted, Some(EndCause::ProducerLost)),
    (StreamEnd::Interrupted, Some(EndCause::Idle)),
    (StreamEnd::Interrupted, Some(EndCause::Life)),
    (StreamEnd::Replaced, None),
    (StreamEnd::Deleted, None),
];

/// Totals since the start. Each fact is counted by the instance that stored it.
#[derive(Debug)]
pub struct AnswerCounters {
    /// Answers that ended, by [`ENDS`].
    ends: [AtomicU64; ENDS.len()],
    /// From a question to the first piece of its answer, in milliseconds.
    pub first_piece: BoundHistogram,
    answer: PartCells,
    piece: PartCells,
    /// `slo.promptness_ms`.
    prompt_ms: AtomicU64,
}

impl Default for AnswerCounters {
    fn default() -> AnswerCounters {
        AnswerCounters {
            ends: Default::default(),
            first_piece: BoundHistogram::new(&FIRST_PIECE_BOUNDS_MS),
            answer: PartCells::default(),
            piece: PartCells::default(),
            prompt_ms: AtomicU64::new(0),
        }
    }
}

impl AnswerCounters {
    /// Sets the time within which a first piece is good.
    pub fn expect_within(&self, within: Duration) {
        self.prompt_ms.store(ms(within), Ordering::Relaxed);
    }

    pub fn count(&self, fact: AnswerFact) {
        let within = Duration::from_millis(self.prompt_ms.load(Ordering::Relaxed));
        match fact {
            AnswerFact::FirstPiece(waited) => {
                self.first_piece.record_shared(ms(waited));
                self.piece.count_shared(answers::heard(waited, within));
            }
            AnswerFact::Ended { end, cause, unheard } => {
                let place = ENDS.iter().position(|each| *each == (end, cause));
                place.and_then(|place| self.ends.get(place)).into_iter().for_each(bump);
                self.answer.count_shared(answers::ended(end, cause));
                if let Some(waited) = unheard {
                    self.piece.count_shared(answers::unheard(waited, within));
                }
            }
        }
    }

    /// The ends, by state and reason.
    pub fn ends(&self) -> impl Iterator<Item = ([&'static str; 2], u64)> {
        let words =
            |(end, cause): (StreamEnd, Option<EndCause>)| [end.word(), cause.map_or("none", EndCause::word)];
        ENDS.into_iter().map(words).zip(self.ends.iter().map(|cell| cell.load(Ordering::Relaxed)))
    }

    /// The events of a part; `None` if it is not of answers.
    pub fn part(&self, part: SloPart) -> Option<&PartCells> {
        match part {
            SloPart::Answer => Some(&self.answer),
            SloPart::Piece => Some(&self.piece),
            _ => None,
        }
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slo::part::PartTotals;

    #[test]
    fn facts_are_counted_by_end_by_time_and_by_outcome() {
        let counters = AnswerCounters::default();
        counters.expect_within(Duration::from_millis(10_000));
        let ended = |end, cause, unheard| AnswerFact::Ended { end, cause, unheard };
        for fact in [
            AnswerFact::FirstPiece(Duration::from_micros(10_000_900)),
            ended(StreamEnd::Completed, None, None),
            AnswerFact::FirstPiece(Duration::from_millis(11_000)),
            ended(StreamEnd::Interrupted, Some(EndCause::Idle), None),
            ended(StreamEnd::Failed, Some(EndCause::NotDelivered), Some(Duration::from_secs(3_600))),
            ended(StreamEnd::Cancelled, None, Some(Duration::from_secs(1))),
            ended(StreamEnd::Deleted, None, None),
        ] {
            counters.count(fact);
        }
        let counted: Vec<_> =
            counters.ends().filter(|(_, count)| *count > 0).map(|(words, _)| words).collect();
        let expected = [
            ["completed", "none"],
            ["cancelled", "none"],
            ["failed", "not_delivered"],
            ["interrupted", "idle"],
        ];
        assert_eq!(counted, [&expected[..], &[["deleted", "none"]]].concat());
        let above: Vec<u64> =
            counters.first_piece.read().filter(|(_, count)| *count > 0).map(|(_, count)| count).collect();
        assert_eq!((above, counters.first_piece.sum()), (vec![1, 1], 21_000));
        let totals = |part| counters.part(part).expect("of answers").totals();
        assert_eq!(totals(SloPart::Answer), PartTotals { good: 2, bad: 2, excluded: 1 });
        assert_eq!(totals(SloPart::Piece), PartTotals { good: 0, bad: 3, excluded: 1 });
        assert!(counters.part(SloPart::Returns).is_none());
        assert!(SloPart::ALL.into_iter().all(|part| counters.part(part).is_some() == part.is_of_answers()));
    }
}
