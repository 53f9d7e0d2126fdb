//! `errors.json`: the fingerprints of errors, which the browser library shows to people and the gateway computes again.

use super::{names_differ, read};
use seawall::client_error::fingerprint;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    about: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    error: String,
    message: String,
    stack: String,
    fingerprint: String,
}

#[test]
fn error_has_the_fingerprint_of_the_examples() {
    let File { about, cases } = read("errors.json");
    assert!(!about.is_empty());
    names_differ(cases.iter().map(|case| case.name.as_str()));
    for Case { name, error, message, stack, fingerprint: expected } in cases {
        assert_eq!(fingerprint(&error, &message, &stack).to_string(), expected, "{name}");
    }
}
