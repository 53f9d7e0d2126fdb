//! The report of a week as a notice.

use super::super::report_rows::StoredReport;
use super::AlertDesk;
use crate::alert::hold::SenderRole;
use crate::alert::key::{AlertKey, AlertKind, AlertSeverity};
use crate::alert::notice::{NoticeContent, NoticeDraft, NoticeEvent};
use crate::alert::routing::AlertMode;

/// The report of a week, for an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::objectives) enum ReportDuty {
    Due,
    /// Another instance sent it.
    Done,
    /// Another instance leads, or none does.
    OfAnother,
}

impl AlertDesk {
    /// True if this instance is to report a week that began at this time, unless it has. Its own reports are in its `slo.db`, those of another
    /// leader among the notices of all, which are read before this one sends.
    pub(in crate::objectives) fn reports(&self, from_ms: u64) -> ReportDuty {
        match self.leadership.role {
            SenderRole::Follows => ReportDuty::OfAnother,
            SenderRole::Sends if from_ms <= self.leadership.reported_ms => ReportDuty::Done,
            SenderRole::Sends => ReportDuty::Due,
        }
    }

    /// True exactly if this instance sends for all.
    pub(in crate::objectives) fn sends(&self) -> bool {
        self.leadership.role == SenderRole::Sends
    }

    /// Keeps a report and sends it to the channels of `info`. Both are written in one transaction, so a week has at most one.
    pub(in crate::objectives) fn send_report(&mut self, report: StoredReport, title: String, now_ms: u64) {
        let content = NoticeContent {
            event: NoticeEvent::Reported,
            incident: 0,
            key: AlertKey::new(AlertKind::Report, ""),
            severity: AlertSeverity::Info,
            step: 1,
            title,
            text: report.text.clone(),
            since_ms: report.from_ms,
            at_ms: now_ms,
            reference: None,
            all_clear: None,
            is_perhaps_repeated: false,
        };
        tracing::info!(week = report.week, "weekly report made");
        self.writes.reports.push(report);
        if self.plan.routing.mode == AlertMode::Send {
            let channels = self.plan.routing.info.iter();
            let drafts = channels.map(|channel| NoticeDraft { channel: *channel, content: content.clone() });
            let drafts = drafts.collect();
            self.outbox.add(drafts, &mut self.writes);
        }
    }
}
