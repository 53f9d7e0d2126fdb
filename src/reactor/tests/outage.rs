//! What a reactor does with a snapshot that changes under it.

use super::stage::UPGRADE;
use super::{AuthMode, SlotId, Stage};
use crate::health::board::Board;
use crate::health::breaker::Forced;
use crate::health::definition::{Criticality, Definition, Gate, Kind};
use crate::health::dependency::Order;
use crate::health::snapshot::AdmissionMode;
use crate::job::{Admit, Completion};
use crate::limits::{Limits, TELLS_PER_TURN};
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

const CONNECT: &str = r#"{"id":1,"connect":{}}"#;

/// A board on which an operator can hold the store down.
fn board(stage: &Stage, mode: AdmissionMode) -> Board {
    let store = Definition {
        name: Arc::from("store"),
        kind: Kind::Postgres,
        address: Arc::from("db:5432"),
        criticality: Criticality::Critical,
        gate: Gate::Handshake,
        lost: vec![Arc::from("publish")],
        sentence: Arc::from("Messages cannot be sent."),
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(1),
        failures: 2,
        successes: 2,
    };
    Board::new(vec![store], mode, stage.reactor.setup.clock.read())
}

fn hold(stage: &Stage, board: &mut Board, to: Option<Forced>) {
    let now = stage.reactor.setup.clock.read();
    let order = to.map(|to| Order { to, until: now.at + Duration::from_secs(60) });
    let id = board.id("store").expect("configured");
    let changes = board.order(id, order, now, 7);
    stage.reactor.setup.outlook.publish(changes.snapshot.expect("it changed"));
}

#[test]
fn who_is_connected_is_told_and_who_comes_is_turned_away() {
    let mut stage = Stage::new(AuthMode::Off);
    let mut board = board(&stage, AdmissionMode::Enforce);
    let mut client = stage.chat(&[CONNECT]);
    stage.turn_until(|_| client.has(r#""connected""#));
    hold(&stage, &mut board, Some(Forced::Open));
    stage.turn_until(|_| client.has(r#"{"status":{"revision":2,"level":"down""#));

    let mut newcomer = stage.chat(&[CONNECT]);
    stage.turn_until(|_| newcomer.has(r#"{"bye":{"code":1011,"reason":"unavailable","dependency":"store""#));
    assert!(newcomer.has("101 Switching Protocols"));
    assert!(!newcomer.has(r#""connected""#), "it was let in");
    assert_eq!(stage.reactor.counters.turned_away.read(), 1);

    client.say(r#"{"id":2,"publish":{"channel":"c","data":1}}"#);
    stage.turn_until(|_| client.has(r#"{"id":2,"error":{"code":"unavailable""#));
    assert!(stage.appends.try_recv().is_err(), "a store that is down was asked");

    hold(&stage, &mut board, Some(Forced::Closed));
    stage.turn_until(|_| client.has(r#""revision":3,"level":"ok""#));
    let mut third = stage.chat(&[CONNECT]);
    stage.turn_until(|_| third.has(r#""connected""#));
}

#[test]
fn who_came_in_an_outage_that_is_over_once_its_address_is_counted_has_its_token_judged() {
    let limits = Limits { connections_per_address: 5, ..Limits::default() };
    let mut stage = Stage::with(limits, AuthMode::Required, None);
    let mut board = board(&stage, AdmissionMode::Enforce);
    hold(&stage, &mut board, Some(Forced::Open));
    let mut client = stage.client();
    let request = UPGRADE.replace("\r\n\r\n", "\r\nAuthorization: Bearer mine\r\n\r\n");
    client.socket.write_all(request.as_bytes()).expect("room");
    let Admit::Address { ticket, address } = stage.admitted() else { panic!("its address is counted first") };
    hold(&stage, &mut board, Some(Forced::Closed));
    stage.turn_until(|stage| !stage.reactor.is_refusing());
    stage.answer(Completion::AddressChecked { ticket, address, outcome: Ok(()) });
    stage.turn_until(|_| client.has("101 Switching Protocols"));
    client.say(CONNECT);
    let Admit::Token { token, .. } = stage.admitted() else { panic!("then its token") };
    assert_eq!(&*token, "mine");
}

#[test]
fn a_verdict_that_is_observed_lets_in_and_counts() {
    let mut stage = Stage::new(AuthMode::Off);
    let mut board = board(&stage, AdmissionMode::Observe);
    hold(&stage, &mut board, Some(Forced::Open));
    let mut client = stage.chat(&[CONNECT]);
    stage.turn_until(|_| client.has(r#""connected""#) && client.has(r#""level":"down""#));
    assert_eq!((stage.reactor.counters.observed.read(), stage.reactor.counters.turned_away.read()), (1, 0));
}

#[test]
fn many_are_told_in_several_turns_and_of_the_newest_alone() {
    let mut stage = Stage::new(AuthMode::Off);
    let mut board = board(&stage, AdmissionMode::Enforce);
    let mut client = stage.chat(&[CONNECT]);
    stage.turn_until(|_| client.has(r#""connected""#));
    hold(&stage, &mut board, Some(Forced::Open));
    let reactor = &mut stage.reactor;
    reactor.look();
    // They are told from the end of the list; those of a place that is empty by now count as well.
    let gone = SlotId { index: 999, generation: 0 };
    reactor.telling.left.extend(std::iter::repeat_n(gone, TELLS_PER_TURN));
    reactor.tell();
    assert_eq!(reactor.counters.statuses.read(), 0);
    assert_eq!(reactor.patience(), Duration::ZERO, "it would sleep with people left to tell");
    hold(&stage, &mut board, Some(Forced::Closed));
    stage.turn_until(|_| client.has(r#""revision":3,"level":"ok""#));
    assert!(!client.has(r#"{"status":{"revision":2"#), "it was told of what had passed");
    assert_eq!(stage.reactor.counters.statuses.read(), 1);
}
