//! One accepted socket and where it stands in its life.

use super::timers::Scheduled;
use super::tls::Tls;
use crate::clock::Moment;
use crate::limits::IOVECS_MAX;
use crate::rate::Meter;
use crate::session::Session;
use crate::session::heartbeat::Heartbeat;
use crate::wire::frames::Decoder;
use crate::wire::outbox::{Arena, Outbox};
use mio::net::TcpStream;
use rustix::net::{SendFlags, send};
use std::io::{self, ErrorKind, IoSlice, Write};
use std::net::IpAddr;
use std::num::NonZeroU64;

/// See the module. An idle one owns no buffer.
#[derive(Debug)]
pub struct Connection {
    pub(super) socket: TcpStream,
    /// Between the socket and all the rest; `None` where bytes are plain.
    pub(super) tls: Option<Box<Tls>>,
    pub(super) outbox: Outbox,
    pub(super) stage: Stage,
    pub(super) scheduled: Scheduled,
    pub(super) reading: Reading,
    pub(super) queued: Queued,
    pub(super) listed: Listed,
    pub(super) arrival: Arrival,
    /// When bytes that wait made progress last; `None` while none wait.
    pub(super) stalled_since: Option<Stall>,
    /// Bytes of this outbox in the reactor's total.
    pub(super) counted_bytes: u32,
    /// The address the auth worker counts, to be counted off.
    pub(super) counted_address: Option<Box<IpAddr>>,
}

/// A moment of a stall, in eight bytes where an optional [`Moment`] is sixteen: every idle connection has a place for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stall(NonZeroU64);

impl Stall {
    /// The clock's first microsecond counts as its second.
    pub(super) fn at(moment: Moment) -> Stall {
        Stall(NonZeroU64::MIN.saturating_add(moment.micros().saturating_sub(1)))
    }

    pub(super) fn moment(self) -> Moment {
        Moment::from_micros(self.0.get())
    }
}

/// Whether the socket is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// On each edge.
    Open,
    /// On each edge, and to the end: the peer closed its half, or may have while nothing was read.
    Ending,
    /// Not until the outbox drains.
    Paused,
    /// The peer's half has ended.
    Ended,
    /// The connection is on the list of the dead.
    Dead,
}

/// Whether the connection is on the list to be flushed at the end of the turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queued {
    No,
    Dirty,
}

/// Whether the connection is on the list to be read: once at most, or one that floods would be read more
/// often each turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    No,
    Ready,
}

/// How far a handshake came. Who arrives is read and written behind those who are in, and its time is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Nothing is known of it: its first head is awaited.
    Head,
    /// It was upgraded, and is not `connected` yet; or it is not going to be.
    Upgraded,
    /// It is `connected`. What it asks first, its channels mostly, is still part of coming back.
    Settling,
    /// It is served.
    In,
}

/// Where a connection stands in its life.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "nearly all connections are WebSockets; a box would only cost")]
pub(super) enum Stage {
    /// HTTP: the next head is awaited.
    Head(Box<HeadStage>),
    /// The upgrade is good, and the auth worker counts the address.
    Address(Box<Admission>),
    /// Upgraded.
    WebSocket(WebSocket),
    /// Our last bytes are queued.
    Closing(Closing),
    /// Our last bytes are sent and our half is shut: what still comes is thrown away, so that a reset does
    /// not overtake them.
    Lingering { until: Moment, bytes_left: usize },
}

/// HTTP between two heads.
#[derive(Debug)]
pub(super) struct HeadStage {
    /// What came of the next head.
    pub(super) bytes: Vec<u8>,
    /// When the wait for it began.
    pub(super) since: Moment,
    /// The peer, as the socket or a PROXY header says.
    pub(super) peer: IpAddr,
    pub(super) expects: Expects,
}

/// What is expected at the beginning of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expects {
    /// A PROXY v2 header, then a head.
    ProxyHeader,
    /// The first head.
    FirstHead,
    /// A head, or nothing any more.
    NextHead,
    /// The rest of a head that has begun.
    RestOfHead,
}

/// A checked upgrade that waits for its verdict.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) upgrade: CheckedUpgrade,
    pub(super) address: IpAddr,
    /// What came after the head.
    pub(super) rest: Vec<u8>,
}

/// What an upgrade comes to, owned.
#[derive(Debug)]
pub(super) struct CheckedUpgrade {
    /// The 101 response.
    pub(super) response: Vec<u8>,
    pub(super) wants: Wants,
}

#[derive(Debug)]
pub(super) enum Wants {
    Chat {
        token: Option<Box<str>>,
    },
    /// To be told when to come back.
    Later {
        retry_ms: u32,
    },
    Echo,
    UnsupportedVersion,
}

/// An upgraded connection.
#[derive(Debug)]
pub(super) struct WebSocket {
    pub(super) decoder: Decoder,
    pub(super) heartbeat: Heartbeat,
    pub(super) control_frames: Meter,
    pub(super) role: Role,
}

#[derive(Debug)]
pub(super) enum Role {
    Chat(Chat),
    Echo,
}

impl Role {
    /// When the session answers something by itself.
    pub(super) fn answer_by(&self) -> Option<Moment> {
        match self {
            Role::Chat(chat) => chat.session.answer_by(),
            Role::Echo => None,
        }
    }
}

/// A session and what its reactor keeps for it.
#[derive(Debug)]
pub(super) struct Chat {
    pub(super) session: Session,
    pub(super) name: u64,
    pub(super) connect_by: Moment,
    pub(super) replays: Replays,
}

/// Whether some of a session's subscriptions are catching up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replays {
    /// All are live.
    None,
    /// Some are not, and no page is on its way.
    Stepping,
    /// Some are not, and a page is on its way.
    PageAsked,
    /// Some are not, and nothing is done for them until their one retry comes.
    Resting,
}

/// The end of a connection.
#[derive(Debug)]
pub(super) struct Closing {
    pub(super) until: Moment,
    pub(super) peer: Peer,
}

/// What is awaited of the peer before our half is shut.
#[derive(Debug)]
pub(super) enum Peer {
    /// Its close frame.
    CloseFrame(Decoder),
    /// Nothing: it said it, or is not to be listened to.
    Nothing,
}

/// What became of a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    /// All is written.
    Empty,
    /// The socket takes no more.
    Blocked,
    /// The connection is broken.
    Broken,
}

impl Connection {
    pub(super) fn new(socket: TcpStream, peer: IpAddr, expects: Expects, now: Moment) -> Connection {
        let head = HeadStage { bytes: Vec::new(), since: now, peer, expects };
        Connection {
            socket,
            tls: None,
            outbox: Outbox::default(),
            stage: Stage::Head(Box::new(head)),
            scheduled: Scheduled::default(),
            reading: Reading::Open,
            queued: Queued::No,
            listed: Listed::No,
            arrival: Arrival::Head,
            stalled_since: None,
            counted_bytes: 0,
            counted_address: None,
        }
    }

    /// True exactly when nothing but the next bytes is awaited of an upgraded connection: it took all it was
    /// ever given, is read, and catches up with nothing.
    pub(super) fn keeps_up(&self) -> bool {
        let at_rest = match &self.stage {
            Stage::WebSocket(WebSocket { role: Role::Chat(chat), .. }) => chat.replays == Replays::None,
            Stage::WebSocket(WebSocket { role: Role::Echo, .. }) => true,
            Stage::Head(_) | Stage::Address(_) | Stage::Closing(_) | Stage::Lingering { .. } => false,
        };
        at_rest && self.stalled_since.is_none() && self.counted_bytes == 0 && self.reading != Reading::Paused
    }

    /// True exactly when there is something to write: until then the socket need not be looked at.
    pub(super) fn wants_flush(&self) -> bool {
        !self.outbox.is_empty() || self.tls.as_ref().is_some_and(|tls| !tls.unsent().is_empty())
    }

    /// Bytes that wait for the socket, encrypted ones among them.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.outbox.bytes() + self.tls.as_ref().map_or(0, |tls| tls.unsent().len())
    }

    pub(super) fn chat_mut(&mut self) -> Option<&mut Chat> {
        match &mut self.stage {
            Stage::WebSocket(WebSocket { role: Role::Chat(chat), .. }) => Some(chat),
            Stage::WebSocket(WebSocket { role: Role::Echo, .. })
            | Stage::Head(_)
            | Stage::Address(_)
            | Stage::Closing(_)
            | Stage::Lingering { .. } => None,
        }
    }

    /// Writes what waits until it is written or the socket takes no more; says how many bytes went.
    ///
    /// It goes on after a short write, since only a would-block makes the poll report the next room.
    pub(super) fn flush(&mut self, arena: &Arena) -> (usize, Flushed) {
        let mut total = 0;
        while !self.outbox.is_empty() {
            let written = match self.outbox.single(arena) {
                // Not through the C library: it makes each call a cancellation point, at some 40 instructions.
                Some(bytes) => send(&self.socket, bytes, SendFlags::NOSIGNAL).map_err(io::Error::from),
                None => {
                    let mut slices = [IoSlice::new(&[]); IOVECS_MAX];
                    let filled = self.outbox.fill(arena, &mut slices);
                    self.socket.write_vectored(&slices[..filled])
                }
            };
            match written {
                Ok(0) => return (total, Flushed::Broken),
                Ok(bytes) => {
                    total += bytes;
                    self.outbox.advance(bytes);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return (total, Flushed::Blocked),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return (total, Flushed::Broken),
            }
        }
        (total, Flushed::Empty)
    }
}
