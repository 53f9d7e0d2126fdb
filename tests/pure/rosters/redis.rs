//! The Redis of the model.

use seawall::id::{ChannelName, Incarnation};
use std::collections::BTreeMap;

/// A lease: its renewals, and whether everything of the incarnation is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ModelLease {
    pub(super) renewals: u64,
    pub(super) is_complete: bool,
}

/// The data of the server.
#[derive(Clone, Debug, Default)]
pub(super) struct ModelRedis {
    pub(super) leases: BTreeMap<Incarnation, ModelLease>,
    /// The number of the last flush of each incarnation.
    pub(super) flushes: BTreeMap<Incarnation, u64>,
    pub(super) hashes: BTreeMap<ChannelName, BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl ModelRedis {
    /// A member that an incarnation left behind.
    pub(super) fn leave_behind(&mut self, incarnation: Incarnation, channel: &ChannelName, user: &str) {
        let member = (format!("{incarnation}/{user}").into_bytes(), b"1,0,5,0,".to_vec());
        let head = (incarnation.to_string().into_bytes(), b"3,1,1,l".to_vec());
        self.write(channel, &[], &[head, member]);
    }

    pub(super) fn write(&mut self, channel: &ChannelName, remove: &[Vec<u8>], set: &[(Vec<u8>, Vec<u8>)]) {
        let hash = self.hashes.entry(channel.clone()).or_default();
        for name in remove {
            hash.remove(name);
        }
        hash.extend(set.iter().cloned());
    }

    /// All fields of a channel.
    pub(super) fn read(&self, channel: &ChannelName) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.hashes
            .get(channel)
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}
