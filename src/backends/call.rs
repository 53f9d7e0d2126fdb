//! One signed request to a backend.

use crate::health::advice::look_at;
use crate::health::definition::{DependencyKind, Use};
use crate::health::finding::{Evidence, Fault};
use crate::job::EvidenceSender;
use crate::net::address::http;
use crate::net::deadline::now;
use crate::net::dial::{AddressRule, Dialer};
use crate::net::http_client::HttpClient;
use crate::net::http_reading::{CallControl, HttpReading};
use crate::net::tls::TlsTrust;
use crate::net::trouble::Trouble;
use crate::relay::answer::{LaterReason, Meaning, meaning};
use crate::relay::route::RelayRoute;
use crate::wire::webhook::signatures;
use ahash::AHashMap;
use parking_lot::Mutex;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use zeroize::Zeroizing;

/// The longest time that a call with a response is reported to have taken. A backend that thinks before it answers is well, and the
/// breaker would take it for a slow one.
const REPORTED_MAX: Duration = Duration::from_millis(500);
/// Clients that rest for one route; more are dropped with their connections.
const RESTING_MAX: usize = 64;
/// The bytes of an unread body that are dropped to keep a connection.
pub(super) const SKIPPED_BYTES_MAX: usize = 16 << 10;

/// A client for one call at a time, with the connection that it keeps.
pub(super) struct CallClient {
    client: HttpClient,
    pub(super) control: Arc<CallControl>,
}

impl CallClient {
    fn new(source: Option<IpAddr>, trust: Arc<TlsTrust>) -> CallClient {
        let dialer = Dialer::new(source, trust).with_rule(AddressRule::NotLinkLocal);
        let control = Arc::new(CallControl::new());
        let client = HttpClient::reading(Arc::new(Mutex::new(dialer)), Arc::clone(&control));
        CallClient { client, control }
    }
}

/// The clients of all routes. A client that rests is kept for its route, and the last one back is the first to go, so that few connections are kept
/// warm.
pub(super) struct RouteCalls {
    source: Option<IpAddr>,
    resting: Mutex<RestingCalls>,
}

struct RestingCalls {
    clients: AHashMap<Box<str>, Vec<CallClient>>,
    /// Of all clients, so that the authorities are read once: that takes milliseconds.
    trust: Arc<TlsTrust>,
}

impl RestingCalls {
    fn new() -> RestingCalls {
        RestingCalls { clients: AHashMap::new(), trust: Arc::new(TlsTrust::new(None)) }
    }
}

impl RouteCalls {
    /// `source`: the address that calls leave from; `None`: the system chooses.
    pub(super) fn new(source: Option<IpAddr>) -> RouteCalls {
        RouteCalls { source, resting: Mutex::new(RestingCalls::new()) }
    }

    /// A client for one call to a route's backend.
    pub(super) fn take(&self, route: &str) -> CallClient {
        let mut resting = self.resting.lock();
        let kept = resting.clients.get_mut(route).and_then(Vec::pop);
        kept.unwrap_or_else(|| CallClient::new(self.source, Arc::clone(&resting.trust)))
    }

    pub(super) fn give_back(&self, route: &str, client: CallClient) {
        let mut resting = self.resting.lock();
        match resting.clients.get_mut(route) {
            Some(clients) if clients.len() >= RESTING_MAX => {}
            Some(clients) => clients.push(client),
            None => drop(resting.clients.insert(route.into(), vec![client])),
        }
    }

    /// Drops all clients, as after a reload: routes, addresses and authorities may be others.
    pub(super) fn clear(&self) {
        *self.resting.lock() = RestingCalls::new();
    }
}

/// A request.
pub(super) struct RelayCall<'a> {
    pub(super) route: &'a RelayRoute,
    /// `webhook-id`.
    pub(super) id: &'a str,
    pub(super) body: &'a [u8],
    pub(super) unix_ms: u64,
    pub(super) timeout: Duration,
}

/// The head of a response, and the time until it came.
pub(super) struct Called {
    pub(super) response: HttpReading,
    pub(super) meaning: Meaning,
    pub(super) took: Duration,
}

impl RelayCall<'_> {
    /// Sends the request and waits for the head of the response. Reports the outcome to the breaker of the route's dependency.
    pub(super) fn send(
        &self,
        evidence: Option<&EvidenceSender>,
        client: &CallClient,
    ) -> Result<Called, Trouble> {
        let began = now();
        let sent = catch_unwind(AssertUnwindSafe(|| self.post(client, began))).unwrap_or_else(|_| {
            Err(Trouble::new(Fault::Internal, "the backend could not be called: the call panicked"))
        });
        let took = now().saturating_duration_since(began);
        let called = sent.map(|response| {
            let meaning = meaning(response.status(), response.header("content-type"));
            Called { response, meaning, took }
        });
        if let Some(evidence) = evidence {
            report(evidence, &called, took);
        }
        called
    }

    pub(super) fn post(&self, client: &CallClient, began: Instant) -> Result<HttpReading, Trouble> {
        let (target, _) = http(&self.route.url)
            .map_err(|error| Trouble::new(Fault::Internal, format!("the address cannot be used: {error}")))?;
        client.control.begin(began + self.timeout);
        let signatures = signatures(&self.route.secrets, self.id, self.unix_ms / 1_000, self.body);
        let text = |text: &str| Zeroizing::new(text.to_owned());
        let headers = [
            ("seawall-route", text(&self.route.name)),
            ("webhook-id", text(self.id)),
            ("webhook-timestamp", Zeroizing::new((self.unix_ms / 1_000).to_string())),
            ("webhook-signature", Zeroizing::new(signatures)),
        ];
        client.client.post_reading(target.url.as_str(), &headers, self.body, &target.peer)
    }
}

fn report(evidence: &EvidenceSender, called: &Result<Called, Trouble>, took: Duration) {
    let result = match called {
        Ok(called) => match called.meaning {
            Meaning::Taken(_) | Meaning::Refused | Meaning::Later(LaterReason::Asked) => Ok(()),
            Meaning::Later(LaterReason::Failed) | Meaning::Gone => {
                let text = format!("answers with status {}", called.response.status());
                Err(Trouble::new(Fault::Status, text))
            }
        },
        // The process ended the call.
        Err(Trouble { fault: Fault::Internal, .. }) => return,
        Err(trouble) => Err(trouble.clone()),
    };
    let took = if result.is_ok() { took.min(REPORTED_MAX) } else { took };
    let result = result.map_err(|trouble| {
        let look_at = look_at(DependencyKind::Http, trouble.fault);
        trouble.into_cause(look_at, &[])
    });
    evidence.tell(Evidence::Call(Use::Call, result, took));
}

/// A time in UTC with milliseconds, as in `2026-11-28T21:04:13.115Z`.
pub(super) fn timestamp(unix_ms: u64) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000);
    let at = at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    let (hour, minute, second, ms) = (at.hour(), at.minute(), at.second(), at.millisecond());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_share_the_authorities_until_a_reload() {
        let calls = RouteCalls::new(None);
        let trust = |calls: &RouteCalls| Arc::clone(&calls.resting.lock().trust);
        let first = trust(&calls);
        let clients = ["one", "one", "two"].map(|route| calls.take(route));
        assert_eq!(Arc::strong_count(&first), 2 + clients.len());
        clients.into_iter().for_each(|client| calls.give_back("one", client));
        let again = calls.take("one");
        assert_eq!(Arc::strong_count(&first), 2 + 3, "a client that rested is used again");
        calls.clear();
        assert!(!Arc::ptr_eq(&first, &trust(&calls)));
        drop(again);
        assert_eq!(Arc::strong_count(&first), 1, "nothing of it is left");
    }

    #[test]
    fn timestamp_has_milliseconds() {
        assert_eq!(timestamp(1_795_899_853_115), "2026-11-28T21:04:13.115Z");
        assert_eq!(timestamp(0), "1970-01-01T00:00:00.000Z");
    }
}
