//! The bus over a Redis Cluster: a pair of threads for each master, like those of a single server, and three that divide the work.
//!
//! | thread | does |
//! |---|---|
//! | `bus-slots` | reads which master has which slots |
//! | `bus-route` | starts and ends the pairs, and sends each interest of a reactor to the pair of its partition |
//! | `bus-send` | divides what is published here among the pairs |
//! | `bus-send-N`, `bus-receive-N` | one connection each to one master |
//!
//! Each pair judges delivery by its own canaries and surveys its own channels, so a master that is slow, silent or dead takes instant
//! delivery from its partitions alone, and no thread of another one waits for it.

mod divide;
mod links;
mod routes;
mod send;
mod slots;
mod verdict;

use super::config::BusSettings;
use super::ends::{RouteSender, StoreQueues};
use super::running::RunningBus;
use crate::job::Mailbox;
use crate::job::bus::BusInbox;
use crate::job::orders::OrderBoard;
use arc_swap::ArcSwap;
use crossbeam_channel::bounded;
use links::{LinkParts, SendRoutes, SenderThreads};
use routes::RouteWorker;
use send::SendRouter;
use slots::SlotWorker;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::Builder;

/// Hints of moved slots that wait to be used.
const HINTS: usize = 256;
/// Commands that wait for the master to which their slots moved.
const FORWARDED: usize = 1_024;

/// Starts the threads. Those of the masters start when the slots are known.
pub(super) fn start(
    settings: BusSettings,
    inbox: BusInbox,
    mailboxes: Arc<[Mailbox]>,
    store: StoreQueues,
    board: Arc<OrderBoard>,
) -> io::Result<RunningBus> {
    let BusInbox { batches, signals, canaries, notes, interests, bell, dropped, hurried, key } = inbox;
    let (hints, hints_in) = bounded(HINTS);
    let (asks, asks_in) = bounded(1);
    let (maps, maps_in) = bounded(1);
    let (forwarded, forwarded_in) = bounded(FORWARDED);
    let (alive, over) = bounded(0);
    let stopping = Arc::new(AtomicBool::new(false));
    let routes = Arc::new(ArcSwap::from_pointee(SendRoutes::default()));
    let senders = SenderThreads::default();
    let reader = SlotWorker::new(settings.target.clone(), asks_in, maps);
    let reader = Builder::new().name("bus-slots".into()).spawn(move || reader.run(&over))?;
    let parts = LinkParts {
        settings,
        mailboxes,
        store,
        board,
        key,
        forwarded,
        routes: RouteSender { hints, asks },
        senders: Arc::clone(&senders),
    };
    let worker = RouteWorker::new(parts, interests, Arc::clone(&routes), (dropped, hurried));
    let ending = Arc::clone(&stopping);
    let receive = Builder::new().name("bus-route".into()).spawn(move || {
        worker.run(&ending, &maps_in, &hints_in);
        // The reader may wait for room for a map.
        drop((alive, maps_in));
        if reader.join().is_err() {
            tracing::error!("bus-slots panicked");
        }
    })?;
    let router = SendRouter { batches, signals, canaries, notes, forwarded: forwarded_in, routes, senders };
    let send = Builder::new().name("bus-send".into()).spawn(move || router.run())?;
    Ok(RunningBus { waker: bell, stopping, receive, send })
}
