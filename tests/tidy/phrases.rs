//! Phrases that no reader should have to translate.

use super::finding::{Finding, finding};
use super::source::is_word;

/// In lower case. One that ends in a hyphen is the beginning of a word.
const PHRASES: &[&str] = &[
    "so long",
    "so many",
    "dear",
    "dearer",
    "anew",
    "beside",
    "stands",
    "told",
    "counted off",
    "comes to",
    "is had",
    "from here on",
    "from there on",
    "heed",
    "heeds",
    "what of",
    "who comes",
    "who came",
    "who arrive",
    "who arrives",
    "who wants",
    "who asks",
    "who is",
    "somebody",
    "nobody",
    "whoever",
    "those that",
    "those who",
    "those which",
    "doorbell",
    "door bell",
    "mouth",
    "witness-",
    "rumour-",
    "mend",
    "mends",
    "mended",
    "in need",
];
/// Texts that make a phrase another one, or a name, when they follow it.
const UNLESS: &[(&str, &[&str])] = &[("so long", &[" as"]), ("nobody", &["'", "\"", "`", ")"])];
/// No comment begins with one of these, unless it asks.
const OPENINGS: &[&str] = &["What", "Who", "Whoever", "Whether", "That which"];

/// Lines that may keep a phrase: the end of a path, a part of the line, and why.
pub const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("src/drain/progress.rs", "\"told\":", "a member of the JSON of /drain"),
    ("docs/admin.md", "\"told\":", "the same"),
    ("docs/admin.md", "`told` counts", "the same"),
    ("tests/e2e/drain_operators.rs", "[\"told\"]", "the same"),
    ("tools/cluster.py", "NOBODY", "the Unix user"),
    ("tests/servers/process.rs", "NOBODY", "the Unix user"),
];

/// One finding for each phrase in a line.
pub fn check_phrases(path: &str, text: &str, exceptions: &[(&str, &str, &str)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let is_excepted = |(end, part, _): &(&str, &str, &str)| path.ends_with(end) && line.contains(part);
        if exceptions.iter().any(is_excepted) {
            continue;
        }
        let lower = line.to_lowercase();
        let mut hits: Vec<&str> = PHRASES.iter().copied().filter(|phrase| has(&lower, phrase)).collect();
        hits.extend(opening(line));
        findings.extend(hits.iter().map(|hit| {
            finding(path, index + 1, format!("`{hit}`: rewrite the sentence, see CONTRIBUTING.md"))
        }));
    }
    findings
}

fn has(line: &str, phrase: &str) -> bool {
    let unless = UNLESS.iter().find(|(name, _)| *name == phrase).map_or(&[][..], |(_, after)| after);
    let stem = phrase.trim_end_matches('-');
    line.match_indices(stem).any(|(at, _)| {
        let rest = &line[at + stem.len()..];
        let begins = at == 0 || !is_word(line.as_bytes()[at - 1]);
        let ends = stem != phrase || rest.bytes().next().is_none_or(|byte| !is_word(byte));
        begins && ends && !unless.iter().any(|after| rest.starts_with(after))
    })
}

/// A comment, or a line of plain text, that begins with a free relative clause.
fn opening(line: &str) -> Option<&'static str> {
    let text = line.trim_start();
    let marks = ["///", "//!", "//", "#", "/**", "/*", "*"];
    let text = marks.iter().find_map(|mark| text.strip_prefix(mark)).unwrap_or(text).trim_start();
    OPENINGS.iter().copied().find(|word| {
        text.strip_prefix(word).is_some_and(|rest| {
            rest.bytes().next().is_none_or(|byte| !is_word(byte))
                && !rest.starts_with("::")
                && !rest.split('.').next().unwrap_or(rest).contains('?')
        })
    })
}
