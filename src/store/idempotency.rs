//! The digest and the minimum age of idempotency keys, the same in both stores.

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

#[cfg(test)]
mod tests {
    use super::*;
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
