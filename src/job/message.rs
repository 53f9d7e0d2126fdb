//! Jobs, their completions, and broadcasts.

use crate::client_error::ReportOutcome;
use crate::hub::Contradiction;
use crate::id::{ChannelName, Key, Offset, ReactorId, UserName};
use crate::job::lookup::Lookup;
use crate::job::users::OwnLookup;
use crate::roster::RosterPush;
use crate::session::outcome::{
    AddressDenied, AppendChange, AppendError, Appended, Creation, Denied, Identity, Occasion, ReadError,
};
use crate::wire::publication::Published;
use crate::wire::push::LogPosition;
use crate::wire::stream::{
    BeginStream, Generation, Position, ProducerNotice, StreamEnd, StreamNews, StreamOutcome, WholeStream,
};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The request that a completion answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// The reactor that waits, or a number that no reactor has: then a thread of [`Callers`](super::callers::Callers) does, or one
    /// with a [mailbox](super::mailbox).
    pub reactor: ReactorId,
    /// Its pending request. A request that was answered at its deadline is no longer found, and its late completion is
    /// dropped.
    pub request: u64,
}

impl Ticket {
    /// For a job whose answer is dropped.
    pub const UNANSWERED: Ticket = Ticket { reactor: ReactorId(u16::MAX), request: u64::MAX };
}

/// A publication to be committed.
#[derive(Debug)]
pub struct Append {
    pub ticket: Ticket,
    pub channel: ChannelName,
    pub user: UserName,
    /// The idempotency key.
    pub key: Option<Key>,
    pub change: AppendChange,
    pub creation: Creation,
    /// JSON, byte for byte as received.
    pub data: Box<str>,
    /// The stream that an original begins.
    pub stream: Option<Box<BeginStream>>,
    /// The claims of the author's token that routes forward, as a JSON object of at most 4 KiB.
    pub claims: Option<Arc<str>>,
}

/// A read of the log.
#[derive(Debug)]
pub enum Read {
    /// A page of one channel's log, and the log's position.
    Page(PageRequest),
    /// The positions of many logs; at most `limits::HEADS_CHANNELS_MAX` channels, each with the newest offset that is known to have
    /// been committed. A head below it proves that the log lost publications.
    Heads { ticket: Ticket, channels: Vec<(ChannelName, Offset)> },
    /// The positions of many logs, for all reactors; at most `limits::SURVEY_CHANNELS_MAX` channels. It is not answered if it
    /// fails.
    Survey(Arc<Slice>),
    /// Reads nothing: reports that a log lost publications. It is not answered.
    Contradicted(Box<Contradiction>),
    /// The open streams of a channel, or one of them.
    Stream(StreamRequest),
}

/// A read of open streams.
#[derive(Debug)]
pub struct StreamRequest {
    pub ticket: Ticket,
    pub channel: ChannelName,
    /// The begin of the stream; `None`: all open streams of the channel, whole.
    pub offset: Option<Offset>,
    /// The generation that the client has, and the end of its text.
    pub known: Option<(Generation, Position)>,
}

#[derive(Debug)]
pub struct PageRequest {
    pub ticket: Ticket,
    pub channel: ChannelName,
    pub span: Span,
    /// The most publications; 0 asks only for the log's position.
    pub limit: u32,
    /// The most bytes of body, except that the first publication always fits.
    pub bytes_max: usize,
    pub form: Form,
}

/// A part of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// The oldest publications above this offset, ascending.
    After(Offset),
    /// The newest publications below this offset, also ascending.
    Before(Offset),
}

/// The encoding of a page's publications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `{…},{…}`: the inside of a JSON array, for `history`.
    Json,
    /// Complete `publication` frames, one after the other, for a replay.
    Frames,
}

/// A page of a log.
#[derive(Debug)]
pub struct Page {
    /// The log's position in the same read transaction.
    pub position: LogPosition,
    /// The number of publications in `body`.
    pub count: u32,
    /// The offset of the first one; [`Offset::ZERO`] if there is none.
    pub first: Offset,
    /// The offset of the last one; [`Offset::ZERO`] if there is none.
    pub last: Offset,
    /// The publications in the requested [`Form`].
    pub body: Vec<u8>,
    /// True if the channel has open streams: one who joins reads them ([`Read::Stream`]) before `synced`.
    pub has_streams: bool,
}

/// Work for the auth worker.
#[derive(Debug)]
pub enum AuthJob {
    /// Checks a token and counts its user's connections. `ReleaseUser` releases a user that was counted.
    /// `address` is the client's.
    CheckToken { ticket: Ticket, token: Box<str>, occasion: Occasion, address: IpAddr },
    /// Counts a connection of an address, which is the client's even behind trusted proxies. `ReleaseAddress` releases one that was
    /// counted.
    AdmitAddress { ticket: Ticket, address: IpAddr },
    /// Releases a user: a counted connection ended.
    ReleaseUser { user: UserName },
    /// Releases an address: a counted connection ended.
    ReleaseAddress { address: IpAddr },
    /// Answers how many connections users have here.
    LookUpUsers(Box<OwnLookup>),
    /// Reports all users to the registry, which has lost them.
    ReportAllUsers,
}

/// A reactor's interest in a channel of the bus.
#[derive(Debug)]
pub enum Interest {
    /// Answered when the bus is subscribed to the channel, or does not deliver anyway.
    Follow { ticket: Ticket, channel: ChannelName },
    /// The reactor has no subscriber of the channel any more.
    Leave { channel: ChannelName },
}

/// An answer to a job. Each takes one of the places that its job reserved.
#[derive(Debug)]
pub enum Completion {
    /// Answers [`Append`].
    Appended { ticket: Ticket, outcome: Result<Appended, AppendError> },
    /// Answers [`Read::Page`].
    Page { ticket: Ticket, outcome: Result<Page, ReadError> },
    /// Answers [`Read::Heads`], in the order of its channels.
    Heads { ticket: Ticket, outcome: Result<Vec<(ChannelName, LogPosition)>, ReadError> },
    /// Answers [`Interest::Follow`]: the bus now delivers the channel; or it does not work, and the logs are read each second.
    Followed { ticket: Ticket },
    /// Answers [`AuthJob::CheckToken`]. If the request no longer waits, a user that was counted must be released.
    TokenChecked { ticket: Ticket, outcome: Result<Identity, Denied> },
    /// Answers [`AuthJob::AdmitAddress`]. If the request no longer waits, an address that was counted must be released.
    AddressChecked { ticket: Ticket, address: IpAddr, outcome: Result<(), AddressDenied> },
    /// Answers [`ReportJob`](super::client_errors::ReportJob).
    ReportTaken { ticket: Ticket, outcome: ReportOutcome },
    /// Answers [`PresenceJob::Page`](super::presence::PresenceJob::Page) with the object `presence`.
    Presence { ticket: Ticket, page: Arc<[u8]> },
    /// Answers a [`StreamJob`](super::stream::StreamJob) with a ticket.
    Stream { ticket: Ticket, outcome: StreamOutcome },
    /// Answers [`Read::Stream`]. A stream that is not open is not among them.
    StreamRead { ticket: Ticket, outcome: Result<Vec<WholeStream>, ReadError> },
    /// Answers [`Read::Stream`] for one stream that has ended: `edit` is the publication that ended it.
    StreamEnded { ticket: Ticket, end: StreamEnd, edit: Offset },
    /// For connections of producers, by their number in [`ProducerId`](crate::id::ProducerId). It answers no job: there is at most one
    /// for each reactor and flush, and the lane has places for them.
    Producers(Box<[(u64, ProducerNotice)]>),
}

impl Completion {
    /// The ticket of the job that it answers; `None` if it answers none.
    pub fn ticket(&self) -> Option<Ticket> {
        match self {
            Completion::Appended { ticket, .. }
            | Completion::Page { ticket, .. }
            | Completion::Heads { ticket, .. }
            | Completion::Followed { ticket }
            | Completion::TokenChecked { ticket, .. }
            | Completion::AddressChecked { ticket, .. }
            | Completion::ReportTaken { ticket, .. }
            | Completion::Presence { ticket, .. }
            | Completion::Stream { ticket, .. }
            | Completion::StreamRead { ticket, .. }
            | Completion::StreamEnded { ticket, .. } => Some(*ticket),
            Completion::Producers(_) => None,
        }
    }
}

/// A message that answers no job. It may be lost on the way; the log then makes up for it, except for signals.
#[derive(Clone, Debug)]
pub enum Broadcast {
    /// The publications of one commit, in offset order within each channel.
    Published(Arc<[Published]>),
    /// A signal, as a complete frame with the same bytes for every subscriber.
    Signal { channel: ChannelName, frame: Arc<[u8]> },
    /// The positions of logs: answers [`Read::Survey`].
    Heads(Arc<[(ChannelName, LogPosition)]>),
    /// Shows that the bus delivers.
    Canary(Arc<Canary>),
    /// A question of an operator, which the reactor's shell answers.
    Lookup(Lookup),
    /// Frames for watchers of rosters.
    Rosters(Arc<[RosterPush]>),
    /// Asks the reactor to repeat everything that it has on rosters.
    Recount,
    /// Asks the oldest connections to move, one for each of these instances.
    Move(Arc<[Arc<str>]>),
    /// The changes of open streams by one flush.
    Streamed(Arc<[StreamNews]>),
}

/// A canary on its way to the reactors of this process.
#[derive(Debug)]
pub struct Canary {
    number: u64,
    /// Reactors that have not received it.
    left: AtomicUsize,
}

impl Canary {
    pub fn new(number: u64, reactors: usize) -> Canary {
        Canary { number, left: AtomicUsize::new(reactors) }
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    /// Notes that one more reactor received it.
    pub fn arrive(&self) {
        self.left.fetch_sub(1, Ordering::Relaxed);
    }

    /// True exactly when all reactors received it.
    pub fn is_everywhere(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }
}

/// Channels whose log positions are read with one request.
#[derive(Debug)]
pub struct Slice {
    channels: Vec<ChannelName>,
    answered: AtomicBool,
}

impl Slice {
    pub fn new(channels: Vec<ChannelName>) -> Slice {
        Slice { channels, answered: AtomicBool::new(false) }
    }

    pub fn channels(&self) -> &[ChannelName] {
        &self.channels
    }

    /// Notes that the positions were sent to the reactors.
    pub fn answer(&self) {
        self.answered.store(true, Ordering::Release);
    }

    /// True exactly when the positions were sent to the reactors.
    pub fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canary_is_everywhere_once_each_reactor_received_it() {
        let canary = Canary::new(3, 2);
        canary.arrive();
        assert!(!canary.is_everywhere());
        canary.arrive();
        assert!(canary.is_everywhere());
    }
}
