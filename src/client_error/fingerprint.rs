//! The fingerprint of an error: what does not change from time to time, in 32 bits.
//!
//! The browser library computes the same and shows it to people as a reference; `tests/vectors/errors.json` holds both to it. Lengths are
//! those of JavaScript (UTF-16), and so is white space.

use std::fmt;

/// UTF-16 code units of each text that count.
pub const NAME_UNITS: usize = 60;
pub const MESSAGE_UNITS: usize = 500;
pub const STACK_UNITS: usize = 4_000;
/// The frames of a stack that count.
const FRAMES: usize = 3;
/// A longer run of characters without a blank is left out: mostly a token or an address.
const LONG_WORD: usize = 20;

/// Names a group of errors. It is written with eight hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(pub u32);

impl Fingerprint {
    pub fn parse(text: &str) -> Option<Fingerprint> {
        let is_name = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_name.then(|| u32::from_str_radix(text, 16).ok()).flatten().map(Fingerprint)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// FNV-1a over the name, the message without digits, quoted parts and long words, and the first frames of the stack without host, query
/// and column.
pub fn fingerprint(name: &str, message: &str, stack: &str) -> Fingerprint {
    let (name, message, stack) =
        (start(name, NAME_UNITS), start(message, MESSAGE_UNITS), start(stack, STACK_UNITS));
    let mut hash = Hash(0x811c_9dc5);
    hash.text(name);
    hash.text("\n");
    hash.text(&words(message));
    for line in stack.split('\n').filter(|line| has_place(line)).take(FRAMES) {
        hash.text("\n");
        hash.text(&frame(line));
    }
    Fingerprint(hash.0)
}

/// FNV-1a over UTF-16 code units.
struct Hash(u32);

impl Hash {
    fn text(&mut self, text: &str) {
        for unit in text.encode_utf16() {
            self.0 = (self.0 ^ u32::from(unit)).wrapping_mul(0x0100_0193);
        }
    }
}

/// The beginning of a text, of at most `most` UTF-16 code units.
pub fn start(text: &str, most: usize) -> &str {
    let mut units = 0;
    for (at, char) in text.char_indices() {
        units += char.len_utf16();
        if units > most {
            return text.get(..at).unwrap_or_default();
        }
    }
    text
}

/// The words of a message that do not change.
fn words(message: &str) -> String {
    let plain = without_quoted(message);
    let mut words = String::with_capacity(plain.len());
    for run in plain.split_inclusive(is_blank) {
        let blank = run.chars().next_back().filter(|last| is_blank(*last));
        let word = blank.map_or(run, |blank| run.strip_suffix(blank).unwrap_or(run));
        let is_long = word.chars().map(char::len_utf16).sum::<usize>() > LONG_WORD;
        if !is_long {
            words.extend(word.chars().filter(|char| !char.is_ascii_digit()));
        }
        words.extend(blank);
    }
    words
}

/// Without parts in quotes, which end on the same line.
fn without_quoted(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    // False after a quote without an end: then no other quote of its line has one.
    let mut may_end = true;
    while let Some(open) = rest.chars().next() {
        let after = rest.get(open.len_utf8()..).unwrap_or_default();
        may_end |= is_line_end(open);
        if may_end && is_quote_start(open) {
            if let Some(length) = end_of_quoted(after) {
                rest = after.get(length..).unwrap_or_default();
                continue;
            }
            may_end = false;
        }
        plain.push(open);
        rest = after;
    }
    plain
}

/// The bytes to the end of a quoted part, whose quote included; `None` if the line ends before.
fn end_of_quoted(text: &str) -> Option<usize> {
    let at = text.find(|char: char| is_quote_end(char) || is_line_end(char))?;
    let close = text.get(at..)?.chars().next().filter(|close| is_quote_end(*close))?;
    Some(at + close.len_utf8())
}

/// One frame of a stack without the host, the query and the column.
fn frame(line: &str) -> String {
    let local = without_host(line);
    let named = without_query(&local);
    without_column(&named).trim_matches(is_blank).to_owned()
}

/// Without the first `scheme://host`.
fn without_host(line: &str) -> String {
    // The first `://` with a scheme before it.
    let found = line.match_indices("://").find_map(|(at, _)| {
        let before = line.get(..at)?;
        let scheme = before.bytes().rev().take_while(|byte| is_word(*byte)).count();
        (scheme > 0).then(|| (at - scheme, at + 3))
    });
    let Some((from, to)) = found else { return line.to_owned() };
    let host = line.get(to..).unwrap_or_default();
    let path = host.find('/').and_then(|at| host.get(at..)).unwrap_or_default();
    format!("{}{path}", line.get(..from).unwrap_or_default())
}

/// Without the first query, which ends at a colon or a bracket.
fn without_query(line: &str) -> String {
    let Some((before, query)) = line.split_once('?') else { return line.to_owned() };
    let rest = query.find([':', ')']).and_then(|at| query.get(at..)).unwrap_or_default();
    format!("{before}{rest}")
}

/// Without `:COLUMN` at the end, and the bracket after it.
fn without_column(line: &str) -> &str {
    let open = line.strip_suffix(')').unwrap_or(line);
    let digits = open.bytes().rev().take_while(u8::is_ascii_digit).count();
    let before = open.get(..open.len() - digits).unwrap_or_default();
    before.strip_suffix(':').filter(|_| digits > 0).unwrap_or(line)
}

/// True exactly if a line has `:LINE:COLUMN`.
fn has_place(line: &str) -> bool {
    line.match_indices(':').any(|(at, _)| {
        let after = line.as_bytes().get(at + 1..).unwrap_or_default();
        let digits = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
        digits > 0
            && after.get(digits) == Some(&b':')
            && after.get(digits + 1).is_some_and(u8::is_ascii_digit)
    })
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_quote_start(char: char) -> bool {
    matches!(char, '"' | '\'' | '`' | '\u{201c}')
}

fn is_quote_end(char: char) -> bool {
    matches!(char, '"' | '\'' | '`' | '\u{201d}')
}

/// A line end of JavaScript (ECMA-262 section 12.3).
fn is_line_end(char: char) -> bool {
    matches!(char, '\n' | '\r' | '\u{2028}' | '\u{2029}')
}

/// White space of JavaScript (ECMA-262 section 12.2).
fn is_blank(char: char) -> bool {
    (char.is_whitespace() && char != '\u{85}') || char == '\u{feff}'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quote_without_an_end_hides_no_quoted_part_of_the_next_line() {
        assert_eq!(without_quoted("it's one\n'two' three"), "it's one\n three");
    }

    #[test]
    fn changing_parts_do_not_change_the_fingerprint() {
        let one = fingerprint(
            "TypeError",
            "Cannot read 'text' of 17 at https://example.com/a/b/c",
            "TypeError: x\n    at Row (https://a.example/app.js?v=1:10:5)\n    at List (https://a.example/app.js:20:7)",
        );
        let other = fingerprint(
            "TypeError",
            "Cannot read \"name\" of 2 at https://example.com/other/path",
            "TypeError: y\n    at Row (http://b.example:8080/app.js?v=2:10:99)\n    at List (https://a.example/app.js:20:1)",
        );
        assert_eq!(one, other);
        assert_ne!(one, fingerprint("TypeError", "Cannot write", ""));
        assert_ne!(
            one,
            fingerprint(
                "TypeError",
                "Cannot read 'text' of 17 at https://example.com/a/b/c",
                "at Row (a.js:11:5)"
            )
        );
    }

    #[test]
    fn fingerprint_reads_back_what_it_writes() {
        let one = fingerprint("Error", "", "");
        assert_eq!(Fingerprint::parse(&one.to_string()), Some(one));
        for text in ["", "9f2c41d", "9f2c41d00", "9f2c41dg", "+f2c41d0"] {
            assert_eq!(Fingerprint::parse(text), None, "{text}");
        }
    }

    #[test]
    fn parts_of_odd_frames_are_left_as_they_are() {
        for (line, expected) in [
            ("    at Row (https://a.example/x.js?v=1:10:5)", "at Row (/x.js:10"),
            ("Row@https://a.example/x.js:10:5", "Row@/x.js:10"),
            ("at https://a.example:10:5", "at"),
            ("://x/y:1:2", "://x/y:1"),
            ("at é (node:internal/x:1:2)", "at é (node:internal/x:1"),
        ] {
            assert_eq!(frame(line), expected, "{line}");
        }
        assert!(has_place("a:1:2") && has_place("a:b:1:2x") && !has_place("a:1") && !has_place("a:1:b"));
    }
}
