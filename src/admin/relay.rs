//! The relay for operators: its state, its dead letters, and orders to it.

use super::refusal::AdminRefusal;
use super::relay_path::RelayQuestion;
use super::{Admin, refuse, relay_try, tell};
use crate::clock::Now;
use crate::health::snapshot::Snapshot;
use crate::id::{ChannelName, Offset};
use crate::job::relay::{
    DeadLetter, RelayAnswer, RelayStatus, RelayWork, RouteStatus, Skipped, StuckChannel,
};
use crate::job::stream::{StreamJob, StreamOrder, StreamWork};
use crate::metrics::relay::{RelayMeters, RouteMeter};
use crate::relay::route::{RelayRoute, RouteTable};
use crate::wire::request::Method;
use crate::wire::stream::{EndCause, StreamId};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The wait for the store.
const STORE_TIMEOUT: Duration = Duration::from_secs(3);
/// Dead letters of one answer.
const DEAD_PAGE: u32 = 100;

impl<C: Fn() -> Now + Send + Sync + 'static> Admin<C> {
    pub(super) fn relay(&self, out: &mut Vec<u8>, method: Method, question: RelayQuestion, peer: SocketAddr) {
        let answer = match question {
            RelayQuestion::Status => self.relay_status(),
            RelayQuestion::Dead { route, after } => self.dead_letters(route.as_deref(), after),
            RelayQuestion::Skip { channel, to } => self.skip(channel, to, peer),
            RelayQuestion::Try(name) => self.try_route(&name, peer),
            RelayQuestion::Resume(name) => self.resume(&name, peer),
            RelayQuestion::Replay { route, channel, from, to } => {
                self.replay(&route, &channel, (from, to), peer)
            }
        };
        match answer {
            Ok(body) => tell(out, method, 200, "application/json", &format!("{body}\n")),
            Err(refusal) => refuse(out, method, &refusal),
        }
    }

    fn relay_status(&self) -> Result<Value, AdminRefusal> {
        let table = self.relay.routes.current();
        // Also without a route: the store may have what waits for one that was removed.
        let status = match self.relay.store.call(RelayWork::Status, STORE_TIMEOUT) {
            RelayAnswer::Status(status) => status,
            _ if table.is_empty() => RelayStatus { is_complete: true, ..RelayStatus::default() },
            _ => return Err(AdminRefusal::relay_store_silent()),
        };
        let (meters, snapshot) = (&self.metrics.relay, self.outlook.snapshot());
        Ok(status_body(&table, &status, meters, &snapshot, (self.clock)().unix_ms))
    }

    fn dead_letters(&self, route: Option<&str>, after: u64) -> Result<Value, AdminRefusal> {
        let route = route.map(|name| self.route(name)).transpose()?.map(|route| route.name);
        match self.relay.store.call(RelayWork::Dead { route, after, limit: DEAD_PAGE }, STORE_TIMEOUT) {
            RelayAnswer::Dead(letters) => {
                let next =
                    (letters.len() >= DEAD_PAGE as usize).then(|| letters.last().map(|last| last.number));
                Ok(json!({"dead": letters.iter().map(letter).collect::<Vec<_>>(), "next": next.flatten()}))
            }
            _ => Err(AdminRefusal::relay_store_silent()),
        }
    }

    fn skip(&self, channel: ChannelName, to: Offset, peer: SocketAddr) -> Result<Value, AdminRefusal> {
        let work = RelayWork::Skip { channel: channel.clone(), to };
        let RelayAnswer::Skip(skipped) = self.relay.store.call(work, STORE_TIMEOUT) else {
            return Err(AdminRefusal::relay_skip_silent());
        };
        let Skipped { cursor: Some(cursor), dead, answers } = skipped else {
            return Err(AdminRefusal::unknown_relayed_channel());
        };
        self.metrics.admin.count_action("relay");
        self.end_answers(&channel, &answers);
        let (cursor, answers) = (cursor.0, answers.len());
        tracing::warn!(target: "audit", %peer, %channel, cursor, dead, answers, "relay channel skipped");
        Ok(json!({"channel": channel.as_str(), "cursor": cursor, "dead": dead, "answers": answers}))
    }

    /// Ends the open answers to questions that were skipped. One that is not ended here, because the queue of the streams is full,
    /// ends by its deadline.
    fn end_answers(&self, channel: &ChannelName, answers: &[Offset]) {
        let producer = self.relay.producers.open();
        let table = self.relay.routes.current();
        let Some(route) = table.of(channel) else { return };
        for offset in answers {
            let work = StreamWork::Job(StreamJob {
                producer: producer.id(),
                ticket: None,
                id: StreamId { channel: channel.clone(), offset: *offset },
                user: route.user.clone(),
                order: StreamOrder::Fail { cause: EndCause::NotDelivered },
            });
            if producer.try_send(work).is_err() {
                return;
            }
        }
    }

    fn try_route(&self, name: &str, peer: SocketAddr) -> Result<Value, AdminRefusal> {
        let route = self.route(name)?;
        self.metrics.admin.count_action("relay");
        tracing::info!(target: "audit", %peer, route = name, "relay route tried");
        Ok(relay_try::send(&route, self.relay.source, &self.clock))
    }

    fn resume(&self, name: &str, peer: SocketAddr) -> Result<Value, AdminRefusal> {
        let route = self.route(name)?;
        let meter = self.metrics.relay.of(name);
        let was_paused = meter.is_some_and(|meter| meter.is_paused.swap(false, Ordering::Relaxed));
        self.metrics.admin.count_action("relay");
        tracing::info!(target: "audit", %peer, route = name, was_paused, "relay route resumed");
        Ok(json!({"route": &*route.name, "was_paused": was_paused}))
    }

    /// Adds the routes of a dependency to its report.
    pub(super) fn with_routes(&self, dependency: &str, report: String) -> String {
        let routes = routes_of(&self.relay.routes.current(), &self.metrics.relay, dependency);
        with_routes(report, routes.as_ref())
    }

    pub(super) fn route(&self, name: &str) -> Result<RelayRoute, AdminRefusal> {
        let table = self.relay.routes.current();
        table.named(name).cloned().ok_or_else(|| {
            let known: Vec<&str> = table.iter().map(|route| &*route.name).collect();
            AdminRefusal::unknown_route(&known)
        })
    }
}

/// The routes of a backend, if it has any, as the relay counted them at most ten seconds ago: the store need not answer now.
fn routes_of(table: &RouteTable, meters: &RelayMeters, dependency: &str) -> Option<Value> {
    let routes = table.iter().filter(|route| route.dependency.as_deref() == Some(dependency));
    let body = |route: &RelayRoute| {
        let meter = meters.of(&route.name)?;
        let read = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        let oldest_ms = Some(read(&meter.oldest_ms)).filter(|oldest_ms| *oldest_ms > 0);
        Some(json!({
            "route": &*route.name, "waiting": read(&meter.waiting), "oldest_ms": oldest_ms,
            "dead": read(&meter.dead_letters), "paused": meter.is_paused(),
        }))
    };
    let bodies: Vec<Value> = routes.filter_map(body).collect();
    (!bodies.is_empty()).then_some(Value::Array(bodies))
}

/// Adds routes to a report, which is a JSON object.
fn with_routes(mut report: String, routes: Option<&Value>) -> String {
    if let Some(routes) = routes
        && let Some(end) = report.rfind('}')
    {
        report.insert_str(end, &format!(",\"routes\":{routes}"));
    }
    report
}

fn status_body(
    table: &RouteTable,
    status: &RelayStatus,
    meters: &RelayMeters,
    snapshot: &Snapshot,
    now_ms: u64,
) -> Value {
    let route = |route: &RelayRoute| {
        let stored = status.routes.iter().find(|each| each.route == route.name);
        let mut body = route_body(route, stored, meters.of(&route.name).as_deref());
        let outage = route.dependency.as_ref().and_then(|name| snapshot.outage_of(name));
        body["outage"] = json!(outage.map(|outage| outage.reference().to_string()));
        body
    };
    let stuck = |each: &StuckChannel| {
        json!({"channel": each.channel.as_str(), "cursor": each.cursor.0, "head": each.head.0, "attempts": each.attempts,
               "oldest_ms": each.oldest_ms})
    };
    json!({
        "now_ms": now_ms,
        "routes": table.iter().map(route).collect::<Vec<_>>(),
        "unrouted": status.unrouted,
        "stuck": status.stuck.iter().map(stuck).collect::<Vec<_>>(),
        "complete": status.is_complete,
    })
}

/// A route: in the store for all instances, and its requests at this one.
fn route_body(route: &RelayRoute, stored: Option<&RouteStatus>, meter: Option<&RouteMeter>) -> Value {
    let requests = meter.map(|meter| meter.requests().collect::<BTreeMap<_, _>>()).unwrap_or_default();
    json!({
        "route": &*route.name,
        "dependency": route.dependency.as_deref(),
        "concurrency": route.concurrency,
        "waiting": stored.map_or(0, |each| each.waiting),
        "oldest_ms": stored.and_then(|each| each.oldest_ms),
        "attempts": stored.map_or(0, |each| each.attempts),
        "claims": stored.map_or(0, |each| each.claims),
        "dead": stored.map_or(0, |each| each.dead),
        "in_flight": meter.map_or(0, |meter| meter.inflight.load(Ordering::Relaxed)),
        "paused": meter.is_some_and(RouteMeter::is_paused),
        "requests": requests,
    })
}

fn letter(letter: &DeadLetter) -> Value {
    json!({
        "number": letter.number,
        "route": &*letter.route,
        "channel": letter.channel.as_str(),
        "offset": letter.offset.0,
        "through": letter.through.0,
        "cause": letter.cause.word(),
        "status": letter.status,
        "time_ms": letter.time_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::relay::DeadCause;
    use crate::metrics::relay::RequestOutcome;
    use crate::relay::route::tests::route;
    use std::sync::Arc;

    #[test]
    fn status_joins_what_the_store_and_the_relay_know() {
        let table = RouteTable::new(vec![route("assistant", "thread.*"), route("other", "room.*")]);
        let name: Arc<str> = "assistant".into();
        let stored = RouteStatus {
            route: Arc::clone(&name),
            waiting: 2,
            oldest_ms: Some(5_000),
            attempts: 7,
            claims: 1,
            dead: 3,
        };
        let channel = ChannelName::parse("thread.7").expect("a name");
        let stuck = StuckChannel {
            channel,
            cursor: Offset(57),
            head: Offset(59),
            attempts: 7,
            oldest_ms: Some(5_000),
        };
        let status = RelayStatus { routes: vec![stored], unrouted: 1, stuck: vec![stuck], is_complete: true };
        let meters = RelayMeters::default();
        meters.renew(table.iter().map(|route| &route.name));
        let meter = meters.of("assistant").expect("a route");
        meter.is_paused.store(true, Ordering::Relaxed);
        meter.inflight.store(4, Ordering::Relaxed);
        meter.count(RequestOutcome::Gone);
        let body = status_body(&table, &status, &meters, &Snapshot::ok(), 9_000);
        let first = &body["routes"][0];
        assert_eq!(
            (&first["waiting"], &first["dead"], &first["in_flight"]),
            (&json!(2), &json!(3), &json!(4))
        );
        assert_eq!((&first["paused"], &first["requests"]["gone"]), (&json!(true), &json!(1)));
        assert_eq!(first["outage"], Value::Null);
        let other = &body["routes"][1];
        assert_eq!(
            (&other["waiting"], &other["oldest_ms"], &other["paused"]),
            (&json!(0), &Value::Null, &json!(false))
        );
        assert_eq!((&body["unrouted"], &body["stuck"][0]["head"]), (&json!(1), &json!(59)));
    }

    #[test]
    fn dependency_shows_what_waits_for_its_routes() {
        let of =
            |name, dependency: &str| RelayRoute { dependency: Some(dependency.into()), ..route(name, "a*") };
        let table = RouteTable::new(vec![of("one", "agents"), of("two", "other"), of("three", "agents")]);
        let meters = RelayMeters::default();
        meters.renew(table.iter().map(|route| &route.name));
        let one = meters.of("one").expect("a route");
        one.waiting.store(4, Ordering::Relaxed);
        one.oldest_ms.store(5_000, Ordering::Relaxed);
        one.dead_letters.store(2, Ordering::Relaxed);
        let routes = routes_of(&table, &meters, "agents");
        let body =
            with_routes("{\"name\":\"agents\",\"probes\":[{\"ok\":true}]}\n".to_owned(), routes.as_ref());
        let body: Value = serde_json::from_str(&body).expect("JSON");
        let route = |name, waiting, oldest_ms: Option<u64>, dead| json!({"route": name, "waiting": waiting, "oldest_ms": oldest_ms, "dead": dead, "paused": false});
        assert_eq!(body["routes"], json!([route("one", 4, Some(5_000), 2), route("three", 0, None, 0)]));
        assert_eq!((&body["name"], &body["probes"][0]["ok"]), (&json!("agents"), &json!(true)));
        assert_eq!(routes_of(&table, &meters, "store"), None);
        assert_eq!(with_routes("{}".to_owned(), None), "{}");
    }

    #[test]
    fn dead_letter_has_its_cause_and_status() {
        let dead = DeadLetter {
            number: 9,
            channel: ChannelName::parse("thread.7").expect("a name"),
            offset: Offset(58),
            through: Offset(58),
            route: "assistant".into(),
            cause: DeadCause::Refused,
            status: Some(422),
            time_ms: 5,
        };
        let body = letter(&dead);
        assert_eq!(
            (&body["cause"], &body["status"], &body["offset"]),
            (&json!("refused"), &json!(422), &json!(58))
        );
    }
}
