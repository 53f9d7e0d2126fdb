//! Flags, as sessions are notified of them.

use super::*;
use crate::flag::{Flag, Flags, Switch};
use crate::limits::TELLS_PER_TURN;
use crate::metrics::flags::{FlagClientsBoard, merge};

const BUILT_IN: &str =
    r#""seawall.durable","seawall.hurry","seawall.move","seawall.previous","seawall.probe","seawall.report""#;

fn configure(stage: &Stage, rollout: u8) {
    let flag = Flag { name: "markdown".into(), rollout, users: Vec::new(), clients: Vec::new() };
    stage.setup.vitals.flags.revise(&Flags::new(vec![flag]));
}

/// Clients that are connected.
fn crowd(stage: &mut Stage, size: u64) -> Vec<Client> {
    let before = stage.engine.tally.connected.read();
    let clients = (0..size).map(|_| stage.chat(&[CONNECT])).collect();
    stage.turn_until(|stage| stage.engine.tally.connected.read() == before + size);
    clients
}

/// The numbers of clients with `markdown`, which is the first flag by name, and with a flag of the library.
fn counts(stage: &mut Stage) -> Option<(u64, u64)> {
    let board = FlagClientsBoard::default();
    board.publish(stage.engine.take_flag_clients()?);
    let flags = stage.setup.vitals.flags.load();
    let clients = merge(&flags, std::iter::once(&board));
    Some((clients[0].1, clients[1].1))
}

#[test]
fn client_learns_its_flags_with_connected_and_at_each_change() {
    let mut stage = Stage::new(AuthMode::Off);
    let early = crowd(&mut stage, 1)[0];
    assert!(!stage.has(early, "flags"), "none is configured");
    configure(&stage, 100);
    stage.turn();
    let push = format!(r#"{{"flags":{{"on":["markdown",{BUILT_IN}]}}}}"#);
    assert!(stage.has(early, &push), "{}", stage.received(early));
    let late = stage.chat(&[CONNECT]);
    stage.turn_until(|stage| stage.has(late, &format!(r#""flags":["markdown",{BUILT_IN}],"recovered""#)));
    stage.setup.vitals.flags.switch("markdown", Switch::Off).expect("known");
    stage.turn();
    let off = format!(r#"{{"flags":{{"on":[{BUILT_IN}]}}}}"#);
    assert!([early, late].iter().all(|client| stage.has(*client, &off)));
    configure(&stage, 100);
    stage.turn();
    assert_eq!(stage.received(late).matches(&push).count(), 1, "a reload ends the switch");
    stage.turn();
    assert_eq!(stage.received(late).matches(r#"{"flags""#).count(), 2, "nothing has changed");
}

#[test]
fn crowd_is_notified_over_several_turns() {
    let mut stage = Stage::new(AuthMode::Off);
    let clients = crowd(&mut stage, TELLS_PER_TURN as u64 + 100);
    configure(&stage, 100);
    let notified = |stage: &Stage| clients.iter().filter(|client| stage.has(**client, r#"{"flags""#)).count();
    stage.turn();
    assert_eq!(notified(&stage), TELLS_PER_TURN);
    assert_eq!(stage.engine.patience(), Duration::ZERO, "the next turn follows at once");
    stage.turn();
    assert_eq!(notified(&stage), clients.len());
}

#[test]
fn clients_are_counted_by_flag_until_they_leave() {
    let mut stage = Stage::new(AuthMode::Off);
    let clients = crowd(&mut stage, 3);
    assert_eq!(counts(&mut stage), None, "none is configured");
    configure(&stage, 100);
    stage.turn();
    crowd(&mut stage, 4);
    assert_eq!(counts(&mut stage), Some((7, 7)));
    assert_eq!(counts(&mut stage), None, "nothing has changed");
    stage.leave(clients[0]);
    stage.turn_until(|stage| stage.engine.len() == 6);
    assert_eq!(counts(&mut stage), Some((6, 6)));
    configure(&stage, 0);
    stage.turn();
    assert_eq!(counts(&mut stage), Some((0, 6)));
}

#[test]
fn share_of_users_is_chosen_by_user_and_not_of_anonymous_clients() {
    let mut stage = Stage::new(AuthMode::Off);
    configure(&stage, 99);
    stage.turn();
    let client = crowd(&mut stage, 1)[0];
    assert!(stage.has(client, &format!(r#""flags":[{BUILT_IN}]"#)));

    let mut stage = Stage::new(AuthMode::Required);
    // The bucket of u1 is 501 of 10,000.
    configure(&stage, 6);
    stage.turn();
    let client = stage.chat(&[r#"{"id":1,"connect":{"token":"t"}}"#]);
    let ticket = stage.token(&Occasion::Connect);
    let user = UserName::parse("u1").expect("valid");
    let identity = Identity { user, ..identity(&stage, Counted::No, None) };
    stage.answer(Completion::TokenChecked { ticket, outcome: Ok(identity) });
    stage.turn_until(|stage| stage.has(client, &format!(r#""flags":["markdown",{BUILT_IN}]"#)));
}
