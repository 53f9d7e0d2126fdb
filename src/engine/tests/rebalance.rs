//! Clients that are asked to move to other instances.

use super::stage::UPGRADE;
use super::*;
use crate::cluster::spread::Moves;

/// An empty pong.
const PONG: [u8; 6] = [0x8A, 0x80, 0, 0, 0, 0];

/// Clients that connected one after the other, the first one first.
fn connected(stage: &mut Stage, count: usize) -> Vec<Client> {
    let connect = |stage: &mut Stage| {
        let client = stage.chat(&[CONNECT]);
        stage.turn_until(|stage| stage.has(client, r#""connected""#));
        client
    };
    (0..count).map(|_| connect(stage)).collect()
}

fn ask(stage: &mut Stage, targets: &[&str]) {
    let targets: Vec<Arc<str>> = targets.iter().map(|name| Arc::from(*name)).collect();
    stage.broadcasts.push_back(Broadcast::Move(Arc::from(targets)));
    stage.turn();
    stage.turn();
}

fn was_asked(stage: &Stage, client: Client) -> bool {
    stage.has(client, r#"{"drain":{"reason":"rebalance","slot_ms":"#)
}

fn moves(stage: &Stage) -> Moves {
    stage.setup.vitals.rebalance.moves()
}

#[test]
fn oldest_connections_are_asked_once_and_counted_as_moved_or_stayed() {
    let mut stage = Stage::new(AuthMode::Off);
    let clients = connected(&mut stage, 4);
    ask(&mut stage, &["gw-2", "gw-3"]);
    let asked: Vec<bool> = clients.iter().map(|client| was_asked(&stage, *client)).collect();
    assert_eq!(asked, [true, true, false, false]);
    assert!(stage.has(clients[0], r#""deadline_ms":30000,"to":"gw-2"}"#), "{}", stage.received(clients[0]));
    assert!(stage.has(clients[1], r#""to":"gw-3""#));
    assert_eq!((moves(&stage).asked, moves(&stage).waiting), (2, 2));
    stage.leave(clients[0]);
    stage.turn_until(|stage| stage.engine.len() == 3);
    assert_eq!((moves(&stage).moved, moves(&stage).waiting), (1, 1));
    stage.pause = Duration::from_secs(15);
    stage.forget_received(clients[1]);
    for _ in 0..3 {
        stage.turn();
        // The clients answer pings.
        clients.iter().skip(1).for_each(|client| stage.send(*client, &PONG));
    }
    ask(&mut stage, &["gw-2", "gw-2", "gw-2"]);
    assert_eq!((moves(&stage).stayed, moves(&stage).asked), (1, 4), "the other two are asked");
    assert!(!was_asked(&stage, clients[1]) && was_asked(&stage, clients[2]) && was_asked(&stage, clients[3]));
    assert_eq!(stage.engine.len(), 3, "nothing is closed");
}

#[test]
fn arrival_that_asked_for_another_instance_counts_as_returned_only_during_a_round() {
    let mut stage = Stage::new(AuthMode::Off);
    let arrive = |stage: &mut Stage| {
        let client = stage.client();
        stage.send(client, UPGRADE.replace("/ws", "/ws?to=gw-9").as_bytes());
        stage.turn_until(|stage| stage.has(client, "101 Switching"));
    };
    arrive(&mut stage);
    assert_eq!(moves(&stage).returned, 0);
    ask(&mut stage, &[]);
    arrive(&mut stage);
    assert_eq!((moves(&stage).returned, stage.engine.tally.returns_other.read()), (1, 2));
}

#[test]
fn draining_instance_asks_no_client_to_rebalance() {
    let mut stage = Stage::new(AuthMode::Off);
    let clients = connected(&mut stage, 1);
    stage.setup.vitals.drain.begin(crate::drain::DrainCause::Operator, stage.engine.now());
    stage.turn();
    ask(&mut stage, &["gw-2"]);
    assert!(!was_asked(&stage, clients[0]));
    assert_eq!(moves(&stage).asked, 0);
}
