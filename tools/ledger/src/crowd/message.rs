//! The server's messages, parsed as far as a client needs them. Publications, by far the most frequent, have a parser of
//! their own.

use serde::Deserialize;
use std::collections::HashMap;

/// The prefix of channel names; a number follows.
const CHANNEL: &str = "ledger-";
/// The start of every publication.
const PUBLICATION: &[u8] = b"{\"publication\":{\"channel\":\"";

pub fn channel_name(channel: u16) -> String {
    format!("{CHANNEL}{channel}")
}

/// The number of the channel with this name.
pub fn channel_number(name: &str) -> Option<u16> {
    name.strip_prefix(CHANNEL)?.parse().ok()
}

/// The key of publication `n` of a run.
pub fn key(run: u32, n: u32) -> String {
    format!("{run:08x}-{n:x}")
}

/// The number of the publication with this key, if it belongs to this run.
pub fn number_of(run: u32, key: &str) -> Option<u32> {
    let (of, n) = key.split_once('-')?;
    if u32::from_str_radix(of, 16) != Ok(run) {
        return None;
    }
    u32::from_str_radix(n, 16).ok()
}

/// A pushed publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pushed {
    pub channel: u16,
    pub offset: u64,
    /// The publication's number; `None` if the key is not ours.
    pub n: Option<u32>,
}

/// Parses a publication in the form the gateway writes; `None` for any other text.
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

/// Any message without a parser of its own. Unused keys are omitted.
#[derive(Deserialize, Debug)]
pub struct Message<'a> {
    /// The id of the command that it answers.
    pub id: Option<u64>,
    /// The reply to `connect`.
    #[serde(borrow)]
    pub connected: Option<Connected<'a>>,
    /// The reply to `subscribe`.
    #[serde(borrow)]
    pub subscribed: Option<Subscribed<'a>>,
    /// The reply to `publish`.
    #[serde(borrow)]
    pub published: Option<Published<'a>>,
    /// The reply to `history`.
    #[serde(borrow)]
    pub history: Option<Page<'a>>,
    /// The refusal of a command.
    #[serde(borrow)]
    pub error: Option<Refusal<'a>>,
    /// A publication in another form than [`pushed`] parses.
    #[serde(borrow)]
    pub publication: Option<Entry<'a>>,
    /// The end of a replay.
    #[serde(borrow)]
    pub synced: Option<Synced<'a>>,
    /// Publications were skipped.
    #[serde(borrow)]
    pub lag: Option<Lag<'a>>,
    /// The client is asked to move.
    #[serde(borrow)]
    pub drain: Option<DrainNotice<'a>>,
    /// The server is about to close the connection.
    pub bye: Option<Bye>,
    /// The heads of channels.
    #[serde(borrow)]
    pub beat: Option<Beat<'a>>,
    /// A roster, in a push or in the reply to `presence`.
    #[serde(borrow)]
    pub presence: Option<Presence<'a>>,
    /// The state of the gateway's dependencies.
    pub status: Option<Nothing>,
}

impl<'a> Message<'a> {
    /// The channel of the message, if it has one.
    pub fn channel(&self) -> Option<&'a str> {
        let placed = self.connected.as_ref().and_then(|it| it.recovered.first()).or(self.subscribed.as_ref());
        let of = placed.map(|it| it.channel).or(self.history.as_ref().map(|it| it.channel));
        of.or(self.synced.as_ref().map(|it| it.channel)).or(self.lag.as_ref().map(|it| it.channel))
    }
}

/// An object whose contents are not used.
#[derive(Deserialize, Debug)]
pub struct Nothing {}

/// `connected`
#[derive(Deserialize, Debug)]
pub struct Connected<'a> {
    /// The longest silence of the server.
    pub ping_ms: u64,
    /// Connected time after which the backoff is reset.
    pub stable_ms: u64,
    /// One entry for each cursor in `connect`.
    #[serde(borrow, default)]
    pub recovered: Vec<Subscribed<'a>>,
}

/// `subscribed`, and each entry of `recovered`.
#[derive(Deserialize, Debug)]
pub struct Subscribed<'a> {
    pub channel: &'a str,
    /// The epoch of the log.
    pub epoch: Option<&'a str>,
    pub head: Option<u64>,
    /// True if the missed publications follow.
    pub recovered: Option<bool>,
    /// The reason if `recovered` is false.
    pub because: Option<&'a str>,
    pub retry_ms: Option<u64>,
}

/// `published`
#[derive(Deserialize, Debug)]
pub struct Published<'a> {
    pub key: Option<&'a str>,
    pub offset: u64,
    /// True if it was already stored.
    pub duplicate: bool,
}

/// `history`
#[derive(Deserialize, Debug)]
pub struct Page<'a> {
    pub channel: &'a str,
    /// The newest offset.
    pub head: u64,
    /// The oldest offset retained.
    pub floor: u64,
    /// In ascending order.
    #[serde(borrow)]
    pub publications: Vec<Entry<'a>>,
}

/// The parts of a publication that are used here.
#[derive(Deserialize, Debug)]
pub struct Entry<'a> {
    pub channel: &'a str,
    pub offset: u64,
    pub key: Option<&'a str>,
}

/// `error`
#[derive(Deserialize, Debug)]
pub struct Refusal<'a> {
    pub code: &'a str,
    pub retry_ms: Option<u64>,
}

/// `synced`
#[derive(Deserialize, Debug)]
pub struct Synced<'a> {
    pub channel: &'a str,
    /// The last offset of the replay.
    pub offset: u64,
}

/// `lag`
#[derive(Deserialize, Debug)]
pub struct Lag<'a> {
    pub channel: &'a str,
    /// The first missing offset.
    pub from: u64,
    /// Live publications continue after this offset.
    pub head: u64,
}

/// `drain`
#[derive(Deserialize, Debug)]
pub struct DrainNotice<'a> {
    /// When to move, in milliseconds from now.
    pub slot_ms: u64,
    /// The instance to move to.
    pub to: Option<&'a str>,
}

/// `presence`
#[derive(Deserialize, Debug, Default)]
pub struct Presence<'a> {
    pub channel: &'a str,
    pub revision: u64,
    /// True if no member can be missing.
    pub complete: bool,
    /// All members, or a page of them.
    #[serde(borrow)]
    pub members: Option<Vec<Member<'a>>>,
    #[serde(borrow, default)]
    pub joined: Vec<Member<'a>>,
    #[serde(borrow, default)]
    pub changed: Vec<Member<'a>>,
    #[serde(borrow, default)]
    pub left: Vec<&'a str>,
    /// True if further members are to be read.
    #[serde(default)]
    pub more: bool,
    /// True if there are too many members to list.
    #[serde(default)]
    pub counted: bool,
    /// Too much changed: the client reads the roster within this time.
    pub refresh_ms: Option<u64>,
    /// The reason why no more frames follow.
    pub ended: Option<&'a str>,
}

/// A member of a roster.
#[derive(Deserialize, Debug, Clone, Copy)]
pub struct Member<'a> {
    pub user: &'a str,
    pub connections: u64,
}

/// `bye`
#[derive(Deserialize, Debug)]
pub struct Bye {
    /// The code of the close frame that follows.
    pub code: u16,
    pub retry_ms: Option<u64>,
    /// True if the client must not reconnect.
    #[serde(default)]
    pub terminal: bool,
}

/// `beat`
#[derive(Deserialize, Debug)]
pub struct Beat<'a> {
    /// The heads, as the store has them.
    #[serde(borrow, default)]
    pub heads: HashMap<&'a str, u64>,
}

/// Parses a text frame; `None` if it is not a message of the protocol.
pub fn read(text: &[u8]) -> Option<Message<'_>> {
    serde_json::from_slice(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publication_parser_agrees_with_serde() {
        let text = br#"{"publication":{"channel":"ledger-7","offset":42,"key":"00000009-1f","user":"u","time":1,"data":{}}}"#;
        assert_eq!(pushed(text, 9), Some(Pushed { channel: 7, offset: 42, n: Some(31) }));
        assert_eq!(pushed(text, 8).and_then(|pushed| pushed.n), None, "the key of another run");
        let entry = read(text).and_then(|message| message.publication).expect("a publication");
        assert_eq!((entry.channel, entry.offset, entry.key), ("ledger-7", 42, Some("00000009-1f")));
        assert_eq!(pushed(br#"{"synced":{"channel":"ledger-7","offset":42}}"#, 9), None);
    }

    #[test]
    fn keys_and_channel_names_round_trip() {
        assert_eq!(number_of(5, &key(5, 77)), Some(77));
        assert_eq!(channel_number(&channel_name(12)), Some(12));
        assert_eq!(channel_number("lobby"), None);
    }

    #[test]
    fn replies_and_pushes_are_parsed() {
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
