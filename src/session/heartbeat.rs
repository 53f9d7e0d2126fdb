//! Signs of life, both ways: when to ping, when to give up, when to beat.
//!
//! The first ping and the first beat come at a random part of the period, so that a mass reconnect spreads
//! out by itself. (`docs/protocol.md`, Liveness.)

use crate::clock::Moment;
use std::time::Duration;

/// The periods, from the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Periods {
    /// Silence before a ping, and the period of the beat.
    pub ping: Duration,
    /// Silence after a ping before the connection is given up.
    pub pong: Duration,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// Send a ping.
    Ping,
    /// Nothing was heard, not even a pong: close.
    GiveUp,
}

/// Whether the peer was sent anything within the last period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// Not due yet.
    NotDue,
    /// Due, but only if there is something to tell.
    IfMoved,
    /// Due, since the peer heard nothing else.
    Now,
}

/// One connection's clockwork.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat {
    heard: Moment,
    said: Moment,
    beat_at: Moment,
    /// When the ping that is not answered was sent.
    pinged: Option<Moment>,
}

impl Heartbeat {
    /// Begins at `now`; `phase` is random in `0.0 .. 1.0`.
    pub fn new(now: Moment, periods: Periods, phase: f32) -> Heartbeat {
        let first = now + periods.ping.mul_f32(phase.clamp(0.0, 1.0));
        // As if heard before: that makes the first ping come at its phase, and no other one.
        Heartbeat { heard: first - periods.ping, said: now, beat_at: first, pinged: None }
    }

    /// Bytes came.
    pub fn heard(&mut self, now: Moment) {
        self.heard = now;
        self.pinged = None;
    }

    /// Bytes went. A turn in which a ping went does not count: a browser's page never sees that.
    pub fn said(&mut self, now: Moment) {
        if self.pinged != Some(now) {
            self.said = now;
        }
    }

    /// Whether to ping or to give up.
    pub fn due(&mut self, now: Moment, periods: Periods) -> Due {
        if let Some(pinged) = self.pinged {
            return if now >= pinged + periods.pong { Due::GiveUp } else { Due::Nothing };
        }
        if now < self.heard + periods.ping {
            return Due::Nothing;
        }
        self.pinged = Some(now);
        Due::Ping
    }

    /// Whether a beat is due; if so, the next one is a period later.
    pub fn beat(&mut self, now: Moment, periods: Periods) -> Beat {
        if now < self.beat_at {
            return Beat::NotDue;
        }
        let quiet = self.said + periods.ping <= now;
        self.beat_at = now + periods.ping;
        if quiet { Beat::Now } else { Beat::IfMoved }
    }

    /// When to look again.
    pub fn deadline(&self, periods: Periods) -> Moment {
        let life = match self.pinged {
            Some(pinged) => pinged + periods.pong,
            None => self.heard + periods.ping,
        };
        life.min(self.beat_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIODS: Periods = Periods { ping: Duration::from_secs(25), pong: Duration::from_secs(10) };

    fn at(seconds: u64) -> Moment {
        Moment::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn the_first_ping_comes_at_its_phase_and_silence_ends_the_connection() {
        let mut heartbeat = Heartbeat::new(at(100), PERIODS, 0.4);
        assert_eq!(heartbeat.due(at(109), PERIODS), Due::Nothing);
        assert_eq!(heartbeat.due(at(110), PERIODS), Due::Ping);
        assert_eq!(heartbeat.deadline(PERIODS), at(110));
        assert_eq!(heartbeat.due(at(119), PERIODS), Due::Nothing);
        assert_eq!(heartbeat.due(at(120), PERIODS), Due::GiveUp);
    }

    #[test]
    fn who_is_heard_is_pinged_only_after_silence() {
        let mut heartbeat = Heartbeat::new(at(100), PERIODS, 0.4);
        heartbeat.heard(at(112));
        assert_eq!(heartbeat.due(at(113), PERIODS), Due::Nothing);
        assert_eq!(heartbeat.due(at(136), PERIODS), Due::Nothing);
        assert_eq!(heartbeat.due(at(137), PERIODS), Due::Ping);
        heartbeat.heard(at(138));
        assert_eq!(heartbeat.due(at(162), PERIODS), Due::Nothing);
        assert_eq!(heartbeat.due(at(163), PERIODS), Due::Ping);
    }

    #[test]
    fn a_beat_is_due_each_period_and_only_needed_after_silence() {
        let mut heartbeat = Heartbeat::new(at(100), PERIODS, 0.4);
        assert_eq!(heartbeat.beat(at(109), PERIODS), Beat::NotDue);
        assert_eq!(heartbeat.beat(at(110), PERIODS), Beat::IfMoved);
        assert_eq!(heartbeat.beat(at(135), PERIODS), Beat::Now);
        heartbeat.said(at(150));
        assert_eq!(heartbeat.beat(at(160), PERIODS), Beat::IfMoved);
        assert_eq!(heartbeat.beat(at(161), PERIODS), Beat::NotDue);
    }

    #[test]
    fn a_ping_is_no_reason_to_leave_a_beat_out() {
        let mut heartbeat = Heartbeat::new(at(100), PERIODS, 0.4);
        assert_eq!(heartbeat.due(at(110), PERIODS), Due::Ping);
        heartbeat.said(at(110));
        assert_eq!(heartbeat.beat(at(125), PERIODS), Beat::Now);
    }
}
