//! The bounds on a peer's frames.

use crate::limits::Limits;

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
