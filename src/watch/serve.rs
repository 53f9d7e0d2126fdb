//! Answers operators' questions and carries out their orders.

use super::thread::Watch;
use crate::clock::Now;
use crate::health::board::{Board, Changes, DependencyId, HealthEventKind};
use crate::health::capacity;
use crate::health::dependency::ForcedOrder;
use crate::health::report::Report;
use crate::health::report::dependencies::{ReportAudience, admission, all, one, outage, standing};
use crate::job::admin::{AdminAction, AdminAnswer, AdminQuestion, AdminRequest};
use std::net::SocketAddr;
use std::sync::Arc;

impl<C: Fn() -> Now + Send + 'static> Watch<C> {
    /// Carries out a request and replies with the resulting state.
    pub(super) fn serve(&mut self, request: AdminRequest, random: u64) {
        let AdminRequest { ask, who, reply } = request;
        let now = (self.clock)();
        let answer = match ask {
            AdminQuestion::Dependencies => {
                AdminAnswer::Report(all(&self.board, self.own.board(), now, ReportAudience::Admin))
            }
            AdminQuestion::Dependency(name) => self.report_on(&name, one(self.board_of(&name), &name, now)),
            AdminQuestion::Outage(reference) => outage([self.own.board(), &self.board], &reference, now)
                .map_or(AdminAnswer::UnknownOutage, AdminAnswer::Report),
            AdminQuestion::Admission => AdminAnswer::Report(admission(&self.board)),
            AdminQuestion::Act(action) => self.act(action, who, now, random),
        };
        // The asker may be gone.
        let _ = reply.send(answer);
    }

    fn board_of(&self, name: &str) -> &Board {
        if name == capacity::NAME { self.own.board() } else { &self.board }
    }

    fn report_on(&self, name: &str, report: Option<Report>) -> AdminAnswer {
        debug_assert_eq!(report.is_some(), self.board_of(name).id(name).is_some());
        report.map_or_else(
            || {
                let boards = [self.own.board(), &self.board];
                let all = boards.into_iter().flat_map(Board::dependencies);
                AdminAnswer::Unknown(all.map(|each| Arc::clone(&each.definition().name)).collect())
            },
            AdminAnswer::Report,
        )
    }

    fn act(&mut self, action: AdminAction, who: SocketAddr, now: Now, random: u64) -> AdminAnswer {
        match action {
            AdminAction::Admission(mode) => {
                tracing::warn!(%who, mode = mode.as_str(), from = self.board.mode().as_str(), "admission mode set by operator");
                let changes = self.board.set_mode(mode, now);
                self.counters.admission(mode);
                self.apply(changes);
                self.report();
                AdminAnswer::Report(admission(&self.board))
            }
            AdminAction::Probe(name) => {
                let board = if name == capacity::NAME { self.own.board_mut() } else { &mut self.board };
                if let Some(id) = board.id(&name) {
                    tracing::info!(%who, dependency = name, "probe requested by operator");
                    board.ask(id, now);
                }
                self.state_of(&name, now, 202)
            }
            AdminAction::Force(name, _, _) | AdminAction::Release(name) if name == capacity::NAME => {
                AdminAnswer::NotHeld
            }
            AdminAction::Force(name, to, period) => {
                if let Some(id) = self.board.id(&name) {
                    let minutes = period.as_secs() / 60;
                    tracing::warn!(%who, dependency = name, ?to, minutes, "dependency forced by operator");
                    self.order(id, Some(ForcedOrder { to, until: now.at + period }), now, random);
                }
                self.state_of(&name, now, 200)
            }
            AdminAction::Release(name) => {
                if let Some(id) = self.board.id(&name) {
                    tracing::warn!(%who, dependency = name, "dependency released by operator");
                    self.order(id, None, now, random);
                }
                self.state_of(&name, now, 200)
            }
        }
    }

    /// Orders or releases a state. The change was just logged with the operator's address, so its event is not logged again.
    fn order(&mut self, id: DependencyId, order: Option<ForcedOrder>, now: Now, random: u64) {
        let mut changes: Changes = self.board.order(id, order, now, random);
        changes
            .events
            .retain(|event| !matches!(event.what, HealthEventKind::Forced(_) | HealthEventKind::Released));
        self.apply(changes);
        self.show();
        self.report();
    }

    fn state_of(&self, name: &str, now: Now, status: u16) -> AdminAnswer {
        self.report_on(name, standing(self.board_of(name), name, now, status))
    }
}
