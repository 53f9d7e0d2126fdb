//! Decides whether the wall clock may decide what is deleted.
//!
//! A deletion cannot be undone, and wall clocks step: after a restored virtual machine, a wrong hardware clock, a mistake of an
//! operator. So deletions by age rest after a step until the clock has either come back or gone on steadily for an hour. The
//! store remembers when the clock was last trusted, so a gateway that starts with a clock far ahead notices it as well.

use crate::metrics::store::StoreCounters;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The difference between the progress of both clocks that is a step. A clock that is being adjusted gradually stays far below.
const STEP_MIN: Duration = Duration::from_secs(60);
/// The time since the store was last in use after which the first reading is not trusted at once.
const ABSENCE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a clock must go on steadily after a step.
pub(crate) const PROOF: Duration = Duration::from_secs(60 * 60);
/// The pause between two writes of the time at which the clock was trusted.
const NOTE_PERIOD: Duration = Duration::from_secs(600);

/// One reading of both clocks.
#[derive(Clone, Copy, Debug)]
struct BothClocks {
    at: Instant,
    wall_ms: u64,
}

impl BothClocks {
    /// The milliseconds by which the wall clock advanced more than the monotonic clock did until `later`.
    fn drift_ms(self, later: BothClocks) -> i64 {
        let wall = i128::from(later.wall_ms) - i128::from(self.wall_ms);
        let elapsed = later.at.saturating_duration_since(self.at).as_millis();
        i64::try_from(wall - i128::try_from(elapsed).unwrap_or(i128::MAX)).unwrap_or(i64::MAX)
    }
}

/// The reason why the clock is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// It stepped by this many milliseconds against the monotonic clock.
    Stepped { by_ms: i64 },
    /// It is this many milliseconds past the last use of the store.
    FarPastLastUse { by_ms: u64 },
}

/// The answer about one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Trusted(TrustNews),
    /// Deletions by age must rest.
    Doubted(TrustNews, Doubt),
}

/// The relation of a verdict to the one before: a changed one is worth a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrustNews {
    Changed,
    Same,
}

/// The knowledge of the time. A clock that agrees with it again is trusted at once.
#[derive(Clone, Copy, Debug)]
enum Landmark {
    /// The last trusted reading.
    Trusted(BothClocks),
    /// The last use of the store, Unix milliseconds.
    LastUse(u64),
}

impl Landmark {
    fn agrees(self, now: BothClocks) -> bool {
        match self {
            Landmark::Trusted(trusted) => !is_step(trusted, now),
            Landmark::LastUse(ms) => u128::from(now.wall_ms.saturating_sub(ms)) <= ABSENCE_MAX.as_millis(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum TrustState {
    /// No reading yet. The last use of the store, if it is known.
    Start {
        last_use_ms: Option<u64>,
    },
    Trusted(BothClocks),
    Doubted {
        doubt: Doubt,
        trusted: Landmark,
        /// The reading from which on the clock has been steady.
        steady: BothClocks,
        last: BothClocks,
    },
}

/// The readings of the clock so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClockTrust {
    state: TrustState,
    noted: Option<Instant>,
}

impl ClockTrust {
    /// `last_use_ms` is the wall time at which the store was last in use, Unix milliseconds.
    pub(crate) fn new(last_use_ms: Option<u64>) -> ClockTrust {
        ClockTrust { state: TrustState::Start { last_use_ms }, noted: None }
    }

    /// Judges a reading. Call it at least every few seconds, and before each deletion, with the time that the deletion uses.
    pub(crate) fn look(&mut self, at: Instant, wall_ms: u64) -> Verdict {
        let now = BothClocks { at, wall_ms };
        let (state, verdict) = match self.state {
            TrustState::Start { last_use_ms } => first(last_use_ms, now),
            TrustState::Trusted(last) if is_step(last, now) => {
                let doubt = Doubt::Stepped { by_ms: last.drift_ms(now) };
                let state =
                    TrustState::Doubted { doubt, trusted: Landmark::Trusted(last), steady: now, last: now };
                (state, Verdict::Doubted(TrustNews::Changed, doubt))
            }
            TrustState::Trusted(_) => (TrustState::Trusted(now), Verdict::Trusted(TrustNews::Same)),
            TrustState::Doubted { doubt, trusted, steady, last } => {
                let steady = if is_step(last, now) { now } else { steady };
                if trusted.agrees(now) || at.saturating_duration_since(steady.at) >= PROOF {
                    (TrustState::Trusted(now), Verdict::Trusted(TrustNews::Changed))
                } else {
                    let state = TrustState::Doubted { doubt, trusted, steady, last: now };
                    (state, Verdict::Doubted(TrustNews::Same, doubt))
                }
            }
        };
        self.state = state;
        verdict
    }

    /// True if the time of a trusted reading should be written to the store now.
    pub(crate) fn note_is_due(&self, at: Instant) -> bool {
        matches!(self.state, TrustState::Trusted(_))
            && self.noted.is_none_or(|noted| at.saturating_duration_since(noted) >= NOTE_PERIOD)
    }

    /// The time was written.
    pub(crate) fn noted(&mut self, at: Instant) {
        self.noted = Some(at);
    }
}

fn first(last_use_ms: Option<u64>, now: BothClocks) -> (TrustState, Verdict) {
    match last_use_ms {
        Some(last_use_ms) if !Landmark::LastUse(last_use_ms).agrees(now) => {
            let doubt = Doubt::FarPastLastUse { by_ms: now.wall_ms.saturating_sub(last_use_ms) };
            let trusted = Landmark::LastUse(last_use_ms);
            let state = TrustState::Doubted { doubt, trusted, steady: now, last: now };
            (state, Verdict::Doubted(TrustNews::Changed, doubt))
        }
        Some(_) | None => (TrustState::Trusted(now), Verdict::Trusted(TrustNews::Same)),
    }
}

fn is_step(from: BothClocks, to: BothClocks) -> bool {
    u128::from(from.drift_ms(to).unsigned_abs()) > STEP_MIN.as_millis()
}

/// Sets the gauge, and logs a verdict that changed.
pub(crate) fn report(verdict: Verdict, counters: &StoreCounters) {
    let rests = match verdict {
        Verdict::Trusted(_) => 0,
        Verdict::Doubted(..) => 1,
    };
    counters.retention_rests.store(rests, Ordering::Relaxed);
    match verdict {
        Verdict::Trusted(TrustNews::Changed) => tracing::info!("retention by age continues"),
        Verdict::Doubted(TrustNews::Changed, doubt) => {
            let (cause, by_ms) = match doubt {
                Doubt::Stepped { by_ms } => ("the wall clock stepped", by_ms),
                Doubt::FarPastLastUse { by_ms } => (
                    "the wall clock is far past the last use of the store",
                    i64::try_from(by_ms).unwrap_or(i64::MAX),
                ),
            };
            let advice = "nothing is deleted by age until the clock is back or was steady for an hour; check it and NTP";
            tracing::warn!(
                cause,
                by_s = by_ms / 1_000,
                rest_s = PROOF.as_secs(),
                advice,
                "retention by age rests"
            );
        }
        Verdict::Trusted(TrustNews::Same) | Verdict::Doubted(TrustNews::Same, _) => {}
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "an origin for the times of the tests")]
mod tests {
    use super::*;

    const DAY_MS: u64 = 86_400_000;
    /// The wall time at the origin.
    const WALL_MS: u64 = 20_000 * DAY_MS;

    struct Bench {
        origin: Instant,
        trust: ClockTrust,
    }

    fn bench(last_use_ms: Option<u64>) -> Bench {
        Bench { origin: Instant::now(), trust: ClockTrust::new(last_use_ms) }
    }

    impl Bench {
        /// A look this many seconds after the origin, with the wall clock ahead by `ahead_s`.
        fn at(&mut self, s: u64, ahead_s: i64) -> Verdict {
            let wall = (WALL_MS + s * 1_000).saturating_add_signed(ahead_s * 1_000);
            self.trust.look(self.origin + Duration::from_secs(s), wall)
        }

        fn rests(&mut self, s: u64, ahead_s: i64) -> bool {
            matches!(self.at(s, ahead_s), Verdict::Doubted(..))
        }
    }

    #[test]
    fn clock_that_is_adjusted_gradually_stays_trusted() {
        let mut bench = bench(Some(WALL_MS - 1_000));
        for s in 0..10_000 {
            // Ten minutes over three hours.
            assert!(!bench.rests(s, (s / 16).try_into().expect("small")));
        }
    }

    #[test]
    fn step_in_either_direction_rests_until_the_clock_is_back() {
        for days in [100, -100] {
            let mut bench = bench(Some(WALL_MS));
            assert_eq!(bench.at(0, 0), Verdict::Trusted(TrustNews::Same));
            let by_ms = days * 86_400_000;
            assert_eq!(
                bench.at(1, days * 86_400),
                Verdict::Doubted(TrustNews::Changed, Doubt::Stepped { by_ms })
            );
            assert_eq!(
                bench.at(15, days * 86_400),
                Verdict::Doubted(TrustNews::Same, Doubt::Stepped { by_ms })
            );
            assert_eq!(bench.at(16, 2), Verdict::Trusted(TrustNews::Changed));
            assert_eq!(bench.at(17, 2), Verdict::Trusted(TrustNews::Same));
        }
    }

    #[test]
    fn clock_that_was_steady_for_an_hour_after_a_step_is_trusted() {
        let mut bench = bench(None);
        assert!(!bench.rests(0, 0));
        assert!(bench.rests(10, 90_000));
        assert!(bench.rests(2_000, 90_000));
        // Another step begins the hour again.
        assert!(bench.rests(2_001, 190_000));
        assert!(bench.rests(2_000 + 3_600, 190_000));
        assert!(!bench.rests(2_001 + 3_600, 190_000));
    }

    #[test]
    fn start_far_past_the_last_use_of_the_store_rests_for_an_hour() {
        let mut bench = bench(Some(WALL_MS - DAY_MS - 1));
        let doubt = Doubt::FarPastLastUse { by_ms: DAY_MS + 1 };
        assert_eq!(bench.at(0, 0), Verdict::Doubted(TrustNews::Changed, doubt));
        assert!(bench.rests(3_599, 0));
        assert!(!bench.rests(3_600, 0));
    }

    #[test]
    fn clock_that_is_set_right_after_the_start_is_trusted_at_once() {
        let mut bench = bench(Some(WALL_MS));
        assert!(bench.rests(0, 8_640_000));
        assert_eq!(bench.at(5, 0), Verdict::Trusted(TrustNews::Changed));
    }

    #[test]
    fn start_soon_after_the_last_use_or_in_an_empty_store_is_trusted() {
        for last_use in [None, Some(WALL_MS - DAY_MS), Some(WALL_MS + DAY_MS)] {
            assert!(!bench(last_use).rests(0, 0));
        }
    }

    #[test]
    fn only_a_trusted_time_is_noted_and_not_often() {
        let mut bench = bench(None);
        let at = |bench: &Bench, s| bench.origin + Duration::from_secs(s);
        assert!(!bench.trust.note_is_due(at(&bench, 0)));
        bench.at(0, 0);
        assert!(bench.trust.note_is_due(at(&bench, 0)));
        bench.trust.noted(at(&bench, 0));
        assert!(!bench.trust.note_is_due(at(&bench, 599)));
        assert!(bench.trust.note_is_due(at(&bench, 600)));
        bench.at(601, 90_000);
        assert!(!bench.trust.note_is_due(at(&bench, 700)));
    }
}
