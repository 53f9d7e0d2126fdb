//! The number of open streams in each channel, and the share of each user in the answers among them.

use crate::id::{ChannelName, UserName};
use ahash::AHashMap;

#[derive(Debug, Default)]
struct OpenInChannel {
    streams: usize,
    /// The users who asked, each as often as one of the streams is an answer to them.
    askers: Vec<UserName>,
}

/// The open streams of all channels that have some.
#[derive(Debug, Default)]
pub(super) struct ChannelShares(AHashMap<ChannelName, OpenInChannel>);

impl ChannelShares {
    /// True if a stream may begin. The answers to one user are at most half of a channel's, so that questions of one user to a backend that is down
    /// do not keep others from asking.
    pub(super) fn admits(&self, channel: &ChannelName, answers: Option<&UserName>, most: usize) -> bool {
        let Some(open) = self.0.get(channel) else { return most > 0 };
        let own = answers.map_or(0, |asker| open.askers.iter().filter(|it| *it == asker).count());
        open.streams < most && own < most.div_ceil(2)
    }

    pub(super) fn open(&mut self, channel: &ChannelName, answers: Option<&UserName>) {
        let open = self.0.entry(channel.clone()).or_default();
        open.streams += 1;
        open.askers.extend(answers.cloned());
    }

    pub(super) fn close(&mut self, channel: &ChannelName, answers: Option<&UserName>) {
        let Some(open) = self.0.get_mut(channel) else { return };
        open.streams = open.streams.saturating_sub(1);
        if let Some(place) = answers.and_then(|asker| open.askers.iter().position(|it| it == asker)) {
            open.askers.swap_remove(place);
        }
        if open.streams == 0 {
            self.0.remove(channel);
        }
    }
}
