//! The bounds on a peer's frames.

use crate::limits::Limits;
use crate::wire::command::TOKEN_BYTES_MAX;

/// Bytes of a `connect` that always fit.
const CONNECT_BYTES_MIN: u32 = 36 << 10;
/// A cursor of `connect`: a channel, an epoch and an offset in JSON.
const CURSOR_BYTES: u32 = 208;

/// The bounds on a peer's frames.
#[derive(Clone, Copy, Debug)]
pub struct FrameLimits {
    pub frame_bytes: u32,
    pub message_bytes: u32,
    pub fragments: u32,
}

impl From<&Limits> for FrameLimits {
    fn from(limits: &Limits) -> FrameLimits {
        FrameLimits {
            frame_bytes: limits.frame_bytes,
            message_bytes: limits.message_bytes,
            fragments: limits.fragments,
        }
    }
}

impl FrameLimits {
    /// The limits until `connect` arrived, because any stranger may begin a message and never end it. There is room for a token
    /// and the cursors of all subscriptions.
    pub fn before_connect(self, limits: &Limits) -> FrameLimits {
        let cursors = limits.subscriptions.saturating_mul(CURSOR_BYTES);
        let bytes = cursors.saturating_add(TOKEN_BYTES_MAX as u32).max(CONNECT_BYTES_MIN);
        FrameLimits {
            frame_bytes: self.frame_bytes.min(bytes),
            message_bytes: self.message_bytes.min(bytes),
            fragments: self.fragments,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_message_has_room_for_every_cursor_and_for_no_more_than_others() {
        let bytes = |limits: &Limits| FrameLimits::from(limits).before_connect(limits).message_bytes;
        assert_eq!(bytes(&Limits::default()), 36 << 10);
        assert_eq!(bytes(&Limits { message_bytes: 1_000, ..Limits::default() }), 1_000);
        let many = Limits { subscriptions: 1_000, message_bytes: 1 << 20, ..Limits::default() };
        assert_eq!(bytes(&many), 8_192 + 208_000);
    }
}
