//! Between the relay and the store: the requests of the relay, their answers, and the notices of the store.
//!
//! The log is the queue of the relay. For each channel with a route the store has a row: the `head` is the newest publication that may
//! have to be relayed, the `cursor` the last one that is done. A *claim* is a lease of one channel, and the attempt to send the
//! publication after the cursor; both are committed before the request goes out, so a crash never hides that it may have arrived. Each
//! claim raises the channel's *fence*, and only the holder of the newest fence moves the cursor.
//!
//! Every request may be repeated if its answer was lost or is [`RelayAnswer::Unavailable`].

use crate::id::{ChannelName, Epoch, Key, Offset, UserName};
use crate::relay::route::RouteTable;
use crate::wire::publication::Change;
use crate::wire::stream::{Generation, StreamId, StreamState};
use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// A claim that is not renewed ends after this long, and another instance may claim the channel.
pub const LEASE: Duration = Duration::from_secs(30);
/// Requests that wait for the store. Each sender of the relay has at most one under way.
pub const RELAY_QUEUE: usize = 1_024;
/// Notices that wait for the relay. One that is lost is found by the next [`RelayWork::Due`].
pub const RELAY_NOTICES: usize = 4_096;
/// Rows in the answers to [`RelayWork::Due`], [`RelayWork::Dead`] and [`RelayWork::Skip`].
pub const RELAY_ROWS_MAX: u32 = 1_000;

/// The routes in force, which a reload replaces.
#[derive(Debug, Default)]
pub struct Routes {
    /// True if there is one, so that a store without routes does not read the table.
    any: AtomicBool,
    table: RwLock<RouteTable>,
}

impl Routes {
    pub fn new(table: RouteTable) -> Routes {
        Routes { any: AtomicBool::new(!table.is_empty()), table: RwLock::new(table) }
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        !self.any.load(Ordering::Relaxed)
    }

    /// The routes in force now. A caller reads them once for all decisions that belong together.
    pub fn current(&self) -> RouteTable {
        self.table.read().clone()
    }

    pub fn replace(&self, table: RouteTable) {
        let any = !table.is_empty();
        *self.table.write() = table;
        self.any.store(any, Ordering::Relaxed);
    }
}

/// The number of a claim. Each claim of a channel has a higher one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(pub u64);

/// A request to the store.
#[derive(Debug)]
pub struct RelayRequest {
    pub work: RelayWork,
    /// Has room for the one answer.
    pub reply: Sender<RelayAnswer>,
}

/// The request.
#[derive(Clone, Debug)]
pub enum RelayWork {
    /// The channels that may be claimed, the one that waits longest first. It locks nothing.
    Due {
        /// At most [`RELAY_ROWS_MAX`].
        limit: u32,
    },
    /// Claims the next publication of a channel. A claim of the same process is replaced, so its holder must not ask
    /// for another.
    Claim { channel: ChannelName },
    /// The outcome of an attempt.
    Settle { channel: ChannelName, fence: Fence, outcome: RelayOutcome },
    /// Prolongs claims by [`LEASE`].
    Renew { claims: Vec<(ChannelName, Fence)> },
    /// The state of all routes.
    Status,
    /// Dead letters, the oldest first.
    Dead {
        /// `None`: of all routes.
        route: Option<Arc<str>>,
        /// Those after this number of [`DeadLetter`]; 0: from the first.
        after: u64,
        /// At most [`RELAY_ROWS_MAX`].
        limit: u32,
    },
    /// Moves the cursor of a channel to `to`, but not past its head. The publications that are passed become dead letters, at most
    /// [`RELAY_ROWS_MAX`] at once. A claim of the channel is lost.
    Skip { channel: ChannelName, to: Offset },
    /// Ends all claims of this process: it is about to end.
    ReleaseAll,
}

/// The outcome of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayOutcome {
    /// The backend has it. The cursor moves, and the next publication of the channel is claimed in the same commit.
    Done,
    /// To be sent again after the delay.
    Later { delay: Duration },
    /// It will never be sent. Then as [`RelayOutcome::Done`].
    Dead {
        cause: DeadCause,
        /// The status of the response that refused it.
        status: Option<u16>,
    },
    /// Nothing was sent: the attempt does not count.
    Release,
}

/// The reason why a publication was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadCause {
    /// The backend refused it.
    Refused,
    /// The backend did not take it in time.
    NotDelivered,
    /// Retention removed it first.
    Expired,
    /// An operator moved the cursor past it.
    Skipped,
}

impl DeadCause {
    pub const ALL: [DeadCause; 4] =
        [DeadCause::Refused, DeadCause::NotDelivered, DeadCause::Expired, DeadCause::Skipped];

    /// The word in answers and labels.
    pub const fn word(self) -> &'static str {
        match self {
            DeadCause::Refused => "refused",
            DeadCause::NotDelivered => "not_delivered",
            DeadCause::Expired => "expired",
            DeadCause::Skipped => "skipped",
        }
    }

    /// The number in the store.
    pub const fn code(self) -> i16 {
        match self {
            DeadCause::Refused => 1,
            DeadCause::NotDelivered => 2,
            DeadCause::Expired => 3,
            DeadCause::Skipped => 4,
        }
    }

    pub fn of_code(code: i64) -> Option<DeadCause> {
        DeadCause::ALL.into_iter().find(|cause| i64::from(cause.code()) == code)
    }
}

/// The answer to a request of the same name.
#[derive(Debug)]
pub enum RelayAnswer {
    Due(RelayDue),
    Claim(ClaimOutcome),
    Settle(SettleOutcome),
    /// The claims among them that are lost.
    Renew(Vec<(ChannelName, Fence)>),
    Status(RelayStatus),
    Dead(Vec<DeadLetter>),
    Skip(Skipped),
    /// The number of claims that were ended.
    ReleaseAll(u64),
    /// The store did not answer, so it is not known whether it was done: ask again.
    Unavailable,
}

/// The channels that may be claimed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelayDue {
    pub channels: Vec<DueChannel>,
    /// The time until another one becomes due by itself; `None`: none waits.
    pub next: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueChannel {
    pub channel: ChannelName,
    /// Attempts to send the next publication so far.
    pub attempts: u32,
    /// The commit of the publication after the cursor, in Unix milliseconds; `None`: it is not retained.
    pub oldest_ms: Option<u64>,
}

/// The outcome of a claim.
#[derive(Debug)]
pub enum ClaimOutcome {
    Claimed(Box<Claimed>),
    /// Nothing is to be sent.
    Nothing,
    /// Another instance has the channel.
    Taken,
    /// The answer to an earlier question is open, and the route is serial.
    Waits,
    /// An earlier attempt failed, and the next one is to be made after this delay.
    NotYet {
        delay: Duration,
    },
    /// The channel has no route.
    Unrouted,
}

/// A claim of a channel, and the publication to send.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub channel: ChannelName,
    /// The name of the route by which the publication was chosen.
    pub route: Arc<str>,
    pub fence: Fence,
    /// 1 for the first. A higher one may be a repeat of a request that arrived.
    pub attempt: u32,
    /// Of the log.
    pub epoch: Epoch,
    pub question: RelayedQuestion,
    /// A JSON object; `None`: no claims are forwarded.
    pub claims: Option<Arc<str>>,
    /// The answer that waits for the question.
    pub answer: Option<OpenAnswer>,
}

/// A publication to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayedQuestion {
    pub offset: Offset,
    pub key: Option<Key>,
    pub user: UserName,
    /// Of the commit, in Unix milliseconds.
    pub time_ms: u64,
    pub change: Change,
    /// JSON, byte for byte as received.
    pub data: Box<str>,
}

/// The open answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenAnswer {
    pub offset: Offset,
    pub generation: Generation,
    pub state: StreamState,
}

/// The outcome of [`RelayWork::Settle`].
#[derive(Debug)]
pub enum SettleOutcome {
    /// Stored. After [`RelayOutcome::Done`] and [`RelayOutcome::Dead`] with the next claim of the channel, else
    /// [`ClaimOutcome::Nothing`].
    Settled(ClaimOutcome),
    /// Nothing was stored: the claim is not the newest one.
    Lost,
}

/// The state of the relay in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelayStatus {
    /// In the order of the configuration.
    pub routes: Vec<RouteStatus>,
    /// Channels that wait and have no route.
    pub unrouted: u64,
    /// The channels with most attempts that wait, at most 20.
    pub stuck: Vec<StuckChannel>,
    /// False if more channels wait than were read.
    pub is_complete: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteStatus {
    pub route: Arc<str>,
    /// Channels that wait.
    pub waiting: u64,
    /// The commit of the oldest publication that waits, in Unix milliseconds.
    pub oldest_ms: Option<u64>,
    /// The most attempts of a channel that waits.
    pub attempts: u32,
    /// Claims of all instances.
    pub claims: u64,
    pub dead: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StuckChannel {
    pub channel: ChannelName,
    pub cursor: Offset,
    pub head: Offset,
    pub attempts: u32,
    pub oldest_ms: Option<u64>,
}

/// A publication that was not delivered. The publication itself stays in the log for as long as the log retains it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Rises with each dead letter of the store.
    pub number: u64,
    pub channel: ChannelName,
    pub offset: Offset,
    /// The last one of several that retention removed, among which may be some that are not relayed; else equal to `offset`.
    pub through: Offset,
    pub route: Arc<str>,
    pub cause: DeadCause,
    pub status: Option<u16>,
    /// Unix milliseconds.
    pub time_ms: u64,
}

/// The outcome of [`RelayWork::Skip`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// The cursor now; `None`: the channel is not known to the relay.
    pub cursor: Option<Offset>,
    /// New dead letters.
    pub dead: u32,
    /// Their answers that are still open.
    pub answers: Vec<Offset>,
}

/// A notice of the store. It may be lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayNotice {
    /// A publication of the channel is to be relayed, or may be relayed now.
    Waiting { channel: ChannelName },
    /// A user has cancelled the answer `id` to `question`, in the logs of `epoch`.
    Cancelled { id: StreamId, question: Offset, generation: Generation, epoch: Epoch },
    /// An answer takes no more: another instance has its cancel or its end. A backend that is to know of that is notified there.
    Over { id: StreamId },
}

/// The way of notices to the relay.
#[derive(Clone, Debug)]
pub struct RelayNotices {
    sender: Sender<RelayNotice>,
    lost: Arc<AtomicU64>,
}

impl RelayNotices {
    /// The notices, and their receiver.
    pub fn new() -> (RelayNotices, Receiver<RelayNotice>) {
        let (sender, receiver) = bounded(RELAY_NOTICES);
        (RelayNotices { sender, lost: Arc::default() }, receiver)
    }

    /// Sends a notice, or loses it if too many wait.
    pub fn send(&self, notice: RelayNotice) {
        if self.sender.try_send(notice).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The number of notices that were lost.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// The way of requests to the store.
#[derive(Clone, Debug)]
pub struct RelayQueue(Sender<RelayRequest>);

impl RelayQueue {
    /// The queue, and its receiver for the store.
    pub fn new() -> (RelayQueue, Receiver<RelayRequest>) {
        let (sender, receiver) = bounded(RELAY_QUEUE);
        (RelayQueue(sender), receiver)
    }

    /// Asks, and returns the place of the answer; `None`: too many requests wait.
    pub fn ask(&self, work: RelayWork) -> Option<Receiver<RelayAnswer>> {
        let (reply, answer) = bounded(1);
        self.0.try_send(RelayRequest { work, reply }).ok()?;
        Some(answer)
    }

    /// Asks, and waits for the answer.
    pub fn call(&self, work: RelayWork, timeout: Duration) -> RelayAnswer {
        let answer = self.ask(work).and_then(|answer| answer.recv_timeout(timeout).ok());
        answer.unwrap_or(RelayAnswer::Unavailable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notice_that_finds_no_room_is_counted() {
        let (notices, received) = RelayNotices::new();
        let channel = ChannelName::parse("c").expect("a name");
        for _ in 0..=RELAY_NOTICES {
            notices.send(RelayNotice::Waiting { channel: channel.clone() });
        }
        assert_eq!((received.len(), notices.lost()), (RELAY_NOTICES, 1));
    }

    #[test]
    fn causes_keep_their_numbers() {
        for cause in DeadCause::ALL {
            assert_eq!(DeadCause::of_code(cause.code().into()), Some(cause));
        }
        assert_eq!(DeadCause::of_code(0), None);
    }

    #[test]
    fn call_without_an_answer_is_unavailable() {
        let (queue, requests) = RelayQueue::new();
        assert!(matches!(queue.call(RelayWork::Status, Duration::ZERO), RelayAnswer::Unavailable));
        let request = requests.try_recv().expect("asked");
        assert!(matches!(request.work, RelayWork::Status));
    }
}
