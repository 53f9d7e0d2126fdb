//! The body of a request to the server API.
//!
//! Checked properties: only JSON is accepted, as judged by serde_json; what is accepted keeps its bounds, and its `data` byte for byte; an
//! order is stored in a form that is read as the same order; a refusal is a short sentence.

use seawall::cluster::order::ClusterOrder;
use seawall::cluster::{order_body, rebalance_body};
use seawall::id::UserName;
use seawall::wire::api::body::{self, ApiBounds, ApiItem};
use seawall::wire::api::problem::{ApiProblem, ProblemCode};
use seawall::wire::api::streamed::{BodyFault, BodyLines, BodyProgress, BodyReader, LINE_BYTES_MAX};
use seawall::wire::api::users;
use seawall::wire::command::{self, CommandBounds};

const BOUNDS: ApiBounds = ApiBounds { per_request: 4, data_bytes: 64, json_depth: 6 };
/// 2026-11-30.
const NOW_UNIX_MS: u64 = 1_796_000_000_000;
const USERS_MAX: usize = 3;

/// Checks the properties above.
pub fn check(bytes: &[u8]) {
    streamed(bytes);
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

/// A body that is read while it arrives has the same lines in any cut, and each within its bound. A line that is a command names an author
/// or none.
fn streamed(bytes: &[u8]) {
    let cut = bytes.first().map_or(1, |first| usize::from(*first) % 7 + 1);
    let whole = lines(bytes, bytes.len().max(1));
    let cuts = lines(bytes, cut);
    // A cut moves the moment of a fault, not the fault.
    assert_eq!(whole.1, cuts.1);
    assert!(whole.1.is_err() || whole.0 == cuts.0, "{} and {} lines", whole.0.len(), cuts.0.len());
    for line in &whole.0 {
        assert!((1..=LINE_BYTES_MAX).contains(&line.len()));
        let Ok(text) = std::str::from_utf8(line) else { continue };
        if command::parse(text, CommandBounds { json_depth: 8, subscriptions: 0 }).is_ok() {
            let _ = command::named_author(text);
        }
    }
}

/// The lines of a chunked body that comes in pieces, and its end.
fn lines(bytes: &[u8], cut: usize) -> (Vec<Vec<u8>>, Result<BodyProgress, BodyFault>) {
    let (mut reader, mut body, mut received, mut found) =
        (BodyReader::chunked(), BodyLines::default(), Vec::new(), Vec::new());
    let mut progress = BodyProgress::Partial;
    for piece in bytes.chunks(cut) {
        received.extend_from_slice(piece);
        progress = match reader.read(&mut received, &mut body.content) {
            Ok(progress) => progress,
            Err(fault) => return (found, Err(fault)),
        };
        loop {
            match body.next(progress) {
                Ok(Some(line)) => found.push(line),
                Ok(None) => break,
                Err(fault) => return (found, Err(fault)),
            }
        }
        if progress == BodyProgress::Complete {
            break;
        }
    }
    (found, Ok(progress))
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
