//! A request that shows if a backend is reached and accepts the signature.

use super::call::{CallClient, RelayCall, timestamp};
use crate::net::deadline::now;
use crate::relay::route::RelayRoute;
use crate::wire::webhook;
use std::net::IpAddr;
use std::time::Duration;

/// The bytes of the body that are shown.
const SHOWN_BYTES: usize = 4 << 10;

/// A request with `"type":"test"`, for operators. It has nothing to do with the running relay.
#[derive(Clone, Copy, Debug)]
pub struct TestCall<'a> {
    pub route: &'a RelayRoute,
    pub source: Option<IpAddr>,
    pub unix_ms: u64,
}

/// The response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestReport {
    pub status: u16,
    pub content_type: Option<String>,
    /// The beginning of the body.
    pub body: String,
    /// Until the head.
    pub took: Duration,
}

impl TestCall<'_> {
    /// Sends it. An error is the cause in a sentence, without the address's path.
    pub fn send(self) -> Result<TestReport, String> {
        let TestCall { route, source, unix_ms } = self;
        let id = format!("msg_test_{unix_ms}");
        let body = webhook::test(&timestamp(unix_ms), &route.name);
        let client = CallClient::new(source);
        let call = RelayCall { route, id: &id, body: &body, unix_ms, timeout: route.timeout };
        let began = now();
        let mut response = call.post(&client, began).map_err(|trouble| trouble.text)?;
        let took = now().saturating_duration_since(began);
        let mut shown = Vec::new();
        let mut part = [0; 1_024];
        client.control.wait_until(now() + route.timeout);
        while shown.len() < SHOWN_BYTES
            && let Ok(count @ 1..) = response.read(&mut part)
        {
            shown.extend_from_slice(part.get(..count).unwrap_or_default());
        }
        shown.truncate(SHOWN_BYTES);
        Ok(TestReport {
            status: response.status(),
            content_type: response.header("content-type").map(str::to_owned),
            body: String::from_utf8_lossy(&shown).into_owned(),
            took,
        })
    }
}
