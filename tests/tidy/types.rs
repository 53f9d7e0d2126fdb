//! One name for one type, so that a search finds one thing.

use super::finding::{Finding, finding};
use super::source::{is_word, views, without_tests};
use std::collections::BTreeMap;

/// Names that stand for several types, each with its reason.
pub const SHARED_NAMES: &[(&str, &str)] = &[
    ("Addresses", "to be renamed"),
    ("Arguments", "to be renamed"),
    ("Arrival", "to be renamed"),
    ("Board", "to be renamed"),
    ("Body", "to be renamed"),
    ("Bounds", "to be renamed"),
    ("Capacity", "to be renamed"),
    ("Cause", "to be renamed"),
    ("Change", "to be renamed"),
    ("Command", "to be renamed"),
    ("Due", "to be renamed"),
    ("Entry", "to be renamed"),
    ("Fault", "to be renamed"),
    ("Flushed", "to be renamed"),
    ("Form", "to be renamed"),
    ("Frame", "to be renamed"),
    ("Head", "to be renamed"),
    ("Identity", "to be renamed"),
    ("KeyMaterial", "to be renamed"),
    ("Kind", "to be renamed"),
    ("Known", "to be renamed"),
    ("Level", "to be renamed"),
    ("Line", "to be renamed"),
    ("Live", "to be renamed"),
    ("Message", "to be renamed"),
    ("Offer", "to be renamed"),
    ("Offered", "to be renamed"),
    ("Order", "to be renamed"),
    ("Origin", "to be renamed"),
    ("Outcome", "to be renamed"),
    ("Phase", "to be renamed"),
    ("Place", "to be renamed"),
    ("Prepared", "to be renamed"),
    ("Question", "to be renamed"),
    ("Raw", "to be renamed"),
    ("Reading", "to be renamed"),
    ("Recovery", "to be renamed"),
    ("Refusal", "to be renamed"),
    ("Renewal", "to be renamed"),
    ("Request", "to be renamed"),
    ("Retention", "to be renamed"),
    ("Stage", "to be renamed"),
    ("State", "to be renamed"),
    ("Step", "to be renamed"),
    ("Target", "to be renamed"),
    ("Ticket", "to be renamed"),
    ("Told", "to be renamed"),
    ("Wanted", "to be renamed"),
    ("Window", "to be renamed"),
];

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
