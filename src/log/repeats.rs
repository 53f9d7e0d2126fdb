//! A bound on repeated lines of level WARN and ERROR.
//!
//! A client or a failing dependency can cause some of them as often as it likes. So the same line, with the same fields, is logged at
//! once and then counted: the next minute has one line with the count. One place in the code has at most [`LINES_MAX`] different
//! lines a minute; all further ones are counted together.
//!
//! Exempt are the [`audit`](super::audit), which counts by itself, and `gateway`, whose lines an operator causes.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata};

/// The target of the lines with counts.
const TARGET: &str = "repeats";
/// The period of one line.
const PERIOD: Duration = Duration::from_secs(60);
/// Different lines of one place in the code that are logged in a period.
const LINES_MAX: usize = 16;
/// The hash of all further lines of a place.
const OTHER: u64 = 0;

/// The decision about a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RepeatDecision {
    Logged,
    /// It is counted.
    Held,
}

/// The lines of the last minute. Times are since the start of the log.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    lines: HashMap<(Identifier, u64), Repeated>,
}

#[derive(Debug)]
struct Repeated {
    message: String,
    logged: Duration,
    count: u64,
}

impl Repeats {
    /// Returns whether lines of this kind are bounded.
    pub(super) fn apply_to(metadata: &Metadata<'_>) -> bool {
        let module = metadata.module_path().unwrap_or_default();
        *metadata.level() <= Level::WARN
            && metadata.target() != "audit"
            && metadata.target() != TARGET
            && !module.starts_with("seawall::gateway")
    }

    /// Decides about an event.
    pub(super) fn note(&mut self, event: &Event<'_>, now: Duration) -> RepeatDecision {
        let mut fields = LineFields { hash: DefaultHasher::new(), message: String::new() };
        event.record(&mut fields);
        self.note_line(event.metadata().callsite(), fields.hash.finish(), fields.message, now)
    }

    fn note_line(&mut self, place: Identifier, hash: u64, message: String, now: Duration) -> RepeatDecision {
        let of_place = self.lines.keys().filter(|(other, _)| *other == place).count();
        let is_new = !self.lines.contains_key(&(place.clone(), hash));
        let key = (place, if is_new && of_place >= LINES_MAX { OTHER } else { hash });
        match self.lines.get_mut(&key) {
            Some(repeated) => {
                repeated.count += 1;
                RepeatDecision::Held
            }
            None => {
                self.lines.insert(key, Repeated { message, logged: now, count: 0 });
                RepeatDecision::Logged
            }
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.lines.is_empty()
    }

    /// The messages whose minute is over, with their counts. One that was not repeated is forgotten.
    pub(super) fn due(&mut self, now: Duration) -> Vec<(String, u64)> {
        let mut due = Vec::new();
        self.lines.retain(|_, repeated| {
            if repeated.logged + PERIOD > now {
                return true;
            }
            let count = std::mem::take(&mut repeated.count);
            repeated.logged = now;
            if count > 0 {
                due.push((repeated.message.clone(), count));
            }
            count > 0
        });
        due
    }
}

/// Logs how often a line was repeated.
pub(super) fn log(message: &str, count: u64) {
    tracing::warn!(target: TARGET, line = message, count, "log line repeated");
}

/// The message of an event, and a hash of all its fields.
struct LineFields {
    hash: DefaultHasher,
    message: String,
}

impl Visit for LineFields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        (field.name(), &text).hash(&mut self.hash);
        if field.name() == "message" {
            self.message = text;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Identifier {
        struct Place(#[allow(dead_code, reason = "gives it an address")] u8);
        static PLACE: Place = Place(1);
        impl tracing::Callsite for Place {
            fn set_interest(&self, _: tracing::subscriber::Interest) {}
            fn metadata(&self) -> &Metadata<'_> {
                unreachable!("only its identity is used")
            }
        }
        Identifier(&PLACE)
    }

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn repeated_line_is_logged_once_and_then_counted_each_minute() {
        let mut repeats = Repeats::default();
        assert_eq!(repeats.note_line(place(), 7, "append failed".into(), s(0)), RepeatDecision::Logged);
        for _ in 0..999 {
            assert_eq!(repeats.note_line(place(), 7, "append failed".into(), s(1)), RepeatDecision::Held);
        }
        assert_eq!(
            repeats.note_line(place(), 8, "append failed".into(), s(1)),
            RepeatDecision::Logged,
            "other fields"
        );
        assert!(repeats.due(s(59)).is_empty());
        assert_eq!(repeats.due(s(61)), [("append failed".to_owned(), 999)]);
        assert!(repeats.due(s(200)).is_empty() && repeats.is_idle(), "a quiet line is forgotten");
    }

    #[test]
    fn lines_over_the_bound_of_a_place_share_one_count() {
        let mut repeats = Repeats::default();
        let mut note = |hash| repeats.note_line(place(), hash, String::new(), s(0));
        let logged = (1..=10_000).filter(|hash| note(*hash) == RepeatDecision::Logged).count();
        assert_eq!(logged, LINES_MAX + 1);
        assert_eq!(repeats.lines.len(), LINES_MAX + 1);
    }
}
