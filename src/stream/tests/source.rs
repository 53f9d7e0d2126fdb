//! The text that a producer wants to write: known in advance, so that every copy of it can be compared.

use crate::stream::pieces::{Pieces, position};
use crate::wire::stream::{EventKind, Piece, Position};

/// Characters of 1 to 4 bytes, escapes, a combining mark and joined emoji.
const LETTERS: [char; 16] =
    ['a', 'b', ' ', '"', '\\', '\n', '\0', '\u{7f}', 'ä', 'é', '\u{301}', '→', '漢', '👩', '\u{200d}', '🚀'];

/// One unit of the text: a character or an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unit {
    Letter(char),
    Event(&'static str, String),
}

/// The source of one generation of one stream.
pub struct Source(u64);

impl Source {
    pub fn new(stream: u64, generation: u32) -> Source {
        Source(stream * 1_000 + u64::from(generation))
    }

    fn draw(&self, index: usize) -> u64 {
        let mut x = (self.0 << 20) ^ index as u64 ^ 0x9e37_79b9_7f4a_7c15;
        for _ in 0..2 {
            x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x ^= x >> 27;
        }
        x
    }

    pub fn unit(&self, index: usize) -> Unit {
        let drawn = self.draw(index);
        match drawn % 12 {
            0 => Unit::Event("tool", format!(r#"{{"n":{index},"s":"\u0000 {}"}}"#, drawn % 7)),
            _ => Unit::Letter(LETTERS[(drawn >> 8) as usize % LETTERS.len()]),
        }
    }

    /// The position before a unit.
    pub fn position(&self, index: usize) -> usize {
        (0..index).map(|index| self.length(index)).sum()
    }

    fn length(&self, index: usize) -> usize {
        match self.unit(index) {
            Unit::Letter(letter) => letter.len_utf8(),
            Unit::Event(..) => 1,
        }
    }

    /// The unit at a position; `None` if it is inside of one.
    pub fn index(&self, at: Position) -> Option<usize> {
        let mut sum = 0;
        for index in 0.. {
            if sum >= at.0 as usize {
                return (sum == at.0 as usize).then_some(index);
            }
            sum += self.length(index);
        }
        None
    }

    /// The piece at a unit: one event, or at most `units` characters.
    pub fn piece(&self, from: usize, units: usize) -> Piece {
        match self.unit(from) {
            Unit::Event(kind, data) => {
                Piece::Event { kind: EventKind::parse(kind).expect("valid"), data: data.into() }
            }
            Unit::Letter(_) => {
                let letters = (from..from + units.max(1)).map_while(|index| match self.unit(index) {
                    Unit::Letter(letter) => Some(letter),
                    Unit::Event(..) => None,
                });
                Piece::Text(letters.collect::<String>().into())
            }
        }
    }

    /// Everything up to a position.
    pub fn until(&self, end: Position) -> Pieces {
        let mut pieces = Pieces::empty(0);
        for index in 0.. {
            if position(pieces.next()) >= end {
                break;
            }
            match self.unit(index) {
                Unit::Letter(letter) => pieces.push_text(letter.encode_utf8(&mut [0; 4])),
                Unit::Event(kind, data) => {
                    pieces.push_event(EventKind::parse(kind).expect("valid"), data.into());
                }
            }
        }
        pieces
    }
}
