//! The table: each dependency, each fault, and the expected effect for each client.

use super::fault::Fault::{self, *};
use super::target::Kind::{self, *};
use std::time::Duration;

/// The criticality of a dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    Critical,
    Optional,
}
use Weight::{Critical, Optional};

/// The interval of its probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// The default.
    Usual,
    /// Every 300 ms, with a timeout of 500 ms, so that a test is short.
    Quick,
}
use Pace::{Quick, Usual};

/// How a caller experiences a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// A connection ends or is refused, so the store's workers meet the fault.
    Hard,
    /// The dependency is silent or answers wrongly, so a probe finds the fault.
    Silent,
}
use Nature::{Hard, Silent};

/// The result of reads during the outage. They are served unless the store fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    Served,
    Refused,
}

/// The expected effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sees {
    /// The dependency is down: new clients are refused if it is critical, else `status` says what is lost.
    Outage(Nature),
    /// The same, but the store can still be read.
    WritesFail(Nature),
    /// No client notices anything for this time.
    Nothing(Duration),
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub kind: Kind,
    pub weight: Weight,
    pub pace: Pace,
    pub fault: Fault,
    pub sees: Sees,
    /// The fault that the log may name; which of these is met first may be chance.
    pub named: &'static [&'static str],
}

/// Added to each bound, for a test machine with few processors that runs other tests as well.
pub const SLACK: Duration = Duration::from_secs(6);

impl Row {
    /// The time from the fault, or from the work that meets it, to the first notification.
    pub fn seen_within(&self) -> Duration {
        let ms = match (self.sees, self.kind, self.pace, self.weight) {
            (Sees::Outage(Hard) | Sees::WritesFail(Hard), Store, _, _) => 100,
            // 1.2 intervals, and two probes that take their timeout.
            (_, _, Quick, _) => 360 + 2 * 500,
            (_, _, Usual, Critical) => return Duration::from_secs(5),
            (_, _, Usual, Optional) => return Duration::from_secs(11),
        };
        Duration::from_millis(ms) + SLACK
    }

    /// The outages that it causes.
    pub fn outages(&self) -> usize {
        usize::from(!matches!(self.sees, Sees::Nothing(_)))
    }

    /// The time from the first answer of the service to the first admitted client.
    pub fn back_within(&self) -> Duration {
        Duration::from_secs(2) + SLACK
    }

    pub fn reads(&self) -> Reads {
        match (self.kind, self.sees) {
            (Store, Sees::Outage(_)) => Reads::Refused,
            _ => Reads::Served,
        }
    }

    /// True if publications are refused during the fault.
    pub fn refuses_publish(&self) -> bool {
        self.kind == Store && !matches!(self.sees, Sees::Nothing(_))
    }
}

const fn row(kind: Kind, weight: Weight, fault: Fault, sees: Sees, named: &'static [&'static str]) -> Row {
    Row { kind, weight, pace: Quick, fault, sees, named }
}

/// The same row with the default probes.
const fn usual(row: Row) -> Row {
    Row { pace: Usual, ..row }
}

const HARD: Sees = Sees::Outage(Hard);
const SILENT: Sees = Sees::Outage(Silent);
/// Longer than two probes, and than ten in a row with new connections.
const NOTHING: Sees = Sees::Nothing(Duration::from_millis(4_500));

/// Faults of the store that end or refuse a connection, or that no client notices.
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

/// Faults that silence the store.
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
