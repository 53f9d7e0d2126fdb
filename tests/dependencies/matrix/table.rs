//! The table: each dependency, each way in which it fails, and what follows from that for everybody.

use super::fault::Fault::{self, *};
use super::ground::Of::{self, *};
use std::time::Duration;

/// What hangs on a dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    Critical,
    Optional,
}
use Weight::{Critical, Optional};

/// How often it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As the defaults have it.
    Usual,
    /// Every 300 ms, with a timeout of 500 ms, so that a test is short.
    Quick,
}
use Pace::{Quick, Usual};

/// What a fault looks like to the one who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// A connection ends or is refused: the store's workers meet it.
    Hard,
    /// Nothing is said, or what is said is wrong: a probe finds it.
    Silent,
}
use Nature::{Hard, Silent};

/// What becomes of reads meanwhile. Of a dependency that is no store they are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    Served,
    Refused,
}

/// What must be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sees {
    /// It is down: newcomers are turned away with the reason if it is critical, else `status` says what is lost.
    Outage(Nature),
    /// The same, and the store is read all the same.
    WritesFail(Nature),
    /// Nobody notices anything, for so long.
    Nothing(Duration),
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub of: Of,
    pub weight: Weight,
    pub pace: Pace,
    pub fault: Fault,
    pub sees: Sees,
    /// As the log names it, any of these: which is met first may be chance.
    pub named: &'static [&'static str],
}

/// Beyond a bound, for a test machine of few processors that runs other tests as well.
pub const SLACK: Duration = Duration::from_millis(500);

impl Row {
    /// From the fault, or from the work that meets it, to the first who is told.
    pub fn seen_within(&self) -> Duration {
        let ms = match (self.sees, self.of, self.pace, self.weight) {
            (Sees::Outage(Hard) | Sees::WritesFail(Hard), Store, _, _) => 100,
            // A fifth more than the interval, and two looks that take their timeout.
            (_, _, Quick, _) => 360 + 2 * 500,
            (_, _, Usual, Critical) => return Duration::from_secs(5),
            (_, _, Usual, Optional) => return Duration::from_secs(11),
        };
        Duration::from_millis(ms) + SLACK
    }

    /// From the first answer of the service to the first who is let in.
    pub fn back_within(&self) -> Duration {
        Duration::from_secs(2) + SLACK
    }

    pub fn reads(&self) -> Reads {
        match (self.of, self.sees) {
            (Store, Sees::Outage(_)) => Reads::Refused,
            _ => Reads::Served,
        }
    }

    /// Whether publications are refused meanwhile.
    pub fn refuses_publish(&self) -> bool {
        self.of == Store && !matches!(self.sees, Sees::Nothing(_))
    }
}

const fn row(of: Of, weight: Weight, fault: Fault, sees: Sees, named: &'static [&'static str]) -> Row {
    Row { of, weight, pace: Quick, fault, sees, named }
}

/// One with the probes that a gateway has by default.
const fn usual(row: Row) -> Row {
    Row { pace: Usual, ..row }
}

const HARD: Sees = Sees::Outage(Hard);
const SILENT: Sees = Sees::Outage(Silent);
/// Longer than two looks, and than ten in a row with new connections.
const NOTHING: Sees = Sees::Nothing(Duration::from_millis(4_500));

/// The store, where a connection ends or is refused, or nobody notices.
pub const STORE_HARD: &[Row] = &[
    usual(row(Store, Critical, Killed, HARD, &["refused", "reset", "not_ready"])),
    row(Store, Critical, Killed, HARD, &["refused", "reset", "not_ready"]),
    row(Store, Critical, Stopped, HARD, &["refused", "reset", "not_ready"]),
    row(Store, Critical, Refused, HARD, &["refused", "reset"]),
    row(Store, Critical, Cut, HARD, &["reset"]),
    row(Store, Critical, Reset, HARD, &["reset"]),
    row(Store, Critical, ResetMidAnswer, HARD, &["reset", "protocol"]),
    row(Store, Critical, ReadOnly, Sees::WritesFail(Silent), &["read_only"]),
    row(Store, Critical, Standby, HARD, &["standby", "reset", "refused", "not_ready"]),
    row(Store, Critical, ConnectionsTaken, NOTHING, &[]),
    row(Store, Critical, RoleFull, NOTHING, &[]),
    row(Store, Critical, Slow, NOTHING, &[]),
    row(Store, Critical, ResetOnce, NOTHING, &[]),
];

/// The store, where nothing is said.
pub const STORE_SILENT: &[Row] = &[
    usual(row(Store, Critical, Frozen, SILENT, &["timeout"])),
    usual(row(Store, Critical, Stalled, SILENT, &["timeout"])),
    row(Store, Critical, Frozen, SILENT, &["timeout"]),
    row(Store, Critical, TooSlow, SILENT, &["timeout"]),
    row(Store, Critical, Garbled, SILENT, &["protocol", "timeout", "reset", "internal"]),
    row(Store, Critical, RequestsHeld, SILENT, &["timeout"]),
    row(Store, Critical, AnswersHeld, SILENT, &["timeout"]),
    row(Store, Critical, BlackHole, SILENT, &["timeout", "reset"]),
    row(Store, Critical, Unanswered, SILENT, &["timeout", "reset"]),
    row(Store, Critical, CommitsHang, Sees::WritesFail(Silent), &["timeout"]),
];

pub const REDIS: &[Row] = &[
    usual(row(Redis, Optional, Frozen, SILENT, &["timeout"])),
    row(Redis, Critical, Killed, SILENT, &["refused", "reset"]),
    row(Redis, Critical, DeafChannels, SILENT, &["schema"]),
    row(Redis, Optional, Killed, SILENT, &["refused", "reset"]),
    row(Redis, Optional, Frozen, SILENT, &["timeout"]),
    row(Redis, Optional, Refused, SILENT, &["refused", "reset"]),
    row(Redis, Optional, Cut, SILENT, &["reset"]),
    row(Redis, Optional, Reset, SILENT, &["reset"]),
    row(Redis, Optional, ResetMidAnswer, SILENT, &["reset", "protocol"]),
    row(Redis, Optional, Stalled, SILENT, &["timeout"]),
    row(Redis, Optional, TooSlow, SILENT, &["timeout", "delivery"]),
    row(Redis, Optional, Garbled, SILENT, &["protocol", "timeout", "internal", "reset", "delivery"]),
    row(Redis, Optional, RequestsHeld, SILENT, &["timeout"]),
    row(Redis, Optional, AnswersHeld, SILENT, &["timeout"]),
    row(Redis, Optional, BlackHole, SILENT, &["timeout"]),
    row(Redis, Optional, Unanswered, SILENT, &["timeout"]),
    row(Redis, Optional, MemoryFull, SILENT, &["memory_full"]),
    row(Redis, Optional, Standby, SILENT, &["standby"]),
    row(Redis, Optional, DeafChannels, SILENT, &["schema"]),
    row(Redis, Optional, Paused, SILENT, &["timeout"]),
    row(Redis, Optional, Loading, SILENT, &["not_ready", "refused", "reset", "timeout"]),
    row(Redis, Optional, Slow, NOTHING, &[]),
    row(Redis, Optional, ResetOnce, NOTHING, &[]),
];

pub const HTTP: &[Row] = &[
    usual(row(Http, Critical, Hangs, SILENT, &["timeout"])),
    row(Http, Critical, Stopped, SILENT, &["refused", "reset"]),
    row(Http, Critical, Fails, SILENT, &["status"]),
    row(Http, Optional, Stopped, SILENT, &["refused", "reset"]),
    row(Http, Optional, Refused, SILENT, &["refused", "reset"]),
    row(Http, Optional, Cut, SILENT, &["reset", "protocol"]),
    row(Http, Optional, Reset, SILENT, &["reset"]),
    row(Http, Optional, ResetMidAnswer, SILENT, &["reset", "protocol"]),
    row(Http, Optional, Stalled, SILENT, &["timeout"]),
    row(Http, Optional, TooSlow, SILENT, &["timeout"]),
    row(Http, Optional, Garbled, SILENT, &["protocol", "timeout", "field", "status", "reset"]),
    row(Http, Optional, AnswersHeld, SILENT, &["timeout"]),
    row(Http, Optional, BlackHole, SILENT, &["timeout"]),
    row(Http, Optional, Unanswered, SILENT, &["timeout"]),
    row(Http, Optional, Fails, SILENT, &["status"]),
    row(Http, Optional, FieldWrong, SILENT, &["field"]),
    row(Http, Optional, Hangs, SILENT, &["timeout"]),
    row(Http, Optional, HalfAnswer, SILENT, &["reset", "protocol"]),
    row(Http, Optional, Slow, NOTHING, &[]),
    row(Tcp, Optional, Refused, SILENT, &["refused"]),
    row(Tcp, Optional, Unanswered, SILENT, &["timeout"]),
    row(Tcp, Critical, Refused, SILENT, &["refused"]),
    row(Clickhouse, Optional, Fails, SILENT, &["status"]),
    row(Clickhouse, Optional, Refused, SILENT, &["refused", "reset"]),
    row(Clickhouse, Optional, Stalled, SILENT, &["timeout"]),
    row(Clickhouse, Optional, Garbled, SILENT, &["protocol", "timeout", "status", "reset"]),
];
