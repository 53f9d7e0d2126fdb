//! The report of a week as a notice.

use super::super::report_rows::StoredReport;
use super::AlertDesk;
use crate::alert::hold::SenderRole;
use crate::alert::incidents::NoticeDraft;
use crate::alert::key::{AlertKey, AlertKind, AlertSeverity};
use crate::alert::notice::{NoticeContent, NoticeEvent};
use crate::alert::routing::AlertMode;

impl AlertDesk {
    /// Keeps a report and, if this instance sends for its deployment, sends it to the channels of `info`. Both are written in one transaction, so a week has at most one.
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
        };
        tracing::info!(week = report.week, "weekly report made");
        self.writes.reports.push(report);
        if self.role == SenderRole::Sends && self.plan.routing.mode == AlertMode::Send {
            let channels = self.plan.routing.info.iter();
            let drafts = channels.map(|channel| NoticeDraft { channel: *channel, content: content.clone() });
            let drafts = drafts.collect();
            self.outbox.add(drafts, &mut self.writes);
        }
    }
}
