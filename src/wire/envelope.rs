//! Messages on the bus: the binary payload of one Redis pub/sub message.
//!
//! ```text
//! version u8 | kind u8 | origin u64 | check u32 | body          integers are little-endian
//! publications   { offset u64 | change u8 | target u64 | length u32 | frame } …
//! signal         frame
//! canary         number u64 | dropped u64
//! ```
//!
//! The check is a CRC-32 (ISO 3309) over all other bytes and the channel's name. A message that was corrupted, or
//! that arrived under another name, fails it and is dropped; the log makes up for it. The check is not a signature:
//! every publisher on the bus is trusted. Frames are the same bytes that subscribers get, so a message is encoded
//! once for all instances.

use super::publication::{Change, Published};
use crate::id::{ChannelName, Offset};
use std::sync::Arc;

/// The first byte. An instance drops messages of a newer version, and the log makes up for them.
const VERSION: u8 = 1;
const HEAD_BYTES: usize = 14;
const ENTRY_BYTES: usize = 21;

/// Identifies one process on the bus; drawn at random when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin(pub u64);

/// A message for the followers of a channel.
#[derive(Clone, Debug)]
pub enum Message {
    /// Publications of the channel, in offset order.
    Publications(Vec<Published>),
    Signal(Arc<[u8]>),
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

/// The reason why bytes are not a valid message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvelopeFault {
    /// The message is shorter or longer than it declares.
    Length,
    /// The version is unknown.
    Version,
    /// The kind is unknown or not expected here.
    Kind,
    /// The check does not match.
    Check,
}

#[derive(Clone, Copy)]
enum EnvelopeKind {
    Publications = 1,
    Signal = 2,
    Canary = 3,
}

/// The origin of a message. Read it first, because an instance's own messages come back and can be dropped unread.
pub fn origin(bytes: &[u8]) -> Option<Origin> {
    bytes.get(2..10).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes).map(Origin)
}

/// Appends a message with these publications, all of the channel `name`.
pub fn publications<'a>(
    out: &mut Vec<u8>,
    origin: Origin,
    name: &str,
    publications: impl IntoIterator<Item = &'a Published>,
) {
    seal(out, EnvelopeKind::Publications, origin, name, |out| {
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
pub fn signal(out: &mut Vec<u8>, origin: Origin, name: &str, frame: &[u8]) {
    seal(out, EnvelopeKind::Signal, origin, name, |out| out.extend_from_slice(frame));
}

pub fn canary(out: &mut Vec<u8>, origin: Origin, name: &str, note: CanaryNote) {
    seal(out, EnvelopeKind::Canary, origin, name, |out| {
        out.extend_from_slice(&note.number.to_le_bytes());
        out.extend_from_slice(&note.dropped.to_le_bytes());
    });
}

fn seal(out: &mut Vec<u8>, kind: EnvelopeKind, origin: Origin, name: &str, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[VERSION, kind as u8]);
    out.extend_from_slice(&origin.0.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    body(out);
    let Some(message) = out.get_mut(start..) else { return };
    let check = check(message, name).to_le_bytes();
    if let Some(place) = message.get_mut(10..HEAD_BYTES) {
        place.copy_from_slice(&check);
    }
}

fn check(message: &[u8], name: &str) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(message.get(..10).unwrap_or_default());
    hasher.update(message.get(HEAD_BYTES..).unwrap_or_default());
    hasher.update(name.as_bytes());
    hasher.finalize()
}

/// Reads a message that arrived under this name.
pub fn read(bytes: &[u8], channel: &ChannelName) -> Result<Message, EnvelopeFault> {
    let (kind, body) = open(bytes, channel.as_str())?;
    match kind {
        EnvelopeKind::Publications => entries(body, channel).map(Message::Publications),
        EnvelopeKind::Signal => Ok(Message::Signal(Arc::from(body))),
        EnvelopeKind::Canary => Err(EnvelopeFault::Kind),
    }
}

/// Reads a canary that arrived under this name.
pub fn read_canary(bytes: &[u8], name: &str) -> Result<CanaryNote, EnvelopeFault> {
    let (kind, body) = open(bytes, name)?;
    match (kind, body.as_chunks::<8>()) {
        (EnvelopeKind::Canary, ([number, dropped], [])) => {
            Ok(CanaryNote { number: u64::from_le_bytes(*number), dropped: u64::from_le_bytes(*dropped) })
        }
        (EnvelopeKind::Canary, _) => Err(EnvelopeFault::Length),
        (EnvelopeKind::Publications | EnvelopeKind::Signal, _) => Err(EnvelopeFault::Kind),
    }
}

fn open<'a>(bytes: &'a [u8], name: &str) -> Result<(EnvelopeKind, &'a [u8]), EnvelopeFault> {
    let (head, body) = bytes.split_at_checked(HEAD_BYTES).ok_or(EnvelopeFault::Length)?;
    let [version, kind, .., a, b, c, d] = *head else { return Err(EnvelopeFault::Length) };
    if version != VERSION {
        return Err(EnvelopeFault::Version);
    }
    let kind = match kind {
        1 => EnvelopeKind::Publications,
        2 => EnvelopeKind::Signal,
        3 => EnvelopeKind::Canary,
        _ => return Err(EnvelopeFault::Kind),
    };
    if u32::from_le_bytes([a, b, c, d]) == check(bytes, name) {
        Ok((kind, body))
    } else {
        Err(EnvelopeFault::Check)
    }
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
        let (channel, offset, frame) = (channel.clone(), Offset(number(0)), Arc::from(frame));
        publications.push(Published { channel, offset, change, frame });
        body = rest;
    }
    Ok(publications)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ORIGIN: Origin = Origin(0x0102_0304_0506_0708);

    fn channel() -> ChannelName {
        ChannelName::parse("c1").expect("valid")
    }

    fn published(offset: u64, change: Change, frame: &[u8]) -> Published {
        Published { channel: channel(), offset: Offset(offset), change, frame: Arc::from(frame) }
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            Just(Change::None),
            any::<u64>().prop_map(|at| Change::Edits(Offset(at))),
            any::<u64>().prop_map(|at| Change::Deletes(Offset(at))),
        ]
    }

    proptest! {
        #[test]
        fn written_publications_are_read_back(entries in prop::collection::vec((any::<u64>(), change(), prop::collection::vec(any::<u8>(), 0..40)), 0..6)) {
            let sent: Vec<Published> = entries.iter().map(|(offset, change, frame)| published(*offset, *change, frame)).collect();
            let mut bytes = Vec::new();
            publications(&mut bytes, ORIGIN, "c1", &sent);
            prop_assert_eq!(origin(&bytes), Some(ORIGIN));
            let Ok(Message::Publications(read)) = read(&bytes, &channel()) else { panic!("not read") };
            prop_assert_eq!(read.len(), sent.len());
            for (read, sent) in read.iter().zip(&sent) {
                prop_assert_eq!((read.offset, read.change, &read.frame), (sent.offset, sent.change, &sent.frame));
            }
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes, &channel());
            let _ = read_canary(&bytes, "x");
            let _ = origin(&bytes);
        }

        #[test]
        fn single_changed_bit_is_detected(at in 0_usize..60, bit in 0_u32..8) {
            let mut bytes = Vec::new();
            publications(&mut bytes, ORIGIN, "c1", &[published(7, Change::None, b"hello, this is a frame")]);
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            prop_assert!(read(&bytes, &channel()).is_err());
        }
    }

    #[test]
    fn message_under_another_name_is_garbled() {
        let mut bytes = Vec::new();
        signal(&mut bytes, ORIGIN, "c2", b"frame");
        assert_eq!(read(&bytes, &channel()).err(), Some(EnvelopeFault::Check));
    }

    #[test]
    fn canary_is_read_only_as_a_canary() {
        let (mut bytes, note) = (Vec::new(), CanaryNote { number: 5, dropped: 9 });
        canary(&mut bytes, ORIGIN, "c1", note);
        assert_eq!(read_canary(&bytes, "c1"), Ok(note));
        assert_eq!(read(&bytes, &channel()).err(), Some(EnvelopeFault::Kind));
        bytes.clear();
        signal(&mut bytes, ORIGIN, "c1", b"");
        assert_eq!(read_canary(&bytes, "c1"), Err(EnvelopeFault::Kind));
        assert!(matches!(read(&bytes, &channel()), Ok(Message::Signal(frame)) if frame.is_empty()));
    }

    #[test]
    fn newer_version_is_distinguished_from_a_garbled_message() {
        let mut bytes = Vec::new();
        signal(&mut bytes, ORIGIN, "c1", b"frame");
        bytes[0] = 2;
        assert_eq!(read(&bytes, &channel()).err(), Some(EnvelopeFault::Version));
    }
}
