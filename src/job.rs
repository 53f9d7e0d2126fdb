//! What crosses threads: jobs to the workers, completions back, and the bounded queues between them.
//!
//! Two lanes lead into a reactor. *Answers* have as many places as jobs may be outstanding, so a worker
//! never waits for room. *Live* ones, publications and signals, are tried: a full lane marks the reactor as
//! having missed something, and its hub refills from the log. Workers never block on reactors.

pub mod bus;

use crate::health::board::DependencyId;
use crate::health::capacity::Depth;
use crate::health::finding::Evidence;
use crate::health::report::Report;
use crate::health::snapshot::Snapshot;
use crate::id::{ChannelName, Key, Offset, ReactorId, UserName};
use crate::limits::{ANSWERS_LANE, LIVE_LANE};
pub use crate::session::outcome::*;
use crate::wire::publication::Published;
use crate::wire::push::LogPosition;
use arc_swap::{ArcSwap, Cache};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Names the request a completion answers: whose it is, and which of that reactor's pending requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// The reactor that waits.
    pub reactor: ReactorId,
    /// Its pending request; a request that was answered at its deadline is no longer found, and its late
    /// completion is dropped.
    pub request: u64,
}

/// A publication to be committed.
#[derive(Debug)]
pub struct Append {
    /// Whom to answer.
    pub ticket: Ticket,
    /// The channel.
    pub channel: ChannelName,
    /// The author.
    pub user: UserName,
    /// The idempotency key.
    pub key: Option<Key>,
    /// What it does, and to which earlier publication.
    pub change: AppendChange,
    /// JSON, byte for byte as received.
    pub data: Box<str>,
}

/// A question to the log.
#[derive(Debug)]
pub enum Read {
    /// A page of one channel's log, and where the log stands.
    Page(PageRequest),
    /// Where many logs stand; at most `limits::HEADS_CHANNELS_MAX` channels.
    Heads {
        /// Whom to answer.
        ticket: Ticket,
        /// The channels.
        channels: Vec<ChannelName>,
    },
    /// Where many logs stand, for all reactors; at most `limits::SURVEY_CHANNELS_MAX` channels. It is not answered when it fails.
    Survey(Arc<bus::Slice>),
}

/// Which page.
#[derive(Debug)]
pub struct PageRequest {
    /// Whom to answer.
    pub ticket: Ticket,
    /// The channel.
    pub channel: ChannelName,
    /// Which part of the log.
    pub span: Span,
    /// Publications at most; 0 asks only where the log stands.
    pub limit: u32,
    /// Bytes of body at most, save that the first publication always fits.
    pub bytes_max: usize,
    /// How the publications are encoded.
    pub form: Form,
}

/// Which part of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// The oldest ones above this offset, ascending.
    After(Offset),
    /// The newest ones below this offset, still ascending.
    Before(Offset),
}

/// How a page's publications are encoded.
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
    /// Where the log stood, in the same read transaction.
    pub position: LogPosition,
    /// Publications in `body`.
    pub count: u32,
    /// Offset of the first one; [`Offset::ZERO`] when there is none.
    pub first: Offset,
    /// Offset of the last one; [`Offset::ZERO`] when there is none.
    pub last: Offset,
    /// The publications in the asked [`Form`].
    pub body: Vec<u8>,
}

/// Work for the auth worker.
#[derive(Debug)]
pub enum Admit {
    /// Check a token, and count its user's connections. A granted one is undone by `Leave`.
    Token {
        /// Whom to answer.
        ticket: Ticket,
        /// The token.
        token: Box<str>,
        /// Whether this is a connection more or the one that is already counted.
        occasion: Occasion,
    },
    /// Count a connection of an address. A granted one is undone by `Depart`.
    Address {
        /// Whom to answer.
        ticket: Ticket,
        /// The real address, as proxies told it.
        address: IpAddr,
    },
    /// A counted user's connection ended.
    Leave {
        /// The user.
        user: UserName,
    },
    /// A counted address's connection ended.
    Depart {
        /// The address.
        address: IpAddr,
    },
}

/// An answer to a job. Each takes one of the places its job reserved.
#[derive(Debug)]
pub enum Completion {
    /// Answers [`Append`].
    Appended {
        /// Whom it answers.
        ticket: Ticket,
        /// What became of it.
        outcome: Result<Appended, AppendError>,
    },
    /// Answers [`Read::Page`].
    Page {
        /// Whom it answers.
        ticket: Ticket,
        /// The page.
        outcome: Result<Page, ReadError>,
    },
    /// Answers [`Read::Heads`], in the order asked.
    Heads {
        /// Whom it answers.
        ticket: Ticket,
        /// Where each log stands.
        outcome: Result<Vec<(ChannelName, LogPosition)>, ReadError>,
    },
    /// Answers [`bus::Interest::Follow`]: the bus brings the channel from here on, or does not work, and then the logs are looked at
    /// each second.
    Followed {
        /// Whom it answers.
        ticket: Ticket,
    },
    /// Answers [`Admit::Token`].
    TokenChecked {
        /// Whom it answers.
        ticket: Ticket,
        /// Who it is: should nobody wait any more, one who was counted is to be counted off.
        outcome: Result<Identity, Denied>,
    },
    /// Answers [`Admit::Address`].
    AddressChecked {
        /// Whom it answers.
        ticket: Ticket,
        /// The address: should nobody wait any more, it is to be counted off.
        address: IpAddr,
        /// Whether it may come in.
        outcome: Result<(), AddressDenied>,
    },
}

/// What nobody asked for: it may be lost on the way, and the log makes up for it.
#[derive(Clone, Debug)]
pub enum Live {
    /// Publications of one commit, in offset order a channel.
    Published(Arc<[Published]>),
    /// A signal, as a complete frame.
    Signal {
        /// The channel.
        channel: ChannelName,
        /// The frame: the same bytes for every subscriber.
        frame: Arc<[u8]>,
    },
    /// Where logs stand: answers [`Read::Survey`].
    Heads(Arc<[(ChannelName, LogPosition)]>),
    /// Shows that the bus delivers.
    Canary(Arc<bus::Canary>),
}

/// Sends into one reactor. Cloned freely; the reactor holds the [`Inbox`].
#[derive(Clone)]
pub struct Mailbox {
    answers: Sender<Completion>,
    live: Sender<Live>,
    signal: Arc<Doorbell>,
}

struct Doorbell {
    waker: mio::Waker,
    rung: AtomicBool,
    missed: AtomicBool,
}

/// What a reactor receives.
pub struct Inbox {
    /// Answers to its jobs.
    pub answers: Receiver<Completion>,
    /// Publications and signals.
    pub live: Receiver<Live>,
    signal: Arc<Doorbell>,
}

/// Makes the two ends of a reactor's inbox; `waker` wakes its poll.
pub fn inbox(waker: mio::Waker) -> (Mailbox, Inbox) {
    let (answers, answers_in) = bounded(ANSWERS_LANE);
    let (live, live_in) = bounded(LIVE_LANE);
    let signal = Arc::new(Doorbell { waker, rung: AtomicBool::new(false), missed: AtomicBool::new(false) });
    (
        Mailbox { answers, live, signal: Arc::clone(&signal) },
        Inbox { answers: answers_in, live: live_in, signal },
    )
}

impl Mailbox {
    /// Answers a job. The lane has room for all that are outstanding; should it be full all the same, the
    /// answer is dropped and the reactor answers at the deadline.
    pub fn answer(&self, completion: Completion) {
        let _ = self.answers.try_send(completion);
    }

    /// Passes on a publication or a signal, or marks the reactor as having missed a publication.
    pub fn offer(&self, live: Live) -> Offered {
        match self.live.try_send(live) {
            Ok(()) => Offered::Taken,
            Err(TrySendError::Full(Live::Published(_) | Live::Heads(_))) => {
                self.signal.missed.store(true, Ordering::Release);
                Offered::Missed
            }
            Err(
                TrySendError::Full(Live::Signal { .. } | Live::Canary(_)) | TrySendError::Disconnected(_),
            ) => Offered::Missed,
        }
    }

    /// How full the lane of publications is. A full one loses nothing: the reactor reads what it missed from the log.
    pub fn live_depth(&self) -> Depth {
        Depth { name: "live", waiting: self.live.len() as u64, bound: LIVE_LANE as u64 }
    }

    /// Wakes the reactor, once until it looks: call it after a batch, not after each piece.
    pub fn ring(&self) -> io::Result<()> {
        if self.signal.rung.swap(true, Ordering::AcqRel) { Ok(()) } else { self.signal.waker.wake() }
    }
}

/// What became of a live offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// It is in the lane.
    Taken,
    /// The lane was full.
    Missed,
}

impl Inbox {
    /// Says that the reactor is looking: senders ring again from here on. Call it before taking.
    pub fn answer_door(&self) {
        // A swap, not a store: it sees all that was sent before the ring it takes back.
        self.signal.rung.swap(false, Ordering::AcqRel);
    }

    /// True exactly when a publication did not fit since the last call.
    pub fn take_missed(&self) -> bool {
        self.signal.missed.swap(false, Ordering::AcqRel)
    }
}

/// The workers' queues, as every reactor sees them.
#[derive(Clone)]
pub struct Queues {
    /// To the store's append worker.
    pub append: Sender<Append>,
    /// To the store's readers.
    pub read: Sender<Read>,
    /// To the bus; `None` when this instance is alone.
    pub bus: Option<bus::Bus>,
    /// To the auth worker; `None` when auth is off and no per-address limit is set.
    pub admit: Option<Sender<Admit>>,
}

impl Queues {
    /// The queues whose overflow is answered `overloaded`: those that are, each with what waits in it.
    pub fn depths(&self) -> impl Iterator<Item = Depth> {
        let depth = |name, waiting: usize, bound: Option<usize>| {
            bound.map(|bound| Depth { name, waiting: waiting as u64, bound: bound as u64 })
        };
        let admit = self.admit.as_ref().and_then(|admit| depth("auth", admit.len(), admit.capacity()));
        [
            depth("append", self.append.len(), self.append.capacity()),
            depth("read", self.read.len(), self.read.capacity()),
            admit,
        ]
        .into_iter()
        .flatten()
    }

    /// The queues whose overflow nobody is told of, since it is made up for.
    pub fn spare_depths(&self) -> impl Iterator<Item = Depth> {
        self.bus.iter().flat_map(bus::Bus::depths)
    }
}

/// Where a worker tells what it meets with one dependency, so that it is seen without waiting for the next probe.
#[derive(Clone, Debug)]
pub struct Witness {
    dependency: DependencyId,
    told: Sender<(DependencyId, Evidence)>,
}

impl Witness {
    /// Of this dependency; whoever watches it has the other end.
    pub fn new(dependency: DependencyId, told: Sender<(DependencyId, Evidence)>) -> Witness {
        Witness { dependency, told }
    }

    /// Tells. What does not fit is dropped: the watch has heard enough then.
    pub fn tell(&self, evidence: Evidence) {
        let _ = self.told.try_send((self.dependency, evidence));
    }
}

/// What is known of the dependencies, as it was last published: one thread writes, all others read a pointer.
#[derive(Debug)]
pub struct Outlook {
    snapshot: Arc<ArcSwap<Snapshot>>,
    report: ArcSwap<Report>,
}

/// A reader's own way to the snapshot: to look costs one load while nothing changed.
pub type SnapshotReader = Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>;

impl Outlook {
    /// Starts with these.
    pub fn new(snapshot: Arc<Snapshot>, report: Report) -> Outlook {
        Outlook { snapshot: Arc::new(ArcSwap::new(snapshot)), report: ArcSwap::from_pointee(report) }
    }

    /// Another snapshot holds from here on. Ring the reactors after it: they look once a turn.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        self.snapshot.store(snapshot);
    }

    /// Another body of `/health/dependencies` holds from here on.
    pub fn publish_report(&self, report: Report) {
        self.report.store(Arc::new(report));
    }

    /// A reader for one thread.
    pub fn reader(&self) -> SnapshotReader {
        Cache::new(Arc::clone(&self.snapshot))
    }

    /// The snapshot that holds now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// The body of `/health/dependencies`.
    pub fn report(&self) -> Arc<Report> {
        self.report.load_full()
    }
}
