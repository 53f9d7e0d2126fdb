//! The size of a stream, counted as its end will be written.

use super::pieces::StreamEvent;
use super::text::StreamText;
use crate::wire::json;
use crate::wire::stream::{EndCause, EventKeep};

/// The bytes of an end around its text, its events and the data of its begin.
const FRAME_BYTES: usize = r#"{"text":"","begun":,"events":[],"cause":"producer_lost"}"#.len();
/// The bytes of an event around its type and data, with the longest position and a comma.
const EVENT_FRAME_BYTES: usize = r#"[4294967295,"",],"#.len();

/// The data of an end that its producer gave none for, and of every end by the gateway.
pub(super) fn end_data(text: &StreamText, begun: &str, keep: EventKeep, cause: Option<EndCause>) -> Box<str> {
    let mut out = Vec::with_capacity(FRAME_BYTES + text.bytes() + begun.len());
    json::object(&mut out, |out| {
        json::text(out, "text", &text.text_from(Default::default()).unwrap_or_default());
        json::raw(out, "begun", begun);
        if keep == EventKeep::Keep && !text.events().is_empty() {
            json::key(out, "events");
            events(out, text.events());
        }
        if let Some(cause) = cause {
            json::text(out, "cause", cause.word());
        }
    });
    String::from_utf8(out).unwrap_or_default().into()
}

fn events(out: &mut Vec<u8>, events: &[StreamEvent]) {
    out.push(b'[');
    for (index, event) in events.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"[" } else { b",[" });
        json::digits(out, event.at.0.into());
        out.push(b',');
        json::string(out, event.kind.as_str());
        out.push(b',');
        out.extend_from_slice(event.data.as_bytes());
        out.push(b']');
    }
    out.push(b']');
}

/// The size of a generation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EndSize {
    /// Of the text with its escapes.
    text: usize,
    /// Of the events, with the positions around them.
    events: usize,
    event_count: usize,
}

impl EndSize {
    /// The size with one more text.
    pub(super) fn with_text(self, text: &str) -> EndSize {
        EndSize { text: self.text + json::escaped_bytes(text), ..self }
    }

    /// The size with one more event.
    pub(super) fn with_event(self, kind: &str, data: &str) -> EndSize {
        let event = EVENT_FRAME_BYTES + kind.len() + data.len();
        EndSize { events: self.events + event, event_count: self.event_count + 1, ..self }
    }

    /// The bytes of text and events, as an end has them.
    pub(super) fn bytes(self) -> usize {
        self.text + self.events
    }

    /// True if the end fits into a message. Events that are dropped have a message of their own, because readers that join get them.
    pub(super) fn fits(&self, begun: &str, keep: EventKeep, message_bytes: usize, events_max: usize) -> bool {
        let text = FRAME_BYTES + begun.len() + self.text;
        let fits = match keep {
            EventKeep::Keep => text + self.events <= message_bytes,
            EventKeep::Drop => text <= message_bytes && self.events <= message_bytes,
        };
        fits && self.event_count <= events_max
    }
}
