//! The part that all threads of the relay have.

use super::call::RouteCalls;
use super::readings::AnswerReadings;
use crate::clock::Now;
use crate::id::ChannelName;
use crate::job::mailbox::ThreadMailboxes;
use crate::job::relay::{Fence, RelayAnswer, RelayNotice, RelayQueue, RelayWork, Routes};
use crate::job::{Append, EvidenceSender, Outlook};
use crate::metrics::relay::RelayMeters;
use crate::metrics::vitals::Vitals;
use ahash::AHashMap;
use arc_swap::{ArcSwap, ArcSwapOption};
use crossbeam_channel::{Receiver, Sender};
use parking_lot::{Condvar, Mutex};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// The senders of evidence about the dependencies of routes, by name.
pub type BackendEvidence = Vec<(Arc<str>, EvidenceSender)>;

/// The links of the relay.
pub struct RelayParts {
    /// The routes in force.
    pub routes: Arc<Routes>,
    /// The way to the store.
    pub queue: RelayQueue,
    pub notices: Receiver<RelayNotice>,
    /// For the producers of answers.
    pub mailboxes: Arc<ThreadMailboxes>,
    /// For publications of responses.
    pub appends: Sender<Append>,
    /// The known state of the backends: one that is down is not called.
    pub outlook: Arc<Outlook>,
    /// Where results of calls are reported, by the name of the dependency. A reload replaces it.
    pub evidence: Arc<ArcSwap<BackendEvidence>>,
    /// The meters of the routes in force.
    pub meters: Arc<RelayMeters>,
    /// Says when the process drains.
    pub vitals: Arc<Vitals>,
    /// The address that calls leave from; `None`: the system chooses.
    pub source: Option<IpAddr>,
    /// `streams.idle_ms`: the silence within a body.
    pub idle: Duration,
    /// `streams.life_ms`: the time of a body.
    pub life: Duration,
    /// `limits.message_bytes` as the streams have it: the data of one part of an answer.
    pub message_bytes: usize,
}

pub(super) type WallClock = Arc<dyn Fn() -> Now + Send + Sync>;

/// The ways to the store.
pub(super) struct StoreLinks {
    pub(super) queue: RelayQueue,
    pub(super) appends: Sender<Append>,
}

pub(super) struct RelayShared {
    pub(super) routes: Arc<Routes>,
    /// `None` once the relay has stopped, so that a call which goes on does not keep the store.
    pub(super) links: ArcSwapOption<StoreLinks>,
    pub(super) mailboxes: Arc<ThreadMailboxes>,
    pub(super) outlook: Arc<Outlook>,
    pub(super) evidence: Arc<ArcSwap<BackendEvidence>>,
    pub(super) meters: Arc<RelayMeters>,
    pub(super) vitals: Arc<Vitals>,
    pub(super) idle: Duration,
    pub(super) life: Duration,
    pub(super) message_bytes: usize,
    pub(super) clock: WallClock,
    /// The claims of this process. At most one for each seat of a route.
    pub(super) claims: Mutex<AHashMap<ChannelName, Fence>>,
    pub(super) readings: AnswerReadings,
    /// The clients for calls, with kept connections.
    pub(super) calls: RouteCalls,
    mode: AtomicU8,
    /// Wakes threads that pause.
    pauses: (Mutex<()>, Condvar),
}

/// The life of the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mode {
    Running,
    /// No request begins.
    Draining,
    /// Requests and responses in progress are to end.
    Stopping,
}

impl RelayShared {
    pub(super) fn new(parts: RelayParts, clock: WallClock) -> (Arc<RelayShared>, Receiver<RelayNotice>) {
        let RelayParts {
            routes,
            queue,
            notices,
            mailboxes,
            appends,
            outlook,
            evidence,
            meters,
            vitals,
            source,
            idle,
            life,
            message_bytes,
        } = parts;
        let shared = RelayShared {
            routes,
            links: ArcSwapOption::from_pointee(StoreLinks { queue, appends }),
            mailboxes,
            outlook,
            evidence,
            meters,
            vitals,
            idle,
            life,
            message_bytes,
            clock,
            claims: Mutex::default(),
            readings: AnswerReadings::default(),
            calls: RouteCalls::new(source),
            mode: AtomicU8::new(Mode::Running as u8),
            pauses: Default::default(),
        };
        (Arc::new(shared), notices)
    }

    pub(super) fn now(&self) -> Now {
        (self.clock)()
    }

    /// True from this step of its life on.
    pub(super) fn is(&self, mode: Mode) -> bool {
        self.mode.load(Ordering::Acquire) >= mode as u8
    }

    /// Goes on to a later step of its life.
    pub(super) fn enter(&self, mode: Mode) {
        self.mode.fetch_max(mode as u8, Ordering::AcqRel);
        drop(self.pauses.0.lock());
        self.pauses.1.notify_all();
    }

    /// Waits, but not while the relay stops.
    pub(super) fn pause(&self, wait: Duration) {
        let mut pause = self.pauses.0.lock();
        if !self.is(Mode::Stopping) {
            self.pauses.1.wait_for(&mut pause, wait);
        }
    }

    /// Asks the store, and waits for the answer.
    pub(super) fn ask(&self, work: RelayWork, timeout: Duration) -> RelayAnswer {
        let links = self.links.load_full();
        links.map_or(RelayAnswer::Unavailable, |links| links.queue.call(work, timeout))
    }

    /// The sender of evidence about a dependency.
    pub(super) fn evidence(&self, dependency: Option<&str>) -> Option<EvidenceSender> {
        let name = dependency?;
        let all = self.evidence.load();
        all.iter().find(|(known, _)| **known == *name).map(|(_, sender)| sender.clone())
    }
}

impl fmt::Debug for RelayShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayShared").finish_non_exhaustive()
    }
}
