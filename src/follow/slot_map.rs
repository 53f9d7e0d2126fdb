//! The masters of a Redis Cluster and the partitions that they serve. Pure.
//!
//! All names of a partition have one tag, so they share one slot, and the master of that slot serves the partition. Nodes report
//! ranges of slots; of several reports the one of the highest epoch counts, because a node that was cut off reports old masters.

use crate::limits::BUS_MASTERS_MAX;
use crate::wire::slot::{Partition, slot};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// Host and port of a node. An IPv6 address is in brackets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeAddress {
    pub host: Arc<str>,
    pub port: u16,
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.host, self.port)
    }
}

/// Consecutive slots of one master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotRange {
    pub first: u16,
    /// Included.
    pub last: u16,
    pub master: NodeAddress,
}

/// The slots as one node reports them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotView {
    /// Grows with each failover and each moved slot.
    pub epoch: u64,
    pub ranges: Vec<SlotRange>,
}

impl SlotView {
    /// The view of the highest epoch; of equal ones the first.
    pub fn newest(views: Vec<SlotView>) -> Option<SlotView> {
        views.into_iter().reduce(|best, other| if other.epoch > best.epoch { other } else { best })
    }
}

/// The bus at one master: what one pair of connections serves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BusLink {
    /// `None`: no master has the slots, so nothing is delivered.
    pub master: Option<NodeAddress>,
    /// Its first partition. Its canaries use a topic of this one, and if it is [`Partition::FIRST`], orders pass here.
    pub canary: Partition,
}

impl fmt::Display for BusLink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.master {
            Some(master) => master.fmt(formatter),
            None => formatter.write_str("slots without a master"),
        }
    }
}

/// The number of masters is out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyMasters(pub usize);

/// The master of each partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotMap(BTreeMap<Partition, NodeAddress>);

impl SlotMap {
    /// A map in which no partition has a master.
    pub const fn empty() -> SlotMap {
        SlotMap(BTreeMap::new())
    }

    /// Reads the reported ranges. Slots outside of them have no master.
    pub fn of(ranges: &[SlotRange]) -> Result<SlotMap, TooManyMasters> {
        let master = |partition: Partition| {
            let slot = slot(partition.tag().to_string().as_bytes());
            let range = ranges.iter().find(|range| (range.first..=range.last).contains(&slot))?;
            Some((partition, range.master.clone()))
        };
        let map = SlotMap(Partition::all().filter_map(master).collect());
        let count = map.masters().len();
        if count > BUS_MASTERS_MAX { Err(TooManyMasters(count)) } else { Ok(map) }
    }

    /// The same map after one partition moved to another master, as a server's `MOVED` says. Over the bound on masters it stays as it
    /// is, like without that word.
    pub fn with(&self, partition: Partition, master: NodeAddress) -> SlotMap {
        let mut map = self.clone();
        map.0.insert(partition, master);
        if map.masters().len() > BUS_MASTERS_MAX { self.clone() } else { map }
    }

    pub fn master_of(&self, partition: Partition) -> Option<&NodeAddress> {
        self.0.get(&partition)
    }

    /// All masters that serve a partition.
    pub fn masters(&self) -> BTreeSet<&NodeAddress> {
        self.0.values().collect()
    }

    /// The bus's links, and the link of each partition by its index.
    pub fn links(&self) -> (BTreeSet<BusLink>, Vec<BusLink>) {
        let mut first: BTreeMap<Option<&NodeAddress>, Partition> = BTreeMap::new();
        for partition in Partition::all() {
            first.entry(self.0.get(&partition)).or_insert(partition);
        }
        let link = |partition| {
            let master = self.0.get(&partition);
            let canary = first.get(&master).copied().unwrap_or(partition);
            BusLink { master: master.cloned(), canary }
        };
        let by_partition: Vec<BusLink> = Partition::all().map(link).collect();
        (by_partition.iter().cloned().collect(), by_partition)
    }
}

/// The nodes to ask for the slots, in order: the masters, then the nodes of the configured address.
pub fn nodes_to_ask(map: &SlotMap, seeds: &[NodeAddress]) -> Vec<NodeAddress> {
    let masters = map.masters();
    let others = seeds.iter().filter(|seed| !masters.contains(seed));
    masters.iter().copied().chain(others).cloned().collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn node(port: u16) -> NodeAddress {
        NodeAddress { host: "h".into(), port }
    }

    pub fn range(first: u16, last: u16, port: u16) -> SlotRange {
        SlotRange { first, last, master: node(port) }
    }

    pub fn thirds() -> SlotMap {
        SlotMap::of(&[range(0, 5_460, 1), range(5_461, 10_922, 2), range(10_923, 16_383, 3)])
            .expect("three masters")
    }

    fn partition(number: u16) -> Partition {
        Partition::of_slot(number * 64)
    }

    #[test]
    fn contiguous_slots_give_each_of_three_masters_a_third_of_the_partitions() {
        let map = thirds();
        let count = |port| Partition::all().filter(|each| map.master_of(*each) == Some(&node(port))).count();
        assert_eq!([count(1), count(2), count(3)].iter().sum::<usize>(), 256);
        assert!([1, 2, 3].into_iter().all(|port| (85..=86).contains(&count(port))));
    }

    #[test]
    fn link_is_named_by_its_master_and_first_partition() {
        let (links, by_partition) = thirds().links();
        assert_eq!(links.len(), 3);
        let first = &by_partition[0];
        assert_eq!(first, &BusLink { master: Some(node(1)), canary: Partition::FIRST });
        assert!(links.iter().all(|link| by_partition[usize::from(link.canary.index())] == *link));
    }

    #[test]
    fn slots_without_a_master_have_one_link_that_delivers_nothing() {
        let (links, by_partition) = SlotMap::empty().links();
        assert_eq!(links.into_iter().collect::<Vec<_>>(), [by_partition[255].clone()]);
        let half = SlotMap::of(&[range(0, 8_191, 1)]).expect("one master");
        let (links, by_partition) = half.links();
        assert_eq!(links.len(), 2);
        assert_eq!(by_partition[255].master, None);
        assert_eq!(by_partition[255].canary, partition(128));
    }

    #[test]
    fn moved_partition_changes_only_the_links_of_its_masters() {
        let (before, _) = thirds().links();
        let (after, by_partition) = thirds().with(partition(7), node(3)).links();
        assert_eq!(by_partition[7].master, Some(node(3)));
        // The first partition of the third master is another now, so its canaries use another topic.
        assert_eq!(before.intersection(&after).count(), 2);
        let (after, _) = thirds().with(partition(250), node(1)).links();
        assert_eq!(before, after);
    }

    #[test]
    fn view_of_the_highest_epoch_counts() {
        let view = |epoch, port| SlotView { epoch, ranges: vec![range(0, 16_383, port)] };
        let newest = SlotView::newest(vec![view(3, 1), view(4, 2), view(4, 3)]).expect("a view");
        assert_eq!(newest.ranges[0].master, node(2));
        assert_eq!(SlotView::newest(Vec::new()), None);
    }

    #[test]
    fn more_masters_than_the_bound_are_refused() {
        let many: Vec<SlotRange> = (0..=BUS_MASTERS_MAX as u16)
            .map(|number| range(number * 200, number * 200 + 199, number + 1))
            .collect();
        let Err(TooManyMasters(count)) = SlotMap::of(&many) else { panic!("too many") };
        assert!(count > BUS_MASTERS_MAX);
    }

    #[test]
    fn masters_are_asked_before_the_nodes_of_the_address() {
        let asked = nodes_to_ask(&thirds(), &[node(2), node(9)]);
        assert_eq!(asked, [node(1), node(2), node(3), node(9)]);
    }
}
