//! A rate limit in eight bytes: the generic cell rate algorithm (ITU-T I.371, the leaky bucket as a meter).
//!
//! The meter keeps one number, the theoretical arrival time. Each accepted event moves it ahead by one period. An
//! event that would put it ahead of the clock by more than the burst is refused. The wait until it would be accepted
//! is known exactly; it is the client's `retry_ms`.

pub mod address_meters;

use crate::clock::Moment;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The allowed rate and burst, shared by all meters of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    period_us: u64,
    tolerance_us: u64,
}

impl Rate {
    /// `per_s` events per second, and at most `burst` at once after a pause. `None` if `per_s` is 0, which means off.
    pub fn new(per_s: u32, burst: u32) -> Option<Rate> {
        let period_us = 1_000_000u64.checked_div(u64::from(per_s))?.max(1);
        Some(Rate::of(period_us, burst))
    }

    /// Like [`Rate::new`], for a rate that is less than one event per second.
    pub fn per_minute(per_minute: u32, burst: u32) -> Option<Rate> {
        let period_us = 60_000_000u64.checked_div(u64::from(per_minute))?.max(1);
        Some(Rate::of(period_us, burst))
    }

    fn of(period_us: u64, burst: u32) -> Rate {
        Rate { period_us, tolerance_us: period_us * u64::from(burst.max(1) - 1) }
    }

    /// One event in each `period`, and at most `burst` at once after a pause.
    pub fn every(period: Duration, burst: u32) -> Rate {
        Rate::of(u64::try_from(period.as_micros()).unwrap_or(u64::MAX >> 32).max(1), burst)
    }

    /// `count` events per hour, all of them at once after a pause of an hour. At least one.
    pub fn per_hour(count: u32) -> Rate {
        let count = u64::from(count.max(1));
        let period_us = 3_600_000_000 / count;
        Rate { period_us, tolerance_us: period_us * (count - 1) }
    }
}

/// The allowed bytes per second and the burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRate {
    bytes_per_s: u64,
    burst_us: u64,
}

impl ByteRate {
    /// `bytes_per_s`, and `burst` bytes at once after a pause, exceeded by less than one event. `None` if `bytes_per_s` is 0,
    /// which means off.
    pub fn new(bytes_per_s: u32, burst: u32) -> Option<ByteRate> {
        let burst_us = (u64::from(burst) * 1_000_000).checked_div(u64::from(bytes_per_s))?;
        Some(ByteRate { bytes_per_s: u64::from(bytes_per_s), burst_us })
    }

    fn cost_us(self, bytes: usize) -> u64 {
        (bytes as u64).saturating_mul(1_000_000) / self.bytes_per_s
    }
}

/// The next theoretical arrival time after an event that takes `cost_us` of the rate, or the wait until it is accepted.
fn next_arrival(arrival_us: u64, tolerance_us: u64, cost_us: u64, now: Moment) -> Result<u64, Duration> {
    // In microseconds, because a `Duration` is two numbers and this runs for every message.
    let arrival_us = arrival_us.max(now.micros());
    let ahead_us = arrival_us - now.micros();
    if let Some(wait_us @ 1..) = ahead_us.checked_sub(tolerance_us) {
        return Err(Duration::from_micros(wait_us));
    }
    Ok(arrival_us.saturating_add(cost_us))
}

/// The use of a rate so far, in eight bytes for each connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter(Moment);

impl Meter {
    /// Counts one event, or refuses it and returns the wait. A refused event is not counted.
    pub fn admit(&mut self, rate: Rate, now: Moment) -> Result<(), Duration> {
        let next = next_arrival(self.0.micros(), rate.tolerance_us, rate.period_us, now)?;
        self.0 = Moment::from_micros(next);
        Ok(())
    }

    /// Counts `count` events at once, which may be more than a burst, or refuses them and returns the wait.
    pub fn admit_together(&mut self, rate: Rate, count: usize, now: Moment) -> Result<(), Duration> {
        let cost_us = rate.period_us.saturating_mul(count as u64);
        let next = next_arrival(self.0.micros(), rate.tolerance_us, cost_us, now)?;
        self.0 = Moment::from_micros(next);
        Ok(())
    }

    /// Releases `count` events that were admitted and did not happen.
    pub fn give_back(&mut self, rate: Rate, count: usize) {
        let cost_us = rate.period_us.saturating_mul(count as u64);
        self.0 = Moment::from_micros(self.0.micros().saturating_sub(cost_us));
    }

    /// Limits the debt from a slower rate, so that no wait is longer than after a full burst at this rate.
    pub fn cap(&mut self, rate: Rate, now: Moment) {
        let most = now.micros().saturating_add(rate.tolerance_us).saturating_add(rate.period_us);
        self.0 = self.0.min(Moment::from_micros(most));
    }

    /// True exactly when this meter behaves like a new one, so that it can be dropped.
    pub fn at_rest(&self, now: Moment) -> bool {
        self.0 <= now
    }
}

/// A meter that several reactors share: that of a user, whose connections may be on any of them.
#[derive(Debug, Default)]
pub struct SharedMeter(AtomicU64);

impl SharedMeter {
    /// Counts one event, or refuses it and returns the wait. A refused event is not counted.
    pub fn admit(&self, rate: Rate, now: Moment) -> Result<(), Duration> {
        self.advance(|at| next_arrival(at, rate.tolerance_us, rate.period_us, now))
    }

    /// The wait until an event would be admitted; zero if it would be now. Counts nothing.
    pub fn wait(&self, rate: Rate, now: Moment) -> Duration {
        next_arrival(self.0.load(Ordering::Relaxed), rate.tolerance_us, 0, now).err().unwrap_or_default()
    }

    /// Releases an event that was admitted and did not happen.
    pub fn give_back(&self, rate: Rate) {
        self.advance(|at| Ok(at.saturating_sub(rate.period_us))).unwrap_or_default();
    }

    /// The wait until an event would be admitted. Counts nothing.
    pub fn check_bytes(&self, rate: ByteRate, now: Moment) -> Result<(), Duration> {
        next_arrival(self.0.load(Ordering::Relaxed), rate.burst_us, 0, now).map(drop)
    }

    /// Counts an event of this many bytes, or refuses it and returns the wait.
    pub fn admit_bytes(&self, rate: ByteRate, bytes: usize, now: Moment) -> Result<(), Duration> {
        let cost_us = rate.cost_us(bytes);
        self.advance(|at| next_arrival(at, rate.burst_us, cost_us, now))
    }

    /// Counts an event of this many bytes that has happened. The debt stays so small that the wait is no longer than the
    /// event takes at the rate.
    pub fn spend_bytes(&self, rate: ByteRate, bytes: usize, now: Moment) {
        let cost_us = rate.cost_us(bytes);
        let most = now.micros().saturating_add(rate.burst_us).saturating_add(cost_us);
        let spent = |at: u64| Ok(at.max(now.micros()).saturating_add(cost_us).min(most));
        self.advance(spent).unwrap_or_default();
    }

    /// True exactly when this meter behaves like a new one, so that it can be dropped.
    pub fn at_rest(&self, now: Moment) -> bool {
        self.0.load(Ordering::Relaxed) <= now.micros()
    }

    /// The meter guards no other memory, so no order is needed; the exchange alone makes it exact.
    fn advance(&self, next: impl Fn(u64) -> Result<u64, Duration>) -> Result<(), Duration> {
        let mut at = self.0.load(Ordering::Relaxed);
        loop {
            match self.0.compare_exchange_weak(at, next(at)?, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(other) => at = other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_allowed_at_the_rate_after_the_burst() {
        let rate = ByteRate::new(1_000, 10_000).expect("on");
        let (meter, now) = (SharedMeter::default(), Moment::from_micros(5_000_000));
        let sent = (0..100).take_while(|_| meter.admit_bytes(rate, 1_000, now).is_ok()).count();
        assert_eq!(sent, 11, "the burst is exceeded by less than one event");
        let wait = meter.admit_bytes(rate, 1, now).expect_err("over the burst");
        assert_eq!(wait, Duration::from_secs(1));
        assert!(
            meter.admit_bytes(rate, 60_000, now + wait).is_ok(),
            "one event may be larger than the burst"
        );
        assert!(!meter.at_rest(now + Duration::from_secs(70)));
        assert!(meter.at_rest(now + Duration::from_secs(71)));
        assert_eq!(ByteRate::new(0, 10), None);
    }

    #[test]
    fn threads_that_share_a_meter_get_one_burst_together() {
        let rate = Rate::new(1, 1_000).expect("on");
        let (meter, now) = (SharedMeter::default(), Moment::from_micros(5_000_000));
        let admitted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1_000).filter(|_| meter.admit(rate, now).is_ok()).count()))
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(admitted, 1_000);
    }

    #[test]
    fn full_burst_is_allowed_again_only_after_a_pause() {
        let rate = Rate::new(20, 40).expect("on");
        let mut meter = Meter::default();
        let start = Moment::from_micros(5_000_000);
        assert!((0..40).all(|_| meter.admit(rate, start).is_ok()));
        let wait = meter.admit(rate, start).expect_err("over the burst");
        assert_eq!(wait, Duration::from_millis(50));
        assert!(meter.admit(rate, start + wait).is_ok());
        assert!(meter.admit(rate, start + wait).is_err());
        let rested = start + Duration::from_secs(10);
        assert_eq!((0..100).filter(|_| meter.admit(rate, rested).is_ok()).count(), 40);
    }

    #[test]
    fn debt_of_a_slower_rate_is_capped_at_a_full_burst_of_the_next_one() {
        let (slow, fast) = (Rate::new(25, 512).expect("on"), Rate::new(500, 512).expect("on"));
        let mut meter = Meter::default();
        let now = Moment::from_micros(5_000_000);
        while meter.admit(slow, now).is_ok() {}
        meter.cap(slow, now);
        assert_eq!(meter.admit(slow, now), Err(Duration::from_millis(40)), "its own bound changes nothing");
        meter.cap(fast, now);
        assert_eq!(meter.admit(fast, now), Err(Duration::from_millis(2)));
        assert!(meter.admit(fast, now + Duration::from_millis(2)).is_ok());
    }

    #[test]
    fn events_together_may_be_more_than_a_burst_and_are_waited_for_afterwards() {
        let (rate, mut meter) = (Rate::new(100, 100).expect("on"), Meter::default());
        let start = Moment::from_micros(5_000_000);
        assert!(meter.admit_together(rate, 1_000, start).is_ok());
        assert_eq!(meter.admit_together(rate, 1, start), Err(Duration::from_millis(9_010)));
        assert!(meter.admit_together(rate, 1, start + Duration::from_millis(9_010)).is_ok());
    }

    #[test]
    fn rate_per_minute_may_be_below_one_per_second() {
        let (rate, mut meter) = (Rate::per_minute(6, 3).expect("on"), Meter::default());
        let start = Moment::from_micros(5_000_000);
        assert!((0..3).all(|_| meter.admit(rate, start).is_ok()));
        assert_eq!(meter.admit(rate, start), Err(Duration::from_secs(10)));
    }

    #[test]
    fn rate_of_zero_is_off() {
        assert_eq!((Rate::new(0, 40), Rate::per_minute(0, 40)), (None, None));
    }
}
