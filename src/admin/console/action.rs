//! Actions in words, for the list of changes.

use crate::wire::request::Method;

/// The action that a request for this path was, by the status of its answer; `None` if it changed nothing.
pub(super) fn text(method: Method, path: &str, status: u16) -> Option<String> {
    if !is_order(method, path) || !(200..300).contains(&status) {
        return None;
    }
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let text = match (method, parts.as_slice()) {
        (_, ["health", "dependencies", name, "probe"]) => format!("probe of {name} requested"),
        (Method::Delete, ["health", "dependencies", name, "force"]) => format!("{name} released"),
        (_, ["health", "dependencies", name, "force"]) => format!("{name} held"),
        (_, ["health", "admission"]) => "admission mode set".into(),
        (_, ["drain"]) => "drain requested".into(),
        // A forecast is answered with 200.
        (_, ["cluster", "rebalance"]) if status == 202 => "rebalance requested".into(),
        (_, ["users", _, "disconnect"]) => "a user disconnected".into(),
        (Method::Delete, ["users", _, "block"]) => "a user unblocked".into(),
        (_, ["users", _, "block"]) => "a user blocked".into(),
        (_, ["users", _, "erase"]) => "a user erased".into(),
        (_, ["tokens", "revoke"]) => "tokens revoked".into(),
        (_, ["flags", name]) => format!("flag {name} switched"),
        (_, ["client-errors", name, "mute"]) => format!("client error {name} muted or logged again"),
        (_, ["client-errors", name]) => format!("client error {name} forgotten"),
        (_, ["alerts", "test"]) => "test notice requested".into(),
        (_, ["alerts", "resend"]) => "undelivered notices sent again".into(),
        (_, ["alerts", number, "ack"]) => format!("incident {number} acknowledged"),
        (_, ["relay", "skip"]) => "a channel of the relay skipped".into(),
        (_, ["relay", "routes", name, "try"]) => format!("route {name} tried"),
        (_, ["relay", "routes", name, "replay"]) => format!("messages of route {name} sent again"),
        (_, ["relay", "routes", name, "resume"]) => format!("route {name} resumed"),
        (Method::Delete, ["slo", "exclusions", _]) => "exclusion ended".into(),
        (_, ["slo", "exclusions"]) => "period excluded from objectives".into(),
        (Method::Delete, ["alerts", "silences", _]) => "silence ended".into(),
        (_, ["alerts", "silences"]) => "alerts silenced".into(),
        (_, _) => return None,
    };
    Some(text)
}

/// True for a request that may change something besides links and sessions.
pub(super) fn is_order(method: Method, path: &str) -> bool {
    !matches!(method, Method::Get | Method::Head) && !path.starts_with("/console/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::route::tests::PATHS;

    #[test]
    fn every_order_that_was_carried_out_is_an_action() {
        for (path, allow) in PATHS {
            for (name, method) in [("POST", Method::Post), ("PUT", Method::Put), ("DELETE", Method::Delete)] {
                if allow.split(", ").any(|own| own == name) {
                    assert!(text(method, path, 202).is_some(), "{name} {path}");
                    assert_eq!(text(method, path, 503), None, "{name} {path}");
                }
            }
            assert_eq!(text(Method::Get, path, 200), None, "{path}");
        }
    }

    #[test]
    fn action_is_named_and_a_question_is_none() {
        let cases = [
            (Method::Post, "/health/dependencies/store/probe", Some("probe of store requested")),
            (Method::Delete, "/health/dependencies/store/force", Some("store released")),
            (Method::Post, "/alerts/4/ack", Some("incident 4 acknowledged")),
            (Method::Post, "/slo/exclusions", Some("period excluded from objectives")),
            (Method::Put, "/flags/new-list", Some("flag new-list switched")),
            (Method::Get, "/drain", None),
            (Method::Post, "/console/links", None),
        ];
        for (method, path, wanted) in cases {
            assert_eq!(text(method, path, 202).as_deref(), wanted, "{path}");
        }
        assert_eq!(text(Method::Post, "/cluster/rebalance", 200), None, "a forecast");
    }
}
