//! A reader of streams that follows the rules for clients in `docs/protocol.md`.

use crate::stream::SharedStream;
use crate::wire::server_frame;
use crate::wire::stream::{EventKeep, News, StreamId, StreamNews};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A stream as a reader has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    pub generation: u64,
    pub text: String,
    pub events: Vec<Value>,
    pub next: u64,
    pub state: String,
}

/// The streams of one reader, by offset.
#[derive(Debug, Default)]
pub struct Reader {
    pub streams: BTreeMap<u64, Reading>,
}

impl Reader {
    /// Reads one change. The answer says if the reader must ask for the whole stream.
    #[must_use]
    pub fn read(&mut self, news: &StreamNews) -> bool {
        let frames = match &news.news {
            News::Pieces { frames, .. } => frames,
            News::State(_, frame) | News::Restarted(frame) => frame,
        };
        server_frame::split(frames).map(|frame| self.read_frame(frame)).fold(false, |one, other| one | other)
    }

    fn read_frame(&mut self, frame: &[u8]) -> bool {
        let payload = server_frame::text(frame).expect("a text frame");
        let message: Value = serde_json::from_slice(payload).expect("JSON");
        let stream = &message["stream"];
        let number = |member: &str| stream[member].as_u64();
        let offset = number("offset").expect("an offset");
        let generation = number("gen").expect("a generation");
        let known = self.streams.entry(offset).or_default();
        if generation < known.generation {
            return false;
        }
        let (Some(at), Some(next)) = (number("at"), number("next")) else {
            known.state = stream["state"].as_str().expect("a state").into();
            return generation > known.generation;
        };
        if let Some(state) = stream["state"].as_str()
            && at == 0
        {
            *known = Reading { generation, state: state.into(), ..Reading::default() };
        } else if generation > known.generation {
            return true;
        } else if next <= known.next {
            return false;
        } else if at != known.next {
            return true;
        }
        known.text.push_str(stream["text"].as_str().unwrap_or_default());
        if let Some(event) = stream.get("event") {
            known.events.push(json!([at, event["type"], event["data"]]));
        }
        known.next = next;
        false
    }

    /// Reads the answer to `stream`.
    pub fn read_whole(&mut self, id: &StreamId, whole: &SharedStream) {
        let events = whole.text.events().iter().map(|event| {
            let data: Value = serde_json::from_str(&event.data).expect("JSON");
            json!([event.at.0, event.kind.as_str(), data])
        });
        let reading = Reading {
            generation: whole.generation.0.into(),
            text: whole.text.text_from(Default::default()).expect("the whole text"),
            events: events.collect(),
            next: whole.text.next().0.into(),
            state: whole.state.word().into(),
        };
        self.streams.insert(id.offset.0, reading);
    }
}

/// The text and events of an end that has no data of its producer.
pub fn of_end(data: &str, keep: EventKeep) -> (String, Option<Vec<Value>>) {
    let data: Value = serde_json::from_str(data).expect("JSON");
    let text = data["text"].as_str().expect("a text").to_string();
    let events = data["events"].as_array().cloned().unwrap_or_default();
    (text, (keep == EventKeep::Keep).then_some(events))
}
