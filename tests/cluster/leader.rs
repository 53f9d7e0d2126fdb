//! One instance leads; another one replaces it within its bound, and never do two lead.

use crate::cluster::rig::{Rig, SLACK, cluster, leaders};
use crate::support::Gateway;
use crate::support::wait::{LATE, comes_true};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// The term of a leader, and the longest time between two renewals.
const REPLACED: Duration = Duration::from_millis(7_000);

/// The instance that leads, and the others.
fn part(gateways: [Gateway; 3]) -> (Gateway, [Gateway; 2]) {
    let (leader, others): (Vec<_>, Vec<_>) =
        gateways.into_iter().partition(|gateway| gateway.metric("seawall_cluster_leader") > 0.0);
    let leader = leader.into_iter().next().expect("one of them");
    (leader, others.try_into().unwrap_or_else(|_| panic!("two others")))
}

/// Waits until one of the others leads, and checks that never two do.
#[track_caller]
fn replaced(others: &[Gateway; 2], within: Duration) -> Duration {
    let began = Instant::now();
    let both: Vec<&Gateway> = others.iter().collect();
    let replaced = comes_true(within + SLACK, || {
        // The duty may pass from one to the other between the two questions.
        let count = leaders(&both).min(leaders(&both));
        assert!(count <= 1, "two lead");
        count == 1
    });
    assert!(replaced, "{LATE}: no leader after {within:?}");
    began.elapsed()
}

#[test]
fn killed_leader_is_replaced_within_its_bound() {
    let rig = Rig::start();
    let (leader, others) = part(rig.gateways(["gw-1", "gw-2", "gw-3"]));
    let _setup = leader.kill9();
    let took = replaced(&others, REPLACED);
    println!("replaced after {took:?}");
    let both: Vec<&Gateway> = others.iter().collect();
    let is_lost = comes_true(Duration::from_secs(5), || leaders(&both) != 1 && leaders(&both) != 1);
    assert!(!is_lost, "{LATE}: a renewal of the duty");
}

#[test]
fn leader_that_ends_gives_the_duty_up_at_once() {
    let rig = Rig::start();
    let (mut leader, others) = part(rig.gateways(["gw-1", "gw-2", "gw-3"]));
    let name = cluster(&leader)["leader"].as_str().expect("a name").to_owned();
    leader.ends_after(Signal::TERM);
    // Either its term was ended, or the renewal of another instance has taken the duty since.
    let held = "SELECT until > pg_catalog.clock_timestamp() AND origin = (SELECT origin FROM seawall.canaries
        WHERE instance = 'NAME') FROM seawall.duties WHERE name = 'leader'";
    assert_eq!(rig.store.sql(&held.replace("NAME", &name)), "f", "it still holds the duty");
    // The next renewal of another instance takes it.
    replaced(&others, Duration::from_millis(2_600));
}

#[test]
fn leader_without_its_store_leads_no_longer_than_its_term() {
    let mut rig = Rig::start();
    let (leader, _others) = part(rig.gateways(["gw-1", "gw-2", "gw-3"]));
    rig.store.stop();
    let ended = comes_true(Duration::from_secs(4) + SLACK, || leader.metric("seawall_cluster_leader") == 0.0);
    assert!(ended, "{LATE}: it still leads");
}
