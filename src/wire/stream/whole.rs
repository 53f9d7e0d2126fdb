//! The `stream` frame that has all of an open stream, or all from a position on.

use super::news::WholeStream;
use super::place::{Generation, KnownStream, Position, StreamId};
use super::state::StreamState;
use crate::wire::json;
use crate::wire::scan::{Broken, JsonKind, Raw, Scanner};
use crate::wire::server_frame::{self, Opcode};
use std::borrow::Cow;
use std::str;

/// The contents of a whole frame but for its events.
#[derive(Clone, Copy, Debug)]
pub struct WholeText<'a> {
    pub id: &'a StreamId,
    pub generation: Generation,
    /// Where the text begins.
    pub at: Position,
    pub text: &'a str,
    /// Where the stream ends so far.
    pub next: Position,
    pub state: StreamState,
}

impl WholeText<'_> {
    /// Encodes the frame. `event` writes one as `[position,"type",data]`.
    pub fn frame<E>(self, events: &[E], event: impl Fn(&mut Vec<u8>, &E)) -> Vec<u8> {
        let WholeText { id, generation, at, text, next, state } = self;
        let mut frame = Vec::with_capacity(text.len() + 256);
        server_frame::write_with(&mut frame, Opcode::Text, |out| {
            json::object(out, |out| {
                json::key(out, "stream");
                json::object(out, |out| {
                    json::text(out, "channel", id.channel.as_str());
                    json::integer(out, "offset", id.offset.0);
                    json::integer(out, "gen", generation.0.into());
                    json::integer(out, "at", at.0.into());
                    json::text(out, "text", text);
                    if !events.is_empty() {
                        json::key(out, "events");
                        out.push(b'[');
                        for (place, each) in events.iter().enumerate() {
                            if place > 0 {
                                out.push(b',');
                            }
                            event(out, each);
                        }
                        out.push(b']');
                    }
                    json::integer(out, "next", next.0.into());
                    json::text(out, "state", state.word());
                });
            });
        });
        frame
    }
}

impl WholeStream {
    /// The JSON of its frame: `{"stream":…}`.
    pub(in crate::wire) fn json(&self) -> Option<&[u8]> {
        const OPENING: &[u8] = b"{\"stream\":";
        // The header of a frame has no brace, because its bytes are a text's opcode and a length.
        let begin = self.frame.windows(OPENING.len()).position(|bytes| bytes == OPENING)?;
        self.frame.get(begin..)
    }

    /// The frame with what a client lacks that has a part of it. `None` if it is no part of it: the client needs the frame from 0.
    pub fn rest(&self, known: KnownStream) -> Option<Vec<u8>> {
        let is_part =
            known.generation == self.generation && known.next <= self.next && known.next > Position::ZERO;
        if !is_part {
            return None;
        }
        let parts = WholeParts::read(str::from_utf8(self.json()?).ok()?).ok()?;
        let (mut events_before, mut events) = (0, Vec::new());
        for event in parts.events {
            if event_at(event)? < known.next {
                events_before += 1;
            } else {
                events.push(event.text);
            }
        }
        let at = (known.next.0 as usize).checked_sub(events_before)?;
        // `None` inside a character.
        let text = parts.text.get(at..)?;
        let WholeStream { id, generation, next, state, .. } = self;
        let (generation, next, state) = (*generation, *next, *state);
        let rest = WholeText { id, generation, at: known.next, text, next, state };
        Some(rest.frame(&events, |out, event| out.extend_from_slice(event.as_bytes())))
    }
}

/// The text and the events of a frame from 0.
#[derive(Default)]
struct WholeParts<'a> {
    text: Cow<'a, str>,
    events: Vec<Raw<'a>>,
}

impl<'a> WholeParts<'a> {
    fn read(json: &'a str) -> Result<WholeParts<'a>, Broken> {
        let mut parts = WholeParts::default();
        Scanner::new(json).object(|scanner, _| {
            scanner.object(|scanner, name| {
                match &*name {
                    "text" => parts.text = scanner.value()?.string().unwrap_or_default(),
                    "events" => scanner.array(|scanner| {
                        parts.events.push(scanner.value()?);
                        Ok(())
                    })?,
                    _ => {
                        scanner.value()?;
                    }
                }
                Ok(())
            })
        })?;
        Ok(parts)
    }
}

/// The position of an event: its first element.
fn event_at(event: Raw<'_>) -> Option<Position> {
    let mut first = None;
    Scanner::new(event.text)
        .array(|scanner| {
            let element = scanner.value()?;
            let number = (element.kind == JsonKind::Number).then(|| element.integer().ok()).flatten();
            first = first.or(number);
            Ok(())
        })
        .ok()?;
    first?.try_into().ok().map(Position)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ChannelName, Offset};

    /// Text with characters of one to four bytes and with escapes.
    const TEXT: &str = "aé\"\n€\\😀\u{1}z";
    /// At the beginning, twice between the same two characters, and at the end.
    const EVENTS: [(u32, &str); 4] = [(0, "a"), (4, "b"), (5, "c"), (18, "d")];

    fn id() -> StreamId {
        StreamId { channel: ChannelName::parse("c").expect("valid"), offset: Offset(59) }
    }

    fn next() -> Position {
        Position((TEXT.len() + EVENTS.len()) as u32)
    }

    fn frame_from(id: &StreamId, at: Position, text: &str) -> Vec<u8> {
        let events: Vec<_> = EVENTS.into_iter().filter(|(place, _)| *place >= at.0).collect();
        let whole = WholeText {
            id,
            generation: Generation(2),
            at,
            text,
            next: next(),
            state: StreamState::Streaming,
        };
        whole.frame(&events, |out, (place, kind)| {
            let data = r#"{"text":"of [an] event","events":[7]}"#;
            out.extend_from_slice(format!("[{place},\"{kind}\",{data}]").as_bytes());
        })
    }

    fn whole() -> WholeStream {
        let (id, generation, state) = (id(), Generation(2), StreamState::Streaming);
        let frame = frame_from(&id, Position::ZERO, TEXT).into();
        WholeStream { id, generation, next: next(), state, frame }
    }

    fn known(generation: u32, next: u32) -> KnownStream {
        KnownStream { offset: Offset(59), generation: Generation(generation), next: Position(next) }
    }

    #[test]
    fn rest_of_a_frame_is_what_would_be_encoded_from_there() {
        let mut between_characters = 0;
        for at in 1..=next().0 {
            let before = EVENTS.iter().filter(|(place, _)| *place < at).count();
            let wanted = TEXT.get(at as usize - before..).map(|text| frame_from(&id(), Position(at), text));
            between_characters += u32::from(wanted.is_some());
            assert_eq!(whole().rest(known(2, at)), wanted, "from {at}");
        }
        let inside = TEXT.len() - TEXT.chars().count();
        assert_eq!(between_characters as usize, next().0 as usize - inside);
    }

    #[test]
    fn client_with_another_text_is_given_all() {
        for other in [known(1, 3), known(3, 3), known(2, 0), known(2, next().0 + 1)] {
            assert_eq!(whole().rest(other), None, "{other:?}");
        }
        let mut frame = whole();
        frame.frame = Vec::from(*b"no frame").into();
        assert_eq!(frame.rest(known(2, 3)), None);
    }
}
