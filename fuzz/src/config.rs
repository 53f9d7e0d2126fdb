//! Configuration: the text of a file, or with `SEAWALL_` at its start the lines of an environment.
//!
//! Checked: whatever is wrong is named with its key and a line that exists; a problem is one line that can
//! be read; a secret is never shown; a listing of what was taken, saved as a file, is taken again and means
//! the same.

use seawall::auth::key::KeyMaterial;
use seawall::gateway::config::error::{ConfigError, ConfigFault};
use seawall::gateway::config::origin::ValueOrigin;
use seawall::gateway::config::sources::{ConfigSources, FileSource};
use seawall::gateway::config::{Config, load, load_text, show};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// See the module.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // A setting may name a file to read; a target reads none, and a device might never end.
    if text.contains("_file")
        || text.contains("_FILE")
        || text.contains("sslrootcert")
        || text.contains('\\') && text.contains("auth")
    {
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

/// One `NAME=VALUE` a line; no file.
fn load_variables(text: &str) -> Result<Config, ConfigError> {
    let variable = |line: &str| {
        let (name, value) = line.split_once('=')?;
        Some((OsString::from(name), OsString::from(value)))
    };
    load(&ConfigSources {
        file: FileSource::IfPresent(PathBuf::from("there/is/no/such.toml")),
        variables: text.lines().filter_map(variable).collect(),
        flags: Vec::new(),
    })
}

fn check_refused(error: &ConfigError, text: &str) {
    assert!(!error.problems.is_empty(), "refused without a reason");
    let lines = text.matches('\n').count() + 1;
    for problem in &error.problems {
        let shown = problem.to_string();
        assert!(shown.len() > 10 && !shown.trim_end().contains('\n'), "no line to read: {shown:?}");
        match &problem.origin {
            ValueOrigin::File { line, .. } => assert!((1..=lines).contains(line), "{shown} of {lines} lines"),
            ValueOrigin::Variable(name) => assert!(text.contains(name.as_str()), "{shown}"),
            ValueOrigin::Default | ValueOrigin::Flag(_) => {}
        }
        let names_itself = matches!(problem.fault, ConfigFault::Syntax { .. })
            || matches!((&problem.origin, &problem.fault), (ValueOrigin::Variable(_), _));
        assert!(names_itself || !problem.key.is_empty(), "names no key: {shown}");
    }
}

fn check_taken(config: &Config, text: &str) {
    let listing = show::listing(config);
    // The password of a URL is hidden in a listing, which is then refused when it is read.
    let mut all_shown = !listing.contains("(hidden)");
    for key in config.auth.key_configs() {
        if let KeyMaterial::Secret(secret) = &key.material {
            all_shown = false;
            // A secret that occurs elsewhere in the text may be shown there.
            let secret = String::from_utf8_lossy(secret);
            assert!(text.matches(&*secret).count() != 1 || !listing.contains(&*secret), "{listing}");
        }
    }
    // Without its secrets a listing rightly means something else.
    if all_shown {
        match load_text(path(), &listing) {
            Ok(again) => assert_eq!(meaning(&again), meaning(config), "{listing}"),
            Err(error) => panic!("{error}{listing}"),
        }
    }
}

/// All values, without where they came from.
fn meaning(config: &Config) -> String {
    let material = |material: &KeyMaterial| match material {
        KeyMaterial::Secret(secret) => secret.to_vec(),
        KeyMaterial::PublicPem(pem) => pem.clone().into_bytes(),
    };
    let keys =
        config.auth.key_configs().into_iter().map(|key| (key.kid, key.algorithm, material(&key.material)));
    let keys: Vec<_> = keys.collect();
    let auth = (&keys, &config.auth.audience, &config.auth.issuer, config.auth.leeway);
    let watched: Vec<_> = config.dependencies.iter().map(|each| (&each.definition, &each.target)).collect();
    let stands_on = (&config.store, &config.bus, &config.health, watched);
    format!("{:?}", (&config.server, stands_on, &config.limits, &config.retention, auth, &config.log))
}
