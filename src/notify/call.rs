//! One try of a notice.

use super::address::{self, NoticeAddress};
use super::{pagerduty, slack, webhook};
use crate::alert::retry::{AttemptOutcome, RetryAdvice, outcome, retry_after_ms};
use crate::job::alerts::{HiddenText, NoticeAttempt, NoticeTarget};
use crate::net::deadline::now;
use crate::net::http_client::{HttpAnswer, HttpClient};
use crate::net::trouble::Trouble;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

const TIMEOUT: Duration = Duration::from_secs(10);
/// Characters of an answer that are shown.
const SHOWN_CHARS: usize = 200;

type Headers = Vec<(&'static str, Zeroizing<String>)>;

/// Sends a notice. Returns the outcome, and the answer without secrets.
pub(super) fn send(client: &HttpClient, attempt: &NoticeAttempt, unix_ms: u64) -> (AttemptOutcome, String) {
    let content = &attempt.notice.content;
    let (url, headers, body, secrets): (&str, Headers, String, Vec<&HiddenText>) = match &attempt.target {
        NoticeTarget::Slack { url, mention } => {
            let body = slack::body(attempt, mention);
            (&url.0, Headers::new(), body, vec![url])
        }
        NoticeTarget::Pagerduty { url, key } => {
            (url, Headers::new(), pagerduty::body(content, &attempt.sender, &key.0), vec![key])
        }
        NoticeTarget::Webhook { url, secrets } => {
            let body = webhook::body(content, &attempt.sender);
            let id = webhook::id(content, &attempt.sender);
            let headers = webhook::headers(&id, unix_ms / 1_000, &body, secrets);
            (&url.0, headers, body, secrets.iter().chain([url]).collect())
        }
    };
    let Ok(NoticeAddress { url: address, peer }) = address::parse(url) else {
        return (AttemptOutcome::Rejected, "the address cannot be used".into());
    };
    let deadline = now() + TIMEOUT;
    let post = |body: &str, deadline: Instant| client.post_json(&address, &headers, body, &peer, deadline);
    let mut answered = post(&body, deadline);
    if let (Ok(HttpAnswer { status: 400, .. }), NoticeTarget::Slack { .. }) = (&answered, &attempt.target) {
        // It may not like a block; the text alone says it all.
        answered = post(&slack::plain(attempt), deadline);
    }
    judged(answered, &secrets, unix_ms)
}

/// Sends a heartbeat.
pub(super) fn beat(client: &HttpClient, url: &str) -> (AttemptOutcome, String) {
    let Ok(NoticeAddress { url: address, peer }) = address::parse(url) else {
        return (AttemptOutcome::Rejected, "the address cannot be used".into());
    };
    let answered = client.fetch(&address, &[], &peer, now() + TIMEOUT);
    judged(answered, &[&HiddenText(Zeroizing::new(url.to_owned()))], 0)
}

fn judged(
    answered: Result<HttpAnswer, Trouble>,
    secrets: &[&HiddenText],
    unix_ms: u64,
) -> (AttemptOutcome, String) {
    match answered {
        Ok(answer) => {
            let retry_ms = answer.retry_after.as_deref().and_then(|text| retry_after_ms(text, unix_ms));
            let body = String::from_utf8_lossy(&answer.body).trim().to_owned();
            let shown = shown(&format!("{} {body}", answer.status), secrets);
            (outcome(answer.status, retry_ms), shown)
        }
        Err(trouble) => (AttemptOutcome::Failed(RetryAdvice::Open), shown(&trouble.text, secrets)),
    }
}

/// The beginning of a text, with all secrets masked: a service may echo what it was sent.
fn shown(text: &str, secrets: &[&HiddenText]) -> String {
    let mut text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    for secret in secrets {
        let secret = secret.0.as_str();
        // The secret of an address is its path.
        let path =
            secret.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
        for part in [secret, path].into_iter().filter(|part| part.len() >= 4) {
            text = text.replace(part, "***");
        }
    }
    text.chars().take(SHOWN_CHARS).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_that_a_service_echoes_is_masked() {
        let secret = |text: &str| HiddenText(Zeroizing::new(text.into()));
        let (url, key) = (secret("https://hooks.example/services/T0/B0/hunter2"), secret("hunter2-key"));
        let text =
            "404 no /services/T0/B0/hunter2 at https://hooks.example/services/T0/B0/hunter2\nfor hunter2-key";
        assert_eq!(shown(text, &[&url, &key]), "404 no /*** at *** for ***");
        assert_eq!(shown(&"x".repeat(300), &[]).len(), SHOWN_CHARS);
        assert_eq!(format!("{url:?}"), "(hidden)");
    }
}
