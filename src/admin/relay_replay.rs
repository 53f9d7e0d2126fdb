//! Publications of a channel that are sent to the backend again, because an operator wants it.
//!
//! They are read from the log, and posted by this thread one after the other, with the ids that they have. The relay notices nothing of
//! it: no cursor moves and no answer begins, and the bodies of responses are dropped.

use super::refusal::AdminRefusal;
use super::relay_try::{BackendClient, timestamp};
use super::{Admin, relay_try};
use crate::clock::Now;
use crate::id::{ChannelName, Epoch, Offset};
use crate::job::{Page, Span};
use crate::net::deadline::now;
use crate::relay::route::RelayRoute;
use crate::wire::publication::Change;
use crate::wire::stream::StreamMark;
use crate::wire::webhook::{RelayedPublication, message_id};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

/// Publications that are read at once.
const PAGE: u32 = 50;
/// The wait for the store.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// No request begins later than this, so that the answer comes before the command gives up.
const SEND_TIME: Duration = Duration::from_secs(2);

/// A publication as the log has it.
#[derive(Debug, Deserialize)]
struct LoggedPublication<'a> {
    offset: u64,
    key: Option<String>,
    user: String,
    time: u64,
    edits: Option<u64>,
    deletes: Option<u64>,
    deleted_by: Option<u64>,
    /// Its part in a stream.
    stream: Option<String>,
    #[serde(borrow)]
    data: &'a RawValue,
}

impl LoggedPublication<'_> {
    fn change(&self) -> Change {
        match (self.edits, self.deletes) {
            (Some(original), _) => Change::Edits(Offset(original)),
            (None, Some(original)) => Change::Deletes(Offset(original)),
            (None, None) => Change::None,
        }
    }

    /// True if the route sends it, and there still is something to send.
    fn is_relayed(&self, route: &RelayRoute) -> bool {
        self.stream.is_none()
            && self.deleted_by.is_none()
            && route.relays(&self.user, self.change(), StreamMark::None)
    }

    fn body(&self, route: &RelayRoute, epoch: Epoch, channel: &ChannelName, unix_ms: u64) -> Vec<u8> {
        let publication = RelayedPublication {
            timestamp: &timestamp(unix_ms),
            route: &route.name,
            attempt: 1,
            epoch,
            claims: None,
            channel,
            offset: Offset(self.offset),
            key: self.key.as_deref(),
            user: &self.user,
            time_ms: self.time,
            change: self.change(),
            data: self.data.get(),
            answer: None,
        };
        publication.replay()
    }
}

/// The publications of a page up to an offset, and the place after them if there may be more.
fn publications(page: &str, count: u32, to: Offset) -> (Vec<LoggedPublication<'_>>, Option<u64>) {
    let Ok(mut all) = serde_json::from_str::<Vec<LoggedPublication<'_>>>(page) else {
        return (Vec::new(), None);
    };
    let last = all.last().map_or(0, |publication| publication.offset);
    let next = (count >= PAGE && last < to.0).then_some(last + 1);
    all.retain(|publication| publication.offset <= to.0);
    (all, next)
}

impl<C: Fn() -> Now + Send + Sync + 'static> Admin<C> {
    pub(super) fn replay(
        &self,
        name: &str,
        channel: &ChannelName,
        (from, to): (Offset, Offset),
        peer: SocketAddr,
    ) -> Result<Value, AdminRefusal> {
        let route = self.route(name)?;
        let table = self.relay.routes.current();
        if table.of(channel).is_none_or(|of| of.name != route.name) {
            return Err(AdminRefusal::not_of_route(channel.as_str(), name));
        }
        let span = Span::After(Offset(from.0.saturating_sub(1)));
        let page = self.relay.producers.page(channel.clone(), span, PAGE, now() + READ_TIMEOUT);
        let Page { position, count, body, .. } = page.ok_or_else(AdminRefusal::relay_store_silent)?;
        let body = format!("[{}]", String::from_utf8_lossy(&body));
        let (all, mut next) = publications(&body, count, to);
        let (client, begun) = (BackendClient::new(self.relay.source), now());
        let mut sent = Vec::new();
        for publication in all.iter().filter(|publication| publication.is_relayed(&route)) {
            if now().saturating_duration_since(begun) > SEND_TIME {
                next = Some(publication.offset);
                break;
            }
            let unix_ms = (self.clock)().unix_ms;
            let id = message_id(position.epoch, channel, Offset(publication.offset));
            let body = publication.body(&route, position.epoch, channel, unix_ms);
            let answered = client.post(&route, &id, &String::from_utf8_lossy(&body), unix_ms);
            let mut report = relay_try::outcome(answered);
            report["offset"] = json!(publication.offset);
            report["id"] = json!(id);
            sent.push(report);
        }
        self.metrics.admin.count_action("relay");
        let (from, to, count) = (from.0, to.0, sent.len());
        tracing::info!(target: "audit", %peer, route = name, %channel, from, to, sent = count, "relay messages replayed");
        Ok(json!({"route": name, "channel": channel.as_str(), "sent": sent, "next": next}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::route::tests::route;

    const PAGE_BODY: &str = r#"[
        {"channel":"thread.7","offset":58,"key":"01J9","user":"u1","time":5,"data":{"text": "Hello?"}},
        {"channel":"thread.7","offset":59,"user":"assistant","time":5,"stream":"begun","data":{"answers":58}},
        {"channel":"thread.7","offset":60,"user":"u1","time":6,"deleted_by":61,"data":null},
        {"channel":"thread.7","offset":61,"user":"u1","time":7,"deletes":60,"data":null},
        {"channel":"thread.7","offset":62,"user":"u1","time":8,"data":"again"}]"#;

    #[test]
    fn only_what_the_route_sends_is_sent_again() {
        let route = route("assistant", "thread.*");
        let (all, next) = publications(PAGE_BODY, 5, Offset(100));
        let relayed: Vec<u64> =
            all.iter().filter(|one| one.is_relayed(&route)).map(|one| one.offset).collect();
        assert_eq!((relayed, next), (vec![58, 62], None));
        let (all, next) = publications(PAGE_BODY, PAGE, Offset(61));
        assert_eq!((all.len(), next), (4, None), "the page reaches further than what is wanted");
        assert_eq!(publications(PAGE_BODY, PAGE, Offset(100)).1, Some(63));
        assert_eq!(publications("[<html>]", PAGE, Offset(100)).0.len(), 0);
    }

    #[test]
    fn replayed_publication_says_so_and_keeps_its_data() {
        let channel = ChannelName::parse("thread.7").expect("a name");
        let (all, _) = publications(PAGE_BODY, 5, Offset(58));
        let body = all[0].body(&route("assistant", "thread.*"), Epoch(36), &channel, 1_795_344_253_115);
        let text = String::from_utf8(body).expect("text");
        assert!(text.contains(r#""data":{"text": "Hello?"}"#), "{text}");
        let body: Value = serde_json::from_str(&text).expect("JSON");
        let data = &body["data"];
        assert_eq!((&data["replay"], &data["publication"]["offset"]), (&json!(true), &json!(58)));
        assert!(data.get("answer").is_none() && body["type"] == "publication");
    }
}
