//! Parts of the state of the thread `slo` that belong together.

use super::doubtful_orders::DoubtfulOrders;
use super::shared_state::WaitingQuestion;
use crate::clock::Moment;
use crate::job::slo::SloRequest;
use crate::slo::SloPart;
use crate::slo::calendar::IsoWeek;
use crate::slo::part::PartTotals;
use crossbeam_channel::Receiver;
use std::path::PathBuf;

/// The end of the last slot.
#[derive(Debug)]
pub(super) struct LastSlot {
    /// The counts then.
    pub(super) before: [PartTotals; SloPart::ALL.len()],
    pub(super) ended: Moment,
    /// The end of the last slot with an event of each part; the start without one.
    pub(super) counted: [Moment; SloPart::ALL.len()],
}

/// The times at which the sums of the periods were last read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SumTimes {
    /// The quarter of an hour in which those of this instance were.
    pub(super) own: u64,
    /// The minute in which those of all instances were.
    pub(super) shared: u64,
}

/// `slo.db`.
#[derive(Debug)]
pub(super) struct ScoreFile {
    pub(super) folder: PathBuf,
    /// The last try to open it.
    pub(super) tried: Moment,
}

/// Weeks that the shared store keeps, and the one that was reported.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WeekDuties {
    /// The last one that it keeps.
    pub(super) closed: Option<IsoWeek>,
    /// The quarter of an hour of the last try to keep one.
    pub(super) tried: u64,
    /// The last week that was reported, or that needs no report.
    pub(super) reported: Option<IsoWeek>,
}

/// Questions of operators.
#[derive(Debug)]
pub(super) struct OpenQuestions {
    pub(super) queue: Receiver<SloRequest>,
    /// The question that waits for the store.
    pub(super) waiting: Option<WaitingQuestion>,
    /// Orders that the store may have carried out without an answer.
    pub(super) doubts: DoubtfulOrders,
}
