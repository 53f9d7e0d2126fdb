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
mod tests {
    use super::*;
    use crate::wire::short_text::ShortText;

    fn client(connection: u64, offline_ms: u32) -> Box<ClientReturn> {
        let previous = Previous {
            connection,
            code: 1006,
            reason: ShortText::of("lost"),
            reference: ShortText::default(),
            offline_ms,
            idle_ms: 0,
            waited_ms: 0,
            attempts: 1,
            failed: Default::default(),
        };
        Box::new(ClientReturn { previous, restore_ms: 0 })
    }

    fn end_of(judged: Option<JudgedReturn>) -> Option<EndKind> {
        judged.expect("judged").end
    }

    #[test]
    fn return_is_proven_once_by_an_end_of_this_instance() {
        let mut returns = Returns::default();
        assert_eq!(returns.ended(7, EndKind::Lost, 10), None);
        assert_eq!(end_of(returns.returned(client(7, 1), 11)), Some(EndKind::Lost));
        assert_eq!(end_of(returns.returned(client(7, 1), 12)), None, "an end proves one return");
    }

    #[test]
    fn return_before_its_end_is_proven_when_the_end_is_known() {
        let mut returns = Returns::default();
        assert_eq!(returns.returned(client(7, 1), 10), None);
        assert_eq!(end_of(returns.returned(client(7, 2), 10)), None, "one waits already");
        let judged = returns.ended(7, EndKind::Lost, 60).expect("it waited");
        assert_eq!((judged.client.previous.offline_ms, judged.end), (1, Some(EndKind::Lost)));
        assert_eq!(end_of(returns.returned(client(7, 3), 61)), None);
        assert_eq!((0..64).map(|_| returns.not_returned(600)).sum::<u64>(), 0);
    }

    #[test]
    fn client_cannot_have_been_away_much_longer_than_its_end_is_known() {
        const WEEK_MS: u32 = 7 * 24 * 3_600_000;
        let exaggerated = |connection| {
            let mut client = client(connection, WEEK_MS);
            (client.previous.idle_ms, client.previous.waited_ms) = (WEEK_MS, 1_000);
            client.previous.failed[0] = 9;
            client
        };
        let bounded = |judged: Option<JudgedReturn>| {
            let Previous { offline_ms, idle_ms, waited_ms, failed, .. } =
                judged.expect("judged").client.previous;
            (offline_ms, idle_ms, waited_ms, failed[0])
        };
        let mut returns = Returns::default();
        returns.ended(7, EndKind::Failed(BadCause::Fault), 10);
        let most = (EARLY_S + 2) * 1_000;
        assert_eq!(bounded(returns.returned(exaggerated(7), 12)), (most, most, 1_000, 1));
        assert_eq!(returns.returned(exaggerated(8), 12), None);
        let most = EARLY_S * 1_000;
        assert_eq!(bounded(returns.ended(8, EndKind::Lost, 60)), (most, most, 1_000, 1));
        returns.ended(9, EndKind::Lost, 10);
        let late = returns.returned(client(9, 250_000), 260).expect("judged");
        assert_eq!(late.client.previous.offline_ms, 250_000, "an honest report stays as it is");
    }

    #[test]
    fn return_of_another_instance_is_not_proven() {
        let mut returns = Returns::default();
        assert_eq!(returns.returned(client(7, 1), 10), None);
        assert_eq!(returns.expire(10 + EARLY_S - 1), None);
        assert_eq!(end_of(returns.expire(10 + EARLY_S)), None);
        assert_eq!(returns.expire(1_000), None);
    }

    #[test]
    fn waiting_returns_have_a_bound_and_the_oldest_makes_room() {
        let mut returns = Returns::default();
        for connection in 1..=EARLY_MAX as u64 {
            assert_eq!(returns.returned(client(connection, 1), 10), None);
        }
        let oldest = returns.returned(client(5_000, 1), 11).expect("no room");
        assert_eq!((oldest.client.previous.connection, oldest.end), (1, None));
        assert_eq!(returns.early.len(), EARLY_MAX);
    }

    #[test]
    fn lost_client_that_stays_away_is_counted_once() {
        let mut returns = Returns::default();
        for (connection, kind) in
            [(1, EndKind::Lost), (2, EndKind::Lost), (3, EndKind::Client), (4, EndKind::Drain)]
        {
            returns.ended(connection, kind, 10);
        }
        returns.returned(client(2, 1), 20);
        let mut round = |now_s| (0..64).map(|_| returns.not_returned(now_s)).sum::<u64>();
        assert_eq!(round(10 + RETURN_AWAITED_S - 1), 0);
        assert_eq!(round(10 + RETURN_AWAITED_S), 1);
        assert_eq!(round(10 + 2 * RETURN_AWAITED_S), 0);
    }

    #[test]
    fn ends_take_a_fixed_memory_and_nearly_all_of_them_are_found() {
        let mut returns = Returns::default();
        // As an instance names its connections: a tag, and a number that is spread over the other bits.
        let name = |number: u64| 0xe36a_0000_0000_0000 | (number << 8);
        let kept = ENDS_MAX as u64 / 2;
        for number in 0..3 * ENDS_MAX as u64 {
            returns.ended(name(number), EndKind::Lost, number as u32);
        }
        let newest = (2 * ENDS_MAX as u64 + kept)..3 * ENDS_MAX as u64;
        let found = newest.filter(|number| returns.ends.take(name(*number)).is_some()).count() as u64;
        assert!(found * 100 >= kept * 95, "{found} of {kept}");
        assert_eq!(returns.ends.places.len() * WAYS, ENDS_MAX);
    }

    #[test]
    fn recovery_is_judged_by_the_time_away_without_idle_time() {
        let judge = |offline_ms, idle_ms, restore_ms, end| {
            let mut client = client(7, offline_ms);
            client.previous.idle_ms = idle_ms;
            client.restore_ms = restore_ms;
            client.recovery(end)
        };
        let late = Some(SloOutcome::Bad(BadCause::Late));
        let own = Some(SloOutcome::Excluded(Exclusion::Client));
        assert_eq!(judge(29_000, 0, 1_000, EndKind::Lost), Some(SloOutcome::Good));
        assert_eq!(judge(29_000, 0, 1_001, EndKind::Lost), late);
        assert_eq!(judge(50_000, 20_000, 0, EndKind::Lost), Some(SloOutcome::Good));
        assert_eq!(judge(50_000, 25_001, 0, EndKind::Lost), own, "it slept for most of the time");
        assert_eq!(judge(31_000, 0, 0, EndKind::Drain), late, "a restart should take less");
        assert_eq!(judge(31_000, 0, 0, EndKind::Client), own);
        let mut moved = client(7, 0);
        moved.previous.reason = ShortText::of("moved");
        assert_eq!(moved.recovery(EndKind::Client), None);
    }

    #[test]
    fn down_time_is_of_ends_by_the_gateway_and_leaves_out_waits_that_were_counted() {
        let down = |offline_ms, code, drain| {
            let mut client = client(7, offline_ms);
            client.previous.idle_ms = 1_000;
            client.previous.waited_ms = 2_000;
            client.down(EndKind::of(code, drain))
        };
        let of = |cause, ms| Some((SloOutcome::Bad(cause), ms));
        assert_eq!(down(9_000, 1011, DrainReason::Requested), of(BadCause::Unavailable, 6_000));
        assert_eq!(down(9_000, 1013, DrainReason::Requested), of(BadCause::Capacity, 6_000));
        assert_eq!(down(9_000, 1012, DrainReason::Fault), of(BadCause::Fault, 6_000));
        let drain = SloOutcome::Excluded(Exclusion::Drain);
        assert_eq!(down(9_000, 1012, DrainReason::Requested), Some((drain, 6_000)));
        assert_eq!(down(86_400_000, 1011, DrainReason::Requested), of(BadCause::Unavailable, DOWN_MS_MAX));
        for code in [1000, 1006, 4408, 4501] {
            assert_eq!(down(9_000, code, DrainReason::Fault), None, "{code}");
        }
        assert_eq!(down(3_000, 1011, DrainReason::Requested), None);
    }
}
