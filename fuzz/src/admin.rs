//! A request to the listener for operators.
//!
//! The input is the received bytes; [`TOKEN`] is the token. Checked properties: a split never changes the outcome; without
//! the token no path is looked at; only methods that change something lead to an action; a refusal is JSON, and its
//! headers cannot be split.

use seawall::admin::access::AdminAccess;
use seawall::admin::alert_path::AlertQuestion;
use seawall::admin::client_error_path::ErrorQuestion;
use seawall::admin::flag_path::FlagQuestion;
use seawall::admin::order_path::OrderQuestion;
use seawall::admin::relay_path::RelayQuestion;
use seawall::admin::request::{BODY_BYTES_MAX, RequestStep, read};
use seawall::admin::route::{AdminTask, wish};
use seawall::job::admin::AdminQuestion;
use seawall::limits::Limits;
use seawall::wire::request::{HeadLimits, Method};
use serde_json::Value;

/// The token that the requests of the corpus present.
pub const TOKEN: &[u8] = b"0123456789abcdef0123456789abcdef";
/// The maximum number of prefixes tried per input.
const CUTS_MAX: usize = 64;

/// Checks the properties above.
pub fn check(bytes: &[u8]) {
    let limits = HeadLimits::from(&Limits::default());
    let unauthorized = || match wish(Method::Unknown, "/", b"") {
        Err(refusal) => refusal,
        Ok(task) => panic!("{task:?} for an unknown method"),
    };
    let with_token = |bytes: &[u8]| {
        read(bytes, limits, |head| {
            if head.bearer() == Some(TOKEN) { Ok(AdminAccess::Token) } else { Err(unauthorized()) }
        })
    };
    let whole = with_token(bytes);
    let step = bytes.len() / CUTS_MAX + 1;
    for end in (0..bytes.len()).step_by(step) {
        let part = with_token(&bytes[..end]);
        let is_open = matches!(part, RequestStep::Head | RequestStep::Body(_));
        assert!(is_open || part == whole, "cut at {end}: {part:?}, whole: {whole:?}");
    }
    let without = read(bytes, limits, |_| Err(unauthorized()));
    assert!(
        !matches!(without, RequestStep::Body(_) | RequestStep::Complete(_)),
        "{without:?} without a token"
    );
    match whole {
        RequestStep::Head | RequestStep::Body(_) => {}
        RequestStep::Malformed(fault) => assert!((400..=599).contains(&fault.status())),
        RequestStep::Refused(_, refusal) => check_refusal(refusal.status, &refusal.headers, &refusal.body()),
        RequestStep::Complete(request) => {
            assert!(request.body.len() <= BODY_BYTES_MAX);
            match wish(request.method, &request.path, &request.body) {
                Ok(task) => check_task(request.method, &task),
                Err(refusal) => check_refusal(refusal.status, &refusal.headers, &refusal.body()),
            }
        }
    }
}

fn check_task(method: Method, task: &AdminTask) {
    let changes = match task {
        AdminTask::Show(_)
        | AdminTask::LookUp(_)
        | AdminTask::User(_)
        | AdminTask::Presence(_)
        | AdminTask::Progress
        | AdminTask::Cluster
        | AdminTask::Objectives(_)
        | AdminTask::Settings
        | AdminTask::Flags(FlagQuestion::All)
        | AdminTask::Relay(RelayQuestion::Status | RelayQuestion::Dead { .. })
        | AdminTask::ClientErrors(ErrorQuestion::All | ErrorQuestion::One(_))
        | AdminTask::Alerts(AlertQuestion::All | AlertQuestion::One(_) | AlertQuestion::Silences)
        | AdminTask::Orders(OrderQuestion::Block(_) | OrderQuestion::List | OrderQuestion::Progress(_)) => {
            false
        }
        AdminTask::Drain | AdminTask::Rebalance(_) | AdminTask::Orders(OrderQuestion::Give(_)) => true,
        AdminTask::Alerts(AlertQuestion::Order(_)) | AdminTask::Flags(FlagQuestion::Switch(..)) => true,
        AdminTask::ClientErrors(ErrorQuestion::Forget(_) | ErrorQuestion::Mute(..)) => true,
        AdminTask::Relay(
            RelayQuestion::Skip { .. }
            | RelayQuestion::Try(_)
            | RelayQuestion::Resume(_)
            | RelayQuestion::Replay { .. },
        ) => true,
        AdminTask::Ask(AdminQuestion::Act(_)) => true,
        AdminTask::Ask(
            AdminQuestion::Dependencies
            | AdminQuestion::Dependency(_)
            | AdminQuestion::Outage(_)
            | AdminQuestion::Admission,
        ) => false,
    };
    let may_change = matches!(method, Method::Post | Method::Put | Method::Delete);
    assert_eq!(changes, may_change, "{method:?} leads to {task:?}");
}

fn check_refusal(status: u16, headers: &[(&str, &str)], body: &str) {
    assert!((400..=599).contains(&status));
    for (name, value) in headers {
        assert!(!name.contains(['\r', '\n']) && !value.contains(['\r', '\n']));
    }
    let body: Value = serde_json::from_str(body).expect("JSON");
    assert!(body["error"].is_string() && body["message"].as_str().is_some_and(|text| text.len() > 10));
}
