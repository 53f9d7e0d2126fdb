//! Actions in words, for the list of changes.

use crate::wire::request::Method;

/// The action that a request for this path was; `None` if it changes nothing that a person would look for.
pub(super) fn text(method: Method, path: &str) -> Option<String> {
    if matches!(method, Method::Get | Method::Head) {
        return None;
    }
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let text = match (method, parts.as_slice()) {
        (_, ["health", "dependencies", name, "probe"]) => format!("probe of {name} requested"),
        (Method::Delete, ["health", "dependencies", name, "force"]) => format!("{name} released"),
        (_, ["health", "dependencies", name, "force"]) => format!("{name} held"),
        (_, ["health", "admission"]) => "admission mode set".into(),
        (_, ["drain"]) => "drain requested".into(),
        (_, ["cluster", "rebalance"]) => "rebalance requested".into(),
        (_, ["users", _, "disconnect"]) => "a user disconnected".into(),
        (Method::Delete, ["users", _, "block"]) => "a user unblocked".into(),
        (_, ["users", _, "block"]) => "a user blocked".into(),
        (_, ["users", _, "erase"]) => "a user erased".into(),
        (_, ["alerts", number, "ack"]) => format!("incident {number} acknowledged"),
        (Method::Delete, ["slo", "exclusions", _]) => "exclusion ended".into(),
        (_, ["slo", "exclusions"]) => "period excluded from objectives".into(),
        (Method::Delete, ["alerts", "silences", _]) => "silence ended".into(),
        (_, ["alerts", "silences"]) => "alerts silenced".into(),
        (_, _) => return None,
    };
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn action_is_named_and_a_question_is_none() {
        let cases = [
            (Method::Post, "/health/dependencies/store/probe", Some("probe of store requested")),
            (Method::Delete, "/health/dependencies/store/force", Some("store released")),
            (Method::Post, "/alerts/4/ack", Some("incident 4 acknowledged")),
            (Method::Post, "/slo/exclusions", Some("period excluded from objectives")),
            (Method::Get, "/drain", None),
            (Method::Post, "/console/links", None),
        ];
        for (method, path, wanted) in cases {
            assert_eq!(text(method, path).as_deref(), wanted, "{path}");
        }
    }
}
