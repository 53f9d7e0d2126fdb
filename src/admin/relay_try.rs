//! A test request to the backend of a route: signed like any other, with nothing to answer.

use crate::clock::Now;
use crate::net::address;
use crate::net::deadline::now;
use crate::net::dial::{AddressRule, Dialer};
use crate::net::http_client::{HttpAnswer, HttpClient};
use crate::net::tls::TlsTrust;
use crate::relay::answer::{Meaning, meaning};
use crate::relay::route::RelayRoute;
use crate::wire::webhook;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

/// The longest wait for the response, which is shorter than that of the command.
const TIMEOUT_MAX: Duration = Duration::from_secs(5);
/// Characters of the response's body that are shown.
const SHOWN_CHARS_MAX: usize = 500;

/// Sends the request, and returns what came of it.
pub(super) fn send(route: &RelayRoute, source: Option<IpAddr>, clock: impl Fn() -> Now) -> Value {
    let begun = clock();
    let id = id();
    let body = webhook::test(&timestamp(begun.unix_ms), &route.name);
    let client = BackendClient::new(source);
    let answered = client.post(route, &id, &String::from_utf8_lossy(&body), begun.unix_ms);
    let took = u64::try_from(clock().at.since(begun.at).as_millis()).unwrap_or(u64::MAX);
    let mut report = outcome(answered);
    report["route"] = json!(&*route.name);
    report["id"] = json!(id);
    report["took_ms"] = json!(took);
    report
}

/// The status, its meaning and the begin of the body; or why there is no response.
pub(super) fn outcome(answered: Result<HttpAnswer, String>) -> Value {
    let answer = match answered {
        Ok(answer) => answer,
        Err(text) => return json!({"outcome": "later", "error": text}),
    };
    let outcome = match meaning(answer.status, None) {
        Meaning::Taken(_) => "taken",
        Meaning::Later(_) => "later",
        Meaning::Gone => "gone",
        Meaning::Refused => "refused",
    };
    let text = String::from_utf8_lossy(&answer.body);
    let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    json!({"outcome": outcome, "status": answer.status, "body": shown, "cut": shown.len() < text.len()})
}

/// Posts signed requests over one connection, and reads whole responses.
pub(super) struct BackendClient(HttpClient);

impl BackendClient {
    pub(super) fn new(source: Option<IpAddr>) -> BackendClient {
        let dialer = Dialer::new(source, TlsTrust::new(None)).with_rule(AddressRule::NotLinkLocal);
        BackendClient(HttpClient::new(Arc::new(Mutex::new(dialer))))
    }

    pub(super) fn post(
        &self,
        route: &RelayRoute,
        id: &str,
        body: &str,
        unix_ms: u64,
    ) -> Result<HttpAnswer, String> {
        let (target, _) = address::http(&route.url).map_err(|error| error.to_string())?;
        let unix_s = unix_ms / 1_000;
        let signatures = webhook::signatures(&route.secrets, id, unix_s, body.as_bytes());
        let headers = [
            ("seawall-route", Zeroizing::new(route.name.to_string())),
            ("webhook-id", Zeroizing::new(id.to_owned())),
            ("webhook-timestamp", Zeroizing::new(unix_s.to_string())),
            ("webhook-signature", Zeroizing::new(signatures)),
        ];
        let deadline = now() + route.timeout.min(TIMEOUT_MAX);
        let answered = self.0.post_json(target.url.as_str(), &headers, body, &target.peer, deadline);
        answered.map_err(|trouble| trouble.text)
    }
}

/// A random id of the form that publications have.
fn id() -> String {
    let mut bytes = [0; 16];
    // Without random numbers it is not unique, which a test does not need.
    let _filled = getrandom::fill(&mut bytes);
    format!("msg_{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// A time in UTC, as in `2026-11-28T21:04:13.115Z`.
pub(super) fn timestamp(unix_ms: u64) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000);
    at.ok().and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::relay::route::tests::route;
    use crate::wire::webhook::WebhookKey;
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpListener;

    fn clock() -> Now {
        Now { at: Moment::from_micros(0), unix_ms: 1_795_344_253_115 }
    }

    #[test]
    fn test_request_is_signed_and_its_response_is_shown() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut route = route("assistant", "thread.*");
        route.url = format!("http://{}/seawall", listener.local_addr().expect("bound")).into();
        route.secrets = vec![WebhookKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret")];
        let secrets = route.secrets.clone();
        let backend = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
            let mut head = Vec::new();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).expect("a line");
                if line.trim().is_empty() {
                    break;
                }
                head.push(line.trim().to_owned());
            }
            let value = |name: &str| {
                let found = head.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                found.unwrap_or_else(|| panic!("{name} {head:?}")).to_owned()
            };
            let mut body = vec![0; value("content-length").parse().expect("a number")];
            reader.read_exact(&mut body).expect("the body");
            let at: u64 = value("webhook-timestamp").parse().expect("a number");
            let signed = webhook::signatures(&secrets, &value("webhook-id"), at, &body);
            assert_eq!(value("webhook-signature"), signed);
            assert_eq!(value("seawall-route"), "assistant");
            stream.write_all(b"HTTP/1.1 422 No\r\ncontent-length: 9\r\n\r\nno thanks").expect("sent");
            String::from_utf8(body).expect("text")
        });
        let report = send(&route, None, clock);
        let body: Value = serde_json::from_str(&backend.join().expect("no panic")).expect("JSON");
        assert_eq!((&body["type"], &body["data"]["route"]), (&json!("test"), &json!("assistant")));
        assert_eq!(body["timestamp"], "2026-11-22T10:44:13.115Z");
        let shown = (&report["outcome"], &report["status"], &report["body"]);
        assert_eq!(shown, (&json!("refused"), &json!(422), &json!("no thanks")));
    }

    #[test]
    fn backend_that_cannot_be_reached_is_named() {
        let mut route = route("assistant", "thread.*");
        // A port that was free a moment ago, and that no one listens on.
        let address =
            TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
        route.url = format!("http://{address}/").into();
        let report = send(&route, None, clock);
        assert_eq!(report["outcome"], "later");
        assert!(report["error"].as_str().expect("a text").contains(&address.to_string()), "{report}");
    }
}
