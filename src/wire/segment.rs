//! Segments of rosters in Redis: what one incarnation adds to the roster of a channel, as fields of a hash and as messages.
//!
//! ```text
//! field             value
//! ORIGIN.COUNT      SEQ,USERS,CONNECTIONS,MODE                     MODE: l lists the members, c does not
//! ORIGIN.COUNT/USER LIVE,DEPARTING,SINCE,STATED,STATE[,INFO]       a member
//!
//! message           count u32 | seq u64 | previous u64 | users u32 | connections u32 | mode u8 | form u8 | entries
//! entry             length u8 | user | length u16 | value          integers are little-endian; no value: the user is gone
//! ```
//!
//! Numbers in fields are decimal. `SEQ` grows with each write of the incarnation, whatever the channel, so a segment that was empty
//! does not begin again. A message changes the state after `previous`; with form `whole` it replaces everything, and `read` says that the
//! change does not fit, so that readers read the hash. Values are absolute, so repeating one changes nothing.
//!
//! Redis is trusted with fields but not with their form: a value that is not as above is ignored.

use crate::id::{Incarnation, PresenceState, UserName};
use crate::limits::INFO_BYTES_MAX;
use std::sync::Arc;

/// Bytes of a message without its head. A larger change is read from the hash.
pub const DELTA_BYTES_MAX: usize = 64 << 10;
/// JavaScript's largest exact integer.
const SINCE_MAX: u64 = 1 << 53;
const HEAD_BYTES: usize = 4 + 8 + 8 + 4 + 4 + 1 + 1;

/// The numbers of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHead {
    /// The number of the write; 0 is before the first one.
    pub seq: u64,
    pub users: u32,
    pub connections: u32,
    pub mode: SegmentMode,
}

/// Says if a segment lists its members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SegmentMode {
    #[default]
    Listed,
    /// It has too many, and gives numbers alone.
    Counted,
}

/// A user's part in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentMember {
    /// Connections that are present.
    pub live: u32,
    /// Connections that have ended, and are still shown for a while.
    pub departing: u32,
    /// Unix milliseconds, for people.
    pub since_unix_ms: u64,
    /// When the state was set, in the units of the writer of [`SegmentMember`]s: a larger number is later.
    pub stated: u32,
    pub state: Option<PresenceState>,
    /// JSON of the token.
    pub info: Option<Arc<str>>,
}

/// A field's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SegmentField {
    Head(Incarnation),
    Member(Incarnation, UserName),
}

/// A message about a change of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentDelta {
    /// With the origin of the message: the incarnation.
    pub count: u32,
    /// The number of the write before it; 0: there was none.
    pub previous: u64,
    pub head: SegmentHead,
    pub form: DeltaForm,
    /// Users with what they are now; `None`: gone.
    pub entries: Vec<(UserName, Option<SegmentMember>)>,
}

/// The relation of a message to what readers have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeltaForm {
    /// It changes the segment after the write `previous`.
    Changes = 0,
    /// It replaces the segment.
    Whole = 1,
    /// It holds the head alone: the entries are too long, and are read from the hash.
    Read = 2,
}

impl SegmentHead {
    /// The value of the field.
    pub fn encode(&self) -> Vec<u8> {
        let mode = match self.mode {
            SegmentMode::Listed => 'l',
            SegmentMode::Counted => 'c',
        };
        format!("{},{},{},{mode}", self.seq, self.users, self.connections).into_bytes()
    }

    /// Reads what [`encode`](SegmentHead::encode) writes.
    pub fn parse(bytes: &[u8]) -> Option<SegmentHead> {
        let mut parts = std::str::from_utf8(bytes).ok()?.split(',');
        let seq = number(parts.next()?)?;
        let users = number(parts.next()?)?.try_into().ok()?;
        let connections = number(parts.next()?)?.try_into().ok()?;
        let mode = match parts.next()? {
            "l" => SegmentMode::Listed,
            "c" => SegmentMode::Counted,
            _ => return None,
        };
        parts.next().is_none().then_some(SegmentHead { seq, users, connections, mode })
    }
}

impl SegmentMember {
    /// The value of the field.
    pub fn encode(&self) -> Vec<u8> {
        let state = self.state.as_ref().map_or("", PresenceState::as_str);
        let (live, departing, since, stated) = (self.live, self.departing, self.since_unix_ms, self.stated);
        let mut text = format!("{live},{departing},{since},{stated},{state}");
        if let Some(info) = &self.info {
            text.push(',');
            text.push_str(info);
        }
        text.into_bytes()
    }

    /// Reads what [`encode`](SegmentMember::encode) writes. `None` for a member without connections, or with `info` that is not JSON.
    pub fn parse(bytes: &[u8]) -> Option<SegmentMember> {
        let mut parts = std::str::from_utf8(bytes).ok()?.splitn(6, ',');
        let live: u32 = number(parts.next()?)?.try_into().ok()?;
        let departing: u32 = number(parts.next()?)?.try_into().ok()?;
        let since_unix_ms = number(parts.next()?).filter(|since| *since <= SINCE_MAX)?;
        let stated = number(parts.next()?)?.try_into().ok()?;
        let state = match parts.next()? {
            "" => None,
            word => Some(PresenceState::parse(word).ok()?),
        };
        let info = match parts.next() {
            None => None,
            Some(info) if info.len() <= INFO_BYTES_MAX => {
                // Space around it would come back as another value.
                let json = serde_json::from_str::<&serde_json::value::RawValue>(info).ok()?;
                Some(Arc::from(Some(json.get()).filter(|json| json.len() == info.len())?))
            }
            Some(_) => return None,
        };
        let connections = live.checked_add(departing)?;
        (connections > 0).then_some(SegmentMember { live, departing, since_unix_ms, stated, state, info })
    }
}

impl SegmentField {
    /// The name of the field with the head of a segment.
    pub fn head(incarnation: Incarnation) -> Vec<u8> {
        incarnation.to_string().into_bytes()
    }

    /// The name of the field with a member of a segment.
    pub fn member(incarnation: Incarnation, user: &UserName) -> Vec<u8> {
        format!("{incarnation}/{user}").into_bytes()
    }

    /// Reads a name. The first `/` ends the incarnation, because it has none.
    pub fn parse(bytes: &[u8]) -> Option<SegmentField> {
        let text = std::str::from_utf8(bytes).ok()?;
        match text.split_once('/') {
            None => Incarnation::parse(text).map(SegmentField::Head),
            Some((incarnation, user)) => {
                Some(SegmentField::Member(Incarnation::parse(incarnation)?, UserName::parse(user).ok()?))
            }
        }
    }
}

impl DeltaForm {
    const fn parse(byte: u8) -> Option<DeltaForm> {
        match byte {
            0 => Some(DeltaForm::Changes),
            1 => Some(DeltaForm::Whole),
            2 => Some(DeltaForm::Read),
            _ => None,
        }
    }
}

impl SegmentDelta {
    /// The body of the message. Entries that do not fit into it are left out, and it says that they must be read.
    pub fn encode(&self) -> Vec<u8> {
        let mut entries = Vec::new();
        for (user, member) in &self.entries {
            let value = member.as_ref().map_or_else(Vec::new, SegmentMember::encode);
            // A user has at most 128 bytes and a value at most 700.
            entries.push(user.as_str().len() as u8);
            entries.extend_from_slice(user.as_str().as_bytes());
            entries.extend_from_slice(&(value.len() as u16).to_le_bytes());
            entries.extend_from_slice(&value);
            if entries.len() > DELTA_BYTES_MAX - HEAD_BYTES {
                return self.head_alone().encode();
            }
        }
        let mut out = Vec::with_capacity(HEAD_BYTES + entries.len());
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.head.seq.to_le_bytes());
        out.extend_from_slice(&self.previous.to_le_bytes());
        out.extend_from_slice(&self.head.users.to_le_bytes());
        out.extend_from_slice(&self.head.connections.to_le_bytes());
        out.push(u8::from(self.head.mode == SegmentMode::Counted));
        out.push(self.form as u8);
        out.extend_from_slice(&entries);
        out
    }

    fn head_alone(&self) -> SegmentDelta {
        SegmentDelta { entries: Vec::new(), form: DeltaForm::Read, ..*self }
    }

    /// Reads a body. `None` if it is longer, shorter or other than it says.
    pub fn parse(bytes: &[u8]) -> Option<SegmentDelta> {
        if bytes.len() > DELTA_BYTES_MAX {
            return None;
        }
        let mut rest = Reader(bytes);
        let count = rest.u32()?;
        let (seq, previous) = (rest.u64()?, rest.u64()?);
        let (users, connections) = (rest.u32()?, rest.u32()?);
        let mode = match rest.u8()? {
            0 => SegmentMode::Listed,
            1 => SegmentMode::Counted,
            _ => return None,
        };
        let form = DeltaForm::parse(rest.u8()?)?;
        let mut entries = Vec::new();
        while !rest.0.is_empty() {
            let length = usize::from(rest.u8()?);
            let user = UserName::parse(std::str::from_utf8(rest.take(length)?).ok()?).ok()?;
            let length = usize::from(u16::from_le_bytes(rest.array()?));
            let member = match rest.take(length)? {
                [] => None,
                value => Some(SegmentMember::parse(value)?),
            };
            entries.push((user, member));
        }
        let is_right = count > 0 && seq > previous && (form != DeltaForm::Read || entries.is_empty());
        let head = SegmentHead { seq, users, connections, mode };
        is_right.then_some(SegmentDelta { count, previous, head, form, entries })
    }
}

/// Bytes that are taken from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

/// Reads digits as they are written: no sign, no leading zero.
fn number(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserName {
        UserName::parse(name).expect("a user")
    }

    fn member(info: Option<&str>) -> SegmentMember {
        let state = Some(PresenceState::parse("away").expect("a state"));
        let info = info.map(Arc::from);
        SegmentMember { live: 2, departing: 1, since_unix_ms: 1_763_770_000_000, stated: 289, state, info }
    }

    #[test]
    fn fields_are_read_as_written() {
        let incarnation = Incarnation { origin: u64::MAX, count: 7 };
        let head = SegmentHead { seq: 57, users: 3, connections: 4, mode: SegmentMode::Listed };
        assert_eq!(head.encode(), b"57,3,4,l");
        for mode in [SegmentMode::Listed, SegmentMode::Counted] {
            let head = SegmentHead { mode, ..head };
            assert_eq!(SegmentHead::parse(&head.encode()), Some(head));
        }
        assert_eq!(member(None).encode(), b"2,1,1763770000000,289,away");
        for info in [None, Some(r#"{"name":"Ann, of course"}"#), Some("[1,2]")] {
            assert_eq!(SegmentMember::parse(&member(info).encode()), Some(member(info)));
        }
        assert_eq!(
            SegmentField::parse(&SegmentField::head(incarnation)),
            Some(SegmentField::Head(incarnation))
        );
        let slashes = user("a/b");
        assert_eq!(
            SegmentField::parse(&SegmentField::member(incarnation, &slashes)),
            Some(SegmentField::Member(incarnation, slashes))
        );
    }

    #[test]
    fn values_of_another_form_are_ignored() {
        for wrong in ["", "1", "1,2,3", "1,2,3,x", "01,2,3,l", "1,2,3,l,", "-1,2,3,l", "1,4294967296,3,l"] {
            assert_eq!(SegmentHead::parse(wrong.as_bytes()), None, "{wrong}");
        }
        let long = format!("1,0,3,0,,\"{}\"", "x".repeat(511));
        for wrong in [
            "",
            "1,0,3,0",
            "0,0,3,0,",
            "1,0,3,0,AWAY",
            "1,0,3,0,away,",
            "1,0,3,0,,{\"a\":}",
            "1,0,3,0,,1 2",
            "1,0,99999999999999999,0,",
            "4294967295,1,3,0,",
            &long,
        ] {
            assert_eq!(SegmentMember::parse(wrong.as_bytes()), None, "{wrong}");
        }
        for wrong in ["", "7", "7.0", "7.1/", "07.1", "7.1/a\n", "/a"] {
            assert_eq!(SegmentField::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    fn delta(form: DeltaForm, entries: Vec<(UserName, Option<SegmentMember>)>) -> SegmentDelta {
        let head = SegmentHead { seq: 9, users: 2, connections: 3, mode: SegmentMode::Listed };
        SegmentDelta { count: 3, previous: 8, head, form, entries }
    }

    #[test]
    fn message_is_read_as_written_and_never_otherwise() {
        let entries = vec![(user("ann"), Some(member(Some("1")))), (user("ben"), None)];
        for form in [DeltaForm::Changes, DeltaForm::Whole] {
            let delta = delta(form, entries.clone());
            let bytes = delta.encode();
            assert_eq!(SegmentDelta::parse(&bytes), Some(delta));
            for end in 0..bytes.len() {
                let cut = SegmentDelta::parse(&bytes[..end]);
                assert!(cut.is_none_or(|cut| cut.entries.len() < 2), "cut after {end}");
            }
        }
        assert_eq!(
            SegmentDelta::parse(&delta(DeltaForm::Read, entries).encode()),
            None,
            "entries to be read"
        );
    }

    #[test]
    fn change_that_does_not_fit_says_that_it_must_be_read() {
        let info = format!("\"{}\"", "x".repeat(510));
        let entries = (0..140).map(|at| (user(&format!("u{at}")), Some(member(Some(&info)))));
        let whole = delta(DeltaForm::Whole, entries.collect());
        let bytes = whole.encode();
        assert!(bytes.len() <= DELTA_BYTES_MAX);
        assert_eq!(SegmentDelta::parse(&bytes), Some(delta(DeltaForm::Read, Vec::new())));
    }
}
