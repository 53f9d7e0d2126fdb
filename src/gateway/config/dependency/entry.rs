//! One `[[dependency]]` table: each value of the right type and in its bounds.

use super::super::Draft;
use super::super::error::Fault;
use super::super::file::{self, Lines};
use super::super::nearest::nearest;
use super::super::parse::{self, Raw};
use super::super::place::one_of;
use super::super::source::Origin;
use super::{FIELDS, repeated};
use crate::health::definition::{Criticality, Kind};
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::de::DeTable;

/// A name stands in every refusal, beside the reference, within the 123 bytes of a close reason.
const NAME_BYTES_MAX: usize = 32;
/// Names of capabilities one dependency may list, and the bytes of its sentence: both go to every client.
const LOST_MAX: usize = 8;
const SENTENCE_BYTES_MAX: usize = 200;
const TEXT_BYTES_MAX: usize = 100;

pub(super) const ADDRESS: &str = "a host with a port, like \"mail.example.com:25\"";
const NAME: &str = "1 to 32 letters, digits, dots, dashes and underscores";
const LOST: &str = "a list of up to 8 names of 1 to 32 letters, digits, dots, dashes and underscores";
const SENTENCE: &str = "text of up to 200 bytes on one line";
const FIELD: &str = "a path and a text like \"checks.db=ok\", up to 100 bytes";

/// What a table says, and only that. It has no `Debug`, since its URL may hold a password.
#[derive(Clone)]
pub struct Entry {
    pub origin: Origin,
    pub name: String,
    pub kind: Option<Kind>,
    pub url: Option<String>,
    pub address: Option<String>,
    pub criticality: Option<Criticality>,
    pub lost: Option<Vec<String>>,
    pub sentence: Option<String>,
    pub interval: Option<Duration>,
    pub timeout: Option<Duration>,
    pub failures: Option<u8>,
    pub successes: Option<u8>,
    pub status: Option<u16>,
    pub field: Option<(String, String)>,
}

impl Entry {
    /// One that says nothing but its name.
    pub(super) fn named(name: &str, origin: Origin) -> Entry {
        Entry {
            origin,
            name: name.to_owned(),
            kind: None,
            url: None,
            address: None,
            criticality: None,
            lost: None,
            sentence: None,
            interval: None,
            timeout: None,
            failures: None,
            successes: None,
            status: None,
            field: None,
        }
    }
}

/// `"postgres" or "redis" …`
pub(super) fn kinds() -> String {
    one_of(&Kind::ALL.map(Kind::as_str))
}

/// Reads one table. One with an error is left out, and the error told.
pub(in super::super) fn read(draft: &mut Draft, table: &DeTable<'_>, lines: &Lines<'_>, start: usize) {
    let mut reading = Reading { draft, table, lines, problems: 0 };
    let origin = lines.origin(start);
    let Some(name) = reading.take("name", NAME, |raw| dependency_name(raw.text()?)) else {
        if !table.contains_key("name") {
            reading.report(origin, "name", Fault::Missing { expected: NAME.into() });
        }
        return reading.unknown_fields();
    };
    let criticalities = [Criticality::Critical, Criticality::Optional];
    let entry = Entry {
        kind: reading.take("kind", &kinds(), |raw| word(raw, Kind::ALL, Kind::as_str)),
        url: reading.take("url", "text, not empty", |raw| plain_text(raw.text()?, 2_048)),
        address: reading.take("address", ADDRESS, |raw| address(raw.text()?)),
        criticality: reading.take("criticality", &one_of(&criticalities.map(Criticality::as_str)), |raw| {
            word(raw, criticalities, Criticality::as_str)
        }),
        lost: reading.take("lost", LOST, lost),
        sentence: reading.take("sentence", SENTENCE, |raw| plain_text(raw.text()?, SENTENCE_BYTES_MAX)),
        interval: reading.number("interval_ms", 100..=3_600_000).map(Duration::from_millis),
        timeout: reading.number("timeout_ms", 50..=30_000).map(Duration::from_millis),
        failures: reading.number("failures", 1..=10).and_then(|count| u8::try_from(count).ok()),
        successes: reading.number("successes", 1..=10).and_then(|count| u8::try_from(count).ok()),
        status: reading.number("status", 100..=599).and_then(|status| u16::try_from(status).ok()),
        field: reading.take("field", FIELD, |raw| field(raw.text()?)),
        ..Entry::named(&name, origin)
    };
    reading.unknown_fields();
    if reading.problems == 0 {
        reading.draft.entries.push(entry);
    }
}

/// One table while it is read.
struct Reading<'a> {
    draft: &'a mut Draft,
    table: &'a DeTable<'a>,
    lines: &'a Lines<'a>,
    problems: usize,
}

impl Reading<'_> {
    fn report(&mut self, origin: Origin, field: &str, fault: Fault) {
        self.problems += 1;
        self.draft.report(origin, format!("dependency.{field}"), fault);
    }

    /// A field, if it is there and `read` takes it.
    fn take<T>(
        &mut self,
        field: &'static str,
        expected: &str,
        read: impl Fn(&Raw) -> Option<T>,
    ) -> Option<T> {
        let value = self.table.get(field)?;
        let raw = file::raw(value.get_ref());
        let taken = read(&raw);
        if taken.is_none() {
            let fault = Fault::NotAccepted { value: repeated(field, &raw), expected: expected.to_owned() };
            self.report(self.lines.origin(value.span().start), field, fault);
        }
        taken
    }

    fn number(&mut self, field: &'static str, bounds: RangeInclusive<u64>) -> Option<u64> {
        let expected = format!("{} to {}", bounds.start(), bounds.end());
        self.take(field, &expected, |raw| {
            u64::try_from(raw.integer()?).ok().filter(|value| bounds.contains(value))
        })
    }

    fn unknown_fields(&mut self) {
        for (name, _) in self.table {
            let text: &str = name.get_ref();
            if FIELDS.iter().all(|(field, _)| *field != text) {
                let nearest = nearest(text, FIELDS.iter().map(|(field, _)| *field)).map(str::to_owned);
                let origin = self.lines.origin(name.span().start);
                self.report(origin, text, Fault::Unknown { nearest });
            }
        }
    }
}

fn word<T: Copy, const N: usize>(raw: &Raw, all: [T; N], name: fn(T) -> &'static str) -> Option<T> {
    let text = raw.text()?;
    all.into_iter().find(|candidate| name(*candidate) == text)
}

fn dependency_name(text: &str) -> Option<String> {
    parse::name(text).filter(|name| name.len() <= NAME_BYTES_MAX)
}

fn plain_text(text: &str, bytes_max: usize) -> Option<String> {
    let fits = (1..=bytes_max).contains(&text.len()) && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

fn lost(raw: &Raw) -> Option<Vec<String>> {
    let items = raw.items()?;
    let names = || items.iter().map(|item| dependency_name(item)).collect();
    if items.len() <= LOST_MAX { names() } else { None }
}

fn address(text: &str) -> Option<String> {
    let authority: http::uri::Authority = text.parse().ok()?;
    let whole = authority.port_u16().is_some_and(|port| port > 0) && !text.contains('@');
    (whole && !authority.host().is_empty()).then(|| text.to_owned())
}

fn field(text: &str) -> Option<(String, String)> {
    let (path, value) =
        plain_text(text, TEXT_BYTES_MAX)?.split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned()))?;
    let parts = path.split('.').all(|part| parse::name(part).is_some());
    parts.then_some((path, value))
}
