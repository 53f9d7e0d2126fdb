//! Four instances that claim and settle the same channels at once, while questions arrive, claims run out and connections are killed:
//! every question is delivered, in order, and no outcome of a lost claim counts.

use super::support::{Store, commit, name, question, silent};
use crate::job::relay::{ClaimOutcome, DeadCause, RelayAnswer, RelayOutcome, RelayWork, SettleOutcome};
use crate::random::Random;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const INSTANCES: u64 = 4;
const CHANNELS: u64 = 6;
/// Questions of each channel.
const QUESTIONS: u64 = 20;
const SEED: u64 = 33;
/// A bound for a machine that is very slow.
const PATIENCE: Duration = Duration::from_secs(120);

/// A request that went out: its time in the order of all, its channel and its offset.
type Sent = (u64, u64, u64);

#[allow(clippy::disallowed_methods, reason = "a test may look at the clock")]
fn now() -> Instant {
    Instant::now()
}

/// Delivers until nothing waits. Returns what went out, and what was given up.
fn deliver(mut one: super::support::Instance, number: u64, clock: &AtomicU64) -> (Vec<Sent>, Vec<Sent>) {
    let (mut random, until) = (Random::seeded(SEED + number), now() + PATIENCE);
    let (mut sent, mut dead, mut idle) = (Vec::new(), Vec::new(), 0);
    while idle < 3 && now() < until {
        if !one.connection.is_up() {
            let _ = one.connection.advance(|| {});
            continue;
        }
        let channel = random.u64() % CHANNELS;
        let own = name(&format!("t{channel}"));
        let mut next = match one.call(RelayWork::Claim { channel: own.clone() }) {
            RelayAnswer::Claim(outcome) => outcome,
            _ => continue,
        };
        while let ClaimOutcome::Claimed(claimed) = next {
            let at = (clock.fetch_add(1, Ordering::SeqCst), channel, claimed.question.offset.0);
            sent.push(at);
            let outcome = match random.u64() % 10 {
                0 => RelayOutcome::Later { delay: Duration::ZERO },
                1 => RelayOutcome::Dead { cause: DeadCause::Refused, status: Some(400) },
                _ => RelayOutcome::Done,
            };
            let settle = RelayWork::Settle { channel: own.clone(), fence: claimed.fence, outcome };
            next = loop {
                match one.call(settle.clone()) {
                    RelayAnswer::Settle(SettleOutcome::Settled(next)) => {
                        if let RelayOutcome::Dead { .. } = outcome {
                            dead.push(at);
                        }
                        break next;
                    }
                    RelayAnswer::Settle(SettleOutcome::Lost) => break ClaimOutcome::Nothing,
                    _ => {
                        let _ = one.connection.advance(|| {});
                    }
                }
            };
        }
        match one.call(RelayWork::Due { limit: 10 }) {
            RelayAnswer::Due(due) if due.channels.is_empty() => idle += 1,
            _ => idle = 0,
        }
    }
    (sent, dead)
}

#[test]
fn instances_that_race_deliver_every_question_in_order() {
    let mut store = Store::start(vec![silent()]);
    for channel in 0..CHANNELS {
        store.ask(question(&format!("t{channel}"), None, "0"));
    }
    let clock = Arc::new(AtomicU64::new(0));
    let workers: Vec<_> = (1..=INSTANCES)
        .map(|number| {
            let (instance, clock) = (store.instance(number as i64), Arc::clone(&clock));
            thread::spawn(move || deliver(instance, number, &clock))
        })
        .collect();
    let mut random = Random::seeded(SEED);
    for number in 1..QUESTIONS {
        let mut jobs: Vec<_> = (0..CHANNELS)
            .map(|channel| question(&format!("t{channel}"), None, &number.to_string()))
            .collect();
        random.shuffle(&mut jobs);
        commit(&mut store.appends, &jobs, &store.table);
        match number % 5 {
            0 => store.expire_claims(),
            1 => {
                store.sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                     WHERE query LIKE '%seawall.relay\\_%' AND pid <> pg_backend_pid()
                     ORDER BY random() LIMIT 1",
                );
            }
            _ => {}
        }
    }
    let (mut sent, mut given_up): (Vec<Sent>, Vec<Sent>) = (Vec::new(), Vec::new());
    for worker in workers {
        let (of_worker, dead) = worker.join().expect("it delivers");
        sent.extend(of_worker);
        given_up.extend(dead);
    }
    // A last pass for what came after the others had stopped, or whose claim no answer named: its connection was killed.
    store.expire_claims();
    let (rest, dead) = deliver(store.instance(99), 99, &clock);
    sent.extend(rest);
    given_up.extend(dead);
    sent.sort_unstable();
    let mut first: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (_, channel, offset) in &sent {
        let of_channel = first.entry(*channel).or_default();
        if !of_channel.contains(offset) {
            of_channel.push(*offset);
        }
    }
    for channel in 0..CHANNELS {
        let expected: Vec<u64> = (1..=QUESTIONS).collect();
        assert_eq!(first.get(&channel), Some(&expected), "channel {channel}, seed {SEED}");
    }
    assert_eq!(store.sql("SELECT count(*) FROM seawall.relays WHERE \"cursor\" < head"), "0");
    // An outcome whose commit was not known may be stored though the claim was lost when it was sent again.
    let letters: usize = store.sql("SELECT count(*) FROM seawall.relay_dead").parse().expect("a number");
    assert!(letters >= given_up.len(), "{letters} of {}", given_up.len());
    let distinct = "SELECT count(DISTINCT (channel, \"offset\")) FROM seawall.relay_dead";
    assert_eq!(store.sql(distinct), letters.to_string());
    assert_eq!(store.sql("SELECT count(*) FROM seawall.relay_dead WHERE status IS DISTINCT FROM 400"), "0");
}
