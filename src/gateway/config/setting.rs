//! One setting: its names, its accepted values, and how it reads, shows and compares its field of [`Config`].

use super::error::ConfigFault;
use super::raw::{RawValue, shortened};
use super::sections::Config;
use super::url::Url;
use super::value::{
    Accepts::{self, Bearer, Secret, SharedSecret},
    ShownValue,
};

/// A row of the [table](super::table).
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Section and key: `limits.frame_bytes`.
    pub name: &'static str,
    pub section: &'static str,
    pub key: &'static str,
    /// The flag that also sets it, with its dashes.
    pub flag: Option<&'static str>,
    /// As in a file, `none` if it is not set by default.
    pub default: &'static str,
    pub(super) accepts: Accepts,
    pub applies: Applies,
    /// The effect, in a line or two of Markdown.
    pub help: &'static str,
    pub(super) write: fn(&mut Config, &RawValue, Accepts) -> Option<()>,
    pub(super) show: fn(&Config, Accepts) -> ShownValue,
    /// True exactly when both have the same value; secrets are compared, too.
    pub(super) same: fn(&Config, &Config) -> bool,
    /// Gives the second configuration the value of the first.
    pub(super) copy: fn(&Config, &mut Config),
}

/// When a change of a setting takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applies {
    /// At the next reload (SIGHUP).
    Reload,
    /// At the next start.
    Restart,
}

impl Setting {
    /// `SEAWALL_LIMITS_FRAME_BYTES` for `limits.frame_bytes`.
    pub fn variable(&self) -> String {
        format!("SEAWALL_{}_{}", self.section, self.key).to_ascii_uppercase()
    }

    /// True exactly when the value is a secret or may contain one, so that a file may hold it.
    pub fn holds_secret(&self) -> bool {
        matches!(self.accepts, SharedSecret | Bearer | Secret | Accepts::Url(_))
    }

    /// The accepted values, to be read after "must be".
    pub fn expected(&self) -> String {
        self.accepts.expected()
    }

    /// Writes a value. If it is not accepted, the old value stays.
    pub(super) fn write(&self, config: &mut Config, raw: &RawValue) -> Result<(), ConfigFault> {
        (self.write)(config, raw, self.accepts).ok_or_else(|| {
            // A list of one element names it by itself.
            let items = raw.items().filter(|items| items.len() > 1);
            let wrong = items.and_then(|items| self.accepts.first_wrong(&items));
            match wrong {
                Some((place, value)) => {
                    ConfigFault::Element { place, value: shortened(&value), expected: self.expected() }
                }
                None => {
                    ConfigFault::NotAccepted { value: self.repeated(raw), expected: self.expected_of(raw) }
                }
            }
        })
    }

    pub(super) fn show(&self, config: &Config) -> ShownValue {
        (self.show)(config, self.accepts)
    }

    /// A rejected value as an error repeats it: without secrets.
    fn repeated(&self, raw: &RawValue) -> String {
        match raw.text() {
            _ if matches!(self.accepts, SharedSecret | Bearer | Secret) => raw.hidden(),
            Some(text) if matches!(self.accepts, Accepts::Url(_)) => Url::hint(text),
            Some(_) | None => raw.shown(),
        }
    }

    /// [`Setting::expected`], with the type if the type is wrong.
    fn expected_of(&self, raw: &RawValue) -> String {
        if let (Accepts::Url(kind), Some(text)) = (self.accepts, raw.text()) {
            kind.expected_instead_of(text)
        } else if matches!(self.accepts, Accepts::Number { .. }) && raw.integer().is_none() {
            format!("a whole number: {}", self.expected())
        } else {
            self.expected()
        }
    }
}
