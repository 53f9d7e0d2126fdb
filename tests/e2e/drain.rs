//! A drain as clients and load balancers see it: not ready, still accepting; slots; everything works; a `bye` at the end.

use crate::support::admin::Operator;
use crate::support::wait::{SOON, until};
use crate::support::{Client, Gateway, RawClient, Setup, Upgrade};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Phases that are long enough to be told apart on a busy machine.
fn unhurried() -> Setup {
    Setup::new().drain("accept", 1_500).drain("spread", 1_000).drain("close", 4_000).drain("exit", 8_000)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("a number: {value}"))
}

/// Whether somebody new is let in; a listener that is gone refuses at once.
fn accepts(gateway: &Gateway) -> bool {
    TcpStream::connect(gateway.address).is_ok()
}

#[test]
fn a_drain_goes_through_its_phases_and_everything_works_until_the_close() {
    let mut gateway = unhurried().with_admin().start();
    let operator = Operator::of(&gateway);
    let mut early = Client::connect(&gateway);
    early.subscribe("c");
    let began = Instant::now();
    gateway.signal(Signal::TERM);

    until(SOON, "it is not ready", || gateway.fetch("/health/ready").status == 503);
    let ready = gateway.fetch("/health/ready").json();
    assert_eq!(ready["drain"]["phase"], "accepting", "{ready}");
    assert!(ready["drain"]["since"].is_u64() && ready["drain"]["connections"].is_u64(), "{ready}");
    assert_eq!(ready["faults"][0], "the process is draining: accepting");
    assert_eq!(gateway.fetch("/health").json()["drain"]["phase"], "accepting");
    assert_eq!(gateway.fetch("/health/live").status, 200);
    // Who comes now is served as ever.
    let mut late = Client::connect(&gateway);
    late.subscribe("c");
    late.publish("c", json!("from who came late"));
    assert!(began.elapsed() < Duration::from_millis(1_500), "too slow a machine for this test");

    for client in [&mut early, &mut late] {
        let drain = client.next_push("drain");
        assert_eq!(drain["reason"], "deploy");
        let (slot_ms, deadline_ms) = (number(&drain["slot_ms"]), number(&drain["deadline_ms"]));
        assert!(slot_ms <= 1_000, "{drain}");
        assert!((1_500..=2_500).contains(&deadline_ms), "{drain}");
    }
    assert!(began.elapsed() >= Duration::from_millis(1_500), "told before the listener closed");
    // The other reactor may need a turn more.
    until(SOON, "nobody is let in", || !accepts(&gateway));
    let metrics = operator.get("/metrics").body;
    for sample in ["seawall_drain_phase{phase=\"moving\"} 1", "seawall_drain_told_total 2"] {
        assert!(metrics.contains(sample), "{sample}: {metrics}");
    }
    // They stay, and everything works.
    early.publish("c", json!("moving"));
    assert_eq!(late.offsets(2), [1, 2]);
    assert_eq!(early.ask(json!({"history": {"channel": "c"}}), "history")["head"], 2);
    early.subscribe("another");

    for client in [&mut early, &mut late] {
        let closed = client.expect_close();
        closed.is(1012, "restart");
        let retry_ms = number(&closed.bye.expect("checked")["retry_ms"]);
        assert!(retry_ms <= 10_000, "{retry_ms}");
    }
    assert!(began.elapsed() >= Duration::from_millis(4_000), "closed before its time");
    assert_eq!(gateway.ends_within(SOON), Some(0), "{}", gateway.output());
    assert!(began.elapsed() < Duration::from_secs(8), "gone too late");
    let said = gateway.output();
    for line in [
        "drain started",
        "drain moving clients",
        "drain closing remaining connections",
        "stopped moved=0 stragglers=2",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
}

#[test]
fn hundreds_of_slots_are_even_and_it_ends_when_everybody_has_left() {
    const CLIENTS: usize = 300;
    const SECONDS: usize = 20;
    let setup = Setup::new().arguments(&["--reactors", "2"]).drain("spread", SECONDS as u64 * 1_000);
    let mut gateway = setup.drain("close", 30_000).drain("exit", 35_000).start();
    let mut clients: Vec<RawClient> = (0..CLIENTS).map(|_| RawClient::connected(&gateway)).collect();
    gateway.signal(Signal::TERM);
    let mut slots: Vec<u64> = clients
        .iter_mut()
        .map(|client| {
            let push = client.next_json();
            assert_eq!(push["drain"]["reason"], "deploy", "{push}");
            number(&push["drain"]["slot_ms"])
        })
        .collect();
    slots.sort_unstable();
    for second in 0..SECONDS {
        let within = slots.iter().filter(|slot| (*slot / 1_000) as usize == second).count();
        // Each reactor gives its own; what was planned for the next second may be told within this one.
        assert!((CLIENTS / SECONDS).abs_diff(within) <= 6, "{within} in second {second}: {slots:?}");
    }
    let gap = slots.windows(2).map(|pair| pair[1] - pair[0]).max();
    assert!(gap <= Some(500), "{gap:?}");
    drop(clients);
    assert_eq!(gateway.ends_within(Duration::from_secs(15)), Some(0));
    assert!(
        gateway.output().contains(&format!("stopped moved={CLIENTS} stragglers=0")),
        "{}",
        gateway.output()
    );
}

#[test]
fn who_was_accepted_before_the_end_and_opens_after_it_is_told_as_well() {
    let mut gateway = unhurried().drain("accept", 0).with_admin().start();
    let operator = Operator::of(&gateway);
    let (mut slow, mut silent) = (RawClient::to(&gateway), RawClient::to(&gateway));
    // One that only keeps its connection, and one that asks again on it.
    let mut idle = RawClient::to(&gateway);
    assert_eq!(idle.fetch("GET", "/health").status, 200);
    slow.write(b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n");
    until(SOON, "all three are accepted", || gateway.metric("seawall_connections") >= 3.0);
    gateway.signal(Signal::TERM);
    until(SOON, "the listener is closed", || operator.get("/drain").json()["phase"] == "moving");
    idle.expect_end();
    slow.write(b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    assert_eq!(slow.response().status, 101);
    slow.send(&crate::support::Frame::text(r#"{"id":1,"connect":{}}"#));
    assert_eq!(slow.next_json()["id"], 1);
    let told = slow.next_json();
    assert!(told["drain"]["slot_ms"].is_u64(), "{told}");
    let answer = silent.fetch("GET", "/health/ready");
    assert_eq!((answer.status, answer.header("connection")), (503, Some("close")));
    silent.expect_end();
    slow.expect_close().is(1012, "restart");
    assert_eq!(gateway.ends_within(SOON), Some(0));
}

#[test]
fn who_ignores_it_is_told_to_come_back_at_different_times() {
    const CLIENTS: usize = 100;
    let mut gateway = Setup::new().drain("return", 10_000).start();
    let mut clients: Vec<RawClient> = (0..CLIENTS).map(|_| RawClient::connected(&gateway)).collect();
    gateway.signal(Signal::TERM);
    let mut seconds = [0; 11];
    for client in &mut clients {
        let closed = client.expect_close();
        closed.is(1012, "restart");
        let retry_ms = number(&closed.bye.expect("checked")["retry_ms"]);
        seconds[(retry_ms / 1_000) as usize] += 1;
    }
    assert!(seconds[..10].iter().all(|count| *count <= CLIENTS * 15 / 100), "{seconds:?}");
    assert_eq!(gateway.ends_within(SOON), Some(0));
}

#[test]
fn with_nobody_there_it_ends_once_it_no_longer_accepts() {
    let mut gateway = Setup::new().drain("accept", 300).drain("close", 60_000).drain("exit", 70_000).start();
    let (code, took) = gateway.ends_after(Signal::TERM);
    assert_eq!(code, Some(0));
    assert!(took >= Duration::from_millis(300), "{took:?}");
}

#[test]
fn a_publish_in_flight_at_the_close_is_answered_first() {
    let mut gateway = Setup::new().start();
    let mut client = Client::connect(&gateway);
    client.publish("c", json!("the file is there"));
    let lock = rusqlite::Connection::open(gateway.setup().data().join("seawall.db")).expect("the store");
    lock.execute_batch("BEGIN IMMEDIATE").expect("the store can be locked");
    let id = client.send(json!({"publish": {"channel": "c", "key": "k", "data": "in flight"}}));
    until(SOON, "it is on its way", || gateway.metric("seawall_publishes_total") >= 2.0);
    gateway.signal(Signal::TERM);
    until(SOON, "it closes", || gateway.output().contains("drain closing remaining connections"));
    lock.execute_batch("ROLLBACK").expect("the store can be unlocked");
    let reply = client.try_reply(id).expect("an answer before the end");
    client.expect_close().is(1012, "restart");
    assert_eq!(gateway.ends_within(SOON), Some(0), "{}", gateway.output());
    let stored = 1 + u64::from(reply.get("published").is_some());
    let gateway = gateway.setup().clone().start();
    let head = Client::connect(&gateway).ask(json!({"history": {"channel": "c"}}), "history");
    assert_eq!(head["head"], stored, "{reply}");
}

#[test]
fn publishing_all_along_loses_nothing_and_doubles_nothing() {
    let setup = Setup::new().unhurried().drain("accept", 200).drain("spread", 300).drain("close", 900);
    let mut gateway = setup.drain("exit", 4_000).start();
    let mut publishers: Vec<Client> = (0..4).map(|_| Client::connect(&gateway)).collect();
    let address = gateway.address;
    let mut open = Vec::new();
    let outcomes = std::thread::scope(|scope| {
        let threads: Vec<_> = publishers
            .iter_mut()
            .enumerate()
            .map(|(own, client)| scope.spawn(move || publish_until_closed(client, own)))
            .collect();
        gateway.signal(Signal::TERM);
        assert_eq!(gateway.ends_within(SOON), Some(0), "{}", gateway.output());
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>()
    });
    let again = gateway.setup().clone().listen(address).start();
    let mut client = Client::open_with(again.address, &Upgrade::default()).with_connect(json!({}));
    for (own, (answered, unanswered)) in outcomes.iter().enumerate() {
        assert!(*answered > 0, "publisher {own} published");
        // What has no answer is sent again under its key, as clients do.
        for key in unanswered {
            let publish = json!({"publish": {"channel": format!("c{own}"), "key": key, "data": key}});
            client.ask(publish, "published");
        }
        open.push(answered + unanswered.len() as u64);
        let head = client.ask(json!({"history": {"channel": format!("c{own}"), "limit": 1}}), "history");
        assert_eq!(head["head"], *open.last().expect("just pushed"), "every one once");
    }
}

/// Publishes one after the other until the connection ends: how many were acknowledged, and which keys were not.
fn publish_until_closed(client: &mut Client, own: usize) -> (u64, Vec<String>) {
    for n in 0.. {
        let key = format!("{own}-{n}");
        let publish = json!({"publish": {"channel": format!("c{own}"), "key": key, "data": key}});
        let reply = client.try_send(publish).ok().and_then(|id| client.try_reply(id));
        match reply {
            Some(reply) if reply.get("published").is_some() => {}
            Some(other) => panic!("refused while draining: {other}"),
            None => {
                client.expect_close().is(1012, "restart");
                return (n, vec![key]);
            }
        }
    }
    unreachable!("the numbers do not end")
}
