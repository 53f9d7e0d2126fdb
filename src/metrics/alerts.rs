//! Incidents and notices: the newest report, and counters of notices.

use crate::alert::channel::AlertChannel;
use crate::alert::order::NoticeFate;
use crate::alert::report::AlertReport;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The outcomes that are counted. Repeated ones count as sent as well.
pub const NOTICE_OUTCOMES: [&str; 4] = ["sent", "repeated", "merged", "dead"];

/// The history of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeHistory {
    New,
    /// It may have arrived before this process started.
    Doubtful,
}

/// The newest report, which one thread writes and any thread reads, and counters.
#[derive(Debug, Default)]
pub struct AlertBoard {
    report: ArcSwap<AlertReport>,
    notices: [[AtomicU64; NOTICE_OUTCOMES.len()]; AlertChannel::ALL.len()],
}

impl AlertBoard {
    pub fn publish(&self, report: AlertReport) {
        self.report.store(Arc::new(report));
    }

    pub fn report(&self) -> Arc<AlertReport> {
        self.report.load_full()
    }

    /// Counts what became of a notice. One that waits is not counted.
    pub fn count(&self, channel: AlertChannel, fate: NoticeFate, history: NoticeHistory) {
        let outcomes = match (fate, history) {
            (NoticeFate::Sent, NoticeHistory::Doubtful) => &[0, 1][..],
            (NoticeFate::Sent, NoticeHistory::New) => &[0],
            (NoticeFate::Merged, _) => &[2],
            (NoticeFate::Dead, _) => &[3],
            (NoticeFate::Waits, _) => &[],
        };
        let cells = self.notices.get(channel.index()).into_iter().flatten().enumerate();
        for (_, cell) in cells.filter(|(outcome, _)| outcomes.contains(outcome)) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notices by channel and outcome.
    pub fn notices(&self) -> Vec<([(&'static str, &'static str); 2], u64)> {
        let of_channel = |channel: AlertChannel| {
            let cells = self.notices.get(channel.index()).into_iter().flatten();
            cells.zip(NOTICE_OUTCOMES).map(move |(cell, outcome)| {
                let labels = [("channel", channel.as_str()), ("outcome", outcome)];
                (labels, cell.load(Ordering::Relaxed))
            })
        };
        AlertChannel::ALL.into_iter().flat_map(of_channel).collect()
    }
}
