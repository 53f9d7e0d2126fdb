//! Subscribers of this reactor's channels, and the place of each in its channel's log.
//!
//! The hub only decides. Publications go in ([`Hub::publish`]), runs of bytes come out ([`Hub::take_run`]), and the reads
//! that it needs from the store come out as [`Need`]s.
//!
//! Subscribers that have everything up to the channel's head are *live*. They are a plain vector, and a run goes to
//! all of them without a branch per subscriber. All others (opening, replaying, lagging) have a cursor of their own
//! and catch up in steps ([`Hub::step`], in `replay`).
//!
//! In each turn, call in this order:
//!
//! 1. `publish`, `streamed` and `signal` for what arrived;
//! 2. `filled`, `position_read`, `older_read`, `heads_read`, `streams_read` and `page_read` for the reads that completed;
//! 3. `take_run` and `fall_behind` until no channel is dirty;
//! 4. `take_caught_up`;
//! 5. `take_needs`.

mod channel;
mod cursor;
mod exchange;
mod filling;
mod id;
mod opening;
mod replay;
mod shared;
mod streams;
mod subscription;
mod tail;
#[cfg(test)]
mod tests;

pub use channel::LiveSubscriber;
pub use cursor::Decision;
pub use exchange::{CatchUpStep, Contradiction, LogPage, Need, PageWanted, Paging, ReplayPage};
pub use id::{ChannelId, Slot, SubscriptionId};

use crate::id::{ChannelName, Offset};
use crate::wire::command::StartAt;
use crate::wire::publication::Published;
use crate::wire::stream::StreamMark;
use channel::{Channel, channel_mut};
use slab::Slab;
use std::collections::HashMap;
use std::rc::Rc;
use streams::state::KnownStreams;
use subscription::{Behind, Catching, Subscription, SubscriptionStage, WaitsFor, subscription_mut};
use tail::Tails;

/// The reason why a subscription was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenRefused {
    /// `limits.channels` is reached.
    TooManyChannels,
}

/// Channels and subscriptions of one reactor: see the module documentation.
pub struct Hub {
    names: HashMap<ChannelName, ChannelId, ahash::RandomState>,
    channels: Slab<Channel>,
    subscriptions: Slab<Subscription>,
    tails: Tails,
    serial: u32,
    channels_max: usize,
    dirty: Vec<ChannelId>,
    caught_up: Vec<SubscriptionId>,
    needs: Vec<Need>,
    unfollowed: Vec<ChannelName>,
    contradiction: Option<Box<Contradiction>>,
    /// The parts of open streams that subscriptions which catch up have already.
    known_streams: KnownStreams,
}

impl Hub {
    /// `channels_max` bounds the channels followed at once, `tail_bytes_max` the memory of recent
    /// publications; `hasher` is seeded by the caller.
    pub fn new(channels_max: usize, tail_bytes_max: usize, hasher: ahash::RandomState) -> Hub {
        Hub {
            names: HashMap::with_hasher(hasher),
            channels: Slab::new(),
            subscriptions: Slab::new(),
            tails: Tails::new(tail_bytes_max),
            serial: 0,
            channels_max,
            dirty: Vec::new(),
            caught_up: Vec::new(),
            needs: Vec::new(),
            unfollowed: Vec::new(),
            contradiction: None,
            known_streams: KnownStreams::default(),
        }
    }

    /// Registers a subscription. The result holds its start if memory decides it (`Some`); otherwise the store's answer
    /// decides it ([`Hub::position_read`]).
    pub fn open(
        &mut self,
        name: &ChannelName,
        slot: Slot,
        from: StartAt,
    ) -> Result<(SubscriptionId, Option<Decision>), OpenRefused> {
        let channel_id = match self.names.get(name) {
            Some(id) => *id,
            None => self.add_channel(name)?,
        };
        let id = self.add_subscription(channel_id, slot, from);
        let Some(channel) = channel_mut(&mut self.channels, channel_id) else { return Ok((id, None)) };
        channel.subscribers += 1;
        let decision = self.decide_from_memory(channel_id, from);
        match decision {
            Some(decision) => self.begin(id, decision),
            None => self.ask_position(id, channel_id),
        }
        Ok((id, decision))
    }

    fn add_channel(&mut self, name: &ChannelName) -> Result<ChannelId, OpenRefused> {
        if self.channels.len() >= self.channels_max {
            return Err(OpenRefused::TooManyChannels);
        }
        self.serial = self.serial.wrapping_add(1);
        let entry = self.channels.vacant_entry();
        let id = ChannelId { index: entry.key() as u32, serial: self.serial };
        entry.insert(Channel::new(name.clone(), id.serial));
        self.names.insert(name.clone(), id);
        Ok(id)
    }

    fn add_subscription(&mut self, channel: ChannelId, slot: Slot, from: StartAt) -> SubscriptionId {
        self.serial = self.serial.wrapping_add(1);
        let serial = self.serial;
        let stage = SubscriptionStage::Opening { from };
        let index =
            self.subscriptions.insert(Subscription { serial, channel, slot, sent_head: Offset::ZERO, stage });
        SubscriptionId { index: index as u32, serial }
    }

    /// Ends a subscription. A channel without subscribers is removed.
    pub fn close(&mut self, id: SubscriptionId) {
        if subscription_mut(&mut self.subscriptions, id).is_none() {
            return;
        }
        let subscription = self.subscriptions.remove(id.index as usize);
        if let SubscriptionStage::Live { at } = subscription.stage {
            self.remove_live(subscription.channel, at);
        }
        let Some(channel) = channel_mut(&mut self.channels, subscription.channel) else { return };
        channel.asked.retain(|other| *other != id);
        channel.waiting.retain(|other| *other != id);
        channel.ahead.retain(|other| *other != id);
        channel.older.waiting.retain(|other| *other != id);
        self.known_streams.remove(&id);
        if channel.streams.is_some() {
            self.leave_streams(subscription.channel, id);
        }
        let Some(channel) = channel_mut(&mut self.channels, subscription.channel) else { return };
        channel.subscribers -= 1;
        if channel.subscribers == 0 {
            self.names.remove(&channel.name);
            let mut channel = self.channels.remove(subscription.channel.index as usize);
            self.tails.clear(&mut channel.tail, subscription.channel);
            if channel.following == channel::Following::Asked {
                self.unfollowed.push(channel.name);
            }
        }
    }

    fn remove_live(&mut self, channel: ChannelId, at: u32) {
        let Some(channel) = channel_mut(&mut self.channels, channel) else { return };
        channel.live.swap_remove(at as usize);
        if let Some(moved) = channel.live.get(at as usize)
            && let Some(subscription) = self.subscriptions.get_mut(moved.subscription as usize)
        {
            subscription.stage = SubscriptionStage::Live { at };
        }
    }

    /// The channel's name, if the subscription exists.
    pub fn name(&self, id: SubscriptionId) -> Option<&ChannelName> {
        let subscription = self.subscription(id)?;
        self.channel(subscription.channel).map(|channel| &channel.name)
    }

    /// The channel's name, if it has subscribers.
    pub fn channel_name(&self, id: ChannelId) -> Option<&ChannelName> {
        self.channel(id).map(|channel| &channel.name)
    }

    /// The connection of a subscription.
    pub fn slot(&self, id: SubscriptionId) -> Option<Slot> {
        self.subscription(id).map(|subscription| subscription.slot)
    }

    /// The subscription that has waited longest for a read of its channel's log; `None` if none waits.
    pub fn waits_longest(&self, id: ChannelId) -> Option<SubscriptionId> {
        let channel = self.channel(id)?;
        let streams = channel.streams.as_ref().and_then(|streams| streams.waits_longest());
        channel.asked.iter().chain(&channel.waiting).chain(&channel.older.waiting).next().copied().or(streams)
    }

    /// True exactly when the subscription is sent each run of its channel.
    pub fn is_live(&self, id: SubscriptionId) -> bool {
        matches!(self.subscription(id), Some(Subscription { stage: SubscriptionStage::Live { .. }, .. }))
    }

    /// Takes a publication from the live lane. A duplicate is dropped; a hole is filled from the store. Another publication under a
    /// known offset is dropped and reported ([`Hub::take_contradiction`]).
    pub fn publish(&mut self, published: &Published) {
        let Some(id) = self.names.get(&published.channel).copied() else { return };
        let Some(channel) = channel_mut(&mut self.channels, id) else { return };
        match channel.intake(published) {
            channel::Intake::Taken => {
                let concerns_streams = published.stream != StreamMark::None || channel.streams.is_some();
                self.tails.push(&mut channel.tail, id, published);
                self.evict();
                self.mark_dirty(id);
                if concerns_streams {
                    self.stream_published(id, published);
                }
            }
            channel::Intake::Hole(after) => self.needs.push(Need::Fill(id, after)),
            channel::Intake::Dropped => {}
            channel::Intake::Contradicts(known) => {
                let (channel, found) = (published.channel.clone(), published.offset);
                self.contradiction = Some(Box::new(Contradiction { channel, known, found }));
            }
        }
    }

    /// Takes the proof that a log lost publications, if one arrived since the last call: the last one.
    pub fn take_contradiction(&mut self) -> Option<Box<Contradiction>> {
        self.contradiction.take()
    }

    /// Takes a signal, which goes to the subscribers that are live in this turn.
    pub fn signal(&mut self, channel: &ChannelName, frame: &[u8]) {
        let Some(id) = self.names.get(channel).copied() else { return };
        let Some(channel) = channel_mut(&mut self.channels, id) else { return };
        if !channel.live.is_empty() {
            channel.add_signal(frame);
            self.mark_dirty(id);
        }
    }

    fn mark_dirty(&mut self, id: ChannelId) {
        if let Some(channel) = channel_mut(&mut self.channels, id)
            && channel.run_state == channel::RunState::Clean
        {
            channel.run_state = channel::RunState::Dirty;
            self.dirty.push(id);
        }
    }

    /// Changes the bound on the memory of recent publications, and drops what is over it at once.
    pub fn bound_tails(&mut self, bytes_max: usize) {
        self.tails.bound(bytes_max);
        self.evict();
    }

    fn evict(&mut self) {
        while let Some(id) = self.tails.over() {
            if let Some(channel) = channel_mut(&mut self.channels, id) {
                self.tails.evict(&mut channel.tail, id);
            }
        }
    }

    /// Takes the run of the next channel that received something in this turn, with the subscribers to send it to.
    pub fn take_run(&mut self) -> Option<Run<'_>> {
        let id = loop {
            let id = self.dirty.pop()?;
            if self.channel(id).is_some() {
                break id;
            }
        };
        let channel = channel_mut(&mut self.channels, id)?;
        let bytes = Rc::from(channel.run.as_slice());
        let channel::RunContent { publications, time_ms, after: _ } = channel.run_content;
        let is_of_canary = channel.name.is_of_canary();
        channel.end_run();
        self.caught_up.append(&mut channel.ahead);
        Some(Run { bytes, publications, time_ms, is_of_canary, live: &channel.live })
    }

    /// Marks a live subscriber as lagging because its outbox refused the last run of its channel.
    pub fn fall_behind(&mut self, live: LiveSubscriber) {
        let Some(subscription) = self.subscriptions.get_mut(live.subscription as usize) else { return };
        let (SubscriptionStage::Live { at }, channel_id) = (subscription.stage, subscription.channel) else {
            return;
        };
        let Some(channel) = channel_mut(&mut self.channels, channel_id) else { return };
        subscription.stage =
            SubscriptionStage::Behind(Behind::at(channel.run_content.after, Catching::Lagging));
        self.remove_live(channel_id, at);
    }

    /// Takes the subscribers that no longer wait for their channel's head or tail; call [`Hub::step`] for each.
    pub fn take_caught_up(&mut self) -> Vec<SubscriptionId> {
        let ids = std::mem::take(&mut self.caught_up);
        for id in &ids {
            if let Some(Subscription { stage: SubscriptionStage::Behind(behind), .. }) =
                subscription_mut(&mut self.subscriptions, *id)
                && behind.waits_for == WaitsFor::Head
            {
                behind.waits_for = WaitsFor::Room;
            }
        }
        ids
    }

    /// Takes the reads to make from the store. Answer each of them, with `None` after a failure.
    pub fn take_needs(&mut self) -> Vec<Need> {
        std::mem::take(&mut self.needs)
    }

    /// True exactly when [`Hub::take_needs`] would return something.
    pub fn has_needs(&self) -> bool {
        !self.needs.is_empty()
    }

    /// Marks a channel as followed on the bus. True exactly when the caller must ask the bus now, because it has not
    /// been asked since the channel got its first subscriber.
    pub fn ask_follow(&mut self, id: ChannelId) -> bool {
        let Some(channel) = channel_mut(&mut self.channels, id) else { return false };
        std::mem::replace(&mut channel.following, channel::Following::Asked) == channel::Following::No
    }

    /// Marks a channel as not followed, because the bus could not be asked.
    pub fn not_asked(&mut self, id: ChannelId) {
        if let Some(channel) = channel_mut(&mut self.channels, id) {
            channel.following = channel::Following::No;
        }
    }

    /// Takes the channels that are followed on the bus and have lost their last subscriber, oldest loss first.
    pub fn take_unfollowed(&mut self) -> Vec<ChannelName> {
        std::mem::take(&mut self.unfollowed)
    }

    /// Up to `most` channels whose position is known, each with its head, beginning at index `from`, and the index to continue
    /// at; `None` at the end.
    pub fn heads_from(&self, from: usize, most: usize) -> (Vec<(ChannelName, Offset)>, Option<usize>) {
        let mut heads = Vec::new();
        for (index, channel) in self.channels.iter().skip_while(|(index, _)| *index < from) {
            if heads.len() == most {
                return (heads, Some(index));
            }
            if let Some(position) = channel.position() {
                heads.push((channel.name.clone(), position.head));
            }
        }
        (heads, None)
    }

    /// The head of a subscription's channel, if it is newer than the last one returned here or sent in the reply.
    /// `None` while the subscription is opening.
    pub fn moved(&mut self, id: SubscriptionId) -> Option<(ChannelName, Offset)> {
        let subscription = subscription_mut(&mut self.subscriptions, id)?;
        match subscription.stage {
            SubscriptionStage::Opening { .. } => return None,
            SubscriptionStage::Behind(_) | SubscriptionStage::Live { .. } => {}
        }
        let channel = channel_mut(&mut self.channels, subscription.channel)?;
        let head = channel.position()?.head.max(channel.seen);
        if head <= subscription.sent_head {
            return None;
        }
        subscription.sent_head = head;
        Some((channel.name.clone(), head))
    }

    /// The number of channels and of subscriptions, and the bytes of recent publications, for metrics.
    pub fn sizes(&self) -> (usize, usize, usize) {
        (self.channels.len(), self.subscriptions.len(), self.tails.bytes())
    }

    fn subscription(&self, id: SubscriptionId) -> Option<&Subscription> {
        self.subscriptions.get(id.index as usize).filter(|subscription| subscription.serial == id.serial)
    }

    fn channel(&self, id: ChannelId) -> Option<&Channel> {
        self.channels.get(id.index as usize).filter(|channel| channel.serial == id.serial)
    }
}

/// The bytes that one channel received in one turn.
pub struct Run<'a> {
    /// Whole frames, one after the other: the same bytes for every subscriber.
    pub bytes: Rc<[u8]>,
    /// The number of publications among them; the others are signals.
    pub publications: u32,
    /// The time of the commit of the first of them by the store's clock, in Unix milliseconds, or
    /// [`UNKNOWN_TIME`](crate::wire::publication::UNKNOWN_TIME).
    pub time_ms: u64,
    /// The channel is a canary's, so its subscriber is no user.
    pub is_of_canary: bool,
    /// The subscribers to send them to.
    pub live: &'a [LiveSubscriber],
}
