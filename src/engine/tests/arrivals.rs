//! Connections of one address that floods, and those of others.

use super::stage::UPGRADE;
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
fn flood_of_one_address_is_dropped_at_the_accept_while_others_come() {
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

#[test]
fn storm_of_clients_behind_a_few_addresses_waits_in_the_kernel_and_is_not_dropped() {
    let mut stage = publishing_stage();
    let nodes = [[10, 0, 0, 1], [10, 0, 0, 2], [10, 0, 0, 3]];
    for _ in 0..40 {
        stage.engine.arrivals.published = stage.engine.now().at;
        for node in nodes.iter().cycle().take(600) {
            if !stage.engine.has_heads_enough() {
                let client = stage.accept_at(*node).expect("dropped");
                stage.begin_chat(client, &[CONNECT]);
            }
        }
        stage.turn();
    }
    let over = stage.engine.tally.arrivals_over_share.read();
    assert!(over > 100, "{over}");
    assert!(
        !stage.engine.arrivals.shares.have_others(stage.engine.now().at),
        "the kernel keeps what is too much"
    );
}

#[test]
fn share_of_an_address_is_one_of_the_operators_admissions() {
    let limits = Limits { admissions_per_s: 100, ..Limits::default() };
    let mut stage = Stage::with(limits, AuthMode::Off).with_reactors(4);
    let connect = |stage: &mut Stage| {
        stage.engine.arrivals.published = stage.engine.now().at;
        let before = stage.engine.tally.arrivals_over_share.read();
        (0..64).for_each(|_| _ = stage.client_at(FLOOD));
        64 - (stage.engine.tally.arrivals_over_share.read() - before)
    };
    assert_eq!(connect(&mut stage), 64, "after a pause");
    stage.pause = Duration::from_secs(1);
    stage.turn();
    // An eighth of 25 a second, two units each.
    assert_eq!(connect(&mut stage), 6);
}

#[test]
fn peers_that_are_gone_take_no_turn_of_a_lane() {
    let mut stage = Stage::new(AuthMode::Off);
    stage.engine.arrivals.published = stage.engine.now().at;
    let clients: Vec<Client> = (0..300).map(|_| stage.client_at(FLOOD)).collect();
    let readable = Readiness { readable: true, ..Readiness::default() };
    clients.iter().for_each(|client| stage.engine.handle_readiness(*client, readable));
    let others: Vec<Client> = (2..12).map(|n| stage.client_at([10, 0, 0, n])).collect();
    others.iter().for_each(|client| stage.engine.handle_readiness(*client, readable));
    clients.iter().for_each(|client| stage.engine.handle_broken(*client));
    stage.engine.reap();
    let arrivals = &mut stage.engine.arrivals;
    (arrivals.first.served, arrivals.first_in_a_row) = (0, 0);
    let order: Vec<Client> = std::iter::from_fn(|| stage.engine.next_arrival()).collect();
    assert_eq!(order, others);
    let arrivals = &stage.engine.arrivals;
    assert_eq!((arrivals.first.served, arrivals.first_in_a_row), (10, 10));
}

#[test]
fn peers_that_are_gone_do_not_fill_a_lane() {
    let mut stage = publishing_stage();
    stage.engine.arrivals.published = stage.engine.now().at;
    let clients: Vec<Client> = (0..600).map(|_| stage.client_at(FLOOD)).collect();
    clients.iter().for_each(|client| stage.send(*client, b"GET "));
    stage.turn();
    assert!(stage.engine.has_heads_enough());
    clients.iter().for_each(|client| stage.engine.handle_broken(*client));
    stage.engine.reap();
    // The next measurement.
    stage.engine.arrivals.handshakes.spent(Duration::ZERO);
    stage.pause = Duration::from_millis(300);
    stage.engine.measure_arrivals(Duration::from_millis(300));
    assert!(!stage.engine.has_heads_enough());
}

#[test]
fn address_behind_a_trusted_proxy_has_an_eighth_and_its_heads_are_charged_to_it() {
    let proxies = vec!["10.0.0.0/8".parse().expect("a network")];
    let mut stage = Stage::behind(proxies, Limits::default(), AuthMode::Off);
    stage.engine.arrivals.published = stage.engine.now().at;
    let upgrade = UPGRADE.replacen("Host:", "X-Forwarded-For: 192.0.2.1\r\nHost:", 1);
    let clients: Vec<Client> = (0..100).map(|_| stage.client_at(FLOOD)).collect();
    clients.iter().for_each(|client| {
        stage.engine.handle_readiness(*client, Readiness { readable: true, ..Readiness::default() })
    });
    stage.engine.arrivals.first.served = 0;
    while let Some(id) = stage.engine.next_arrival() {
        stage.engine.handle_bytes(id, &mut upgrade.clone().into_bytes());
    }
    // Half the burst of units.
    assert_eq!(stage.engine.tally.arrivals_over_share.read(), 100 - 32);
    let arrivals = &stage.engine.arrivals;
    let of_first = clients
        .iter()
        .filter(|id| stage.engine.peers.get(**id).is_some_and(|peer| peer.share == ArrivalShare::Within))
        .count();
    assert_eq!((of_first, arrivals.first.served), (32, 64), "a head and an answer each");
    assert_eq!(arrivals.later.served, 2 * 68);
}
