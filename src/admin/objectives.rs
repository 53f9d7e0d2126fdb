//! Objectives for operators.

use super::refusal::AdminRefusal;
use super::slo_path::ObjectivesQuestion;
use super::{Admin, refuse, tell};
use crate::clock::Now;
use crate::job::slo::{SloProblem, SloQuestion};
use crate::slo::weekly_text::ReportFormat;
use crate::wire::request::Method;
use std::net::SocketAddr;

impl<C: Fn() -> Now + Send + Sync + 'static> Admin<C> {
    pub(super) fn objectives(
        &self,
        out: &mut Vec<u8>,
        method: Method,
        question: ObjectivesQuestion,
        peer: SocketAddr,
    ) {
        let report = self.metrics.slo.report();
        if report.judged == 0 {
            return refuse(out, method, &AdminRefusal::objectives_off());
        }
        let text = match question {
            ObjectivesQuestion::All => Some(report.json()),
            ObjectivesQuestion::One(name) => report.json_of(&name),
            ObjectivesQuestion::Rows(question) => return self.ask_rows(out, method, question),
            ObjectivesQuestion::Exclude(wish) => {
                let order = SloQuestion::Exclude(wish, peer.ip().to_string());
                return self.ask_rows(out, method, order);
            }
            ObjectivesQuestion::EndExclusion(number) => {
                let order = SloQuestion::EndExclusion(number, peer.ip().to_string());
                return self.ask_rows(out, method, order);
            }
        };
        match text {
            Some(text) => tell(out, method, 200, "application/json", &text),
            None => refuse(out, method, &AdminRefusal::unknown_objective(&report.names())),
        }
    }

    fn ask_rows(&self, out: &mut Vec<u8>, method: Method, question: SloQuestion) {
        let form = match question {
            SloQuestion::Report { format: ReportFormat::Text, .. } => "text/plain; charset=utf-8",
            SloQuestion::Report { format: ReportFormat::Markdown, .. } => "text/markdown; charset=utf-8",
            SloQuestion::Report { format: ReportFormat::Json, .. }
            | SloQuestion::History { .. }
            | SloQuestion::Exclusions
            | SloQuestion::Exclude(..)
            | SloQuestion::EndExclusion(..) => "application/json",
        };
        let is_order = matches!(question, SloQuestion::Exclude(..) | SloQuestion::EndExclusion(..));
        match self.slo_requests.ask(question) {
            Some(Ok(body)) => {
                if is_order {
                    self.metrics.admin.count_action("exclusion");
                }
                tell(out, method, 200, form, &body);
            }
            Some(Err(SloProblem::Refused(why))) => {
                refuse(out, method, &AdminRefusal::new(400, "malformed", why))
            }
            Some(Err(SloProblem::Unknown(why))) => {
                refuse(out, method, &AdminRefusal::new(404, "not_found", why))
            }
            Some(Err(SloProblem::Unreadable(why))) => {
                refuse(out, method, &AdminRefusal::new(503, "unavailable", why))
            }
            None if is_order => refuse(out, method, &AdminRefusal::exclusions_silent()),
            None => refuse(out, method, &AdminRefusal::objectives_silent()),
        }
    }
}
