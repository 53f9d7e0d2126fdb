//! Removes tokens from texts of clients, which should have done so themselves.

use std::borrow::Cow;

/// The beginning of a JWT: `{"` in base64url (RFC 7519 section 3, RFC 7515 section 7.1).
const START: &str = "eyJ";
/// The shortest header of a JWT that is looked for inside a word, as after `%3D`: `surveyJs.core.model` has none.
const HEAD_MIN: usize = 16;
/// Replaces a token.
const TOKEN: &str = "[token]";

/// The text without JWTs: `eyJ`, then three parts of base64url divided by dots, of which the last may be empty.
pub fn without_tokens(text: &str) -> Cow<'_, str> {
    let mut clean: Option<String> = None;
    let (mut rest, mut copied) = (text, 0);
    while let Some(at) = rest.find(START) {
        let from = text.len() - rest.len() + at;
        let candidate = text.get(from..).unwrap_or_default();
        let head = run(candidate, 0);
        let is_inside =
            text.get(..from).is_some_and(|before| before.bytes().next_back().is_some_and(is_word));
        let is_other_word = is_inside && head < HEAD_MIN;
        match length(candidate, head).filter(|_| !is_other_word) {
            Some(length) => {
                let out = clean.get_or_insert_with(String::new);
                out.push_str(text.get(copied..from).unwrap_or_default());
                out.push_str(TOKEN);
                copied = from + length;
                rest = text.get(copied..).unwrap_or_default();
            }
            // Whatever begins in the same run ends where it ends, so it is no token either, and each byte is read once.
            None => {
                let over = if is_other_word { START.len() } else { head };
                rest = candidate.get(over..).unwrap_or_default();
            }
        }
    }
    match clean {
        None => Cow::Borrowed(text),
        Some(mut out) => {
            out.push_str(text.get(copied..).unwrap_or_default());
            Cow::Owned(out)
        }
    }
}

/// The bytes of base64url from `from` on.
fn run(text: &str, from: usize) -> usize {
    let bytes = text.as_bytes().get(from..).unwrap_or_default();
    bytes.iter().take_while(|byte| is_word(**byte) || **byte == b'-').count()
}

/// The bytes of the token at the beginning of a text, whose first part has `head` bytes; `None` if there is none.
fn length(text: &str, head: usize) -> Option<usize> {
    let dot = |at: usize| text.as_bytes().get(at) == Some(&b'.');
    let body = if head > START.len() && dot(head) { run(text, head + 1) } else { 0 };
    let second = head + 1 + body;
    (body > 0 && dot(second)).then(|| second + 1 + run(text, second + 1))
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tokens_are_removed_and_nothing_else() {
        for (text, clean) in [
            ("no token", "no token"),
            ("a eyJhbGci.eyJzdWIi.c2ln-_ b", "a [token] b"),
            ("eyJa.b.", "[token]"),
            ("(eyJa.b.c)(eyJa.b.c)", "([token])([token])"),
            ("eyJ.b.c", "eyJ.b.c"),
            ("eyJa.b", "eyJa.b"),
            ("keyJa.b.c", "keyJa.b.c"),
            ("surveyJs.core.model", "surveyJs.core.model"),
            ("x%3DeyJhbGciOiJIUzI1NiJ9.b.c", "x%3D[token]"),
            ("eyJeyJa.b.c", "[token]"),
            ("é eyJa.b.cé", "é [token]é"),
        ] {
            assert_eq!(without_tokens(text), clean, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_token_is_left_in_any_text(text in "(eyJ|[a.é ]|[-_]){0,40}") {
            let clean = without_tokens(&text);
            prop_assert_eq!(without_tokens(&clean), clean.as_ref());
        }
    }
}
