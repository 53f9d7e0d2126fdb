//! The TOML file: every value with the line it stands on.

use super::error::Fault;
use super::nearest::nearest;
use super::parse::Raw;
use super::source::{self, FileSource, Origin};
use super::table::{self, SECTIONS};
use super::{Draft, dependency, key};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A configuration of every setting is under 10 KiB; a larger file is the wrong file.
const FILE_BYTES_MAX: usize = 1 << 20;

/// Reads the file, if there is one to read.
pub(super) fn read(draft: &mut Draft, file: &FileSource) {
    let (FileSource::Named(path) | FileSource::IfPresent(path)) = file;
    let text = match (source::read_text(path, FILE_BYTES_MAX), file) {
        (Ok(text), _) => text,
        (Err(error), FileSource::IfPresent(_)) if error.kind() == io::ErrorKind::NotFound => return,
        (Err(error), _) => {
            let origin = Origin::File { path: Arc::from(path.as_path()), line: 0 };
            return draft.report(origin, "", Fault::Unreadable { path: path.clone(), error });
        }
    };
    take(draft, path, &text);
}

/// Reads the text of a file that stands at `path`.
pub(super) fn take(draft: &mut Draft, path: &Path, text: &str) {
    draft.config.origins.note_file(path);
    let lines = Lines::new(path, text);
    parse(draft, &lines);
    // The parser's tables are in the order of the alphabet; a reader goes down the file.
    draft.problems.sort_by_key(|problem| match problem.origin {
        Origin::File { line, .. } => line,
        Origin::Default | Origin::Variable(_) | Origin::Flag(_) => 0,
    });
}

fn parse(draft: &mut Draft, lines: &Lines<'_>) {
    let (document, errors) = DeTable::parse_recoverable(lines.text);
    let mut lines_told = BTreeSet::new();
    for error in &errors {
        let start = error.span().map_or(0, |span| span.start);
        // The second error of a line is mostly the parser finding its way back from the first.
        let origin = lines.origin(start);
        if lines_told.insert(origin.to_string()) {
            let fault = Fault::Syntax { message: error.message().to_owned(), column: lines.column(start) };
            draft.report(origin, "", fault);
        }
    }
    // What a parser makes of a broken file is not what was meant: no further errors of it.
    if errors.is_empty() {
        document.get_ref().iter().for_each(|(name, value)| section(draft, lines, name, value));
    }
}

/// Turns positions in a file into lines.
pub(super) struct Lines<'a> {
    path: Arc<Path>,
    text: &'a str,
}

impl<'a> Lines<'a> {
    fn new(path: &Path, text: &'a str) -> Lines<'a> {
        Lines { path: Arc::from(path), text }
    }

    fn before(&self, position: usize) -> &'a str {
        self.text.get(..position).unwrap_or(self.text)
    }

    pub(super) fn origin(&self, position: usize) -> Origin {
        let line = 1 + self.before(position).matches('\n').count();
        Origin::File { path: Arc::clone(&self.path), line }
    }

    fn column(&self, position: usize) -> usize {
        1 + self.before(position).chars().rev().take_while(|letter| *letter != '\n').count()
    }
}

fn section(
    draft: &mut Draft,
    lines: &Lines<'_>,
    name: &Spanned<toml::de::DeString<'_>>,
    value: &Spanned<DeValue<'_>>,
) {
    let section: &str = name.get_ref();
    let origin = lines.origin(name.span().start);
    if section == "dependency" {
        return tables(draft, lines, value, (origin, "dependency"), dependency::read);
    }
    if SECTIONS.iter().all(|(known, _)| *known != section) {
        return draft.report(
            origin,
            section,
            Fault::Unknown { nearest: nearest_section(section, value.get_ref()) },
        );
    }
    let Some(table) = value.get_ref().as_table() else {
        return draft.report(origin, section, Fault::NotASection);
    };
    for (key, value) in table {
        let origin = lines.origin(key.span().start);
        let name = format!("{section}.{}", key.get_ref());
        match table::by_name(&name) {
            Some(setting) => draft.take(setting, &raw(value.get_ref()), origin),
            None if name == "auth.keys" => tables(draft, lines, value, (origin, "auth.keys"), key::read),
            None => {
                let nearest = nearest_key(&name, section);
                draft.report(origin, name, Fault::Unknown { nearest });
            }
        }
    }
}

/// Reads a list of tables, each with `read`.
fn tables(
    draft: &mut Draft,
    lines: &Lines<'_>,
    value: &Spanned<DeValue<'_>>,
    (origin, name): (Origin, &'static str),
    read: fn(&mut Draft, &DeTable<'_>, &Lines<'_>, usize),
) {
    let not_tables = |draft: &mut Draft, value: &DeValue<'_>| {
        let expected = format!("a list of tables: write [[{name}]]");
        draft.refused.insert(name);
        draft.report(origin.clone(), name, Fault::NotAccepted { value: raw(value).hidden(), expected });
    };
    let Some(entries) = value.get_ref().as_array() else { return not_tables(draft, value.get_ref()) };
    for entry in entries.iter() {
        match entry.get_ref().as_table() {
            Some(table) => read(draft, table, lines, entry.span().start),
            None => not_tables(draft, entry.get_ref()),
        }
    }
}

/// A section of a similar name, or for a key outside any section the section it belongs in.
fn nearest_section(name: &str, value: &DeValue<'_>) -> Option<String> {
    if value.is_table() {
        return nearest(name, SECTIONS.iter().map(|(section, _)| *section)).map(|found| format!("[{found}]"));
    }
    if value.is_array() {
        return nearest(name, std::iter::once("dependency")).map(|found| format!("[[{found}]]"));
    }
    table::all().find(|setting| setting.key() == name).map(|setting| setting.name.to_owned())
}

/// The closest key of the same section, else the same key of another section.
fn nearest_key(name: &str, section: &str) -> Option<String> {
    let key = name.split_once('.').map_or(name, |(_, key)| key);
    let keys =
        table::of_section(section).map(|setting| setting.key()).chain((section == "auth").then_some("keys"));
    nearest(key, keys)
        .map(|found| format!("{section}.{found}"))
        .or_else(|| table::all().find(|setting| setting.key() == key).map(|setting| setting.name.to_owned()))
}

/// A TOML value as the settings take it.
pub(super) fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::Integer(integer) => i128::from_str_radix(integer.as_str(), integer.radix())
            .map_or(Raw::Other("number of that size"), Raw::Integer),
        DeValue::Boolean(value) => Raw::Switch(*value),
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Array(items) => Raw::List(items.iter().map(|item| raw(item.get_ref())).collect()),
        DeValue::Float(_) => Raw::Other("number with a fraction"),
        DeValue::Datetime(_) => Raw::Other("date"),
        DeValue::Table(_) => Raw::Other("table"),
    }
}
