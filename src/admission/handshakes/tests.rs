//! Storms of clients on a virtual clock.

use super::*;
use proptest::prelude::*;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

const WITHIN: ArrivalShare = ArrivalShare::Within;
const OVER: ArrivalShare = ArrivalShare::Over;

fn start() -> Moment {
    Moment::from_micros(3_600_000_000)
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// The outcome of a storm.
struct Storm {
    /// The times at which the clients were admitted.
    admitted: Vec<Moment>,
    /// The most attempts that a client needed.
    attempts: u32,
    refused: u32,
}

/// Simulates `clients` that arrive at once. Each deferred client returns at its retry time, late by up to `late_ms`.
fn storm(handshakes: &mut Handshakes, per_s: Option<f64>, clients: u32, late_ms: u64, seed: u64) -> Storm {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut comes: BinaryHeap<_> = (0..clients).map(|client| Reverse((start(), client, 1))).collect();
    let mut storm = Storm { admitted: Vec::new(), attempts: 0, refused: 0 };
    while let Some(Reverse((now, client, attempt))) = comes.pop() {
        let retry_ms = match handshakes.admit(now, per_s, WITHIN, random.f32()) {
            HandshakeDecision::Admit => {
                storm.admitted.push(now);
                storm.attempts = storm.attempts.max(attempt);
                continue;
            }
            HandshakeDecision::Defer { retry_ms } => retry_ms,
            HandshakeDecision::Refuse { retry_ms } => {
                storm.refused += 1;
                retry_ms
            }
        };
        assert!(retry_ms >= RETRY_FIRST.as_millis() as u32, "{retry_ms}");
        assert!(u128::from(retry_ms) <= (RETRY_HORIZON + RETRY_HORIZON / 4).as_millis(), "{retry_ms}");
        let back = now + ms(retry_ms.into()) + ms(random.u64(0..=late_ms));
        comes.push(Reverse((back, client, attempt + 1)));
    }
    storm
}

#[test]
fn storm_of_two_thousand_is_admitted_within_two_attempts() {
    let mut handshakes = Handshakes::new(start());
    let storm = storm(&mut handshakes, Some(50.0), 2_000, 300, 1);
    assert_eq!((storm.admitted.len(), storm.attempts), (2_000, 2));
    let took = storm.admitted.iter().max().expect("some").since(start());
    // 256 are admitted at once, the others at seven eighths of the rate.
    assert!(took < Duration::from_secs(42), "{took:?}");
    assert_eq!(storm.refused, 0, "all were deferred by an upgrade");
}

#[test]
fn handshakes_admitted_at_a_slower_rate_do_not_block_a_faster_one() {
    let mut handshakes = Handshakes::new(start());
    let let_in = (0..1_000)
        .filter(|_| handshakes.admit(start(), Some(0.5), WITHIN, 0.5) == HandshakeDecision::Admit)
        .count();
    assert_eq!(let_in, BACKLOG_LEAST as usize, "minutes of work, at one every two seconds");
    // The operator removes the bound.
    handshakes.admit(start() + ms(1_000), None, WITHIN, 0.5);
    assert_eq!(handshakes.admit(start() + ms(1_010), None, WITHIN, 0.5), HandshakeDecision::Admit);
}

#[test]
fn refusals_at_a_slower_rate_do_not_pause_accepting_at_a_faster_one() {
    let mut handshakes = Handshakes::new(start());
    let mut now = start();
    for _ in 0..400 {
        now = now + ms(25);
        handshakes.done(Done::Upgraded);
        handshakes.done(Done::Connected);
        handshakes.spent(ms(20));
        handshakes.turned(now, ms(20), Publishing::No);
    }
    assert!(handshakes.rate() < 60.0);
    for _ in 0..2_000 {
        handshakes.admit(now, None, WITHIN, 0.5);
    }
    assert!(handshakes.rests(now, WITHIN));
    let now = work(&mut handshakes, now, 8, 0, 50);
    for _ in 0..100_000 {
        if let HandshakeDecision::Refuse { .. } = handshakes.admit(now, None, WITHIN, 0.5) {
            break;
        }
    }
    assert!(handshakes.rate() > 10_000.0);
    handshakes.admit(now, None, WITHIN, 0.5);
    assert!(!handshakes.rests(now + Duration::from_secs(1), WITHIN));
}

#[test]
fn storm_that_fits_the_bucket_is_admitted_at_once() {
    let mut handshakes = Handshakes::new(start());
    let storm = storm(&mut handshakes, None, 7_500, 0, 1);
    assert_eq!((storm.admitted.len(), storm.attempts), (7_500, 1));
}

#[test]
fn storm_beyond_the_deferral_bound_is_refused_without_an_upgrade() {
    let mut handshakes = Handshakes::new(start());
    let storm = storm(&mut handshakes, Some(200.0), 4_000, 300, 1);
    assert_eq!((storm.admitted.len(), storm.attempts), (4_000, 2));
    assert!(storm.refused > 0);
}

#[test]
fn refusals_beyond_their_share_pause_accepting_for_a_while() {
    let mut handshakes = Handshakes::new(start());
    let rate = handshakes.rate() as u32;
    assert!(!handshakes.rests(start(), WITHIN));
    for _ in 0..3 * rate {
        handshakes.admit(start(), Some(10.0), WITHIN, 0.5);
    }
    assert!(handshakes.rests(start(), WITHIN));
    assert!(!handshakes.rests(start() + Duration::from_secs(3), WITHIN), "only for a while");
}

/// Simulates a reactor on which other work takes `others_us` of each millisecond and a handshake `cost_us`, with an
/// endless supply of handshakes.
fn work(handshakes: &mut Handshakes, from: Moment, seconds: u64, others_us: u64, cost_us: u64) -> Moment {
    let mut now = from;
    while now.since(from) < Duration::from_secs(seconds) {
        let count = (1_000 - others_us) / cost_us;
        for _ in 0..count {
            handshakes.done(Done::Upgraded);
            handshakes.done(Done::Connected);
        }
        handshakes.spent(Duration::from_micros(count * cost_us));
        now = now + ms(1);
        handshakes.turned(now, ms(1), Publishing::No);
    }
    now
}

#[test]
fn rate_follows_the_measured_cost_within_seconds() {
    let mut handshakes = Handshakes::new(start());
    let near = |handshakes: &Handshakes, wanted: f64| {
        let rate = handshakes.rate() / HEADROOM;
        assert!((rate / wanted - 1.0).abs() < 0.1, "{rate} for {wanted}");
    };
    let now = work(&mut handshakes, start(), 4, 0, 50);
    near(&handshakes, 20_000.0);
    assert_eq!(handshakes.cost().as_micros(), 50);
    let now = work(&mut handshakes, now, 4, 300, 100);
    near(&handshakes, 7_000.0);
    let now = work(&mut handshakes, now, 4, 800, 100);
    near(&handshakes, 5_000.0);
    // A cost that TLS may have on a slow machine. `work` cannot simulate it, because a turn of 1 ms holds no such
    // handshake.
    let mut at = now;
    for _ in 0..400 {
        at = at + ms(10);
        handshakes.done(Done::Upgraded);
        handshakes.done(Done::Connected);
        handshakes.spent(ms(8));
        handshakes.turned(at, ms(10), Publishing::No);
    }
    near(&handshakes, 0.8 * 1_000.0 / 8.0);
}

#[test]
fn plain_requests_do_not_change_the_measured_cost() {
    let mut handshakes = Handshakes::new(start());
    let (cost, mut now) = (handshakes.cost(), start());
    for _ in 0..100 {
        // Such as scrapes of the metrics, which take their time.
        for _ in 0..8 {
            handshakes.done(Done::Answered);
            handshakes.spent(ms(4));
        }
        now = now + ms(300);
        handshakes.turned(now, ms(40), Publishing::No);
    }
    assert_eq!(handshakes.cost(), cost);
}

proptest! {
    /// Whatever the size of a storm and the rate, a client that returns on time is admitted, and never more clients
    /// are admitted than the bucket holds.
    #[test]
    fn every_client_is_admitted_and_the_bucket_is_never_exceeded(
        clients in 1u32..4_000,
        per_s in 5.0f64..3_000.0,
        late_ms in 0u64..1_500,
        seed in any::<u64>(),
    ) {
        let mut handshakes = Handshakes::new(start());
        let storm = storm(&mut handshakes, Some(per_s), clients, late_ms, seed);
        prop_assert_eq!(storm.admitted.len(), clients as usize);
        let backlog = (BACKLOG.as_secs_f64() * per_s).max(BACKLOG_LEAST.into());
        let in_order = backlog + RETRY_HORIZON.as_secs_f64() * per_s / RETRY_STRETCH;
        if f64::from(clients) < in_order {
            prop_assert!(storm.attempts <= 2, "{} attempts", storm.attempts);
        }
        let took = storm.admitted.iter().max().expect("some").since(start()).as_secs_f64();
        let longest = 2.0 * f64::from(clients) / per_s * RETRY_STRETCH + 2.0 * RETRY_HORIZON.as_secs_f64();
        prop_assert!(took <= longest, "{took} s of {longest}");
        for (index, admitted) in storm.admitted.iter().enumerate() {
            // A moment is whole microseconds.
            let most = 1.01 * backlog + admitted.since(start()).as_secs_f64() * per_s * 1.01 + 1.0;
            prop_assert!((index as f64) < most, "{index} by {admitted:?}");
        }
    }

    /// Whatever is measured, the rate stays within its bounds.
    #[test]
    fn rate_stays_within_its_bounds(turns in prop::collection::vec((0u64..2_000, 0u64..1_000_000, 0u64..1_000_000, 0u32..50), 1..200)) {
        let mut handshakes = Handshakes::new(start());
        let mut now = start();
        for (pause, busy, spent, done) in turns {
            now = now + ms(pause);
            (0..done).for_each(|_| handshakes.done(Done::Deferred));
            handshakes.spent(Duration::from_micros(spent));
            handshakes.turned(now, Duration::from_micros(busy), Publishing::No);
            prop_assert!(RATE.contains(&handshakes.rate()));
        }
        prop_assert_eq!(handshakes.admit(now, None, WITHIN, 0.0), HandshakeDecision::Admit);
    }
}

#[test]
fn publishing_makes_handshakes_back_off_and_lowers_the_rate() {
    let measured = |cost_us: u64| {
        let mut handshakes = Handshakes::new(start());
        let mut now = start();
        for _ in 0..40 {
            now = now + ms(250);
            for _ in 0..100 {
                handshakes.done(Done::Upgraded);
                handshakes.done(Done::Connected);
            }
            let spent = Duration::from_micros(100 * cost_us);
            handshakes.spent(spent);
            handshakes.turned(now, spent, Publishing::Yes);
        }
        handshakes
    };
    let (cheap, expensive) = (measured(50), measured(1_000));
    let spent = Duration::from_micros(500);
    assert_eq!(cheap.rest(spent), ms(3), "the maximum");
    assert_eq!(expensive.rest(spent), spent, "the minimum: as long as they took");
    assert_eq!(cheap.rest(ms(4)), cheap.rest(ms(40)), "what took longer was interrupted");
    // The rate fits into the time between the back-offs.
    assert!((2_800.0..3_300.0).contains(&cheap.rate()), "{}", cheap.rate());
    assert!((500.0..600.0).contains(&expensive.rate()), "{}", expensive.rate());
}

#[test]
fn flood_of_one_address_leaves_tokens_and_retry_times_to_others() {
    let mut handshakes = Handshakes::new(start());
    let (mut admitted, mut rests) = (0, 0);
    let mut now = start();
    for number in 0..20_000 {
        // Ten times as many as can be admitted.
        now = start() + Duration::from_micros(100 * number);
        let decision = handshakes.admit(now, Some(1_000.0), OVER, 0.5);
        admitted += u32::from(decision == HandshakeDecision::Admit);
        rests += u32::from(handshakes.rests(now, OVER));
        assert!(!handshakes.rests(now, WITHIN));
        if number % 100 == 99 {
            let decision = handshakes.admit(now, Some(1_000.0), WITHIN, 0.5);
            assert_eq!(decision, HandshakeDecision::Admit, "at {now:?}");
        }
    }
    // Seven eighths of two seconds at once, and what the others leave of the next two.
    assert!((3_500..=3_750).contains(&admitted), "{admitted}");
    assert!(rests > 0, "it is refused too often even to be refused");
    // Once others use up their part as well, they get the next retry times.
    let later = loop {
        match handshakes.admit(now, Some(1_000.0), WITHIN, 0.5) {
            HandshakeDecision::Admit => {}
            other => break other,
        }
    };
    assert!(matches!(later, HandshakeDecision::Defer { retry_ms: 500..=800 }), "{later:?}");
}

#[test]
fn storm_of_one_address_is_admitted_within_two_attempts_as_one_of_many() {
    let mut handshakes = Handshakes::new(start());
    let mut comes: BinaryHeap<_> = (0..2_000).map(|client| Reverse((start(), client, 1))).collect();
    while let Some(Reverse((now, client, attempt))) = comes.pop() {
        match handshakes.admit(now, Some(50.0), OVER, 0.5) {
            HandshakeDecision::Admit => assert!(attempt <= 2, "{attempt} attempts"),
            HandshakeDecision::Defer { retry_ms } | HandshakeDecision::Refuse { retry_ms } => {
                comes.push(Reverse((now + ms(retry_ms.into()), client, attempt + 1)));
            }
        }
    }
}
