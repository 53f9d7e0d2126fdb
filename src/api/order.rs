//! Orders to all instances: disconnect, block, unblock, revoke and erase, and their progress.

use super::route::{ApiEndpoint, Named, Routed};
use super::server::ApiServer;
use crate::auth::api_key::ApiKey;
use crate::auth::api_meters::ApiUse;
use crate::clock::Now;
use crate::cluster::order::ClusterOrder;
use crate::cluster::order_body;
use crate::job::orders::OrderReport;
use crate::wire::api::problem::{ApiProblem, ProblemCode};
use std::net::IpAddr;

impl<C: Fn() -> Now> ApiServer<C> {
    /// Carries a request about orders out; returns the body of the answer.
    pub(super) fn order(
        &self,
        routed: &Routed,
        key: &ApiKey,
        text: &str,
        address: IpAddr,
    ) -> Result<Vec<u8>, ApiProblem> {
        let now_unix_ms = (self.clock)().unix_ms;
        let order = match (routed.endpoint, &routed.named) {
            (ApiEndpoint::Order, Named::Order(id)) => {
                let report = self.orders.report(*id).ok_or_else(|| {
                    let detail =
                        "this instance knows no such order: it keeps the newest 1024, and learns of others' within 2.4 s";
                    ApiProblem::lasting(ProblemCode::NotFound, detail)
                })?;
                return Ok(body(&report));
            }
            (ApiEndpoint::ShowBlock, Named::User(user)) => return Ok(self.orders.describe_block(user)),
            (ApiEndpoint::Disconnect, Named::User(user)) => order_body::disconnect(user.clone(), text)?,
            (ApiEndpoint::Block, Named::User(user)) => order_body::block(user.clone(), text, now_unix_ms)?,
            (ApiEndpoint::Unblock, Named::User(user)) => ClusterOrder::Unblock(user.clone()),
            (ApiEndpoint::Erase, Named::User(user)) => order_body::erase(user.clone(), text)?,
            _ => order_body::revoke(text, now_unix_ms)?,
        };
        self.queues()?;
        self.check_store("nothing was done")?;
        self.admit(key, ApiUse::Order)?;
        let by = format!("api:{}", key.name());
        let (kind, arguments) = (order.kind().word(), order.args());
        let report = self.orders.place(order, &by).map_err(|fault| {
            tracing::warn!(target: "audit", kind, arguments, by, %address, ?fault, "order failed");
            fault.problem()
        })?;
        let (order, closed, complete) = (report.order.id.0, report.closed(), report.is_complete());
        tracing::info!(target: "audit", order, kind, arguments, by, %address, closed, complete, "order given");
        Ok(body(&report))
    }
}

fn body(report: &OrderReport) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    report.write(&mut out);
    out.push(b'\n');
    out
}
