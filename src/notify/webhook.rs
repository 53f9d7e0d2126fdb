//! Signed webhooks (Standard Webhooks 1.0, standardwebhooks.com).

use crate::alert::notice::{NoticeContent, NoticeEvent};
use crate::alert::report::runbook;
use crate::alert::text::utc;
use crate::job::alerts::{HiddenText, NoticeSender};
use crate::wire::webhook::{WebhookKey, signatures};
use serde_json::json;
use zeroize::Zeroizing;

/// The name of a message. It stays the same when the message is sent again, and another instance with incidents of the same numbers
/// has other names.
pub(super) fn id(content: &NoticeContent, sender: &NoticeSender) -> String {
    format!("{}/{}/{}/{}", sender.deployment, content.since_ms, content.incident, content.step)
}

pub(super) fn body(content: &NoticeContent, sender: &NoticeSender) -> String {
    let event = match content.event {
        NoticeEvent::Began => "began",
        NoticeEvent::Continues | NoticeEvent::Acknowledged => "changed",
        NoticeEvent::Ended => "ended",
        NoticeEvent::Reported => return report(content, sender),
    };
    let data = json!({
        "incident": content.incident,
        "alert": content.key.to_string(),
        "key": format!("seawall/{}/{}", sender.deployment, content.key),
        "severity": content.severity.as_str(),
        "title": content.title,
        "text": content.text,
        "since": utc(content.since_ms),
        "reference": content.reference,
        "all_clear": content.all_clear,
        "perhaps_repeated": content.is_perhaps_repeated,
        "runbook": runbook(&sender.docs_url, &content.key.runbook()),
        "instance": sender.instance,
    });
    json!({"type": format!("seawall.incident.{event}"), "timestamp": utc(content.at_ms), "data": data})
        .to_string()
}

/// The report of a week.
fn report(content: &NoticeContent, sender: &NoticeSender) -> String {
    let data = json!({
        "severity": content.severity.as_str(),
        "title": content.title,
        "text": content.text,
        "since": utc(content.since_ms),
        "deployment": sender.deployment,
        "instance": sender.instance,
    });
    json!({"type": "seawall.report", "timestamp": utc(content.at_ms), "data": data}).to_string()
}

/// The headers that name, date and sign a body; a signature for each secret.
pub(super) fn headers(
    id: &str,
    unix_s: u64,
    body: &str,
    secrets: &[HiddenText],
) -> Vec<(&'static str, Zeroizing<String>)> {
    let keys: Vec<WebhookKey> = secrets.iter().filter_map(|secret| WebhookKey::parse(&secret.0)).collect();
    let signatures = signatures(&keys, id, unix_s, body.as_bytes());
    vec![
        ("webhook-id", Zeroizing::new(id.to_owned())),
        ("webhook-timestamp", Zeroizing::new(unix_s.to_string())),
        ("webhook-signature", Zeroizing::new(signatures)),
    ]
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::alert::channel::AlertChannel;
    use crate::alert::key::{AlertKey, AlertKind, AlertSeverity};
    use crate::alert::notice::AlertNotice;
    use crate::job::alerts::{NoticeAttempt, NoticeTarget};
    use std::sync::Arc;

    /// A try of a notice about incident 17.
    pub(crate) fn attempt(event: NoticeEvent) -> NoticeAttempt {
        let content = NoticeContent {
            event,
            incident: 17,
            key: AlertKey::new(AlertKind::Dependency, "store"),
            severity: AlertSeverity::Critical,
            step: 1,
            title: "store is down".into(),
            text: "Clients are refused.".into(),
            since_ms: 1_795_507_900_000,
            at_ms: 1_795_507_960_000,
            reference: Some("k3f9x2".into()),
            all_clear: None,
            is_perhaps_repeated: false,
        };
        let sender = NoticeSender {
            deployment: "prod".into(),
            instance: "gw-1".into(),
            docs_url: "https://ops.example/docs/".into(),
        };
        NoticeAttempt {
            notice: AlertNotice::new(1, AlertChannel::Slack, content),
            others: Vec::new(),
            target: NoticeTarget::Webhook { url: HiddenText(Zeroizing::default()), secrets: Vec::new() },
            sender: Arc::new(sender),
            is_repeated: false,
        }
    }

    #[test]
    fn signature_is_the_one_of_the_specification() {
        // The example of the reference libraries.
        let secret = HiddenText(Zeroizing::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()));
        let headers = headers(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            "{\"test\": 2432232314}",
            &[secret.clone(), secret],
        );
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(headers[2].1.as_str(), format!("{signature} {signature}"));
        assert_eq!(headers[1].1.as_str(), "1614265330");
    }

    #[test]
    fn body_names_the_incident() {
        let attempt = attempt(NoticeEvent::Ended);
        let body = body(&attempt.notice.content, &attempt.sender);
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(body["type"], "seawall.incident.ended");
        assert_eq!(body["data"]["key"], "seawall/prod/dependency/store");
        assert_eq!(body["data"]["perhaps_repeated"], false);
        assert_eq!(id(&attempt.notice.content, &attempt.sender), "prod/1795507900000/17/1");
    }
}
