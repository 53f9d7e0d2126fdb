//! A configuration that is read again while the process runs: what of it counts at once, and what waits for a restart.
//!
//! The sources are read and checked as at the start. Then every setting that a running process cannot change is put
//! back to what it was, and the whole is checked once more: what results is a configuration like any other, so the
//! mixture of old and new contradicts itself as little as a file may.

use super::certificate::{Identity, date};
use super::dependency::{self, DependencyConfig};
use super::error::ConfigError;
use super::key::{AuthKey, KeySource, same_keys};
use super::parse::quoted;
use super::place::{Place, Shown};
use super::setting::Setting;
use super::source::{FileSource, Sources};
use super::tls::{CERTIFICATE, TlsConfig};
use super::{Config, Draft, table};

/// When a change of a setting counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// With the next reload (SIGHUP).
    Reload,
    /// With the next start.
    Restart,
}

/// One value that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The setting, as `limits.frame_bytes`, or `dependency.NAME.KEY`.
    pub key: String,
    /// What it was. Secrets are hidden.
    pub from: String,
    /// What it is to be. Likewise.
    pub to: String,
}

/// What a reload makes of the sources.
#[derive(Debug)]
pub struct Renewal {
    /// What holds from here on.
    pub config: Config,
    /// What changed.
    pub taken: Vec<Change>,
    /// What was changed and holds only after a restart: in `config` it is what it was.
    pub waiting: Vec<Change>,
}

const AUTH_IS: &str = "auth";
const TLS_IS: &str = "tls";
const NOT_SET: &str = "(not set)";
const HIDDEN: &str = "(hidden)";

/// Reads the sources again and compares them with what holds. On failure it names everything that is wrong.
pub fn renew(sources: &Sources, holds: &Config) -> Result<Renewal, ConfigError> {
    let mut draft = Draft::read(&same_file(sources, holds));
    if !draft.problems.is_empty() {
        return draft.finish().map(|config| Renewal { config, taken: Vec::new(), waiting: Vec::new() });
    }
    let wanted = Draft {
        config: draft.config.clone(),
        problems: Vec::new(),
        entries: draft.entries.clone(),
        refused: draft.refused.clone(),
    };
    let mut wanted = wanted.finish()?;
    let mut old = holds.clone();
    let (mut taken, mut waiting) = (Vec::new(), Vec::new());
    for setting in table::all() {
        let Some(change) = setting.change(&mut old, &mut wanted) else { continue };
        match setting.takes {
            Some(Takes::Reload) => taken.push(change),
            Some(Takes::Restart) | None => {
                setting.keep(&mut old, &mut draft.config);
                waiting.push(change);
            }
        }
    }
    taken.extend(changed_keys(&old.auth.keys, &wanted.auth.keys));
    if old.auth.is_on() != wanted.auth.is_on() {
        // Who is connected was let in by the other rule.
        draft.config.auth = old.auth.clone();
        taken.retain(|change| !change.key.starts_with("auth."));
        let word = |config: &Config| if config.auth.is_on() { "on" } else { "off" }.to_owned();
        waiting.push(Change { key: AUTH_IS.into(), from: word(&old), to: word(&wanted) });
    }
    // What was read is not read twice: the files may be on their way to be replaced.
    draft.config.tls = wanted.tls.clone();
    if old.tls.identity.is_some() != wanted.tls.identity.is_some() {
        // Every address that people know would be another.
        draft.config.tls = old.tls.clone();
        taken.retain(|change| !change.key.starts_with("tls."));
        let word = |config: &Config| if config.tls.identity.is_some() { "on" } else { "off" }.to_owned();
        waiting.push(Change { key: TLS_IS.into(), from: word(&old), to: word(&wanted) });
    } else if !taken.iter().any(|change| change.key == CERTIFICATE) {
        taken.extend(changed_certificate(&old.tls, &wanted.tls));
    }
    let config = draft.finish()?;
    taken.extend(changed_dependencies(&old.dependencies, &config.dependencies));
    Ok(Renewal { config, taken, waiting })
}

/// A file that was read must still be there: one that is being replaced must not look like all defaults.
fn same_file(sources: &Sources, holds: &Config) -> Sources {
    let file = match holds.origins.file() {
        Some(path) => FileSource::Named(path.to_owned()),
        None => sources.file.clone(),
    };
    Sources { file, ..sources.clone() }
}

impl Setting {
    /// A change of it counts with the next reload.
    pub(super) const fn at_reload(mut self) -> Setting {
        self.takes = Some(Takes::Reload);
        self
    }

    /// A change of it counts with the next start.
    pub(super) const fn at_restart(mut self) -> Setting {
        self.takes = Some(Takes::Restart);
        self
    }

    fn change(&self, old: &mut Config, new: &mut Config) -> Option<Change> {
        let shown = |config: &mut Config| match self.show(config) {
            Shown::Value(value) => value,
            Shown::Unset => NOT_SET.into(),
            Shown::Hidden => HIDDEN.into(),
        };
        (!self.same(old, new)).then(|| Change { key: self.name.into(), from: shown(old), to: shown(new) })
    }

    /// True exactly when both have the same value; secrets are compared, not what is shown of them.
    fn same(&self, one: &mut Config, other: &mut Config) -> bool {
        match self.place {
            Place::U32(_, field) => *field(one) == *field(other),
            Place::U64(_, field) => *field(one) == *field(other),
            Place::Millis(_, field) => *field(one) == *field(other),
            Place::Switch(field) => *field(one) == *field(other),
            Place::Address(field) => *field(one) == *field(other),
            Place::Ip(field) => *field(one) == *field(other),
            Place::AddressOrOff(field) => *field(one) == *field(other),
            Place::Folder(field) => *field(one) == *field(other),
            Place::File(field) => *field(one) == *field(other),
            Place::Text(_, field) => *field(one) == *field(other),
            Place::Url(_, field) => *field(one) == *field(other),
            Place::List(_, field) => *field(one) == *field(other),
            Place::Networks(field) => *field(one) == *field(other),
            Place::Word(words) => (words.read)(one) == (words.read)(other),
            Place::SharedSecret => same_keys(shorthand(one), shorthand(other)),
            Place::Secret(field) | Place::Bearer(field) => *field(one) == *field(other),
        }
    }

    /// Gives `new` the value of `old`.
    fn keep(&self, old: &mut Config, new: &mut Config) {
        match self.place {
            Place::U32(_, field) => *field(new) = *field(old),
            Place::U64(_, field) => *field(new) = *field(old),
            Place::Millis(_, field) => *field(new) = *field(old),
            Place::Switch(field) => *field(new) = *field(old),
            Place::Address(field) => *field(new) = *field(old),
            Place::Ip(field) => *field(new) = *field(old),
            Place::AddressOrOff(field) => *field(new) = *field(old),
            Place::Folder(field) => field(new).clone_from(field(old)),
            Place::File(field) => field(new).clone_from(field(old)),
            Place::Text(_, field) => field(new).clone_from(field(old)),
            Place::Url(_, field) => field(new).clone_from(field(old)),
            Place::List(_, field) => field(new).clone_from(field(old)),
            Place::Networks(field) => field(new).clone_from(field(old)),
            Place::Word(words) => (words.write)(new, (words.read)(old)),
            Place::SharedSecret => {
                new.auth.keys.retain(|key| key.source != KeySource::Shorthand);
                new.auth.keys.extend(shorthand(old).cloned());
            }
            Place::Secret(field) | Place::Bearer(field) => field(new).clone_from(field(old)),
        }
    }
}

fn shorthand(config: &Config) -> impl Iterator<Item = &AuthKey> {
    config.auth.keys.iter().filter(|key| key.source == KeySource::Shorthand)
}

/// Other certificates in the same file.
fn changed_certificate(old: &TlsConfig, new: &TlsConfig) -> Option<Change> {
    let (old, new) = old.identity.as_ref().zip(new.identity.as_ref())?;
    let shown = |identity: &Identity| format!("one until {}", date(identity.validity.not_after));
    let differs = old.certified.cert != new.certified.cert;
    differs.then(|| Change { key: CERTIFICATE.into(), from: shown(old), to: shown(new) })
}

/// The tables of `[[auth.keys]]`; a key file that has other bytes than before is a change as well.
fn changed_keys(old: &[AuthKey], new: &[AuthKey]) -> Option<Change> {
    let tables = |keys: &'_ [AuthKey]| -> Vec<AuthKey> {
        keys.iter().filter(|key| key.source != KeySource::Shorthand).cloned().collect()
    };
    let (old, new) = (tables(old), tables(new));
    if same_keys(old.iter(), new.iter()) {
        return None;
    }
    let shown = |keys: &[AuthKey]| {
        let name = |key: &AuthKey| key.kid.clone().unwrap_or_else(|| "without a kid".into());
        let each = |key: &AuthKey| format!("{} {}", name(key), key.algorithm.name());
        format!("[{}]", keys.iter().map(each).collect::<Vec<_>>().join(", "))
    };
    let (from, mut to) = (shown(&old), shown(&new));
    if from == to {
        to.push_str(", with other material");
    }
    Some(Change { key: "auth.keys".into(), from, to })
}

fn changed_dependencies(old: &[DependencyConfig], new: &[DependencyConfig]) -> Vec<Change> {
    let named = |all: &'_ [DependencyConfig], name: &str| {
        all.iter().find(|each| *each.definition.name == *name).cloned()
    };
    let mut changes = Vec::new();
    for gone in old.iter().filter(|each| named(new, &each.definition.name).is_none()) {
        let key = format!("dependency.{}", gone.definition.name);
        changes.push(Change { key, from: summary(gone), to: "(removed)".into() });
    }
    for each in new {
        let key = format!("dependency.{}", each.definition.name);
        match named(old, &each.definition.name) {
            None => changes.push(Change { key, from: "(none)".into(), to: summary(each) }),
            Some(before) => changes.extend(changed_lines(&key, &before, each)),
        }
    }
    changes
}

fn summary(dependency: &DependencyConfig) -> String {
    let definition = &dependency.definition;
    format!("{} {}", definition.criticality.as_str(), definition.kind.as_str())
}

fn changed_lines(key: &str, old: &DependencyConfig, new: &DependencyConfig) -> Vec<Change> {
    let (before, after) = (dependency::lines(old), dependency::lines(new));
    let value = |lines: &[(&'static str, String)], field: &str| {
        lines.iter().find(|(name, _)| *name == field).map(|(_, value)| value.clone())
    };
    let shown = |value: Option<String>| value.unwrap_or_else(|| NOT_SET.into());
    let mut changes: Vec<Change> = dependency::FIELDS
        .iter()
        .map(|(field, _)| (field, value(&before, field), value(&after, field)))
        .filter(|(_, from, to)| from != to)
        .map(|(field, from, to)| Change { key: format!("{key}.{field}"), from: shown(from), to: shown(to) })
        .collect();
    // What is shown of a URL leaves its password out. One that a setting says is that setting's change.
    let is_said_here = value(&after, "url").is_some();
    if changes.is_empty() && is_said_here && old.target != new.target {
        let hidden = || quoted(HIDDEN);
        changes.push(Change { key: format!("{key}.url"), from: hidden(), to: hidden() });
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::super::load_text;
    use super::super::parse::Raw;
    use super::super::source::Origin;
    use super::*;
    use std::path::Path;

    /// Values of every form, of which each setting takes one that is not its default.
    const VALUES: [&str; 22] = [
        "true",
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
        "elsewhere",
        "a secret of at least thirty-two bytes",
        "a-token-of-at-least-thirty-two-letters",
        "off",
    ];

    #[test]
    fn every_setting_shows_a_change_and_can_be_put_back() {
        for setting in table::all() {
            let mut old = Config::default();
            let mut new = Config::default();
            let takes = |value: &&&str| {
                let mut config = Config::default();
                let raw = Raw::Plain((***value).to_owned());
                let written = setting.write(&mut config, &raw, &Origin::Default).is_ok();
                written && !setting.same(&mut Config::default(), &mut config)
            };
            let value = VALUES
                .iter()
                .find(|value| takes(value))
                .unwrap_or_else(|| panic!("no value for {}", setting.name));
            setting
                .write(&mut new, &Raw::Plain((*value).to_owned()), &Origin::Default)
                .expect("it was taken");
            let change = setting.change(&mut old, &mut new).expect("it differs");
            assert_eq!(change.key, setting.name);
            assert!(!change.to.contains("secret") && !change.to.contains("token-of"), "{change:?}");
            setting.keep(&mut old, &mut new);
            assert_eq!(setting.change(&mut old, &mut new), None, "{}", setting.name);
        }
    }

    fn config(text: &str) -> Config {
        load_text(Path::new("seawall.toml"), text).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn of_a_password_it_is_said_that_it_changed() {
        let table = |password: &str| {
            config(&format!(
                "[[dependency]]\nname = \"shop\"\nkind = \"postgres\"\nurl = \"postgres://ann:{password}@db/shop\"\n"
            ))
        };
        let changes = changed_dependencies(&table("first").dependencies, &table("second").dependencies);
        let expected = Change {
            key: "dependency.shop.url".into(),
            from: "\"(hidden)\"".into(),
            to: "\"(hidden)\"".into(),
        };
        assert_eq!(changes, [expected]);
        assert_eq!(changed_dependencies(&table("same").dependencies, &table("same").dependencies), []);
    }

    #[test]
    fn a_key_of_the_same_name_with_other_material_is_a_change() {
        let keys = |secret: &str| {
            config(&format!("[[auth.keys]]\nkid = \"a\"\nalgorithm = \"HS256\"\nsecret = \"{secret}\"\n"))
                .auth
                .keys
        };
        let (one, other) =
            (keys("a secret of at least thirty-two bytes"), keys("another secret of thirty-two bytes"));
        let change = changed_keys(&one, &other).expect("it differs");
        assert_eq!(
            (change.from.as_str(), change.to.as_str()),
            ("[a HS256]", "[a HS256], with other material")
        );
        assert_eq!(changed_keys(&one, &one), None);
    }
}
