//! The server's frames, parsed from their bytes: each frame once, for all that look at it.

use seawall::id::Epoch;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A channel of the simulation, by its number: `c0`, `c1`, …
pub type Channel = u8;

/// One frame.
#[allow(dead_code, reason = "some fields are only read by people, in the trace of a failure")]
#[derive(Debug)]
pub enum Frame {
    Reply(u64, Reply),
    /// An error without an id.
    Complaint(String),
    Push(Push),
    Close(u16),
    Ping,
    Pong,
}

#[derive(Debug)]
pub enum Reply {
    Connected(Vec<Beginning>),
    Subscribed(Beginning),
    Unsubscribed(Channel),
    Published(Published),
    History(History),
    Refreshed,
    Error { code: String, retry_ms: Option<u64> },
}

#[allow(dead_code, reason = "some fields are only read by people, in the trace of a failure")]
#[derive(Debug)]
pub enum Push {
    Publication(Publication),
    Signal(Channel),
    Synced { channel: Channel, offset: u64 },
    Unsubscribed(Channel),
    Lag { channel: Channel, from: u64, head: u64 },
    Beat(Vec<(Channel, u64)>),
    Drain { slot_ms: u64, deadline_ms: u64 },
    Bye(u16),
}

/// How a subscription begins.
#[derive(Clone, Debug)]
pub struct Beginning {
    pub channel: Channel,
    /// Epoch, head and floor; absent where the log could not be read.
    pub log: Option<(Epoch, u64, u64)>,
    pub recovered: Option<bool>,
    pub because: Option<String>,
}

#[derive(Debug)]
pub struct Published {
    pub channel: Channel,
    pub key: Option<String>,
    pub epoch: Epoch,
    pub offset: u64,
    pub duplicate: bool,
}

#[derive(Debug)]
pub struct History {
    pub channel: Channel,
    pub epoch: Epoch,
    pub head: u64,
    pub floor: u64,
    pub publications: Vec<Publication>,
}

#[derive(Debug)]
pub struct Publication {
    pub channel: Channel,
    pub offset: u64,
    pub key: Option<String>,
    pub edits: Option<u64>,
    pub deletes: Option<u64>,
    pub deleted_by: Option<u64>,
    /// `None` for `null`.
    pub data: Option<String>,
}

#[derive(Deserialize)]
struct Text<'a> {
    id: Option<u64>,
    #[serde(borrow)]
    connected: Option<ConnectedText<'a>>,
    subscribed: Option<BeginningText<'a>>,
    unsubscribed: Option<ChannelText<'a>>,
    published: Option<PublishedText<'a>>,
    history: Option<HistoryText<'a>>,
    refreshed: Option<serde::de::IgnoredAny>,
    error: Option<ErrorText<'a>>,
    publication: Option<PublicationText<'a>>,
    signal: Option<ChannelText<'a>>,
    synced: Option<PlaceText<'a>>,
    lag: Option<LagText<'a>>,
    beat: Option<BeatText<'a>>,
    drain: Option<DrainText>,
    bye: Option<ByeText>,
}

#[derive(Deserialize)]
struct ConnectedText<'a> {
    #[serde(borrow)]
    recovered: Vec<BeginningText<'a>>,
}

#[derive(Deserialize)]
struct BeginningText<'a> {
    channel: &'a str,
    epoch: Option<&'a str>,
    head: Option<u64>,
    floor: Option<u64>,
    recovered: Option<bool>,
    because: Option<String>,
}

#[derive(Deserialize)]
struct ChannelText<'a> {
    channel: &'a str,
}

#[derive(Deserialize)]
struct PublishedText<'a> {
    channel: &'a str,
    key: Option<String>,
    epoch: &'a str,
    offset: u64,
    duplicate: bool,
}

#[derive(Deserialize)]
struct HistoryText<'a> {
    channel: &'a str,
    epoch: &'a str,
    head: u64,
    floor: u64,
    #[serde(borrow)]
    publications: Vec<PublicationText<'a>>,
}

#[derive(Deserialize)]
struct PublicationText<'a> {
    channel: &'a str,
    offset: u64,
    key: Option<String>,
    edits: Option<u64>,
    deletes: Option<u64>,
    deleted_by: Option<u64>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ErrorText<'a> {
    code: &'a str,
    retry_ms: Option<u64>,
}

#[derive(Deserialize)]
struct PlaceText<'a> {
    channel: &'a str,
    offset: u64,
}

#[derive(Deserialize)]
struct LagText<'a> {
    channel: &'a str,
    from: u64,
    head: u64,
}

#[derive(Deserialize)]
struct BeatText<'a> {
    #[serde(borrow)]
    heads: std::collections::BTreeMap<&'a str, u64>,
}

#[derive(Deserialize)]
struct DrainText {
    slot_ms: u64,
    deadline_ms: u64,
}

#[derive(Deserialize)]
struct ByeText {
    code: u16,
}

/// Splits bytes into whole frames, with the length of each.
pub fn read_all(mut bytes: &[u8]) -> Vec<(usize, Frame)> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (start, length) = match bytes[1] {
            126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
            127 => {
                let length: [u8; 8] = bytes[2..10].try_into().expect("eight bytes");
                (10, u64::from_be_bytes(length) as usize)
            }
            length => (2, usize::from(length)),
        };
        let payload = &bytes[start..start + length];
        frames.push((start + length, read(bytes[0], payload)));
        bytes = &bytes[start + length..];
    }
    frames
}

fn read(kind: u8, payload: &[u8]) -> Frame {
    match kind {
        0x81 => text(payload),
        0x88 => Frame::Close(u16::from_be_bytes([payload[0], payload[1]])),
        0x89 => Frame::Ping,
        0x8A => Frame::Pong,
        other => panic!("a frame of kind {other:#x}"),
    }
}

fn text(payload: &[u8]) -> Frame {
    let text: Text<'_> = serde_json::from_slice(payload)
        .unwrap_or_else(|error| panic!("{error} in {}", String::from_utf8_lossy(payload)));
    match text.id {
        Some(id) => Frame::Reply(id, reply(text)),
        None => match text.error {
            Some(error) => Frame::Complaint(error.code.into()),
            None => Frame::Push(push(text)),
        },
    }
}

fn reply(text: Text<'_>) -> Reply {
    if let Some(connected) = text.connected {
        Reply::Connected(connected.recovered.into_iter().map(beginning).collect())
    } else if let Some(subscribed) = text.subscribed {
        Reply::Subscribed(beginning(subscribed))
    } else if let Some(unsubscribed) = text.unsubscribed {
        Reply::Unsubscribed(channel(unsubscribed.channel))
    } else if let Some(published) = text.published {
        Reply::Published(Published {
            channel: channel(published.channel),
            key: published.key,
            epoch: epoch(published.epoch),
            offset: published.offset,
            duplicate: published.duplicate,
        })
    } else if let Some(history) = text.history {
        Reply::History(History {
            channel: channel(history.channel),
            epoch: epoch(history.epoch),
            head: history.head,
            floor: history.floor,
            publications: history.publications.into_iter().map(publication).collect(),
        })
    } else if let Some(error) = text.error {
        Reply::Error { code: error.code.into(), retry_ms: error.retry_ms }
    } else if text.refreshed.is_some() {
        Reply::Refreshed
    } else {
        panic!("a reply of no known kind")
    }
}

fn push(text: Text<'_>) -> Push {
    if let Some(found) = text.publication {
        Push::Publication(publication(found))
    } else if let Some(signal) = text.signal {
        Push::Signal(channel(signal.channel))
    } else if let Some(synced) = text.synced {
        Push::Synced { channel: channel(synced.channel), offset: synced.offset }
    } else if let Some(ended) = text.unsubscribed {
        Push::Unsubscribed(channel(ended.channel))
    } else if let Some(lag) = text.lag {
        Push::Lag { channel: channel(lag.channel), from: lag.from, head: lag.head }
    } else if let Some(beat) = text.beat {
        Push::Beat(beat.heads.into_iter().map(|(name, head)| (channel(name), head)).collect())
    } else if let Some(DrainText { slot_ms, deadline_ms }) = text.drain {
        Push::Drain { slot_ms, deadline_ms }
    } else if let Some(bye) = text.bye {
        Push::Bye(bye.code)
    } else {
        panic!("a push of no known kind")
    }
}

fn beginning(text: BeginningText<'_>) -> Beginning {
    let log = match (text.epoch, text.head, text.floor) {
        (Some(found), Some(head), Some(floor)) => Some((epoch(found), head, floor)),
        (None, None, None) => None,
        partial => panic!("a position in part: {partial:?}"),
    };
    Beginning { channel: channel(text.channel), log, recovered: text.recovered, because: text.because }
}

fn publication(text: PublicationText<'_>) -> Publication {
    Publication {
        channel: channel(text.channel),
        offset: text.offset,
        key: text.key,
        edits: text.edits,
        deletes: text.deletes,
        deleted_by: text.deleted_by,
        data: text.data.map(|raw| raw.get().to_owned()),
    }
}

pub fn channel(name: &str) -> Channel {
    name.strip_prefix('c').and_then(|number| number.parse().ok()).expect("a channel of the simulation")
}

fn epoch(text: &str) -> Epoch {
    Epoch::parse(text).expect("an epoch of ours")
}
