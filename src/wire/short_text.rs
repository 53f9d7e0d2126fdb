//! A text in place, for what must cost no allocation.

use std::fmt;

/// A text cut to its bound.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ShortText<const BYTES: usize> {
    bytes: [u8; BYTES],
    length: u8,
}

impl<const BYTES: usize> Default for ShortText<BYTES> {
    fn default() -> ShortText<BYTES> {
        const { assert!(BYTES <= u8::MAX as usize) };
        ShortText { bytes: [0; BYTES], length: 0 }
    }
}

impl<const BYTES: usize> fmt::Debug for ShortText<BYTES> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(formatter)
    }
}

impl<const BYTES: usize> ShortText<BYTES> {
    /// The beginning of a text, cut between two characters.
    pub fn of(text: &str) -> ShortText<BYTES> {
        let mut short = ShortText::default();
        let length = text.floor_char_boundary(BYTES);
        if let (Some(to), Some(from)) = (short.bytes.get_mut(..length), text.as_bytes().get(..length)) {
            to.copy_from_slice(from);
            short.length = length as u8;
        }
        short
    }

    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..self.length.into()).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl<const BYTES: usize> fmt::Write for ShortText<BYTES> {
    /// Appends a text that fits as a whole.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = usize::from(self.length) + text.len();
        let to = self.bytes.get_mut(self.length.into()..end).ok_or(fmt::Error)?;
        to.copy_from_slice(text.as_bytes());
        self.length = end as u8;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(ShortText::<3>::of("äöü").as_str(), "ä");
        assert_eq!(ShortText::<3>::of("").as_str(), "");
        assert_eq!(ShortText::<3>::of("abc").as_str(), "abc");
    }

    #[test]
    fn text_without_room_is_refused_as_a_whole() {
        let mut text = ShortText::<4>::of("ab");
        assert_eq!(write!(text, "cde"), Err(fmt::Error));
        assert_eq!((write!(text, "cd"), text.as_str()), (Ok(()), "abcd"));
    }
}
