//! The queues and flags that the bus's receiving thread shares with other threads.

use crate::follow::routing::FollowedChannel;
use crate::follow::slot_map::NodeAddress;
use crate::job::bus::{Bell, Interest, SharedKey};
use crate::job::orders::OrderBoard;
use crate::job::stream::StreamWork;
use crate::job::{Mailbox, Read};
use crate::wire::slot::Partition;
use crossbeam_channel::{Receiver, Sender};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The queues of the store.
pub struct StoreQueues {
    /// To its readers.
    pub reads: Sender<Read>,
    /// To the owners of streams.
    pub streams: Sender<StreamWork>,
}

/// The receiving thread's ends of what it shares.
pub(super) struct Ends {
    pub(super) interests: InterestSource,
    /// Wakes the thread when there is an interest.
    pub(super) waker: Arc<Bell>,
    /// Set while a canary should come sooner than usual.
    pub(super) hurried: Arc<AtomicBool>,
    /// To the reactors.
    pub(super) mailboxes: Arc<[Mailbox]>,
    /// To the store's readers.
    pub(super) reads: Sender<Read>,
    /// To the owners of streams.
    pub(super) streams: Sender<StreamWork>,
    /// Until the store has given it, nothing is believed.
    pub(super) key: SharedKey,
    /// Takes the orders of other instances.
    pub(super) board: Arc<OrderBoard>,
    /// To the routes of a cluster; `None` on a single server.
    pub(super) routes: Option<RouteSender>,
}

impl Ends {
    /// The server is lost, or ended a subscription: its slots may have another master.
    pub(super) fn ask_for_slots(&self) {
        if let Some(routes) = &self.routes {
            routes.ask();
        }
    }

    /// The server said which master has the slots.
    pub(super) fn hint(&self, hint: RouteHint) {
        if let Some(routes) = &self.routes {
            routes.hint(hint);
        }
    }
}

/// The origin of the channels to follow or leave.
pub(super) enum InterestSource {
    /// The reactors themselves.
    Reactors(Receiver<Interest>),
    /// The routes of a cluster.
    Routes(Receiver<RoutedInterest>),
}

impl InterestSource {
    /// Takes at most this number of interests.
    pub(super) fn take(&self, most: usize) -> Vec<RoutedInterest> {
        match self {
            InterestSource::Reactors(interests) => {
                interests.try_iter().take(most).map(RoutedInterest::Of).collect()
            }
            InterestSource::Routes(interests) => interests.try_iter().take(most).collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            InterestSource::Reactors(interests) => interests.is_empty(),
            InterestSource::Routes(interests) => interests.is_empty(),
        }
    }
}

/// An interest at one link.
#[derive(Debug)]
pub(super) enum RoutedInterest {
    /// That of a reactor.
    Of(Interest),
    /// Another link serves these partitions.
    Forget(Vec<Partition>),
    /// This link serves these channels, which another one did.
    Adopt(Vec<FollowedChannel>),
}

/// The master of a partition, as the former one says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RouteHint {
    pub(super) partition: Partition,
    pub(super) to: NodeAddress,
}

/// Tells the routes of a cluster about moved slots. What does not fit is dropped: the slots are read regularly.
#[derive(Clone, Debug)]
pub(super) struct RouteSender {
    pub(super) hints: Sender<RouteHint>,
    pub(super) asks: Sender<()>,
}

impl RouteSender {
    pub(super) fn ask(&self) {
        let _ = self.asks.try_send(());
    }

    pub(super) fn hint(&self, hint: RouteHint) {
        let _ = self.hints.try_send(hint);
    }
}
