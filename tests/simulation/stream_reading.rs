//! A stream as a reader has it, by the rules for clients in `docs/protocol.md`.

use serde_json::Value;

/// The text of one generation. A stream begins with nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamReading {
    pub generation: u64,
    pub text: String,
}

/// Says if a frame leaves a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Reads {
    /// It was added, or is known, or has no text.
    On,
    /// The reader must ask for the stream.
    Hole,
}

impl StreamReading {
    /// Reads the object `stream` of a push or of a reply.
    pub fn read(&mut self, stream: &Value) -> Reads {
        let number = |member: &str| stream[member].as_u64();
        let generation = number("gen").expect("a generation");
        let known = self.text.len() as u64;
        let (Some(at), Some(next)) = (number("at"), number("next")) else {
            return if generation <= self.generation { Reads::On } else { Reads::Hole };
        };
        let is_newer = generation > self.generation;
        if generation < self.generation || !is_newer && next <= known {
            return Reads::On;
        }
        if at == 0 && stream.get("state").is_some() {
            *self = StreamReading { generation, text: String::new() };
        } else if is_newer || at != known {
            return Reads::Hole;
        }
        self.text.push_str(stream["text"].as_str().unwrap_or_default());
        assert_eq!(self.text.len() as u64, next, "a frame is as long as its positions say");
        Reads::On
    }
}
