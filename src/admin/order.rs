//! Orders to all instances by operators, and their progress.

use super::order_path::{OrderQuestion, OrderWish};
use super::refusal::AdminRefusal;
use super::{Admin, refuse, tell};
use crate::clock::Now;
use crate::cluster::order::ClusterOrder;
use crate::cluster::order_body;
use crate::id::OrderId;
use crate::job::orders::OrderReport;
use crate::wire::api::problem::ApiProblem;
use crate::wire::json;
use crate::wire::request::Method;
use std::net::SocketAddr;

/// Orders that are listed.
const LISTED_MAX: usize = 50;

impl<C: Fn() -> Now + Send + Sync + 'static> Admin<C> {
    pub(super) fn order(&self, out: &mut Vec<u8>, method: Method, question: OrderQuestion, peer: SocketAddr) {
        match question {
            OrderQuestion::Give(wish) => self.give(out, method, wish, peer),
            OrderQuestion::Block(user) => {
                tell_json(out, method, |out| out.extend(self.orders.describe_block(&user)));
            }
            OrderQuestion::List => self.list_orders(out, method),
            OrderQuestion::Progress(id) => self.report_order(out, method, id),
        }
    }

    fn give(&self, out: &mut Vec<u8>, method: Method, wish: OrderWish, peer: SocketAddr) {
        match self.place(wish, peer) {
            Ok(report) => {
                self.metrics.admin.count_action("order");
                tell_json(out, method, |out| report.write(out));
            }
            Err(problem) => refuse(out, method, &AdminRefusal::of(&problem)),
        }
    }

    fn place(&self, wish: OrderWish, peer: SocketAddr) -> Result<OrderReport, ApiProblem> {
        let order = read(wish, (self.clock)().unix_ms)?;
        let (kind, arguments, by) = (order.kind().word(), order.args(), "operator");
        let report = self.orders.place(order, by).map_err(|fault| {
            tracing::warn!(target: "audit", kind, arguments, by, %peer, ?fault, "order failed");
            fault.problem()
        })?;
        let (order, closed, complete) = (report.order.id.0, report.closed(), report.is_complete());
        tracing::info!(target: "audit", order, kind, arguments, by, %peer, closed, complete, "order given");
        Ok(report)
    }

    fn report_order(&self, out: &mut Vec<u8>, method: Method, id: OrderId) {
        match self.orders.report(id) {
            Some(report) => tell_json(out, method, |out| report.write(out)),
            None => refuse(out, method, &AdminRefusal::unknown_order()),
        }
    }

    fn list_orders(&self, out: &mut Vec<u8>, method: Method) {
        let log = self.orders.log();
        let reports = log.newest().take(LISTED_MAX).filter_map(|order| self.orders.report(order.id));
        tell_json(out, method, |out| {
            json::object(out, |out| {
                json::key(out, "orders");
                out.push(b'[');
                for (at, report) in reports.enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    report.write(out);
                }
                out.push(b']');
            });
        });
    }
}

fn read(wish: OrderWish, now_unix_ms: u64) -> Result<ClusterOrder, ApiProblem> {
    match wish {
        OrderWish::Disconnect(user, body) => order_body::disconnect(user, &body),
        OrderWish::Block(user, body) => order_body::block(user, &body, now_unix_ms),
        OrderWish::Unblock(user) => Ok(ClusterOrder::Unblock(user)),
        OrderWish::Revoke(body) => order_body::revoke(&body, now_unix_ms),
        OrderWish::Erase(user, body) => order_body::erase(user, &body),
    }
}

fn tell_json(out: &mut Vec<u8>, method: Method, write: impl FnOnce(&mut Vec<u8>)) {
    let mut body = Vec::with_capacity(512);
    write(&mut body);
    if body.last() != Some(&b'\n') {
        body.push(b'\n');
    }
    tell(out, method, 200, "application/json", &String::from_utf8_lossy(&body));
}
