//! Messages on the bus: the binary payload of one Redis pub/sub message.
//!
//! ```text
//! version u8 | kind u8 | origin u64 | seal 16 bytes | body      integers are little-endian
//! publications   { offset u64 | change u8 | target u64 | length u32 | frame } …
//! signal         frame
//! canary         number u64 | dropped u64
//! order          number u64 | previous u64 | made u64 | length u8 | kind | length u8 | by | arguments
//! done           number u64 | closed u64
//! roster         the change of a segment, see `wire::segment`
//! streamed       { offset u64 | generation u32 | change u8 | state u8 | at u32 | next u32 | length u32 | frames } …
//! stream hint    offset u64 | channel
//! ```
//!
//! The seal is the first half of an HMAC-SHA-256 over the channel's name and all other bytes, with a key that the instances of
//! one store share. So a client that may publish in Redis, but not read the store, can neither forge a message nor move one to another
//! channel; it can only lose, delay or repeat messages, which the log makes up for. Frames are the same bytes that subscribers
//! get, so a message is encoded once for all instances; a reader accepts only whole, unmasked text frames that name the
//! channel and the offset of their entry.
//!
//! A kind that a version does not know is counted and ignored, so a later version may add kinds.

mod fault;
mod streams;

use super::publication::{Change, Published, time_of};
use super::segment::SegmentDelta;
use super::server_frame;
use crate::id::{ChannelName, Offset};
use crate::wire::stream::{StreamId, StreamMark, StreamNews};
use aws_lc_rs::hmac;
pub use fault::EnvelopeFault;
use serde::Deserialize;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use subtle::ConstantTimeEq as _;

/// The first byte. An instance drops messages of a newer version, and the log makes up for them.
const VERSION: u8 = 2;
const SEAL_BYTES: usize = 16;
/// Version, kind and origin.
const PLAIN_BYTES: usize = 10;
const HEAD_BYTES: usize = PLAIN_BYTES + SEAL_BYTES;
const ENTRY_BYTES: usize = 21;

/// Identifies one process on the bus; drawn at random when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin(pub u64);

/// The key of the seals, which the instances of one store share. Its `Debug` form shows nothing.
#[derive(Clone)]
pub struct BusKey(hmac::Key);

impl BusKey {
    pub const BYTES: usize = 32;

    pub fn new(bytes: &[u8; BusKey::BYTES]) -> BusKey {
        BusKey(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The seal of a message under this name; the bytes of the seal itself do not count.
    fn seal(&self, message: &[u8], name: &str) -> [u8; SEAL_BYTES] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&(name.len() as u64).to_le_bytes());
        context.update(name.as_bytes());
        context.update(message.get(..PLAIN_BYTES).unwrap_or_default());
        context.update(message.get(HEAD_BYTES..).unwrap_or_default());
        let tag = context.sign();
        let mut seal = [0; SEAL_BYTES];
        seal.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        seal
    }
}

impl fmt::Debug for BusKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BusKey")
    }
}

/// A message for the followers of a channel.
#[derive(Clone, Debug)]
pub enum Message {
    /// Publications of the channel, in offset order.
    Publications(Vec<Published>),
    Signal(Arc<[u8]>),
    /// Changes of the channel's open streams, in the order of their commits.
    Streamed(Vec<StreamNews>),
}

/// A message that proves that an instance's publications arrive at the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CanaryNote {
    /// The serial number of the canary at its origin.
    pub number: u64,
    /// The number of messages that the origin could not send since it started. If it grows, publications must be read
    /// from the store.
    pub dropped: u64,
}

/// A message to all instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstanceMessage<'a> {
    /// The origin had an order committed.
    Made(OrderText<'a>),
    /// The origin has carried an order out, and closed this many sessions.
    Done { number: u64, closed: u64 },
    /// The origin changed a stream in a way that its producer must notice.
    StreamHint(StreamId),
}

/// An order, as the store has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderText<'a> {
    pub number: u64,
    /// The number of the order before it.
    pub previous: u64,
    /// Unix milliseconds by the clock of the store.
    pub made: u64,
    pub kind: &'a str,
    pub by: &'a str,
    /// JSON.
    pub args: &'a str,
}

#[derive(Clone, Copy)]
enum EnvelopeKind {
    Publications = 1,
    Signal = 2,
    Canary = 3,
    Roster = 4,
    Order = 5,
    Done = 6,
    Streamed = 7,
    StreamHint = 8,
}

/// The origin of a message. Read it first, because an instance's own messages come back and can be dropped unread.
pub fn origin(bytes: &[u8]) -> Option<Origin> {
    bytes.get(2..10).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes).map(Origin)
}

/// Appends a message with these publications, all of the channel `name`.
pub fn publications<'a>(
    out: &mut Vec<u8>,
    key: &BusKey,
    origin: Origin,
    name: &str,
    publications: impl IntoIterator<Item = &'a Published>,
) {
    write(out, key, EnvelopeKind::Publications, origin, name, |out| {
        for published in publications {
            let (change, target) = match published.change {
                Change::None => (0, Offset::ZERO),
                Change::Edits(target) => (1, target),
                Change::Deletes(target) => (2, target),
            };
            out.extend_from_slice(&published.offset.0.to_le_bytes());
            out.push(change);
            out.extend_from_slice(&target.0.to_le_bytes());
            // `limits.frame_bytes` bounds a frame far below this.
            out.extend_from_slice(&u32::try_from(published.frame.len()).unwrap_or(u32::MAX).to_le_bytes());
            out.extend_from_slice(&published.frame);
        }
    });
}

/// Appends a message with a signal on the channel `name`.
pub fn signal(out: &mut Vec<u8>, key: &BusKey, origin: Origin, name: &str, frame: &[u8]) {
    write(out, key, EnvelopeKind::Signal, origin, name, |out| out.extend_from_slice(frame));
}

/// Appends a message with changes of streams, all of the channel `name`.
pub fn streamed<'a>(
    out: &mut Vec<u8>,
    key: &BusKey,
    origin: Origin,
    name: &str,
    news: impl IntoIterator<Item = &'a StreamNews>,
) {
    write(out, key, EnvelopeKind::Streamed, origin, name, |out| {
        news.into_iter().for_each(|news| streams::write_entry(out, news));
    });
}

/// Appends a hint to look at a stream, on the topic `name`.
pub fn stream_hint(out: &mut Vec<u8>, key: &BusKey, origin: Origin, name: &str, id: &StreamId) {
    write(out, key, EnvelopeKind::StreamHint, origin, name, |out| streams::write_hint(out, id));
}

pub fn canary(out: &mut Vec<u8>, key: &BusKey, origin: Origin, name: &str, note: CanaryNote) {
    write(out, key, EnvelopeKind::Canary, origin, name, |out| {
        out.extend_from_slice(&note.number.to_le_bytes());
        out.extend_from_slice(&note.dropped.to_le_bytes());
    });
}

pub fn order(out: &mut Vec<u8>, key: &BusKey, origin: Origin, name: &str, order: &OrderText<'_>) {
    write(out, key, EnvelopeKind::Order, origin, name, |out| {
        for number in [order.number, order.previous, order.made] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for text in [order.kind, order.by] {
            let text = text.get(..text.floor_char_boundary(usize::from(u8::MAX))).unwrap_or_default();
            out.push(text.len() as u8);
            out.extend_from_slice(text.as_bytes());
        }
        out.extend_from_slice(order.args.as_bytes());
    });
}

pub fn order_done(out: &mut Vec<u8>, key: &BusKey, origin: Origin, name: &str, (number, closed): (u64, u64)) {
    write(out, key, EnvelopeKind::Done, origin, name, |out| {
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&closed.to_le_bytes());
    });
}

/// Appends a message about a change of a roster's segment, on the topic `name`.
pub fn roster(out: &mut Vec<u8>, key: &BusKey, origin: Origin, name: &str, delta: &SegmentDelta) {
    write(out, key, EnvelopeKind::Roster, origin, name, |out| out.extend_from_slice(&delta.encode()));
}

fn write(
    out: &mut Vec<u8>,
    key: &BusKey,
    kind: EnvelopeKind,
    origin: Origin,
    name: &str,
    body: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.extend_from_slice(&[VERSION, kind as u8]);
    out.extend_from_slice(&origin.0.to_le_bytes());
    out.extend_from_slice(&[0; SEAL_BYTES]);
    body(out);
    if let Some(message) = out.get_mut(start..) {
        seal(message, key, name);
    }
}

/// Writes the seal of a complete message under this name. A message without a whole head stays as it is.
pub fn seal(message: &mut [u8], key: &BusKey, name: &str) {
    let seal = key.seal(message, name);
    if let Some(place) = message.get_mut(PLAIN_BYTES..HEAD_BYTES) {
        place.copy_from_slice(&seal);
    }
}

/// Reads a message that arrived under this name.
pub fn read(bytes: &[u8], key: &BusKey, channel: &ChannelName) -> Result<Message, EnvelopeFault> {
    let (kind, body) = open(bytes, key, channel.as_str())?;
    match kind {
        EnvelopeKind::Publications => entries(body, channel).map(Message::Publications),
        EnvelopeKind::Signal if is_signal(body, channel) => Ok(Message::Signal(Arc::from(body))),
        EnvelopeKind::Signal => Err(EnvelopeFault::Frame),
        EnvelopeKind::Streamed => streams::entries(body, channel).map(Message::Streamed),
        EnvelopeKind::Canary
        | EnvelopeKind::Roster
        | EnvelopeKind::Order
        | EnvelopeKind::Done
        | EnvelopeKind::StreamHint => Err(EnvelopeFault::Kind),
    }
}

/// Reads a canary that arrived under this name.
pub fn read_canary(bytes: &[u8], key: &BusKey, name: &str) -> Result<CanaryNote, EnvelopeFault> {
    let (kind, body) = open(bytes, key, name)?;
    match (kind, body.as_chunks::<8>()) {
        (EnvelopeKind::Canary, ([number, dropped], [])) => {
            Ok(CanaryNote { number: u64::from_le_bytes(*number), dropped: u64::from_le_bytes(*dropped) })
        }
        (EnvelopeKind::Canary, _) => Err(EnvelopeFault::Length),
        (
            EnvelopeKind::Publications
            | EnvelopeKind::Signal
            | EnvelopeKind::Roster
            | EnvelopeKind::Order
            | EnvelopeKind::Done
            | EnvelopeKind::Streamed
            | EnvelopeKind::StreamHint,
            _,
        ) => Err(EnvelopeFault::Kind),
    }
}

/// Reads a message to all instances that arrived under this name.
pub fn read_note<'a>(
    bytes: &'a [u8],
    key: &BusKey,
    name: &str,
) -> Result<InstanceMessage<'a>, EnvelopeFault> {
    let (kind, body) = open(bytes, key, name)?;
    match kind {
        EnvelopeKind::Order => order_text(body).map(InstanceMessage::Made).ok_or(EnvelopeFault::Length),
        EnvelopeKind::Done => match body.as_chunks::<8>() {
            ([number, closed], []) => {
                let (number, closed) = (u64::from_le_bytes(*number), u64::from_le_bytes(*closed));
                Ok(InstanceMessage::Done { number, closed })
            }
            _ => Err(EnvelopeFault::Length),
        },
        EnvelopeKind::StreamHint => {
            streams::hint(body).map(InstanceMessage::StreamHint).ok_or(EnvelopeFault::Length)
        }
        EnvelopeKind::Publications
        | EnvelopeKind::Signal
        | EnvelopeKind::Canary
        | EnvelopeKind::Roster
        | EnvelopeKind::Streamed => Err(EnvelopeFault::Kind),
    }
}

/// Reads a message about a change of a roster's segment that arrived under this name.
pub fn read_roster(bytes: &[u8], key: &BusKey, name: &str) -> Result<SegmentDelta, EnvelopeFault> {
    let (kind, body) = open(bytes, key, name)?;
    match kind {
        EnvelopeKind::Roster => SegmentDelta::parse(body).ok_or(EnvelopeFault::Length),
        EnvelopeKind::Publications
        | EnvelopeKind::Signal
        | EnvelopeKind::Canary
        | EnvelopeKind::Order
        | EnvelopeKind::Done
        | EnvelopeKind::Streamed
        | EnvelopeKind::StreamHint => Err(EnvelopeFault::Kind),
    }
}

fn order_text(body: &[u8]) -> Option<OrderText<'_>> {
    let (numbers, rest) = body.split_at_checked(24)?;
    let [number, previous, made] = numbers.as_chunks::<8>().0 else { return None };
    let (kind, rest) = short_text(rest)?;
    let (by, rest) = short_text(rest)?;
    Some(OrderText {
        number: u64::from_le_bytes(*number),
        previous: u64::from_le_bytes(*previous),
        made: u64::from_le_bytes(*made),
        kind,
        by,
        args: std::str::from_utf8(rest).ok()?,
    })
}

/// A text after its length, and what follows.
fn short_text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (text, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

fn open<'a>(bytes: &'a [u8], key: &BusKey, name: &str) -> Result<(EnvelopeKind, &'a [u8]), EnvelopeFault> {
    let (head, body) = bytes.split_at_checked(HEAD_BYTES).ok_or(EnvelopeFault::Length)?;
    let [version, kind, ..] = *head else { return Err(EnvelopeFault::Length) };
    if version != VERSION {
        return Err(EnvelopeFault::Version);
    }
    let seal = head.get(PLAIN_BYTES..).unwrap_or_default();
    if !bool::from(seal.ct_eq(&key.seal(bytes, name))) {
        return Err(EnvelopeFault::Seal);
    }
    match kind {
        1 => Ok((EnvelopeKind::Publications, body)),
        2 => Ok((EnvelopeKind::Signal, body)),
        3 => Ok((EnvelopeKind::Canary, body)),
        4 => Ok((EnvelopeKind::Roster, body)),
        5 => Ok((EnvelopeKind::Order, body)),
        6 => Ok((EnvelopeKind::Done, body)),
        7 => Ok((EnvelopeKind::Streamed, body)),
        8 => Ok((EnvelopeKind::StreamHint, body)),
        _ => Err(EnvelopeFault::Unknown),
    }
}

/// The members of a push that a reader compares.
#[derive(Deserialize)]
struct PushHead<'a> {
    #[serde(borrow)]
    publication: Option<PlaceHead<'a>>,
    #[serde(borrow)]
    signal: Option<PlaceHead<'a>>,
}

#[derive(Deserialize)]
struct PlaceHead<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    offset: Option<u64>,
    #[serde(borrow)]
    stream: Option<Cow<'a, str>>,
}

/// The part in a stream of the publication of this channel at this offset; `None` if these bytes are not exactly its frame.
fn part_of_publication(frame: &[u8], channel: &ChannelName, offset: Offset) -> Option<StreamMark> {
    match serde_json::from_slice(server_frame::text(frame)?).ok()? {
        PushHead { publication: Some(place), signal: None }
            if place.channel == channel.as_str() && place.offset == Some(offset.0) =>
        {
            Some(place.stream.map_or(StreamMark::None, |word| StreamMark::of_word(&word)))
        }
        PushHead { .. } => None,
    }
}

/// The same for a signal, which has no offset.
fn is_signal(frame: &[u8], channel: &ChannelName) -> bool {
    let head = server_frame::text(frame).and_then(|json| serde_json::from_slice::<PushHead<'_>>(json).ok());
    matches!(head, Some(PushHead { publication: None, signal: Some(place) }) if place.channel == channel.as_str())
}

fn entries(mut body: &[u8], channel: &ChannelName) -> Result<Vec<Published>, EnvelopeFault> {
    let mut publications = Vec::new();
    while !body.is_empty() {
        let (head, rest) = body.split_at_checked(ENTRY_BYTES).ok_or(EnvelopeFault::Length)?;
        let number = |at: usize| {
            head.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
        };
        let target = Offset(number(9));
        let change = match head.get(8) {
            Some(0) => Change::None,
            Some(1) => Change::Edits(target),
            Some(2) => Change::Deletes(target),
            Some(_) | None => return Err(EnvelopeFault::Kind),
        };
        let length = head.get(17..).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes);
        let (frame, rest) = rest.split_at_checked(length as usize).ok_or(EnvelopeFault::Length)?;
        let part = part_of_publication(frame, channel, Offset(number(0)));
        let stream = part.ok_or(EnvelopeFault::Frame)?;
        let time_ms = time_of(frame);
        let (channel, offset, frame) = (channel.clone(), Offset(number(0)), Arc::from(frame));
        publications.push(Published { channel, offset, change, stream, time_ms, frame });
        body = rest;
    }
    Ok(publications)
}

#[cfg(test)]
mod tests;
