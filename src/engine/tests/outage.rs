//! A health snapshot that changes under an engine.

use super::stage::UPGRADE;
use super::*;
use crate::health::board::Board;
use crate::health::breaker::Forced;
use crate::health::definition::{Criticality, Definition, DependencyKind, EndedBy, Gate};
use crate::health::dependency::ForcedOrder;
use crate::health::snapshot::AdmissionMode;
use crate::limits::TELLS_PER_TURN;

/// A board with a store that an operator can hold down.
fn board(stage: &Stage, mode: AdmissionMode) -> Board {
    let store = Definition {
        name: Arc::from("store"),
        kind: DependencyKind::Postgres,
        address: Arc::from("db:5432"),
        criticality: Criticality::Critical,
        gate: Gate::Handshake,
        ended_by: EndedBy::Probes,
        lost: vec![Arc::from("publish")],
        sentence: Arc::from("Messages cannot be sent."),
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(1),
        failures: 2,
        successes: 2,
    };
    Board::new(vec![store], mode, stage.engine.now())
}

fn hold(stage: &Stage, board: &mut Board, to: Option<Forced>) {
    let now = stage.engine.now();
    let order = to.map(|to| ForcedOrder { to, until: now.at + Duration::from_secs(60) });
    let id = board.id("store").expect("configured");
    let changes = board.order(id, order, now, 7);
    stage.setup.outlook.publish(changes.snapshot.expect("it changed"));
}

#[test]
fn connected_client_is_notified_and_newcomer_is_turned_away() {
    let mut stage = Stage::new(AuthMode::Off);
    let mut board = board(&stage, AdmissionMode::Enforce);
    let client = stage.chat(&[CONNECT]);
    stage.turn_until(|stage| stage.has(client, r#""connected""#));
    hold(&stage, &mut board, Some(Forced::Open));
    stage.turn_until(|stage| stage.has(client, r#"{"status":{"revision":2,"level":"down""#));

    let newcomer = stage.chat(&[CONNECT]);
    stage.turn_until(|stage| {
        let bye = r#"{"bye":{"code":1011,"reason":"unavailable","message":"Messages cannot be sent.","dependency":"store""#;
        stage.has(newcomer, bye)
    });
    assert!(stage.has(newcomer, "101 Switching Protocols"));
    assert!(!stage.has(newcomer, r#""connected""#), "it was admitted");
    assert_eq!(stage.engine.tally.turned_away.read(), 1);

    stage.say(client, r#"{"id":2,"publish":{"channel":"c","data":1}}"#);
    stage.turn_until(|stage| stage.has(client, r#"{"id":2,"error":{"code":"unavailable""#));
    assert!(stage.appends.is_empty(), "a store that is down was asked");

    hold(&stage, &mut board, Some(Forced::Closed));
    stage.turn_until(|stage| stage.has(client, r#""revision":3,"level":"ok""#));
    let third = stage.chat(&[CONNECT]);
    stage.turn_until(|stage| stage.has(third, r#""connected""#));
}

#[test]
fn token_is_checked_if_the_outage_ends_while_the_address_is_counted() {
    let limits = Limits { connections_per_address: 5, ..Limits::default() };
    let mut stage = Stage::with(limits, AuthMode::Required);
    let mut board = board(&stage, AdmissionMode::Enforce);
    hold(&stage, &mut board, Some(Forced::Open));
    let client = stage.client();
    let request = UPGRADE.replace("\r\n\r\n", "\r\nAuthorization: Bearer mine\r\n\r\n");
    stage.send(client, request.as_bytes());
    let AuthJob::AdmitAddress { ticket, address } = stage.admitted() else {
        panic!("the address is counted first")
    };
    hold(&stage, &mut board, Some(Forced::Closed));
    stage.turn_until(|stage| !stage.engine.is_refusing());
    stage.answer(Completion::AddressChecked { ticket, address, outcome: Ok(()) });
    stage.turn_until(|stage| stage.has(client, "101 Switching Protocols"));
    stage.say(client, CONNECT);
    let AuthJob::CheckToken { token, .. } = stage.admitted() else { panic!("then the token is checked") };
    assert_eq!(&*token, "mine");
}

#[test]
fn observed_verdict_admits_and_is_counted() {
    let mut stage = Stage::new(AuthMode::Off);
    let mut board = board(&stage, AdmissionMode::Observe);
    hold(&stage, &mut board, Some(Forced::Open));
    let client = stage.chat(&[CONNECT]);
    stage.turn_until(|stage| stage.has(client, r#""connected""#) && stage.has(client, r#""level":"down""#));
    assert_eq!((stage.engine.tally.observed.read(), stage.engine.tally.turned_away.read()), (1, 0));
}

#[test]
fn many_clients_are_notified_over_several_turns_and_only_of_the_newest_status() {
    let mut stage = Stage::new(AuthMode::Off);
    let mut board = board(&stage, AdmissionMode::Enforce);
    let client = stage.chat(&[CONNECT]);
    stage.turn_until(|stage| stage.has(client, r#""connected""#));
    hold(&stage, &mut board, Some(Forced::Open));
    // More of them than one turn notifies, from the end of the list.
    for _ in 0..TELLS_PER_TURN {
        stage.client();
    }
    let snapshot = stage.setup.outlook.snapshot();
    stage.engine.handle_snapshot(snapshot);
    stage.engine.push_status();
    assert_eq!(stage.engine.tally.statuses.read(), 0);
    assert_eq!(stage.engine.patience(), Duration::ZERO, "the shell would sleep with clients left to notify");
    hold(&stage, &mut board, Some(Forced::Closed));
    stage.turn_until(|stage| stage.has(client, r#""revision":3,"level":"ok""#));
    assert!(!stage.has(client, r#"{"status":{"revision":2"#), "it was notified of a status that had passed");
    assert_eq!(stage.engine.tally.statuses.read(), 1);
}
