//! Routing: a method, a path and a body become a task, or a refusal that says what to send instead.

use crate::health::breaker::Forced;
use crate::health::snapshot::AdmissionMode;
use crate::id::{ChannelName, OrderId, UserName};
use crate::job::admin::{AdminAction, AdminQuestion};
use crate::job::lookup::Wanted;
use crate::limits::ROSTER_PAGE_MEMBERS;
use crate::roster::PageWish;
use crate::wire::api::problem::ApiProblem;
use crate::wire::json;
use crate::wire::request::Method;
use serde_json::{Map, Value};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use url::form_urlencoded;

/// How long a state may be forced: a forgotten order ends within a day.
const MINUTES: RangeInclusive<u64> = 1..=1_440;

/// The task that a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminTask {
    /// A view that any thread can render.
    Show(AdminView),
    /// A question or an order for the watch thread.
    Ask(AdminQuestion),
    /// The instances of the cluster.
    Cluster,
    /// To spread connections evenly over the instances: within this many percent of the mean, or as the settings say.
    Rebalance(Option<u32>),
    /// Sessions, by their connection or user.
    LookUp(Wanted),
    /// A page of the roster of a channel.
    Presence(PageWish),
    /// An order to all instances.
    Give(OrderWish),
    /// The block of a user.
    Block(UserName),
    /// The newest orders.
    Orders,
    /// The progress of an order.
    Order(OrderId),
    /// The progress of a drain.
    Progress,
    /// To begin a drain; answered with its progress.
    Drain,
}

/// A view that any thread can render.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminView {
    Live,
    Ready,
    Summary,
    Metrics,
}

/// The order that a request asks for, with its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderWish {
    Disconnect(UserName, String),
    Block(UserName, String),
    Unblock(UserName),
    Revoke(String),
}

/// A request that is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminRefusal {
    pub status: u16,
    pub headers: Vec<(&'static str, &'static str)>,
    word: &'static str,
    message: String,
}

/// The paths; each accepts certain methods.
enum AdminPath<'a> {
    Shown(AdminView),
    Dependencies,
    Dependency(&'a str),
    Probe(&'a str),
    Force(&'a str),
    Admission,
    Cluster,
    Rebalance,
    Drain,
    Connection(&'a str),
    User(&'a str),
    /// The roster of a channel, after a user.
    Presence(&'a str, Option<&'a str>),
    Disconnect(&'a str),
    Block(&'a str),
    Revoke,
    Orders,
    Order(&'a str),
}

/// Reads a request.
pub fn wish(method: Method, path: &str, body: &[u8]) -> Result<AdminTask, AdminRefusal> {
    // The path of an unknown method was not parsed.
    if method == Method::Unknown {
        return Err(AdminRefusal::method("GET, HEAD, POST, PUT, DELETE"));
    }
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
        (AdminPath::Cluster, Method::Get | Method::Head) => Ok(AdminTask::Cluster),
        (AdminPath::Rebalance, Method::Post) => Ok(AdminTask::Rebalance(within(body)?)),
        (AdminPath::Drain, Method::Get | Method::Head) => Ok(AdminTask::Progress),
        (AdminPath::Drain, Method::Post) => Ok(AdminTask::Drain),
        (AdminPath::Connection(name), Method::Get | Method::Head) => {
            Ok(AdminTask::LookUp(Wanted::Connection(connection(name)?)))
        }
        (AdminPath::User(name), Method::Get | Method::Head) => {
            Ok(AdminTask::LookUp(Wanted::User(user(name))))
        }
        (AdminPath::Presence(channel, after), Method::Get | Method::Head) => page(channel, after),
        (AdminPath::Disconnect(name), Method::Post) => {
            Ok(AdminTask::Give(OrderWish::Disconnect(user_name(name)?, text(body)?)))
        }
        (AdminPath::Block(name), Method::Put) => {
            Ok(AdminTask::Give(OrderWish::Block(user_name(name)?, text(body)?)))
        }
        (AdminPath::Block(name), Method::Delete) => Ok(AdminTask::Give(OrderWish::Unblock(user_name(name)?))),
        (AdminPath::Block(name), Method::Get | Method::Head) => Ok(AdminTask::Block(user_name(name)?)),
        (AdminPath::Revoke, Method::Post) => Ok(AdminTask::Give(OrderWish::Revoke(text(body)?))),
        (AdminPath::Orders, Method::Get | Method::Head) => Ok(AdminTask::Orders),
        (AdminPath::Order(number), Method::Get | Method::Head) => Ok(AdminTask::Order(order_id(number)?)),
        (
            AdminPath::Shown(_)
            | AdminPath::Dependencies
            | AdminPath::Dependency(_)
            | AdminPath::Cluster
            | AdminPath::Connection(_)
            | AdminPath::User(_)
            | AdminPath::Presence(..)
            | AdminPath::Orders
            | AdminPath::Order(_),
            _,
        ) => Err(AdminRefusal::method("GET, HEAD")),
        (AdminPath::Block(_), _) => Err(AdminRefusal::method("GET, HEAD, PUT, DELETE")),
        (AdminPath::Probe(_) | AdminPath::Rebalance | AdminPath::Disconnect(_) | AdminPath::Revoke, _) => {
            Err(AdminRefusal::method("POST"))
        }
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
            "/cluster" => AdminPath::Cluster,
            "/cluster/rebalance" => AdminPath::Rebalance,
            "/drain" => AdminPath::Drain,
            "/orders" => AdminPath::Orders,
            "/tokens/revoke" => AdminPath::Revoke,
            _ => {
                for (prefix, of) in LOOKUPS {
                    if let Some(name) = path.strip_prefix(prefix).filter(|name| !name.is_empty()) {
                        return Some(of(name));
                    }
                }
                if let Some((channel, rest)) =
                    path.strip_prefix("/channels/").and_then(|rest| rest.split_once('/'))
                {
                    let after = rest.strip_prefix("presence/").filter(|after| !after.is_empty());
                    return (rest == "presence" || after.is_some())
                        .then_some(AdminPath::Presence(channel, after));
                }
                if let Some((name, action)) =
                    path.strip_prefix("/users/").and_then(|rest| rest.split_once('/'))
                {
                    return match action {
                        "disconnect" if !name.is_empty() => Some(AdminPath::Disconnect(name)),
                        "block" if !name.is_empty() => Some(AdminPath::Block(name)),
                        _ => None,
                    };
                }
                let rest = path.strip_prefix("/health/dependencies/")?;
                match rest.split_once('/') {
                    None if !rest.is_empty() => AdminPath::Dependency(rest),
                    Some((name, "probe")) => AdminPath::Probe(name),
                    Some((name, "force")) => AdminPath::Force(name),
                    None | Some(_) => return None,
                }
            }
        })
    }
}

type LookupPath = (&'static str, fn(&str) -> AdminPath<'_>);

const LOOKUPS: [LookupPath; 3] = [
    ("/orders/", |number| AdminPath::Order(number)),
    ("/lookup/connection/", |name| AdminPath::Connection(name)),
    ("/lookup/user/", |name| AdminPath::User(name)),
];

/// The name of a connection: 16 hexadecimal digits, as in `connected`.
fn connection(name: &str) -> Result<u64, AdminRefusal> {
    let is_name = name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    match u64::from_str_radix(name, 16) {
        Ok(number) if is_name => Ok(number),
        Ok(_) | Err(_) => Err(AdminRefusal::new(
            400,
            "malformed",
            "a connection is 16 hexadecimal digits, like connected.connection and the client's connection",
        )),
    }
}

/// The page of a roster; channel and user are in percent encoding.
fn page(channel: &str, after: Option<&str>) -> Result<AdminTask, AdminRefusal> {
    let channel = ChannelName::parse(&user(channel)).map_err(|_| {
        AdminRefusal::new(400, "malformed", "the path names no channel: /channels/NAME/presence")
    })?;
    let after = after.map(|name| UserName::parse(&user(name))).transpose();
    let after = after.map_err(|_| {
        AdminRefusal::new(400, "malformed", "the path names no user: /channels/NAME/presence/USER")
    })?;
    Ok(AdminTask::Presence(PageWish { channel, after, limit: ROSTER_PAGE_MEMBERS }))
}

/// The name of a user, which the path has in percent encoding.
fn user(name: &str) -> Box<str> {
    let plain = name.replace('+', "%2B").replace('&', "%26");
    let pair = format!("u={plain}");
    form_urlencoded::parse(pair.as_bytes()).next().map(|(_, name)| Box::from(&*name)).unwrap_or_default()
}

fn user_name(name: &str) -> Result<UserName, AdminRefusal> {
    UserName::parse(&user(name)).map_err(|_| {
        AdminRefusal::new(400, "malformed", "a user is 1 to 128 bytes without control characters")
    })
}

fn order_id(number: &str) -> Result<OrderId, AdminRefusal> {
    let digits = Some(number).filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    digits
        .and_then(|digits| digits.parse().ok())
        .map(OrderId)
        .ok_or_else(|| AdminRefusal::new(400, "malformed", "an order is a number, as GET /orders lists them"))
}

fn text(body: &[u8]) -> Result<String, AdminRefusal> {
    String::from_utf8(body.to_vec())
        .map_err(|_| AdminRefusal::new(400, "malformed", "the body is not UTF-8; send a JSON object"))
}

const FORCE: &str = r#"{"to":"open"|"closed","minutes":1..1440}"#;
const WITHIN: &str = r#"{"within_percent":3..100}, or no body for the one of the settings"#;
const MODE: &str = r#"{"mode":"enforce"|"observe"}"#;

fn force(body: &[u8]) -> Result<(Forced, Duration), AdminRefusal> {
    let members = members(body, &["to", "minutes"], FORCE)?;
    let to = [Forced::Open, Forced::Closed]
        .into_iter()
        .find(|forced| members.get("to").and_then(Value::as_str) == Some(forced.as_str()))
        .ok_or_else(|| AdminRefusal::body_wrong("to must be \"open\" or \"closed\"", FORCE))?;
    let minutes = members.get("minutes").and_then(Value::as_u64).filter(|minutes| MINUTES.contains(minutes));
    let minutes = minutes
        .ok_or_else(|| AdminRefusal::body_wrong("minutes must be a whole number from 1 to 1440", FORCE))?;
    Ok((to, Duration::from_secs(minutes * 60)))
}

fn mode(body: &[u8]) -> Result<AdmissionMode, AdminRefusal> {
    let members = members(body, &["mode"], MODE)?;
    [AdmissionMode::Enforce, AdmissionMode::Observe]
        .into_iter()
        .find(|mode| members.get("mode").and_then(Value::as_str) == Some(mode.as_str()))
        .ok_or_else(|| AdminRefusal::body_wrong("mode must be \"enforce\" or \"observe\"", MODE))
}

/// The body of an order to rebalance, which may be empty.
fn within(body: &[u8]) -> Result<Option<u32>, AdminRefusal> {
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    let members = members(body, &["within_percent"], WITHIN)?;
    let Some(value) = members.get("within_percent") else { return Ok(None) };
    let percent = value.as_u64().and_then(|percent| u32::try_from(percent).ok());
    let percent = percent.filter(|percent| (3..=100).contains(percent));
    percent.map(Some).ok_or_else(|| {
        AdminRefusal::body_wrong("within_percent must be a whole number from 3 to 100", WITHIN)
    })
}

/// The members of a JSON object. An unknown one is rejected, because it may be a misspelling.
fn members(body: &[u8], known: &[&str], form: &'static str) -> Result<Map<String, Value>, AdminRefusal> {
    let members: Map<String, Value> = serde_json::from_slice(body).map_err(|error| {
        AdminRefusal::body_wrong(format_args!("the body is no JSON object ({error})"), form)
    })?;
    match members.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(members),
        Some(key) => Err(AdminRefusal::body_wrong(format_args!("unknown member {key:?}"), form)),
    }
}

impl AdminRefusal {
    fn new(status: u16, word: &'static str, message: impl Into<String>) -> AdminRefusal {
        AdminRefusal { status, headers: Vec::new(), word, message: message.into() }
    }

    /// `{"error":"…","message":"…"}`, as on the public listener.
    pub fn body(&self) -> String {
        let mut out = Vec::with_capacity(256);
        json::object(&mut out, |out| {
            json::text(out, "error", self.word);
            json::text(out, "message", &self.message);
        });
        out.push(b'\n');
        String::from_utf8_lossy(&out).into_owned()
    }

    pub(super) fn unauthorized() -> AdminRefusal {
        AdminRefusal {
            headers: vec![("WWW-Authenticate", "Bearer realm=\"seawall admin\"")],
            ..AdminRefusal::new(
                401,
                "unauthorized",
                "send Authorization: Bearer with the token: admin.token, or the file admin.token in store.data; \
                 the first lines of seawall name it",
            )
        }
    }

    fn method(allow: &'static str) -> AdminRefusal {
        let message = format!("this path takes {allow}");
        AdminRefusal {
            headers: vec![("Allow", allow)],
            ..AdminRefusal::new(405, "method_not_allowed", message)
        }
    }

    fn unknown_path() -> AdminRefusal {
        AdminRefusal::new(
            404,
            "not_found",
            "there is nothing here; GET /health/dependencies is, and `seawall --help` names the commands for operators",
        )
    }

    pub(super) fn unknown_dependency(known: &[Arc<str>]) -> AdminRefusal {
        let known = known.join(", ");
        AdminRefusal::new(404, "not_found", format!("no dependency has this name; there are: {known}"))
    }

    pub(super) fn not_held() -> AdminRefusal {
        let message = "gateway is this process itself: it can be looked at, and not be forced";
        AdminRefusal::new(409, "not_forced", message)
    }

    pub(super) fn no_length() -> AdminRefusal {
        AdminRefusal::new(411, "length_required", "send the body with a Content-Length")
    }

    pub(super) fn body_too_large(bound: usize) -> AdminRefusal {
        AdminRefusal::new(413, "body_too_large", format!("a body has at most {bound} bytes here"))
    }

    pub(super) fn no_answer() -> AdminRefusal {
        let message = "the watch thread did not answer within a second: the process ends or is starved; \
                       an action may have been done all the same, so look before it is repeated";
        AdminRefusal::new(503, "unavailable", message)
    }

    pub(super) fn reactor_silent() -> AdminRefusal {
        let message = "a reactor did not answer within a second: see /health/live, and ask again";
        AdminRefusal::new(503, "unavailable", message)
    }

    pub(super) fn presence_silent() -> AdminRefusal {
        let message = "the presence thread did not answer within a second: see the log, and ask again";
        AdminRefusal::new(503, "unavailable", message)
    }

    pub(super) fn unknown_order() -> AdminRefusal {
        AdminRefusal::new(
            404,
            "not_found",
            "no such order; orders are kept for an hour, and GET /orders lists the last 50",
        )
    }

    /// The refusal of an order, in the words of the server API.
    pub(super) fn of(problem: &ApiProblem) -> AdminRefusal {
        AdminRefusal::new(problem.code.status(), problem.code.word(), problem.detail.to_string())
    }

    pub(super) fn unknown_session(message: String) -> AdminRefusal {
        AdminRefusal::new(404, "not_found", message)
    }

    fn body_wrong(what: impl Display, form: &str) -> AdminRefusal {
        AdminRefusal::new(400, "malformed", format!("{what}; send {form}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(method: Method, path: &str, body: &str) -> AdminRefusal {
        wish(method, path, body.as_bytes()).expect_err("refused")
    }

    #[test]
    fn path_accepts_its_methods_and_lists_them_for_others() {
        let cases = [
            ("/health/live", "GET, HEAD"),
            ("/metrics", "GET, HEAD"),
            ("/health/dependencies", "GET, HEAD"),
            ("/health/dependencies/store", "GET, HEAD"),
            ("/health/dependencies/store/probe", "POST"),
            ("/health/dependencies/store/force", "POST, DELETE"),
            ("/health/admission", "GET, HEAD, PUT"),
            ("/cluster", "GET, HEAD"),
            ("/cluster/rebalance", "POST"),
            ("/drain", "GET, HEAD, POST"),
            ("/lookup/connection/0123456789abcdef", "GET, HEAD"),
            ("/lookup/user/ann", "GET, HEAD"),
            ("/channels/room.1/presence", "GET, HEAD"),
            ("/channels/%24user:ann/presence/ann%2Fb", "GET, HEAD"),
            ("/orders", "GET, HEAD"),
            ("/orders/7", "GET, HEAD"),
            ("/users/ann/block", "GET, HEAD, PUT, DELETE"),
            ("/users/ann/disconnect", "POST"),
            ("/tokens/revoke", "POST"),
        ];
        let methods = [
            ("GET", Method::Get),
            ("HEAD", Method::Head),
            ("POST", Method::Post),
            ("PUT", Method::Put),
            ("DELETE", Method::Delete),
        ];
        for (path, allow) in cases {
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
            "/lookup/user/",
            "/lookup/connection/",
            "/channels/a",
            "/channels/a/presence/",
            "/channels/a/other",
            "/orders/",
            "/users/ann",
            "/users//block",
        ] {
            assert_eq!(refused(Method::Get, path, "").status, 404, "{path}");
        }
    }

    #[test]
    fn lookup_names_a_connection_or_a_decoded_user() {
        let wanted = |path: &str| match wish(Method::Get, path, b"") {
            Ok(AdminTask::LookUp(wanted)) => wanted,
            other => panic!("{other:?}"),
        };
        assert_eq!(wanted("/lookup/connection/00000000000000ff"), Wanted::Connection(255));
        assert_eq!(wanted("/lookup/user/ann%20b%2Fc+d&e"), Wanted::User("ann b/c+d&e".into()));
        for name in ["ff", "+0000000000000ff", "zzzzzzzzzzzzzzzz"] {
            let refusal = refused(Method::Get, &format!("/lookup/connection/{name}"), "");
            assert_eq!(refusal.status, 400, "{name}");
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
        let rebalance = |body: &[u8]| wish(Method::Post, "/cluster/rebalance", body);
        assert_eq!(rebalance(b""), Ok(AdminTask::Rebalance(None)));
        assert_eq!(rebalance(br#"{"within_percent":3}"#), Ok(AdminTask::Rebalance(Some(3))));
        for body in [r#"{"within_percent":2}"#, r#"{"within_percent":101}"#, r#"{"within":5}"#, "5"] {
            let refusal = refused(Method::Post, "/cluster/rebalance", body);
            assert!(
                refusal.status == 400 && refusal.message.contains("3..100"),
                "{body}: {}",
                refusal.message
            );
        }
        let observe = wish(Method::Put, "/health/admission", br#"{"mode":"observe"}"#);
        assert_eq!(
            observe,
            Ok(AdminTask::Ask(AdminQuestion::Act(AdminAction::Admission(AdmissionMode::Observe))))
        );
        assert_eq!(refused(Method::Put, "/health/admission", r#"{"mode":"off"}"#).status, 400);
    }
}
