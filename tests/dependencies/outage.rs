//! Outages outside the table of `matrix`: a start without a database, and a verdict that is only observed.

use crate::dependencies::matrix::clients::Publisher;
use crate::dependencies::proxied;
use crate::support::wait::{SOON, until};
use crate::support::{Client, Setup};
use seawall_fault::Mode;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

pub fn with_store(store: &proxied::Proxied<crate::servers::Postgres>) -> Setup {
    Setup::new().env("SEAWALL_STORE_URL", &store.server.url_through(store.address()))
}

#[test]
fn gateway_starts_without_its_database_and_recovers_by_itself() {
    let store = proxied::postgres();
    store.proxy.set(Mode::Refuse);
    let gateway = with_store(&store).start();
    until(SOON, "the outage is seen", || gateway.fetch("/health/dependencies").status == 503);
    Client::open(&gateway).expect_close().is(1011, "unavailable");
    store.proxy.set(Mode::Pass);
    until(SOON, "connections are admitted", || gateway.fetch("/health/dependencies").status == 200);
    let mut publisher = Publisher::new(&gateway, "c");
    publisher.catch_up();
    assert_eq!(publisher.check(&mut Client::connect(&gateway)), 1);
}

#[test]
fn observed_verdict_refuses_no_client_and_is_counted() {
    let store = proxied::postgres();
    let gateway = with_store(&store).env("SEAWALL_HEALTH_ADMISSION", "observe").start();
    let mut client = Client::connect(&gateway);
    store.proxy.set(Mode::Refuse);
    store.proxy.cut();
    client.next_status("down", SOON);
    let newcomer = Client::connect(&gateway);
    assert_eq!(newcomer.connected["status"]["level"], json!("down"));
    gateway.shows("seawall_upgrades_observed_total", 1.0);
}
