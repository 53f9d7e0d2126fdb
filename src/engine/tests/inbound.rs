//! Messages that begin and never end, and the connections that pay for them.

use super::*;

const ELSEWHERE: [u8; 4] = [192, 0, 2, 7];
const ALSO_ELSEWHERE: [u8; 4] = [192, 0, 2, 8];

/// A stage that has room for some of the messages below.
fn stage() -> Stage {
    let limits = Limits {
        inbound_bytes_total: 200 << 10,
        message_bytes: 65_536,
        connect_ms: 60_000,
        ..Limits::default()
    };
    Stage::with(limits, AuthMode::Off)
}

/// Begins a text message of 64 KiB, and sends this much of it.
fn begin_message(stage: &mut Stage, client: Client, bytes: usize) {
    let announced = if stage.has(client, "connected") { 65_000 } else { 36_000_u16 };
    let [high, low] = announced.to_be_bytes();
    stage.send(client, &[0x81, 0xFE, high, low, 0, 0, 0, 0]);
    stage.send(client, &vec![b' '; bytes]);
    stage.turn();
}

fn connected_at(stage: &mut Stage, address: [u8; 4]) -> Client {
    let client = stage.client_at(address);
    stage.begin_chat(client, &[CONNECT]);
    stage.turn_until(|stage| stage.has(client, "connected"));
    client
}

#[test]
fn largest_message_of_a_stranger_goes_before_any_of_a_connected_client() {
    let mut stage = stage();
    let known = connected_at(&mut stage, ELSEWHERE);
    begin_message(&mut stage, known, 60_000);
    let strangers: Vec<Client> = [30_000, 35_000, 20_000]
        .into_iter()
        .map(|bytes| {
            let stranger = stage.chat(&[]);
            stage.turn_until(|stage| stage.has(stranger, "101"));
            begin_message(&mut stage, stranger, bytes);
            stranger
        })
        .collect();
    let mut all = strangers.clone();
    while stage.engine.tally.inbound_displaced.read() == 0 {
        let stranger = stage.chat(&[]);
        stage.turn_until(|stage| stage.has(stranger, "101"));
        begin_message(&mut stage, stranger, 10_000);
        all.push(stranger);
        assert!(all.len() < 20, "no connection was ended");
    }
    let ended: Vec<bool> =
        strangers.iter().map(|stranger| stage.has(*stranger, "inbound_bytes_total")).collect();
    assert_eq!(ended, [false, true, false], "the largest");
    assert!(!stage.has(known, "bye"));
    assert!(stage.engine.memory.inbound_bytes <= 200 << 10);
}

#[test]
fn user_with_the_most_unfinished_bytes_pays_for_all_connected_clients() {
    let mut stage = stage();
    let other = connected_at(&mut stage, ELSEWHERE);
    begin_message(&mut stage, other, 60_000);
    let hogs: Vec<Client> = (0..5).map(|_| connected_at(&mut stage, ALSO_ELSEWHERE)).collect();
    for hog in &hogs {
        begin_message(&mut stage, *hog, 30_000);
    }
    assert!(hogs.iter().any(|hog| stage.has(*hog, "inbound_bytes_total")));
    assert!(!stage.has(other, "bye"), "its message is the largest, but the others have more together");
    stage.send(other, &vec![b' '; 5_000]);
    stage.turn_until(|stage| stage.has(other, "malformed"));
}

#[test]
fn message_that_ends_is_no_longer_counted() {
    let mut stage = stage();
    let client = connected_at(&mut stage, ELSEWHERE);
    begin_message(&mut stage, client, 60_000);
    assert!(stage.engine.memory.inbound_bytes >= 60_000);
    stage.send(client, &vec![b' '; 5_000]);
    stage.turn();
    assert_eq!(stage.engine.memory.inbound_bytes, 0);
    begin_message(&mut stage, client, 1_000);
    stage.leave(client);
    stage.turn_until(|stage| stage.engine.is_empty());
    assert_eq!(stage.engine.memory.inbound_bytes, 0, "nor is one whose client has left");
}
