//! Facts about answers, for the counters of operators.
//!
//! A fact is of a commit of this instance, so each is counted once, whichever instances have the answer open. The instance that stores
//! the first piece knows the time of the question: the begin is its own, or the store has the time of it. If neither is so, nothing is
//! counted.

use crate::clock::Moment;
use crate::wire::stream::{EndCause, StreamEnd};
use std::time::Duration;

/// A fact about an answer that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerFact {
    /// The first piece of it, this long after its question.
    FirstPiece(Duration),
    /// Its end. `unheard`: the time since its question, if it has ended without a piece and that is known.
    Ended { end: StreamEnd, cause: Option<EndCause>, unheard: Option<Duration> },
}

/// The question of an answer that has no piece yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenQuestion {
    /// It had this age then: it may be older than the clock of this process.
    known: Moment,
    age: Duration,
}

impl OpenQuestion {
    pub(super) fn new(known: Moment, age: Duration) -> OpenQuestion {
        OpenQuestion { known, age }
    }

    pub(super) fn age(self, now: Moment) -> Duration {
        self.age.saturating_add(now.since(self.known))
    }
}
