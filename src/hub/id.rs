//! Keys into the hub's tables. A serial number tells an old key from a newer entry at the same index.

/// A channel that this reactor has subscribers of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId {
    pub(super) index: u32,
    pub(super) serial: u32,
}

/// One connection's subscription to one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionId {
    pub(super) index: u32,
    pub(super) serial: u32,
}

/// The place of a connection in its reactor. The hub only hands it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot(pub u32);
