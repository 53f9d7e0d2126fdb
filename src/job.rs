//! What crosses threads: jobs to the workers, completions back, and the bounded queues between them.
//!
//! Two lanes lead into a reactor. *Answers* have as many places as jobs may be outstanding, so a worker
//! never waits for room. *Live* ones, publications and signals, are tried: a full lane marks the reactor as
//! having missed something, and its hub refills from the log. Workers never block on reactors.

use crate::auth::permission::Permissions;
use crate::auth::token::TokenFault;
use crate::id::{ChannelName, Epoch, Key, Offset, ReactorId, UserName};
use crate::limits::{LIVE_LANE, OUTSTANDING_MAX};
use crate::wire::publication::Published;
use crate::wire::push::LogPosition;
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

/// What an append does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendChange {
    /// Adds a publication.
    Original,
    /// Replaces an earlier one.
    Edit(Offset, Authority),
    /// Erases an earlier one.
    Delete(Offset, Authority),
}

/// Whose publications may be edited or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// Only one's own.
    Author,
    /// Anybody's: the `moderate` right.
    Moderator,
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

/// When a token is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// With `connect`.
    Connect,
    /// With `refresh`, by this user: a token of another user is refused.
    Refresh(UserName),
}

/// What a good token grants.
#[derive(Clone, Debug)]
pub struct Identity {
    /// `sub`
    pub user: UserName,
    /// `channels`
    pub permissions: Arc<Permissions>,
    /// From here on the token is no longer accepted: `exp` plus the leeway, Unix milliseconds.
    pub expires_unix_ms: Option<u64>,
}

/// Why a token did not open a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The token itself.
    Token(TokenFault),
    /// `refresh` with a token of somebody else.
    OtherUser,
    /// `limits.connections_per_user` is reached.
    TooManyOfUser,
}

/// Why an address was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressDenied {
    /// `limits.connections_per_address` is reached.
    TooMany,
    /// `limits.handshakes_per_s` is exceeded; come back after this many milliseconds.
    TooFast {
        /// `retry_ms`
        retry_ms: u32,
    },
}

/// What an append became.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The identity of the log.
    pub epoch: Epoch,
    /// Its place, or that of the first one under the same key.
    pub offset: Offset,
    /// When it, or the first one, was committed, Unix milliseconds.
    pub time_ms: u64,
    /// Whether this attempt stored it.
    pub attempt: Attempt,
}

/// Whether an append stored anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It did.
    First,
    /// An earlier one did, under the same key.
    Repeat,
}

/// Why an append stored nothing, or perhaps nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// The key stands for other content.
    KeyConflict,
    /// The publication to edit or delete is not retained, is no original, or is deleted.
    NotFound,
    /// It is somebody else's, and there is no `moderate` right.
    NotAuthor,
    /// `limits.channels` is reached and the channel is new.
    TooManyChannels,
    /// Certainly not stored.
    Unavailable {
        /// When to try again.
        retry_ms: u32,
    },
    /// The commit's outcome is not known: the same key again finds out.
    Unconfirmed {
        /// When to try again.
        retry_ms: u32,
    },
}

/// The log could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// When to try again.
    pub retry_ms: u32,
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
    /// Answers [`Admit::Token`].
    TokenChecked {
        /// Whom it answers.
        ticket: Ticket,
        /// Who it is.
        outcome: Result<Identity, Denied>,
    },
    /// Answers [`Admit::Address`].
    AddressChecked {
        /// Whom it answers.
        ticket: Ticket,
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
    let (answers, answers_in) = bounded(OUTSTANDING_MAX);
    let (live, live_in) = bounded(LIVE_LANE);
    let signal = Arc::new(Doorbell { waker, rung: AtomicBool::new(false), missed: AtomicBool::new(false) });
    (
        Mailbox { answers, live, signal: Arc::clone(&signal) },
        Inbox { answers: answers_in, live: live_in, signal },
    )
}

impl Mailbox {
    /// Answers a job. The place was reserved when the job was taken, so the lane is never full; if that
    /// invariant is ever broken the answer is dropped and the reactor answers at the deadline.
    pub fn answer(&self, completion: Completion) {
        let sent = self.answers.try_send(completion);
        debug_assert!(!matches!(sent, Err(TrySendError::Full(_))), "an answer without a reserved place");
    }

    /// Passes on a publication or a signal, or marks the reactor as having missed a publication.
    pub fn offer(&self, live: Live) -> Offered {
        match self.live.try_send(live) {
            Ok(()) => Offered::Taken,
            Err(TrySendError::Full(Live::Published(_))) => {
                self.signal.missed.store(true, Ordering::Release);
                Offered::Missed
            }
            Err(TrySendError::Full(Live::Signal { .. }) | TrySendError::Disconnected(_)) => Offered::Missed,
        }
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
        self.signal.rung.store(false, Ordering::Release);
        std::sync::atomic::fence(Ordering::SeqCst);
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
    /// To the auth worker; `None` when auth is off and no per-address limit is set.
    pub admit: Option<Sender<Admit>>,
}
