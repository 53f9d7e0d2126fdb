//! The arguments of a command: the values of the fields that it reads, and their types.
//!
//! A complaint names the field as a path (`publish.channel`), the received value and the required one.

use super::rejected::CommandFault;
use crate::id::{
    CHANNEL_BYTES_MAX, ChannelName, INTEGER_MAX, KEY_BYTES_MAX, Key, NameFault, USER_BYTES_MAX, UserName,
};
use crate::wire::scan::{Broken, IntegerFault, JsonKind, Raw, Scanner};
use std::borrow::Cow;
use std::fmt;

/// The largest number of names that any object reads.
const NAMES_MAX: usize = 6;

/// A fault of a frame, before its `id` is known.
#[derive(Debug, PartialEq, Eq)]
pub struct Complaint {
    pub fault: CommandFault,
    /// A sentence for the client.
    pub message: String,
}

impl Complaint {
    pub fn malformed(message: String) -> Complaint {
        Complaint { fault: CommandFault::Malformed, message }
    }

    pub fn too_large(message: String) -> Complaint {
        Complaint { fault: CommandFault::TooLarge, message }
    }
}

/// The path of a field, for messages.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// The object: `publish`, `connect.recover`.
    pub within: &'static str,
    pub name: &'static str,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.within, self.name)
    }
}

/// The values of one object under the names that are read. Other members were skipped.
#[derive(Debug)]
pub struct Arguments<'a> {
    within: &'static str,
    names: &'static [&'static str],
    values: [Option<Raw<'a>>; NAMES_MAX],
    twice: Option<&'static str>,
    instead: Option<JsonKind>,
}

impl<'a> Arguments<'a> {
    /// The arguments of an object that has not been scanned.
    pub const fn none(within: &'static str, names: &'static [&'static str]) -> Arguments<'a> {
        debug_assert!(names.len() <= NAMES_MAX);
        Arguments { within, names, values: [None; NAMES_MAX], twice: None, instead: None }
    }

    /// Scans one value, which should be an object, and keeps the members with known names.
    pub fn scan(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Broken> {
        if scanner.peek() != Some(b'{') {
            self.instead = Some(scanner.value()?.kind);
            return Ok(());
        }
        scanner.object(|scanner, name| {
            let value = scanner.value()?;
            self.keep(&name, value);
            Ok(())
        })
    }

    /// Scans and checks text that is known to be JSON.
    pub fn read(
        raw: Raw<'a>,
        within: &'static str,
        names: &'static [&'static str],
    ) -> Result<Arguments<'a>, Complaint> {
        let mut arguments = Arguments::none(within, names);
        arguments
            .scan(&mut Scanner::new(raw.text))
            .map_err(|broken| Complaint::malformed(broken.to_string()))?;
        arguments.check()?;
        Ok(arguments)
    }

    #[inline]
    fn keep(&mut self, name: &str, value: Raw<'a>) {
        let place = self.names.iter().zip(&mut self.values).find(|(known, _)| **known == name);
        if let Some((known, slot)) = place
            && slot.replace(value).is_some()
        {
            self.twice = Some(known);
        }
    }

    /// Rejects a value that is not an object, and an object with a repeated name.
    pub fn check(&self) -> Result<(), Complaint> {
        if let Some(kind) = self.instead {
            let message = format!("{} must be an object, got {}", self.within, kind.describe());
            return Err(Complaint::malformed(message));
        }
        if let Some(name) = self.twice {
            let path = Path { within: self.within, name };
            return Err(Complaint::malformed(format!("{path} is given twice; send it once")));
        }
        Ok(())
    }

    /// The value under `name`, converted by `read`; `None` if it is absent.
    #[inline]
    pub fn optional<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(Path, Raw<'a>) -> Result<T, Complaint>,
    ) -> Result<Option<T>, Complaint> {
        debug_assert!(self.names.contains(&name), "{name} is not a known name");
        let found = self.names.iter().zip(&self.values).find(|(known, _)| **known == name);
        match found {
            Some((_, Some(raw))) => read(Path { within: self.within, name }, *raw).map(Some),
            Some((_, None)) | None => Ok(None),
        }
    }

    /// The value under `name`, which must be present.
    pub fn required<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(Path, Raw<'a>) -> Result<T, Complaint>,
    ) -> Result<T, Complaint> {
        self.optional(name, read)?.ok_or_else(|| {
            let path = Path { within: self.within, name };
            Complaint::malformed(format!("{path} is missing; it is required"))
        })
    }

    /// True if there is a value under `name`.
    #[inline]
    pub fn has(&self, name: &'static str) -> bool {
        debug_assert!(self.names.contains(&name), "{name} is not a known name");
        self.names.iter().zip(&self.values).any(|(known, value)| *known == name && value.is_some())
    }

    /// Rejects two names that exclude each other.
    pub fn either(&self, one: &'static str, other: &'static str) -> Result<(), Complaint> {
        if self.has(one) && self.has(other) {
            let message = format!("{} accepts {one} or {other}, not both", self.within);
            return Err(Complaint::malformed(message));
        }
        Ok(())
    }
}

/// Any JSON, byte for byte as received.
pub fn json<'a>(_: Path, raw: Raw<'a>) -> Result<&'a str, Complaint> {
    Ok(raw.text)
}

pub fn string<'a>(path: Path, raw: Raw<'a>) -> Result<Cow<'a, str>, Complaint> {
    raw.string().ok_or_else(|| match raw.kind {
        JsonKind::Escaped => {
            Complaint::malformed(format!("{path} contains half a surrogate pair, which is not valid text"))
        }
        kind => wrong_type(path, "a string", kind),
    })
}

/// An integer of at least `least`.
pub fn integer(least: u64) -> impl Fn(Path, Raw<'_>) -> Result<u64, Complaint> {
    move |path, raw| {
        let wanted = || format!("a whole number from {least} to {INTEGER_MAX}");
        match (raw.kind, raw.integer()) {
            (JsonKind::Number, Ok(value)) if value >= least => Ok(value),
            (JsonKind::Number, Ok(_) | Err(IntegerFault::TooBig)) => {
                Err(Complaint::malformed(format!("{path} must be {}, got {}", wanted(), shortened(raw.text))))
            }
            (JsonKind::Number, Err(IntegerFault::Form)) => {
                let got = shortened(raw.text);
                let message = format!("{path} must be {}, written in digits only, got {got}", wanted());
                Err(Complaint::malformed(message))
            }
            (kind, _) => Err(wrong_type(path, &wanted(), kind)),
        }
    }
}

pub fn channel(path: Path, raw: Raw<'_>) -> Result<ChannelName, Complaint> {
    let text = string(path, raw)?;
    ChannelName::parse_any(&text).map_err(|fault| {
        Complaint::malformed(match fault {
            NameFault::Empty => {
                format!("{path} is empty; send a channel name of 1 to {CHANNEL_BYTES_MAX} bytes")
            }
            NameFault::TooLong => {
                format!("{path} has {} bytes; at most {CHANNEL_BYTES_MAX} are allowed", text.len())
            }
            NameFault::Alphabet => format!("{path} may contain only A-Z, a-z, 0-9, '_', '.', ':' and '-'"),
            NameFault::Reserved => {
                format!(
                    "{path} starts with '$', which is reserved for the gateway; only personal channels, '$user:' and more, are open to clients"
                )
            }
        })
    })
}

pub fn key(path: Path, raw: Raw<'_>) -> Result<Key, Complaint> {
    let text = string(path, raw)?;
    Key::parse(&text).map_err(|fault| {
        Complaint::malformed(match fault {
            NameFault::Empty => format!("{path} is empty; send 1 to {KEY_BYTES_MAX} bytes or omit it"),
            NameFault::TooLong => {
                format!("{path} has {} bytes; at most {KEY_BYTES_MAX} are allowed", text.len())
            }
            NameFault::Alphabet | NameFault::Reserved => {
                format!("{path} may contain only visible ASCII characters, without spaces")
            }
        })
    })
}

pub fn user(path: Path, raw: Raw<'_>) -> Result<UserName, Complaint> {
    let text = string(path, raw)?;
    UserName::parse(&text).map_err(|_| {
        let wanted = format!("{path} must be a user: 1 to {USER_BYTES_MAX} bytes without control characters");
        Complaint::malformed(wanted)
    })
}

/// A number that fits; a greater one counts as `most`.
pub fn clamped(value: u64, most: u32) -> u32 {
    u32::try_from(value).map_or(most, |value| value.min(most))
}

/// The elements of an array.
pub fn elements(raw: Raw<'_>) -> Result<Vec<Raw<'_>>, Complaint> {
    let mut entries = Vec::new();
    Scanner::new(raw.text)
        .array(|scanner| {
            entries.push(scanner.value()?);
            Ok(())
        })
        .map_err(|broken| Complaint::malformed(broken.to_string()))?;
    Ok(entries)
}

/// The complaint about a value of the wrong type.
pub fn wrong_type(path: impl fmt::Display, wanted: &str, got: JsonKind) -> Complaint {
    let hint = if got == JsonKind::Null { "; omit fields that you do not set" } else { "" };
    Complaint::malformed(format!("{path} must be {wanted}, got {}{hint}", got.describe()))
}

/// Shortens a number or a name from the client for a message.
pub fn shortened(text: &str) -> String {
    const SHOWN: usize = 32;
    match text.get(..text.floor_char_boundary(SHOWN)) {
        Some(start) if start.len() < text.len() => format!("{start}…"),
        _ => text.to_owned(),
    }
}
