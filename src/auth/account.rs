//! The meters of one user, shared by all of the user's connections on this instance.

use crate::clock::Moment;
use crate::rate::SharedMeter;

/// The use of the rates that belong to a user and not to a connection. A user that opens more connections
/// gets no more.
#[derive(Debug, Default)]
pub struct Account {
    /// `limits.publishes_per_s`
    pub publishes: SharedMeter,
    /// `limits.publish_bytes_per_s`
    pub publish_bytes: SharedMeter,
    /// `limits.signals_per_s`
    pub signals: SharedMeter,
    /// `limits.read_bytes_per_s`
    pub read_bytes: SharedMeter,
}

impl Account {
    /// True exactly when this account behaves like a new one, so that it can be dropped.
    pub fn at_rest(&self, now: Moment) -> bool {
        let Account { publishes, publish_bytes, signals, read_bytes } = self;
        [publishes, publish_bytes, signals, read_bytes].iter().all(|meter| meter.at_rest(now))
    }
}
