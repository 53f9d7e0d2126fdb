//! One connection without its socket: its stage, the bytes that wait for it, and its place on the turn's lists.

use super::address_state::{AddressCount, AddressOwner};
use super::attempt_clock::AttemptClock;
use super::stall::Stall;
use super::timers::Scheduled;
use crate::admission::address_shares::ArrivalShare;
use crate::auth::party::Party;
use crate::clock::Moment;
use crate::close::CloseReason;
use crate::rate::Meter;
use crate::session::Session;
use crate::session::heartbeat::Heartbeat;
use crate::wire::frames::Decoder;
use crate::wire::hint::Hint;
use crate::wire::outbox::Outbox;
use std::net::IpAddr;

/// One connection. An idle one owns no buffer.
#[derive(Debug)]
pub struct Peer {
    pub(super) outbox: Outbox,
    pub(super) stage: Stage,
    pub(super) scheduled: Scheduled,
    /// Encrypted bytes that the shell holds because the socket did not take them.
    pub(super) sealed_bytes: u32,
    pub(super) transport: Transport,
    pub(super) reading: Reading,
    pub(super) queued: Queued,
    pub(super) listed: Listed,
    pub(super) arrival: Arrival,
    /// The lane in which it arrives.
    pub(super) share: ArrivalShare,
    pub(super) standing: Standing,
    pub(super) reason: ReasonState,
    /// The last moment at which waiting bytes made progress; `None` while none wait.
    pub(super) stalled_since: Option<Stall>,
    /// The bytes of this peer that are part of the engine's total.
    pub(super) counted_bytes: u32,
    /// The same of the total of unfinished requests and messages.
    pub(super) counted_inbound: u32,
    /// The client's address, which is not the socket's behind a trusted proxy.
    pub(super) address: IpAddr,
    pub(super) owner: AddressOwner,
    pub(super) count: AddressCount,
}

/// The layer between the engine's bytes and the socket, as the shell last reported it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Plain,
    /// A TLS handshake is not complete: no application bytes can be sent.
    Handshaking,
    /// TLS is established, and the peer expects a close_notify before the end.
    Encrypted,
    /// TLS carries nothing more: a close_notify or an alert was the last.
    Done,
}

/// How far the socket is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// On each edge.
    Open,
    /// On each edge, and to the end: the peer closed its half, or may have while nothing was read.
    Ending,
    /// Not until the outbox drains.
    Paused,
    /// Not until there is room for a producer's pieces.
    Held,
    /// The peer's half has ended.
    Ended,
    /// The peer is on the list of the dead.
    Dead,
}

/// The peer's place on the list to be flushed at the end of the turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queued {
    No,
    Dirty,
}

/// The peer's place on the list to be read. It is there at most once, or a peer that floods would be read more often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    No,
    Ready,
}

/// The progress of a handshake. Peers that are still arriving are read and written after all others, and their time is
/// measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Waits for its first head.
    Head,
    /// Upgraded, but not `connected`, and perhaps never will be.
    Upgraded,
    /// `connected`. Its first commands, mostly subscriptions, are still part of coming back.
    Settling,
    /// Served.
    In,
}

/// The place of a connection in the share of unconnected ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Part of the share.
    Stranger,
    /// Has been `connected`, or serves an echo, which an operator turned on.
    Known,
}

/// The reason that a session's end owes its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReasonState {
    /// None, or it was counted.
    Settled,
    Owed,
}

/// The life of a connection.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "nearly all connections are WebSockets; a box would only cost")]
pub(super) enum Stage {
    /// HTTP: waits for the next head.
    Head(Box<HeadStage>),
    /// The upgrade is valid, and the auth worker counts the address.
    Address(Box<Admission>),
    WebSocket(WebSocket),
    /// Our last bytes are queued.
    Closing(Closing),
    /// Our last bytes are sent and our half is shut. Incoming bytes are discarded, so that no reset destroys the
    /// bytes that are still on their way.
    Lingering {
        until: Moment,
        bytes_left: usize,
    },
}

/// HTTP between two heads.
#[derive(Debug)]
pub(super) struct HeadStage {
    /// The part of the next head that has arrived.
    pub(super) bytes: Vec<u8>,
    /// The start of the wait for it.
    pub(super) since: Moment,
    /// The peer, by the socket or a PROXY header.
    pub(super) address: IpAddr,
    pub(super) expects: Expects,
}

/// The expected beginning of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expects {
    /// A PROXY v2 header, then a head.
    ProxyHeader,
    FirstHead,
    /// A head, or nothing any more.
    NextHead,
    /// The rest of a head that has begun.
    RestOfHead,
}

impl HeadStage {
    /// True exactly when the peer has an answer and has not begun another request.
    pub(super) fn is_idle(&self) -> bool {
        match self.expects {
            Expects::NextHead => true,
            Expects::ProxyHeader | Expects::FirstHead | Expects::RestOfHead => false,
        }
    }
}

/// A checked upgrade that waits for the count of its address.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) upgrade: CheckedUpgrade,
    pub(super) address: IpAddr,
    /// Bytes that arrived after the head.
    pub(super) rest: Vec<u8>,
}

/// The result of a checked upgrade, owned.
#[derive(Debug)]
pub(super) struct CheckedUpgrade {
    /// The 101 response.
    pub(super) response: Vec<u8>,
    pub(super) wants: Wants,
    pub(super) hint: Hint,
    /// Absent for an echo.
    pub(super) attempt: Option<AttemptClock>,
}

#[derive(Debug)]
pub(super) enum Wants {
    Chat {
        token: Option<Box<str>>,
    },
    /// Over capacity: a `bye` says when to return.
    Later {
        retry_ms: u32,
    },
    Echo,
    UnsupportedVersion,
    /// The page is of another site: a `bye` says so.
    Foreign {
        reason: CloseReason,
    },
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
    /// True exactly while a chat has not sent `connect`.
    pub(super) fn awaits_connect(&self) -> bool {
        match self {
            Role::Chat(chat) => chat.session.awaits_connect(),
            Role::Echo => false,
        }
    }

    /// The reason of a violation with the bound that applied.
    pub(super) fn explain(&self, reason: CloseReason) -> CloseReason {
        if self.awaits_connect() && matches!(reason, CloseReason::TooBig(_)) {
            CloseReason::TooBig("the bound of connect")
        } else {
            reason
        }
    }

    /// The moment at which the session answers by itself.
    pub(super) fn answer_by(&self) -> Option<Moment> {
        match self {
            Role::Chat(chat) => chat.session.answer_by(),
            Role::Echo => None,
        }
    }
}

/// A session and what the engine keeps for it.
#[derive(Debug)]
pub(super) struct Chat {
    pub(super) session: Session,
    pub(super) name: u64,
    pub(super) connect_by: Moment,
    pub(super) replays: Replays,
    /// Until the attempt to connect has an outcome.
    pub(super) attempt: Option<AttemptClock>,
    pub(super) version: super::clients::versions::VersionPlace,
}

/// The state of a session's subscriptions that are catching up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replays {
    /// All are live.
    None,
    /// Some are not, and no page is on its way.
    Stepping,
    /// Some are not, and a page is on its way.
    PageAsked,
    /// Some are not, and nothing is done for them until their one retry is due.
    Resting,
}

/// The end of a connection.
#[derive(Debug)]
pub(super) struct Closing {
    pub(super) until: Moment,
    pub(super) awaited: Awaited,
}

/// The bytes that must arrive before our half is shut.
#[derive(Debug)]
pub(super) enum Awaited {
    /// The peer's close frame.
    CloseFrame(Decoder),
    /// Nothing: it has arrived, or the peer can no longer be read.
    Nothing,
}

/// The result of writing to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// Everything is written.
    Empty,
    /// The socket takes no more.
    Blocked,
    /// The connection is broken.
    Broken,
}

impl Peer {
    pub(super) fn new(address: IpAddr, expects: Expects, transport: Transport, now: Moment) -> Peer {
        let head = HeadStage { bytes: Vec::new(), since: now, address, expects };
        Peer {
            outbox: Outbox::default(),
            stage: Stage::Head(Box::new(head)),
            scheduled: Scheduled::default(),
            sealed_bytes: 0,
            transport,
            reading: Reading::Open,
            queued: Queued::No,
            listed: Listed::No,
            arrival: Arrival::Head,
            share: ArrivalShare::Within,
            standing: Standing::Stranger,
            reason: ReasonState::Settled,
            stalled_since: None,
            counted_bytes: 0,
            counted_inbound: 0,
            address,
            owner: AddressOwner::Client,
            count: AddressCount::No,
        }
    }

    /// True exactly when an upgraded peer only waits for its next bytes: it took all it was ever given, is read, and
    /// catches up with nothing.
    pub(super) fn keeps_up(&self) -> bool {
        let at_rest = match &self.stage {
            Stage::WebSocket(websocket) => match &websocket.role {
                Role::Chat(chat) => chat.replays == Replays::None,
                Role::Echo => true,
            },
            Stage::Head(_) | Stage::Address(_) | Stage::Closing(_) | Stage::Lingering { .. } => false,
        };
        at_rest && self.stalled_since.is_none() && self.counted_bytes == 0 && self.reading != Reading::Paused
    }

    /// True exactly when there is something to write: until then the socket need not be looked at.
    pub(super) fn wants_flush(&self) -> bool {
        !self.outbox.is_empty() || self.sealed_bytes > 0
    }

    /// Bytes that wait for the socket, encrypted ones included.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.outbox.bytes() + self.sealed_bytes as usize
    }

    /// The party whose shares of the common bounds the peer uses.
    pub(super) fn party(&self) -> Party {
        match self.chat().and_then(|chat| chat.session.sharing_user()) {
            Some(user) => Party::User(user.clone()),
            None => Party::of(self.address),
        }
    }

    /// Bytes of a request or message that has begun and not ended.
    pub(super) fn inbound_bytes(&self) -> u32 {
        let bytes = match &self.stage {
            Stage::Head(head) => head.bytes.len(),
            Stage::Address(admission) => admission.rest.len(),
            Stage::WebSocket(websocket) => websocket.decoder.bytes(),
            Stage::Closing(Closing { awaited: Awaited::CloseFrame(decoder), .. }) => decoder.bytes(),
            Stage::Closing(Closing { awaited: Awaited::Nothing, .. }) | Stage::Lingering { .. } => 0,
        };
        bytes as u32
    }

    /// True exactly when a close_notify must precede the end of our half.
    pub(super) fn owes_done(&self) -> bool {
        self.transport == Transport::Encrypted
    }

    /// True exactly while the peer is upgraded and not closed: its incoming bytes may be commands.
    pub(super) fn is_upgraded(&self) -> bool {
        matches!(self.stage, Stage::WebSocket(_))
    }

    /// True exactly when the session is `connected`.
    pub(super) fn is_open(&self) -> bool {
        self.chat().is_some_and(|chat| chat.session.is_open())
    }

    /// The session of an upgraded chat.
    pub(super) fn chat(&self) -> Option<&Chat> {
        match &self.stage {
            Stage::WebSocket(WebSocket { role: Role::Chat(chat), .. }) => Some(chat),
            Stage::WebSocket(WebSocket { role: Role::Echo, .. })
            | Stage::Head(_)
            | Stage::Address(_)
            | Stage::Closing(_)
            | Stage::Lingering { .. } => None,
        }
    }

    pub(super) fn chat_mut(&mut self) -> Option<&mut Chat> {
        match self.websocket_mut() {
            Some(WebSocket { role: Role::Chat(chat), .. }) => Some(chat),
            Some(WebSocket { role: Role::Echo, .. }) | None => None,
        }
    }

    pub(super) fn websocket_mut(&mut self) -> Option<&mut WebSocket> {
        match &mut self.stage {
            Stage::WebSocket(websocket) => Some(websocket),
            Stage::Head(_) | Stage::Address(_) | Stage::Closing(_) | Stage::Lingering { .. } => None,
        }
    }

    /// Ends the connection once what is queued is sent, or at `until`. Nothing is awaited of the peer.
    pub(super) fn end(&mut self, until: Moment) {
        self.stage = Stage::Closing(Closing { until, awaited: Awaited::Nothing });
    }

    /// Panics in a debug build if the fields contradict each other.
    pub(super) fn check_invariants(&self) {
        let is_http = matches!(self.stage, Stage::Head(_) | Stage::Address(_));
        debug_assert!(
            self.transport != Transport::Plain || self.sealed_bytes == 0,
            "a plain peer with encrypted bytes: {self:?}"
        );
        debug_assert!(
            !is_http || !matches!(self.arrival, Arrival::Upgraded | Arrival::Settling),
            "an arrival ahead of its stage: {self:?}"
        );
        debug_assert!(
            self.arrival != Arrival::Settling || !self.is_upgraded() || self.is_open(),
            "settling, and not connected: {self:?}"
        );
        debug_assert!(
            !matches!(self.stage, Stage::Lingering { .. })
                || !self.wants_flush()
                || self.reading == Reading::Dead,
            "our half is shut with bytes left: {self:?}"
        );
    }
}
