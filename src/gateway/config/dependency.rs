//! `[[dependency]]`: the services that the gateway depends on, and how each is probed.
//!
//! A table is read with its file and resolved after all sources, because a variable may set the URL of the store. Values
//! that a table leaves out come from its ready-made name, or from its criticality.

use super::error::{ConfigFault, ProblemList};
use super::origin::ValueOrigin;
use super::raw::{RawValue, TableReader, one_of, quoted};
use super::ready_made::{ReadyMade, ready_made};
use super::secret_file::{self, SecretFile, SecretFileFault};
use super::url::{Url, UrlKind};
use super::value;
use crate::health::capacity;
use crate::health::definition::{Criticality, Definition, DependencyKind, EndedBy, Gate};
use crate::net::target::{Target, TargetError};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Dependencies of one gateway: each has its own probe, and a line in every report.
const DEPENDENCIES_MAX: usize = 64;
/// A name is part of every refusal, next to the reference, within the 123 bytes of a close reason.
const NAME_BYTES_MAX: usize = 32;
/// Capabilities that one dependency may list, and bytes of its sentence: both go to every client.
const LOST_MAX: usize = 8;
const SENTENCE_BYTES_MAX: usize = 200;
const FIELD_BYTES_MAX: usize = 100;
const URL_BYTES_MAX: usize = 2_048;

const ADDRESS: &str = "a host with a port, like \"mail.example.com:25\"";
const NAME: &str = "1 to 32 letters, digits, dots, dashes and underscores";
const LOST: &str = "a list of up to 8 names of 1 to 32 letters, digits, dots, dashes and underscores";
const SENTENCE: &str = "text of up to 200 bytes on one line";
const FIELD: &str = "a path and a text like \"checks.db=ok\", up to 100 bytes";

/// The fields of a table, for the reference.
pub const FIELDS: [(&str, &str); 14] = [
    (
        "name",
        "A unique name of 1 to 32 letters, digits, dots, dashes and underscores. Required. A ready-made name brings defaults for the other keys.",
    ),
    ("kind", "`postgres`, `redis`, `http`, `tcp` or `clickhouse`. Required unless the name is ready-made."),
    (
        "url",
        "The address: `postgres://…`, `redis://…`, `redis+sentinel://…`, `redis+cluster://…`, or `http://…` or `https://…` for `http` and `clickhouse`. For `store` and `bus` it is `store.url` and `bus.url`; for `auth` it is the URL in `[auth]`, if that section names a service.",
    ),
    ("url_file", "A file that holds `url`, if it contains a secret."),
    ("address", "For `tcp`: host and port, like `mail.example.com:25`."),
    (
        "criticality",
        "`critical`: no client is admitted while it is down. `optional`: service continues without it. Default: that of the ready-made name, else `optional`.",
    ),
    (
        "lost",
        "The features that users lose while it is down, as up to 8 short names for programs, like `[\"replies\"]`.",
    ),
    ("sentence", "The same for people, up to 200 bytes. Clients show it."),
    (
        "interval_ms",
        "Time between two probes, 100 to 3600000 ms, spread by a fifth; at most 500 ms while it is down. Default: 2000 if critical and for the bus, 5000 if optional.",
    ),
    ("timeout_ms", "Timeout of one probe, 50 to 30000 ms. Default: 1000 if critical, 2000 if optional."),
    ("failures", "Failed probes in a row after which it is down, 1 to 10. Default: 2."),
    ("successes", "Successful probes in a row after which it is up again, 1 to 10. Default: 2."),
    ("status", "For `http`: the expected status, 100 to 599. Default: any of 200 to 299."),
    ("field", "For `http`: a field of the JSON body and its expected text, like `checks.db=ok`."),
];

#[derive(Clone, Debug)]
pub struct DependencyConfig {
    /// How it is judged and reported.
    pub definition: Definition,
    pub target: DependencyTarget,
    /// The parsed address; `None` for the auth service, whose address and credentials are those of `[auth]`.
    pub parsed: Option<Target>,
    pub expected: HttpExpected,
    pub origin: ValueOrigin,
    /// Where its `url` is, if the table has one itself.
    pub url_origin: Option<ValueOrigin>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DependencyTarget {
    /// For every kind except `tcp`.
    Url(Url),
    /// Host and port.
    Address(String),
}

impl DependencyTarget {
    /// The field of its table.
    const fn field(&self) -> &'static str {
        match self {
            DependencyTarget::Url(_) => "url",
            DependencyTarget::Address(_) => "address",
        }
    }
}

/// Requirements for the response of an HTTP probe, in addition to its timeout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpExpected {
    /// `None`: any of 200 to 299.
    pub status: Option<u16>,
    /// A field of the JSON body, as a path with dots, and its text.
    pub field: Option<(String, String)>,
}

/// A ready-made dependency whose URL is a setting.
pub(super) struct ImpliedDependency {
    pub(super) name: &'static str,
    pub(super) setting: &'static str,
    pub(super) url: Url,
    /// `None` for the auth service.
    pub(super) parsed: Option<Target>,
    pub(super) origin: ValueOrigin,
}

/// The values of one table. It has no `Debug`, because its URL may hold a password.
#[derive(Clone, Default)]
pub(super) struct DependencyTable {
    origin: ValueOrigin,
    pub(super) name: String,
    pub(super) kind: Option<DependencyKind>,
    url: Option<String>,
    url_origin: Option<ValueOrigin>,
    pub(super) address: Option<String>,
    pub(super) criticality: Option<Criticality>,
    pub(super) lost: Option<Vec<String>>,
    pub(super) sentence: Option<String>,
    interval: Option<Duration>,
    timeout: Option<Duration>,
    failures: Option<u8>,
    successes: Option<u8>,
    status: Option<u16>,
    field: Option<(String, String)>,
}

impl DependencyTable {
    /// The table of a dependency that only a setting mentions.
    pub(super) fn implied(name: &str, origin: ValueOrigin) -> DependencyTable {
        DependencyTable { origin, name: name.to_owned(), ..DependencyTable::default() }
    }
}

/// Reads one table. `None` if it has a mistake, which is then reported.
pub(super) fn read(reader: &mut TableReader<'_>) -> Option<DependencyTable> {
    let name = reader.take("name", NAME, |raw| dependency_name(raw.text()?));
    if name.is_none() && !reader.has("name") {
        reader.fault(reader.origin.clone(), "name", ConfigFault::Missing { expected: NAME.into() });
    }
    let table = DependencyTable {
        url_origin: reader.has("url").then(|| reader.origin_of("url")),
        kind: word(reader, "kind", DependencyKind::ALL, DependencyKind::as_str),
        url: read_url(reader),
        address: reader.take("address", ADDRESS, |raw| address(raw.text()?)),
        criticality: word(
            reader,
            "criticality",
            [Criticality::Critical, Criticality::Optional],
            Criticality::as_str,
        ),
        lost: reader.take("lost", LOST, lost),
        sentence: reader.take("sentence", SENTENCE, |raw| plain_text(raw.text()?, SENTENCE_BYTES_MAX)),
        interval: reader.number("interval_ms", 100..=3_600_000).map(Duration::from_millis),
        timeout: reader.number("timeout_ms", 50..=30_000).map(Duration::from_millis),
        failures: reader.number("failures", 1..=10),
        successes: reader.number("successes", 1..=10),
        status: reader.number("status", 100..=599),
        field: reader.take("field", FIELD, |raw| field(raw.text()?)),
        ..DependencyTable::implied(name.as_deref().unwrap_or_default(), reader.origin.clone())
    };
    reader.unknown_fields(&FIELDS);
    (reader.problems == 0).then_some(table)
}

/// The field `url`, or the content of the file that `url_file` names.
fn read_url(reader: &mut TableReader<'_>) -> Option<String> {
    const EXPECTED: &str = "text, not empty";
    if !reader.has("url_file") {
        return reader.take("url", EXPECTED, |raw| plain_text(raw.text()?, URL_BYTES_MAX));
    }
    let origin = reader.origin_of("url_file");
    if reader.has("url") {
        let fault = ConfigFault::SecretFile(SecretFileFault::TwoValues { key: "url_file".into() });
        reader.fault(origin, "url", fault);
        return None;
    }
    let path = PathBuf::from(reader.text("url_file")?);
    let key = "dependency.url_file".into();
    reader.report.secret_files.push(SecretFile { key, origin: origin.clone(), path: path.clone() });
    let url =
        secret_file::read(&path, URL_BYTES_MAX).map_err(ConfigFault::unreadable(&path)).and_then(|text| {
            plain_text(&text, URL_BYTES_MAX).ok_or(ConfigFault::NotAccepted {
                value: format!("({} bytes, hidden)", text.len()),
                expected: EXPECTED.into(),
            })
        });
    url.map_err(|fault| reader.fault(origin, "url_file", fault)).ok()
}

fn word<T: Copy, const N: usize>(
    reader: &mut TableReader<'_>,
    field: &'static str,
    all: [T; N],
    name: fn(T) -> &'static str,
) -> Option<T> {
    reader.take(field, &one_of(&all.map(name)), |raw| {
        let text = raw.text()?;
        all.into_iter().find(|candidate| name(*candidate) == text)
    })
}

pub(super) fn dependency_name(text: &str) -> Option<String> {
    value::name(text).filter(|name| name.len() <= NAME_BYTES_MAX)
}

fn plain_text(text: &str, bytes_max: usize) -> Option<String> {
    let fits = (1..=bytes_max).contains(&text.len()) && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

fn lost(raw: &RawValue) -> Option<Vec<String>> {
    let items = raw.items().filter(|items| items.len() <= LOST_MAX)?;
    items.into_iter().map(dependency_name).collect()
}

fn address(text: &str) -> Option<String> {
    let authority: http::uri::Authority = text.parse().ok()?;
    let whole = authority.port_u16().is_some_and(|port| port > 0) && !text.contains('@');
    (whole && !authority.host().is_empty()).then(|| text.to_owned())
}

fn field(text: &str) -> Option<(String, String)> {
    let text = plain_text(text, FIELD_BYTES_MAX)?;
    let (path, value) = text.split_once('=')?;
    let is_path = path.split('.').all(|part| value::name(part).is_some());
    is_path.then(|| (path.to_owned(), value.to_owned()))
}

/// A fault, and the field it belongs to.
type Misfit = (&'static str, ConfigFault);

/// Makes dependencies of all tables, and of the settings that imply one.
pub(super) fn resolve(
    tables: Vec<DependencyTable>,
    implied: &[ImpliedDependency],
    report: &mut ProblemList,
) -> Vec<DependencyConfig> {
    if tables.len() > DEPENDENCIES_MAX {
        let origin = tables.last().map_or(ValueOrigin::Default, |table| table.origin.clone());
        let expected = format!("at most {DEPENDENCIES_MAX} tables: remove some");
        report.add(
            origin,
            "dependency",
            ConfigFault::NotAccepted { value: tables.len().to_string(), expected },
        );
    }
    let without_table = implied.iter().filter(|each| tables.iter().all(|table| table.name != each.name));
    let without_table = without_table
        .map(|each| DependencyTable::implied(each.name, each.origin.clone()))
        .collect::<Vec<_>>();
    let mut dependencies: Vec<DependencyConfig> = Vec::new();
    for table in without_table.into_iter().chain(tables) {
        let origin = table.origin.clone();
        let outcome = match dependencies.iter().any(|other| *other.definition.name == *table.name) {
            true => Err(("name", ConfigFault::SameName { name: table.name.clone() })),
            false => resolve_one(table, implied, report),
        };
        match outcome {
            Ok(dependency) => dependencies.extend(dependency),
            Err((field, fault)) => report.add(origin, format!("dependency.{field}"), fault),
        }
    }
    dependencies
}

/// Makes one dependency; `Ok(None)` if the setting that holds its URL was rejected, which is reported already.
fn resolve_one(
    table: DependencyTable,
    implied: &[ImpliedDependency],
    report: &ProblemList,
) -> Result<Option<DependencyConfig>, Misfit> {
    if table.name == capacity::NAME {
        return Err(("name", ConfigFault::OwnName));
    }
    let ready = ready_made(&table.name);
    let implied = implied.iter().find(|each| each.name == table.name);
    let setting = implied.map(|each| each.setting).or(ready.and_then(|ready| ready.setting));
    let kind = kind(&table, ready, setting)?;
    let target = match setting {
        Some(setting) if table.url.is_some() || table.address.is_some() => {
            return Err(("url", ConfigFault::SetElsewhere { setting }));
        }
        Some(setting) => match implied {
            Some(implied) => DependencyTarget::Url(implied.url.clone()),
            None if !report.accepted(&[setting]) => return Ok(None),
            None => return Err(("name", ConfigFault::NeedsSetting { setting })),
        },
        None => own_target(&table, kind)?,
    };
    let gate = match ready {
        Some(ready) if setting.is_some() => ready.gate,
        Some(_) | None => Gate::Handshake,
    };
    let misplaced = table.status.map(|_| "status").or(table.field.as_ref().map(|_| "field"));
    if let Some(field) = misplaced
        && (kind != DependencyKind::Http || gate == Gate::Judgement)
    {
        let kind = if gate == Gate::Judgement { "auth" } else { kind.as_str() };
        return Err((field, ConfigFault::NotOfKind { kind }));
    }
    let expected = HttpExpected { status: table.status, field: table.field.clone() };
    let parsed = match implied {
        Some(implied) => implied.parsed.clone(),
        None => Some(parsed(kind, &target).map_err(|fault| (target.field(), ConfigFault::Address(fault)))?),
    };
    let (origin, url_origin) = (table.origin.clone(), table.url_origin.clone());
    // The PostgreSQL of a setting is the store, whose workers make trial calls.
    let ended_by = match (kind, setting) {
        (DependencyKind::Postgres, Some(_)) => EndedBy::Calls,
        (_, Some(_) | None) => EndedBy::Probes,
    };
    let definition = Definition { gate, ended_by, ..definition(table, ready, kind, &target) };
    Ok(Some(DependencyConfig { definition, target, parsed, expected, origin, url_origin }))
}

fn kind(
    table: &DependencyTable,
    ready: Option<&ReadyMade>,
    setting: Option<&str>,
) -> Result<DependencyKind, Misfit> {
    match (table.kind, ready) {
        (Some(kind), Some(ready)) if setting.is_some() && kind != ready.kind => {
            let expected = format!("\"{}\", because its name is \"{}\"", ready.kind.as_str(), ready.name);
            Err(("kind", ConfigFault::NotAccepted { value: quoted(kind.as_str()), expected }))
        }
        (Some(kind), _) => Ok(kind),
        (None, Some(ready)) => Ok(ready.kind),
        (None, None) => Err((
            "kind",
            ConfigFault::Missing { expected: one_of(&DependencyKind::ALL.map(DependencyKind::as_str)) },
        )),
    }
}

/// The target that the table itself gives.
fn own_target(table: &DependencyTable, kind: DependencyKind) -> Result<DependencyTarget, Misfit> {
    let url_kind = match kind {
        DependencyKind::Tcp | DependencyKind::Gateway => None,
        DependencyKind::Postgres => Some(UrlKind::Postgres),
        DependencyKind::Redis => Some(UrlKind::Bus),
        DependencyKind::Http | DependencyKind::Clickhouse => Some(UrlKind::Http),
    };
    let not_of_kind = |field| Err((field, ConfigFault::NotOfKind { kind: kind.as_str() }));
    let missing = |field, expected: &str| Err((field, ConfigFault::Missing { expected: expected.into() }));
    match (url_kind, &table.url, &table.address) {
        (None, Some(_), _) => not_of_kind("url"),
        (Some(_), _, Some(_)) => not_of_kind("address"),
        (None, None, Some(address)) => Ok(DependencyTarget::Address(address.clone())),
        (None, None, None) => missing("address", ADDRESS),
        (Some(url_kind), None, None) => missing("url", url_kind.expected()),
        (Some(url_kind), Some(text), None) => match Url::read(text, url_kind) {
            Some(url) => Ok(DependencyTarget::Url(url)),
            None => {
                let (value, expected) = (Url::hint(text), url_kind.expected_instead_of(text));
                Err(("url", ConfigFault::NotAccepted { value, expected }))
            }
        },
    }
}

fn parsed(kind: DependencyKind, target: &DependencyTarget) -> Result<Target, TargetError> {
    let text = match target {
        DependencyTarget::Url(url) => url.whole(),
        DependencyTarget::Address(address) => address,
    };
    let target = Target::parse(kind, text)?;
    target.check_files().map(|()| target)
}

fn definition(
    table: DependencyTable,
    ready: Option<&ReadyMade>,
    kind: DependencyKind,
    target: &DependencyTarget,
) -> Definition {
    let criticality =
        table.criticality.or(ready.map(|ready| ready.criticality)).unwrap_or(Criticality::Optional);
    let address = match target {
        DependencyTarget::Url(url) => url.to_string(),
        DependencyTarget::Address(address) => address.clone(),
    };
    // Users notice the loss of the bus at once, so it is probed as often as what is critical.
    let is_bus = ready.is_some_and(|ready| ready.name == "bus");
    let interval = if is_bus { Criticality::Critical.interval() } else { criticality.interval() };
    let ready_lost =
        || ready.map_or(&[][..], |ready| ready.lost).iter().map(|item| Arc::from(*item)).collect();
    Definition {
        name: Arc::from(table.name),
        kind,
        address: Arc::from(address),
        criticality,
        gate: Gate::Handshake,
        ended_by: EndedBy::Probes,
        lost: table.lost.map_or_else(ready_lost, |items| items.into_iter().map(Arc::from).collect()),
        sentence: Arc::from(table.sentence.as_deref().unwrap_or(ready.map_or("", |ready| ready.sentence))),
        interval: table.interval.unwrap_or(interval),
        timeout: table.timeout.unwrap_or(criticality.timeout()),
        failures: table.failures.unwrap_or(2),
        successes: table.successes.unwrap_or(2),
    }
}

/// The table as a listing shows it: with every value, so that nothing depends on a default.
pub(super) fn lines(config: &DependencyConfig) -> Vec<(&'static str, String)> {
    let DependencyConfig { definition, target, parsed: _, expected, origin: _, url_origin: _ } = config;
    let list: Vec<String> = definition.lost.iter().map(|item| quoted(item)).collect();
    let mut lines = vec![("name", quoted(&definition.name)), ("kind", quoted(definition.kind.as_str()))];
    let has_setting = ready_made(&definition.name).is_some_and(|ready| ready.setting.is_some())
        || definition.gate == Gate::Judgement;
    match target {
        DependencyTarget::Url(_) if has_setting => {}
        DependencyTarget::Url(url) => lines.push(("url", quoted(&url.to_string()))),
        DependencyTarget::Address(address) => lines.push(("address", quoted(address))),
    }
    lines.extend([
        ("criticality", quoted(definition.criticality.as_str())),
        ("lost", format!("[{}]", list.join(", "))),
        ("sentence", quoted(&definition.sentence)),
        ("interval_ms", definition.interval.as_millis().to_string()),
        ("timeout_ms", definition.timeout.as_millis().to_string()),
        ("failures", definition.failures.to_string()),
        ("successes", definition.successes.to_string()),
    ]);
    lines.extend(expected.status.map(|status| ("status", status.to_string())));
    lines.extend(expected.field.as_ref().map(|(path, value)| ("field", quoted(&format!("{path}={value}")))));
    lines
}
