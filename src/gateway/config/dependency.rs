//! `[[dependency]]`: what the gateway stands on beside its own process, and how it is looked at.
//!
//! A table is read when the file is, and understood when all sources are: where the store is may be said by
//! a variable. What a table leaves out is what its ready-made name means, or its criticality.

mod entry;

pub(super) use entry::{Entry, read};

use super::Draft;
use super::error::Fault;
use super::parse::{self, Raw};
use super::ready_made::{READY_MADE, ReadyMade, ready_made};
use super::source::Origin;
use super::url::{Url, UrlKind};
use crate::health::capacity;
use crate::health::definition::{Criticality, Definition, Kind};
use std::sync::Arc;

/// Dependencies of one gateway: each has its probe and its line in every report.
const DEPENDENCIES_MAX: usize = 64;

/// The keys of one table, and what each means.
pub const FIELDS: [(&str, &str); 13] = [
    (
        "name",
        "1 to 32 letters, digits, dots, dashes and underscores; each its own. Required. A ready-made name brings defaults for the rest.",
    ),
    ("kind", "`postgres`, `redis`, `http`, `tcp` or `clickhouse`. Required, save for a ready-made name."),
    (
        "url",
        "Where it is: `postgres://…`, `redis://…`, or for `http` and `clickhouse` `http://…` or `https://…`. Of `store` and `bus` it is `store.url` and `bus.url`.",
    ),
    ("address", "For `tcp`: host and port, like `mail.example.com:25`."),
    (
        "criticality",
        "`critical`: while it is down nobody is let in. `optional`: service goes on without it. Without one: `optional`, or the ready-made name's.",
    ),
    ("lost", "What users cannot do without it, up to 8 short names for programs, like `[\"replies\"]`."),
    ("sentence", "The same for people, up to 200 bytes: clients show it."),
    (
        "interval_ms",
        "Between two probes, 100 to 3600000. Without one: 2000 when critical, 5000 when optional. Spread by a fifth; while it is down at most 500.",
    ),
    ("timeout_ms", "Of one probe, 50 to 30000. Without one: 1000 when critical, 2000 when optional."),
    ("failures", "Misses in a row that make it down, 1 to 10. Without one: 2."),
    ("successes", "Successes in a row that make it up again, 1 to 10. Without one: 2."),
    ("status", "For `http`: the status that is expected, 100 to 599. Without one: any of 200 to 299."),
    (
        "field",
        "For `http`: a field of the JSON body, as `checks.db=ok`: the path, and the text it must have.",
    ),
];

/// One dependency.
#[derive(Clone, Debug)]
pub struct DependencyConfig {
    /// How it is judged and told.
    pub definition: Definition,
    /// Where it is.
    pub target: Target,
    /// What an HTTP answer must be.
    pub expected: HttpExpected,
    /// Where it was said.
    pub origin: Origin,
}

/// Where a dependency is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Of every kind but `tcp`.
    Url(Url),
    /// Host and port.
    Address(String),
}

/// What an HTTP answer must be, beside coming in time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpExpected {
    /// Its status; `None`: any of 200 to 299.
    pub status: Option<u16>,
    /// A field of its JSON body, as a path with dots, and its text.
    pub field: Option<(String, String)>,
}

/// Makes dependencies of all tables, and of the settings that imply one.
pub(super) fn resolve(draft: &mut Draft) {
    let entries = std::mem::take(&mut draft.entries);
    if entries.len() > DEPENDENCIES_MAX {
        let origin = entries.last().map_or(Origin::Default, |entry| entry.origin.clone());
        let expected = format!("at most {DEPENDENCIES_MAX} tables: remove some");
        draft.report(origin, "dependency", Fault::NotAccepted { value: entries.len().to_string(), expected });
    }
    for ready in &READY_MADE {
        if let Some(setting) = ready.setting
            && url_of(draft, ready.name).is_some()
            && entries.iter().all(|entry| entry.name != ready.name)
        {
            let origin = draft.config.origins.of(setting).clone();
            one(draft, Entry::named(ready.name, origin));
        }
    }
    entries.into_iter().for_each(|entry| one(draft, entry));
}

fn one(draft: &mut Draft, entry: Entry) {
    let ready = ready_made(&entry.name);
    let named = |config: &DependencyConfig| *config.definition.name == *entry.name;
    let outcome = if draft.config.dependencies.iter().any(named) {
        Err(("name", Fault::SameName { name: entry.name.clone() }))
    } else if entry.name == capacity::NAME {
        Err(("name", Fault::OwnName))
    } else {
        kind(&entry, ready).and_then(|kind| {
            let target = target(draft, &entry, ready, kind)?;
            expected(&entry, kind)?;
            Ok((kind, target))
        })
    };
    match outcome {
        Ok((_, None)) => {}
        Ok((kind, Some(target))) => {
            let definition = definition(&entry, ready, kind, &target);
            let expected = HttpExpected { status: entry.status, field: entry.field };
            draft.config.dependencies.push(DependencyConfig {
                definition,
                target,
                expected,
                origin: entry.origin,
            });
        }
        Err((field, fault)) => draft.report(entry.origin, format!("dependency.{field}"), fault),
    }
}

fn kind(entry: &Entry, ready: Option<&ReadyMade>) -> Result<Kind, (&'static str, Fault)> {
    match (entry.kind, ready) {
        (Some(kind), Some(ready)) if ready.setting.is_some() && kind != ready.kind => {
            let expected = format!("\"{}\", since it is named {}", ready.kind.as_str(), ready.name);
            Err(("kind", Fault::NotAccepted { value: parse::quoted(kind.as_str()), expected }))
        }
        (Some(kind), _) => Ok(kind),
        (None, Some(ready)) => Ok(ready.kind),
        (None, None) => Err(("kind", Fault::Missing { expected: entry::kinds() })),
    }
}

/// `Ok(None)`: said already to be wrong elsewhere.
fn target(
    draft: &Draft,
    entry: &Entry,
    ready: Option<&ReadyMade>,
    kind: Kind,
) -> Result<Option<Target>, (&'static str, Fault)> {
    if let Some(setting) = ready.and_then(|ready| ready.setting) {
        if entry.url.is_some() || entry.address.is_some() {
            return Err(("url", Fault::SaidElsewhere { setting }));
        }
        return match url_of(draft, &entry.name) {
            Some(url) => Ok(Some(Target::Url(url))),
            None if draft.refused.contains(setting) => Ok(None),
            None => Err(("name", Fault::Needs { setting })),
        };
    }
    let (url_kind, stray) = match kind {
        Kind::Tcp | Kind::Gateway => (None, entry.url.is_some().then_some("url")),
        Kind::Postgres => (Some(UrlKind::Postgres), entry.address.is_some().then_some("address")),
        Kind::Redis => (Some(UrlKind::Bus), entry.address.is_some().then_some("address")),
        Kind::Http | Kind::Clickhouse => (Some(UrlKind::Http), entry.address.is_some().then_some("address")),
    };
    if let Some(field) = stray {
        return Err((field, Fault::NotOfKind { kind: kind.as_str() }));
    }
    match (url_kind, &entry.url, &entry.address) {
        (None, _, Some(address)) => Ok(Some(Target::Address(address.clone()))),
        (None, _, None) => Err(("address", Fault::Missing { expected: entry::ADDRESS.into() })),
        (Some(of), None, _) => Err(("url", Fault::Missing { expected: of.expected().into() })),
        (Some(of), Some(text), _) => match Url::read(text, of) {
            Some(url) => Ok(Some(Target::Url(url))),
            None => {
                let fault = Fault::NotAccepted { value: Url::hint(text), expected: of.expected().into() };
                Err(("url", fault))
            }
        },
    }
}

fn expected(entry: &Entry, kind: Kind) -> Result<(), (&'static str, Fault)> {
    let given = entry.status.map(|_| "status").or(entry.field.as_ref().map(|_| "field"));
    match (kind, given) {
        (Kind::Http, _) | (_, None) => Ok(()),
        (Kind::Postgres | Kind::Redis | Kind::Tcp | Kind::Clickhouse | Kind::Gateway, Some(field)) => {
            Err((field, Fault::NotOfKind { kind: kind.as_str() }))
        }
    }
}

fn definition(entry: &Entry, ready: Option<&ReadyMade>, kind: Kind, target: &Target) -> Definition {
    let criticality =
        entry.criticality.or(ready.map(|ready| ready.criticality)).unwrap_or(Criticality::Optional);
    let lost = |lost: &[&str]| lost.iter().map(|item| Arc::from(*item)).collect();
    let address = match target {
        Target::Url(url) => url.to_string(),
        Target::Address(address) => address.clone(),
    };
    Definition {
        name: Arc::from(entry.name.as_str()),
        kind,
        address: Arc::from(address),
        criticality,
        lost: match &entry.lost {
            Some(items) => items.iter().map(|item| Arc::from(item.as_str())).collect(),
            None => lost(ready.map_or(&[], |ready| ready.lost)),
        },
        sentence: match &entry.sentence {
            Some(sentence) => Arc::from(sentence.as_str()),
            None => Arc::from(ready.map_or("", |ready| ready.sentence)),
        },
        interval: entry.interval.unwrap_or(criticality.interval()),
        timeout: entry.timeout.unwrap_or(criticality.timeout()),
        failures: entry.failures.unwrap_or(2),
        successes: entry.successes.unwrap_or(2),
    }
}

/// Where the settings say that the ready-made dependency of this name is.
fn url_of(draft: &Draft, name: &str) -> Option<Url> {
    match name {
        "store" => draft.config.store.postgres().cloned(),
        "bus" => draft.config.bus.url.clone(),
        _ => None,
    }
}

/// The table as the listing shows it: with every value, so that nothing depends on a default.
pub(super) fn lines(config: &DependencyConfig) -> Vec<(&'static str, String)> {
    let DependencyConfig { definition, target, expected, origin: _ } = config;
    let text = |text: &str| parse::quoted(text);
    let list: Vec<String> = definition.lost.iter().map(|item| text(item)).collect();
    let mut lines = vec![("name", text(&definition.name)), ("kind", text(definition.kind.as_str()))];
    let elsewhere = ready_made(&definition.name).is_some_and(|ready| ready.setting.is_some());
    match target {
        Target::Url(_) if elsewhere => {}
        Target::Url(url) => lines.push(("url", text(&url.to_string()))),
        Target::Address(address) => lines.push(("address", text(address))),
    }
    lines.extend([
        ("criticality", text(definition.criticality.as_str())),
        ("lost", format!("[{}]", list.join(", "))),
        ("sentence", text(&definition.sentence)),
        ("interval_ms", definition.interval.as_millis().to_string()),
        ("timeout_ms", definition.timeout.as_millis().to_string()),
        ("failures", definition.failures.to_string()),
        ("successes", definition.successes.to_string()),
    ]);
    lines.extend(expected.status.map(|status| ("status", status.to_string())));
    lines.extend(expected.field.as_ref().map(|(path, value)| ("field", text(&format!("{path}={value}")))));
    lines
}

/// A refused value of this field, as a message repeats it.
fn repeated(field: &str, raw: &Raw) -> String {
    match (field, raw.text()) {
        ("url", Some(text)) => Url::hint(text),
        ("url", None) => raw.hidden(),
        _ => raw.shown(),
    }
}
