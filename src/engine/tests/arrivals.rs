//! Connections of one address that floods, and those of others.

use super::*;

const FLOOD: [u8; 4] = [10, 0, 0, 1];

/// A stage on which a client publishes all the time, so that handshakes are followed by rests.
fn publishing_stage() -> Stage {
    let mut stage = Stage::new(AuthMode::Off);
    stage.arrival_cost = Duration::from_micros(100);
    stage.pause = Duration::from_micros(250);
    stage
}

/// Runs turns until `client` has `text`. Each begins with `flood` upgrades of one address.
fn time_until(stage: &mut Stage, client: Client, text: &str, flood: usize) -> Duration {
    let began = stage.engine.now().at;
    for _ in 0..8_000 {
        if stage.has(client, text) {
            return stage.engine.now().at.since(began);
        }
        stage.engine.arrivals.published = stage.engine.now().at;
        for _ in 0..flood {
            if let Some(client) = stage.accept_at(FLOOD) {
                stage.begin_chat(client, &[CONNECT]);
            }
        }
        stage.turn();
    }
    panic!("not served: {}", stage.received(client));
}

/// The time that a newcomer takes from the accept until `connected`, a while after the flood began.
fn time_of_newcomer(flood: usize) -> Duration {
    let mut stage = publishing_stage();
    let first = stage.client_at([10, 0, 0, 2]);
    stage.begin_chat(first, &[CONNECT]);
    time_until(&mut stage, first, r#""connected""#, flood);
    for n in 3..40 {
        let other = stage.client_at([10, 0, 0, n]);
        stage.begin_chat(other, &[CONNECT]);
        let took = time_until(&mut stage, other, r#""connected""#, flood);
        if n == 39 {
            return took;
        }
    }
    unreachable!("the last one returns")
}

#[test]
fn newcomer_does_not_wait_for_the_handshakes_of_an_address_that_floods() {
    let (calm, busy) = (time_of_newcomer(0), time_of_newcomer(4));
    assert!(busy <= 3 * calm, "{busy:?} with a flood, {calm:?} without");
}

#[test]
fn flood_of_one_address_is_dropped_at_the_accept_once_others_came_lately() {
    let mut stage = publishing_stage();
    stage.engine.arrivals.published = stage.engine.now().at;
    let flood = |stage: &mut Stage| {
        let clients: Vec<Client> = (0..600).filter_map(|_| stage.accept_at(FLOOD)).collect();
        clients.iter().for_each(|client| stage.begin_chat(*client, &[CONNECT]));
        clients.len()
    };
    assert_eq!(flood(&mut stage), 600, "there is no other, and the kernel keeps what is too much");
    stage.turn();
    assert!(stage.engine.has_heads_enough());
    assert_eq!(stage.engine.tally.arrivals_dropped.read(), 0);
    let other = stage.client_at([10, 0, 0, 2]);
    stage.begin_chat(other, &[CONNECT]);
    time_until(&mut stage, other, r#""connected""#, 0);
    assert!(!stage.engine.has_heads_enough(), "the shell accepts the others");
    // A few take the places of connections that were read meanwhile.
    let accepted = flood(&mut stage);
    assert!(accepted < 50, "{accepted}");
    assert_eq!(stage.engine.tally.arrivals_dropped.read() as usize, 600 - accepted);
    assert!(
        stage
            .engine
            .take_notices()
            .iter()
            .any(|notice| matches!(notice, Notice::OverLimit("limits.admissions_per_s", _)))
    );
    assert!(stage.accept_at([10, 0, 0, 3]).is_some(), "another address is not affected");
}

#[test]
fn clients_of_a_trusted_proxy_that_names_no_address_are_never_over_a_share() {
    let proxies = vec!["10.0.0.0/8".parse().expect("a network")];
    let mut stage = Stage::behind(proxies, Limits::default(), AuthMode::Off);
    stage.engine.arrivals.published = stage.engine.now().at;
    let clients: Vec<Client> = (0..400).map(|_| stage.client_at(FLOOD)).collect();
    clients.iter().for_each(|client| stage.begin_chat(*client, &[CONNECT]));
    let last = *clients.last().expect("some");
    time_until(&mut stage, last, r#""connected""#, 0);
    assert_eq!((stage.engine.tally.arrivals_over_share.read(), stage.engine.arrivals.shares.len()), (0, 0));
}

#[test]
fn addresses_are_counted_only_while_the_order_matters_and_forgotten_at_rest() {
    let mut stage = Stage::new(AuthMode::Off);
    for n in 1..9 {
        let client = stage.client_at([10, 0, 0, n]);
        stage.begin_chat(client, &[CONNECT]);
        stage.turn_until(|stage| stage.has(client, r#""connected""#));
    }
    assert_eq!(stage.engine.arrivals.shares.len(), 0, "nothing was contended");
    stage.engine.arrivals.published = stage.engine.now().at;
    (1..9).for_each(|n| _ = stage.client_at([10, 0, 0, n]));
    assert_eq!(stage.engine.arrivals.shares.len(), 8);
    stage.turn_until(|stage| stage.engine.arrivals.shares.is_empty());
}
