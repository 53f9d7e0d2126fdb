//! Events of connections on rosters, as reactors report them.

use crate::id::{ChannelName, PresenceState, ReactorId, UserName};
use crate::wire::command::WatchDetail;
use std::sync::Arc;

/// The number of a [`RosterEvent::Watch`] of a reactor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatchNumber(pub u32);

impl WatchNumber {
    #[must_use]
    pub const fn next(self) -> WatchNumber {
        WatchNumber(self.0.wrapping_add(1))
    }
}

/// The part of a user that watchers see, shared by all rosters that a connection is on.
#[derive(Debug, PartialEq, Eq)]
pub struct Shown {
    pub user: UserName,
    /// The claim `info` of the token, as JSON.
    pub info: Option<Arc<str>>,
}

/// A connection: its name, which no other has, and its reactor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    pub name: u64,
    pub reactor: ReactorId,
}

/// The way in which a connection left a roster, which decides how long its user is still shown there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// The client said so: `absent`, `unsubscribe`, or a close with 1000. A second, so that a page that is loaded again stays.
    Deliberate,
    /// The connection was lost. `presence.grace_ms`, so that a client that comes back stays.
    Lost,
    /// The token ended, or grants the roster no more. Not at all.
    Ended,
}

impl Departure {
    /// The departure of a session that ended with this close code.
    pub const fn by_code(code: u16) -> Departure {
        match code {
            1000 => Departure::Deliberate,
            4403 | 4501 | 4503 => Departure::Ended,
            _ => Departure::Lost,
        }
    }
}

/// An event of one connection or one reactor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RosterEvent {
    /// The connection is on the roster, in this state. Repeated with another state, or as the answer to a recount.
    Present {
        channel: ChannelName,
        connection: ConnectionId,
        shown: Arc<Shown>,
        state: Option<PresenceState>,
    },
    /// The connection is not on the roster any more.
    Absent { channel: ChannelName, connection: ConnectionId, user: UserName, departure: Departure },
    /// The reactor has watchers of the roster, and some of them wait for a snapshot, which names this number.
    Watch { channel: ChannelName, reactor: ReactorId, detail: WatchDetail, number: WatchNumber },
    /// The reactor has no watchers of this kind any more.
    Unwatch { channel: ChannelName, reactor: ReactorId, detail: WatchDetail },
    /// The reactor repeats everything that it holds, because an event of it was lost. Those before this one were not repeated.
    Recounting { reactor: ReactorId },
    /// The reactor has repeated everything since [`Recounting`](RosterEvent::Recounting), and no event of it was lost meanwhile. It goes
    /// on to repeat what it watches.
    Recounted { reactor: ReactorId },
}
