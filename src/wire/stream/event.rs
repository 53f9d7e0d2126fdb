//! The pieces of a stream.

/// The longest `type` of an event, in bytes.
pub const EVENT_KIND_BYTES_MAX: usize = 32;
/// The longest `data` of an event, in bytes of JSON.
pub const EVENT_DATA_BYTES_MAX: usize = 4 << 10;

/// The `type` of an event: 1 to 32 bytes of `[a-z0-9_]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EventKind(Box<str>);

impl EventKind {
    /// The rule, for messages to people.
    pub const RULE: &str = "1 to 32 bytes of a-z, 0-9 and '_'";

    /// `None` if the text breaks the rule.
    pub fn parse(text: &str) -> Option<EventKind> {
        let fits = (1..=EVENT_KIND_BYTES_MAX).contains(&text.len());
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        (fits && text.bytes().all(is_plain)).then(|| EventKind(Box::from(text)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The content of one `append`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Not empty.
    Text(Box<str>),
    Event {
        kind: EventKind,
        /// JSON, byte for byte as received; `null` if there was none.
        data: Box<str>,
    },
    /// Nothing: the producer shows that it lives.
    Alive,
}

impl Piece {
    /// The distance from the piece's position to the next one.
    pub fn length(&self) -> usize {
        match self {
            Piece::Text(text) => text.len(),
            Piece::Event { .. } => 1,
            Piece::Alive => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn kinds_of_events_are_short_and_plain(text in "[a-z0-9_]{0,40}|\\PC{0,6}") {
            let bytes = text.as_bytes();
            let is_kind = (1..=32).contains(&bytes.len())
                && bytes.iter().all(|byte| b"abcdefghijklmnopqrstuvwxyz0123456789_".contains(byte));
            prop_assert_eq!(EventKind::parse(&text).map(|kind| kind.as_str().to_owned()), is_kind.then_some(text));
        }
    }

    #[test]
    fn length_counts_bytes_of_text_and_one_for_an_event() {
        let kind = EventKind::parse("usage").expect("valid");
        assert_eq!(Piece::Text(Box::from("né")).length(), 3);
        assert_eq!(Piece::Event { kind, data: Box::from("{\"tokens\":7}") }.length(), 1);
        assert_eq!(Piece::Alive.length(), 0);
    }
}
