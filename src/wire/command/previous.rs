//! `previous` of `connect`: what a client went through since its last connection.
//!
//! It is the client's word about itself, so nothing of it may refuse a connection: an object with a bad value counts as absent.

use super::arguments::{Complaint, Path};
use crate::wire::scan::{JsonKind, Raw, Scanner};
use crate::wire::short_text::ShortText;

/// The longest object that is read, in bytes of JSON.
pub const PREVIOUS_BYTES_MAX: usize = 512;
/// A longer time counts as this one, in milliseconds: a week.
pub const PREVIOUS_MS_MAX: u32 = 7 * 86_400_000;
/// More attempts count as these.
pub const PREVIOUS_ATTEMPTS_MAX: u16 = 10_000;
const REASON_BYTES_MAX: usize = 32;
const REFERENCE_BYTES_MAX: usize = 16;
/// A connection's name has at most 16 hexadecimal digits.
const CONNECTION_BYTES_MAX: usize = 16;

/// The way in which an attempt to connect failed, as its client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailedAttempt {
    /// No WebSocket opened.
    NeverOpened,
    /// The gateway did not reply to `connect`.
    Unanswered,
    /// The gateway fell silent.
    Silent,
    /// A dependency was down.
    Unavailable,
    /// The gateway had no room.
    OverCapacity,
    /// The application gave no token.
    NoToken,
    /// Any other refusal: all further keys.
    Refused,
}

impl FailedAttempt {
    /// All ways, in declaration order.
    pub const ALL: [FailedAttempt; 7] = [
        FailedAttempt::NeverOpened,
        FailedAttempt::Unanswered,
        FailedAttempt::Silent,
        FailedAttempt::Unavailable,
        FailedAttempt::OverCapacity,
        FailedAttempt::NoToken,
        FailedAttempt::Refused,
    ];

    /// The key in `failed`.
    pub const fn as_str(self) -> &'static str {
        match self {
            FailedAttempt::NeverOpened => "never_opened",
            FailedAttempt::Unanswered => "unanswered",
            FailedAttempt::Silent => "silent",
            FailedAttempt::Unavailable => "bye_1011",
            FailedAttempt::OverCapacity => "bye_1013",
            FailedAttempt::NoToken => "no_token",
            FailedAttempt::Refused => "refused",
        }
    }
}

/// The numbers of failed attempts, indexed by [`FailedAttempt`].
pub type FailedAttempts = [u16; FailedAttempt::ALL.len()];

/// The last connection of a client, and the time since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Previous {
    /// The name that `connected` gave it.
    pub connection: u64,
    /// The code with which it ended, as the client saw it; 1006 if it broke.
    pub code: u16,
    pub reason: ShortText<REASON_BYTES_MAX>,
    /// The reference of its last `bye`; empty if there was none.
    pub reference: ShortText<REFERENCE_BYTES_MAX>,
    /// From the last bytes of the gateway to this `connect`, in milliseconds.
    pub offline_ms: u32,
    /// The part of it in which the client could not try: no network, a sleeping page, or no token.
    pub idle_ms: u32,
    /// The part of it that the gateway asked the client to wait.
    pub waited_ms: u32,
    /// Attempts to connect, this one included.
    pub attempts: u16,
    pub failed: FailedAttempts,
}

/// Reads `connect.previous`. Anything but an object whose values are all valid is `None`.
pub fn previous(_: Path, raw: Raw<'_>) -> Result<Option<Box<Previous>>, Complaint> {
    let fits = raw.kind == JsonKind::Object && raw.text.len() <= PREVIOUS_BYTES_MAX;
    Ok(fits.then(|| read(raw)).flatten())
}

fn read(raw: Raw<'_>) -> Option<Box<Previous>> {
    let mut found = Previous {
        connection: 0,
        code: 0,
        reason: ShortText::default(),
        reference: ShortText::default(),
        offline_ms: 0,
        idle_ms: 0,
        waited_ms: 0,
        attempts: 0,
        failed: FailedAttempts::default(),
    };
    let mut is_valid = true;
    let scanned = Scanner::new(raw.text).object(|scanner, name| {
        let value = scanner.value()?;
        is_valid &= found.set(&name, value).is_some();
        Ok(())
    });
    let has_all = found.connection != 0 && found.code != 0 && found.attempts != 0;
    // Parts of one time: a client cannot have waited longer than it was away.
    let adds_up = found.idle_ms <= found.offline_ms && found.waited_ms <= found.offline_ms;
    (scanned.is_ok() && is_valid && has_all && adds_up).then(|| Box::new(found))
}

impl Previous {
    /// Sets one member; `None` if its value is bad. Unknown members are skipped.
    fn set(&mut self, name: &str, value: Raw<'_>) -> Option<()> {
        match name {
            "connection" => self.connection = connection(value)?,
            "code" => self.code = u16::try_from(value.integer().ok()?).ok()?,
            "reason" => self.reason = word(value, is_of_reason)?,
            "reference" => self.reference = word(value, |byte| byte.is_ascii_graphic())?,
            "offline_ms" => self.offline_ms = milliseconds(value)?,
            "idle_ms" => self.idle_ms = milliseconds(value)?,
            "waited_ms" => self.waited_ms = milliseconds(value)?,
            "attempts" => self.attempts = attempts(value)?,
            "failed" => self.failed = failed(value)?,
            _ => {}
        }
        Some(())
    }
}

fn connection(value: Raw<'_>) -> Option<u64> {
    let text = value.string()?;
    let is_name = text.len() <= CONNECTION_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_name.then(|| u64::from_str_radix(&text, 16).ok()).flatten()
}

fn is_of_reason(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte == b'_'
}

fn word<const BYTES: usize>(value: Raw<'_>, allowed: fn(u8) -> bool) -> Option<ShortText<BYTES>> {
    let text = value.string()?;
    (text.len() <= BYTES && text.bytes().all(allowed)).then(|| ShortText::of(&text))
}

fn milliseconds(value: Raw<'_>) -> Option<u32> {
    let ms = value.integer().ok()?;
    Some(u32::try_from(ms).unwrap_or(u32::MAX).min(PREVIOUS_MS_MAX))
}

fn attempts(value: Raw<'_>) -> Option<u16> {
    let count = value.integer().ok()?;
    Some(u16::try_from(count).unwrap_or(u16::MAX).min(PREVIOUS_ATTEMPTS_MAX))
}

fn failed(value: Raw<'_>) -> Option<FailedAttempts> {
    if value.kind != JsonKind::Object {
        return None;
    }
    let (mut counts, mut is_valid) = (FailedAttempts::default(), true);
    let scanned = Scanner::new(value.text).object(|scanner, name| {
        let number = attempts(scanner.value()?);
        is_valid &= number.is_some();
        let known = FailedAttempt::ALL.iter().position(|way| way.as_str() == name);
        // A newer client may know further ways: mostly the word or the code of a refusal.
        let way = known.unwrap_or(FailedAttempt::Refused as usize);
        if let Some(count) = counts.get_mut(way) {
            *count = count.saturating_add(number.unwrap_or(0)).min(PREVIOUS_ATTEMPTS_MAX);
        }
        Ok(())
    });
    (scanned.is_ok() && is_valid).then_some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::command::{Command, CommandBounds, parse};

    const BOUNDS: CommandBounds = CommandBounds { json_depth: 32, subscriptions: 8 };

    fn read(previous: &str) -> Option<Previous> {
        let text = format!(r#"{{"id":1,"connect":{{"previous":{previous}}}}}"#);
        match parse(&text, BOUNDS).expect("previous never refuses").command {
            Command::Connect(connect) => connect.previous.map(|previous| *previous),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn previous_has_all_that_a_client_reports() {
        let previous = read(
            r#"{"connection":"e36ab0ea00000100","code":1011,"reason":"unavailable","offline_ms":4210,"idle_ms":10,
                "waited_ms":1500,"attempts":3,"failed":{"never_opened":2,"bye_4429":1,"overloaded":1},"reference":"k3f9","more":[1]}"#,
        )
        .expect("valid");
        assert_eq!((previous.connection, previous.code, previous.attempts), (0xe36a_b0ea_0000_0100, 1011, 3));
        assert_eq!((previous.reason.as_str(), previous.reference.as_str()), ("unavailable", "k3f9"));
        assert_eq!((previous.offline_ms, previous.idle_ms, previous.waited_ms), (4210, 10, 1500));
        assert_eq!(previous.failed, [2, 0, 0, 0, 0, 0, 2]);
    }

    #[test]
    fn numbers_over_their_bounds_are_clamped() {
        let previous =
            read(r#"{"connection":"1","code":1006,"offline_ms":9007199254740991,"attempts":70000}"#)
                .expect("valid");
        assert_eq!((previous.offline_ms, previous.attempts), (PREVIOUS_MS_MAX, PREVIOUS_ATTEMPTS_MAX));
    }

    #[test]
    fn bad_value_drops_the_object_and_refuses_nothing() {
        let valid = r#""connection":"1","code":1006,"attempts":1"#;
        assert!(read(&format!("{{{valid}}}")).is_some());
        let long = "x".repeat(PREVIOUS_BYTES_MAX);
        let bad = [
            "7".to_owned(),
            "null".to_owned(),
            "[]".to_owned(),
            "{}".to_owned(),
            r#"{"connection":"1","code":1006}"#.to_owned(),
            r#"{"connection":"x","code":1006,"attempts":1}"#.to_owned(),
            r#"{"connection":"00000000000000001","code":1006,"attempts":1}"#.to_owned(),
            r#"{"connection":1,"code":1006,"attempts":1}"#.to_owned(),
            r#"{"connection":"1","code":65536,"attempts":1}"#.to_owned(),
            r#"{"connection":"1","code":1006,"attempts":0}"#.to_owned(),
            format!(r#"{{{valid},"reason":"not our word"}}"#),
            format!(r#"{{{valid},"offline_ms":-1}}"#),
            format!(r#"{{{valid},"offline_ms":1.5}}"#),
            format!(r#"{{{valid},"offline_ms":10,"idle_ms":11}}"#),
            format!(r#"{{{valid},"offline_ms":10,"waited_ms":11}}"#),
            format!(r#"{{{valid},"failed":[]}}"#),
            format!(r#"{{{valid},"failed":{{"silent":"1"}}}}"#),
            format!(r#"{{{valid},"more":"{long}"}}"#),
        ];
        for text in bad {
            assert_eq!(read(&text), None, "{text}");
        }
    }
}
