//! The bus over Redis: what is published on one instance reaches the subscribers on the others.
//!
//! It carries speed only. What it loses, doubles or brings late is seen by the hub's cursors and filled in from the store. `bus-send`
//! publishes what the store committed, and signals; `bus-receive` is subscribed to one channel of Redis for each channel that has
//! subscribers here. While it does not deliver, this instance looks at where the logs stand, once a second, and tells its users.
//!
//! | Redis channel | carries |
//! |---|---|
//! | `PREFIX:c:CHANNEL` | publications and signals of one channel |
//! | `PREFIX:canary` | each instance's canary, every two seconds |

mod follow;
mod monitor;
mod receive;
mod redial;
mod send;
mod survey;

pub use monitor::Monitor;

use crate::job::bus::BusInbox;
use crate::job::{Mailbox, Read, Witness};
use crate::metrics::bus::BusCounters;
use crate::wire::envelope::Origin;
use crate::worker::probe::target::Target;
use crossbeam_channel::Sender;
use receive::{Ends, Receiver};
use send::Speaker;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// From the first packet to a connection that is ready. It is short, since the logs are looked at between two tries.
const DIAL_TIMEOUT: Duration = Duration::from_millis(500);
/// Of what is said, and of the answers to it.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two tries to connect, at first and at most; each that fails doubles it. It is short: the store stands in meanwhile.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_millis(800);

/// What the bus needs to know.
#[derive(Clone, Debug)]
pub struct BusConfig {
    /// The Redis.
    pub target: Target,
    /// Begins the names of its channels: one for each system that shares a Redis.
    pub prefix: Arc<str>,
    /// This process.
    pub origin: Origin,
    /// Where to tell what is met with it.
    pub witness: Option<Witness>,
    /// Where what is known of delivery is kept.
    pub monitor: Arc<Monitor>,
    /// What is counted.
    pub counters: Arc<BusCounters>,
}

/// A bus whose threads run.
#[derive(Debug)]
pub struct Running {
    bell: Arc<crate::job::bus::Bell>,
    stopping: Arc<AtomicBool>,
    receive: JoinHandle<()>,
    send: JoinHandle<()>,
}

/// A bus that listens no longer, and sends what is still committed.
#[derive(Debug)]
pub struct Ending(JoinHandle<()>);

/// Starts `bus-send`, which ends when all who publish are gone, and `bus-receive`. `reads` leads to the store's readers.
pub fn start(
    config: BusConfig,
    inbox: BusInbox,
    mailboxes: Arc<[Mailbox]>,
    reads: Sender<Read>,
) -> io::Result<Running> {
    let BusInbox { publications, signals, canaries, interests, bell, dropped, hurried } = inbox;
    let stopping = Arc::new(AtomicBool::new(false));
    let speaker = Speaker::new(config.clone(), publications, signals, canaries, dropped);
    let send = Builder::new().name("bus-send".into()).spawn(move || speaker.run())?;
    let ends = Ends { interests, bell: Arc::clone(&bell), hurried, mailboxes, reads };
    let (receiver, ending) = (Receiver::new(config, ends), Arc::clone(&stopping));
    let receive = Builder::new().name("bus-receive".into()).spawn(move || receiver.run(&ending))?;
    Ok(Running { bell, stopping, receive, send })
}

impl Running {
    /// Stops listening, and lets go of the store's readers.
    pub fn stop_listening(self) -> Ending {
        self.stopping.store(true, Ordering::Release);
        self.bell.ring();
        if self.receive.join().is_err() {
            tracing::error!("the bus's receiving thread panicked");
        }
        Ending(self.send)
    }
}

impl Ending {
    /// Waits until what was committed is sent. Call it when the store has ended.
    pub fn join(self) {
        if self.0.join().is_err() {
            tracing::error!("the bus's sending thread panicked");
        }
    }
}

/// `PREFIX:c:`, before a channel's name.
fn channel_prefix(prefix: &str) -> String {
    format!("{prefix}:c:")
}

fn canary_channel(prefix: &str) -> String {
    format!("{prefix}:canary")
}

fn jittered(length: Duration) -> Duration {
    length.mul_f64(0.8 + 0.4 * fastrand::f64())
}

#[allow(clippy::disallowed_methods, reason = "workers own the time of their own waits")]
fn monotonic() -> Instant {
    Instant::now()
}
