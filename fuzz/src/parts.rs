//! Rows of the store with the pieces of a stream, as a start reads them, or a load of one stream: anything may be in them.
//!
//! The first byte chooses if the end keeps the events. A row is a byte for its generation, one each for its positions, one for the length of
//! its body, and the body.
//!
//! Checked properties: a row that is read is as long as its positions say, and all its events are JSON; what cannot be read ends the stream
//! with the text before it; the text that readers get, and the end, are JSON, as judged by serde_json.

use seawall::clock::Moment;
use seawall::id::{ChannelName, Offset, UserName};
use seawall::stream::{
    EndFate, Ledger, LoadedStream, PartRow, PieceEntry, StoredStream, StreamOutput, StreamSettings, Touched,
    decode,
};
use seawall::wire::stream::{EventKeep, Generation, Position, StreamId, StreamOptions, StreamState};
use serde_json::Value;
use serde_json::value::RawValue;
use std::time::Duration;

/// Rows that count.
const ROWS_MAX: usize = 32;
/// The generation that the stream has.
const GENERATION: Generation = Generation(1);

/// Checks the properties above.
pub fn check(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let keep = if first & 1 == 0 { EventKeep::Drop } else { EventKeep::Keep };
    let rows = rows(rest);
    rows.iter().for_each(decoded);
    let restored = restored(&rows, keep);
    let loaded = loaded(&rows, keep);
    ended(restored);
    ended(loaded);
}

fn id() -> StreamId {
    StreamId { channel: ChannelName::parse("a").expect("a channel"), offset: Offset(1) }
}

fn rows(mut bytes: &[u8]) -> Vec<PartRow> {
    let mut rows = Vec::new();
    while let [generation, at, next, length, rest @ ..] = bytes
        && rows.len() < ROWS_MAX
    {
        let (body, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        rows.push(PartRow {
            id: id(),
            generation: Generation(u32::from(generation % 4)),
            at: Position(u32::from(*at)),
            next: Position(u32::from(*next)),
            body: body.to_vec(),
        });
        bytes = rest;
    }
    rows
}

fn decoded(row: &PartRow) {
    let Ok(pieces) = decode(row.at, row.next, &row.body) else { return };
    let mut next = row.at.0 as usize;
    for entry in pieces.entries() {
        next += match entry {
            PieceEntry::Text { text, .. } => text.len(),
            PieceEntry::Event(event) => {
                is_json(&event.data);
                1
            }
        };
    }
    assert_eq!(next, row.next.0 as usize);
}

fn stored(keep: EventKeep) -> StoredStream {
    StoredStream {
        id: id(),
        author: UserName::anonymous(),
        options: StreamOptions { events: keep, ..StreamOptions::default() },
        begun: "{}".into(),
        generation: GENERATION,
        state: StreamState::Streaming,
        age: Duration::ZERO,
        asked: None,
    }
}

/// A start of the embedded store.
fn restored(rows: &[PartRow], keep: EventKeep) -> Ledger<u32> {
    let mut ledger = Ledger::new(StreamSettings::default(), Moment::ZERO);
    ledger.restore(stored(keep), Moment::ZERO);
    for row in rows {
        if ledger.restore_part(row).is_err() {
            break;
        }
    }
    ledger
}

/// A load of one stream from a store of several instances.
fn loaded(rows: &[PartRow], keep: EventKeep) -> Ledger<u32> {
    let mut ledger = Ledger::of_several(StreamSettings::default(), Moment::ZERO);
    let loaded = LoadedStream {
        stream: stored(keep),
        touched: Touched::default(),
        canceller: None,
        parts: rows.to_vec(),
        restarted: 0,
    };
    let _ = ledger.loaded(loaded, Moment::ZERO, &mut StreamOutput::default());
    ledger
}

/// Its producer does not come back.
fn ended(mut ledger: Ledger<u32>) {
    let (id, mut now) = (id(), Moment::ZERO);
    let known = ledger.shared(&id).expect("open").text.text_from(Position::ZERO).expect("all of it");
    let settings = StreamSettings::default();
    let mut out = StreamOutput::default();
    for _ in 0..8 {
        now = now + settings.life;
        let flush = ledger.cut(now);
        let fates: Vec<EndFate> =
            flush.ends.iter().map(|row| EndFate { end: row.end, edit: Offset(2) }).collect();
        for row in &flush.ends {
            is_json(&row.data);
            let data: Value = serde_json::from_str(&row.data).expect("JSON");
            assert_eq!(data["text"], known.as_str());
        }
        let is_over = !flush.ends.is_empty();
        ledger.settled(flush, &fates, now, &mut out);
        if is_over {
            assert_eq!(ledger.open_streams(), 0);
            return;
        }
    }
    panic!("a stream never ends");
}

fn is_json(text: &str) {
    assert!(serde_json::from_str::<&RawValue>(text).is_ok(), "{text:?}");
}
