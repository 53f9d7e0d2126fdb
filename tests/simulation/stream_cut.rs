//! Readers that are cut at every position of one stream, and come back with or without what they had, on the same reactor or another.

use super::stream_reading::{Reads, StreamReading};
use super::stream_rig::Rig;
use super::stream_store::{Heard, StreamStore, Ticketed, settings};
use fastrand::Rng;
use seawall::clock::{Moment, Now};
use seawall::engine::SlotId;
use seawall::job::stream::StreamOrder;
use seawall::stream::StreamSettings;
use seawall::wire::stream::{Generation, Piece, Position, StreamEnd};
use serde_json::Value;
use std::time::Duration;

const REACTORS: usize = 2;
/// The bytes of the stream.
const LENGTH: usize = 2_048;
/// Commits that a reader misses before it is back, at most.
const MISSED: usize = 3;
/// Commits that a reader stays for.
const STAYS: usize = 3;
const LIFE: Duration = Duration::from_secs(3_600);
const CONNECTION: u64 = 1;

/// A reader's knowledge when it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// It names the publication that it has last, and asks for the text after its own.
    Named,
    /// It names the publication that it has last, and what it has of the stream, and asks for nothing.
    WithStreams,
    /// It has nothing.
    None,
}

#[derive(Debug)]
struct CutReader {
    rig: usize,
    slot: SlotId,
    cut_at: usize,
    reading: StreamReading,
    /// The position from which it was first given the stream.
    given_from: Option<u64>,
    leaves_at: usize,
}

pub struct CutStream {
    now: Now,
    rng: Rng,
    store: StreamStore,
    rigs: Vec<Rig>,
    readers: Vec<CutReader>,
    offset: u64,
    text: String,
    cursor: Cursor,
    /// The readers that came and left with the whole text.
    pub served: usize,
}

/// Characters of one to four bytes, so that a position is no count of them.
fn text() -> String {
    let mut text: String =
        ["a", "é", "→", "🚀", "\"", "\n", "7"].iter().cycle().take(LENGTH).copied().collect();
    text.truncate(text.floor_char_boundary(LENGTH));
    text
}

impl CutStream {
    pub fn new(seed: u64, cursor: Cursor) -> CutStream {
        let now = Now { at: Moment::from_micros(3_600_000_000), unix_ms: 1_763_770_000_000 };
        let mut rng = Rng::with_seed(seed);
        let settings = StreamSettings { life: LIFE, ..settings() };
        CutStream {
            now,
            store: StreamStore::new(settings, now),
            rigs: (0..REACTORS).map(|reactor| Rig::new(reactor as u16, now, rng.u64(..))).collect(),
            rng,
            readers: Vec::new(),
            offset: 0,
            text: text(),
            cursor,
            served: 0,
        }
    }

    /// Writes the stream a character at a time; at each, readers have what is stored, and are cut.
    pub fn run(&mut self) {
        self.store.begin(CONNECTION, "run", self.now);
        self.turn();
        let begun = self.store.heard();
        let [(_, offset, Heard::Begun(_))] = begun[..] else { panic!("{begun:?}") };
        self.offset = offset;
        let ends: Vec<usize> = self.text.char_indices().map(|(at, _)| at).chain([self.text.len()]).collect();
        for (number, piece) in ends.windows(2).enumerate() {
            let missed = self.rng.usize(..=MISSED.min(number));
            let cut_at = ends[number - missed];
            (0..REACTORS).for_each(|rig| self.come_back(rig, cut_at, number + STAYS));
            self.write(piece[0], piece[1]);
            self.leave(number);
        }
        self.turn();
        self.leave(usize::MAX);
        let at = Some(Position(self.text.len() as u32));
        let (generation, end) = (Some(Generation::FIRST), StreamEnd::Completed);
        let order = StreamOrder::End { generation, at, end, data: None };
        self.store.say(CONNECTION, self.offset, Ticketed::Yes, order, self.now);
        self.turn();
        let (_, entry) = self.store.ends().next().expect("an end");
        let data: Value = serde_json::from_str(&entry.data).expect("JSON");
        assert_eq!(data["text"], self.text.as_str());
    }

    fn come_back(&mut self, rig: usize, cut_at: usize, leaves_at: usize) {
        let slot = self.rigs[rig].connect(1 << 20).expect("room");
        let offset = self.offset;
        let say = match self.cursor {
            Cursor::Named => [
                format!(
                    r#"{{"id":2,"subscribe":{{"channel":"c0","recover":{{"epoch":"7","offset":{offset}}}}}}}"#
                ),
                format!(
                    r#"{{"id":3,"stream":{{"channel":"c0","offset":{offset},"gen":1,"after":{cut_at}}}}}"#
                ),
            ]
            .to_vec(),
            Cursor::WithStreams => [format!(
                r#"{{"id":2,"subscribe":{{"channel":"c0","recover":{{"epoch":"7","offset":{offset}}},"streams":{{"{offset}":[1,{cut_at}]}}}}}}"#
            )]
            .to_vec(),
            Cursor::None => [r#"{"id":2,"subscribe":{"channel":"c0"}}"#.to_owned()].to_vec(),
        };
        say.iter().for_each(|text| self.rigs[rig].say(slot, text));
        let text = match self.cursor {
            Cursor::Named | Cursor::WithStreams => self.text[..cut_at].to_owned(),
            Cursor::None => String::new(),
        };
        let reading = StreamReading { generation: 1, text };
        self.readers.push(CutReader { rig, slot, cut_at, reading, given_from: None, leaves_at });
    }

    fn write(&mut self, from: usize, to: usize) {
        let order = StreamOrder::Append {
            generation: Some(Generation::FIRST),
            at: Some(Position(from as u32)),
            piece: Piece::Text(self.text[from..to].into()),
        };
        self.store.say(CONNECTION, self.offset, Ticketed::No, order, self.now);
        self.turn();
        assert_eq!(self.store.text(self.offset, 1), &self.text[..to], "a turn commits");
        self.store.heard();
    }

    /// Two passes of the reactors and one of the store, later than a window of the ledger.
    fn turn(&mut self) {
        for _ in 0..2 {
            self.now.at = self.now.at + Duration::from_millis(50);
            self.now.unix_ms += 50;
            for rig in &mut self.rigs {
                rig.turn(self.now);
                self.store.take(std::mem::take(&mut rig.jobs), self.now);
            }
            self.store.turn(self.now, &mut self.rigs, &mut self.rng);
        }
        for reader in &mut self.readers {
            for message in self.rigs[reader.rig].hear(reader.slot).expect("a connection") {
                let Some(stream) = message.get("stream") else { continue };
                let is_first = match self.cursor {
                    Cursor::Named => message.get("id").is_some(),
                    Cursor::WithStreams | Cursor::None => reader.given_from.is_none(),
                };
                if is_first {
                    reader.given_from = stream["at"].as_u64();
                }
                reader.hear(stream);
            }
        }
    }

    fn leave(&mut self, number: usize) {
        let stored = self.store.text(self.offset, 1);
        for reader in self.readers.extract_if(.., |reader| reader.leaves_at <= number) {
            let (cut_at, cursor) = (reader.cut_at, self.cursor);
            // The last frame may still be under way.
            assert!(stored.starts_with(&reader.reading.text), "S2: cut at {cut_at}, {cursor:?}");
            let missing = stored.len() - reader.reading.text.len();
            assert!(missing <= 8, "S2: cut at {cut_at}, {cursor:?}: {missing} bytes are missing");
            let wanted = match cursor {
                Cursor::Named | Cursor::WithStreams => cut_at as u64,
                Cursor::None => 0,
            };
            assert_eq!(reader.given_from, Some(wanted), "the reader cut at {cut_at}, {cursor:?}");
            self.rigs[reader.rig].leave(reader.slot);
            self.served += 1;
        }
    }
}

impl CutReader {
    fn hear(&mut self, stream: &Value) {
        let reads = self.reading.read(stream);
        assert_eq!(reads, Reads::On, "S2: a hole for the reader cut at {}: {stream}", self.cut_at);
    }
}
