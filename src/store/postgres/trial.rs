//! Trial calls: an append worker publishes to the gateway's own channel while an outage lasts.
//!
//! Clients are answered from the state of the dependency, so during an outage no call of theirs reaches the store and only
//! trials can prove that calls work again. The watch thread says when it wants them; each counts as a call of a client.
//!
//! A full disk has trials even before it is an outage, because it still accepts a probe's small row. The thread that met it
//! keeps writing as much as a publication may have, until several writes in a row succeed.

use super::connection::StoreConnection;
use super::fault::CallFault;
use super::probe_channel::ProbeChannel;
use super::timing::{jittered, monotonic};
use crate::health::dependency::Trials;
use crate::health::finding::{Cause, Fault};
use crate::job::Outlook;
use crate::metrics::store::StoreCounters;
use crate::store::wall_clock::WallClock;
use postgres_types::Type;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The time between two trials, varied by ±20 %.
const PERIOD: Duration = Duration::from_millis(250);
/// Successes in a row that prove room on a disk that was full: as many as close a breaker.
const WELL: u8 = 3;
/// The size of a write that looks for room: the largest publication at the defaults.
const BYTES: i32 = 64 << 10;

/// The connections of the append workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writers {
    /// Each worker has one.
    All,
    /// A worker has none, so the channels that it serves cannot be published to.
    NotAll,
}

/// The trials of one worker.
pub(super) struct TrialCalls {
    channel: ProbeChannel,
    /// Says whether trials are wanted; `None` if no one watches.
    outlook: Option<Arc<Outlook>>,
    counters: Arc<StoreCounters>,
    due: Instant,
    room: RoomTrials,
}

/// The last finding about the room on the server's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RoomTrials {
    Enough,
    /// A write found none; this many trials in a row have found some.
    Tried(u8),
}

impl TrialCalls {
    pub(super) fn new(
        channel: ProbeChannel,
        outlook: Option<Arc<Outlook>>,
        counters: Arc<StoreCounters>,
    ) -> TrialCalls {
        TrialCalls { channel, outlook, counters, due: monotonic(), room: RoomTrials::Enough }
    }

    /// A write failed: begins the trials of a full disk.
    pub(super) fn failed(&mut self, cause: &Cause) {
        if cause.fault == Fault::DiskFull {
            self.room = RoomTrials::Tried(0);
        }
    }

    /// The time until the next trial, or until the next look whether trials are wanted.
    pub(super) fn patience(&self) -> Duration {
        match (self.wanted(), self.room) {
            (Trials::None, RoomTrials::Enough) => Duration::MAX,
            (Trials::None | Trials::Later | Trials::Now, _) => {
                self.due.saturating_duration_since(monotonic())
            }
        }
    }

    /// Makes the trial that is due, and has it counted like any write.
    pub(super) fn advance(&mut self, connection: &mut StoreConnection, writers: Writers) {
        let now = monotonic();
        if self.due > now {
            return;
        }
        let is_due = match (self.wanted(), self.room, writers) {
            (Trials::Now, _, Writers::All) => true,
            (Trials::None | Trials::Later, RoomTrials::Tried(_), _) => true,
            (Trials::Now, _, Writers::NotAll) | (Trials::None | Trials::Later, RoomTrials::Enough, _) => {
                false
            }
        };
        self.due = now + jittered(PERIOD);
        if is_due && connection.is_up() {
            self.attempt(connection);
            self.due = monotonic() + jittered(PERIOD);
        }
    }

    /// Counts a trial as failed without making it, because the store refuses writes.
    pub(super) fn refuse(&mut self, connection: &StoreConnection, cause: &Cause) {
        let now = monotonic();
        if self.due <= now {
            self.due = now + jittered(PERIOD);
            self.counters.failing.store(1, Ordering::Relaxed);
            connection.wrote(Err(cause.clone()), Duration::ZERO);
        }
    }

    fn attempt(&mut self, connection: &mut StoreConnection) {
        let begun = monotonic();
        let tried = match self.room {
            RoomTrials::Enough => publish(connection, &self.channel).map(|()| true),
            RoomTrials::Tried(_) => find_room(connection),
        };
        match tried {
            // Another instance tries: its result holds for this one, and arrives on the next turn.
            Ok(false) => {}
            Ok(true) => {
                self.room = match self.room {
                    RoomTrials::Enough => RoomTrials::Enough,
                    RoomTrials::Tried(well) if well + 1 >= WELL => RoomTrials::Enough,
                    RoomTrials::Tried(well) => RoomTrials::Tried(well + 1),
                };
                self.counters.failing.store(0, Ordering::Relaxed);
                connection.wrote(Ok(()), begun.elapsed());
            }
            Err(fault) => {
                self.failed(&fault.cause);
                self.counters.failing.store(1, Ordering::Relaxed);
                connection.wrote(Err(fault.cause), begun.elapsed());
            }
        }
    }

    fn wanted(&self) -> Trials {
        self.outlook.as_ref().map_or(Trials::None, |outlook| outlook.trials())
    }
}

fn publish(connection: &mut StoreConnection, channel: &ProbeChannel) -> Result<(), CallFault> {
    let now_ms = WallClock::System.unix_ms();
    channel.publish(now_ms, |sql, params| connection.query(sql, params)).map(drop)
}

fn find_room(connection: &mut StoreConnection) -> Result<bool, CallFault> {
    let rows = connection.query("SELECT seawall.try_write($1)", &[(&BYTES, Type::INT4)])?;
    let Some(row) = rows.first() else { return Err(CallFault::incomplete()) };
    row.try_get(0).map_err(|error| CallFault::garbled(&error))
}
