//! Liveness in both directions: when to ping, when to close a silent connection, and when to send a beat.
//!
//! The first ping and the first beat come at a random point of the period, so that the pings of a mass reconnect are
//! spread out (`docs/protocol.md`, Liveness).

use crate::clock::Moment;
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub struct Periods {
    /// The silence before a ping, and the period of the beat.
    pub ping: Duration,
    /// The silence after a ping before the connection is closed.
    pub pong: Duration,
}

/// The next action for a connection's liveness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LivenessAction {
    Nothing,
    Ping,
    /// Close, because nothing arrived after the ping, not even a pong.
    GiveUp,
}

/// The decision on the next `beat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    NotDue,
    /// Send it only if a head moved, because the peer was sent something else within the last period.
    IfMoved,
    /// Send it, because the peer was sent nothing else.
    Now,
}

/// The liveness timers of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat {
    received: Moment,
    sent: Moment,
    beat_at: Moment,
    /// The time of the ping that has not been answered.
    pinged: Option<Moment>,
}

impl Heartbeat {
    /// Starts at `now`; `phase` is random in `0.0 .. 1.0`.
    pub fn new(now: Moment, periods: Periods, phase: f32) -> Heartbeat {
        let first = now + periods.ping.mul_f32(phase.clamp(0.0, 1.0));
        // A backdated arrival puts the first ping at its phase; later pings do not depend on it.
        Heartbeat { received: first - periods.ping, sent: now, beat_at: first, pinged: None }
    }

    /// Notes that bytes arrived.
    pub fn received(&mut self, now: Moment) {
        self.received = now;
        self.pinged = None;
    }

    /// Notes that bytes were sent. A turn with a ping does not count, because a page in a browser never sees pings.
    pub fn sent(&mut self, now: Moment) {
        if self.pinged != Some(now) {
            self.sent = now;
        }
    }

    /// Decides whether to ping or to close.
    pub fn due(&mut self, now: Moment, periods: Periods) -> LivenessAction {
        if let Some(pinged) = self.pinged {
            return if now >= pinged + periods.pong {
                LivenessAction::GiveUp
            } else {
                LivenessAction::Nothing
            };
        }
        if now < self.received + periods.ping {
            return LivenessAction::Nothing;
        }
        self.pinged = Some(now);
        LivenessAction::Ping
    }

    /// Decides whether a beat is due; if so, the next one is due a period later.
    pub fn beat(&mut self, now: Moment, periods: Periods) -> Beat {
        if now < self.beat_at {
            return Beat::NotDue;
        }
        let quiet = self.sent + periods.ping <= now;
        self.beat_at = now + periods.ping;
        if quiet { Beat::Now } else { Beat::IfMoved }
    }

    /// The time of the next decision.
    pub fn deadline(&self, periods: Periods) -> Moment {
        let life = match self.pinged {
            Some(pinged) => pinged + periods.pong,
            None => self.received + periods.ping,
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
    fn first_ping_comes_at_its_phase_and_silence_closes_the_connection() {
        let mut heartbeat = Heartbeat::new(at(100), PERIODS, 0.4);
        assert_eq!(heartbeat.due(at(109), PERIODS), LivenessAction::Nothing);
        assert_eq!(heartbeat.due(at(110), PERIODS), LivenessAction::Ping);
        assert_eq!(heartbeat.deadline(PERIODS), at(110));
        assert_eq!(heartbeat.due(at(119), PERIODS), LivenessAction::Nothing);
        assert_eq!(heartbeat.due(at(120), PERIODS), LivenessAction::GiveUp);
    }

    #[test]
    fn active_peer_is_pinged_only_after_silence() {
        let mut heartbeat = Heartbeat::new(at(100), PERIODS, 0.4);
        heartbeat.received(at(112));
        assert_eq!(heartbeat.due(at(113), PERIODS), LivenessAction::Nothing);
        assert_eq!(heartbeat.due(at(136), PERIODS), LivenessAction::Nothing);
        assert_eq!(heartbeat.due(at(137), PERIODS), LivenessAction::Ping);
        heartbeat.received(at(138));
        assert_eq!(heartbeat.due(at(162), PERIODS), LivenessAction::Nothing);
        assert_eq!(heartbeat.due(at(163), PERIODS), LivenessAction::Ping);
    }

    #[test]
    fn beat_is_due_each_period_and_unconditional_only_after_silence() {
        let mut heartbeat = Heartbeat::new(at(100), PERIODS, 0.4);
        assert_eq!(heartbeat.beat(at(109), PERIODS), Beat::NotDue);
        assert_eq!(heartbeat.beat(at(110), PERIODS), Beat::IfMoved);
        assert_eq!(heartbeat.beat(at(135), PERIODS), Beat::Now);
        heartbeat.sent(at(150));
        assert_eq!(heartbeat.beat(at(160), PERIODS), Beat::IfMoved);
        assert_eq!(heartbeat.beat(at(161), PERIODS), Beat::NotDue);
    }

    #[test]
    fn ping_does_not_suppress_the_next_beat() {
        let mut heartbeat = Heartbeat::new(at(100), PERIODS, 0.4);
        assert_eq!(heartbeat.due(at(110), PERIODS), LivenessAction::Ping);
        heartbeat.sent(at(110));
        assert_eq!(heartbeat.beat(at(125), PERIODS), Beat::Now);
    }
}
