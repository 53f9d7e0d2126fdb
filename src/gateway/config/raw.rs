//! Values as a source gives them, and tables that are read field by field.
//!
//! A file has typed values. A variable or a flag has only text, which is read as the type of its setting.

use super::error::{ConfigFault, ProblemList};
use super::origin::ValueOrigin;
use super::url::Url;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use toml::de::{DeTable, DeValue};

/// Characters of a value that an error repeats.
const SHOWN_CHARS_MAX: usize = 60;

/// A value as a source gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RawValue {
    /// A TOML integer.
    Integer(i128),
    /// A TOML boolean.
    Switch(bool),
    /// A TOML string.
    Text(String),
    /// A TOML array.
    List(Vec<RawValue>),
    /// Any other TOML value, by the name of its type.
    Other(&'static str),
    /// The text of a variable or flag.
    Plain(String),
}

impl RawValue {
    /// The value as an error repeats it: TOML, shortened.
    pub(super) fn shown(&self) -> String {
        match self {
            RawValue::Integer(value) => value.to_string(),
            RawValue::Switch(value) => value.to_string(),
            RawValue::Plain(text) if self.integer().is_some() => text.trim().to_owned(),
            RawValue::Text(text) | RawValue::Plain(text) => shortened(&quoted(text)),
            RawValue::List(items) => shortened(&list(items.iter().map(RawValue::shown))),
            RawValue::Other(kind) => format!("({kind})"),
        }
    }

    /// The placeholder that an error prints for a secret.
    pub(super) fn hidden(&self) -> String {
        match self.text() {
            Some(text) => format!("({} bytes, hidden)", text.len()),
            None => "(hidden)".into(),
        }
    }

    pub(super) fn integer(&self) -> Option<i128> {
        match self {
            RawValue::Integer(value) => Some(*value),
            RawValue::Plain(text) => text.trim().replace('_', "").parse().ok(),
            RawValue::Switch(_) | RawValue::Text(_) | RawValue::List(_) | RawValue::Other(_) => None,
        }
    }

    pub(super) fn switch(&self) -> Option<bool> {
        match self {
            RawValue::Switch(value) => Some(*value),
            RawValue::Plain(text) => text.trim().parse().ok(),
            RawValue::Integer(_) | RawValue::Text(_) | RawValue::List(_) | RawValue::Other(_) => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            RawValue::Text(text) | RawValue::Plain(text) => Some(text),
            RawValue::Integer(_) | RawValue::Switch(_) | RawValue::List(_) | RawValue::Other(_) => None,
        }
    }

    /// The items of a list; plain text is split at its commas.
    pub(super) fn items(&self) -> Option<Vec<&str>> {
        match self {
            RawValue::List(items) => items.iter().map(RawValue::text).collect(),
            RawValue::Plain(text) => {
                Some(text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect())
            }
            RawValue::Integer(_) | RawValue::Switch(_) | RawValue::Text(_) | RawValue::Other(_) => None,
        }
    }
}

pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A TOML basic string on one line. JSON's escapes are TOML's, except that TOML also escapes DEL.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

pub(super) fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// `"text" or "json"`.
pub(super) fn one_of(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ")
}

/// The candidate closest to `name`, if it is close enough to suggest: two letters may be wrong, or a third of them.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (name.len() / 3).max(2);
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Turns positions in a file into lines.
pub(super) struct Lines<'a> {
    path: Arc<Path>,
    pub(super) text: &'a str,
}

impl<'a> Lines<'a> {
    pub(super) fn new(path: &Path, text: &'a str) -> Lines<'a> {
        Lines { path: Arc::from(path), text }
    }

    fn before(&self, position: usize) -> &'a str {
        self.text.get(..position).unwrap_or(self.text)
    }

    pub(super) fn origin(&self, position: usize) -> ValueOrigin {
        let line = 1 + self.before(position).matches('\n').count();
        ValueOrigin::File { path: Arc::clone(&self.path), line }
    }

    pub(super) fn column(&self, position: usize) -> usize {
        1 + self.before(position).chars().rev().take_while(|letter| *letter != '\n').count()
    }
}

pub(super) fn raw(value: &DeValue<'_>) -> RawValue {
    match value {
        DeValue::Integer(integer) => i128::from_str_radix(integer.as_str(), integer.radix())
            .map_or(RawValue::Other("number of that size"), RawValue::Integer),
        DeValue::Boolean(value) => RawValue::Switch(*value),
        DeValue::String(text) => RawValue::Text(text.to_string()),
        DeValue::Array(items) => RawValue::List(items.iter().map(|item| raw(item.get_ref())).collect()),
        DeValue::Float(_) => RawValue::Other("number with a fraction"),
        DeValue::Datetime(_) => RawValue::Other("date"),
        DeValue::Table(_) => RawValue::Other("table"),
    }
}

/// Reads one table of a list (`[[auth.keys]]`, `[[dependency]]`) and reports its mistakes.
pub(super) struct TableReader<'a> {
    pub(super) report: &'a mut ProblemList,
    pub(super) table: &'a DeTable<'a>,
    pub(super) lines: &'a Lines<'a>,
    /// The name of the list.
    pub(super) list: &'static str,
    /// The line of the table itself.
    pub(super) origin: ValueOrigin,
    /// Mistakes reported so far.
    pub(super) problems: usize,
}

impl TableReader<'_> {
    /// Reports a fault of a field, or of the table as a whole if `field` is empty.
    pub(super) fn fault(&mut self, origin: ValueOrigin, field: &str, fault: ConfigFault) {
        self.problems += 1;
        self.report.refuse(self.list);
        let key = if field.is_empty() { self.list.to_owned() } else { format!("{}.{field}", self.list) };
        self.report.add(origin, key, fault);
    }

    pub(super) fn has(&self, field: &str) -> bool {
        self.table.contains_key(field)
    }

    /// The line of a field; the table's own if it does not have the field.
    pub(super) fn origin_of(&self, field: &str) -> ValueOrigin {
        self.table
            .get(field)
            .map_or_else(|| self.origin.clone(), |value| self.lines.origin(value.span().start))
    }

    /// Reads a field that the table must have.
    pub(super) fn required<T>(
        &mut self,
        field: &'static str,
        expected: &str,
        read: impl Fn(&RawValue) -> Option<T>,
    ) -> Option<T> {
        if self.has(field) {
            return self.take(field, expected, read);
        }
        self.fault(self.origin.clone(), field, ConfigFault::Missing { expected: expected.into() });
        None
    }

    /// Takes a field, if the table has it and `read` accepts its value.
    pub(super) fn take<T>(
        &mut self,
        field: &'static str,
        expected: &str,
        read: impl Fn(&RawValue) -> Option<T>,
    ) -> Option<T> {
        let raw = raw(self.table.get(field)?.get_ref());
        let taken = read(&raw);
        if taken.is_none() {
            let fault =
                ConfigFault::NotAccepted { value: repeated(field, &raw), expected: expected.to_owned() };
            self.fault(self.origin_of(field), field, fault);
        }
        taken
    }

    pub(super) fn text(&mut self, field: &'static str) -> Option<String> {
        self.take(field, "text, not empty", |raw| {
            raw.text().filter(|text| !text.is_empty()).map(str::to_owned)
        })
    }

    pub(super) fn number<T: TryFrom<u64>>(
        &mut self,
        field: &'static str,
        bounds: RangeInclusive<u64>,
    ) -> Option<T> {
        let expected = format!("{} to {}", bounds.start(), bounds.end());
        self.take(field, &expected, |raw| {
            let value = u64::try_from(raw.integer()?).ok().filter(|value| bounds.contains(value))?;
            T::try_from(value).ok()
        })
    }

    /// Reports every field that `known` does not list.
    pub(super) fn unknown_fields(&mut self, known: &[(&'static str, &str)]) {
        for (name, _) in self.table {
            let text: &str = name.get_ref();
            if known.iter().all(|(field, _)| *field != text) {
                let nearest = nearest(text, known.iter().map(|(field, _)| *field)).map(str::to_owned);
                self.fault(self.lines.origin(name.span().start), text, ConfigFault::Unknown { nearest });
            }
        }
    }
}

/// A rejected value as an error repeats it: without secrets.
fn repeated(field: &str, raw: &RawValue) -> String {
    match (field, raw.text()) {
        ("url", Some(text)) => Url::hint(text),
        ("url" | "secret" | "secrets", _) => raw.hidden(),
        _ => raw.shown(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_value_is_shortened_between_characters() {
        let shown = RawValue::Text("é".repeat(100)).shown();
        assert_eq!(shown.chars().filter(|letter| *letter == 'é').count(), SHOWN_CHARS_MAX - 1);
    }

    #[test]
    fn misspelled_word_finds_the_word_and_an_unrelated_one_finds_none() {
        let words = ["listen", "reactors", "echo"];
        assert_eq!(nearest("lisen", words.into_iter()), Some("listen"));
        assert_eq!(nearest("reactor", words.into_iter()), Some("reactors"));
        assert_eq!(nearest("telemetry", words.into_iter()), None);
    }
}
