//! One group: the counts of an error, and its first and newest sample.

use super::fingerprint::Fingerprint;
use super::hours::HourlyCounts;
use super::reporter::Reporter;
use super::scrub::without_tokens;
use crate::wire::command::{ErrorLevel, ReportedError};
use std::borrow::Cow;

/// The memory of a group, its allocations included.
pub const GROUP_BYTES_MAX: usize = 16 << 10;
/// People that are counted exactly; more are "64 or more".
pub const USERS_MAX: usize = 64;
/// Releases that a group names.
pub const RELEASES_MAX: usize = 8;
const RELEASE_BYTES: usize = 40;
const NAME_BYTES: usize = 60;
const MESSAGE_BYTES: usize = 500;
const STACK_BYTES: usize = 4_000;
const COMPONENT_BYTES: usize = 1_800;
const CONTEXT_ENTRIES: usize = 8;
const KEY_BYTES: usize = 24;
const VALUE_BYTES: usize = 96;

const SAMPLE_BYTES: usize = MESSAGE_BYTES
    + STACK_BYTES
    + COMPONENT_BYTES
    + CONTEXT_ENTRIES * (KEY_BYTES + VALUE_BYTES + size_of::<(Box<str>, Box<str>)>());
const _: () = assert!(
    size_of::<ErrorGroup>()
        + NAME_BYTES
        + 2 * SAMPLE_BYTES
        + USERS_MAX * size_of::<u32>()
        + RELEASES_MAX * (RELEASE_BYTES + size_of::<Box<str>>())
        <= GROUP_BYTES_MAX
);

/// The texts of one error, cut to their bounds and without tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorSample {
    pub message: Box<str>,
    pub stack: Box<str>,
    /// The components around it.
    pub component: Box<str>,
    /// The application's and the library's knowledge about the situation.
    pub context: Box<[(Box<str>, Box<str>)]>,
}

impl ErrorSample {
    fn of(error: &ReportedError<'_>) -> ErrorSample {
        let entry =
            |(key, value): &(Cow<'_, str>, Cow<'_, str>)| (cut(key, KEY_BYTES), cut(value, VALUE_BYTES));
        ErrorSample {
            message: cut(&error.message, MESSAGE_BYTES),
            stack: cut(&error.stack, STACK_BYTES),
            component: cut(&error.component, COMPONENT_BYTES),
            context: error.context.iter().take(CONTEXT_ENTRIES).map(entry).collect(),
        }
    }

    /// The value of a key of the context.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.context.iter().find(|(name, _)| **name == *key).map(|(_, value)| &**value)
    }
}

/// The choice whether a group is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mute {
    #[default]
    Off,
    /// It is counted and not logged until this time, in Unix milliseconds.
    Until(u64),
}

/// The errors with one fingerprint.
#[derive(Clone, Debug)]
pub struct ErrorGroup {
    pub fingerprint: Fingerprint,
    pub name: Box<str>,
    pub first: ErrorSample,
    pub newest: ErrorSample,
    pub count: u64,
    /// Digests of people, at most [`USERS_MAX`].
    people: Vec<u32>,
    /// True exactly if there were more.
    has_more_people: bool,
    levels: [bool; ErrorLevel::ALL.len()],
    /// The applications' names and versions, oldest first.
    pub releases: Vec<Box<str>>,
    pub hours: HourlyCounts,
    /// The times of its first and last report here, in Unix milliseconds.
    pub since_unix_ms: u64,
    pub seen_unix_ms: u64,
    pub mute: Mute,
    /// The party that reported it, as long as no other one did.
    pub(super) holder: Option<u64>,
}

impl ErrorGroup {
    pub(super) fn new(
        fingerprint: Fingerprint,
        error: &ReportedError<'_>,
        reporter: Reporter,
        unix_ms: u64,
    ) -> ErrorGroup {
        let sample = ErrorSample::of(error);
        ErrorGroup {
            fingerprint,
            name: cut(&error.name, NAME_BYTES),
            first: sample.clone(),
            newest: sample,
            count: 0,
            people: Vec::new(),
            has_more_people: false,
            levels: Default::default(),
            releases: Vec::new(),
            hours: HourlyCounts::default(),
            since_unix_ms: unix_ms,
            seen_unix_ms: unix_ms,
            mute: Mute::Off,
            holder: Some(reporter.party),
        }
    }

    /// Counts errors of a reporter whose client is named `client`. Returns the count of before.
    pub(super) fn add(
        &mut self,
        error: &ReportedError<'_>,
        reporter: Reporter,
        client: &str,
        unix_ms: u64,
    ) -> u64 {
        self.holder = self.holder.filter(|party| *party == reporter.party);
        let before = self.count;
        self.count = before.saturating_add(error.count.into());
        self.hours.add(unix_ms, error.count);
        self.seen_unix_ms = self.seen_unix_ms.max(unix_ms);
        if let Some(level) = self.levels.get_mut(error.level as usize) {
            *level = true;
        }
        if let Err(place) = self.people.binary_search(&reporter.person) {
            match self.people.len() < USERS_MAX {
                true => self.people.insert(place, reporter.person),
                false => self.has_more_people = true,
            }
        }
        if before > 0 {
            self.newest = ErrorSample::of(error);
        }
        let release = cut(self.newest.value("release").unwrap_or(client), RELEASE_BYTES);
        if !release.is_empty() && !self.releases.contains(&release) {
            if self.releases.len() == RELEASES_MAX {
                self.releases.remove(0);
            }
            self.releases.push(release);
        }
        before
    }

    /// The number of people, and whether there were more than are counted.
    pub fn users(&self) -> (usize, bool) {
        (self.people.len(), self.has_more_people)
    }

    /// How much of the application the error took.
    pub fn levels(&self) -> impl Iterator<Item = ErrorLevel> {
        ErrorLevel::ALL.into_iter().zip(self.levels).filter(|(_, reached)| *reached).map(|(level, _)| level)
    }

    pub fn is_muted(&self, unix_ms: u64) -> bool {
        match self.mute {
            Mute::Off => false,
            Mute::Until(end) => unix_ms < end,
        }
    }

    /// The memory that it takes, for tests of the bound.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let sample = |sample: &ErrorSample| {
            let entry = |(key, value): &(Box<str>, Box<str>)| key.len() + value.len() + 32;
            let texts = sample.message.len() + sample.stack.len() + sample.component.len();
            texts + sample.context.iter().map(entry).sum::<usize>()
        };
        let releases: usize = self.releases.iter().map(|release| release.len() + 16).sum();
        let people = self.people.len() * 4;
        size_of::<ErrorGroup>()
            + self.name.len()
            + sample(&self.first)
            + sample(&self.newest)
            + people
            + releases
    }
}

/// The text without tokens, and at most `most` bytes of it.
fn cut(text: &str, most: usize) -> Box<str> {
    let clean = without_tokens(text);
    clean.get(..clean.floor_char_boundary(most)).unwrap_or_default().into()
}
