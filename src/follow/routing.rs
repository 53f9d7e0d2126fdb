//! The link that serves each followed channel, and what moves when slots get another master. Pure.

use super::slot_map::{BusLink, SlotMap};
use crate::id::ChannelName;
use crate::wire::slot::Partition;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A channel and the number of reactors that follow it.
pub type FollowedChannel = (ChannelName, u16);

/// The partition of a channel.
pub fn partition_of(channel: &ChannelName) -> Partition {
    Partition::of(channel.as_str())
}

/// The routes of followed channels.
#[derive(Debug)]
pub struct Routing {
    map: SlotMap,
    links: BTreeSet<BusLink>,
    by_partition: Vec<BusLink>,
    channels: HashMap<ChannelName, u16, ahash::RandomState>,
}

/// The consequences of another map. Have channels forgotten and adopted, and then end links.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RouteChange {
    pub ended: Vec<BusLink>,
    /// Partitions that a link, which does not end, no longer serves.
    pub forgotten: BTreeMap<BusLink, Vec<Partition>>,
    /// Channels that a link serves from now on.
    pub adopted: BTreeMap<BusLink, Vec<FollowedChannel>>,
}

impl Routing {
    /// Routes by a map in which no partition has a master.
    pub fn new() -> Routing {
        let (links, by_partition) = SlotMap::empty().links();
        Routing { map: SlotMap::empty(), links, by_partition, channels: HashMap::default() }
    }

    pub fn map(&self) -> &SlotMap {
        &self.map
    }

    pub fn links(&self) -> &BTreeSet<BusLink> {
        &self.links
    }

    /// The link of each partition, by its index.
    pub fn by_partition(&self) -> &[BusLink] {
        &self.by_partition
    }

    fn link_of(&self, partition: Partition) -> Option<&BusLink> {
        self.by_partition.get(usize::from(partition.index()))
    }

    /// A reactor follows a channel. Returns its link.
    pub fn follow(&mut self, channel: &ChannelName) -> Option<&BusLink> {
        let reactors = self.channels.entry(channel.clone()).or_default();
        *reactors = reactors.saturating_add(1);
        self.link_of(partition_of(channel))
    }

    /// A reactor no longer follows a channel. Returns its link.
    pub fn leave(&mut self, channel: &ChannelName) -> Option<&BusLink> {
        if let Some(reactors) = self.channels.get_mut(channel) {
            *reactors = reactors.saturating_sub(1);
            if *reactors == 0 {
                self.channels.remove(channel);
            }
        }
        self.link_of(partition_of(channel))
    }

    /// Routes by another map. Start its links ([`SlotMap::links`]) before.
    pub fn change(&mut self, map: SlotMap) -> RouteChange {
        let (links, by_partition) = map.links();
        let mut change =
            RouteChange { ended: self.links.difference(&links).cloned().collect(), ..RouteChange::default() };
        let mut moved = BTreeSet::new();
        for ((partition, from), to) in Partition::all().zip(&self.by_partition).zip(&by_partition) {
            if from != to {
                moved.insert(partition);
                if links.contains(from) {
                    change.forgotten.entry(from.clone()).or_default().push(partition);
                }
            }
        }
        if !moved.is_empty() {
            for (channel, reactors) in &self.channels {
                let partition = partition_of(channel);
                if moved.contains(&partition)
                    && let Some(to) = by_partition.get(usize::from(partition.index()))
                {
                    change.adopted.entry(to.clone()).or_default().push((channel.clone(), *reactors));
                }
            }
        }
        (self.map, self.links, self.by_partition) = (map, links, by_partition);
        change
    }
}

impl Default for Routing {
    fn default() -> Routing {
        Routing::new()
    }
}

#[cfg(test)]
mod tests {
    use super::super::slot_map::tests::{node, range, thirds};
    use super::*;
    use proptest::prelude::*;

    fn name(number: usize) -> ChannelName {
        ChannelName::parse(&format!("c{number}")).expect("valid")
    }

    #[test]
    fn first_map_moves_all_channels_to_their_masters() {
        let mut routing = Routing::new();
        for number in 0..100 {
            routing.follow(&name(number));
        }
        routing.follow(&name(7));
        let change = routing.change(thirds());
        assert_eq!((routing.links().len(), change.ended.len()), (3, 1));
        assert!(change.forgotten.is_empty(), "the link that ends forgets all");
        let adopted: Vec<_> = change.adopted.values().flatten().collect();
        assert_eq!(adopted.len(), 100);
        assert!(adopted.contains(&&(name(7), 2)));
        assert_eq!(routing.change(thirds()), RouteChange::default());
    }

    #[test]
    fn moved_partition_is_forgotten_by_one_link_and_adopted_by_another() {
        let mut routing = Routing::new();
        routing.change(thirds());
        let channel =
            (0..).map(name).find(|channel| partition_of(channel).index() > 200).expect("one of many");
        let from = routing.follow(&channel).cloned().expect("a link");
        let map = thirds().with(partition_of(&channel), node(1));
        let change = routing.change(map);
        assert!(change.ended.is_empty());
        assert_eq!(change.forgotten, [(from, vec![partition_of(&channel)])].into());
        let to = routing.leave(&channel).cloned().expect("a link");
        assert_eq!(to.master, Some(node(1)));
        assert_eq!(change.adopted, [(to, vec![(channel, 1)])].into());
    }

    proptest! {
        /// Links that obey each change have exactly the followed channels, each at the link of its partition.
        #[test]
        fn links_have_exactly_the_followed_channels(
            steps in prop::collection::vec((0_u8..3, 0_usize..6, 1_u16..4), 1..60),
        ) {
            let mut routing = Routing::new();
            let mut links: BTreeMap<BusLink, BTreeMap<ChannelName, u16>> = BTreeMap::new();
            links.extend(routing.links().iter().map(|link| (link.clone(), BTreeMap::new())));
            let mut wanted: BTreeMap<ChannelName, u16> = BTreeMap::new();
            for (step, number, port) in steps {
                let channel = name(number);
                match step {
                    0 => {
                        *wanted.entry(channel.clone()).or_default() += 1;
                        let link = routing.follow(&channel).cloned().expect("a link");
                        *links.get_mut(&link).expect("it runs").entry(channel).or_default() += 1;
                    }
                    1 if wanted.get(&channel).is_some_and(|count| *count > 0) => {
                        *wanted.get_mut(&channel).expect("followed") -= 1;
                        let link = routing.leave(&channel).cloned().expect("a link");
                        *links.get_mut(&link).expect("it runs").get_mut(&channel).expect("it has it") -= 1;
                    }
                    _ => {
                        let map = match number {
                            0 => SlotMap::of(&[range(0, 9_000, port)]).expect("few"),
                            1 => SlotMap::empty(),
                            2 => thirds(),
                            _ => routing.map().with(partition_of(&channel), node(port)),
                        };
                        let RouteChange { ended, forgotten, adopted } = routing.change(map);
                        for link in routing.links() {
                            links.entry(link.clone()).or_default();
                        }
                        for (link, partitions) in forgotten {
                            let own = links.get_mut(&link).expect("it runs");
                            own.retain(|channel, _| !partitions.contains(&partition_of(channel)));
                        }
                        for (link, channels) in adopted {
                            links.get_mut(&link).expect("it runs").extend(channels);
                        }
                        for link in ended {
                            links.remove(&link);
                        }
                    }
                }
                wanted.retain(|_, count| *count > 0);
                let mut had = BTreeMap::new();
                for (link, channels) in &links {
                    for (channel, count) in channels.iter().filter(|(_, count)| **count > 0) {
                        prop_assert_eq!(routing.link_of(partition_of(channel)), Some(link));
                        had.insert(channel.clone(), *count);
                    }
                }
                prop_assert_eq!(&had, &wanted);
            }
        }
    }
}
