//! The body of a request to the server API.
//!
//! Checked properties: only JSON is accepted, as judged by serde_json; what is accepted keeps its bounds, and its `data` byte for byte; an
//! order is stored in a form that is read as the same order; a refusal is a short sentence.

use seawall::cluster::order::ClusterOrder;
use seawall::cluster::{order_body, rebalance_body};
use seawall::id::UserName;
use seawall::wire::api::body::{self, ApiBounds, ApiItem};
use seawall::wire::api::problem::{ApiProblem, ProblemCode};
use seawall::wire::api::users;

const BOUNDS: ApiBounds = ApiBounds { per_request: 4, data_bytes: 64, json_depth: 6 };
/// 2026-11-30.
const NOW_UNIX_MS: u64 = 1_796_000_000_000;
const USERS_MAX: usize = 3;

/// Checks the properties above.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let items = [
        body::publish(text, None, BOUNDS).map(|item| vec![item]),
        body::batch(text, BOUNDS),
        body::broadcast(text, BOUNDS),
    ];
    for read in items {
        if let Some(items) = accepted(read, text) {
            assert!(items.len() <= BOUNDS.per_request, "{} items", items.len());
            items.iter().for_each(|item| kept(text, item));
        }
    }
    if let Some(signal) = accepted(body::signal(text, None, BOUNDS), text) {
        data(text, signal.data);
    }
    let user = || UserName::parse("ann").expect("a valid name");
    let orders = [
        order_body::disconnect(user(), text),
        order_body::block(user(), text, NOW_UNIX_MS),
        order_body::erase(user(), text),
        order_body::revoke(text, NOW_UNIX_MS),
    ];
    for read in orders {
        if let Some(order) = accepted(read, text) {
            let stored = ClusterOrder::stored(order.kind().word(), &order.args());
            assert_eq!(stored, Some(order));
        }
    }
    if let Some(users) = accepted(users::lookup(text, USERS_MAX), text) {
        assert!((1..=USERS_MAX).contains(&users.len()));
    }
    accepted(rebalance_body::read(text), text);
}

/// Checks what was read, and returns it. A body may be absent where all its members are.
fn accepted<T>(read: Result<T, ApiProblem>, text: &str) -> Option<T> {
    match read {
        Ok(read) => {
            let object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text);
            assert!(text.is_empty() || object.is_ok(), "accepted, and no JSON object");
            Some(read)
        }
        Err(ApiProblem { code, detail, retry_ms, .. }) => {
            assert!(matches!(code, ProblemCode::Malformed | ProblemCode::TooLarge), "{code:?}");
            assert!((1..=600).contains(&detail.len()), "{} bytes", detail.len());
            assert!(!detail.contains(char::is_control), "{detail:?}");
            assert_eq!(retry_ms, None, "the same body is refused again");
            None
        }
    }
}

fn kept(text: &str, item: &ApiItem<'_>) {
    data(text, item.content.data());
}

fn data(text: &str, data: &str) {
    assert!(data.len() <= BOUNDS.data_bytes);
    assert!(serde_json::from_str::<serde_json::Value>(data).is_ok(), "{data}");
    // The data of a delete may be absent, and is then null.
    assert!(text.contains(data) || data == "null", "{data} was changed");
}
