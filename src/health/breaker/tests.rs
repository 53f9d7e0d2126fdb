use super::*;
use proptest::prelude::*;

const QUICK: Duration = Duration::from_millis(5);
const MIDDLE: f32 = 0.5;

fn ms(n: u64) -> Moment {
    Moment::from_micros(n * 1_000)
}

fn call(breaker: &mut Breaker, outcome: CallOutcome, took: Duration, now: Moment) -> bool {
    match breaker.admit(now, MIDDLE) {
        Ok(ticket) => {
            breaker.record(ticket, outcome, took, now, MIDDLE);
            true
        }
        Err(_) => false,
    }
}

fn tripped(now: Moment) -> Breaker {
    let mut breaker = Breaker::new(EndedBy::Probes);
    trip(&mut breaker, now);
    breaker
}

fn trip(breaker: &mut Breaker, now: Moment) {
    (0..UNREACHED_MAX).for_each(|_| assert!(call(breaker, CallOutcome::Unreached, QUICK, now)));
    assert_eq!(breaker.position(), BreakerPosition::Open);
}

fn close(breaker: &mut Breaker, now: Moment) {
    (0..TRIALS).for_each(|_| assert!(call(breaker, CallOutcome::Answered, QUICK, now)));
    assert_eq!(breaker.position(), BreakerPosition::Closed);
}

#[test]
fn five_consecutive_unreached_calls_open_it_but_four_do_not() {
    let mut breaker = Breaker::new(EndedBy::Probes);
    for _ in 0..100 {
        (0..4).for_each(|_| assert!(call(&mut breaker, CallOutcome::Unreached, QUICK, ms(0))));
        (0..9).for_each(|_| assert!(call(&mut breaker, CallOutcome::Answered, QUICK, ms(0))));
    }
    trip(&mut breaker, ms(0));
}

#[test]
fn ten_failures_of_twenty_calls_open_it_but_of_nineteen_do_not() {
    let mut breaker = Breaker::new(EndedBy::Probes);
    (0..10).for_each(|_| assert!(call(&mut breaker, CallOutcome::Failed, QUICK, ms(0))));
    (0..9).for_each(|_| assert!(call(&mut breaker, CallOutcome::Answered, QUICK, ms(9_000))));
    assert_eq!(breaker.position(), BreakerPosition::Closed);
    call(&mut breaker, CallOutcome::Answered, QUICK, ms(9_500));
    assert_eq!(breaker.position(), BreakerPosition::Open);
}

#[test]
fn calls_older_than_ten_seconds_are_forgotten() {
    let mut breaker = Breaker::new(EndedBy::Probes);
    (0..19).for_each(|_| assert!(call(&mut breaker, CallOutcome::Failed, QUICK, ms(0))));
    (0..19).for_each(|_| assert!(call(&mut breaker, CallOutcome::Failed, QUICK, ms(10_000))));
    assert_eq!(breaker.position(), BreakerPosition::Closed);
}

#[test]
fn eighty_percent_of_slow_calls_open_it() {
    let mut breaker = Breaker::new(EndedBy::Probes);
    (0..16).for_each(|_| assert!(call(&mut breaker, CallOutcome::Answered, Duration::from_secs(2), ms(0))));
    (0..4).for_each(|_| assert!(call(&mut breaker, CallOutcome::Answered, QUICK, ms(0))));
    assert_eq!(breaker.position(), BreakerPosition::Open);
}

#[test]
fn failures_caused_by_clients_never_count() {
    let mut breaker = Breaker::new(EndedBy::Probes);
    (0..1_000)
        .for_each(|_| assert!(call(&mut breaker, CallOutcome::ByClient, Duration::from_secs(9), ms(0))));
    assert_eq!(breaker.position(), BreakerPosition::Closed);
    let mut breaker = tripped(ms(0));
    (0..10).for_each(|_| assert!(call(&mut breaker, CallOutcome::ByClient, QUICK, ms(2_000))));
    assert_eq!(breaker.position(), BreakerPosition::HalfOpen);
}

#[test]
fn three_single_trials_after_the_delay_close_it() {
    let mut breaker = tripped(ms(0));
    let open = breaker.admit(ms(1_999), MIDDLE).expect_err("open");
    assert!((1..=1_000).contains(&open.retry_ms), "{open:?}");
    let trial = breaker.admit(ms(2_000), MIDDLE).expect("the first trial");
    assert!(breaker.admit(ms(2_000), MIDDLE).is_err());
    breaker.record(trial, CallOutcome::Answered, QUICK, ms(2_001), MIDDLE);
    // Using the same ticket again is no second trial.
    let second = breaker.admit(ms(2_001), MIDDLE).expect("the second trial");
    breaker.record(trial, CallOutcome::Answered, QUICK, ms(2_001), MIDDLE);
    assert!(breaker.admit(ms(2_001), MIDDLE).is_err());
    breaker.record(second, CallOutcome::Answered, QUICK, ms(2_002), MIDDLE);
    assert_eq!(breaker.position(), BreakerPosition::HalfOpen);
    call(&mut breaker, CallOutcome::Answered, QUICK, ms(2_003));
    assert_eq!(breaker.position(), BreakerPosition::Closed);
}

#[test]
fn trial_without_a_result_fails() {
    let mut breaker = tripped(ms(0));
    breaker.admit(ms(2_000), MIDDLE).expect("a trial");
    let due = breaker.due().expect("a trial ends");
    breaker.tick(due, MIDDLE);
    assert_eq!(breaker.position(), BreakerPosition::Open);
}

#[test]
fn late_results_from_before_the_opening_are_ignored() {
    let mut breaker = Breaker::new(EndedBy::Probes);
    let old = breaker.admit(ms(0), MIDDLE).expect("closed");
    trip(&mut breaker, ms(0));
    breaker.tick(ms(2_000), MIDDLE);
    let trial = breaker.admit(ms(2_000), MIDDLE).expect("a trial");
    breaker.record(old, CallOutcome::Unreached, QUICK, ms(2_000), MIDDLE);
    assert_eq!(breaker.position(), BreakerPosition::HalfOpen);
    breaker.record(trial, CallOutcome::Unreached, QUICK, ms(2_005), MIDDLE);
    assert_eq!(breaker.position(), BreakerPosition::Open);
}

#[test]
fn failure_of_a_call_that_began_before_the_trials_is_no_failed_trial() {
    let mut breaker = Breaker::new(EndedBy::Calls);
    trip(&mut breaker, ms(0));
    breaker.probe_succeeded(ms(900));
    // Begun at 0.2 s, when the server was silent, and given up at 1.2 s.
    assert!(call(&mut breaker, CallOutcome::Unreached, Duration::from_secs(1), ms(1_200)));
    assert_eq!(breaker.position(), BreakerPosition::HalfOpen);
    close(&mut breaker, ms(1_300));
    trip(&mut breaker, ms(70_000));
    breaker.probe_succeeded(ms(70_000));
    assert!(call(&mut breaker, CallOutcome::Unreached, Duration::from_secs(1), ms(71_001)));
    assert_eq!(breaker.position(), BreakerPosition::Open, "begun after them");
}

#[test]
fn results_from_before_an_outage_do_not_start_the_next_one() {
    let mut breaker = Breaker::new(EndedBy::Probes);
    let old: Vec<BreakerTicket> =
        (0..UNREACHED_MAX).map(|_| breaker.admit(ms(0), MIDDLE).expect("closed")).collect();
    trip(&mut breaker, ms(0));
    breaker.tick(ms(2_000), MIDDLE);
    close(&mut breaker, ms(2_000));
    old.into_iter()
        .for_each(|ticket| breaker.record(ticket, CallOutcome::Unreached, QUICK, ms(2_001), MIDDLE));
    assert_eq!(breaker.position(), BreakerPosition::Closed);
}

#[test]
fn successful_probe_half_opens_it_unless_probes_are_distrusted() {
    let mut breaker = tripped(ms(0));
    breaker.probe_succeeded(ms(50));
    assert_eq!(breaker.position(), BreakerPosition::HalfOpen);
    assert!(breaker.counts_as_down());
    breaker.probe_succeeded(ms(60));
    assert!(!breaker.counts_as_down());
    close(&mut breaker, ms(100));
    trip(&mut breaker, ms(30_000));
    breaker.probe_succeeded(ms(30_000));
    assert_eq!(breaker.position(), BreakerPosition::Open);
    assert_eq!(breaker.due(), Some(ms(34_000)));
    breaker.tick(ms(34_000), MIDDLE);
    breaker.probe_succeeded(ms(34_000));
    assert!(breaker.counts_as_down(), "a flapping dependency is not trusted at once");
    breaker.tick(breaker.due().expect("a quiet second"), MIDDLE);
    assert!(!breaker.counts_as_down() && breaker.due().is_none());
    close(&mut breaker, ms(34_000));
    // After a healthy minute its first delay is the shortest again, and probes are trusted.
    trip(&mut breaker, ms(94_000));
    assert_eq!(breaker.due(), Some(ms(96_000)));
    breaker.probe_succeeded(ms(95_000));
    call(&mut breaker, CallOutcome::Unreached, QUICK, ms(95_005));
    breaker.probe_succeeded(ms(95_005));
    assert_eq!(breaker.position(), BreakerPosition::Open);
}

#[test]
fn fault_that_probes_cannot_notice_is_not_ended_by_probes() {
    let mut breaker = Breaker::new(EndedBy::Probes);
    let mut at = 0;
    for _ in 0..19 {
        assert!(call(&mut breaker, CallOutcome::Failed, QUICK, ms(at)));
    }
    assert!(call(&mut breaker, CallOutcome::Unseen, QUICK, ms(at)));
    for delay in [2_000, 4_000, 8_000] {
        // However many probes succeed, before and after the end of the delay, a trial decides.
        (0..9).for_each(|n| breaker.probe_succeeded(ms(at + n)));
        assert_eq!((breaker.position(), breaker.due()), (BreakerPosition::Open, Some(ms(at + delay))));
        at += delay;
        breaker.tick(ms(at), MIDDLE);
        (0..9).for_each(|n| breaker.probe_succeeded(ms(at + n)));
        assert!(breaker.counts_as_down() && breaker.position() == BreakerPosition::HalfOpen);
        at += 300;
        assert!(call(&mut breaker, CallOutcome::Unseen, QUICK, ms(at)));
    }
    at += 15_000;
    (0..TRIALS).for_each(|_| {
        assert!(breaker.counts_as_down() && call(&mut breaker, CallOutcome::Answered, QUICK, ms(at)))
    });
    assert_eq!(breaker.position(), BreakerPosition::Closed);
}

#[test]
fn trial_with_a_fault_that_probes_cannot_notice_distrusts_probes() {
    let mut breaker = tripped(ms(0));
    breaker.tick(ms(2_000), MIDDLE);
    assert!(call(&mut breaker, CallOutcome::Unseen, QUICK, ms(2_005)));
    breaker.probe_succeeded(ms(2_006));
    assert_eq!(breaker.position(), BreakerPosition::Open);
}

#[test]
fn outage_that_calls_end_is_not_ended_by_probes_or_silence() {
    let mut breaker = Breaker::new(EndedBy::Calls);
    trip(&mut breaker, ms(0));
    for n in 0..9 {
        breaker.probe_succeeded(ms(50 + n));
    }
    assert_eq!(breaker.position(), BreakerPosition::HalfOpen, "a probe shortens the delay");
    breaker.tick(ms(60_000), MIDDLE);
    assert!(breaker.counts_as_down() && breaker.due().is_none());
    for n in 1..=TRIALS {
        assert!(breaker.counts_as_down());
        assert!(call(&mut breaker, CallOutcome::Answered, QUICK, ms(60_000 + u64::from(n))));
    }
    assert_eq!(breaker.position(), BreakerPosition::Closed);
}

#[test]
fn demanded_trials_are_those_of_a_closed_breaker_without_a_delay() {
    let mut breaker = Breaker::new(EndedBy::Calls);
    breaker.demand_trials(ms(0));
    assert!(breaker.counts_as_down() && breaker.position() == BreakerPosition::HalfOpen);
    close(&mut breaker, ms(1));
    trip(&mut breaker, ms(2));
    breaker.demand_trials(ms(3));
    assert_eq!(breaker.position(), BreakerPosition::Open, "a delay is not shortened");
}

#[test]
fn forced_position_holds_until_it_expires() {
    let mut breaker = Breaker::new(EndedBy::Probes);
    breaker.force(Forced::Open, ms(60_000));
    assert!(breaker.admit(ms(59_999), MIDDLE).is_err());
    breaker.probe_succeeded(ms(0));
    assert_eq!(breaker.position(), BreakerPosition::Open);
    assert!(breaker.admit(ms(60_000), MIDDLE).is_ok());
    assert_eq!(breaker.position(), BreakerPosition::HalfOpen);
    breaker.force(Forced::Closed, ms(90_000));
    (0..100).for_each(|_| assert!(call(&mut breaker, CallOutcome::Unreached, QUICK, ms(70_000))));
    assert_eq!(breaker.position(), BreakerPosition::Closed);
    breaker.tick(ms(90_000), MIDDLE);
    trip(&mut breaker, ms(90_000));
    breaker.force(Forced::Open, ms(200_000));
    breaker.release(ms(100_000));
    assert_eq!(breaker.position(), BreakerPosition::HalfOpen);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Admit,
    Record(usize, CallOutcome, u64),
    Pass(u64),
    Probed,
    Force(Forced, u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = prop_oneof![
        1 => Just(CallOutcome::Answered),
        1 => Just(CallOutcome::Failed),
        1 => Just(CallOutcome::Unseen),
        3 => Just(CallOutcome::Unreached),
        1 => Just(CallOutcome::ByClient),
    ];
    let step = prop_oneof![
        6 => Just(Step::Admit),
        6 => (0_usize..4, outcome, 0_u64..3_000).prop_map(|(which, outcome, took)| Step::Record(which, outcome, took)),
        2 => (0_u64..8_000).prop_map(Step::Pass),
        1 => Just(Step::Probed),
        1 => (prop_oneof![Just(Forced::Open), Just(Forced::Closed)], 0_u64..20_000)
            .prop_map(|(to, time)| Step::Force(to, time)),
    ];
    prop::collection::vec(step, 0..400)
}

proptest! {
    #[test]
    fn breaker_keeps_its_promises_in_any_sequence(steps in steps(), by_calls: bool, random in 0.0_f32..1.0) {
        let ended_by = if by_calls { EndedBy::Calls } else { EndedBy::Probes };
        let mut breaker = Breaker::new(ended_by);
        let mut out: Vec<BreakerTicket> = Vec::new();
        let mut at = 0;
        for step in steps {
            let now = ms(at);
            match step {
                Step::Admit => {
                    breaker.tick(now, random);
                    let before = breaker.position();
                    match breaker.admit(now, random) {
                        Ok(ticket) => {
                            prop_assert_ne!(before, BreakerPosition::Open);
                            if before == BreakerPosition::HalfOpen {
                                // Only one trial at a time.
                                prop_assert!(breaker.admit(now, random).is_err());
                            }
                            out.push(ticket);
                        }
                        Err(open) => {
                            prop_assert_ne!(before, BreakerPosition::Closed);
                            prop_assert!((100..=30_000).contains(&open.retry_ms));
                        }
                    }
                }
                Step::Record(which, outcome, took) if !out.is_empty() => {
                    let ticket = out.swap_remove(which % out.len());
                    let before = format!("{:?}", (breaker.position(), breaker.window.total(now), breaker.term));
                    breaker.record(ticket, outcome, Duration::from_millis(took), now, random);
                    let after = format!("{:?}", (breaker.position(), breaker.window.total(now), breaker.term));
                    if outcome == CallOutcome::ByClient {
                        prop_assert_eq!(before, after);
                    }
                }
                Step::Record(..) => {}
                Step::Pass(time) => at += time,
                Step::Probed => breaker.probe_succeeded(now),
                Step::Force(to, time) => breaker.force(to, ms(at + time)),
            }
            if let BreakerState::Open { until } = breaker.state {
                prop_assert!(until.since(ms(at)) <= Duration::from_millis(18_001));
            }
            // Left alone, it always reaches a state in which a call passes.
            let mut alone = breaker.clone();
            alone.tick(ms(at + 21_000), random);
            alone.tick(ms(at + 42_000), random);
            prop_assert!(alone.admit(ms(at + 42_000), random).is_ok());
        }
    }
}
