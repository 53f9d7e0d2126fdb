//! The end of a block, as the clients of the blocked user learn of it.
//!
//! A block with an end is a temporary refusal, so its close code invites a return. A block without one is final.

use crate::clock::Moment;
use crate::close::CloseReason;
use std::time::Duration;

/// The text of a session's end by a block.
pub const BLOCKED: &str = "the user is blocked";
/// The shortest wait that a client is given, in milliseconds: its clock and that of the store run apart.
const RETURN_MS_MIN: u64 = 1_000;
/// The longest wait that a client is given, in milliseconds: the block may be lifted before its end. As many users as may be
/// blocked, with one client each, then try 167 times a second.
const RETURN_MS_MAX: u64 = 600_000;

/// The moment of this process that is this time of the store, where it is `store_unix_ms` at `now`.
pub fn moment_of(unix_ms: u64, store_unix_ms: u64, now: Moment) -> Moment {
    now + Duration::from_millis(unix_ms.saturating_sub(store_unix_ms))
}

/// When a client of the blocked user should return, in milliseconds; `None`: the block has no end.
pub fn return_ms(ends: Option<Moment>, now: Moment) -> Option<u32> {
    let left = u64::try_from(ends?.since(now).as_millis()).unwrap_or(u64::MAX);
    u32::try_from(left.clamp(RETURN_MS_MIN, RETURN_MS_MAX)).ok()
}

/// The end of a session by a block. `return_ms` as in [`return_ms`].
pub fn end_by_block(return_ms: Option<u32>) -> CloseReason {
    match return_ms {
        Some(retry_ms) => CloseReason::Blocked { text: BLOCKED, retry_ms },
        None => CloseReason::Forbidden(BLOCKED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_micros(ms * 1_000)
    }

    #[test]
    fn client_of_a_blocked_user_returns_at_the_end_or_sometimes_before() {
        assert_eq!(return_ms(None, at(5)), None);
        let wait = |ends| return_ms(Some(at(ends)), at(5_000));
        assert_eq!((wait(35_000), wait(605_000)), (Some(30_000), Some(600_000)));
        assert_eq!(wait(u64::MAX / 2_000), Some(600_000), "it may be lifted");
        assert_eq!((wait(5_001), wait(0)), (Some(1_000), Some(1_000)), "it ends, or has ended");
    }

    #[test]
    fn only_a_block_without_an_end_is_final() {
        let [for_now, for_good] = [Some(30_000), None].map(end_by_block);
        assert_eq!((for_now.code(), for_now.terminal(), for_now.retry_ms()), (4403, false, Some(30_000)));
        assert_eq!((for_good.code(), for_good.terminal(), for_good.retry_ms()), (4503, true, None));
    }
}
