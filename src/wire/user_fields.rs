//! The registry of users in Redis: 16,384 hashes, one for each slot, and in each a field for every user and incarnation.
//!
//! ```text
//! PREFIX:{TAG}:r:SLOT    ORIGIN.COUNT/USER → CONNECTIONS,SINCE
//! ```
//!
//! The slot is that of the user's name, so one hash has a user's connections at all instances. `SINCE` is in Unix milliseconds, for
//! people only. Redis is not trusted: who can write to it can forge presence, but no message.

use crate::id::{Incarnation, UserName};
use crate::wire::slot::{Partition, slot};

/// The slot of a user.
pub fn slot_of(user: &UserName) -> u16 {
    slot(user.as_str().as_bytes())
}

/// The hash of a slot.
pub fn key_of(prefix: &str, slot: u16) -> String {
    format!("{prefix}:{{{}}}:r:{slot}", Partition::of_slot(slot).tag())
}

/// The name of a field. An incarnation has no `/`, so the first one ends it.
pub fn field_of(incarnation: Incarnation, user: &str) -> Vec<u8> {
    format!("{incarnation}/{user}").into_bytes()
}

/// The connections of one user at one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserConnections {
    /// At least 1.
    pub connections: u32,
    /// The moment from which the user has had at least one of them, Unix milliseconds.
    pub since_unix_ms: u64,
}

impl UserConnections {
    /// The value of a field.
    pub fn encode(self) -> Vec<u8> {
        format!("{},{}", self.connections, self.since_unix_ms).into_bytes()
    }

    /// Reads a value; members that newer versions append are ignored. `None` if it is none.
    pub fn parse(value: &[u8]) -> Option<UserConnections> {
        let mut numbers = std::str::from_utf8(value).ok()?.split(',');
        let connections = numbers.next()?.parse().ok().filter(|connections| *connections > 0)?;
        Some(UserConnections { connections, since_unix_ms: numbers.next()?.parse().ok()? })
    }
}

/// Splits the name of a field. `None` if it is none.
pub fn owner_and_user(name: &[u8]) -> Option<(Incarnation, &str)> {
    let (incarnation, user) = std::str::from_utf8(name).ok()?.split_once('/')?;
    Some((Incarnation::parse(incarnation)?, user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_is_read_as_written_even_if_the_name_has_a_slash() {
        let incarnation = Incarnation { origin: u64::MAX, count: 3 };
        for user in ["ann", "a/b/c", "é"] {
            assert_eq!(owner_and_user(&field_of(incarnation, user)), Some((incarnation, user)));
        }
        let value = UserConnections { connections: 3, since_unix_ms: 1_770_000_000_000 };
        assert_eq!(UserConnections::parse(&value.encode()), Some(value));
        assert_eq!(
            UserConnections::parse(b"3,5,newer"),
            Some(UserConnections { connections: 3, since_unix_ms: 5 })
        );
    }

    #[test]
    fn other_text_is_no_field() {
        for name in [&b""[..], b"ann", b"1.1", b"x/ann", b"1.0/ann", b"\xff/ann"] {
            assert_eq!(owner_and_user(name), None, "{name:?}");
        }
        for value in [&b""[..], b"3", b"0,5", b"-1,5", b"3,", b"3,x", b"4294967296,5"] {
            assert_eq!(UserConnections::parse(value), None, "{value:?}");
        }
    }

    #[test]
    fn key_has_the_tag_of_its_partition() {
        assert_eq!(key_of("seawall", 0), "seawall:{460}:r:0");
        let slot = slot_of(&UserName::parse("foo").expect("a name"));
        assert_eq!(key_of("p", slot), format!("p:{{{}}}:r:12182", Partition::of("foo").tag()));
    }
}
