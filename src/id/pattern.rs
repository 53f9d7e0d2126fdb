//! Patterns of channel names: a name, or the beginning of one followed by `*`.
//!
//! Personal channels (`$user:…`) are matched only by patterns that begin with `$user:`. A token for `*` would otherwise read
//! the messages of every user.

use crate::id::{CHANNEL_BYTES_MAX, ChannelName, PERSONAL_PREFIX};

/// The bound on patterns in one list. Every publish and subscribe searches those of its token.
pub const PATTERNS_MAX: usize = 256;
/// The bound on the bytes of one pattern, including `*`. It equals that of a channel name, because a longer pattern
/// matches nothing.
pub const PATTERN_BYTES_MAX: usize = CHANNEL_BYTES_MAX;

/// The reason why a pattern is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternFault {
    /// It is longer than [`PATTERN_BYTES_MAX`].
    TooLong,
    /// It is neither a channel name, nor the beginning of one followed by `*`, nor `*`.
    Form,
}

/// A pattern of channel names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelPattern(PatternForm);

#[derive(Clone, Debug, PartialEq, Eq)]
enum PatternForm {
    Name(Box<str>),
    /// The text before the `*`; empty for `*` alone, which matches no personal channel.
    Prefix(Box<str>),
}

impl ChannelPattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<ChannelPattern, PatternFault> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(PatternFault::TooLong);
        }
        let (name, form) = match text.strip_suffix('*') {
            Some("") => return Ok(ChannelPattern(PatternForm::Prefix(Box::from("")))),
            Some(prefix) => (prefix, PatternForm::Prefix(Box::from(prefix))),
            None => (text, PatternForm::Name(Box::from(text))),
        };
        let is_all_personal = text.len() > name.len() && name == PERSONAL_PREFIX;
        if !is_all_personal {
            ChannelName::check(name).map_err(|_| PatternFault::Form)?;
        }
        Ok(ChannelPattern(form))
    }

    /// The pattern that matches one channel.
    pub fn of(channel: &ChannelName) -> ChannelPattern {
        ChannelPattern(PatternForm::Name(Box::from(channel.as_str())))
    }

    #[inline]
    pub fn matches(&self, channel: &ChannelName) -> bool {
        match &self.0 {
            PatternForm::Name(name) => **name == *channel.as_str(),
            PatternForm::Prefix(prefix) if prefix.is_empty() => !channel.is_personal(),
            PatternForm::Prefix(prefix) => channel.as_str().starts_with(&**prefix),
        }
    }

    /// The bytes of its text on the heap.
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            PatternForm::Name(text) | PatternForm::Prefix(text) => text.len(),
        }
    }
}
