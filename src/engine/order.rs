//! The engine's output for its shell: jobs for the workers, orders for single sockets, and notices for the log.

use super::slots::SlotId;
use crate::close::CloseReason;
use crate::id::{ChannelName, UserName};
use crate::job::bus::Interest;
use crate::job::client_errors::ReportJob;
use crate::job::presence::PresenceJob;
use crate::job::stream::StreamWork;
use crate::job::{Append, AuthJob, Read};
use crate::wire::proxy::ProxyFault;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

/// Work for a worker or another reactor.
///
/// The shell sends jobs in their order. A job that does not fit goes back through
/// [`Engine::handle_refused`](super::Engine::handle_refused), so that its client still gets an answer.
#[derive(Debug)]
pub enum Job {
    /// For the store's append worker.
    Append(Append),
    /// For the store's readers.
    Read(Read),
    /// For the auth worker.
    Admit(AuthJob),
    /// For the thread that owns the rosters. If an event does not fit, the engine repeats everything.
    Presence(PresenceJob),
    /// For the thread that groups errors of applications.
    Report(Box<ReportJob>),
    /// For the thread that owns the streams. Once some was refused, the shell must refuse the later work of the same jobs, so that the
    /// commands of a producer stay in their order.
    Stream(Box<StreamWork>),
    /// For the bus. Once one interest was refused, the shell must refuse the later ones of the same jobs, or a channel that is
    /// left and followed again would end up left.
    Interest(Interest),
    /// For the bus and the other reactors; a full lane loses it.
    Signal {
        channel: ChannelName,
        /// The complete frame, the same bytes for every subscriber.
        frame: Arc<[u8]>,
    },
}

/// An order of the engine for one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Queue a TLS close_notify and report the bytes with [`Engine::handle_transport`](super::Engine::handle_transport).
    SayDone(SlotId),
    /// Shut down the writing half; everything has been sent. Report a failure with
    /// [`Engine::handle_broken`](super::Engine::handle_broken).
    Shutdown(SlotId),
}

/// An event that the shell logs or counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A connection was dropped because it did not come from a trusted proxy, or not begin with a valid PROXY header.
    ProxyHeaderRefused { fault: ProxyFault, address: IpAddr },
    /// A TLS handshake arrived at a plain listener.
    TlsOnPlain,
    /// Plain HTTP arrived at a TLS listener.
    PlainOnTls,
    /// A TLS handshake was not complete in time.
    TlsTimeout,
    /// An upgrade was refused because of the site that it came from.
    SiteRefused(Box<RefusedSite>),
    /// The bound of this setting refused a client.
    OverLimit(&'static str, Box<Subject>),
    /// A session was ended because of what its client did or lost; the text says what.
    SessionEnded(CloseReason, Box<Subject>),
}

/// The client that a notice concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// `None`: not known yet.
    pub user: Option<UserName>,
    pub address: IpAddr,
}

/// The site of a refused upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedSite {
    /// The page's origin; `None` if it is not well-formed, or if the host alone was refused.
    pub origin: Option<String>,
    /// The name and port with which the origin was compared.
    pub host: String,
    pub address: IpAddr,
    pub rule: SiteRule,
}

/// The rule that a refused site breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SiteRule {
    Origin,
    Host,
}

/// The source of publications of other instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FollowMode {
    /// There are no other instances.
    #[default]
    Alone,
    /// The bus, which must be subscribed to a channel before its log is read.
    ByBus,
}

/// The engine's output since the shell last took it, and refused jobs that it must hand out again.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) follows: FollowMode,
    /// Reads that the store's queue has room for.
    pub(super) read_room: usize,
    pub(super) jobs: Vec<Job>,
    pub(super) orders: Vec<Order>,
    pub(super) notices: Vec<Notice>,
    /// Peers whose session opened in this turn.
    pub(super) opened: Vec<SlotId>,
    /// Peers to be removed at the end of the turn.
    pub(super) dead: Vec<SlotId>,
    /// Releases that the auth worker's queue had no room for. They must not be lost; there is at most one of each kind for each
    /// connection that ended.
    pub(super) releases: Vec<AuthJob>,
    /// Channels without subscribers that the bus still follows because its queue was full.
    pub(super) unfollowing: VecDeque<ChannelName>,
}
