//! Those who are connected through an outage: what they were promised, and what they were given.

use crate::support::wait::comes_true;
use crate::support::{Client, Gateway, SOON, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The promise on every command, and what the test machine may add.
const ANSWERED_WITHIN: Duration = Duration::from_millis(5_500);

/// One who publishes to a channel, and keeps account of each key.
pub struct Publisher {
    pub client: Client,
    channel: String,
    /// Follows the key in what is published.
    ballast: String,
    /// Acknowledged, with the offset.
    stored: BTreeMap<String, u64>,
    /// Refused as certainly not stored, and not sent again.
    refused: Vec<String>,
    /// Their outcome is open: they are sent again in the end.
    open: Vec<String>,
}

impl Publisher {
    pub fn new(gateway: &Gateway, channel: &str) -> Publisher {
        let client = Client::connect(gateway);
        let (ballast, stored, refused, open) = Default::default();
        Publisher { client, channel: channel.into(), ballast, stored, refused, open }
    }

    /// One on a gateway that has made its connections to the store: a publication went in, and is read.
    #[track_caller]
    pub fn at_ease(gateway: &Gateway, channel: &str) -> Publisher {
        let well =
            || gateway.fetch("/health/dependencies").json()["checks"]["store"][0]["state"] == json!("ok");
        until(SOON, "the store is looked at", well);
        let mut publisher = Publisher::new(gateway, channel);
        until(SOON, "the store takes publications", || publisher.publish("before") == "published");
        until(SOON, "history is served", || publisher.reads());
        publisher
    }

    /// One whose publications take so many bytes, which no database makes smaller.
    pub fn with_ballast(self, bytes: usize) -> Publisher {
        let mut random = fastrand::Rng::with_seed(7);
        Publisher { ballast: (0..bytes).map(|_| random.alphanumeric()).collect(), ..self }
    }

    /// Sends one, and waits for nothing.
    fn send(&mut self, key: &str) -> (u64, Instant) {
        let data = format!("{key}{}", self.ballast);
        let publish = json!({"publish": {"channel": self.channel, "key": key, "data": data}});
        (self.client.send(publish), Instant::now())
    }

    /// The word it is answered with: `published` or the code of an error.
    #[track_caller]
    fn answer(&mut self, key: &str, (id, since): (u64, Instant)) -> String {
        let reply = self.client.reply(id);
        let took = since.elapsed();
        assert!(took < ANSWERED_WITHIN, "{key} was answered after {took:?}: {reply}");
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

    /// As a client does when all is well again: what is open under the same key, then one that is new.
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
            assert!(stored, "{key} is not stored {:?} after all is well", begun.elapsed());
            // What was refused on the way was sent again.
            self.refused.retain(|refused| *refused != key);
            self.open.retain(|open| *open != key);
        }
    }

    /// How a command is answered that reads: true for a page.
    #[track_caller]
    pub fn reads(&mut self) -> bool {
        let since = Instant::now();
        let reply = self.client.command(json!({"history": {"channel": self.channel, "limit": 300}}));
        assert!(since.elapsed() < ANSWERED_WITHIN, "history was answered after {:?}", since.elapsed());
        match reply.get("history") {
            Some(_) => true,
            None => {
                assert_eq!(reply["error"]["code"], json!("unavailable"), "{reply}");
                false
            }
        }
    }

    /// Compares what was promised with the log as another connection reads it; answers the log's length.
    #[track_caller]
    pub fn check(&self, reader: &mut Client) -> u64 {
        let log = log(reader, &self.channel);
        let mut found = BTreeMap::new();
        for (key, offset) in &log {
            assert!(found.insert(key.clone(), *offset).is_none(), "{key} is stored twice: {log:?}");
        }
        assert_eq!(found, self.stored, "what is stored and what was acknowledged differ");
        for key in &self.refused {
            assert!(!found.contains_key(key), "{key} was refused as certainly not stored, and is");
        }
        log.len() as u64
    }
}

/// Keys and offsets of a channel, in order and without a gap.
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
        assert!(read, "history is not served");
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

/// One who only listens: gets each publication once, in order.
pub struct Listener {
    pub client: Client,
    pub heard: u64,
}

impl Listener {
    pub fn new(gateway: &Gateway, channel: &str) -> Listener {
        let mut client = Client::connect(gateway);
        let mut subscribed = Value::Null;
        // One of the readers may not have its connection yet.
        until(SOON, "it is subscribed", || {
            subscribed = client.command(json!({"subscribe": {"channel": channel}}))["subscribed"].take();
            !subscribed.is_null()
        });
        client.next_push("synced");
        let heard = subscribed["head"].as_u64().expect("a head");
        Listener { client, heard }
    }

    /// Takes what there is until `head` came, or fails.
    #[track_caller]
    pub fn hears(&mut self, head: u64, within: Duration) {
        let deadline = Instant::now() + within;
        while self.heard < head {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(publication) = self.client.next_push_within("publication", left) else {
                panic!("{} of {head} publications after {within:?}", self.heard);
            };
            self.heard += 1;
            assert_eq!(publication["offset"], json!(self.heard), "a gap, or one twice: {publication}");
        }
    }

    /// The next `status` of this level; when it came.
    #[track_caller]
    pub fn status(&mut self, level: &str, within: Duration) -> (Value, Instant) {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(status) = self.client.next_push_within("status", left) else {
                panic!("no status {level} within {within:?}");
            };
            if status["level"] == json!(level) {
                return (status, Instant::now());
            }
        }
    }
}
