//! A dependency that goes up and down every second: clients get a few `status` pushes, not one every second.
//!
//! `SEAWALL_TEST_FLAPPING_S=60` runs the whole minute of the specification; the default is a third of that.

use crate::dependencies::matrix::clients::{Listener, Publisher};
use crate::dependencies::outage::with_store;
use crate::dependencies::proxied;
use crate::support::wait::size;
use crate::support::{Client, SOON, Setup, until};
use seawall_fault::{Mode, Proxy};
use serde_json::json;
use std::thread;
use std::time::{Duration, Instant};

/// The specification's "at most a handful", over the whole minute.
const CHANGES_MAX: usize = 6;
/// The longest damping of the last outage after the service is back for good, plus the next probe, and the rest for a busy machine.
const DAMPED_MAX: Duration = Duration::from_secs(18 + 2 + 40);

/// Goes down and up every second, and calls `meanwhile` in between with the time that is left of the second.
fn flap(proxy: &Proxy, mut meanwhile: impl FnMut(Duration)) {
    let seconds = size("SEAWALL_TEST_FLAPPING_S", 20) as u64;
    let begun = Instant::now();
    for second in 0..seconds {
        if second % 2 == 0 {
            proxy.set(Mode::Refuse);
            proxy.cut();
        } else {
            proxy.set(Mode::Pass);
        }
        let left = (begun + Duration::from_secs(second + 1)).saturating_duration_since(Instant::now());
        meanwhile(left);
    }
    proxy.set(Mode::Pass);
}

/// The levels of all `status` pushes that arrive within this time.
fn levels(listener: &mut Listener, within: Duration) -> Vec<String> {
    let end = Instant::now() + within;
    let left = || end.saturating_duration_since(Instant::now());
    let next = || listener.client.next_push_within("status", left());
    std::iter::from_fn(next).map(|status| status["level"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Reads on until the last level is `ok`.
#[track_caller]
fn ends_well(listener: &mut Listener, levels_seen: &mut Vec<String>) {
    until(SOON, "clients are notified of the end", || {
        levels_seen.extend(levels(listener, Duration::from_millis(1)));
        levels_seen.last().is_some_and(|level| level == "ok")
    });
}

#[track_caller]
fn assert_a_handful(of: &str, levels_seen: &[String]) {
    println!("{of}: levels {levels_seen:?}");
    assert!((2..=CHANGES_MAX).contains(&levels_seen.len()), "{levels_seen:?}");
    assert_eq!(levels_seen.last().map(String::as_str), Some("ok"));
}

#[test]
fn flapping_dependency_is_announced_a_few_times_and_nothing_is_lost() {
    thread::scope(|scope| {
        scope.spawn(a_critical_store);
        scope.spawn(an_optional_service);
    });
}

fn a_critical_store() {
    let store = proxied::postgres();
    let gateway = with_store(&store).limit("publishes_per_s", 0).start();
    let mut publisher = Publisher::ready(&gateway, "c");
    let mut listener = Listener::new(&gateway, "c");
    let (mut count, mut levels_seen) = (0, Vec::new());
    flap(&store.proxy, |left| {
        let end = Instant::now() + left;
        while Instant::now() < end {
            count += 1;
            publisher.publish(&format!("flap-{count}"));
            // A newcomer is admitted or refused with a reason, and never hangs.
            let mut newcomer = Client::open(&gateway);
            let id = newcomer.send(json!({"connect": {}}));
            if newcomer.try_reply(id).is_none() {
                newcomer.expect_close().is(1011, "unavailable");
            }
            levels_seen.extend(levels(&mut listener, Duration::from_millis(100)));
        }
    });
    let stopped = Instant::now();
    let well = || gateway.fetch("/health/dependencies").status == 200;
    until(DAMPED_MAX, "the store counts as available again", well);
    println!("store: back {:?} after the last fall, {count} publications meanwhile", stopped.elapsed());
    publisher.catch_up();
    let head = publisher.check(&mut Client::connect(&gateway));
    listener.hears(head, SOON);
    ends_well(&mut listener, &mut levels_seen);
    assert_a_handful("store", &levels_seen);
}

fn an_optional_service() {
    let service = proxied::http();
    let url = format!("http://{}/", service.address());
    // As often as a probe can be configured: with the defaults the gateway would hardly notice.
    let table = format!(
        "[[dependency]]\nname = \"assistant\"\nkind = \"http\"\nurl = \"{url}\"\ninterval_ms = 100\ntimeout_ms = 400"
    );
    let gateway = Setup::new().toml(&table).start();
    let mut listener = Listener::new(&gateway, "c");
    let mut levels_seen = Vec::new();
    flap(&service.proxy, |left| levels_seen.extend(levels(&mut listener, left)));
    let well = || gateway.fetch("/health/ready").json()["degraded"] == json!(false);
    until(DAMPED_MAX, "the service counts as available again", well);
    until(SOON, "the metric says so", || gateway.metric("seawall_dependency_up") == 1.0);
    ends_well(&mut listener, &mut levels_seen);
    assert_a_handful("service", &levels_seen);
}
