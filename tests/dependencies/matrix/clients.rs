//! Clients that stay connected through an outage, with a record of what each was promised and got.

use crate::support::wait::{LATE, comes_true};
use crate::support::{Client, Gateway, SOON, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The bound on the answer to any command, and the rest for a busy machine.
pub const ANSWERED_WITHIN: Duration = Duration::from_secs(5 + 8);

/// A client that publishes to one channel, and records the outcome of each key.
pub struct Publisher {
    pub client: Client,
    channel: String,
    /// Appended to the key in the data of each publication.
    ballast: String,
    /// The offset of each acknowledged key.
    stored: BTreeMap<String, u64>,
    /// Keys refused as certainly not stored, and not sent again.
    refused: Vec<String>,
    /// Keys with an unknown outcome; they are sent again at the end.
    open: Vec<String>,
}

impl Publisher {
    pub fn new(gateway: &Gateway, channel: &str) -> Publisher {
        let client = Client::connect(gateway);
        let (ballast, stored, refused, open) = Default::default();
        Publisher { client, channel: channel.into(), ballast, stored, refused, open }
    }

    /// A publisher on a gateway whose store connections work: one publication was stored and read.
    #[track_caller]
    pub fn ready(gateway: &Gateway, channel: &str) -> Publisher {
        let well =
            || gateway.fetch("/health/dependencies").json()["checks"]["store"][0]["state"] == json!("ok");
        until(SOON, "the store is probed", well);
        let mut publisher = Publisher::new(gateway, channel);
        until(SOON, "the store takes publications", || publisher.publish("before") == "published");
        until(SOON, "history is served", || publisher.reads());
        publisher
    }

    /// Adds this many incompressible bytes to each publication.
    pub fn with_ballast(self, bytes: usize) -> Publisher {
        let mut random = fastrand::Rng::with_seed(7);
        Publisher { ballast: (0..bytes).map(|_| random.alphanumeric()).collect(), ..self }
    }

    /// Sends one publication without waiting for the reply.
    fn send(&mut self, key: &str) -> (u64, Instant) {
        let data = format!("{key}{}", self.ballast);
        let publish = json!({"publish": {"channel": self.channel, "key": key, "data": data}});
        (self.client.send(publish), Instant::now())
    }

    /// Awaits the reply: `published` or the code of an error.
    #[track_caller]
    fn answer(&mut self, key: &str, (id, since): (u64, Instant)) -> String {
        let reply = self.client.reply(id);
        let took = since.elapsed();
        assert!(took < ANSWERED_WITHIN, "{LATE}: {key} was answered after {took:?}: {reply}");
        if let Some(published) = reply.get("published") {
            self.stored.insert(key.into(), published["offset"].as_u64().expect("an offset"));
            return "published".into();
        }
        let error = &reply["error"];
        assert!(error["retry_ms"].as_u64().is_some_and(|ms| (1..=30_000).contains(&ms)), "{reply}");
        assert_eq!(error["dependency"], json!("store"), "{reply}");
        match error["code"].as_str() {
            Some("unavailable") => self.refused.push(key.into()),
            Some("unconfirmed") => self.open.push(key.into()),
            _ => panic!("{key} is answered {reply}"),
        }
        error["code"].as_str().unwrap_or_default().into()
    }

    #[track_caller]
    pub fn publish(&mut self, key: &str) -> String {
        let sent = self.send(key);
        self.answer(key, sent)
    }

    /// Sends what a client sends after an outage: keys with an unknown outcome again, then a new one.
    #[track_caller]
    pub fn catch_up(&mut self) {
        self.catch_up_within(SOON);
    }

    #[track_caller]
    pub fn catch_up_within(&mut self, within: Duration) {
        let mut left = std::mem::take(&mut self.open);
        left.push(format!("after-{}", self.stored.len()));
        for key in left {
            let begun = Instant::now();
            let mut next = begun;
            let stored = comes_true(within, || {
                let due = Instant::now() >= next;
                next = if due { Instant::now() + Duration::from_millis(100) } else { next };
                due && self.publish(&key) == "published"
            });
            assert!(stored, "{LATE}: {key} is not stored {:?} after the recovery", begun.elapsed());
            // A key that was refused earlier has been sent again and stored.
            self.refused.retain(|refused| *refused != key);
            self.open.retain(|open| *open != key);
        }
    }

    /// Reads history; returns true if a page came, false if it was unavailable.
    #[track_caller]
    pub fn reads(&mut self) -> bool {
        let since = Instant::now();
        let reply = self.client.command(json!({"history": {"channel": self.channel, "limit": 300}}));
        assert!(
            since.elapsed() < ANSWERED_WITHIN,
            "{LATE}: history was answered after {:?}",
            since.elapsed()
        );
        match reply.get("history") {
            Some(_) => true,
            None => {
                assert_eq!(reply["error"]["code"], json!("unavailable"), "{reply}");
                false
            }
        }
    }

    /// Compares the recorded outcomes with the log as another connection reads it, and returns the log's length.
    #[track_caller]
    pub fn check(&self, reader: &mut Client) -> u64 {
        let log = log(reader, &self.channel);
        let mut found = BTreeMap::new();
        for (key, offset) in &log {
            assert!(found.insert(key.clone(), *offset).is_none(), "{key} is stored twice: {log:?}");
        }
        assert_eq!(found, self.stored, "stored and acknowledged publications differ");
        for key in &self.refused {
            assert!(!found.contains_key(key), "{key} was refused as certainly not stored, but is stored");
        }
        log.len() as u64
    }
}

/// The keys and offsets of a channel, checked to be in order and without a gap.
#[track_caller]
pub fn log(reader: &mut Client, channel: &str) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    loop {
        let ask = json!({"history": {"channel": channel, "after": all.len(), "limit": 300}});
        let mut page = Value::Null;
        let read = comes_true(SOON, || {
            page = reader.command(ask.clone())["history"].take();
            !page.is_null()
        });
        assert!(read, "{LATE}: history is not served");
        let publications = page["publications"].as_array().expect("a list");
        for each in publications {
            let offset = each["offset"].as_u64().expect("an offset");
            assert_eq!(offset, all.len() as u64 + 1, "a gap in {channel}");
            all.push((each["key"].as_str().unwrap_or_default().to_owned(), offset));
        }
        if all.len() as u64 >= page["head"].as_u64().expect("a head") {
            return all;
        }
    }
}

/// A client that only listens, and gets each publication once and in order.
pub struct Listener {
    pub client: Client,
    pub heard: u64,
}

impl Listener {
    pub fn new(gateway: &Gateway, channel: &str) -> Listener {
        Listener::of(Client::connect(gateway), channel)
    }

    /// A listener on a connection.
    pub fn of(mut client: Client, channel: &str) -> Listener {
        let mut subscribed = Value::Null;
        // One of the readers may not be connected yet.
        until(SOON, "it is subscribed", || {
            subscribed = client.command(json!({"subscribe": {"channel": channel}}))["subscribed"].take();
            !subscribed.is_null()
        });
        client.next_push("synced");
        let heard = subscribed["head"].as_u64().expect("a head");
        Listener { client, heard }
    }

    /// Reads publications up to `head`, or fails.
    #[track_caller]
    pub fn hears(&mut self, head: u64, within: Duration) {
        let deadline = Instant::now() + within;
        while self.heard < head {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(publication) = self.client.next_push_within("publication", left) else {
                // A late publication is not lost.
                let is_late = self.client.next_push_within("publication", SOON).is_some();
                let fault = if is_late { LATE } else { "lost" };
                panic!("{fault}: {} of {head} publications after {within:?}", self.heard);
            };
            self.heard += 1;
            assert_eq!(publication["offset"], json!(self.heard), "a gap or a duplicate: {publication}");
        }
    }

    /// The next `status` of this level, and when it came.
    #[track_caller]
    pub fn status(&mut self, level: &str, within: Duration) -> (Value, Instant) {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(status) = self.client.next_push_within("status", left) else {
                panic!("{LATE}: no status {level} within {within:?}");
            };
            if status["level"] == json!(level) {
                return (status, Instant::now());
            }
        }
    }
}
