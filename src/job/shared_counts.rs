//! The counts of objectives on their way between the thread `slo` and the store that all instances share.

use super::shared_alerts::{AlertsEnds, SharedAlerts, shared_alerts};
use super::shared_questions::{ExclusionRow, StoreQuestionEnds, StoreQuestions, store_questions};
use crate::slo::minute_row::MinuteRow;
use crate::slo::run_counts::AllCounts;
use crate::slo::scoreboard::Measured;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::Arc;
use std::time::Duration;

/// Rows that one call writes.
pub const ROWS_WRITTEN: usize = 500;
/// Rows that one call reads. If there are as many, more may follow.
pub const ROWS_READ: usize = 4_000;

/// A row: the counts of one run in one minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountsRow {
    pub run: i64,
    /// Minutes since 1970, by the clock of the store.
    pub minute: u64,
    pub counts: MinuteRow,
}

/// The place of a row among all, in the order of their changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowPlace {
    /// The time of its last change, in microseconds of the store's clock.
    pub changed_us: u64,
    pub minute: u64,
    pub run: i64,
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedRunEnd {
    /// It does not.
    Runs,
    Clean,
}

impl SharedRunEnd {
    pub const fn as_str(self) -> &'static str {
        match self {
            SharedRunEnd::Runs => "",
            SharedRunEnd::Clean => "clean",
        }
    }
}

/// Which closed quarters and times of runs a call handles as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuarterWork {
    None,
    /// Writes the quarters that are closed, deletes old rows, and reads how much of the last days was measured.
    Turn {
        closed: Vec<(u64, AllCounts)>,
        days: u32,
    },
    /// Reads the closed quarters of these days, and how much of them was measured.
    Read {
        days: u32,
    },
}

/// One call: writes the rows of this instance, and reads changed ones.
#[derive(Clone, Debug)]
pub struct CountsCall {
    pub run: i64,
    pub instance: Arc<str>,
    pub sessions: u64,
    pub end: SharedRunEnd,
    /// Earlier runs that were killed.
    pub killed: Vec<i64>,
    /// At most [`ROWS_WRITTEN`].
    pub rows: Vec<CountsRow>,
    /// Reads rows that changed after this one.
    pub after: RowPlace,
    pub quarters: QuarterWork,
    /// Exclusions that only this instance has: an earlier release kept them for itself.
    pub exclusions: Vec<ExclusionRow>,
}

/// A run as its row shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedRun {
    pub run: i64,
    pub instance: Arc<str>,
    /// It ended, and its instance has said so.
    pub is_over: bool,
    /// The time since its row was written, in milliseconds.
    pub age_ms: u64,
}

/// The result of a call.
#[derive(Clone, Debug, Default)]
pub struct CountsAnswer {
    /// The time of the store while it wrote.
    pub store_ms: u64,
    /// In the order of their changes.
    pub rows: Vec<(RowPlace, MinuteRow)>,
    /// The runs of the last minutes.
    pub runs: Vec<SharedRun>,
    pub quarters: Vec<(u64, AllCounts)>,
    pub measured: Option<Measured>,
    /// The exclusions of all instances: numbers, and bodies as JSON.
    pub exclusions: Vec<(u64, String)>,
}

/// The end of the thread `slo`. It has at most one call in progress.
#[derive(Debug)]
pub struct SharedCounts {
    calls: Sender<CountsCall>,
    /// `None` in the queue: the store could not be reached. Nothing is known of what was written.
    pub answers: Receiver<Option<CountsAnswer>>,
    /// For rows that are not kept in memory.
    pub questions: StoreQuestions,
}

/// The ways of the thread `slo` to the counts and the alerts that instances share.
pub type SharedWays = (SharedCounts, SharedAlerts);

/// The end of the store.
#[derive(Debug)]
pub struct CountsEnds {
    pub calls: Receiver<CountsCall>,
    pub answers: Sender<Option<CountsAnswer>>,
    /// The same thread carries out the calls about alerts, and answers questions.
    pub alerts: AlertsEnds,
    pub questions: StoreQuestionEnds,
}

/// Makes both ends, with those of alerts.
pub fn shared_counts() -> (SharedCounts, SharedAlerts, CountsEnds) {
    let (calls, call_jobs) = bounded(1);
    let (answers_in, answers) = bounded(1);
    let (shared_alerts, alerts) = shared_alerts();
    let (questions, question_ends) = store_questions();
    let ends = CountsEnds { calls: call_jobs, answers: answers_in, alerts, questions: question_ends };
    (SharedCounts { calls, answers, questions }, shared_alerts, ends)
}

impl SharedCounts {
    /// False: the store's thread is busy, or has ended.
    pub fn call(&self, call: CountsCall) -> bool {
        self.calls.try_send(call).is_ok()
    }

    /// The answer, if it comes within this time.
    pub fn wait(&self, longest: Duration) -> Option<CountsAnswer> {
        self.answers.recv_timeout(longest).ok().flatten()
    }
}
