//! The listeners: one at a server, or one at each master of a cluster. They follow the slots as the bus does.
//!
//! A master that does not deliver makes the rosters of its partitions incomplete, and no others.

use super::listen::{ListenerClock, ListenerParts, RosterFeed, RosterListener, RosterNews};
use super::topic::{TopicNames, TopicPlace};
use crate::follow::routing::{RouteChange, Routing, partition_of};
use crate::follow::slot_map::{BusLink, SlotMap};
use crate::id::ChannelName;
use crate::job::bus::{Bell, SharedKey, SharedSlots};
use crate::limits::ROSTER_TOPICS;
use crate::net::target::Target;
use crate::roster::{TopicWish, Ways};
use crate::wire::envelope::Origin;
use crate::wire::partitions::PartitionSet;
use crate::wire::slot::Partition;
use crossbeam_channel::{Sender, bounded};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::thread::Builder;

/// The parts that all listeners share.
pub(super) struct ListenerShares {
    pub(super) target: Target,
    pub(super) names: TopicNames,
    pub(super) origin: Origin,
    pub(super) key: SharedKey,
    pub(super) slots: SharedSlots,
    pub(super) news: Sender<RosterNews>,
    pub(super) clock: ListenerClock,
}

/// All listeners, and the one of each partition.
pub(super) struct RosterLinks {
    parts: ListenerShares,
    /// The last map that was used.
    seen: Arc<SlotMap>,
    routing: Routing,
    listeners: BTreeMap<BusLink, RunningListener>,
    /// The number of listeners started so far.
    started: u32,
}

/// A listener whose thread runs. Its drop ends the thread.
struct RunningListener {
    number: u32,
    wishes: Sender<TopicWish>,
    /// Wishes that it had no room for; a few for each view.
    waiting: VecDeque<TopicWish>,
    bell: Arc<Bell>,
    feed: Arc<RosterFeed>,
    /// The number of losses that were taken.
    losses: u64,
    partitions: PartitionSet,
}

impl RosterLinks {
    /// Starts the listener of a server. Those of a cluster start when its masters are known.
    pub(super) fn start(parts: ListenerShares) -> io::Result<RosterLinks> {
        let (seen, routing) = (Arc::new(SlotMap::empty()), Routing::new());
        let mut links = RosterLinks { parts, seen, routing, listeners: BTreeMap::new(), started: 0 };
        links.listen_at_server()?;
        Ok(links)
    }

    /// Ends all listeners, and begins with others that follow nothing.
    pub(super) fn restart(&mut self) -> io::Result<()> {
        self.listeners.clear();
        (self.seen, self.routing) = (Arc::new(SlotMap::empty()), Routing::new());
        self.listen_at_server()
    }

    fn listen_at_server(&mut self) -> io::Result<()> {
        if self.parts.target.is_cluster() {
            return Ok(());
        }
        for link in self.routing.links().clone() {
            let mut listener = self.listen(&link, TopicPlace::Server)?;
            listener.partitions = PartitionSet::ALL;
            self.listeners.insert(link, listener);
        }
        Ok(())
    }

    fn listen(&mut self, link: &BusLink, place: TopicPlace) -> io::Result<RunningListener> {
        self.started = self.started.wrapping_add(1);
        let number = self.started;
        let ListenerShares { target, names, origin, key, slots: _, news, clock } = &self.parts;
        let (wishes, wishes_out) = bounded(ROSTER_TOPICS);
        let (bell, feed) = (Arc::new(Bell::new()?), Arc::new(RosterFeed::default()));
        let parts = ListenerParts {
            target: link.master.as_ref().map_or_else(|| target.clone(), |master| target.at(master)),
            names: names.clone(),
            place,
            number,
            origin: *origin,
            key: Arc::clone(key),
            wishes: wishes_out,
            bell: Arc::clone(&bell),
            news: news.clone(),
            feed: Arc::clone(&feed),
            clock: Arc::clone(clock),
        };
        Builder::new().name("presence-listen".into()).spawn(move || RosterListener::new(parts).run())?;
        let (waiting, partitions) = (VecDeque::new(), PartitionSet::EMPTY);
        Ok(RunningListener { number, wishes, waiting, bell, feed, losses: 0, partitions })
    }

    /// Follows the slots to their masters. Returns the channels that are not heard of until they are followed again.
    pub(super) fn follow_slots(&mut self) -> Vec<ChannelName> {
        let map = self.parts.slots.load_full();
        if !self.parts.target.is_cluster() || Arc::ptr_eq(&map, &self.seen) {
            return Vec::new();
        }
        self.seen = Arc::clone(&map);
        for link in map.links().0.into_iter().filter(|link| link.master.is_some()) {
            if !self.listeners.contains_key(&link) {
                match self.listen(&link, TopicPlace::Master { canary: link.canary }) {
                    Ok(listener) => drop(self.listeners.insert(link, listener)),
                    Err(error) => {
                        // The listeners stay as they are; the next reading of the slots tries again.
                        tracing::error!(%link, %error, "roster listener not started");
                        return Vec::new();
                    }
                }
            }
        }
        let RouteChange { ended, forgotten, adopted } = self.routing.change(SlotMap::clone(&map));
        for link in ended {
            self.listeners.remove(&link);
        }
        let moved: Vec<(BusLink, ChannelName)> = adopted
            .into_iter()
            .flat_map(|(to, channels)| channels.into_iter().map(move |(channel, _)| (to.clone(), channel)))
            .collect();
        for (from, partitions) in forgotten {
            let is_forgotten = |channel: &ChannelName| partitions.contains(&partition_of(channel));
            for (_, channel) in moved.iter().filter(|(_, channel)| is_forgotten(channel)) {
                self.tell(&from, TopicWish::Leave(channel.clone()));
            }
        }
        for (to, channel) in &moved {
            self.tell(to, TopicWish::Follow(channel.clone()));
        }
        self.note_partitions();
        self.send();
        moved.into_iter().map(|(_, channel)| channel).collect()
    }

    /// Notes which partitions each listener serves.
    fn note_partitions(&mut self) {
        let by_partition = self.routing.by_partition();
        for (link, listener) in &mut self.listeners {
            let served = Partition::all().zip(by_partition).filter(|(_, serves)| *serves == link);
            listener.partitions = served.map(|(partition, _)| partition).collect();
        }
    }

    /// Has topics followed or left.
    pub(super) fn wish(&mut self, wishes: Vec<TopicWish>) {
        for wish in wishes {
            let link = match &wish {
                TopicWish::Follow(channel) => self.routing.follow(channel),
                TopicWish::Leave(channel) => self.routing.leave(channel),
            };
            if let Some(link) = link.cloned() {
                self.tell(&link, wish);
            }
        }
        self.send();
    }

    fn tell(&mut self, link: &BusLink, wish: TopicWish) {
        if let Some(listener) = self.listeners.get_mut(link) {
            listener.waiting.push_back(wish);
        }
    }

    fn send(&mut self) {
        self.listeners.values_mut().for_each(RunningListener::send);
    }

    /// True if this listener serves the partition of a channel now.
    pub(super) fn serves(&self, listener: u32, channel: &ChannelName) -> bool {
        let partition = partition_of(channel);
        let serves =
            |running: &RunningListener| running.number == listener && running.partitions.contains(partition);
        self.listeners.values().any(serves)
    }

    /// The partitions of which messages arrive.
    pub(super) fn messages(&self) -> Ways {
        let reached = self.listeners.values().filter(|listener| listener.feed.is_reached());
        let reached = reached.fold(PartitionSet::EMPTY, |all, listener| all.union(listener.partitions));
        Ways { lost: PartitionSet::ALL.without(reached) }
    }

    /// The partitions in which messages may have been lost since the last call.
    pub(super) fn take_losses(&mut self) -> PartitionSet {
        let mut lost = PartitionSet::EMPTY;
        for listener in self.listeners.values_mut() {
            let losses = listener.feed.losses();
            if std::mem::replace(&mut listener.losses, losses) != losses {
                lost = lost.union(listener.partitions);
            }
        }
        lost
    }
}

impl RunningListener {
    fn send(&mut self) {
        let mut is_new = false;
        while let Some(wish) = self.waiting.pop_front() {
            if let Err(error) = self.wishes.try_send(wish) {
                self.waiting.push_front(error.into_inner());
                break;
            }
            is_new = true;
        }
        if is_new {
            self.bell.ring();
        }
    }
}

impl Drop for RunningListener {
    fn drop(&mut self) {
        // It looks at its wishes, whose sender is gone by then, or within its longest wait.
        self.bell.ring();
    }
}
