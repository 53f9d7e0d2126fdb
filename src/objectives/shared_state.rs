//! The state of the thread `slo` about the store that instances share: a question that waits, and the source of its exclusions.

use crate::job::shared_questions::StoreQuestion;
use crate::job::slo::SloRequest;
use crate::slo::calendar::IsoWeek;
use crossbeam_channel::Receiver;
use std::time::Instant;

/// The reason of a question.
#[derive(Debug)]
pub(super) enum StoreAsker {
    Operator(SloRequest),
    /// The report of a week is due.
    Report(IsoWeek),
    /// The weeks until this one can be kept.
    Weeks(IsoWeek),
}

/// A question that waits.
#[derive(Debug)]
pub(super) struct WaitingQuestion {
    pub(super) asker: StoreAsker,
    pub(super) question: StoreQuestion,
    /// Has a value when the wait is over.
    pub(super) late: Receiver<Instant>,
}

/// The rows that the exclusions are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExclusionSource {
    File,
    /// Those of all instances.
    Store,
}
