//! One address fills a place that all share; a client of another address is served next.

use super::*;
use crate::job::{AppendError, Appended, Attempt};
use crate::limits::{
    APPENDS_AT_ONCE, APPENDS_PER_PARTY, PAGES_AT_ONCE, RECOVERIES_PER_PARTY, RECOVERIES_WAITING_MAX,
    WAITING_MAX,
};
use crate::metrics::vitals::Crowd;

/// The other address.
const ELSEWHERE: [u8; 4] = [192, 0, 2, 7];

fn unlimited() -> Limits {
    Limits {
        publishes_per_s: 0,
        commands_per_s: 0,
        read_bytes_per_s: 0,
        pending: OUTSTANDING_MAX as u32,
        outbox_bytes_hard: 256 << 20,
        ..Limits::default()
    }
}

/// A stage with a connected client of each address.
fn two() -> (Stage, Client, Client) {
    let mut stage = Stage::with(unlimited(), AuthMode::Off);
    let hog = stage.chat(&[CONNECT]);
    let other = stage.client_at(ELSEWHERE);
    stage.begin_chat(other, &[CONNECT]);
    stage.turn_until(|stage| stage.engine.tally.connected.read() == 2);
    (stage, hog, other)
}

/// Sends `count` commands, and lets the engine take them.
fn say_many(stage: &mut Stage, client: Client, count: usize, command: impl Fn(usize) -> String) {
    for number in 0..count {
        stage.say(client, &command(number));
        // A turn holds a slice of the input only.
        if number % 512 == 511 {
            stage.turn();
        }
    }
    stage.turn();
}

fn publish(number: usize) -> String {
    format!(r#"{{"id":{},"publish":{{"channel":"hog","data":{number}}}}}"#, number + 2)
}

fn appended() -> Result<Appended, AppendError> {
    Ok(Appended {
        epoch: Epoch(7),
        offset: Offset(1),
        time_ms: 1,
        attempt: Attempt::First,
        stream: None,
        answer: None,
    })
}

#[test]
fn append_of_another_address_is_next_at_the_store() {
    let (mut stage, hog, other) = two();
    say_many(&mut stage, hog, APPENDS_AT_ONCE + 1_000, publish);
    assert_eq!((stage.appends.len(), stage.engine.turns.len()), (APPENDS_AT_ONCE, 1_000));
    stage.say(other, r#"{"id":2,"publish":{"channel":"lobby","data":1}}"#);
    stage.turn();
    for _ in 0..2 {
        let ticket = stage.appends.pop_front().expect("handed out").ticket;
        stage.answer(Completion::Appended { ticket, outcome: appended() });
    }
    let handed: Vec<&str> =
        stage.appends.iter().skip(APPENDS_AT_ONCE - 2).map(|append| append.channel.as_str()).collect();
    assert_eq!(handed, ["hog", "lobby"]);
    // All of the hog's are made in the end, in their order.
    let mut data = Vec::new();
    while let Some(append) = stage.appends.pop_front() {
        if append.channel.as_str() == "hog" {
            data.push(append.data.parse::<usize>().expect("a number"));
        }
        stage.answer(Completion::Appended { ticket: append.ticket, outcome: appended() });
    }
    assert_eq!(data, (2..APPENDS_AT_ONCE + 1_000).collect::<Vec<_>>());
    assert_eq!((stage.engine.turns.len(), stage.engine.pending.len()), (0, 0));
}

#[test]
fn append_of_another_address_displaces_the_newest_of_the_longest_line() {
    let (mut stage, hog, other) = two();
    say_many(&mut stage, hog, APPENDS_AT_ONCE + WAITING_MAX, publish);
    assert!(!stage.has(hog, "overloaded"));
    stage.say(other, r#"{"id":2,"publish":{"channel":"lobby","data":1}}"#);
    stage.turn();
    let refused = format!(r#""id":{},"error":{{"code":"overloaded""#, APPENDS_AT_ONCE + WAITING_MAX + 1);
    assert!(stage.has(hog, &refused), "its newest");
    assert!(!stage.has(other, "overloaded"));
    stage.say(hog, &publish(1 << 20));
    stage.turn();
    assert_eq!(stage.received(hog).matches("overloaded").count(), 2, "the hog displaces no other");
}

#[test]
fn append_that_was_answered_late_is_not_made_any_more() {
    let (mut stage, hog, _) = two();
    say_many(&mut stage, hog, APPENDS_AT_ONCE + 1, publish);
    stage.pause = crate::limits::REPLY_TIMEOUT;
    stage.turn();
    assert_eq!(stage.received(hog).matches("unconfirmed").count(), APPENDS_AT_ONCE + 1);
    stage.turn();
    assert_eq!((stage.appends.len(), stage.engine.turns.len()), (APPENDS_AT_ONCE, 0));
}

#[test]
fn page_of_another_address_is_next_at_the_store() {
    let (mut stage, hog, other) = two();
    let history = |number| format!(r#"{{"id":{},"history":{{"channel":"hog"}}}}"#, number + 2);
    say_many(&mut stage, hog, 100, history);
    stage.say(other, r#"{"id":2,"history":{"channel":"lobby"}}"#);
    stage.turn();
    assert_eq!(stage.reads.as_ref().map(VecDeque::len), Some(PAGES_AT_ONCE));
    let before = PAGES_AT_ONCE + 1;
    let asked: Vec<ChannelName> = (0..=before)
        .map(|_| {
            let PageRequest { ticket, channel, .. } = stage.asked();
            stage.answer(Completion::Page { ticket, outcome: Ok(page(9)) });
            channel
        })
        .collect();
    assert!(asked.iter().any(|channel| channel.as_str() == "lobby"), "{asked:?}");
}

#[test]
fn recovery_of_another_address_is_next_at_the_store_and_displaces_the_longest_line() {
    const EACH: usize = 108;
    const HOGS: usize = (RECOVERIES_AT_ONCE + RECOVERIES_WAITING_MAX) / EACH;
    let (mut stage, _, other) = two();
    let hogs: Vec<Client> = (0..HOGS).map(|_| stage.chat(&[CONNECT])).collect();
    stage.turn_until(|stage| stage.engine.tally.connected.read() == 2 + HOGS as u64);
    for (index, hog) in hogs.iter().enumerate() {
        say_many(&mut stage, *hog, EACH, |number| {
            format!(r#"{{"id":{},"subscribe":{{"channel":"hog{index}.{number}"}}}}"#, number + 2)
        });
    }
    assert_eq!(stage.engine.reads.recoveries.waiting(), RECOVERIES_WAITING_MAX);
    stage.say(other, r#"{"id":2,"subscribe":{"channel":"lobby"}}"#);
    stage.turn();
    assert_eq!(stage.engine.tally.recoveries_refused.read(), 1);
    assert!(stage.has(hogs[HOGS - 1], "unavailable") && !stage.has(other, "unavailable"));
    let asked = (0..RECOVERIES_AT_ONCE + 2).map(|_| {
        let PageRequest { ticket, channel, .. } = stage.asked();
        stage.answer(Completion::Page { ticket, outcome: Ok(page(0)) });
        channel
    });
    assert!(asked.into_iter().any(|channel| channel.as_str() == "lobby"));
    assert!(stage.has(other, r#""id":2,"subscribed""#));
}

/// Has the engine look for parties, as its shell does once a second.
fn look_around(stage: &mut Stage) -> Crowd {
    stage.engine.look_around()
}

#[test]
fn one_address_has_few_appends_at_the_store_while_another_is_connected() {
    let (mut stage, hog, other) = two();
    assert_eq!(look_around(&mut stage), Crowd::Several);
    say_many(&mut stage, hog, 1_000, publish);
    assert_eq!(
        (stage.appends.len(), stage.engine.turns.len()),
        (APPENDS_PER_PARTY, 1_000 - APPENDS_PER_PARTY)
    );
    stage.say(other, r#"{"id":2,"publish":{"channel":"lobby","data":1}}"#);
    stage.turn();
    assert_eq!(stage.appends.len(), APPENDS_PER_PARTY + 2, "one of each, and the other has no more");
    let place = stage.appends.iter().position(|append| append.channel.as_str() == "lobby");
    assert!(place.is_some_and(|place| place <= APPENDS_PER_PARTY + 1), "{place:?}");
    let mut made = 0;
    while let Some(Append { ticket, .. }) = stage.appends.pop_front() {
        made += 1;
        stage.answer(Completion::Appended { ticket, outcome: appended() });
    }
    assert_eq!((made, stage.engine.turns.len(), stage.engine.pending.len()), (1_001, 0, 0));
}

#[test]
fn one_address_has_few_recoveries_at_the_store_while_another_is_connected() {
    let (mut stage, hog, other) = two();
    look_around(&mut stage);
    say_many(&mut stage, hog, 40, |number| {
        format!(r#"{{"id":{},"subscribe":{{"channel":"hog{number}"}}}}"#, number + 2)
    });
    assert_eq!(stage.engine.pending.recoveries(), RECOVERIES_PER_PARTY);
    stage.say(other, r#"{"id":2,"subscribe":{"channel":"lobby"}}"#);
    stage.turn();
    assert_eq!(stage.engine.pending.recoveries(), RECOVERIES_PER_PARTY + 2, "one of each");
}

#[test]
fn address_with_very_many_sessions_is_not_taken_for_the_only_one() {
    let mut stage = Stage::with(unlimited(), AuthMode::Off);
    for _ in 0..256 {
        stage.chat(&[CONNECT]);
    }
    stage.turn_until(|stage| stage.engine.tally.connected.read() == 256);
    assert!(matches!(look_around(&mut stage), Crowd::One(_)), "all were looked at");
    stage.chat(&[CONNECT]);
    stage.turn_until(|stage| stage.engine.tally.connected.read() == 257);
    assert_eq!(look_around(&mut stage), Crowd::Several);
}

#[test]
fn crowd_is_one_while_all_sessions_are_of_one_address() {
    let mut stage = Stage::with(unlimited(), AuthMode::Off);
    assert_eq!(look_around(&mut stage), Crowd::Empty);
    let first = stage.chat(&[CONNECT]);
    stage.chat(&[CONNECT]);
    stage.turn_until(|stage| stage.engine.tally.connected.read() == 2);
    assert!(matches!(look_around(&mut stage), Crowd::One(_)));
    say_many(&mut stage, first, APPENDS_AT_ONCE, publish);
    assert_eq!(stage.appends.len(), APPENDS_AT_ONCE, "alone, it has all places");
    // Another reactor serves another party.
    stage.setup.vitals.reactors[0].crowd.set(Crowd::Several.to_cell());
    look_around(&mut stage);
    say_many(&mut stage, first, 1, publish);
    assert_eq!(stage.appends.len(), APPENDS_AT_ONCE);
}
