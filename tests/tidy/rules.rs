//! Rules for one file, whatever floor it is on.

use super::finding::{Finding, finding};
use super::floors::{Floors, module_of};
use super::source::{has_word, lines_with, views, without_tests};
use std::path::Path;

/// Lines of a source file, its tests not counted: past this it holds more than one idea.
pub const LINES_MAX: usize = 450;

pub fn check_shape(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_tests = path.ends_with("/tests.rs");
    if !text.starts_with("//!") && !is_tests {
        findings.push(finding(path, 1, "begin the file with a `//!` that says what it is and why"));
    }
    let code = without_tests(path, text);
    let is_code = |(line, kept): &(&str, &str)| line.is_empty() || !kept.is_empty();
    let kept = text.lines().zip(code.lines()).filter(is_code).count();
    if kept > LINES_MAX && !is_tests {
        findings.push(finding(
            path,
            LINES_MAX + 1,
            format!(
                "{kept} lines beside the tests, {LINES_MAX} are allowed: split the file where its ideas part"
            ),
        ));
    }
    findings
}

pub fn check_words(floors: &Floors, path: &str, text: &str) -> Vec<Finding> {
    let code = views(&without_tests(path, text)).code;
    let mut rules: Vec<(&str, &str)> = vec![
        ("unsafe", "no unsafe: use a safe crate"),
        ("async fn", "no async: a worker waits, a reactor polls"),
        ("async move", "no async: a worker waits, a reactor polls"),
        ("unbounded(", "every queue has a bound: use `bounded` and answer when it is full"),
        ("thread::sleep", "wait for a condition with a deadline"),
    ];
    let below_four = module_of(path).and_then(|name| floors.get(name)).is_some_and(|floor| *floor < 4);
    if below_four {
        rules.extend([
            ("Instant::now", "take `now` as an argument: this floor reads no clock"),
            ("SystemTime::now", "take `now` as an argument: this floor reads no clock"),
            ("rand", "take the random number as an argument"),
            ("getrandom", "take the random number as an argument"),
            ("fastrand", "take the random number as an argument"),
        ]);
    }
    if path.starts_with("src/engine") {
        let inside = "the engine has no I/O, clock, log or channel: the shell in src/reactor performs";
        let outside = [
            "mio::",
            "rustix::",
            "rustls::",
            "tracing::",
            "crossbeam_channel::",
            "fastrand::",
            "getrandom::",
            "socket2::",
        ];
        rules.extend(outside.map(|needle| (needle, inside)));
        rules.extend(["Instant::now", "SystemTime::now"].map(|needle| (needle, inside)));
    }
    if path.starts_with("src/reactor") || path.starts_with("src/engine") {
        rules.push(("Mutex", "no lock in a reactor: send a message, or load an `ArcSwap`"));
        rules.push(("RwLock", "no lock in a reactor: send a message, or load an `ArcSwap`"));
    }
    let mut findings = Vec::new();
    for (needle, advice) in rules {
        findings.extend(
            lines_with(&code, needle).map(|line| finding(path, line, format!("`{needle}`: {advice}"))),
        );
    }
    findings
}

pub fn check_names(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let vague = ["utils", "util", "helpers", "helper", "common", "misc"];
    let stem = path.rsplit('/').find(|part| *part != "mod.rs").unwrap_or(path).trim_end_matches(".rs");
    if vague.contains(&stem) {
        findings.push(finding(path, 1, format!("`{stem}` names nothing: name the file for its idea")));
    }
    let code = views(text).code;
    for (index, line) in code.lines().enumerate() {
        if line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word.ends_with("Manager")) {
            findings.push(finding(path, index + 1, "`Manager`: say what it does with what"));
        }
        // The standard library's own pair: `get` and `get_mut`.
        if line.contains("fn get_") && !line.contains("fn get_mut") {
            findings.push(finding(path, index + 1, "`get_`: name the value that is returned"));
        }
        if vague.iter().any(|name| has_word(line, &format!("mod {name}"))) {
            findings.push(finding(path, index + 1, "name the module for its idea"));
        }
    }
    findings
}

/// Comments that speak of the file's past or future instead of its reasons.
pub fn check_comments(path: &str, text: &str) -> Vec<Finding> {
    let comments = if path.ends_with(".rs") { views(text).comments } else { text.to_string() };
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    marks
        .iter()
        .flat_map(|mark| {
            lines_with(&comments, mark)
                .map(|line| finding(path, line, format!("`{mark}`: do it or drop it")))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The marks of a merge without a decision.
pub fn check_conflicts(path: &str, text: &str) -> Vec<Finding> {
    let is_mark = |line: &str| line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ");
    let marks = text.lines().enumerate().filter(|(_, line)| is_mark(line));
    marks.map(|(index, _)| finding(path, index + 1, "the mark of a merge: resolve it")).collect()
}

/// Paths of somebody's machine: they mean nothing to a reader elsewhere.
pub fn check_machine_paths(path: &str, text: &str) -> Vec<Finding> {
    let needles =
        [concat!("/wo", "rk/"), concat!("/tm", "p/w/"), concat!("/tm", "p/t/"), concat!("/ro", "ot")];
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for needle in needles {
            let own = line.match_indices(needle).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                let after = line[at + needle.len()..].chars().next();
                let starts = !before.is_some_and(|c| c.is_alphanumeric() || "._-/}".contains(c));
                starts && (needle.ends_with('/') || !after.is_some_and(char::is_alphanumeric))
            });
            if own {
                findings.push(finding(
                    path,
                    index + 1,
                    format!("`{needle}` is a path of one machine: use a relative one"),
                ));
            }
        }
    }
    findings
}

/// Relative links of a Markdown text whose target does not exist; `exists` takes a path from the root.
pub fn check_links(path: &str, text: &str, exists: impl Fn(&Path) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        fenced ^= line.trim_start().starts_with("```");
        if fenced {
            continue;
        }
        for (at, _) in line.match_indices("](") {
            let rest = &line[at + 2..];
            let Some(end) = rest.find(')') else { continue };
            let target = rest[..end].split(['#', ' ']).next().unwrap_or_default();
            let elsewhere = target.is_empty() || target.contains("://") || target.starts_with("mailto:");
            let folder = Path::new(path).parent().unwrap_or(Path::new(""));
            if !elsewhere && !exists(&folder.join(target)) {
                findings.push(finding(
                    path,
                    index + 1,
                    format!("`{target}` does not exist: correct the link or write the file"),
                ));
            }
        }
    }
    findings
}
