//! Incidents for operators, and their orders about them.

use super::alert_path::AlertQuestion;
use super::refusal::AdminRefusal;
use super::{Admin, refuse, tell};
use crate::clock::Now;
use crate::job::alerts::{AlertOrder, AlertOrderAnswer};
use crate::wire::request::Method;
use std::net::SocketAddr;

impl<C: Fn() -> Now + Send + Sync + 'static> Admin<C> {
    pub(super) fn alerts(
        &self,
        out: &mut Vec<u8>,
        method: Method,
        question: AlertQuestion,
        peer: SocketAddr,
    ) {
        let report = self.metrics.alerts.report();
        if report.judged == 0 {
            return refuse(out, method, &AdminRefusal::objectives_off());
        }
        let text = match question {
            AlertQuestion::All => report.json(),
            AlertQuestion::Silences => report.silences_json(),
            AlertQuestion::One(number) => match report.json_of(number) {
                Some(text) => text,
                None => return refuse(out, method, &AdminRefusal::unknown_incident(number)),
            },
            AlertQuestion::Order(order) => return self.order_alerts(out, method, order, peer),
        };
        tell(out, method, 200, "application/json", &text);
    }

    fn order_alerts(&self, out: &mut Vec<u8>, method: Method, order: AlertOrder, peer: SocketAddr) {
        match self.alert_requests.order(order, peer.ip().to_string()) {
            Some(AlertOrderAnswer::Done(number)) => {
                self.metrics.admin.count_action("alert");
                tell(out, method, 202, "application/json", &format!("{{\"number\":{number}}}\n"));
            }
            Some(AlertOrderAnswer::Unknown(why)) => {
                refuse(out, method, &AdminRefusal::new(404, "not_found", why))
            }
            Some(AlertOrderAnswer::Refused(why)) => {
                refuse(out, method, &AdminRefusal::new(409, "too_many", why))
            }
            None => refuse(out, method, &AdminRefusal::alerts_silent()),
        }
    }
}
