//! The bus over Redis: publications on one instance reach the subscribers on the others.
//!
//! It provides only speed. Messages that it loses, duplicates or delays are detected by the hub's cursors and read from the
//! store. `bus-send` publishes what the store committed, and signals. `bus-receive` subscribes to one Redis channel for each
//! channel that has subscribers here. While the bus does not deliver, this instance surveys the logs once a second and notifies
//! its clients.
//!
//! | Redis channel | on a cluster | carries |
//! |---|---|---|
//! | `PREFIX:c:CHANNEL` | `PREFIX:{TAG}:c:CHANNEL` | publications, signals and open streams of one channel |
//! | `PREFIX:canary` | `PREFIX:{TAG}:canary` for each master | each instance's canary, every two seconds |
//! | `PREFIX:orders` | `PREFIX:{460}:orders` | orders to all instances, the word that an instance has carried one out, and hints to look at a stream |

mod cluster;
mod config;
mod ends;
mod forward;
mod outgoing;
mod receive;
mod redial;
mod reply;
mod running;
mod send;
mod timing;
mod topics;

use crate::job::bus::BusInbox;
use crate::job::orders::OrderBoard;
pub use config::BusSettings;
pub use ends::StoreQueues;
pub use reply::BusReply;
pub use running::{EndingBus, RunningBus};

use crate::job::Mailbox;
use config::LinkSettings;
use ends::{Ends, InterestSource};
use forward::Forwards;
use receive::BusReceiver;
use send::{BusSender, SenderQueues};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::Builder;

/// Starts `bus-send`, which ends when all publishers are gone, and `bus-receive`.
pub fn start(
    config: BusSettings,
    inbox: BusInbox,
    mailboxes: Arc<[Mailbox]>,
    store: StoreQueues,
    board: Arc<OrderBoard>,
) -> io::Result<RunningBus> {
    if config.target.is_cluster() {
        return cluster::start(config, inbox, mailboxes, store, board);
    }
    let config = LinkSettings::whole(config);
    let BusInbox { batches, signals, canaries, notes, interests, bell, dropped, hurried, key } = inbox;
    let stopping = Arc::new(AtomicBool::new(false));
    let forwards = Forwards::none();
    let sender = BusSender::new(
        config.clone(),
        SenderQueues { batches, signals, canaries, notes, dropped, key: Arc::clone(&key), forwards },
    );
    let send = Builder::new().name("bus-send".into()).spawn(move || sender.run())?;
    let (interests, routes) = (InterestSource::Reactors(interests), None);
    let StoreQueues { reads, streams } = store;
    let ends =
        Ends { interests, waker: Arc::clone(&bell), hurried, mailboxes, reads, streams, key, board, routes };
    let (receiver, ending) = (BusReceiver::new(config, ends), Arc::clone(&stopping));
    let receive = Builder::new().name("bus-receive".into()).spawn(move || receiver.run(&ending))?;
    Ok(RunningBus { waker: bell, stopping, receive, send })
}
