//! What travels over the bus: one message of Redis pub/sub, as bytes.
//!
//! ```text
//! version u8 | kind u8 | origin u64 | check u32 | body          integers are little-endian
//! publications   { offset u64 | change u8 | target u64 | length u32 | frame } …
//! signal         frame
//! canary         number u64 | dropped u64
//! ```
//!
//! The check is a CRC-32 (ISO 3309) over all the rest and the channel's name: a message that a proxy garbled, or that came
//! under another name, is known by it and thrown away. The log makes up for it. It is no seal: whoever may publish on the bus is
//! trusted. Frames are those that subscribers get, so a message is encoded once for all instances.

use super::publication::{Change, Published};
use crate::id::{ChannelName, Offset};
use std::sync::Arc;

/// Of the first byte. An instance drops what a newer version says, and the log makes up for it.
const VERSION: u8 = 1;
const HEAD_BYTES: usize = 14;
const ENTRY_BYTES: usize = 21;

/// Names a process among those on one bus: drawn at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin(pub u64);

/// A message for whoever follows its channel.
#[derive(Clone, Debug)]
pub enum Message {
    /// Publications of one channel, in offset order.
    Publications(Vec<Published>),
    /// A signal's frame.
    Signal(Arc<[u8]>),
}

/// Shows that commits of an instance arrive everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CanaryNote {
    /// Counts the canaries of its origin.
    pub number: u64,
    /// Messages that its origin could not send since it started: when it grows, there is something to be read from the store.
    pub dropped: u64,
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Garbled {
    /// Shorter than it says, or longer.
    Length,
    /// Of a version that is not ours.
    Version,
    /// Of a kind that is not ours.
    Kind,
    /// The check does not hold.
    Check,
}

#[derive(Clone, Copy)]
enum Kind {
    Publications = 1,
    Signal = 2,
    Canary = 3,
}

/// Whose message it is. It is read before the rest: one's own messages come back and are dropped unread.
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
    seal(out, Kind::Publications, origin, name, |out| {
        for published in publications {
            let (change, target) = match published.change {
                Change::None => (0, Offset::ZERO),
                Change::Edits(target) => (1, target),
                Change::Deletes(target) => (2, target),
            };
            out.extend_from_slice(&published.offset.0.to_le_bytes());
            out.push(change);
            out.extend_from_slice(&target.0.to_le_bytes());
            // A frame is bounded by `limits.frame_bytes`, far below.
            out.extend_from_slice(&u32::try_from(published.frame.len()).unwrap_or(u32::MAX).to_le_bytes());
            out.extend_from_slice(&published.frame);
        }
    });
}

/// Appends a message with a signal on the channel `name`.
pub fn signal(out: &mut Vec<u8>, origin: Origin, name: &str, frame: &[u8]) {
    seal(out, Kind::Signal, origin, name, |out| out.extend_from_slice(frame));
}

/// Appends a canary.
pub fn canary(out: &mut Vec<u8>, origin: Origin, name: &str, note: CanaryNote) {
    seal(out, Kind::Canary, origin, name, |out| {
        out.extend_from_slice(&note.number.to_le_bytes());
        out.extend_from_slice(&note.dropped.to_le_bytes());
    });
}

fn seal(out: &mut Vec<u8>, kind: Kind, origin: Origin, name: &str, body: impl FnOnce(&mut Vec<u8>)) {
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

/// Reads a message that came under this name.
pub fn read(bytes: &[u8], channel: &ChannelName) -> Result<Message, Garbled> {
    let (kind, body) = open(bytes, channel.as_str())?;
    match kind {
        Kind::Publications => entries(body, channel).map(Message::Publications),
        Kind::Signal => Ok(Message::Signal(Arc::from(body))),
        Kind::Canary => Err(Garbled::Kind),
    }
}

/// Reads a canary that came under this name.
pub fn read_canary(bytes: &[u8], name: &str) -> Result<CanaryNote, Garbled> {
    let (kind, body) = open(bytes, name)?;
    match (kind, body.as_chunks::<8>()) {
        (Kind::Canary, ([number, dropped], [])) => {
            Ok(CanaryNote { number: u64::from_le_bytes(*number), dropped: u64::from_le_bytes(*dropped) })
        }
        (Kind::Canary, _) => Err(Garbled::Length),
        (Kind::Publications | Kind::Signal, _) => Err(Garbled::Kind),
    }
}

fn open<'a>(bytes: &'a [u8], name: &str) -> Result<(Kind, &'a [u8]), Garbled> {
    let (head, body) = bytes.split_at_checked(HEAD_BYTES).ok_or(Garbled::Length)?;
    let [version, kind, .., a, b, c, d] = *head else { return Err(Garbled::Length) };
    if version != VERSION {
        return Err(Garbled::Version);
    }
    let kind = match kind {
        1 => Kind::Publications,
        2 => Kind::Signal,
        3 => Kind::Canary,
        _ => return Err(Garbled::Kind),
    };
    if u32::from_le_bytes([a, b, c, d]) == check(bytes, name) {
        Ok((kind, body))
    } else {
        Err(Garbled::Check)
    }
}

fn entries(mut body: &[u8], channel: &ChannelName) -> Result<Vec<Published>, Garbled> {
    let mut publications = Vec::new();
    while !body.is_empty() {
        let (head, rest) = body.split_at_checked(ENTRY_BYTES).ok_or(Garbled::Length)?;
        let number = |at: usize| {
            head.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
        };
        let target = Offset(number(9));
        let change = match head.get(8) {
            Some(0) => Change::None,
            Some(1) => Change::Edits(target),
            Some(2) => Change::Deletes(target),
            Some(_) | None => return Err(Garbled::Kind),
        };
        let length = head.get(17..).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes);
        let (frame, rest) = rest.split_at_checked(length as usize).ok_or(Garbled::Length)?;
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
        fn what_is_written_is_read(entries in prop::collection::vec((any::<u64>(), change(), prop::collection::vec(any::<u8>(), 0..40)), 0..6)) {
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
        fn whatever_bytes_come_nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes, &channel());
            let _ = read_canary(&bytes, "x");
            let _ = origin(&bytes);
        }

        #[test]
        fn one_changed_bit_is_noticed(at in 0_usize..60, bit in 0_u32..8) {
            let mut bytes = Vec::new();
            publications(&mut bytes, ORIGIN, "c1", &[published(7, Change::None, b"hello, this is a frame")]);
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            prop_assert!(read(&bytes, &channel()).is_err());
        }
    }

    #[test]
    fn a_message_under_another_name_is_no_message() {
        let mut bytes = Vec::new();
        signal(&mut bytes, ORIGIN, "c2", b"frame");
        assert_eq!(read(&bytes, &channel()).err(), Some(Garbled::Check));
    }

    #[test]
    fn a_canary_is_read_as_one_and_as_nothing_else() {
        let (mut bytes, note) = (Vec::new(), CanaryNote { number: 5, dropped: 9 });
        canary(&mut bytes, ORIGIN, "c1", note);
        assert_eq!(read_canary(&bytes, "c1"), Ok(note));
        assert_eq!(read(&bytes, &channel()).err(), Some(Garbled::Kind));
        bytes.clear();
        signal(&mut bytes, ORIGIN, "c1", b"");
        assert_eq!(read_canary(&bytes, "c1"), Err(Garbled::Kind));
        assert!(matches!(read(&bytes, &channel()), Ok(Message::Signal(frame)) if frame.is_empty()));
    }

    #[test]
    fn a_newer_version_is_told_from_a_garbled_one() {
        let mut bytes = Vec::new();
        signal(&mut bytes, ORIGIN, "c1", b"frame");
        bytes[0] = 2;
        assert_eq!(read(&bytes, &channel()).err(), Some(Garbled::Version));
    }
}
