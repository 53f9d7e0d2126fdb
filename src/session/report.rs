//! `report`: errors of the client's application, on their way to the thread that groups them.
//!
//! Reports have rates of their own, over which the reply says when the next one is read. That is no error, so that reporting errors makes
//! none.

use super::context::Context;
use super::effect::{Effect, ReportEffect};
use super::member::{Member, whole_ms};
use super::{Session, SessionStage};
use crate::client_error::{ReportOutcome, Reporter};
use crate::id::CommandId;
use crate::wire::command::{ClientReport, ReportedError};
use crate::wire::reported::{ReportReply, reported};
use std::time::Duration;

/// The next report, if reports are off.
const OFF: Duration = Duration::from_secs(3_600);
/// The next report, if the thread had no room for one or did not answer.
const NO_ROOM: Duration = Duration::from_secs(10);

impl Member {
    pub(super) fn report(&mut self, id: CommandId, report: ClientReport<'_>, cx: &mut Context<'_>) {
        let count = u16::try_from(report.errors.len()).unwrap_or(u16::MAX);
        if !cx.policy.reports {
            return reply(id, 0, count, OFF, cx);
        }
        if let Err(wait) = self.meters.admit_report(cx.now.at) {
            return reply(id, 0, 0, wait, cx);
        }
        if !self.reserve(id, cx) {
            return;
        }
        let reporter = match self.user.is_anonymous() {
            false => Reporter::user(self.user.as_str()),
            true => Reporter::anonymous(cx.connection, cx.address.address),
        };
        let effect = ReportEffect {
            id,
            reporter,
            client: self.client,
            errors: report.errors.into_iter().map(ReportedError::into_owned).collect(),
            dropped: report.dropped,
            asked: cx.asked,
        };
        cx.effects.push(Effect::Report(Box::new(effect)));
    }
}

impl Session {
    /// Takes the answer to a report; `None` if there was none, or no room for the report.
    pub fn report_taken(&mut self, id: CommandId, outcome: Option<ReportOutcome>, cx: &mut Context<'_>) {
        let SessionStage::Open(member) = &mut self.stage else { return };
        member.pending = member.pending.saturating_sub(1);
        let ReportOutcome { accepted, dropped, wait } =
            outcome.unwrap_or(ReportOutcome { wait: Some(NO_ROOM), ..ReportOutcome::default() });
        let next = member.meters.next_report(cx.now.at).max(wait.unwrap_or_default());
        reply(id, accepted, dropped, next, cx);
    }
}

fn reply(id: CommandId, accepted: u16, dropped: u16, next: Duration, cx: &mut Context<'_>) {
    reported(cx.out, id, ReportReply { accepted, dropped, next_ms: whole_ms(next) });
}
