//! Routing: a method, a path and a body become a task, or a refusal that says what to send instead.

use super::alert_path::{AlertPath, AlertQuestion};
use super::bodies::{force, mode, rebalance};
use super::client_error_path::{ErrorPath, ErrorQuestion};
use super::flag_path::{FlagPath, FlagQuestion};
use super::names;
use super::order_path::{OrderPath, OrderQuestion};
use super::refusal::AdminRefusal;
use super::relay_path::{RelayPath, RelayQuestion};
use super::slo_path::{ObjectivesQuestion, SloPath};
use crate::cluster::rebalance_body::RebalanceWish;
use crate::id::UserName;
use crate::job::admin::{AdminAction, AdminQuestion};
use crate::job::lookup::Wanted;
use crate::roster::PageWish;
use crate::wire::request::Method;

/// The task that a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminTask {
    /// A view that any thread can render.
    Show(AdminView),
    /// A question or an order for the watch thread.
    Ask(AdminQuestion),
    /// The instances of the cluster.
    Cluster,
    /// To spread connections evenly over the instances, or to say what that would move.
    Rebalance(RebalanceWish),
    /// Sessions, by their connection or user.
    LookUp(Wanted),
    /// Where a user is connected, over all instances.
    User(UserName),
    /// A page of the roster of a channel.
    Presence(PageWish),
    /// Orders about users.
    Orders(OrderQuestion),
    /// The progress of a drain.
    Progress,
    /// To begin a drain; answered with its progress.
    Drain,
    /// The objectives, or one of them.
    Objectives(ObjectivesQuestion),
    /// Incidents, or an order about them.
    Alerts(AlertQuestion),
    /// The flags, or a switch of one.
    Flags(FlagQuestion),
    /// Errors of clients, or an order about a group.
    ClientErrors(ErrorQuestion),
    /// The relay, or an order to it.
    Relay(RelayQuestion),
    /// The effective configuration.
    Settings,
}

/// A view that any thread can render.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminView {
    Live,
    Ready,
    Summary,
    Metrics,
}

/// The paths; each accepts certain methods.
enum AdminPath<'a> {
    Shown(AdminView),
    Dependencies,
    Dependency(&'a str),
    Probe(&'a str),
    Force(&'a str),
    Admission,
    Settings,
    Cluster,
    Rebalance,
    Drain,
    Connection(&'a str),
    /// The outage with a reference.
    Reference(&'a str),
    /// The sessions of a user at this instance.
    Sessions(&'a str),
    /// The connections of a user at all instances.
    User(&'a str),
    /// The roster of a channel, after a user.
    Presence(&'a str, Option<&'a str>),
    Orders(OrderPath<'a>),
    Objectives(SloPath<'a>),
    Alerts(AlertPath<'a>),
    Flags(FlagPath<'a>),
    ClientErrors(ErrorPath<'a>),
    Relay(RelayPath<'a>),
}

/// Reads a request; `path` with its query.
pub fn wish(method: Method, path: &str, body: &[u8]) -> Result<AdminTask, AdminRefusal> {
    // The path of an unknown method was not parsed.
    if method == Method::Unknown {
        return Err(AdminRefusal::method("GET, HEAD, POST, PUT, DELETE"));
    }
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let path = AdminPath::of(path).ok_or_else(AdminRefusal::unknown_path)?;
    let act = |action| Ok(AdminTask::Ask(AdminQuestion::Act(action)));
    match (path, method) {
        (AdminPath::Shown(shown), Method::Get | Method::Head) => Ok(AdminTask::Show(shown)),
        (AdminPath::Dependencies, Method::Get | Method::Head) => {
            Ok(AdminTask::Ask(AdminQuestion::Dependencies))
        }
        (AdminPath::Dependency(name), Method::Get | Method::Head) => {
            Ok(AdminTask::Ask(AdminQuestion::Dependency(name.to_owned())))
        }
        (AdminPath::Probe(name), Method::Post) => act(AdminAction::Probe(name.to_owned())),
        (AdminPath::Force(name), Method::Post) => {
            let (to, period) = force(body)?;
            act(AdminAction::Force(name.to_owned(), to, period))
        }
        (AdminPath::Force(name), Method::Delete) => act(AdminAction::Release(name.to_owned())),
        (AdminPath::Admission, Method::Get | Method::Head) => Ok(AdminTask::Ask(AdminQuestion::Admission)),
        (AdminPath::Admission, Method::Put) => act(AdminAction::Admission(mode(body)?)),
        (AdminPath::Settings, Method::Get | Method::Head) => Ok(AdminTask::Settings),
        (AdminPath::Cluster, Method::Get | Method::Head) => Ok(AdminTask::Cluster),
        (AdminPath::Rebalance, Method::Post) => rebalance(body).map(AdminTask::Rebalance),
        (AdminPath::Drain, Method::Get | Method::Head) => Ok(AdminTask::Progress),
        (AdminPath::Drain, Method::Post) => Ok(AdminTask::Drain),
        (AdminPath::Connection(name), Method::Get | Method::Head) => {
            names::connection(name).map(AdminTask::LookUp)
        }
        (AdminPath::Reference(name), Method::Get | Method::Head) => {
            Ok(AdminTask::Ask(AdminQuestion::Outage(name.to_owned())))
        }
        (AdminPath::Sessions(name), Method::Get | Method::Head) => {
            names::sessions_of(name).map(AdminTask::LookUp)
        }
        (AdminPath::User(name), Method::Get | Method::Head) => names::user(name).map(AdminTask::User),
        (AdminPath::Presence(channel, after), Method::Get | Method::Head) => {
            names::page(channel, after).map(AdminTask::Presence)
        }
        (AdminPath::Objectives(path), method) => {
            path.question(method, query, body).map(AdminTask::Objectives)
        }
        (AdminPath::Flags(path), method) => path.question(method, body).map(AdminTask::Flags),
        (AdminPath::ClientErrors(path), method) => path.question(method, body).map(AdminTask::ClientErrors),
        (AdminPath::Relay(path), method) => path.question(method, query, body).map(AdminTask::Relay),
        (AdminPath::Alerts(path), method) => path.question(method, body).map(AdminTask::Alerts),
        (AdminPath::Orders(path), method) => path.question(method, body).map(AdminTask::Orders),
        (
            AdminPath::Shown(_)
            | AdminPath::Dependencies
            | AdminPath::Dependency(_)
            | AdminPath::Cluster
            | AdminPath::Settings
            | AdminPath::Connection(_)
            | AdminPath::Reference(_)
            | AdminPath::Sessions(_)
            | AdminPath::User(_)
            | AdminPath::Presence(..),
            _,
        ) => Err(AdminRefusal::method("GET, HEAD")),
        (AdminPath::Probe(_) | AdminPath::Rebalance, _) => Err(AdminRefusal::method("POST")),
        (AdminPath::Force(_), _) => Err(AdminRefusal::method("POST, DELETE")),
        (AdminPath::Drain, _) => Err(AdminRefusal::method("GET, HEAD, POST")),
        (AdminPath::Admission, _) => Err(AdminRefusal::method("GET, HEAD, PUT")),
    }
}

impl AdminPath<'_> {
    fn of(path: &str) -> Option<AdminPath<'_>> {
        Some(match path {
            "/health" => AdminPath::Shown(AdminView::Summary),
            "/health/live" | "/livez" => AdminPath::Shown(AdminView::Live),
            "/health/ready" | "/readyz" => AdminPath::Shown(AdminView::Ready),
            "/metrics" => AdminPath::Shown(AdminView::Metrics),
            "/health/dependencies" => AdminPath::Dependencies,
            "/health/admission" => AdminPath::Admission,
            "/settings" => AdminPath::Settings,
            "/cluster" => AdminPath::Cluster,
            "/cluster/rebalance" => AdminPath::Rebalance,
            "/drain" => AdminPath::Drain,
            _ => return AdminPath::with_name(path),
        })
    }

    /// The paths with a name. It may be missing: the refusal then says what it must be.
    fn with_name(path: &str) -> Option<AdminPath<'_>> {
        if let Some(name) = path.strip_prefix("/lookup/connection/") {
            return Some(AdminPath::Connection(name));
        }
        if let Some(name) = path.strip_prefix("/lookup/user/") {
            return Some(AdminPath::Sessions(name));
        }
        if let Some(name) = path.strip_prefix("/lookup/reference/") {
            return Some(AdminPath::Reference(name));
        }
        if let Some(path) = SloPath::of(path) {
            return Some(AdminPath::Objectives(path));
        }
        if let Some(path) = FlagPath::of(path) {
            return Some(AdminPath::Flags(path));
        }
        if let Some(path) = ErrorPath::of(path) {
            return Some(AdminPath::ClientErrors(path));
        }
        if let Some(path) = RelayPath::of(path) {
            return Some(AdminPath::Relay(path));
        }
        if let Some((channel, rest)) = path.strip_prefix("/channels/").and_then(|rest| rest.split_once('/')) {
            let after = rest.strip_prefix("presence/");
            return (rest == "presence" || after.is_some()).then_some(AdminPath::Presence(channel, after));
        }
        if let Some(path) = AlertPath::of(path) {
            return Some(AdminPath::Alerts(path));
        }
        if let Some(path) = OrderPath::of(path) {
            return Some(AdminPath::Orders(path));
        }
        if let Some(name) = path.strip_prefix("/users/").filter(|name| !name.contains('/')) {
            return Some(AdminPath::User(name));
        }
        let rest = path.strip_prefix("/health/dependencies/")?;
        match rest.split_once('/') {
            None if !rest.is_empty() => Some(AdminPath::Dependency(rest)),
            Some((name, "probe")) => Some(AdminPath::Probe(name)),
            Some((name, "force")) => Some(AdminPath::Force(name)),
            None | Some(_) => None,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::bodies::FORCE;
    use super::*;
    use crate::cluster::rebalance_body::RebalancePurpose;
    use crate::health::breaker::Forced;
    use crate::health::snapshot::AdmissionMode;
    use serde_json::Value;
    use std::time::Duration;

    /// All paths, and the methods that each accepts.
    pub(in crate::admin) const PATHS: &[(&str, &str)] = &[
        ("/health/live", "GET, HEAD"),
        ("/metrics", "GET, HEAD"),
        ("/health/dependencies", "GET, HEAD"),
        ("/health/dependencies/store", "GET, HEAD"),
        ("/health/dependencies/store/probe", "POST"),
        ("/health/dependencies/store/force", "POST, DELETE"),
        ("/health/admission", "GET, HEAD, PUT"),
        ("/settings", "GET, HEAD"),
        ("/cluster", "GET, HEAD"),
        ("/cluster/rebalance", "POST"),
        ("/drain", "GET, HEAD, POST"),
        ("/lookup/connection/0123456789abcdef", "GET, HEAD"),
        ("/lookup/user/ann", "GET, HEAD"),
        ("/lookup/reference/k3f9aa", "GET, HEAD"),
        ("/channels/room.1/presence", "GET, HEAD"),
        ("/channels/%24user:ann/presence/ann%2Fb", "GET, HEAD"),
        ("/orders", "GET, HEAD"),
        ("/orders/7", "GET, HEAD"),
        ("/users/ann/block", "GET, HEAD, PUT, DELETE"),
        ("/users/ann", "GET, HEAD"),
        ("/users/ann/disconnect", "POST"),
        ("/users/ann/erase", "POST"),
        ("/tokens/revoke", "POST"),
        ("/slo", "GET, HEAD"),
        ("/slo/delivery", "GET, HEAD"),
        ("/slo/report", "GET, HEAD"),
        ("/slo/delivery/history", "GET, HEAD"),
        ("/slo/exclusions", "GET, HEAD, POST"),
        ("/slo/exclusions/3", "DELETE"),
        ("/alerts", "GET, HEAD"),
        ("/alerts/4", "GET, HEAD"),
        ("/alerts/4/ack", "POST"),
        ("/alerts/silences", "GET, HEAD, POST"),
        ("/alerts/silences/3", "DELETE"),
        ("/alerts/test", "POST"),
        ("/alerts/resend", "POST"),
        ("/flags", "GET, HEAD"),
        ("/flags/new-list", "PUT"),
        ("/client-errors", "GET, HEAD"),
        ("/client-errors/9f2c41d0", "GET, HEAD, DELETE"),
        ("/client-errors/9f2c41d0/mute", "PUT"),
        ("/relay", "GET, HEAD"),
        ("/relay/dead", "GET, HEAD"),
        ("/relay/skip", "POST"),
        ("/relay/routes/assistant/try", "POST"),
        ("/relay/routes/assistant/resume", "POST"),
        ("/relay/routes/assistant/replay", "POST"),
    ];

    fn refused(method: Method, path: &str, body: &str) -> AdminRefusal {
        wish(method, path, body.as_bytes()).expect_err("refused")
    }

    #[test]
    fn path_accepts_its_methods_and_lists_them_for_others() {
        let methods = [
            ("GET", Method::Get),
            ("HEAD", Method::Head),
            ("POST", Method::Post),
            ("PUT", Method::Put),
            ("DELETE", Method::Delete),
        ];
        for (path, allow) in PATHS.iter().copied() {
            for method in [Method::Options, Method::Other] {
                let refusal = refused(method, path, "");
                assert_eq!(
                    (refusal.status, refusal.headers.as_slice()),
                    (405, &[("Allow", allow)][..]),
                    "{path}"
                );
            }
            for (name, method) in methods {
                // A missing body is another matter than a method that is not accepted.
                let taken = wish(method, path, b"").map_or_else(|refusal| refusal.status == 400, |_| true);
                assert_eq!(taken, allow.split(", ").any(|own| own == name), "{name} {path}");
            }
        }
        assert_eq!(refused(Method::Unknown, "/", "").status, 405);
        for path in [
            "/",
            "/ws",
            "/health/",
            "/health/dependencies/",
            "/health/dependencies/a/b",
            "/health/dependencies/a/probe/",
            "/channels/a",
            "/channels/a/other",
            "/users/ann/other",
        ] {
            assert_eq!(refused(Method::Get, path, "").status, 404, "{path}");
        }
        for path in [
            "/lookup/user/",
            "/lookup/connection/",
            "/channels//presence",
            "/channels/a/presence/",
            "/orders/",
            "/users//block",
        ] {
            let refusal = refused(Method::Get, path, "");
            assert!(refusal.status == 400 && refusal.message.contains("the path names no"), "{path}");
        }
    }

    #[test]
    fn objectives_are_read_and_not_changed() {
        let named = ObjectivesQuestion::One("delivery".to_owned());
        for (path, question) in [("/slo", ObjectivesQuestion::All), ("/slo/delivery?x", named)] {
            assert_eq!(wish(Method::Get, path, b""), Ok(AdminTask::Objectives(question)));
            assert_eq!(refused(Method::Put, path, "").status, 405);
        }
    }

    #[test]
    fn order_is_read_completely_or_refused_with_advice() {
        let path = "/health/dependencies/db.1/force";
        let order = wish(Method::Post, path, br#"{"to":"open","minutes":1440}"#);
        let expected = AdminAction::Force("db.1".into(), Forced::Open, Duration::from_secs(86_400));
        assert_eq!(order, Ok(AdminTask::Ask(AdminQuestion::Act(expected))));
        for (body, named) in [
            ("", "no JSON object"),
            ("[]", "no JSON object"),
            (r#"{"to":"shut","minutes":1}"#, "to must be"),
            (r#"{"to":"open"}"#, "minutes must be"),
            (r#"{"to":"open","minutes":0}"#, "minutes must be"),
            (r#"{"to":"open","minutes":1441}"#, "minutes must be"),
            (r#"{"to":"open","minutes":1.5}"#, "minutes must be"),
            (r#"{"to":"open","minutes":1,"why":"x"}"#, "unknown member"),
        ] {
            let refusal = refused(Method::Post, path, body);
            assert_eq!(refusal.status, 400, "{body}");
            assert!(
                refusal.message.contains(named) && refusal.message.contains(FORCE),
                "{}",
                refusal.message
            );
            serde_json::from_str::<Value>(&refusal.body()).expect("JSON");
        }
        let rebalance = wish(Method::Post, "/cluster/rebalance", br#"{"within_percent":3}"#);
        let expected = RebalanceWish { within_percent: Some(3), purpose: RebalancePurpose::Round };
        assert_eq!(rebalance, Ok(AdminTask::Rebalance(expected)));
        let refusal = refused(Method::Post, "/cluster/rebalance", r#"{"within_percent":2}"#);
        assert!(refusal.status == 400 && refusal.message.contains("from 3 to 100"), "{}", refusal.message);
        let observe = wish(Method::Put, "/health/admission", br#"{"mode":"observe"}"#);
        assert_eq!(
            observe,
            Ok(AdminTask::Ask(AdminQuestion::Act(AdminAction::Admission(AdmissionMode::Observe))))
        );
        assert_eq!(refused(Method::Put, "/health/admission", r#"{"mode":"off"}"#).status, 400);
    }
}
