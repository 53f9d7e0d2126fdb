//! The queues into the bus.
//!
//! No sender waits for the bus: a message that does not fit is dropped. Dropped publications are counted, and the log makes up
//! for them.

pub use super::message::{Canary, Interest, Slice};
use super::order_log::LoggedOrder;
use crate::follow::slot_map::SlotMap;
use crate::health::capacity::Depth;
use crate::health::delivery::Seen;
use crate::id::{ChannelName, OrderId};
use crate::limits::{BUS_BATCHES, BUS_INTERESTS, BUS_NOTES, BUS_SIGNALS};
use crate::wire::envelope::BusKey;
use crate::wire::publication::Published;
use crate::wire::stream::{StreamId, StreamNews};
use arc_swap::{ArcSwap, ArcSwapOption};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use rustix::event::{EventfdFlags, eventfd};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The masters of a Redis Cluster, as the bus knows them; replaced with each reading.
pub type SharedSlots = Arc<ArcSwap<SlotMap>>;

/// A canary that was committed to the store.
#[derive(Clone, Debug)]
pub struct Committed {
    pub number: u64,
    /// The other live instances, according to the store.
    pub seen: Vec<Seen>,
}

/// A batch of what the store committed for the followers of channels.
#[derive(Clone, Debug)]
pub enum BusBatch {
    Published(Arc<[Published]>),
    /// Changes of open streams.
    Streamed(Arc<[StreamNews]>),
}

/// A message for all other instances, whatever channels they follow.
#[derive(Clone, Debug)]
pub enum InstanceNote {
    /// This instance had an order committed.
    Made {
        order: Arc<LoggedOrder>,
        /// The order before it.
        previous: OrderId,
    },
    /// This instance has carried an order out.
    Done {
        id: OrderId,
        /// The sessions that it closed here.
        closed: u64,
    },
    /// This instance changed a stream in a way that its producer must notice.
    StreamHint(StreamId),
}

/// A signal on its way: its channel, and a complete frame.
pub type SignalFrame = (ChannelName, Arc<[u8]>);

/// Sends to the bus. Cloned freely.
#[derive(Clone)]
pub struct Bus {
    batches: Sender<BusBatch>,
    signals: Sender<SignalFrame>,
    canaries: Sender<Committed>,
    notes: Sender<InstanceNote>,
    interests: Sender<Interest>,
    bell: Arc<Bell>,
    dropped: Arc<AtomicU64>,
    hurried: Arc<AtomicBool>,
    key: SharedKey,
}

/// The key of the bus's messages; empty until the store has been read.
pub type SharedKey = Arc<ArcSwapOption<BusKey>>;

/// The bus's end of its queues.
pub struct BusInbox {
    /// Publications and changes of streams that this process committed, one batch of the store at a time, in their order.
    pub batches: Receiver<BusBatch>,
    /// Signals of this process's clients.
    pub signals: Receiver<SignalFrame>,
    /// Canaries that this process committed.
    pub canaries: Receiver<Committed>,
    /// Messages of this process to all others.
    pub notes: Receiver<InstanceNote>,
    pub interests: Receiver<Interest>,
    /// Rings when an interest is sent.
    pub bell: Arc<Bell>,
    /// The number of batches that were dropped.
    pub dropped: Arc<AtomicU64>,
    /// Set while a canary should come sooner than usual.
    pub hurried: Arc<AtomicBool>,
    pub key: SharedKey,
}

/// Wakes a thread that waits for a socket.
#[derive(Debug)]
pub struct Bell {
    fd: OwnedFd,
    rung: AtomicBool,
}

/// Makes the two ends of the queues to the bus.
pub fn bus() -> io::Result<(Bus, BusInbox)> {
    let (batches, batches_in) = bounded(BUS_BATCHES);
    let (signals, signals_in) = bounded(BUS_SIGNALS);
    let (canaries, canaries_in) = bounded(1);
    let (notes, notes_in) = bounded(BUS_NOTES);
    let (interests, interests_in) = bounded(BUS_INTERESTS);
    let bell = Arc::new(Bell::new()?);
    let dropped = Arc::new(AtomicU64::new(0));
    let hurried = Arc::new(AtomicBool::new(false));
    let key = SharedKey::default();
    let inbox = BusInbox {
        batches: batches_in,
        signals: signals_in,
        canaries: canaries_in,
        notes: notes_in,
        interests: interests_in,
        bell: Arc::clone(&bell),
        dropped: Arc::clone(&dropped),
        hurried: Arc::clone(&hurried),
        key: Arc::clone(&key),
    };
    Ok((Bus { batches, signals, canaries, notes, interests, bell, dropped, hurried, key }, inbox))
}

impl Bus {
    /// Sends committed publications to the other instances' subscribers.
    pub fn publish(&self, batch: &Arc<[Published]>) {
        self.send(BusBatch::Published(Arc::clone(batch)));
    }

    /// Sends committed changes of streams to the other instances' subscribers, after what was published before.
    pub fn streamed(&self, news: &Arc<[StreamNews]>) {
        self.send(BusBatch::Streamed(Arc::clone(news)));
    }

    fn send(&self, batch: BusBatch) {
        if self.batches.try_send(batch).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends a signal to the other instances' subscribers. One that does not fit is lost.
    pub fn signal(&self, channel: &ChannelName, frame: &Arc<[u8]>) {
        let _ = self.signals.try_send((channel.clone(), Arc::clone(frame)));
    }

    /// Sends a committed canary, unless another one waits to be sent.
    pub fn canary(&self, committed: Committed) {
        let _ = self.canaries.try_send(committed);
    }

    /// Sends a message to all instances. One that does not fit is lost: the store has the same.
    pub fn note(&self, note: InstanceNote) {
        let _ = self.notes.try_send(note);
    }

    /// The depths of the queues whose overflow is dropped: the log makes up for publications, and signals may be lost.
    pub fn depths(&self) -> [Depth; 2] {
        let depth =
            |name, waiting: usize, bound: usize| Depth { name, waiting: waiting as u64, bound: bound as u64 };
        [
            depth("bus_publications", self.batches.len(), BUS_BATCHES),
            depth("bus_signals", self.signals.len(), BUS_SIGNALS),
        ]
    }

    /// Seals and opens messages with this key from now on.
    pub fn set_key(&self, key: BusKey) {
        self.key.store(Some(Arc::new(key)));
    }

    /// True while the bus waits for a canary to show that it delivers again.
    pub fn is_hurried(&self) -> bool {
        self.hurried.load(Ordering::Relaxed)
    }

    /// Sends an interest in a channel; gives it back if the queue is full.
    pub fn want(&self, interest: Interest) -> Result<(), Interest> {
        let sent = self.interests.try_send(interest).map_err(TrySendError::into_inner);
        self.bell.ring();
        sent
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus").finish_non_exhaustive()
    }
}

impl Bell {
    /// One that was not rung.
    pub fn new() -> io::Result<Bell> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Bell { fd, rung: AtomicBool::new(false) })
    }

    /// Wakes the waiting thread, at most once until it calls [`answer`](Bell::answer).
    pub fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // It cannot be full, because it is written at most once between two reads.
            let _ = rustix::io::write(&self.fd, &1_u64.to_ne_bytes());
        }
    }

    /// Clears the wake flag, so that the next interest wakes the thread. Call before draining the queue.
    pub fn answer(&self) {
        let _ = rustix::io::read(&self.fd, &mut [0_u8; 8]);
        self.rung.swap(false, Ordering::AcqRel);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ReactorId;
    use crate::job::Ticket;

    #[test]
    fn full_bus_drops_and_counts_publications_and_gives_interests_back() {
        let (bus, inbox) = bus().expect("a descriptor");
        let batch: Arc<[Published]> = Arc::from([]);
        for _ in 0..BUS_BATCHES + 3 {
            bus.publish(&batch);
        }
        assert_eq!(inbox.dropped.load(Ordering::Relaxed), 3);
        let channel = ChannelName::parse("c").expect("valid");
        let ticket = Ticket { reactor: ReactorId(0), request: 1 };
        let follow = || Interest::Follow { ticket, channel: channel.clone() };
        for _ in 0..BUS_INTERESTS {
            assert!(bus.want(follow()).is_ok());
        }
        assert!(bus.want(follow()).is_err());
    }
}
