//! Divides a long text into parts, each of which fits into one publication.
//!
//! A text is shown as it comes, so a part cannot end before what is shown already. Near its bound it therefore ends at the first line
//! break, and at the bound between any two characters.

use crate::wire::json;

/// The parts of one answer. The sixteenth is the last.
pub const PARTS_MAX: u32 = 16;
/// The bytes of an end around its text, with the data of its begin: `{"text":"…","begun":{"continues":…},"cause":"producer_lost"}`.
const AROUND_BYTES: usize = 100;
/// The share of a part in which a line break ends it.
const LAST_LINES: usize = 16;

/// The part that is being written.
#[derive(Debug)]
pub(super) struct TextPart {
    /// The bytes of text that fit, with its escapes.
    bytes_max: usize,
    bytes: usize,
    is_full: bool,
}

impl TextPart {
    /// `message_bytes`: the bound on the data of a publication.
    pub(super) fn new(message_bytes: usize) -> TextPart {
        TextPart { bytes_max: message_bytes.saturating_sub(AROUND_BYTES), bytes: 0, is_full: false }
    }

    /// Divides a text into what goes into this part and what begins the next one.
    pub(super) fn take<'a>(&mut self, text: &'a str) -> (&'a str, &'a str) {
        if self.is_full {
            return ("", text);
        }
        let many = self.bytes_max - self.bytes_max / LAST_LINES;
        let all = self.bytes + json::escaped_bytes(text);
        if all <= many {
            self.bytes = all;
            return (text, "");
        }
        for (at, character) in text.char_indices() {
            let bytes = self.bytes + json::escaped_bytes(character.encode_utf8(&mut [0; 4]));
            if bytes > self.bytes_max {
                self.is_full = true;
                return text.split_at(at);
            }
            self.bytes = bytes;
            if character == '\n' && bytes > many {
                self.is_full = true;
                return text.split_at(at + 1);
            }
        }
        (text, "")
    }

    /// The next part.
    pub(super) fn next(&self) -> TextPart {
        TextPart { bytes: 0, is_full: false, ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MESSAGE_BYTES: usize = 500;

    /// The parts of a text that comes in these pieces.
    fn parts(pieces: &[&str]) -> Vec<String> {
        let (mut part, mut parts) = (TextPart::new(MESSAGE_BYTES), vec![String::new()]);
        for piece in pieces {
            let mut rest = *piece;
            loop {
                let (now, later) = part.take(rest);
                parts.last_mut().expect("a part").push_str(now);
                if later.is_empty() {
                    break;
                }
                part = part.next();
                parts.push(String::new());
                rest = later;
            }
        }
        parts
    }

    #[test]
    fn part_ends_at_a_line_break_near_its_bound() {
        let line = format!("{}\n", "word ".repeat(3));
        let text = line.repeat(60);
        let parts = parts(&[&text]);
        assert_eq!(parts.concat(), text);
        let (_, full) = parts.split_last().expect("a part");
        assert_eq!(full.len(), 2);
        assert!(full.iter().all(|part| part.ends_with('\n') && part.len() > 300), "{parts:?}");
    }

    #[test]
    fn part_without_line_breaks_is_filled() {
        let text = "x".repeat(3 * (MESSAGE_BYTES - AROUND_BYTES));
        assert_eq!(parts(&[&text]).iter().map(String::len).collect::<Vec<_>>(), [400; 3]);
        // A text that fits exactly has no part after it, and a line break at the bound does not begin one.
        assert_eq!(parts(&[&text[..399], "\n"]).len(), 2, "the escape of a line break has two bytes");
        assert_eq!(parts(&[&text[..398], "\n"]).len(), 1);
        assert_eq!(parts(&[&text[..398], "\n", "y"]).len(), 2);
    }

    proptest! {
        #[test]
        fn parts_are_the_text_and_each_fits(
            pieces in prop::collection::vec("[a\n\"\\\\\u{0}\u{1f}éł€\u{1f469}\u{200d}\u{1f680}\u{301}]{0,200}", 0..30),
        ) {
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let parts = parts(&pieces);
            prop_assert_eq!(parts.concat(), pieces.concat());
            for part in &parts {
                prop_assert!(json::escaped_bytes(part) <= MESSAGE_BYTES - AROUND_BYTES);
            }
            for part in parts.iter().skip(1) {
                prop_assert!(!part.is_empty(), "a part begins with the text that has no room before it");
            }
        }
    }
}
