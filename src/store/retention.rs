//! The bounds of what a store retains, and whether a duty of retention goes on.

use crate::id::{CANARY_PREFIX, ChannelName};
use std::time::Duration;

/// How much a store retains, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Publications per channel; 0 keeps any number.
    pub publications: u64,
    /// Age of a publication; `None` keeps any age.
    pub age: Option<Duration>,
}

/// Publications that the channel of a canary keeps.
const CANARY_PUBLICATIONS: u64 = 100;

impl Retention {
    /// The publications that a channel keeps; 0: any number.
    pub(crate) fn publications_of(&self, channel: &ChannelName) -> u64 {
        self.publications_of_name(channel.as_str())
    }

    /// The same for a stored name.
    pub(crate) fn publications_of_name(&self, channel: &str) -> u64 {
        match self.publications {
            most if !channel.starts_with(CANARY_PREFIX) => most,
            0 => CANARY_PUBLICATIONS,
            most => most.min(CANARY_PUBLICATIONS),
        }
    }
}

/// The rest of a duty in this round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Rest {
    #[default]
    None,
    Some,
}

impl Rest {
    /// The rest of two duties.
    pub(crate) fn or(self, other: Rest) -> Rest {
        if self == Rest::Some { self } else { other }
    }
}
