//! Orders to all instances: each is carried out by all, and ends the sessions that it means.

use super::super::Run;
use super::super::verdict::duration;
use super::operator::Given;
use crate::clock::{self, Micros, SECOND, seconds};
use crate::gateway::admin::Admin;
use crate::ledger::Ledger;
use crate::report::Report;
use std::collections::HashMap;

/// A session that an order means is closed within this time after the answer: an instance that was stopped or cut off, for at most
/// twelve seconds, obeys when it is back.
const CLOSED_WITHIN: Micros = 20 * SECOND;
/// Gateways keep orders for an hour.
const KEPT: Micros = 3_300 * SECOND;
const EXAMPLES: usize = 5;

/// Orders that not all instances are known to have carried out.
pub struct Unfinished {
    admin: Option<Admin>,
    left: Vec<u64>,
    given: usize,
    at_once: usize,
    failures: u32,
    reasons: Vec<String>,
}

/// Begins with all orders.
pub fn unfinished(run: &Run, given: &[Given]) -> Unfinished {
    let kept = clock::now().saturating_sub(KEPT);
    Unfinished {
        admin: run.places.first().map(|place| place.admin()),
        left: given.iter().filter(|order| order.answered >= kept).map(|order| order.number).collect(),
        given: given.len(),
        at_once: given.iter().filter(|order| order.was_complete).count(),
        failures: given.iter().map(|order| order.failures).sum(),
        reasons: Vec::new(),
    }
}

impl Unfinished {
    /// Asks an instance about the orders that are left: it must know that all that live have carried them out.
    pub fn look_again(&mut self) {
        self.reasons.clear();
        let (Some(admin), reasons) = (self.admin, &mut self.reasons) else { return };
        self.left.retain(|order| {
            let late = match admin.get(&format!("/orders/{order}")) {
                Ok(report) if report["complete"] == true => None,
                Ok(report) => Some(report.to_string()),
                Err(error) => Some(error),
            };
            let is_late = late.is_some();
            reasons.extend(late);
            is_late
        });
    }

    /// True if all were carried out.
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// Reports the orders that were not.
    pub fn judge(&self, report: &mut Report) {
        report.show("orders given / carried out by all within a second / attempts that failed", {
            format!("{} / {} / {}", self.given, self.at_once, self.failures)
        });
        let left = self.left.len();
        report.judge("orders that not all instances have carried out", left, 0, left == 0);
        if left > 0 {
            let shown: String =
                self.reasons.iter().take(EXAMPLES).map(|text| format!("\n    {text}")).collect();
            report.note(format!("Orders that were not carried out:{shown}"));
        }
    }
}

/// Judges how long the sessions that were open when an order was given outlived its answer.
pub fn judge(report: &mut Report, ledger: &Ledger, given: &[Given], devices: &dyn Fn(u32) -> Vec<u32>) {
    let outlived = outlived(ledger, given, devices, clock::now());
    let most = outlived.iter().map(|one| one.by).max().unwrap_or(0);
    report.show("sessions open when an order was given / the longest after its answer", {
        format!("{} / {}", outlived.len(), duration(most))
    });
    let late: Vec<&Outlived> = outlived.iter().filter(|one| one.by > CLOSED_WITHIN).collect();
    report.judge("sessions that outlived an order by more than 20 s", late.len(), 0, late.is_empty());
    if !late.is_empty() {
        let text = |one: &&Outlived| {
            format!("\n    connection {}, order {}: {:.1} s", one.link, one.order, seconds(one.by))
        };
        let shown: String = late.iter().take(EXAMPLES).map(text).collect();
        report.note(format!("Sessions that outlived an order:{shown}"));
    }
}

/// A session that was open when an order was given.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outlived {
    link: u32,
    order: u64,
    /// From the answer to the order until the session ended; 0 if it ended before.
    by: Micros,
}

fn outlived(
    ledger: &Ledger,
    given: &[Given],
    devices: &dyn Fn(u32) -> Vec<u32>,
    now: Micros,
) -> Vec<Outlived> {
    let ends: HashMap<u32, Micros> = ledger.closes.iter().map(|close| (close.link, close.at)).collect();
    let mut sessions: HashMap<u32, Vec<(u32, Micros)>> = HashMap::new();
    for session in &ledger.sessions {
        sessions.entry(session.client).or_default().push((session.link, session.at));
    }
    let mut all = Vec::new();
    for order in given {
        for (link, at) in devices(order.user).iter().filter_map(|client| sessions.get(client)).flatten() {
            let end = ends.get(link).copied().unwrap_or(now);
            if *at < order.asked && end > order.asked {
                all.push(Outlived {
                    link: *link,
                    order: order.number,
                    by: end.saturating_sub(order.answered),
                });
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Close, End, Session};

    #[test]
    fn session_of_before_an_order_must_end_and_later_ones_may_stay() {
        let mut ledger = Ledger::default();
        let sessions = [(10, 1, 5), (11, 1, 7), (12, 2, 5), (13, 1, 30)];
        ledger.sessions =
            sessions.map(|(link, client, at)| Session { link, client, at: at * SECOND }).to_vec();
        let end = End::Server { code: 4_410, bye: true };
        let close = |link, at| Close { at: at * SECOND, since: 0, link, client: 1, slot: 0, end };
        ledger.closes = vec![close(10, 6), close(11, 21)];
        let order = Given {
            number: 4,
            user: 1,
            is_final: false,
            asked: 19 * SECOND,
            answered: 20 * SECOND,
            was_complete: true,
            failures: 0,
        };
        let found = outlived(&ledger, std::slice::from_ref(&order), &|user| vec![user], 99 * SECOND);
        assert_eq!(found, [Outlived { link: 11, order: 4, by: SECOND }]);
        ledger.closes.pop();
        let found = outlived(&ledger, &[order], &|user| vec![user], 99 * SECOND);
        assert_eq!(found, [Outlived { link: 11, order: 4, by: 79 * SECOND }]);
    }
}
