//! Events of PagerDuty, Events API v2. One key is one incident there, so a repeated event changes nothing.

use crate::alert::key::AlertKind;
use crate::alert::notice::{NoticeContent, NoticeEvent};
use crate::alert::report::runbook;
use crate::alert::text::utc;
use crate::job::alerts::NoticeSender;
use serde_json::{Value, json};

/// The bound of a summary, in characters.
const SUMMARY_MAX: usize = 1_024;
/// The bound of a key, in characters.
const KEY_MAX: usize = 255;

pub(super) fn body(content: &NoticeContent, sender: &NoticeSender, routing_key: &str) -> String {
    let action = match content.event {
        NoticeEvent::Began | NoticeEvent::Continues => "trigger",
        NoticeEvent::Acknowledged => "acknowledge",
        // A report never comes here: `alert.info` accepts no PagerDuty.
        NoticeEvent::Ended | NoticeEvent::Reported => "resolve",
    };
    let key: String =
        format!("seawall/{}/{}", sender.deployment, content.key).chars().take(KEY_MAX).collect();
    let mut body = json!({"routing_key": routing_key, "event_action": action, "dedup_key": key});
    if action == "trigger" {
        let summary: String =
            format!("{} ({})", content.title, content.text).chars().take(SUMMARY_MAX).collect();
        let kind = content.key.kind;
        let component = if kind == AlertKind::Dependency { &*content.key.name } else { "seawall" };
        body["client"] = Value::from("Seawall");
        body["payload"] = json!({
            "summary": summary,
            "source": sender.deployment,
            "severity": content.severity.as_str(),
            "timestamp": utc(content.since_ms),
            "component": component,
            "class": content.key.to_string(),
            "custom_details": {
                "incident": content.incident, "reference": content.reference, "seen_by": sender.instance,
                "runbook": runbook(&sender.docs_url, &content.key.runbook()),
            },
        });
        let place = runbook(&sender.docs_url, &content.key.runbook());
        if place.starts_with("http") {
            body["links"] = json!([{"href": place, "text": "Runbook"}]);
        }
    }
    body.to_string()
}

#[cfg(test)]
mod tests {
    use super::super::webhook::tests::attempt;
    use super::*;

    #[test]
    fn steps_of_an_incident_have_one_key() {
        let of = |event| {
            let attempt = attempt(event);
            let body = body(&attempt.notice.content, &attempt.sender, "key");
            serde_json::from_str::<Value>(&body).expect("JSON")
        };
        let (begin, end) = (of(NoticeEvent::Began), of(NoticeEvent::Ended));
        assert_eq!(begin["dedup_key"], "seawall/prod/dependency/store");
        assert_eq!(begin["payload"]["severity"], "critical");
        assert_eq!(begin["payload"]["timestamp"], "2026-11-24T08:11:40Z");
        let expected = json!({"routing_key": "key", "event_action": "resolve", "dedup_key": "seawall/prod/dependency/store"});
        assert_eq!(end, expected);
    }
}
