//! The judgement of a refusal that a test does not expect: a store that nothing breaks may be too slow on a busy machine.

use super::wait::LATE;
use serde_json::{Value, json};

/// Beginnings of the names of tests that break their gateway's store. After that, a refusal may be the fault that they look for.
const BREAK_THEIR_STORE: [&str; 6] = [
    "dependencies::disk_full",
    "dependencies::flapping",
    "dependencies::newcomers",
    "dependencies::outage",
    "dependencies::server_api",
    "e2e::disk_full",
];

/// [`LATE`] if the store was only too slow for a probe or a call, else `fault`: the beginning of the message about this error.
pub fn judged<'a>(error: &Value, fault: &'a str) -> &'a str {
    if is_slow(error, test().as_deref()) { LATE } else { fault }
}

/// The same for the reason of a close.
pub fn judged_close<'a>(reason: &str, fault: &'a str) -> &'a str {
    let mut parts = reason.split("; ");
    let (code, dependency) = (parts.next(), parts.find_map(|part| part.strip_prefix("dependency=")));
    judged(&json!({"code": code, "dependency": dependency}), fault)
}

/// The name of the test that runs on this thread. The threads that a test starts have none.
fn test() -> Option<String> {
    std::thread::current().name().map(str::to_owned)
}

fn is_slow(error: &Value, test: Option<&str>) -> bool {
    let breaks = test.is_some_and(|test| BREAK_THEIR_STORE.iter().any(|start| test.starts_with(start)));
    error["code"] == "unavailable" && error["dependency"] == "store" && !breaks
}

#[test]
fn only_the_store_that_a_test_does_not_break_may_be_slow() {
    let error = |code: &str, dependency: &str| json!({"code": code, "dependency": dependency});
    assert!(is_slow(&error("unavailable", "store"), Some("cluster::streams::it")));
    assert!(!is_slow(&error("unavailable", "store"), Some("dependencies::outage::it")));
    for wrong in [error("unavailable", "auth"), error("overloaded", "store"), json!({"code": "unavailable"})]
    {
        assert!(!is_slow(&wrong, None), "{wrong}");
    }
    assert_eq!(judged_close("unavailable; dependency=store; retry_ms=5200; ref=k3f9", "closed"), LATE);
    for reason in ["unavailable; dependency=backend; retry_ms=5200; ref=k3f9", "drain", ""] {
        assert_eq!(judged_close(reason, "closed"), "closed", "{reason}");
    }
}
