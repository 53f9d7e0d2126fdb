//! A configuration as text: the listing of `check-config`, and the reference in `docs/configuration.md` and
//! `seawall.example.toml`.
//!
//! A listing can be saved and used as a file. Secrets and values that are not set are comments in it. So a saved listing
//! never weakens the configuration: without its secret it starts on loopback only.

use super::api::ApiKeyConfig;
use super::auth::AuthKey;
use super::certificate::date;
use super::dependency;
use super::flag::FlagConfig;
use super::raw::quoted;
use super::relay::{self, RelayConfig};
use super::relay_secret::RelaySecret;
use super::sections::Config;
use super::setting::{Applies, Setting};
use super::table::{SECTIONS, of_section};
use super::value::ShownValue;
use crate::auth::api_key::Authorship;
use crate::auth::key::KeyMaterial;
use serde_json::json;
use std::fmt::{self, Write};

/// The comments of one section start in the same column, except after values longer than this.
const VALUE_WIDTH: usize = 20;

/// The listing: every value with its origin, as a TOML file.
pub fn listing(config: &Config) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _infallible = write_listing(&mut text, config);
    text
}

/// The table of settings with values and origins, as JSON for the admin listener: what the listing has, without its other tables.
pub fn settings(config: &Config) -> String {
    let rows = SECTIONS.iter().flat_map(|(section, _)| of_section(section)).map(|setting| {
        let value = match setting.show(config) {
            ShownValue::Value(value) => Some(value),
            ShownValue::Unset => None,
            ShownValue::Hidden => Some("(hidden)".to_owned()),
        };
        let applies = match setting.applies {
            Applies::Reload => "reload",
            Applies::Restart => "restart",
        };
        let origin = config.origins.of(setting.name).to_string();
        json!({"section": setting.section, "key": setting.key, "value": value, "origin": origin, "applies": applies})
    });
    let file = config.origins.file().map(|file| file.display().to_string());
    json!({"file": file, "settings": rows.collect::<Vec<_>>()}).to_string()
}

fn write_listing(out: &mut String, config: &Config) -> fmt::Result {
    writeln!(out, "# The effective configuration of Seawall {}.", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "# The comment after each value is its origin.")?;
    match config.origins.file() {
        Some(file) => writeln!(out, "# File: {}", file.display())?,
        None => writeln!(out, "# File: none")?,
    }
    match config.auth.is_on() {
        true => writeln!(out, "# Auth is on.")?,
        false => writeln!(out, "# Auth is off: there is no key, so only loopback is served.")?,
    }
    if let Some(identity) = &config.tls.identity {
        writeln!(out, "# TLS is on: the certificate expires on {}.", date(identity.validity.not_after))?;
    }
    for (section, _) in SECTIONS {
        writeln!(out, "\n[{section}]")?;
        // One more, for the mark of a comment.
        let width = of_section(section).map(|setting| setting.key.len()).max().unwrap_or(0) + 1;
        for setting in of_section(section) {
            write_setting(out, config, setting, width)?;
        }
        if section == "auth" {
            config.auth.keys.iter().try_for_each(|key| write_key(out, key))?;
        }
        if section == "api" {
            config.api.keys.iter().try_for_each(|key| write_api_key(out, key))?;
        }
    }
    for dependency in &config.dependencies {
        writeln!(out, "\n[[dependency]]  # {}", dependency.origin)?;
        for (field, value) in dependency::lines(dependency) {
            writeln!(out, "{field} = {value}")?;
        }
    }
    config.flags.iter().try_for_each(|flag| write_flag(out, flag))?;
    config.relays.iter().try_for_each(|relay| write_relay(out, relay))
}

fn write_setting(out: &mut String, config: &Config, setting: &Setting, width: usize) -> fmt::Result {
    let (mark, value) = match setting.show(config) {
        ShownValue::Value(value) => ("", value),
        ShownValue::Unset => ("#", "(not set)".to_owned()),
        ShownValue::Hidden => ("#", "(hidden)".to_owned()),
    };
    let (key, origin) = (format!("{mark}{}", setting.key), config.origins.of(setting.name));
    writeln!(out, "{key:width$} = {value:VALUE_WIDTH$}  # {origin}")
}

/// Writes a key. If its table holds a secret, all of it is a comment, because a table without its secret is an error.
fn write_key(out: &mut String, key: &AuthKey) -> fmt::Result {
    let file = key.file.as_ref().map(|path| path.to_string_lossy().into_owned());
    let (field, value) = match (&key.config.material, file) {
        (KeyMaterial::Secret(_), Some(file)) => ("secret_file", Some(file)),
        (KeyMaterial::PublicPem(_), Some(file)) => ("public_key_file", Some(file)),
        (KeyMaterial::PublicPem(pem), None) => ("public_key", Some(pem.clone())),
        (KeyMaterial::Secret(_), None) => ("secret", None),
    };
    let mark = if value.is_some() { "" } else { "#" };
    writeln!(out, "\n{mark}[[auth.keys]]  # {}", key.origin)?;
    writeln!(out, "{mark}algorithm = {}", quoted(key.config.algorithm.name()))?;
    if let Some(kid) = &key.config.kid {
        writeln!(out, "{mark}kid = {}", quoted(kid))?;
    }
    let value = value.map_or_else(|| "(hidden)".to_owned(), |value| quoted(&value));
    writeln!(out, "{mark}{field} = {value}")
}

fn write_flag(out: &mut String, config: &FlagConfig) -> fmt::Result {
    let FlagConfig { flag, origin } = config;
    let list = |words: Vec<String>| format!("[{}]", words.join(", "));
    writeln!(out, "\n[[flag]]  # {origin}\nname = {}\nrollout = {}", quoted(&flag.name), flag.rollout)?;
    writeln!(out, "users = {}", list(flag.users.iter().map(|user| quoted(user)).collect()))?;
    writeln!(out, "clients = {}", list(flag.clients.iter().map(|gate| quoted(&gate.to_string())).collect()))
}

/// Writes a route. If its table holds a secret, all of it is a comment.
fn write_relay(out: &mut String, config: &RelayConfig) -> fmt::Result {
    let mark = if config.secrets.contains(&RelaySecret::Inline) { "#" } else { "" };
    writeln!(out, "\n{mark}[[relay]]  # {}", config.origin)?;
    relay::lines(config).into_iter().try_for_each(|(field, value)| writeln!(out, "{mark}{field} = {value}"))
}

/// Writes a key of the API. If its table holds the secret, all of it is a comment.
fn write_api_key(out: &mut String, key: &ApiKeyConfig) -> fmt::Result {
    let list =
        |words: &mut dyn Iterator<Item = String>| format!("[{}]", words.collect::<Vec<_>>().join(", "));
    let mark = if key.file.is_some() { "" } else { "#" };
    writeln!(out, "\n{mark}[[api.keys]]  # {}", key.origin)?;
    writeln!(out, "{mark}name = {}", quoted(key.key.name()))?;
    match &key.file {
        Some(path) => writeln!(out, "secret_file = {}", quoted(&path.to_string_lossy()))?,
        None => writeln!(out, "#secret = (hidden)")?,
    }
    writeln!(out, "{mark}rights = {}", list(&mut key.rights.iter().map(|right| quoted(right.name()))))?;
    writeln!(out, "{mark}channels = {}", list(&mut key.channels.iter().map(|pattern| quoted(pattern))))?;
    writeln!(out, "{mark}as_user = {}", key.authorship == Authorship::AnyUser)?;
    writeln!(out, "{mark}publishes_per_s = {}", key.publishes_per_s)?;
    writeln!(out, "{mark}signals_per_s = {}", key.signals_per_s)
}

#[cfg(test)]
mod tests {
    // `UPDATE=1 cargo test --lib show` rewrites the tables in `docs/configuration.md` and `seawall.example.toml`; without it,
    // a difference is a failure.
    use super::super::flag;
    use super::super::ready_made::READY_MADE;
    use super::super::sources::{ConfigSources, FileSource, load};
    use super::super::{api, auth};
    use super::*;
    use std::fs;
    use std::path::{Path, PathBuf};

    const BEGIN: &str = "<!-- The table of settings begins. UPDATE=1 cargo test --lib show -->\n";
    const END: &str = "<!-- The table of settings ends. -->\n";

    fn in_repository(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
    }

    fn reference() -> String {
        let config = Config::default();
        let mut text = String::new();
        for (section, about) in SECTIONS {
            let _infallible = write!(text, "### `[{section}]`\n\n{about}\n\n");
            text += "| key | default | accepted | effect | a change applies |\n|---|---|---|---|---|\n";
            for setting in of_section(section) {
                let default = match setting.show(&config) {
                    ShownValue::Value(value) => format!("`{value}`"),
                    ShownValue::Unset | ShownValue::Hidden => "none".to_owned(),
                };
                let flag = setting.flag.map(|flag| format!(" Flag: `{flag}`.")).unwrap_or_default();
                let applies = match setting.applies {
                    Applies::Reload => "at a reload",
                    Applies::Restart => "after a restart",
                };
                let (key, accepted, help) = (setting.key, setting.expected(), setting.help);
                let _infallible =
                    writeln!(text, "| `{key}` | {default} | {accepted} | {help}{flag} | {applies} |");
            }
            text += "\n";
        }
        text += "### `[[auth.keys]]`\n\nOne table for each key, only in a file.\n\n| key | meaning |\n|---|---|\n";
        for (field, doc) in auth::FIELDS {
            let _infallible = writeln!(text, "| `{field}` | {doc} |");
        }
        text += "\n### `[[api.keys]]`\n\nOne table for each backend, only in a file.\n\n| key | meaning |\n|---|---|\n";
        for (field, doc) in api::FIELDS {
            let _infallible = writeln!(text, "| `{field}` | {doc} |");
        }
        text += "\n### `[[dependency]]`\n\nOne table for each dependency, only in a file.\n\n| key | meaning |\n|---|---|\n";
        for (field, doc) in dependency::FIELDS {
            let _infallible = writeln!(text, "| `{field}` | {doc} |");
        }
        text += "\nReady-made names and their defaults:\n\n";
        text += "| name | kind | criticality | lost | sentence |\n|---|---|---|---|---|\n";
        for ready in READY_MADE {
            let (name, kind, criticality) = (ready.name, ready.kind.as_str(), ready.criticality.as_str());
            let (lost, sentence) = (ready.lost.join("`, `"), ready.sentence);
            let _infallible =
                writeln!(text, "| `{name}` | `{kind}` | {criticality} | `{lost}` | {sentence} |");
        }
        text += "\n### `[[flag]]`\n\nOne table for each flag, only in a file; at most 32. See [flags](flags.md).\n\n| key | meaning |\n|---|---|\n";
        for (field, doc) in flag::FIELDS {
            let _infallible = writeln!(text, "| `{field}` | {doc} |");
        }
        text += "\n### `[[relay]]`\n\nOne table for each route to a backend, only in a file; at most 16. See [relay](relay.md).\n\n| key | meaning |\n|---|---|\n";
        for (field, doc) in relay::FIELDS {
            let _infallible = writeln!(text, "| `{field}` | {doc} |");
        }
        text
    }

    fn example() -> String {
        let config = Config::default();
        let mut text = String::from(
            "# Seawall: every setting with its default. Remove a # to change one.\n\
             # docs/configuration.md explains them, and how variables and flags override them.\n",
        );
        for (section, about) in SECTIONS {
            let _infallible = write!(text, "\n# {about}\n[{section}]\n");
            for setting in of_section(section) {
                let value = match setting.show(&config) {
                    ShownValue::Value(value) => value,
                    ShownValue::Unset | ShownValue::Hidden => "\"\"".to_owned(),
                };
                let (key, help, accepted) = (setting.key, setting.help, setting.expected());
                let _infallible = write!(text, "\n# {help}\n# Accepted: {accepted}.\n#{key} = {value}\n");
            }
            if section == "auth" {
                text += "\n# One table for each key. With a key, auth is on and the listener may use any address.\n";
                text += "# [[auth.keys]]\n# kid = \"2026-a\"\n# algorithm = \"EdDSA\"\n";
                text += "# public_key_file = \"/etc/seawall/2026-a.pem\"\n";
            }
        }
        text +=
            "\n# One table for each backend that uses the server API.\n# [[api.keys]]\n# name = \"shop\"\n";
        text += "# secret_file = \"/etc/seawall/shop.key\"\n# rights = [\"publish\"]\n# channels = [\"room.*\", \"$user:*\"]\n";
        text += "\n# One table for each further dependency. `store` and `bus` need no table.\n";
        text += "# [[dependency]]\n# name = \"assistant\"\n# kind = \"http\"\n";
        text += "# url = \"https://assistant.example.com/health\"\n# criticality = \"optional\"\n";
        text += "# lost = [\"replies\"]\n# sentence = \"Assistant replies are paused.\"\n";
        text += "\n# One table for each flag. See docs/flags.md.\n# [[flag]]\n# name = \"markdown\"\n# rollout = 25\n";
        text += "\n# One table for each route to a backend. See docs/relay.md.\n# [[relay]]\n# name = \"assistant\"\n# pattern = \"thread.*\"\n";
        text += "# url = \"https://agents.example.com/seawall\"\n# secrets = [\"env:RELAY_SECRET\"]\n# user = \"assistant\"\n";
        text
    }

    fn compare_or_update(path: &Path, expected: &str) {
        if std::env::var_os("UPDATE").is_some() {
            fs::write(path, expected).expect("the file can be written");
        }
        let found = fs::read_to_string(path).expect("the file is there");
        assert!(found == expected, "{} is out of date: run UPDATE=1 cargo test --lib show", path.display());
    }

    fn load_file(path: &Path) -> Config {
        let sources =
            ConfigSources { file: FileSource::Named(path.into()), variables: Vec::new(), flags: Vec::new() };
        load(&sources).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The listing without its comments.
    fn values(config: &Config) -> Vec<String> {
        listing(config)
            .lines()
            .map(|line| line.split("  #").next().unwrap_or(line).trim_end().to_owned())
            .skip(3)
            .collect()
    }

    #[test]
    fn settings_have_values_and_origins_and_no_secrets() {
        let secret = "0123456789012345678901234567890123456789";
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("seawall.toml");
        fs::write(&path, format!("[limits]\nconnections = 7\n[admin]\ntoken = \"{secret}\"\n"))
            .expect("written");
        let text = settings(&load_file(&path));
        assert!(!text.contains(secret), "{text}");
        let found: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let of = |section: &str, key: &str| {
            let rows = found["settings"].as_array().expect("rows");
            let row = rows.iter().find(|row| row["section"] == section && row["key"] == key).expect("a row");
            [&row["value"], &row["origin"], &row["applies"]]
                .map(|value| value.as_str().unwrap_or("-").to_owned())
        };
        let file = |line| format!("{}:{line}", path.display());
        assert_eq!(of("limits", "connections"), ["7".into(), file(2), "reload".into()]);
        assert_eq!(of("admin", "token"), ["(hidden)".into(), file(4), "restart".into()]);
        assert_eq!(of("admin", "url"), ["-", "default", "restart"]);
    }

    #[test]
    fn reference_matches_the_table_of_settings() {
        let path = in_repository("docs/configuration.md");
        let page = fs::read_to_string(&path).expect("the page is there");
        let (before, rest) = page.split_once(BEGIN).expect("the page has its begin mark");
        let (_, after) = rest.split_once(END).expect("the page has its end mark");
        compare_or_update(&path, &format!("{before}{BEGIN}\n{}\n{END}{after}", reference()));
    }

    #[test]
    fn example_lists_every_setting_with_its_default() {
        let path = in_repository("seawall.example.toml");
        compare_or_update(&path, &example());
        assert_eq!(values(&load_file(&path)), values(&Config::default()));
    }

    #[test]
    fn example_with_every_setting_uncommented_is_the_default() {
        let in_force: String = example()
            .lines()
            .filter(|line| !line.contains("secret = "))
            .map(|line| {
                let setting = line.strip_prefix('#').filter(|rest| !rest.starts_with(' '));
                format!("{}\n", setting.unwrap_or(line))
            })
            .collect();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("example.toml");
        fs::write(&path, in_force).expect("written");
        assert_eq!(values(&load_file(&path)), values(&Config::default()));
    }
}
