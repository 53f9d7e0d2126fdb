//! A source text as rules want to see it: code apart from comments, and tests left out.

/// A source text in two views of the same length and lines: the code without its comments and literals,
/// and the comments without the code.
pub struct Views {
    pub code: String,
    pub comments: String,
}

pub fn views(text: &str) -> Views {
    let bytes = text.as_bytes();
    let mut code = vec![b' '; bytes.len()];
    let mut comments = code.clone();
    let mut at = 0;
    while at < bytes.len() {
        let end = match &bytes[at..] {
            [b'/', b'/', ..] => {
                let end = find(bytes, at, b"\n");
                comments[at..end].copy_from_slice(&bytes[at..end]);
                end
            }
            [b'/', b'*', ..] => {
                let end = (find(bytes, at, b"*/") + 2).min(bytes.len());
                comments[at..end].copy_from_slice(&bytes[at..end]);
                end
            }
            [b'"', ..] => skip_string(bytes, at),
            [b'r', b'"' | b'#', ..] if at == 0 || !is_word(bytes[at - 1]) => {
                skip_raw_string(bytes, at).unwrap_or(at + 1)
            }
            [b'\'', b'\\', ..] => find(bytes, at + 3, b"'") + 1,
            [b'\'', b, b'\'', ..] if *b != b'\'' => at + 3,
            [b, ..] => {
                code[at] = *b;
                at + 1
            }
            [] => break,
        };
        at = end.min(bytes.len());
    }
    for (index, byte) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        code[index] = *byte;
        comments[index] = *byte;
    }
    Views { code: text_of(code), comments: text_of(comments) }
}

pub fn text_of(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

pub fn find(bytes: &[u8], from: usize, needle: &[u8]) -> usize {
    let from = from.min(bytes.len());
    bytes[from..].windows(needle.len()).position(|w| w == needle).map_or(bytes.len(), |at| from + at)
}

pub fn skip_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

pub fn skip_raw_string(bytes: &[u8], start: usize) -> Option<usize> {
    let hashes = bytes[start + 1..].iter().take_while(|b| **b == b'#').count();
    if bytes.get(start + 1 + hashes) != Some(&b'"') {
        return None;
    }
    let mut end = vec![b'"'];
    end.resize(1 + hashes, b'#');
    Some(find(bytes, start + 2 + hashes, &end) + end.len())
}

pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The text with everything under a top-level `#[cfg(test)]`, or all of a `tests.rs`, blanked; lines keep their numbers.
pub fn without_tests(path: &str, text: &str) -> String {
    if path.ends_with("/tests.rs") {
        return String::new();
    }
    let mut out = String::with_capacity(text.len());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line != "#[cfg(test)]" {
            out.push_str(line);
            out.push('\n');
            continue;
        }
        out.push('\n');
        let mut item = lines.next();
        while let Some(line) = item {
            out.push('\n');
            let one_line = line.ends_with(';') && !line.starts_with(' ');
            if one_line || line == "}" {
                break;
            }
            item = lines.next();
        }
    }
    out
}

/// Places of a whole word (or words) in code, as line numbers from 1.
pub fn lines_with<'a>(code: &'a str, needle: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.lines().enumerate().filter(move |(_, line)| has_word(line, needle)).map(|(index, _)| index + 1)
}

pub fn has_word(line: &str, needle: &str) -> bool {
    let bytes = line.as_bytes();
    line.match_indices(needle).any(|(at, _)| {
        let end = at + needle.len();
        let first = needle.as_bytes().first().copied().is_some_and(is_word);
        let last = needle.as_bytes().last().copied().is_some_and(is_word);
        let before = !first || at == 0 || !is_word(bytes[at - 1]);
        let after = !last || end == bytes.len() || !is_word(bytes[end]);
        before && after
    })
}
