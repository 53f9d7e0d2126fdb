//! Rosters of a Redis Cluster, of which some partitions are out of reach.

use super::*;
use crate::wire::slot::Partition;

#[test]
fn roster_waits_for_its_own_partition_and_for_no_other() {
    let partition = Partition::of(channel().as_str());
    let own = PartitionSet::from(partition);
    let mut pair = Pair::new(1_000, 1 << 20);
    pair.handle(1, watch(WatchDetail::Members));
    pair.handle(0, present(1, "ann", Some("active")));
    pair.pass(1_000);
    let is_complete = |pair: &Pair| pair.rosters[1].knowledge_of(&channel()) == RosterKnowledge::Complete;
    assert!(is_complete(&pair));
    pair.storage = Ways { lost: PartitionSet::ALL.without(own) };
    pair.observe();
    pair.handle(0, present(2, "bob", Some("active")));
    pair.pass(1_000);
    assert!(is_complete(&pair) && pair.fields.len() == 3, "its head and two members");
    pair.storage = Ways { lost: own };
    pair.observe();
    pair.handle(0, present(3, "cid", Some("active")));
    pair.pass(1_000);
    assert!(!is_complete(&pair) && pair.fields.len() == 3, "nothing is written there");
    assert_eq!(pair.rosters[0].due().filter(|due| *due <= now(pair.ms).at), None, "it waits");
    (pair.storage, pair.unwritten) = (Ways::REACHED, own);
    pair.observe();
    pair.pass(1_000);
    assert!(!is_complete(&pair) && pair.fields.len() == 4, "the other one may have more");
    assert_eq!(pair.rosters[1].missing(&channel()), ["gw-2"]);
    pair.unwritten = PartitionSet::EMPTY;
    pair.observe();
    pair.pass(1_000);
    assert!(is_complete(&pair));
}
