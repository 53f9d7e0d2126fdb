//! The digest, the minimum age and the sweep of idempotency keys, the same in both stores.

use crate::store::retention::Rest;
use crate::wire::publication::Change;
use sha1::{Digest as _, Sha1};
use std::time::Duration;

/// The shortest time a key stays known: a client that was offline for a week may still send again.
pub(crate) const KEY_AGE_MIN: Duration = Duration::from_secs(8 * 24 * 60 * 60);

/// The content of a publication in 20 bytes. A client that found two contents with the same digest would deceive only itself,
/// because keys belong to one user.
pub(crate) type ContentDigest = [u8; 20];

/// The digest of kind, target and data.
pub(crate) fn digest(change: Change, data: &str) -> ContentDigest {
    let (kind, target) = match change {
        Change::None => (0u8, 0),
        Change::Edits(target) => (1, target.0),
        Change::Deletes(target) => (2, target.0),
    };
    let mut hash = Sha1::new();
    hash.update([kind]);
    hash.update(target.to_le_bytes());
    hash.update(data.as_bytes());
    hash.finalize().into()
}

/// The pace at which expired keys are searched for.
///
/// Two keys are examined for each that is claimed, whatever the rate. A pass over a table of n keys thus ends before n / 2 more
/// are claimed, so the table never exceeds twice the keys that must be known. Where most of the examined keys had expired, for
/// example after a shorter `retention.age`, the sweep goes on as well.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SweepPace {
    /// The keys still to be examined for those claimed.
    due: u64,
}

/// The place where a slice of a sweep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SweepEnd {
    OfSlice,
    OfTable,
}

impl SweepPace {
    pub(crate) const EXAMINED_PER_CLAIM: u64 = 2;

    /// Notes that `count` keys were claimed.
    pub(crate) fn note_claims(&mut self, count: u64) {
        self.due = self.due.saturating_add(count.saturating_mul(SweepPace::EXAMINED_PER_CLAIM));
    }

    /// The number of keys that the next slice examines.
    pub(crate) fn slice(&self, least: u64, most: u64) -> u64 {
        self.due.clamp(least, most)
    }

    /// Notes the result of a slice.
    pub(crate) fn advance(&mut self, examined: u64, expired: u64, end: SweepEnd) -> Rest {
        match end {
            SweepEnd::OfSlice => {
                self.due = self.due.saturating_sub(examined);
                if self.due > 0 || expired > examined / 2 { Rest::Some } else { Rest::None }
            }
            SweepEnd::OfTable => {
                self.due = 0;
                Rest::None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweep_goes_on_while_keys_are_due_or_most_had_expired() {
        let mut pace = SweepPace::default();
        pace.note_claims(300);
        assert_eq!(pace.slice(100, 1_000), 600);
        assert_eq!(pace.advance(512, 0, SweepEnd::OfSlice), Rest::Some);
        assert_eq!(pace.advance(512, 256, SweepEnd::OfSlice), Rest::None);
        assert_eq!(pace.advance(512, 257, SweepEnd::OfSlice), Rest::Some);
        pace.note_claims(1_000_000);
        assert_eq!(pace.slice(100, 1_000), 1_000);
        assert_eq!(pace.advance(512, 512, SweepEnd::OfTable), Rest::None);
        assert_eq!(pace.slice(100, 1_000), 100);
    }
    use crate::id::Offset;

    #[test]
    fn the_digest_tells_kind_target_and_data_apart() {
        let digests = [
            digest(Change::None, "1"),
            digest(Change::None, "2"),
            digest(Change::Edits(Offset(1)), "1"),
            digest(Change::Edits(Offset(2)), "1"),
            digest(Change::Deletes(Offset(1)), "1"),
        ];
        for (at, one) in digests.iter().enumerate() {
            assert!(digests[at + 1..].iter().all(|other| other != one));
        }
        assert_eq!(digest(Change::None, "1"), digests[0]);
    }
}
