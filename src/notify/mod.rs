//! The threads of the channels: each sends the notices of one channel, one at a time, and reports the answers.
//!
//! They decide nothing. The thread `slo` chooses the next notice and judges each answer, so a service that hangs delays its own
//! channel and nothing else.

pub mod address;
mod call;
mod pagerduty;
mod slack;
mod webhook;

use crate::alert::notice::AlertNotice;
use crate::alert::retry::{AttemptOutcome, RetryAdvice};
use crate::clock::Now;
use crate::job::alerts::{NotifyEnds, NotifyJob, NotifyResult};
use crate::net::dial::{AddressRule, Dialer};
use crate::net::http_client::HttpClient;
use crate::net::tls::TlsTrust;
use crate::wire::webhook::WebhookKey;
use parking_lot::Mutex;
use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::Builder;

/// True exactly if the text is a secret of a signed webhook: `whsec_` and 24 to 64 bytes in base64.
pub fn is_webhook_secret(text: &str) -> bool {
    WebhookKey::parse(text).is_some()
}

/// Starts the thread of one channel. It ends when the thread `slo` has ended.
pub fn start(
    name: &str,
    ends: NotifyEnds,
    source: Option<IpAddr>,
    clock: impl Fn() -> Now + Send + 'static,
) -> io::Result<()> {
    let run = move || {
        let dialer = Dialer::new(source, TlsTrust::new(None)).with_rule(AddressRule::NotLinkLocal);
        let client = HttpClient::new(Arc::new(Mutex::new(dialer)));
        for job in &ends.jobs {
            let began = clock();
            let ids = |others: &[AlertNotice]| others.iter().map(|notice| notice.id).collect();
            let (notice, others, (outcome, answer)) = match job {
                NotifyJob::Notice(attempt) => {
                    let id = (attempt.notice.channel, attempt.notice.id);
                    (Some(id), ids(&attempt.others), guarded(|| call::send(&client, &attempt, began.unix_ms)))
                }
                NotifyJob::Heartbeat(url) => (None, Vec::new(), guarded(|| call::beat(&client, &url.0))),
            };
            let took_ms = u64::try_from(clock().at.since(began.at).as_millis()).unwrap_or(u64::MAX);
            if ends.results.send(NotifyResult { notice, others, outcome, answer, took_ms }).is_err() {
                return;
            }
        }
    };
    Builder::new().name(format!("notify-{name}")).spawn(run).map(|_| ())
}

/// Makes a try. A defect in it must not end the thread, because its channel would be silent from then on.
fn guarded(attempt: impl FnOnce() -> (AttemptOutcome, String)) -> (AttemptOutcome, String) {
    catch_unwind(AssertUnwindSafe(attempt)).unwrap_or_else(|_| {
        (AttemptOutcome::Failed(RetryAdvice::Open), "a defect of the gateway: see its log".into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panic_in_a_try_is_its_failure() {
        let (outcome, _) = guarded(|| panic!("a defect"));
        assert_eq!(outcome, AttemptOutcome::Failed(RetryAdvice::Open));
    }
}
