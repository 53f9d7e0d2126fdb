//! The listing of `check-config`: every value, and where it came from, as a TOML file.
//!
//! It can be saved and used as a file. What it cannot say, secrets and values that are not set, stands in
//! remarks; so a saved listing never weakens what it was made of: without its secret it refuses to start
//! anywhere but on loopback.

use super::Config;
use super::certificate::date;
use super::dependency;
use super::key::{AuthKey, KeyMaterial, KeySource};
use super::parse::quoted;
use super::place::Shown;
use super::setting::Setting;
use super::table::{SECTIONS, of_section};
use std::fmt::{self, Write};

/// Remarks of one section start in the same column, save behind values longer than this.
const VALUE_WIDTH: usize = 20;

/// The listing, ready to be printed.
pub fn listing(config: &Config) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _infallible = write_listing(&mut text, &mut config.clone());
    text
}

fn write_listing(out: &mut String, config: &mut Config) -> fmt::Result {
    writeln!(out, "# The effective configuration of Seawall {}.", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "# The remark behind each value says where it came from.")?;
    match config.origins.file() {
        Some(file) => writeln!(out, "# File: {}", file.display())?,
        None => writeln!(out, "# File: none")?,
    }
    if !config.auth.is_on() {
        writeln!(out, "# Auth is off: there is no key, so only loopback is served.")?;
    } else {
        writeln!(out, "# Auth is on.")?;
    }
    if let Some(identity) = &config.tls.identity {
        writeln!(out, "# TLS is on: the certificate ends on {}.", date(identity.validity.not_after))?;
    }
    for (section, _) in SECTIONS {
        writeln!(out, "\n[{section}]")?;
        // One more, for the mark of a remark.
        let width = of_section(section).map(|setting| setting.key().len()).max().unwrap_or(0) + 1;
        for setting in of_section(section) {
            write_setting(out, config, setting, width)?;
        }
        if section == "auth" {
            let tables = config.auth.keys.iter().filter(|key| key.source != KeySource::Shorthand);
            tables.into_iter().try_for_each(|key| write_key(out, key))?;
        }
    }
    config.dependencies.iter().try_for_each(|config| {
        writeln!(out, "\n[[dependency]]  # {}", config.origin)?;
        dependency::lines(config)
            .into_iter()
            .try_for_each(|(field, value)| writeln!(out, "{field} = {value}"))
    })
}

fn write_setting(out: &mut String, config: &mut Config, setting: &Setting, width: usize) -> fmt::Result {
    let origin = config.origins.of(setting.name).clone();
    let (mark, value) = match setting.show(config) {
        Shown::Value(value) => ("", value),
        Shown::Unset => ("#", "(not set)".to_owned()),
        Shown::Hidden => ("#", "(hidden)".to_owned()),
    };
    let key = format!("{mark}{}", setting.key());
    writeln!(out, "{key:width$} = {value:VALUE_WIDTH$}  # {origin}")
}

/// A key. One whose secret stood in its table is a remark as a whole, since half of it would be refused.
fn write_key(out: &mut String, key: &AuthKey) -> fmt::Result {
    let (field, value) = match (&key.material, &key.source) {
        (KeyMaterial::Secret(_), KeySource::File(path)) => {
            ("secret_file", Some(path.to_string_lossy().into_owned()))
        }
        (KeyMaterial::PublicPem(_), KeySource::File(path)) => {
            ("public_key_file", Some(path.to_string_lossy().into_owned()))
        }
        (KeyMaterial::PublicPem(pem), KeySource::Inline | KeySource::Shorthand) => {
            ("public_key", Some(pem.clone()))
        }
        (KeyMaterial::Secret(_), KeySource::Inline | KeySource::Shorthand) => ("secret", None),
    };
    let mark = if value.is_some() { "" } else { "#" };
    writeln!(out, "\n{mark}[[auth.keys]]  # {}", key.origin)?;
    writeln!(out, "{mark}algorithm = {}", quoted(key.algorithm.name()))?;
    if let Some(kid) = &key.kid {
        writeln!(out, "{mark}kid = {}", quoted(kid))?;
    }
    let value = value.map_or_else(|| "(hidden)".to_owned(), |value| quoted(&value));
    writeln!(out, "{mark}{field} = {value}")
}
