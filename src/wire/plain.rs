//! The length of JSON text without a quote, a backslash or a control character (RFC 8259 section 7).
//!
//! Reading and writing strings both need it, for every byte that a peer sends and most bytes that it is sent. So
//! eight bytes are tested together: each special byte of a word sets its own top bit.

const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
const TOPS: u64 = u64::from_ne_bytes([0x80; 8]);

/// The number of bytes before the first one that ends a JSON string or needs a backslash in it; all bytes if there is
/// none.
pub fn plain_bytes(text: &[u8]) -> usize {
    let (words, rest) = text.as_chunks::<8>();
    for (place, word) in words.iter().enumerate() {
        let special = special(u64::from_le_bytes(*word));
        if special != 0 {
            return place * 8 + special.trailing_zeros() as usize / 8;
        }
    }
    let tail = rest.iter().position(|byte| *byte < 0x20 || matches!(*byte, b'"' | b'\\'));
    text.len() - rest.len() + tail.unwrap_or(rest.len())
}

/// Sets the top bit of each special byte. The subtraction may borrow and so also mark a byte above a special one;
/// only the lowest mark is reliable.
///
/// One comparison finds both control characters and the quote: with bit 1 inverted, these are the bytes up to 0x20.
const fn special(word: u64) -> u64 {
    let control_or_quote = (word ^ (ONES * 0x02)).wrapping_sub(ONES * 0x21);
    let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    (control_or_quote | backslash) & !word & TOPS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one_by_one(text: &[u8]) -> usize {
        text.iter().take_while(|byte| **byte >= 0x20 && !matches!(**byte, b'"' | b'\\')).count()
    }

    proptest! {
        #[test]
        fn word_wise_search_equals_bytewise_search(
            text in prop::collection::vec(prop_oneof![any::<u8>(), 0x1Eu8..0x24, 0x5Au8..0x5E], 0..40),
        ) {
            prop_assert_eq!(plain_bytes(&text), one_by_one(&text));
        }
    }

    #[test]
    fn every_byte_at_every_position_matches_the_bytewise_search() {
        for byte in 0..=u8::MAX {
            for place in 0..19 {
                let mut text = [b'a'; 19];
                text[place] = byte;
                assert_eq!(plain_bytes(&text), one_by_one(&text), "{byte:#x} at {place}");
            }
        }
    }
}
