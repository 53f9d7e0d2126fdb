//! Signs of life: a dead instance is gone soon, and one that lives never is, whatever part of the paths fails.

use crate::cluster::rig::{
    GONE, GONE_BY_ROWS, Rig, SLACK, becomes, cluster, is_alive, never, settled, state,
};
use crate::support::wait::{LATE, SOON, until};
use rustix::process::Signal;
use seawall_fault::Mode;
use std::time::Duration;

/// Long enough that every bound of the judgement passes.
const LONG: Duration = Duration::from_secs(9);

#[test]
fn killed_instance_is_gone_within_its_bound() {
    let rig = Rig::start();
    let [one, two, three] = rig.gateways(["gw-1", "gw-2", "gw-3"]);
    let _setup = three.kill9();
    let took = becomes(&one, "gw-3", "gone", GONE);
    becomes(&two, "gw-3", "gone", SLACK);
    println!("gone after {took:?}");
    until(SOON, "the others are all", || {
        let report = cluster(&one);
        report["totals"]["instances"] == 2 && report["complete"] == true
    });
    one.logs("instance state changed");
}

#[test]
fn instance_that_ends_says_goodbye() {
    let rig = Rig::start();
    let [one, mut two] = rig.gateways(["gw-1", "gw-2"]);
    two.ends_after(Signal::TERM);
    becomes(&one, "gw-2", "left", Duration::from_millis(1_100));
}

#[test]
fn without_postgresql_the_goodbye_of_the_lease_is_enough() {
    let mut rig = Rig::start();
    let [one, mut two] = rig.gateways(["gw-1", "gw-2"]);
    // So that its row says nothing.
    rig.store.stop();
    two.ends_after(Signal::TERM);
    becomes(&one, "gw-2", "left", Duration::from_millis(1_100));
}

#[test]
fn death_of_redis_ends_no_instance_and_rows_judge() {
    let mut rig = Rig::start();
    let [one, two, three] = rig.gateways(["gw-1", "gw-2", "gw-3"]);
    rig.redis.kill9();
    until(SOON, "the death is noticed", || cluster(&one)["redis"]["up"] == false);
    never(&one, "gw-2", &["gone", "isolated", "left", ""], LONG);
    is_alive(&two, "gw-3", "its row shows it");
    let _setup = three.kill9();
    let took = becomes(&one, "gw-3", "gone", GONE_BY_ROWS);
    println!("gone by rows after {took:?}");
    rig.redis.start_again();
    until(SOON, "the leases are back", || {
        assert_eq!(state(&one, "gw-3"), "gone", "an outage brings no instance back");
        cluster(&one)["complete"] == true
    });
    is_alive(&one, "gw-2", "its lease is back");
    let doubts = || one.metric("seawall_cluster_doubts_total");
    until(SOON, "the emptied Redis is written again", || doubts() >= 1.0);
}

#[test]
fn instance_that_lost_only_redis_is_isolated_and_not_gone() {
    let rig = Rig::start();
    let two = rig.proxied("gw-2").start();
    let one = rig.setup("gw-1").start();
    settled(&[&one, &two]);
    rig.proxy.set(Mode::Refuse);
    rig.proxy.cut();
    becomes(&one, "gw-2", "isolated", GONE);
    never(&one, "gw-2", &["gone", "left", ""], LONG);
    until(SOON, "both know that something is missing", || {
        cluster(&one)["complete"] == false && cluster(&two)["redis"]["up"] == false
    });
    is_alive(&two, "gw-1", "its row shows it");
    rig.proxy.set(Mode::Pass);
    becomes(&one, "gw-2", "alive", Duration::from_secs(3));
}

#[test]
fn stopped_process_is_gone_and_comes_back_as_the_next_incarnation() {
    let rig = Rig::start();
    let [one, two] = rig.gateways(["gw-1", "gw-2"]);
    let count = || rig.store.sql("SELECT count FROM seawall.canaries WHERE instance = 'gw-2'");
    assert_eq!(count(), "1", "{LATE}: a sign of life");
    two.signal(Signal::STOP);
    becomes(&one, "gw-2", "gone", GONE);
    never(&one, "gw-2", &["alive", "isolated"], Duration::from_secs(3));
    two.signal(Signal::CONT);
    becomes(&one, "gw-2", "alive", Duration::from_secs(3));
    until(SOON, "its row has the higher count", || count() == "2");
    is_alive(&two, "gw-1", "the pause of another one does not end it");
}

#[test]
fn without_postgresql_leases_judge_alone() {
    let mut rig = Rig::start();
    let [one, two, three] = rig.gateways(["gw-1", "gw-2", "gw-3"]);
    rig.store.stop();
    never(&one, "gw-2", &["gone", "isolated", "left", ""], LONG);
    let _setup = three.kill9();
    becomes(&one, "gw-3", "gone", GONE);
    is_alive(&one, "gw-2", "its lease shows it");
    until(SOON, "the duty has ended", || cluster(&two)["leader"].is_null());
}

#[test]
fn emptied_redis_is_written_again_and_ends_no_instance() {
    let rig = Rig::start();
    let [one, two] = rig.gateways(["gw-1", "gw-2"]);
    assert!(rig.redis.command(&["FLUSHALL"]).is_ok());
    until(SOON, "both have noticed", || {
        [&one, &two].iter().all(|gateway| gateway.metric("seawall_cluster_doubts_total") >= 1.0)
    });
    until(SOON, "all is written again", || {
        [&one, &two].iter().all(|gateway| cluster(gateway)["registry"]["complete"] == true)
    });
    never(&one, "gw-2", &["gone", "isolated", "left", ""], LONG);
    until(SOON, "all is known", || cluster(&one)["complete"] == true);
}
