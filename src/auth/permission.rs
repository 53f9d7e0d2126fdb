//! Who may do what on which channel.

use crate::id::ChannelName;

/// What a user may do with a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// `subscribe`: live publications, recovery and `history`.
    Subscribe,
    /// `publish`: publications and signals.
    Publish,
    /// `moderate`: editing and deleting what others published.
    Moderate,
}

/// The rights of one token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {}

impl Permissions {
    /// Everything on every channel: what everybody has when auth is off.
    pub fn everything() -> Permissions {
        Permissions {}
    }

    /// Whether `right` is granted on `channel`.
    pub fn allow(&self, _right: Right, _channel: &ChannelName) -> bool {
        true
    }
}
