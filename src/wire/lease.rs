//! The sign of life of an instance in Redis: one field of a hash, renewed every second.
//!
//! ```text
//! PREFIX:{460}:i    ORIGIN.COUNT → RENEWALS,FLAGS,NAME     at most 64 bytes, so that a small hash stays compact
//! PREFIX:{460}:s    ORIGIN.COUNT → stats, JSON             see `wire::stats`
//! ```
//!
//! Redis is not trusted: who can write to it can forge a lease, and with it the list of instances, but no message.

use super::partitions::PartitionSet;

/// Bytes of a lease. Redis stores a small hash compactly while no value is longer than `hash-max-listpack-value`, 64 by default.
pub const LEASE_BYTES_MAX: usize = 64;

/// The tag of the first partition, in braces ([`slot`](super::slot)).
pub const TAG: &str = "{460}";

/// The phase of an instance, according to its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeasePhase {
    Serving,
    /// Its clients move.
    Draining,
    /// It has said goodbye: this lease is not renewed.
    Left,
}

impl LeasePhase {
    const ALL: [LeasePhase; 3] = [LeasePhase::Serving, LeasePhase::Draining, LeasePhase::Left];

    /// The letter among the flags.
    const fn letter(self) -> &'static str {
        match self {
            LeasePhase::Serving => "-",
            LeasePhase::Draining => "d",
            LeasePhase::Left => "l",
        }
    }
}

/// The content that an incarnation has written completely, so that its absence from a hash means something. An instance of an earlier
/// version, or one that still writes, has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseParts {
    /// Its users are in the registry.
    pub users: bool,
    /// Its members are in the rosters.
    pub rosters: bool,
    /// Except in these partitions of a Redis Cluster, whose masters it does not reach.
    pub unwritten: PartitionSet,
}

impl LeaseParts {
    fn letters(self) -> &'static str {
        match (self.users, self.rosters) {
            (false, false) => "",
            (true, false) => "u",
            (false, true) => "p",
            (true, true) => "up",
        }
    }
}

/// The value of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Grows with each renewal, so that a reader sees a renewal without a clock.
    pub renewals: u64,
    pub phase: LeasePhase,
    pub parts: LeaseParts,
    /// The name of the instance, or its beginning.
    pub name: Box<str>,
}

impl Lease {
    /// Writes a lease; a long name is cut off.
    pub fn encode(renewals: u64, phase: LeasePhase, parts: LeaseParts, name: &str) -> String {
        let mut text = format!("{renewals},{}{}{},", phase.letter(), parts.letters(), parts.unwritten.text());
        let room = LEASE_BYTES_MAX.saturating_sub(text.len());
        text.push_str(name.get(..name.floor_char_boundary(room)).unwrap_or_default());
        text
    }

    /// Reads a lease. Flags of newer versions are ignored. `None` if it is no lease.
    pub fn parse(bytes: &[u8]) -> Option<Lease> {
        if bytes.len() > LEASE_BYTES_MAX {
            return None;
        }
        let mut parts = std::str::from_utf8(bytes).ok()?.splitn(3, ',');
        let (renewals, flags, name) = (parts.next()?, parts.next()?, parts.next()?);
        let phase = LeasePhase::ALL.into_iter().find(|phase| flags.contains(phase.letter()));
        let is_plain = !name.is_empty() && !name.contains(char::is_control);
        is_plain.then_some(Lease {
            renewals: renewals.parse().ok()?,
            phase: phase.unwrap_or(LeasePhase::Serving),
            parts: LeaseParts {
                users: flags.contains('u'),
                rosters: flags.contains('p'),
                unwritten: PartitionSet::find(flags),
            },
            name: Box::from(name),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::slot::Partition;

    #[test]
    fn lease_is_read_as_written_and_never_longer_than_its_bound() {
        for phase in LeasePhase::ALL {
            for (users, rosters) in [(false, false), (false, true), (true, false), (true, true)] {
                let parts = LeaseParts { users, rosters, ..LeaseParts::default() };
                let text = Lease::encode(17, phase, parts, "gw-1");
                let lease = Lease::parse(text.as_bytes()).expect("a lease");
                assert_eq!((lease.renewals, lease.phase, &*lease.name), (17, phase, "gw-1"));
                assert_eq!(lease.parts, parts);
            }
        }
        let long = Lease::encode(u64::MAX, LeasePhase::Serving, LeaseParts::default(), &"x".repeat(64));
        assert_eq!(long.len(), LEASE_BYTES_MAX);
        assert_eq!(Lease::parse(long.as_bytes()).expect("a lease").renewals, u64::MAX);
    }

    #[test]
    fn lease_names_partitions_that_are_not_written_and_keeps_its_bound() {
        let unwritten = Partition::all().skip(171).collect();
        let parts = LeaseParts { users: true, rosters: true, unwritten };
        let text = Lease::encode(u64::MAX, LeasePhase::Draining, parts, &"x".repeat(64));
        let lease = Lease::parse(text.as_bytes()).expect("a lease");
        assert_eq!((text.len(), lease.phase, lease.name.len()), (LEASE_BYTES_MAX, LeasePhase::Draining, 22));
        assert!(
            lease.parts.users && lease.parts.rosters && unwritten.without(lease.parts.unwritten).is_empty()
        );
    }

    #[test]
    fn flags_of_newer_versions_are_ignored_and_other_values_refused() {
        assert_eq!(Lease::parse(b"1,qd,a").map(|lease| lease.phase), Some(LeasePhase::Draining));
        assert_eq!(Lease::parse(b"1,q,a").map(|lease| lease.phase), Some(LeasePhase::Serving));
        for bytes in
            [&b""[..], b"1", b"1,-", b"1,-,", b"x,-,a", b"1,-,a\n", b"-1,-,a", b"1,-,\xff", &[b'1'; 65]]
        {
            assert_eq!(Lease::parse(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn tag_is_that_of_the_first_partition() {
        assert_eq!(TAG, format!("{{{}}}", Partition::FIRST.tag()));
    }
}
