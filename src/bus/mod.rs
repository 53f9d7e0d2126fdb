//! The bus over Redis: publications on one instance reach the subscribers on the others.
//!
//! It provides only speed. Messages that it loses, duplicates or delays are detected by the hub's cursors and read from the
//! store. `bus-send` publishes what the store committed, and signals. `bus-receive` subscribes to one Redis channel for each
//! channel that has subscribers here. While the bus does not deliver, this instance surveys the logs once a second and notifies
//! its clients.
//!
//! | Redis channel | carries |
//! |---|---|
//! | `PREFIX:c:CHANNEL` | publications and signals of one channel |
//! | `PREFIX:canary` | each instance's canary, every two seconds |
//! | `PREFIX:orders` | orders to all instances, and the word that an instance has carried one out |

mod config;
mod ends;
mod receive;
mod redial;
mod reply;
mod send;
mod timing;

use crate::job::bus::BusInbox;
use crate::job::orders::OrderBoard;
pub use config::{BusSettings, channel_prefix};
pub use reply::BusReply;

use crate::job::{Mailbox, Read};
use crossbeam_channel::Sender;
use ends::Ends;
use receive::BusReceiver;
use send::{BusSender, SenderQueues};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

/// A bus whose threads run.
#[derive(Debug)]
pub struct RunningBus {
    waker: Arc<crate::job::bus::Bell>,
    stopping: Arc<AtomicBool>,
    receive: JoinHandle<()>,
    send: JoinHandle<()>,
}

/// A bus that no longer receives, and sends what is still being committed.
#[derive(Debug)]
pub struct EndingBus(JoinHandle<()>);

/// Starts `bus-send`, which ends when all publishers are gone, and `bus-receive`. `reads` leads to the store's readers.
pub fn start(
    config: BusSettings,
    inbox: BusInbox,
    mailboxes: Arc<[Mailbox]>,
    reads: Sender<Read>,
    board: Arc<OrderBoard>,
) -> io::Result<RunningBus> {
    let BusInbox { publications, signals, canaries, orders, interests, bell, dropped, hurried, key } = inbox;
    let stopping = Arc::new(AtomicBool::new(false));
    let sender = BusSender::new(
        config.clone(),
        SenderQueues { publications, signals, canaries, orders, dropped, key: Arc::clone(&key) },
    );
    let send = Builder::new().name("bus-send".into()).spawn(move || sender.run())?;
    let ends = Ends { interests, waker: Arc::clone(&bell), hurried, mailboxes, reads, key, board };
    let (receiver, ending) = (BusReceiver::new(config, ends), Arc::clone(&stopping));
    let receive = Builder::new().name("bus-receive".into()).spawn(move || receiver.run(&ending))?;
    Ok(RunningBus { waker: bell, stopping, receive, send })
}

impl RunningBus {
    /// Stops receiving, and drops the sender to the store's readers.
    pub fn stop_listening(self) -> EndingBus {
        self.stopping.store(true, Ordering::Release);
        self.waker.ring();
        if self.receive.join().is_err() {
            tracing::error!("bus-receive panicked");
        }
        EndingBus(self.send)
    }
}

impl EndingBus {
    /// Waits until everything committed is sent. Call it after the store has ended.
    pub fn join(self) {
        if self.0.join().is_err() {
            tracing::error!("bus-send panicked");
        }
    }
}
