//! A dependency that goes up and down every second: people hear of it a few times, not every second.
//!
//! `SEAWALL_TEST_FLAPPING_S=60` is the whole minute of the specification; by default it is a third of that.

use crate::dependencies::matrix::people::{Listener, Publisher};
use crate::dependencies::outage::with_store;
use crate::dependencies::stand;
use crate::support::wait::size;
use crate::support::{Client, SOON, Setup, until};
use seawall_fault::{Mode, Proxy};
use serde_json::json;
use std::thread;
use std::time::{Duration, Instant};

/// "At most a handful", over the whole minute.
const CHANGES_MAX: usize = 6;
/// The last outage may be damped for so long after the service is there for good, and is probed then.
const DAMPED_MAX: Duration = Duration::from_secs(18 + 2);

/// Goes down and up every second, `meanwhile` in between; seconds that it took.
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

/// Takes the levels of all `status` that come within so long.
fn levels(listener: &mut Listener, within: Duration) -> Vec<String> {
    let end = Instant::now() + within;
    let left = || end.saturating_duration_since(Instant::now());
    let next = || listener.client.next_push_within("status", left());
    std::iter::from_fn(next).map(|status| status["level"].as_str().unwrap_or_default().to_owned()).collect()
}

#[track_caller]
fn a_handful(of: &str, told: &[String]) {
    println!("{of}: told {told:?}");
    assert!((2..=CHANGES_MAX).contains(&told.len()), "{told:?}");
    assert_eq!(told.last().map(String::as_str), Some("ok"));
}

#[test]
fn what_flaps_is_told_a_handful_of_times_and_nothing_is_lost() {
    thread::scope(|scope| {
        scope.spawn(a_critical_store);
        scope.spawn(an_optional_service);
    });
}

fn a_critical_store() {
    let store = stand::postgres();
    let gateway = with_store(&store).limit("publishes_per_s", 0).start();
    let mut publisher = Publisher::at_ease(&gateway, "c");
    let mut listener = Listener::new(&gateway, "c");
    let (mut count, mut told) = (0, Vec::new());
    flap(&store.proxy, |left| {
        let end = Instant::now() + left;
        while Instant::now() < end {
            count += 1;
            publisher.publish(&format!("flap-{count}"));
            // A newcomer is let in or told why; nobody hangs.
            let mut newcomer = Client::open(&gateway);
            let id = newcomer.send(json!({"connect": {}}));
            if newcomer.try_reply(id).is_none() {
                newcomer.expect_close().is(1011, "unavailable");
            }
            told.extend(levels(&mut listener, Duration::from_millis(100)));
        }
    });
    let stopped = Instant::now();
    let well = || gateway.fetch("/health/dependencies").status == 200;
    until(DAMPED_MAX, "it is believed to be there again", well);
    println!("store: back {:?} after the last fall, {count} publications meanwhile", stopped.elapsed());
    publisher.catch_up();
    let head = publisher.check(&mut Client::connect(&gateway));
    listener.hears(head, SOON);
    told.extend(levels(&mut listener, Duration::from_millis(1)));
    a_handful("store", &told);
}

fn an_optional_service() {
    let service = stand::http();
    let url = format!("http://{}/", service.address());
    // As often as a gateway may be told to look: with the defaults it would hardly notice.
    let table = format!(
        "[[dependency]]\nname = \"assistant\"\nkind = \"http\"\nurl = \"{url}\"\ninterval_ms = 100\ntimeout_ms = 100"
    );
    let gateway = Setup::new().toml(&table).start();
    let mut listener = Listener::new(&gateway, "c");
    let mut told = Vec::new();
    flap(&service.proxy, |left| told.extend(levels(&mut listener, left)));
    let well = || gateway.fetch("/health/ready").json()["degraded"] == json!(false);
    until(DAMPED_MAX, "it is believed to be there again", well);
    until(SOON, "it is told", || gateway.metric("seawall_dependency_up") == 1.0);
    told.extend(levels(&mut listener, Duration::from_millis(1)));
    a_handful("service", &told);
}
