//! Which connections of this reactor follow which channel, and where each stands in its log.
//!
//! The hub decides and does nothing: a turn's publications go in ([`Hub::publish`]), runs of bytes come out
//! ([`Hub::take_run`]), and what has to be read from the store comes out as [`Need`]s.
//!
//! Subscribers that have everything up to the channel's head are *live*: they are a plain vector, and a run
//! goes to all of them without a look at any. All others (opening, replaying, lagging) have a cursor of
//! their own and catch up in steps ([`Hub::step`], in `replay`). So the hot path has no branch a subscriber.
//!
//! How to use it, in this order each turn: `publish` and `signal` for what arrived; `filled`,
//! `position_read`, `older_read`, `heads_read` and `page_read` for what was asked; `take_run` and `fall_behind` while
//! there is a dirty channel; `take_caught_up`; then drain `needs`.

mod channel;
mod cursor;
mod filling;
mod opening;
mod replay;
mod shared;
mod tail;
#[cfg(test)]
mod tests;

pub use channel::Live;
pub use cursor::Decision;
pub use replay::{Paging, ReplayPage, Step};
pub use shared::{LogPage, Wanted};

use crate::id::{ChannelName, Offset};
use crate::wire::command::From;
use crate::wire::publication::Published;
use channel::Channel;
use slab::Slab;
use std::collections::HashMap;
use std::rc::Rc;
use tail::Tails;

/// A channel this reactor has subscribers of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChannelId {
    index: u32,
    serial: u32,
}

/// One connection's subscription to one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubscriptionId {
    index: u32,
    serial: u32,
}

/// Where a connection lives in its reactor. The hub only hands it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot(pub u32);

/// What the hub has to know from the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// Where a channel's log stands, and what [`Hub::wanted`] says.
    Position(ChannelId),
    /// What [`Hub::older`] says, for all that wait for it.
    Older(ChannelId),
    /// The publications after this offset, which did not arrive by themselves.
    Fill(ChannelId, Offset),
}

/// A subscription was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenRefused {
    /// `limits.channels` is reached.
    TooManyChannels,
}

#[derive(Debug)]
struct Subscription {
    serial: u32,
    channel: ChannelId,
    slot: Slot,
    /// The newest head this subscriber was told of, for `beat`.
    told: Offset,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Waits for the log's position.
    Opening { from: From },
    /// Has its own cursor and catches up.
    Behind(Behind),
    /// Has everything up to the channel's head; `at` is its place among the live ones.
    Live { at: u32 },
}

/// A subscriber that is catching up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Behind {
    /// The last publication it was sent, or must not be sent.
    cursor: Offset,
    /// It may not be called caught up before this one: the head it was told.
    until: Offset,
    catching: Catching,
    waits: Waits,
    /// Reads for all that it may still wait for; then it has pages of its own.
    shared: u8,
}

impl Behind {
    fn at(cursor: Offset, catching: Catching) -> Behind {
        Behind { cursor, until: cursor, catching, waits: Waits::Room, shared: shared::READS_MAX }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Catching {
    /// The replay that a subscription begins with; it ends with `synced`.
    Opening,
    /// It fell behind; it ends silently.
    Lagging,
}

/// What a subscriber that is behind waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// Only for room in its outbox.
    Room,
    /// For a page from the store.
    Page,
    /// For older publications in the tail, as others do; it stands in `for_older`.
    Older,
    /// For the channel's head to move, or for the run in hand to be given out; it stands in `ahead`.
    Head,
}

/// See the module.
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
        }
    }

    /// Registers a subscription. It is registered when this returns; where it begins is decided at once if
    /// memory can tell (`Some`), else when the store was asked ([`Hub::position_read`]).
    pub fn open(
        &mut self,
        name: &ChannelName,
        slot: Slot,
        from: From,
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

    fn add_subscription(&mut self, channel: ChannelId, slot: Slot, from: From) -> SubscriptionId {
        self.serial = self.serial.wrapping_add(1);
        let serial = self.serial;
        let stage = Stage::Opening { from };
        let index =
            self.subscriptions.insert(Subscription { serial, channel, slot, told: Offset::ZERO, stage });
        SubscriptionId { index: index as u32, serial }
    }

    /// Ends a subscription; a channel without any is forgotten.
    pub fn close(&mut self, id: SubscriptionId) {
        if subscription_mut(&mut self.subscriptions, id).is_none() {
            return;
        }
        let subscription = self.subscriptions.remove(id.index as usize);
        if let Stage::Live { at } = subscription.stage {
            self.remove_live(subscription.channel, at);
        }
        let Some(channel) = channel_mut(&mut self.channels, subscription.channel) else { return };
        channel.asked.retain(|other| *other != id);
        channel.waiting.retain(|other| *other != id);
        channel.ahead.retain(|other| *other != id);
        channel.for_older.retain(|other| *other != id);
        channel.subscribers -= 1;
        if channel.subscribers == 0 {
            self.names.remove(&channel.name);
            let mut channel = self.channels.remove(subscription.channel.index as usize);
            self.tails.clear(&mut channel.tail);
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
            subscription.stage = Stage::Live { at };
        }
    }

    /// The channel's name, for a subscription that exists.
    pub fn name(&self, id: SubscriptionId) -> Option<&ChannelName> {
        let subscription = self.subscription(id)?;
        self.channel(subscription.channel).map(|channel| &channel.name)
    }

    /// The channel's name, while it has subscribers.
    pub fn channel_name(&self, id: ChannelId) -> Option<&ChannelName> {
        self.channel(id).map(|channel| &channel.name)
    }

    /// Which connection a subscription belongs to.
    pub fn slot(&self, id: SubscriptionId) -> Option<Slot> {
        self.subscription(id).map(|subscription| subscription.slot)
    }

    /// True exactly when the subscription is sent runs as they come.
    pub fn is_live(&self, id: SubscriptionId) -> bool {
        matches!(self.subscription(id), Some(Subscription { stage: Stage::Live { .. }, .. }))
    }

    /// Takes what the bus brought. Duplicates are dropped; a hole is filled from the store.
    pub fn publish(&mut self, published: &Published) {
        let Some(id) = self.names.get(&published.channel).copied() else { return };
        let Some(channel) = channel_mut(&mut self.channels, id) else { return };
        match channel.intake(published) {
            channel::Intake::Taken => {
                self.tails.push(&mut channel.tail, id, published);
                self.evict();
                self.mark_dirty(id);
            }
            channel::Intake::Hole(after) => self.needs.push(Need::Fill(id, after)),
            channel::Intake::Dropped => {}
        }
    }

    /// Takes a signal: it goes to whoever is live in this turn.
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

    /// Recent publications may take so much memory from here on; what is over it goes at once.
    pub fn bound_tails(&mut self, bytes_max: usize) {
        self.tails.bound(bytes_max);
        self.evict();
    }

    fn evict(&mut self) {
        while let Some(id) = self.tails.over() {
            if let Some(channel) = channel_mut(&mut self.channels, id) {
                self.tails.evict(&mut channel.tail);
            }
        }
        if self.tails.has_many_gone() {
            let channels = &mut self.channels;
            self.tails.forget_gone(|id| {
                channel_mut(channels, *id).is_some_and(|channel| channel.tail.gives_up_entry())
            });
        }
    }

    /// The next channel that got something in this turn, the bytes it got, and who is to have them.
    pub fn take_run(&mut self) -> Option<Run<'_>> {
        let id = loop {
            let id = self.dirty.pop()?;
            if self.channel(id).is_some() {
                break id;
            }
        };
        let channel = channel_mut(&mut self.channels, id)?;
        let bytes = Rc::from(channel.run.as_slice());
        let publications = channel.run_publications;
        channel.end_run();
        self.caught_up.append(&mut channel.ahead);
        Some(Run { bytes, publications, live: &channel.live })
    }

    /// A live subscriber's outbox did not take the last run of its channel: it lags from there on.
    pub fn fall_behind(&mut self, live: Live) {
        let Some(subscription) = self.subscriptions.get_mut(live.subscription as usize) else { return };
        let (Stage::Live { at }, channel_id) = (subscription.stage, subscription.channel) else { return };
        let Some(channel) = channel_mut(&mut self.channels, channel_id) else { return };
        subscription.stage = Stage::Behind(Behind::at(channel.run_after, Catching::Lagging));
        self.remove_live(channel_id, at);
    }

    /// Subscribers that waited for their channel's head to reach them: step them again.
    pub fn take_caught_up(&mut self) -> Vec<SubscriptionId> {
        let ids = std::mem::take(&mut self.caught_up);
        for id in &ids {
            if let Some(Subscription { stage: Stage::Behind(behind), .. }) =
                subscription_mut(&mut self.subscriptions, *id)
                && behind.waits == Waits::Head
            {
                behind.waits = Waits::Room;
            }
        }
        ids
    }

    /// What to read from the store; each is to be answered, also by a failure.
    pub fn take_needs(&mut self) -> Vec<Need> {
        std::mem::take(&mut self.needs)
    }

    /// True exactly when [`Hub::take_needs`] would give something.
    pub fn has_needs(&self) -> bool {
        !self.needs.is_empty()
    }

    /// Notes that the bus is asked for a channel. True exactly when that is to be done now: nobody has asked since it got its
    /// first subscriber.
    pub fn ask_follow(&mut self, id: ChannelId) -> bool {
        let Some(channel) = channel_mut(&mut self.channels, id) else { return false };
        std::mem::replace(&mut channel.following, channel::Following::Asked) == channel::Following::No
    }

    /// The bus could not be asked.
    pub fn not_asked(&mut self, id: ChannelId) {
        if let Some(channel) = channel_mut(&mut self.channels, id) {
            channel.following = channel::Following::No;
        }
    }

    /// Channels the bus was asked for and that lost their last subscriber, in that order.
    pub fn take_unfollowed(&mut self) -> Vec<ChannelName> {
        std::mem::take(&mut self.unfollowed)
    }

    /// Up to `most` names of followed channels from the `from`th on, and where to go on; `None` at the end.
    pub fn names_from(&self, from: usize, most: usize) -> (Vec<ChannelName>, Option<usize>) {
        let mut names = Vec::new();
        for (index, channel) in self.channels.iter().skip_while(|(index, _)| *index < from) {
            if names.len() == most {
                return (names, Some(index));
            }
            if channel.position().is_some() {
                names.push(channel.name.clone());
            }
        }
        (names, None)
    }

    /// The head of a subscription's channel, if it moved since it was last told; it counts as told then.
    /// Nothing is told of a subscription that has not begun.
    pub fn moved(&mut self, id: SubscriptionId) -> Option<(ChannelName, Offset)> {
        let subscription = subscription_mut(&mut self.subscriptions, id)?;
        match subscription.stage {
            Stage::Opening { .. } => return None,
            Stage::Behind(_) | Stage::Live { .. } => {}
        }
        let channel = channel_mut(&mut self.channels, subscription.channel)?;
        let head = channel.position()?.head.max(channel.seen);
        if head <= subscription.told {
            return None;
        }
        subscription.told = head;
        Some((channel.name.clone(), head))
    }

    /// Channels followed, subscriptions, and bytes of recent publications, for metrics.
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

fn channel_mut(channels: &mut Slab<Channel>, id: ChannelId) -> Option<&mut Channel> {
    channels.get_mut(id.index as usize).filter(|channel| channel.serial == id.serial)
}

fn subscription_mut(subscriptions: &mut Slab<Subscription>, id: SubscriptionId) -> Option<&mut Subscription> {
    subscriptions.get_mut(id.index as usize).filter(|subscription| subscription.serial == id.serial)
}

/// What one channel got in one turn.
pub struct Run<'a> {
    /// Whole frames, one after the other: the same bytes for every subscriber.
    pub bytes: Rc<[u8]>,
    /// Publications among them; the others are signals.
    pub publications: u32,
    /// Who is to have them.
    pub live: &'a [Live],
}
