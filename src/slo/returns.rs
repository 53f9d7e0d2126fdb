//! Returns of clients: the judgement of what a client reports about the time since its last connection.
//!
//! A report is the client's word, so it counts in an objective only if this instance knows the connection that it names and how
//! that ended, and only once. [`KnownEnds`] keeps the ends. A client may return before its end is known: its old connection is silent
//! until the gateway gives it up. Such a return waits in [`Returns`].

use super::part::{BadCause, Exclusion, SloOutcome};
use crate::wire::command::Previous;
use std::collections::VecDeque;

/// KnownEnds that are kept.
pub const ENDS_MAX: usize = SETS * WAYS;
const SETS: usize = 1 << 14;
/// The ends that share a place; the oldest makes room.
const WAYS: usize = 4;
/// The memory of all ends.
const ENDS_BYTES_MAX: usize = 1 << 20;
const _: () = assert!(ENDS_MAX * size_of::<End>() <= ENDS_BYTES_MAX);
/// Sets that one look examines, so that a round takes about a minute at a look a second.
const SETS_PER_LOOK: usize = SETS / 64;

/// A client that was away this long returned in time, in milliseconds.
pub const RETURN_MS_MAX: u32 = 30_000;
/// The longest time of one client that a budget pays for, in milliseconds.
const DOWN_MS_MAX: u32 = 15 * 60_000;
/// A client that has not returned by then is counted, in seconds.
pub const RETURN_AWAITED_S: u32 = 300;
/// Returns that wait for the end of their connection.
const EARLY_MAX: usize = 1_024;
/// How long a return waits for that, in seconds: longer than the silence after which a connection is given up. A client may have lost
/// its connection so much earlier than the gateway.
const EARLY_S: u32 = 90;

/// The reason for which a connection ended, as the gateway saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndKind {
    /// It broke, or its peer fell silent.
    Lost,
    /// The gateway or a dependency failed.
    Failed(BadCause),
    /// The process was asked to end.
    Drain,
    /// The client's own fault or choice, or an operator's order.
    Client,
}

/// The event that began the drain of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainReason {
    Requested,
    Fault,
}

impl EndKind {
    /// The kind of an end with this close code; 1006 is one without a close frame.
    pub const fn of(code: u16, drain: DrainReason) -> EndKind {
        match (code, drain) {
            (1006 | 4408, _) => EndKind::Lost,
            (1011, _) => EndKind::Failed(BadCause::Unavailable),
            (1012, DrainReason::Requested) => EndKind::Drain,
            (1012, DrainReason::Fault) => EndKind::Failed(BadCause::Fault),
            (1013, _) => EndKind::Failed(BadCause::Capacity),
            _ => EndKind::Client,
        }
    }
}

/// Why a client had to return, for a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReturnCause {
    /// The connection broke.
    Lost,
    /// The gateway sent nothing, or did not reply.
    Silent,
    Unavailable,
    Restart,
    OverCapacity,
    /// The gateway refused the client: its token, its rate, or its use.
    Refused,
    /// The client changed to another connection before the first one ended.
    Moved,
    Other,
}

impl ReturnCause {
    /// All causes, in declaration order.
    pub const ALL: [ReturnCause; 8] = [
        ReturnCause::Lost,
        ReturnCause::Silent,
        ReturnCause::Unavailable,
        ReturnCause::Restart,
        ReturnCause::OverCapacity,
        ReturnCause::Refused,
        ReturnCause::Moved,
        ReturnCause::Other,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            ReturnCause::Lost => "lost",
            ReturnCause::Silent => "silent",
            ReturnCause::Unavailable => "unavailable",
            ReturnCause::Restart => "restart",
            ReturnCause::OverCapacity => "over_capacity",
            ReturnCause::Refused => "refused",
            ReturnCause::Moved => "moved",
            ReturnCause::Other => "other",
        }
    }

    pub fn of(previous: &Previous) -> ReturnCause {
        match (previous.code, previous.reason.as_str()) {
            (_, "moved") => ReturnCause::Moved,
            (1006, "silent" | "unanswered") | (4408, _) => ReturnCause::Silent,
            (1006, _) => ReturnCause::Lost,
            (1011, _) => ReturnCause::Unavailable,
            (1012, _) => ReturnCause::Restart,
            (1013, _) => ReturnCause::OverCapacity,
            (4400..=4599, _) => ReturnCause::Refused,
            _ => ReturnCause::Other,
        }
    }
}

/// A client that is connected again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientReturn {
    pub previous: Previous,
    /// From its `connect` to the moment at which it had everything that it recovers, in milliseconds.
    pub restore_ms: u32,
}

impl ClientReturn {
    /// The time that the client was away although it could have been connected, in milliseconds.
    pub fn away_ms(&self) -> u32 {
        let Previous { offline_ms, idle_ms, .. } = self.previous;
        offline_ms.saturating_sub(idle_ms).saturating_add(self.restore_ms)
    }

    /// Bounds the client's word by the time that it can have been away, in seconds.
    fn bound(&mut self, away_s_max: u32) {
        let Previous { offline_ms, idle_ms, waited_ms, attempts, failed, .. } = &mut self.previous;
        *offline_ms = (*offline_ms).min(away_s_max.saturating_mul(1_000));
        *idle_ms = (*idle_ms).min(*offline_ms);
        *waited_ms = (*waited_ms).min(*offline_ms);
        for failed in failed {
            *failed = (*failed).min(*attempts);
        }
    }

    /// The event in the objective `recovery`; `None` if the client was not away.
    pub fn recovery(&self, end: EndKind) -> Option<SloOutcome> {
        let Previous { offline_ms, idle_ms, .. } = self.previous;
        if ReturnCause::of(&self.previous) == ReturnCause::Moved {
            return None;
        }
        let is_own = end == EndKind::Client || u64::from(idle_ms) * 2 > u64::from(offline_ms);
        Some(match self.away_ms() {
            _ if is_own => SloOutcome::Excluded(Exclusion::Client),
            ..=RETURN_MS_MAX => SloOutcome::Good,
            _ => SloOutcome::Bad(BadCause::Late),
        })
    }

    /// The time in which the client had no session because the gateway ended it, in milliseconds. The waits that it was given were
    /// counted when they were given.
    pub fn down(&self, end: EndKind) -> Option<(SloOutcome, u32)> {
        let outcome = match end {
            EndKind::Failed(cause) => SloOutcome::Bad(cause),
            EndKind::Drain => SloOutcome::Excluded(Exclusion::Drain),
            EndKind::Lost | EndKind::Client => return None,
        };
        let Previous { offline_ms, idle_ms, waited_ms, .. } = self.previous;
        let down_ms = offline_ms.saturating_sub(idle_ms).saturating_sub(waited_ms).min(DOWN_MS_MAX);
        (down_ms > 0).then_some((outcome, down_ms))
    }
}

/// One end, or a free place.
#[derive(Clone, Copy, Debug)]
struct End {
    connection: u64,
    /// Seconds since the start of the process.
    ended_s: u32,
    /// `None`: the place is free.
    kind: Option<EndKind>,
    state: EndState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndState {
    Awaited,
    Returned,
    NotReturned,
}

const FREE: End = End { connection: 0, ended_s: 0, kind: None, state: EndState::Returned };

/// The last ends of connections, in places that their names choose.
#[derive(Debug)]
struct KnownEnds {
    places: Vec<[End; WAYS]>,
    /// The set that the next look begins with.
    look_at: usize,
}

impl KnownEnds {
    fn set(&mut self, connection: u64) -> &mut [End] {
        // Fibonacci hashing: names differ in few bits, and the product spreads them over the high ones.
        let place = connection.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SETS.trailing_zeros());
        self.places.get_mut(place as usize).map(|set| &mut set[..]).unwrap_or_default()
    }

    fn insert(&mut self, connection: u64, kind: EndKind, state: EndState, now_s: u32) {
        let oldest = self.set(connection).iter_mut().min_by_key(|end| (end.kind.is_some(), end.ended_s));
        if let Some(oldest) = oldest {
            *oldest = End { connection, ended_s: now_s, kind: Some(kind), state };
        }
    }

    /// The kind and the second of an end that no return has named yet.
    fn take(&mut self, connection: u64) -> Option<(EndKind, u32)> {
        let end = self.set(connection).iter_mut().find(|end| end.connection == connection)?;
        let kind = end.kind.filter(|_| end.state != EndState::Returned)?;
        end.state = EndState::Returned;
        Some((kind, end.ended_s))
    }

    fn look(&mut self, now_s: u32) -> u64 {
        let from = self.look_at.min(SETS);
        let to = (from + SETS_PER_LOOK).min(SETS);
        self.look_at = if to == SETS { 0 } else { to };
        let due = |end: &&mut End| {
            let is_lost = end.kind == Some(EndKind::Lost) && end.state == EndState::Awaited;
            is_lost && now_s.saturating_sub(end.ended_s) >= RETURN_AWAITED_S
        };
        let looked_at = self.places.get_mut(from..to).unwrap_or_default().iter_mut().flatten();
        looked_at.filter(due).map(|end| end.state = EndState::NotReturned).count() as u64
    }
}

/// A return with what this instance knows about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedReturn {
    pub client: Box<ClientReturn>,
    /// `None`: this instance knows no such end, or another return has named it.
    pub end: Option<EndKind>,
}

/// The returns and the ends of one instance.
#[derive(Debug)]
pub struct Returns {
    ends: KnownEnds,
    /// With the seconds at which they came, oldest first.
    early: VecDeque<(Box<ClientReturn>, u32)>,
}

impl Default for Returns {
    fn default() -> Returns {
        Returns { ends: KnownEnds { places: vec![[FREE; WAYS]; SETS], look_at: 0 }, early: VecDeque::new() }
    }
}

impl Returns {
    /// Notes the end of a connection. Returns the client that returned before it was known.
    pub fn ended(&mut self, connection: u64, kind: EndKind, now_s: u32) -> Option<JudgedReturn> {
        let early = self.early.iter().position(|(client, _)| client.previous.connection == connection);
        let early = early.and_then(|at| self.early.remove(at));
        let state = if early.is_some() { EndState::Returned } else { EndState::Awaited };
        self.ends.insert(connection, kind, state, now_s);
        early.map(|(mut client, _)| {
            client.bound(EARLY_S);
            JudgedReturn { client, end: Some(kind) }
        })
    }

    /// Takes a return. `None`: it waits until the end of its connection is known. The times of a proven one are bounded by the time since
    /// the end.
    pub fn returned(&mut self, mut client: Box<ClientReturn>, now_s: u32) -> Option<JudgedReturn> {
        let connection = client.previous.connection;
        if let Some((end, ended_s)) = self.ends.take(connection) {
            client.bound(now_s.saturating_sub(ended_s).saturating_add(EARLY_S));
            return Some(JudgedReturn { client, end: Some(end) });
        }
        let is_known = self.ends.set(connection).iter().any(|end| end.connection == connection);
        let is_waiting = self.early.iter().any(|(early, _)| early.previous.connection == connection);
        if is_known || is_waiting {
            return Some(JudgedReturn { client, end: None });
        }
        self.early.push_back((client, now_s));
        (self.early.len() > EARLY_MAX).then(|| self.early.pop_front()).flatten().map(unknown)
    }

    /// Takes a return that has waited long enough.
    pub fn expire(&mut self, now_s: u32) -> Option<JudgedReturn> {
        let (_, came_s) = self.early.front()?;
        let is_due = now_s.saturating_sub(*came_s) >= EARLY_S;
        is_due.then(|| self.early.pop_front()).flatten().map(unknown)
    }

    /// Counts lost connections whose clients have not returned in time, each once. Call it once a second.
    pub fn not_returned(&mut self, now_s: u32) -> u64 {
        self.ends.look(now_s)
    }
}

fn unknown((client, _): (Box<ClientReturn>, u32)) -> JudgedReturn {
    JudgedReturn { client, end: None }
}

#[cfg(test)]
mod tests;
