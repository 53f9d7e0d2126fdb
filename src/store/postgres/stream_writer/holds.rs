//! Pauses of what a flush cannot store, so that it does not delay the rest again and again.

use crate::clock::Moment;
use crate::id::ChannelName;
use ahash::AHashMap;
use std::time::Duration;

/// The first pause of the ends in a channel whose lock another session holds; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest one.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Streams in one statement.
const STREAMS_MAX: usize = 1_000;
const STREAMS_MIN: usize = 16;

/// The bounds of the statements of a flush.
#[derive(Debug)]
pub(super) struct Holds {
    /// Channels whose ends are stored apart, because their lock was held.
    channels: AHashMap<ChannelName, ChannelPause>,
    /// Streams in one statement: fewer if statements take too long.
    pub(super) streams: usize,
}

#[derive(Clone, Copy, Debug)]
struct ChannelPause {
    until: Moment,
    pause: Duration,
}

impl Default for Holds {
    fn default() -> Holds {
        Holds { channels: AHashMap::new(), streams: STREAMS_MAX }
    }
}

impl Holds {
    pub(super) fn are_none(&self) -> bool {
        self.channels.is_empty()
    }

    pub(super) fn is_held(&self, channel: &ChannelName) -> bool {
        self.channels.contains_key(channel)
    }

    /// The time before which the ends in a channel are not tried again, if that is to come.
    pub(super) fn until(&self, channel: &ChannelName, now: Moment) -> Option<Moment> {
        self.channels.get(channel).map(|hold| hold.until).filter(|until| *until > now)
    }

    /// The lock of a channel was held. Returns the time of the next try.
    pub(super) fn held_up(&mut self, channel: &ChannelName, now: Moment) -> Moment {
        // Those whose streams have ended in another way.
        self.channels.retain(|_, hold| hold.until + PAUSE_MAX > now);
        let before = self.channels.get(channel).map_or(Duration::ZERO, |hold| hold.pause);
        let pause = (before * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        let until = now + pause;
        self.channels.insert(channel.clone(), ChannelPause { until, pause });
        until
    }

    /// The ends in a channel were stored.
    pub(super) fn went_through(&mut self, channel: &ChannelName) {
        self.channels.remove(channel);
    }

    /// A statement with this many streams took too long.
    pub(super) fn took_too_long(&mut self, streams: usize) {
        self.streams = (streams.min(self.streams) / 2).max(STREAMS_MIN);
    }

    /// A statement with this many streams is committed.
    pub(super) fn stored(&mut self, streams: usize) {
        if streams >= self.streams {
            self.streams = (self.streams * 2).min(STREAMS_MAX);
        }
    }
}
