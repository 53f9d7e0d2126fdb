//! The open streams of a channel, as the hub shows them: pieces join the channel's run, and a subscriber that becomes live is shown
//! each open stream whole before that.
//!
//! The hub holds no text. It knows how far its live subscribers were sent each stream, so a piece that adjoins goes to all of
//! them with the same bytes, one that they have is dropped, and one that does not adjoin shows that something was missed. Then, and
//! for a subscriber that joins, the open streams are read once for the channel: a *round*. From its request on, the round keeps what
//! arrives. The store shows a read everything that it broadcast before, so the answer and what was kept adjoin. A subscriber that had more
//! before it fell behind is shown an older whole first, and then the rest.
//!
//! Changes made by other instances come over a bus that loses, delays and repeats them. What adjoins is sent, and the rest shows that the
//! streams must be read. A last change that was lost shows nothing, so the streams are also read whenever the log's position is: each
//! second while the bus does not deliver, else every ten ([`Hub::heads_read`]). Such a *look* delays nothing that adjoins.
//!
//! The end of a stream is known from the log alone: a publication that edits or deletes its begin ends it.

mod round;
pub(super) mod state;
#[cfg(test)]
mod tests;

use super::Hub;
use super::channel::channel_mut;
use super::exchange::Need;
use super::id::{ChannelId, SubscriptionId};
use super::subscription::{SubscriptionStage, WaitsFor, subscription_mut};
use crate::wire::publication::{Change, Published};
use crate::wire::stream::{KnownStream, StreamMark, StreamNews, WholeStream};

impl Hub {
    /// Notes what the client of a subscription has of open streams: it is shown only the rest of these. Call after [`Hub::open`], unless
    /// that decided that the log is not recovered: then the client begins with nothing.
    #[cold]
    pub fn know_streams(&mut self, id: SubscriptionId, streams: Box<[KnownStream]>) {
        if self.subscription(id).is_some() && !self.is_live(id) {
            self.known_streams.insert(id, streams);
        }
    }

    /// Takes a committed change of an open stream from the live lane.
    pub fn streamed(&mut self, news: &StreamNews) {
        let Some(id) = self.names.get(&news.id.channel).copied() else { return };
        let Some(channel) = channel_mut(&mut self.channels, id) else { return };
        // Until the position is known no subscriber is live, and the page with the position says that there are streams.
        let Some(position) = channel.position() else { return };
        if news.id.offset > position.head {
            // Its begin was lost. The page that brings it has the streams read.
            let lacks = channel.hear_of(news.id.offset);
            self.needs.extend(lacks.map(|after| Need::Fill(id, after)));
            return;
        }
        let streams = channel.streams.get_or_insert_default();
        let frames = streams.take(id, news, &mut self.needs);
        if let Some(frames) = frames
            && !channel.live.is_empty()
        {
            channel.add_to_run(position.head, &frames, 0);
            self.mark_dirty(id);
        }
        self.drop_spent_streams(id);
    }

    /// Takes a publication that joined the run, if it may begin or end a stream.
    #[cold]
    pub(super) fn stream_published(&mut self, id: ChannelId, published: &Published) {
        let Some(channel) = channel_mut(&mut self.channels, id) else { return };
        match (published.change, published.stream) {
            (Change::Edits(begin) | Change::Deletes(begin), _) => {
                if let Some(streams) = &mut channel.streams {
                    streams.end(begin);
                }
            }
            (Change::None, StreamMark::Begun) => {
                channel.streams.get_or_insert_default().begin(published.offset);
            }
            (Change::None, StreamMark::None | StreamMark::Ended(_)) => {}
        }
        self.drop_spent_streams(id);
    }

    /// Reads the open streams of a channel, because some may have begun, grown or ended unseen.
    #[cold]
    pub(super) fn doubt_streams(&mut self, id: ChannelId) {
        let Some(channel) = channel_mut(&mut self.channels, id) else { return };
        channel.streams.get_or_insert_default().doubt(id, &mut self.needs);
    }

    /// Reads the open streams of all channels again, because a broadcast about streams did not arrive.
    pub fn streams_missed(&mut self) {
        let with_streams = self.channels.iter().filter(|(_, channel)| channel.streams.is_some());
        let ids: Vec<ChannelId> = with_streams
            .map(|(index, channel)| ChannelId { index: index as u32, serial: channel.serial })
            .collect();
        for id in ids {
            self.doubt_streams(id);
        }
    }

    /// Answers [`Need::Streams`] with the open streams. `None` means that the read failed: subscribers that wait become
    /// live without the streams, which follow when a read works; the caller calls [`Hub::ask_streams`] later.
    pub fn streams_read(&mut self, id: ChannelId, read: Option<Vec<WholeStream>>) {
        let Some(channel) = channel_mut(&mut self.channels, id) else { return };
        let (Some(position), Some(streams)) = (channel.position(), &mut channel.streams) else { return };
        let answered = streams.answered(id, position.head, read, &mut self.needs);
        for waiting in answered.waiting {
            if let Some(subscription) = subscription_mut(&mut self.subscriptions, waiting)
                && let SubscriptionStage::Behind(behind) = &mut subscription.stage
            {
                behind.waits_for = WaitsFor::Room;
                self.caught_up.push(waiting);
            }
        }
        if !answered.missing.is_empty() && !channel.live.is_empty() {
            for frames in &answered.missing {
                channel.add_to_run(position.head, frames, 0);
            }
            self.mark_dirty(id);
        }
        self.drop_spent_streams(id);
    }

    /// Reads the open streams again after a read failed.
    pub fn ask_streams(&mut self, id: ChannelId) {
        if let Some(channel) = channel_mut(&mut self.channels, id)
            && let Some(streams) = &mut channel.streams
        {
            streams.ask_after_failure(id, &mut self.needs);
        }
    }

    /// Forgets a subscription that ended while it was being shown the open streams.
    #[cold]
    pub(super) fn leave_streams(&mut self, id: ChannelId, subscription: SubscriptionId) {
        if let Some(channel) = channel_mut(&mut self.channels, id)
            && let Some(streams) = &mut channel.streams
        {
            streams.leave(subscription);
            self.drop_spent_streams(id);
        }
    }

    fn drop_spent_streams(&mut self, id: ChannelId) {
        if let Some(channel) = channel_mut(&mut self.channels, id) {
            channel.streams.take_if(|streams| streams.is_spent());
        }
    }

    /// Panics if what is known of streams contradicts itself.
    #[cfg(test)]
    pub(super) fn check_streams(&self) {
        for (_, channel) in &self.channels {
            let Some(streams) = &channel.streams else { continue };
            streams.check_invariants();
            for id in streams.joining() {
                let subscription = self.subscription(id).map(|subscription| subscription.stage);
                assert!(
                    matches!(subscription, Some(SubscriptionStage::Behind(_))),
                    "{id:?}: {subscription:?}"
                );
            }
        }
    }
}
