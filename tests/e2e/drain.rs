//! A drain as clients and load balancers see it: not ready but still accepting; then slots; then `bye`.

use crate::support::admin::Operator;
use crate::support::wait::{LATE, SOON, until};
use crate::support::{Client, Gateway, RawClient, Setup, Upgrade};
use rustix::process::Signal;
use seawall_fault::HeldPort;
use serde_json::{Value, json};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Phases long enough to be distinguished on a busy machine.
fn slow_phases() -> Setup {
    Setup::new().drain("accept", 8_000).drain("spread", 1_000).drain("close", 18_000).drain("exit", 45_000)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("a number: {value}"))
}

/// Returns true if a new connection is accepted. A closed listener refuses at once.
fn accepts(gateway: &Gateway) -> bool {
    TcpStream::connect(gateway.address).is_ok()
}

#[test]
fn drain_goes_through_its_phases_and_all_commands_work_until_the_close() {
    let mut gateway = slow_phases().with_admin().start();
    let operator = Operator::of(&gateway);
    let mut early = Client::connect(&gateway);
    early.subscribe("c");
    let began = Instant::now();
    gateway.signal(Signal::TERM);

    until(SOON, "the gateway is not ready", || gateway.fetch("/health/ready").status == 503);
    let ready = gateway.fetch("/health/ready").json();
    assert_eq!(ready["drain"]["phase"], "accepting", "{ready}");
    assert!(ready["drain"]["since"].is_u64() && ready["drain"]["connections"].is_u64(), "{ready}");
    assert_eq!(ready["faults"][0], "the process is draining: accepting");
    assert_eq!(gateway.fetch("/health").json()["drain"]["phase"], "accepting");
    assert_eq!(gateway.fetch("/health/live").status, 200);
    // A client that connects now is served as usual.
    let mut late = Client::connect(&gateway);
    late.subscribe("c");
    late.publish("c", json!("from the late client"));
    assert!(began.elapsed() < Duration::from_millis(8_000), "{LATE}: too slow a machine for this test");

    for client in [&mut early, &mut late] {
        let drain = client.next_push("drain");
        assert_eq!(drain["reason"], "deploy");
        let (slot_ms, deadline_ms) = (number(&drain["slot_ms"]), number(&drain["deadline_ms"]));
        assert!(slot_ms <= 1_000, "{drain}");
        assert!((1..=10_000).contains(&deadline_ms), "{drain}");
    }
    assert!(began.elapsed() >= Duration::from_millis(8_000), "notified before the listener closed");
    // The other reactor may need one more turn.
    until(SOON, "no connection is accepted", || !accepts(&gateway));
    for sample in ["seawall_drain_phase{phase=\"moving\"} 1", "seawall_drain_told_total 2"] {
        until(SOON, sample, || operator.get("/metrics").body.contains(sample));
    }
    // Connected clients stay, and all commands work.
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
    assert!(began.elapsed() >= Duration::from_millis(18_000), "closed too early");
    assert_eq!(gateway.ends_within(SOON), Some(0), "{}", gateway.output());
    assert!(began.elapsed() < Duration::from_millis(45_000), "{LATE}: exited too late");
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
fn slots_are_spread_evenly_and_the_drain_ends_when_all_clients_have_left() {
    const CLIENTS: usize = 300;
    const SECONDS: usize = 20;
    let setup = Setup::new().arguments(&["--reactors", "2"]).drain("spread", SECONDS as u64 * 1_000);
    let mut gateway = setup.drain("close", 180_000).drain("exit", 190_000).start();
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
        // Each reactor assigns its own slots, so some planned for the next second may fall into this one.
        assert!((CLIENTS / SECONDS).abs_diff(within) <= 9, "{within} in second {second}: {slots:?}");
    }
    let gap = slots.windows(2).map(|pair| pair[1] - pair[0]).max();
    assert!(gap <= Some(1_000), "{gap:?}");
    drop(clients);
    assert_eq!(gateway.ends_within(2 * SOON), Some(0));
    assert!(
        gateway.output().contains(&format!("stopped moved={CLIENTS} stragglers=0")),
        "{}",
        gateway.output()
    );
}

#[test]
fn connection_accepted_before_and_opened_after_the_listener_closed_gets_a_slot() {
    let mut gateway = slow_phases().drain("accept", 0).drain("close", 12_000).with_admin().start();
    let operator = Operator::of(&gateway);
    let (mut slow, mut silent) = (RawClient::to(&gateway), RawClient::to(&gateway));
    // `idle` keeps its connection open after a request, `silent` sends a request only later.
    let mut idle = RawClient::to(&gateway);
    assert_eq!(idle.fetch("GET", "/health").status, 200);
    slow.write(b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n");
    // Each look is a connection as well.
    let mut looks = 0.0;
    until(SOON, "all three are accepted", || {
        looks += 1.0;
        gateway.metric("seawall_connections_accepted_total") >= 3.0 + looks
    });
    gateway.signal(Signal::TERM);
    until(SOON, "the listener is closed", || operator.get("/drain").json()["phase"] == "moving");
    idle.expect_end();
    slow.write(b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    assert_eq!(slow.response().status, 101);
    slow.send(&crate::support::Frame::text(r#"{"id":1,"connect":{}}"#));
    assert_eq!(slow.next_json()["id"], 1);
    let push = slow.next_json();
    assert!(push["drain"]["slot_ms"].is_u64(), "{push}");
    let answer = silent.fetch("GET", "/health/ready");
    assert_eq!((answer.status, answer.header("connection")), (503, Some("close")));
    silent.expect_end();
    slow.expect_close().is(1012, "restart");
    assert_eq!(gateway.ends_within(SOON), Some(0));
}

#[test]
fn clients_that_ignore_the_drain_get_different_retry_times() {
    const CLIENTS: usize = 100;
    let mut gateway = Setup::new().drain("return", 10_000).drain("exit", 20_000).start();
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
fn drain_without_clients_ends_when_the_gateway_stops_accepting() {
    let mut gateway = Setup::new().drain("accept", 300).drain("close", 60_000).drain("exit", 70_000).start();
    let (code, took) = gateway.ends_after(Signal::TERM);
    assert_eq!(code, Some(0));
    assert!(took >= Duration::from_millis(300), "{took:?}");
}

#[test]
fn publish_in_flight_at_the_close_is_answered_first() {
    let mut gateway = Setup::new().start();
    let mut client = Client::connect(&gateway);
    client.publish("c", json!("the file exists"));
    let lock = rusqlite::Connection::open(gateway.setup().data().join("seawall.db")).expect("the store");
    lock.execute_batch("BEGIN IMMEDIATE").expect("the store can be locked");
    let id = client.send(json!({"publish": {"channel": "c", "key": "k", "data": "in flight"}}));
    until(SOON, "the publish is counted", || gateway.metric("seawall_publishes_total") >= 2.0);
    gateway.signal(Signal::TERM);
    until(SOON, "the drain closes connections", || {
        gateway.output().contains("drain closing remaining connections")
    });
    lock.execute_batch("ROLLBACK").expect("the store can be unlocked");
    let reply = client.try_reply(id).expect("a reply before the close");
    client.expect_close().is(1012, "restart");
    assert_eq!(gateway.ends_within(SOON), Some(0), "{}", gateway.output());
    let stored = 1 + u64::from(reply.get("published").is_some());
    let gateway = gateway.setup().clone().start();
    let head = Client::connect(&gateway).ask(json!({"history": {"channel": "c"}}), "history");
    assert_eq!(head["head"], stored, "{reply}");
}

#[test]
fn publishing_through_a_drain_loses_and_duplicates_nothing() {
    let setup = Setup::new().unlimited().drain("accept", 200).drain("spread", 300).drain("close", 900);
    // Without a holder, another test could have the port in between.
    let port = HeldPort::loopback().expect("a port");
    let mut gateway = setup.drain("exit", 25_000).listen(port.address()).start();
    let mut publishers: Vec<Client> = (0..4).map(|_| Client::connect(&gateway)).collect();
    let mut open = Vec::new();
    let outcomes = std::thread::scope(|scope| {
        let threads: Vec<_> = publishers
            .iter_mut()
            .enumerate()
            .map(|(own, client)| scope.spawn(move || publish_until_closed(client, own)))
            .collect();
        let mut reader = Client::connect(&gateway);
        until(SOON, "each of them publishes", || {
            (0..4).all(|own| {
                let page = json!({"history": {"channel": format!("c{own}"), "limit": 1}});
                reader.ask(page, "history")["head"] != 0
            })
        });
        drop(reader);
        gateway.signal(Signal::TERM);
        assert_eq!(gateway.ends_within(SOON), Some(0), "{}", gateway.output());
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>()
    });
    let again = gateway.setup().clone().start();
    let mut client = Client::open_with(again.address, &Upgrade::default()).with_connect(json!({}));
    for (own, (answered, unanswered)) in outcomes.iter().enumerate() {
        assert!(*answered > 0, "publisher {own} published");
        // Publishes without a reply are sent again under the same key, as clients do.
        for key in unanswered {
            let publish = json!({"publish": {"channel": format!("c{own}"), "key": key, "data": key}});
            client.ask(publish, "published");
        }
        open.push(answered + unanswered.len() as u64);
        let head = client.ask(json!({"history": {"channel": format!("c{own}"), "limit": 1}}), "history");
        assert_eq!(head["head"], *open.last().expect("just pushed"), "each was stored once");
    }
}

/// Publishes one by one until the connection ends. Returns the number acknowledged, and the keys without a reply.
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
