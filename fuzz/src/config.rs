//! Configuration: the text of a file or, if it starts with `SEAWALL_`, the lines of an environment.
//!
//! Checked properties: every problem names its key and a line that exists; a problem is one readable line; a secret is
//! never shown; a listing of the accepted settings, saved as a file, is accepted again with the same meaning.

use seawall::gateway::config::error::{ConfigError, Fault};
use seawall::gateway::config::key::{KeyMaterial, KeySource};
use seawall::gateway::config::source::{FileSource, Origin, Sources};
use seawall::gateway::config::{Config, load, load_text, print};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Checks the properties above.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // A setting may name a file to read. A target must not read files, and a device might never end.
    if text.contains("_file") || text.contains("_FILE") || text.contains('\\') && text.contains("auth") {
        return;
    }
    let outcome = if text.starts_with("SEAWALL_") { load_variables(text) } else { load_text(path(), text) };
    match outcome {
        Ok(config) => check_taken(&config, text),
        Err(error) => check_refused(&error, text),
    }
}

fn path() -> &'static Path {
    Path::new("seawall.toml")
}

/// Loads one `NAME=VALUE` per line, without a file.
fn load_variables(text: &str) -> Result<Config, ConfigError> {
    let variable = |line: &str| {
        let (name, value) = line.split_once('=')?;
        Some((OsString::from(name), OsString::from(value)))
    };
    load(&Sources {
        file: FileSource::IfPresent(PathBuf::from("there/is/no/such.toml")),
        variables: text.lines().filter_map(variable).collect(),
        flags: Vec::new(),
    })
}

fn check_refused(error: &ConfigError, text: &str) {
    assert!(!error.problems.is_empty(), "rejected without a reason");
    let lines = text.matches('\n').count() + 1;
    for problem in &error.problems {
        let shown = problem.to_string();
        assert!(shown.len() > 10 && !shown.trim_end().contains('\n'), "not a readable line: {shown:?}");
        match &problem.origin {
            Origin::File { line, .. } => assert!((1..=lines).contains(line), "{shown} of {lines} lines"),
            Origin::Variable(name) => assert!(text.contains(name.as_str()), "{shown}"),
            Origin::Default | Origin::Flag(_) => {}
        }
        let names_itself = matches!(problem.fault, Fault::Syntax { .. })
            || matches!((&problem.origin, &problem.fault), (Origin::Variable(_), _));
        assert!(names_itself || !problem.key.is_empty(), "no key is named: {shown}");
    }
}

fn check_taken(config: &Config, text: &str) {
    let listing = print::listing(config);
    // The listing hides the password of a URL, and is then rejected when it is read.
    let mut all_shown = !listing.contains("(hidden)");
    for key in &config.auth.keys {
        if let (KeyMaterial::Secret(secret), KeySource::Inline | KeySource::Shorthand) =
            (&key.material, &key.source)
        {
            all_shown = false;
            // A secret that also appears elsewhere in the text may be shown there.
            let secret = String::from_utf8_lossy(secret.bytes());
            assert!(text.matches(&*secret).count() != 1 || !listing.contains(&*secret), "{listing}");
        }
    }
    // Without its secrets, a listing has another meaning.
    if all_shown {
        match load_text(path(), &listing) {
            Ok(again) => assert_eq!(meaning(&again), meaning(config), "{listing}"),
            Err(error) => panic!("{error}{listing}"),
        }
    }
}

/// All values, without their origins.
fn meaning(config: &Config) -> String {
    let keys: Vec<_> = config.auth.keys.iter().map(|key| (&key.kid, key.algorithm, &key.material)).collect();
    let auth = (&keys, &config.auth.audience, &config.auth.issuer, config.auth.leeway);
    let watched: Vec<_> = config.dependencies.iter().map(|each| (&each.definition, &each.target)).collect();
    let stands_on = (&config.store, &config.bus, &config.health, watched);
    format!("{:?}", (&config.server, stands_on, &config.limits, &config.retention, auth, &config.log))
}
