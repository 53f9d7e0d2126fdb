//! What the server says, read no further than a client needs it. Publications, by far the most, are read by hand.

use serde::Deserialize;
use std::collections::HashMap;

/// Names of channels are this and a number.
const CHANNEL: &str = "ledger-";
/// How every publication begins.
const PUBLICATION: &[u8] = b"{\"publication\":{\"channel\":\"";

/// The name of the channel with this number.
pub fn channel_name(channel: u16) -> String {
    format!("{CHANNEL}{channel}")
}

/// The number of the channel with this name.
pub fn channel_number(name: &str) -> Option<u16> {
    name.strip_prefix(CHANNEL)?.parse().ok()
}

/// The key of a publication of the run with this number.
pub fn key(run: u32, n: u32) -> String {
    format!("{run:08x}-{n:x}")
}

/// The number of the publication with this key, if it is of this run.
pub fn number_of(run: u32, key: &str) -> Option<u32> {
    let (of, n) = key.split_once('-')?;
    if u32::from_str_radix(of, 16) != Ok(run) {
        return None;
    }
    u32::from_str_radix(n, 16).ok()
}

/// A publication that was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The channel's number.
    pub channel: u16,
    /// Its place.
    pub offset: u64,
    /// The publication's number; `None`: none of ours.
    pub n: Option<u32>,
}

/// A publication in the form the gateway writes it; `None`: something else, or written in another way.
pub fn pushed(text: &[u8], run: u32) -> Option<Pushed> {
    let rest = text.strip_prefix(PUBLICATION)?;
    let (name, rest) = until_quote(rest)?;
    let rest = rest.strip_prefix(b",\"offset\":")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let offset = std::str::from_utf8(rest.get(..digits)?).ok()?.parse().ok()?;
    let n = rest.get(digits..)?.strip_prefix(b",\"key\":\"").and_then(until_quote);
    Some(Pushed { channel: channel_number(name)?, offset, n: n.and_then(|(key, _)| number_of(run, key)) })
}

fn until_quote(text: &[u8]) -> Option<(&str, &[u8])> {
    let end = text.iter().position(|byte| *byte == b'"')?;
    Some((std::str::from_utf8(text.get(..end)?).ok()?, text.get(end + 1..)?))
}

/// Any message but the fast ones; keys that nobody here needs are left out.
#[derive(Deserialize, Debug)]
pub struct Message<'a> {
    /// Which command it answers.
    pub id: Option<u64>,
    /// The reply to `connect`.
    #[serde(borrow)]
    pub connected: Option<Connected<'a>>,
    /// The reply to `subscribe`.
    #[serde(borrow)]
    pub subscribed: Option<Place<'a>>,
    /// The reply to `publish`.
    #[serde(borrow)]
    pub published: Option<Published<'a>>,
    /// The reply to `history`.
    #[serde(borrow)]
    pub history: Option<Page<'a>>,
    /// A refusal.
    #[serde(borrow)]
    pub error: Option<Refusal<'a>>,
    /// A publication, written in another way.
    #[serde(borrow)]
    pub publication: Option<Entry<'a>>,
    /// The end of a replay.
    #[serde(borrow)]
    pub synced: Option<Synced<'a>>,
    /// Publications were left out.
    #[serde(borrow)]
    pub lag: Option<Lag<'a>>,
    /// The instance goes.
    pub drain: Option<Drain>,
    /// The server closes next.
    pub bye: Option<Bye>,
    /// Heads.
    #[serde(borrow)]
    pub beat: Option<Beat<'a>>,
    /// What is up and what is not.
    pub status: Option<Nothing>,
}

impl<'a> Message<'a> {
    /// The channel it is about, if it is about one.
    pub fn channel(&self) -> Option<&'a str> {
        let placed = self.connected.as_ref().and_then(|it| it.recovered.first()).or(self.subscribed.as_ref());
        let of = placed.map(|it| it.channel).or(self.history.as_ref().map(|it| it.channel));
        of.or(self.synced.as_ref().map(|it| it.channel)).or(self.lag.as_ref().map(|it| it.channel))
    }
}

/// What nobody here reads.
#[derive(Deserialize, Debug)]
pub struct Nothing {}

/// `connected`
#[derive(Deserialize, Debug)]
pub struct Connected<'a> {
    /// Silence the server allows itself.
    pub ping_ms: u64,
    /// Time online after which the backoff begins anew.
    pub stable_ms: u64,
    /// One for each cursor that was named.
    #[serde(borrow, default)]
    pub recovered: Vec<Place<'a>>,
}

/// `subscribed`, and an entry of `recovered`.
#[derive(Deserialize, Debug)]
pub struct Place<'a> {
    /// The channel.
    pub channel: &'a str,
    /// Whose log it is.
    pub epoch: Option<&'a str>,
    /// The newest.
    pub head: Option<u64>,
    /// Whether what was missed follows.
    pub recovered: Option<bool>,
    /// Why not.
    pub because: Option<&'a str>,
    /// When to try again.
    pub retry_ms: Option<u64>,
}

/// `published`
#[derive(Deserialize, Debug)]
pub struct Published<'a> {
    /// The key that was sent.
    pub key: Option<&'a str>,
    /// Where it is.
    pub offset: u64,
    /// Whether it had been there.
    pub duplicate: bool,
}

/// `history`
#[derive(Deserialize, Debug)]
pub struct Page<'a> {
    /// The channel.
    pub channel: &'a str,
    /// The newest.
    pub head: u64,
    /// The oldest.
    pub floor: u64,
    /// Ascending.
    #[serde(borrow)]
    pub publications: Vec<Entry<'a>>,
}

/// A publication, as far as it matters here.
#[derive(Deserialize, Debug)]
pub struct Entry<'a> {
    /// The channel.
    pub channel: &'a str,
    /// Its place.
    pub offset: u64,
    /// Its key.
    pub key: Option<&'a str>,
}

/// `error`
#[derive(Deserialize, Debug)]
pub struct Refusal<'a> {
    /// What for.
    pub code: &'a str,
    /// When to try again.
    pub retry_ms: Option<u64>,
}

/// `synced`
#[derive(Deserialize, Debug)]
pub struct Synced<'a> {
    /// The channel.
    pub channel: &'a str,
    /// The replay's end.
    pub offset: u64,
}

/// `lag`
#[derive(Deserialize, Debug)]
pub struct Lag<'a> {
    /// The channel.
    pub channel: &'a str,
    /// The first that is missing.
    pub from: u64,
    /// Live ones go on above.
    pub head: u64,
}

/// `drain`
#[derive(Deserialize, Debug)]
pub struct Drain {
    /// When to move.
    pub slot_ms: u64,
}

/// `bye`
#[derive(Deserialize, Debug)]
pub struct Bye {
    /// The code of the close that follows.
    pub code: u16,
    /// When to come back.
    pub retry_ms: Option<u64>,
    /// Whether to come back at all.
    #[serde(default)]
    pub terminal: bool,
}

/// `beat`
#[derive(Deserialize, Debug)]
pub struct Beat<'a> {
    /// As the store has them.
    #[serde(borrow, default)]
    pub heads: HashMap<&'a str, u64>,
}

/// Reads a text frame; `None` when it is no message of the protocol.
pub fn read(text: &[u8]) -> Option<Message<'_>> {
    serde_json::from_slice(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publication_is_read_by_hand_as_serde_reads_it() {
        let text = br#"{"publication":{"channel":"ledger-7","offset":42,"key":"00000009-1f","user":"u","time":1,"data":{}}}"#;
        assert_eq!(pushed(text, 9), Some(Pushed { channel: 7, offset: 42, n: Some(31) }));
        assert_eq!(pushed(text, 8).and_then(|pushed| pushed.n), None, "the key of another run");
        let entry = read(text).and_then(|message| message.publication).expect("a publication");
        assert_eq!((entry.channel, entry.offset, entry.key), ("ledger-7", 42, Some("00000009-1f")));
        assert_eq!(pushed(br#"{"synced":{"channel":"ledger-7","offset":42}}"#, 9), None);
    }

    #[test]
    fn keys_and_names_come_back() {
        assert_eq!(number_of(5, &key(5, 77)), Some(77));
        assert_eq!(channel_number(&channel_name(12)), Some(12));
        assert_eq!(channel_number("lobby"), None);
    }

    #[test]
    fn replies_and_pushes_are_read() {
        let read = |text: &'static str| read(text.as_bytes()).expect(text);
        let connected = read(
            r#"{"id":1,"connected":{"connection":"c","ping_ms":5,"stable_ms":6,"limits":{},"recovered":[{"channel":"ledger-1","recovered":false,"because":"unavailable","retry_ms":9}]}}"#,
        );
        let connected = connected.connected.expect("connected");
        assert_eq!(connected.recovered.first().and_then(|place| place.retry_ms), Some(9));
        assert_eq!(
            read(r#"{"drain":{"reason":"deploy","slot_ms":7,"deadline_ms":8}}"#).drain.map(|it| it.slot_ms),
            Some(7)
        );
        let beat = read(r#"{"beat":{"revision":1,"heads":{"ledger-1":4}}}"#).beat.expect("a beat");
        assert_eq!(beat.heads.get("ledger-1"), Some(&4));
        assert!(read(r#"{"status":{"level":"ok"}}"#).status.is_some());
    }
}
