//! One name for one type, so that a search finds one thing.

use super::finding::{Finding, finding};
use super::source::{is_word, views, without_tests};
use std::collections::BTreeMap;

/// Names that stand for several types, each with its reason.
pub const SHARED_NAMES: &[(&str, &str)] = &[];

/// Structs and enums of one name in several places, unless the name is listed; listed names that are unique.
pub fn check_types(files: &[(String, String)], listed: &[(&str, &str)]) -> Vec<Finding> {
    let mut places: BTreeMap<String, Vec<(&str, usize)>> = BTreeMap::new();
    for (path, text) in files.iter().filter(|(path, _)| !path.split('/').any(|part| part == "tests")) {
        for (line, name) in types(&views(&without_tests(path, text)).code) {
            places.entry(name).or_default().push((path, line));
        }
    }
    let mut findings = Vec::new();
    for (name, found) in &places {
        let [first, others @ ..] = &found[..] else { continue };
        if others.is_empty() || listed.iter().any(|(known, _)| known == name) {
            continue;
        }
        findings.extend(others.iter().map(|(path, line)| {
            finding(
                path,
                *line,
                format!("`{name}` is also a type of {}: rename one, or list why both have it", first.0),
            )
        }));
    }
    for (name, _) in listed {
        if places.get(*name).is_none_or(|found| found.len() < 2) {
            findings.push(finding(
                "tests/tidy/types.rs",
                1,
                format!("`{name}` is the name of one type: take it off the list"),
            ));
        }
    }
    findings
}

/// The structs and enums that a text defines outside of functions, with their lines.
fn types(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let Some(at) = ["struct ", "enum "].iter().find_map(|word| line.find(word).map(|at| at + word.len()))
        else {
            continue;
        };
        let before = line[..at].trim_start();
        let starts =
            before.starts_with("pub") || before.starts_with("struct ") || before.starts_with("enum ");
        let name: String = line[at..].bytes().take_while(|byte| is_word(*byte)).map(char::from).collect();
        if starts && !name.is_empty() {
            found.push((index + 1, name));
        }
    }
    found
}
