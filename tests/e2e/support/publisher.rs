//! A publisher that runs until a crash, a record of its acknowledgements, and a check of the log against them.

use super::{Client, Gateway};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The channel of all publishers.
pub const CHANNEL: &str = "c";
/// Pending publishes of one publisher.
const AT_ONCE: usize = 8;
/// The longest text. It fills several pages of a store, so that a publication can be torn.
const TEXT_MAX: usize = 12_000;

/// The data of a publication, derived from its key and number.
fn content(key: &str, number: usize) -> Value {
    let letter = char::from(b'a' + (number % 26) as u8);
    let length = (number * 2_003) % TEXT_MAX / (1 + number % 7);
    json!({ "of": key, "text": letter.to_string().repeat(length) })
}

/// A publisher that records its keys in order, and the acknowledged offsets.
#[derive(Default)]
pub struct Publisher {
    pub name: usize,
    pub sent: usize,
    pub acknowledged: BTreeMap<String, u64>,
    pub unanswered: Vec<(String, usize)>,
}

impl Publisher {
    /// Publishes with several requests pending until the connection breaks, or until a reply other than `published`,
    /// which is returned.
    pub fn publish(&mut self, mut client: Client, acknowledged: &AtomicUsize) -> Option<Value> {
        let mut last = 0;
        loop {
            let mut waiting = Vec::new();
            for _ in 0..AT_ONCE {
                let (key, number) = (format!("{}-{}", self.name, self.sent), self.sent);
                self.sent += 1;
                self.unanswered.push((key.clone(), number));
                match client.try_send(publish(&key, number)) {
                    Ok(id) => waiting.push((id, key)),
                    Err(_) => return None,
                }
            }
            for (id, key) in waiting {
                let reply = client.try_reply(id)?;
                let Some(offset) = reply["published"]["offset"].as_u64() else { return Some(reply) };
                assert!(offset > last, "{key}: {offset} after {last}");
                last = offset;
                self.acknowledge(key, offset);
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn acknowledge(&mut self, key: String, offset: u64) {
        self.unanswered.retain(|(other, _)| *other != key);
        self.acknowledged.insert(key, offset);
    }

    /// Sends unanswered publishes again, under the same keys.
    pub fn resend(&mut self, gateway: &Gateway) {
        let mut client = Client::connect(gateway);
        for (key, number) in self.unanswered.clone() {
            let reply = client.ask(publish(&key, number), "published");
            self.acknowledge(key, reply["offset"].as_u64().expect("an offset"));
        }
    }
}

fn publish(key: &str, number: usize) -> Value {
    json!({"publish": {"channel": CHANNEL, "key": key, "data": content(key, number)}})
}

/// The log from its beginning, keys by offset. Checks that it has no gap and that the data is what was published.
pub fn log(gateway: &Gateway) -> BTreeMap<u64, String> {
    let mut client = Client::connect(gateway);
    let mut log = BTreeMap::new();
    loop {
        let after = log.len() as u64;
        let page =
            client.ask(json!({"history": {"channel": CHANNEL, "after": after, "limit": 300}}), "history");
        let publications = page["publications"].as_array().expect("a list");
        if publications.is_empty() {
            assert_eq!(page["head"], after);
            return log;
        }
        for publication in publications {
            let offset = publication["offset"].as_u64().expect("an offset");
            assert_eq!(offset, log.len() as u64 + 1, "no gap");
            let key = publication["key"].as_str().expect("a key").to_string();
            let number = key.rsplit('-').next().and_then(|text| text.parse().ok()).expect("a number");
            assert_eq!(publication["data"], content(&key, number), "the data differs");
            log.insert(offset, key);
        }
    }
}
