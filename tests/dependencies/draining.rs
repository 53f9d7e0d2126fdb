//! A gateway that is drained while its store does not answer.

use crate::servers::Postgres;
use crate::support::wait::{SOON, until};
use crate::support::{Client, Setup};
use rustix::process::Signal;
use serde_json::json;
use std::time::{Duration, Instant};

#[test]
fn a_store_that_hangs_costs_the_answer_and_not_the_exit_and_the_log_names_it() {
    let server = Postgres::start();
    let setup = Setup::new().env("SEAWALL_STORE_URL", &server.url()).drain("exit", 4_000);
    let mut gateway = setup.start();
    let (mut client, mut idle) = (Client::connect(&gateway), Client::connect(&gateway));
    client.subscribe("c");
    client.publish("c", json!("the store answers"));
    server.sigstop();
    let id = client.send(json!({"publish": {"channel": "c", "key": "k", "data": "into the ice"}}));
    until(SOON, "it is on its way", || gateway.metric("seawall_publishes_total") >= 2.0);
    let began = Instant::now();
    gateway.signal(Signal::TERM);
    // Who waits for nothing is not kept waiting.
    idle.expect_close().is(1012, "restart");
    let idle_after = began.elapsed();
    let reply = client.try_reply(id).expect("an answer before the end");
    assert_eq!(reply["error"]["code"], "unconfirmed", "{reply}");
    client.expect_close().is(1012, "restart");
    assert!(idle_after < Duration::from_secs(2), "the idle one was closed first: {idle_after:?}");
    assert_eq!(gateway.ends_within(SOON), Some(1), "{}", gateway.output());
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    let said = gateway.output();
    assert!(said.contains("not everything was finished unanswered_publishes=1 unsent_closes=0"), "{said}");
    server.sigcont();
}
