//! The form of a service's tokens (`auth.token_pattern`): a fixed beginning, an alphabet and a length.
//!
//! It refuses without a call what cannot be a token of the service. The form is a small part of a regular expression that is
//! matched in one pass over the token.

use super::token::TOKEN_BYTES_MAX;
use std::fmt;

/// The bound on the text of a pattern.
const TEXT_BYTES_MAX: usize = 256;

/// A pattern like `gwt_[A-Za-z0-9_-]{20,200}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPattern {
    text: String,
    prefix: String,
    /// A bit for each ASCII byte.
    alphabet: u128,
    rest_min: usize,
    rest_max: usize,
}

impl TokenPattern {
    /// Reads a pattern; `None` if it is not one.
    pub fn parse(text: &str) -> Option<TokenPattern> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let (prefix, rest) = text.split_once('[')?;
        let (set, lengths) = rest.split_once(']')?;
        let lengths = lengths.strip_prefix('{')?.strip_suffix('}')?;
        let (rest_min, rest_max) = match lengths.split_once(',') {
            Some((min, max)) => (number(min)?, number(max)?),
            None => (number(lengths)?, number(lengths)?),
        };
        let is_plain =
            prefix.bytes().all(|byte| byte.is_ascii_graphic() && !b"]{}()\\|*+?^$".contains(&byte));
        let fits = rest_min <= rest_max && (1..=TOKEN_BYTES_MAX - prefix.len()).contains(&rest_max);
        let alphabet = alphabet(set)?;
        let (text, prefix) = (text.to_owned(), prefix.to_owned());
        (is_plain && fits).then_some(TokenPattern { text, prefix, alphabet, rest_min, rest_max })
    }

    /// True exactly when `token` may be a token of the service.
    pub fn matches(&self, token: &str) -> bool {
        let Some(rest) = token.strip_prefix(&*self.prefix) else { return false };
        (self.rest_min..=self.rest_max).contains(&rest.len())
            && rest.bytes().all(|byte| byte.is_ascii() && self.alphabet & (1 << byte) != 0)
    }
}

impl fmt::Display for TokenPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn number(text: &str) -> Option<usize> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_plain { text.parse().ok() } else { None }
}

/// The bytes of a set: single ones and ranges like `a-z`. A dash is itself at the beginning or the end.
fn alphabet(set: &str) -> Option<u128> {
    let mut left = set.as_bytes();
    let mut alphabet = 0_u128;
    loop {
        let (first, last, rest) = match left {
            [] => break,
            [first, b'-', last, rest @ ..] => (first, last, rest),
            [only, rest @ ..] => (only, only, rest),
        };
        let is_plain = first.is_ascii_graphic() && last.is_ascii_graphic() && first <= last;
        if !is_plain || [first, last].iter().any(|byte| b"[\\^".contains(byte)) {
            return None;
        }
        alphabet = (*first..=*last).fold(alphabet, |bits, byte| bits | 1 << byte);
        left = rest;
    }
    (alphabet != 0).then_some(alphabet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn token_is_a_prefix_and_letters_of_the_alphabet() {
        let pattern = TokenPattern::parse("gwt_[A-Za-z0-9_-]{4,6}").expect("a pattern");
        for (token, expected) in [
            ("gwt_aZ0-", true),
            ("gwt_aZ0__-", true),
            ("gwt_aZ0", false),
            ("gwt_aZ0__-a", false),
            ("gwt_aZ0.", false),
            ("gwt_aZé", false),
            ("aZ0__-", false),
            ("", false),
        ] {
            assert_eq!(pattern.matches(token), expected, "{token}");
        }
        assert_eq!(pattern.to_string(), "gwt_[A-Za-z0-9_-]{4,6}");
        let jwt = TokenPattern::parse("[A-Za-z0-9_.-]{3}").expect("a pattern");
        assert!(jwt.matches("a.b") && !jwt.matches("ab"));
    }

    #[test]
    fn text_that_is_not_one_prefix_alphabet_and_length_is_rejected() {
        for text in [
            "",
            "gwt_",
            "[a-z]",
            "[a-z]+",
            "[a-z]{2,1}",
            "[a-z]{0}",
            "[a-z]{1,}",
            "[a-z]{+1,2}",
            "[a-z]{1,9000}",
            "[]{1,2}",
            "[z-a]{1,2}",
            "[^a]{1,2}",
            "[a-z]{1}x",
            "[a-z]{1}[0-9]{1}",
            "(a)[a-z]{1}",
            ".*[a-z]{1}",
            "a b[a-z]{1}",
            "é[a-z]{1}",
            "[é]{1}",
        ] {
            assert_eq!(TokenPattern::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn pattern_agrees_with_a_naive_matcher(token in "[a-d_]{0,8}", min in 0_usize..4, more in 0_usize..4) {
            prop_assume!(min + more > 0);
            let pattern = TokenPattern::parse(&format!("a_[b-c]{{{min},{}}}", min + more)).expect("a pattern");
            let naive = token.starts_with("a_")
                && token.chars().skip(2).all(|letter| letter == 'b' || letter == 'c')
                && (min..=min + more).contains(&(token.len() - 2));
            prop_assert_eq!(pattern.matches(&token), naive);
        }
    }
}
