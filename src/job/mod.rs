//! The values that cross threads: jobs to the workers, completions and broadcasts back. [`lane`] has the queues between them.

pub mod admin;
pub mod bus;
pub mod delivery;
pub mod lane;
pub mod probing;
pub mod wake;

pub use lane::{Inbox, Mailbox, Offered, Outlook, Queues, SnapshotReader, Witness, inbox};

use crate::id::{ChannelName, Key, Offset, ReactorId, UserName};
pub use crate::session::outcome::*;
use crate::wire::publication::Published;
use crate::wire::push::LogPosition;
use std::net::IpAddr;
use std::sync::Arc;

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
