//! The bounds that every message or handshake is checked against: rates, deadlines, capacity.

use super::Path;
use super::reactor::{Scheduled, SlotId, Timers};
use seawall::admission::{AdmissionDecision, Capacity};
use seawall::clock::Moment;
use seawall::rate::{Meter, Rate};
use std::hint::black_box;
use std::time::Duration;

const START: Moment = Moment::from_micros(3_600_000_000);

/// Checks a rate limit that admits.
pub struct Admit {
    rate: Rate,
    meter: Meter,
    now: Moment,
}

impl Path for Admit {
    fn prepare() -> Admit {
        Admit { rate: Rate::new(20, 40).expect("a rate above 0"), meter: Meter::default(), now: START }
    }

    fn once(&mut self) {
        self.now = self.now + Duration::from_millis(50);
        assert!(black_box(&mut self.meter).admit(self.rate, self.now).is_ok());
    }
}

/// Moves a deadline later, as nearly all updates do.
pub struct DeadlineMovesLater {
    timers: Timers,
    scheduled: Scheduled,
    deadline: Moment,
}

const SLOT: SlotId = SlotId { index: 1, generation: 1 };

impl Path for DeadlineMovesLater {
    fn prepare() -> DeadlineMovesLater {
        let mut path = DeadlineMovesLater {
            timers: Timers::new(START),
            scheduled: Scheduled::default(),
            deadline: START + Duration::from_secs(10),
        };
        path.once();
        path
    }

    fn once(&mut self) {
        self.deadline = self.deadline + Duration::from_micros(10);
        black_box(&mut self.timers).ensure(SLOT, &mut self.scheduled, self.deadline);
    }
}

/// Sets a deadline and lets it expire.
pub struct DeadlineComesUp {
    timers: Timers,
    scheduled: Scheduled,
    now: Moment,
}

impl Path for DeadlineComesUp {
    fn prepare() -> DeadlineComesUp {
        DeadlineComesUp { timers: Timers::new(START), scheduled: Scheduled::default(), now: START }
    }

    fn once(&mut self) {
        self.timers.ensure(SLOT, &mut self.scheduled, self.now + Duration::from_millis(50));
        self.now = self.now + Duration::from_millis(100);
        let mut claimed = false;
        while let Some(due) = self.timers.pop(self.now) {
            for (_, bucket) in due {
                claimed |= Timers::claim(&mut self.scheduled, bucket);
            }
        }
        assert!(claimed);
    }
}

/// Decides whether a handshake is admitted.
pub struct HandshakeVerdict {
    capacity: Capacity,
}

impl HandshakeVerdict {
    /// Half of the capacity is in use.
    pub const HALF: Capacity = Capacity {
        connections: 5_000,
        connections_max: 10_000,
        memory_bytes: 1 << 29,
        memory_bytes_max: 1 << 30,
    };
}

impl Path for HandshakeVerdict {
    fn prepare() -> HandshakeVerdict {
        HandshakeVerdict { capacity: HandshakeVerdict::HALF }
    }

    fn once(&mut self) {
        assert!(matches!(black_box(&self.capacity).verdict(black_box(0.5)), AdmissionDecision::Admit));
    }
}
