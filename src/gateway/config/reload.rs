//! A configuration that is read again while the process runs: changes that apply at once, and changes that need
//! a restart.
//!
//! The sources are read and checked as at the start. Then every setting that a running process cannot change gets its old
//! value back, and the whole is checked again. So the mixture of old and new contradicts itself as little as any file.

use super::certificate::{TlsIdentity, date};
use super::check::CERTIFICATE;
use super::dependency::{self, DependencyConfig};
use super::draft::Draft;
use super::error::ConfigError;
use super::raw::quoted;
use super::relay_check;
use super::sections::{Config, TlsSection};
use super::setting::{Applies, Setting};
use super::sources::{ConfigSources, FileSource};
use super::table;
use super::value::ShownValue;

/// One value that changed. Secrets are hidden.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingChange {
    /// The setting (`limits.frame_bytes`), or `dependency.NAME.KEY`.
    pub key: String,
    pub from: String,
    pub to: String,
}

/// The outcome of reading the sources again.
#[derive(Debug)]
pub struct Reload {
    pub config: Config,
    /// Changes that `config` contains.
    pub taken: Vec<SettingChange>,
    /// Changes that need a restart; `config` still has the old values.
    pub waiting: Vec<SettingChange>,
}

const NOT_SET: &str = "(not set)";
const HIDDEN: &str = "(hidden)";

/// Reads the sources again and compares them with the current configuration. On failure the error names every mistake.
pub fn reread(sources: &ConfigSources, current: &Config) -> Result<Reload, ConfigError> {
    let mut draft = Draft::read(&same_file(sources, current));
    if !draft.report.problems.is_empty() {
        return draft.finish().map(|config| Reload { config, taken: Vec::new(), waiting: Vec::new() });
    }
    let (config, tables) = (draft.config.clone(), draft.tables.clone());
    let wanted = Draft { config, tables, ..Draft::default() }.finish()?;
    let (mut taken, mut waiting) = (Vec::new(), Vec::new());
    for setting in table::all() {
        let Some(change) = changed(setting, current, &wanted) else { continue };
        match setting.applies {
            Applies::Reload => taken.push(change),
            Applies::Restart => {
                (setting.copy)(current, &mut draft.config);
                waiting.push(change);
            }
        }
    }
    taken.extend(changed_keys(current, &wanted));
    taken.extend(changed_api_keys(current, &wanted));
    taken.extend(changed_flags(current, &wanted));
    taken.extend(changed_relays(current, &wanted));
    if let Some(change) = switched("auth", current, &wanted, |config| config.auth.is_on()) {
        // The existing connections were admitted by the other rule.
        draft.config.auth = current.auth.clone();
        taken.retain(|change| !change.key.starts_with("auth."));
        waiting.push(change);
    }
    // The files are not read twice, because they may be about to be replaced.
    draft.config.tls = wanted.tls.clone();
    if let Some(change) = switched("tls", current, &wanted, |config| config.tls.identity.is_some()) {
        // Every URL that clients have would become wrong.
        draft.config.tls = current.tls.clone();
        taken.retain(|change| !change.key.starts_with("tls."));
        waiting.push(change);
    } else if !taken.iter().any(|change| change.key == CERTIFICATE) {
        taken.extend(changed_certificate(&current.tls, &wanted.tls));
    }
    let config = draft.finish()?;
    taken.extend(changed_dependencies(&current.dependencies, &config.dependencies));
    Ok(Reload { config, taken, waiting })
}

/// A file that was read must still exist: while it is being replaced, its absence must not look like all defaults.
fn same_file(sources: &ConfigSources, current: &Config) -> ConfigSources {
    let file = match current.origins.file() {
        Some(path) => FileSource::Named(path.to_owned()),
        None => sources.file.clone(),
    };
    ConfigSources { file, ..sources.clone() }
}

fn changed(setting: &Setting, old: &Config, new: &Config) -> Option<SettingChange> {
    let shown = |config: &Config| match setting.show(config) {
        ShownValue::Value(value) => value,
        ShownValue::Unset => NOT_SET.into(),
        ShownValue::Hidden => HIDDEN.into(),
    };
    let change = || SettingChange { key: setting.name.into(), from: shown(old), to: shown(new) };
    (!(setting.same)(old, new)).then(change)
}

/// The change of a feature that is on or off as a whole.
fn switched(key: &str, old: &Config, new: &Config, is_on: impl Fn(&Config) -> bool) -> Option<SettingChange> {
    let word = |config: &Config| if is_on(config) { "on" } else { "off" }.to_owned();
    (is_on(old) != is_on(new)).then(|| SettingChange { key: key.into(), from: word(old), to: word(new) })
}

/// A different certificate in the same file.
fn changed_certificate(old: &TlsSection, new: &TlsSection) -> Option<SettingChange> {
    let (old, new) = old.identity.as_ref().zip(new.identity.as_ref())?;
    let shown = |identity: &TlsIdentity| format!("one until {}", date(identity.validity.not_after));
    let differs = old.certified.cert != new.certified.cert;
    differs.then(|| SettingChange { key: CERTIFICATE.into(), from: shown(old), to: shown(new) })
}

/// A change of `[[api.keys]]`, or of the content of a secret file.
fn changed_api_keys(old: &Config, new: &Config) -> Option<SettingChange> {
    let shown = |config: &Config| {
        let each = config.api.keys.iter().map(|key| key.key.name().to_string());
        format!("[{}]", each.collect::<Vec<_>>().join(", "))
    };
    let (from, mut to) = (shown(old), shown(new));
    if from == to {
        to.push_str(", with other secrets, rights, channels or rates");
    }
    (old.api.keys != new.api.keys).then(|| SettingChange { key: "api.keys".into(), from, to })
}

/// A change of `[[flag]]`.
fn changed_flags(old: &Config, new: &Config) -> Option<SettingChange> {
    let shown = |config: &Config| {
        let each = config.flags.iter().map(|each| format!("{} {} %", each.flag.name, each.flag.rollout));
        format!("[{}]", each.collect::<Vec<_>>().join(", "))
    };
    let (from, mut to) = (shown(old), shown(new));
    if from == to {
        to.push_str(", with other users or clients");
    }
    let differs = old.flags.iter().map(|each| &each.flag).ne(new.flags.iter().map(|each| &each.flag));
    differs.then(|| SettingChange { key: "flag".into(), from, to })
}

/// A change of `[[relay]]`, or of a secret.
fn changed_relays(old: &Config, new: &Config) -> Option<SettingChange> {
    let shown = |config: &Config| {
        let each = config.relays.iter().map(|relay| relay.route.name.to_string());
        format!("[{}]", each.collect::<Vec<_>>().join(", "))
    };
    let (from, mut to) = (shown(old), shown(new));
    if from == to {
        to.push_str(", with other values");
    }
    let differs = relay_check::routes(old) != relay_check::routes(new);
    differs.then(|| SettingChange { key: "relay".into(), from, to })
}

/// A change of `[[auth.keys]]`, or of the content of a key file.
fn changed_keys(old: &Config, new: &Config) -> Option<SettingChange> {
    let shown = |config: &Config| {
        let keys = config.auth.keys.iter().map(|key| &key.config);
        let name = |kid: &Option<String>| kid.clone().unwrap_or_else(|| "without a kid".into());
        let each = keys.map(|key| format!("{} {}", name(&key.kid), key.algorithm.name()));
        format!("[{}]", each.collect::<Vec<_>>().join(", "))
    };
    let differs = old.auth.keys.iter().map(|key| &key.config).ne(new.auth.keys.iter().map(|key| &key.config));
    let (from, mut to) = (shown(old), shown(new));
    if from == to {
        to.push_str(", with other material");
    }
    differs.then(|| SettingChange { key: "auth.keys".into(), from, to })
}

fn changed_dependencies(old: &[DependencyConfig], new: &[DependencyConfig]) -> Vec<SettingChange> {
    let named = |all: &'_ [DependencyConfig], name: &str| {
        all.iter().find(|each| *each.definition.name == *name).cloned()
    };
    let mut changes = Vec::new();
    for gone in old.iter().filter(|each| named(new, &each.definition.name).is_none()) {
        let key = format!("dependency.{}", gone.definition.name);
        changes.push(SettingChange { key, from: summary(gone), to: "(removed)".into() });
    }
    for each in new {
        let key = format!("dependency.{}", each.definition.name);
        match named(old, &each.definition.name) {
            None => changes.push(SettingChange { key, from: "(none)".into(), to: summary(each) }),
            Some(before) => changes.extend(changed_lines(&key, &before, each)),
        }
    }
    changes
}

fn summary(dependency: &DependencyConfig) -> String {
    let definition = &dependency.definition;
    format!("{} {}", definition.criticality.as_str(), definition.kind.as_str())
}

fn changed_lines(key: &str, old: &DependencyConfig, new: &DependencyConfig) -> Vec<SettingChange> {
    let (before, after) = (dependency::lines(old), dependency::lines(new));
    let value = |lines: &[(&'static str, String)], field: &str| {
        lines.iter().find(|(name, _)| *name == field).map(|(_, value)| value.clone())
    };
    let change = |field: &str, from: Option<String>, to: Option<String>| {
        let shown = |value: Option<String>| value.unwrap_or_else(|| NOT_SET.into());
        SettingChange { key: format!("{key}.{field}"), from: shown(from), to: shown(to) }
    };
    let mut changes: Vec<SettingChange> = dependency::FIELDS
        .iter()
        .map(|(field, _)| (field, value(&before, field), value(&after, field)))
        .filter(|(_, from, to)| from != to)
        .map(|(field, from, to)| change(field, from, to))
        .collect();
    // A displayed URL has no password. A URL that is a setting is listed as a change of that setting.
    let has_own_url = value(&after, "url").is_some();
    if changes.is_empty() && has_own_url && old.target != new.target {
        changes.push(change("url", Some(quoted(HIDDEN)), Some(quoted(HIDDEN))));
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::super::raw::RawValue;
    use super::super::sources::load_text;
    use super::*;
    use std::path::Path;

    /// Values of every form: each setting accepts one of them that is not its default.
    const VALUES: [&str; 29] = [
        "Europe/Berlin",
        "Tue 10:30",
        "slack",
        "true",
        "false",
        "2",
        "128",
        "300",
        "5000",
        "70001",
        "77777777",
        "127.0.0.9:99",
        "10.0.0.7",
        "postgres://ann:secret@db/chat",
        "redis://db",
        "https://a.example",
        "a.example",
        "10.0.0.0/8",
        "json",
        "debug",
        "required",
        "observe",
        "auto",
        "elsewhere",
        "a secret of at least thirty-two bytes",
        "a-token-of-at-least-thirty-two-letters",
        "gwt_[a-z]{20}",
        "off",
        "50",
    ];

    #[test]
    fn every_setting_shows_a_change_and_can_be_put_back() {
        let old = Config::default();
        for setting in table::all() {
            let with = |value: &&str| {
                let mut config = Config::default();
                setting.write(&mut config, &RawValue::Plain((*value).to_owned())).ok()?;
                changed(setting, &old, &config).is_some().then_some(config)
            };
            let new = VALUES.iter().find_map(with);
            let mut new = new.unwrap_or_else(|| panic!("no value for {}", setting.name));
            let change = changed(setting, &old, &new).expect("it differs");
            assert_eq!(change.key, setting.name);
            assert!(!change.to.contains("secret") && !change.to.contains("token-of"), "{change:?}");
            (setting.copy)(&old, &mut new);
            assert_eq!(changed(setting, &old, &new), None, "{}", setting.name);
        }
    }

    fn config(text: &str) -> Config {
        load_text(Path::new("seawall.toml"), text).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn changed_password_is_listed_and_hidden() {
        let table = |password: &str| {
            config(&format!(
                "[[dependency]]\nname = \"shop\"\nkind = \"postgres\"\nurl = \"postgres://ann:{password}@db/shop\"\n"
            ))
        };
        let changes = changed_dependencies(&table("first").dependencies, &table("second").dependencies);
        let expected = SettingChange {
            key: "dependency.shop.url".into(),
            from: "\"(hidden)\"".into(),
            to: "\"(hidden)\"".into(),
        };
        assert_eq!(changes, [expected]);
        assert_eq!(changed_dependencies(&table("same").dependencies, &table("same").dependencies), []);
    }

    #[test]
    fn key_of_the_same_name_with_other_material_is_a_change() {
        let with = |secret: &str| {
            config(&format!("[[auth.keys]]\nkid = \"a\"\nalgorithm = \"HS256\"\nsecret = \"{secret}\"\n"))
        };
        let (one, other) =
            (with("a secret of at least thirty-two bytes"), with("another secret of thirty-two bytes"));
        let change = changed_keys(&one, &other).expect("it differs");
        assert_eq!(
            (change.from.as_str(), change.to.as_str()),
            ("[a HS256]", "[a HS256], with other material")
        );
        assert_eq!(changed_keys(&one, &one), None);
    }
}
