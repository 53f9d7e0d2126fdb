//! The removal of empty channels: which are removed, and where the offsets of channels start that are created later.
//!
//! Clients keep the offset that they have read up to, and must never meet the same offset with another publication. A removed
//! channel leaves nothing behind by which its name could be recognised. So one number of the whole store, the *base*, is at
//! least the head of every channel that was ever removed, and a new channel starts above it.

use crate::id::Offset;
use std::time::Duration;

/// How long a channel has no publications, at least, before it is removed. It also lost all its publications to retention, and
/// all its idempotency keys.
pub(crate) const IDLE_MIN: Duration = Duration::from_secs(60);

/// Bases are multiples of this. A base that moved looks like lost publications to a client which waits at the old one, so it
/// moves rarely: only when a channel is removed that was created after the last move, or that had more publications.
pub(crate) const BASE_STEP: u64 = 1 << 16;

/// The base after a channel with this head was removed.
pub(crate) fn raised(base: Offset, head: Offset) -> Offset {
    if head <= base { base } else { Offset(head.0.next_multiple_of(BASE_STEP)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_is_at_least_every_head_and_moves_rarely() {
        assert_eq!(raised(Offset::ZERO, Offset::ZERO), Offset::ZERO);
        assert_eq!(raised(Offset::ZERO, Offset(1)), Offset(BASE_STEP));
        assert_eq!(raised(Offset(BASE_STEP), Offset(BASE_STEP)), Offset(BASE_STEP));
        assert_eq!(raised(Offset(BASE_STEP), Offset(7)), Offset(BASE_STEP));
        assert_eq!(raised(Offset(BASE_STEP), Offset(BASE_STEP + 1)), Offset(2 * BASE_STEP));
    }
}
