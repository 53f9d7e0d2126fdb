//! The same producer behind a real session: its commands are frames, and answers come as frames.

use super::stream_rig::Rig;
use super::stream_store::Heard;
use fastrand::Rng;
use seawall::engine::SlotId;
use seawall::id::Offset;
use seawall::job::stream::{BegunStream, ProducerNotice, StreamFault, StreamOrder, StreamOutcome};
use seawall::wire::stream::{Generation, Piece, Position, StreamEnd, StreamId};
use serde_json::{Map, Value, json};

/// The connection of a client.
#[derive(Debug, Default)]
pub struct Link {
    pub rig: usize,
    pub slot: Option<SlotId>,
    pub connected: bool,
}

impl Link {
    pub fn open(&mut self, rigs: &mut [Rig], pace: usize, rng: &mut Rng) {
        if self.slot.is_none() && rng.u8(..8) == 0 {
            self.rig = rng.usize(..rigs.len());
            self.slot = rigs[self.rig].connect(pace);
            self.connected = false;
        }
    }

    pub fn say(&self, rigs: &mut [Rig], text: &str) {
        if let Some(slot) = self.slot {
            rigs[self.rig].say(slot, text);
        }
    }

    pub fn leave(&mut self, rigs: &mut [Rig]) {
        if let Some(slot) = self.slot.take() {
            rigs[self.rig].leave(slot);
        }
        self.connected = false;
    }
}

/// The command that begins a stream.
pub fn begin(id: u64, key: &str) -> String {
    json!({"id": id, "publish": {"channel": "c0", "key": key, "data": {}, "stream": {}}}).to_string()
}

/// A command about a stream.
pub fn command(id: Option<u64>, offset: u64, order: &StreamOrder) -> String {
    let named = |generation: &Option<Generation>, at: &Option<Position>| {
        let mut members = Map::from_iter([("channel".into(), json!("c0")), ("offset".into(), json!(offset))]);
        members.extend(generation.map(|generation| ("gen".into(), json!(generation.0))));
        members.extend(at.map(|at| ("at".into(), json!(at.0))));
        members
    };
    let (name, members) = match order {
        StreamOrder::Append { generation, at, piece: Piece::Text(text) } => {
            let mut members = named(generation, at);
            members.insert("text".into(), json!(&**text));
            ("append", members)
        }
        StreamOrder::Restart => ("restart", named(&None, &None)),
        StreamOrder::End { generation, at, end, .. } => {
            let mut members = named(generation, at);
            members.insert("state".into(), json!(end.word()));
            ("end", members)
        }
        StreamOrder::Cancel { .. } => ("cancel", named(&None, &None)),
        StreamOrder::Append { .. } | StreamOrder::Attach | StreamOrder::Take | StreamOrder::Fail { .. } => {
            panic!("not said here: {order:?}")
        }
    };
    let mut frame = Map::from_iter([(name.to_owned(), Value::Object(members))]);
    frame.extend(id.map(|id| ("id".into(), json!(id))));
    Value::Object(frame).to_string()
}

/// The meaning of a frame for a producer, with the offset of its stream; `None` if it has none.
pub fn meaning(kind: &str, body: &Value) -> Option<(u64, Heard)> {
    let number =
        |body: &Value, member: &str| body[member].as_u64().unwrap_or_else(|| panic!("{member}: {body}"));
    let generation = |body: &Value| Generation(number(body, "gen") as u32);
    let next = |body: &Value| Position(number(body, "next") as u32);
    // How it ended makes no difference to a producer.
    let end = StreamEnd::Completed;
    let edit = |body: &Value| Offset(number(body, "edit"));
    let heard = match kind {
        "published" => {
            let stream = &body["stream"];
            let ended = stream.get("state").map(|_| (end, edit(stream)));
            Heard::Begun(BegunStream { generation: generation(stream), next: next(stream), ended })
        }
        "appended" => {
            let id =
                StreamId { channel: super::stream_store::channel(), offset: Offset(number(body, "offset")) };
            Heard::Notice(ProducerNotice::Appended { id, generation: generation(body), next: next(body) })
        }
        "restarted" => {
            Heard::Outcome(StreamOutcome::Restarted { generation: generation(body), next: next(body) })
        }
        "ended" => Heard::Outcome(StreamOutcome::Ended { edit: edit(body), end, duplicate: false }),
        "error" if body.get("offset").is_none() => return Some((0, Heard::NotBegun)),
        "error" => Heard::Outcome(StreamOutcome::Refused(match body["code"].as_str().expect("a code") {
            "gap" => StreamFault::Gap { next: next(body) },
            "diverged" => StreamFault::Diverged { next: next(body) },
            "stale" => StreamFault::Stale { generation: generation(body) },
            "ended" => StreamFault::AlreadyEnded { end, edit: edit(body) },
            "too_large" => StreamFault::TooLarge,
            // The command may or may not be carried out: both are sent again.
            "overloaded" | "unavailable" | "unconfirmed" => StreamFault::Overloaded { retry_ms: 0 },
            code => panic!("{code} for an honest producer: {body}"),
        })),
        _ => return None,
    };
    Some((number(body, "offset"), heard))
}
