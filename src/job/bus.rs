//! What the reactors and the store give to the bus, and what it needs to know of them.
//!
//! Nobody waits for the bus: what does not fit is dropped. Publications among it are counted, and the log makes up for them.

use super::Ticket;
use crate::health::capacity::Depth;
use crate::health::delivery::Seen;
use crate::id::ChannelName;
use crate::limits::{BUS_INTERESTS, BUS_PUBLICATIONS, BUS_SIGNALS};
use crate::wire::publication::Published;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use rustix::event::{EventfdFlags, eventfd};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// What a reactor wants to hear.
#[derive(Debug)]
pub enum Interest {
    /// A channel; answered when the bus is subscribed to it, or does not deliver anyway.
    Follow {
        /// Whom to answer.
        ticket: Ticket,
        /// The channel.
        channel: ChannelName,
    },
    /// It has no subscriber of the channel any more.
    Leave {
        /// The channel.
        channel: ChannelName,
    },
}

/// A canary that was committed to the store.
#[derive(Debug)]
pub struct Committed {
    /// Counts them.
    pub number: u64,
    /// The other instances that live, as the store has it.
    pub seen: Vec<Seen>,
}

/// A signal on its way: its channel, and a complete frame.
pub type SignalFrame = (ChannelName, Arc<[u8]>);

/// A canary on its way to the reactors of this process: each counts itself off.
#[derive(Debug)]
pub struct Canary {
    number: u64,
    left: AtomicUsize,
}

impl Canary {
    /// For so many reactors.
    pub fn new(number: u64, reactors: usize) -> Canary {
        Canary { number, left: AtomicUsize::new(reactors) }
    }

    /// Which one it is.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// A reactor got it.
    pub fn arrive(&self) {
        self.left.fetch_sub(1, Ordering::Relaxed);
    }

    /// True exactly when all reactors got it.
    pub fn is_everywhere(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }
}

/// Channels whose logs' heads are asked for in one question.
#[derive(Debug)]
pub struct Slice {
    channels: Vec<ChannelName>,
    answered: AtomicBool,
}

impl Slice {
    /// Not answered yet.
    pub fn new(channels: Vec<ChannelName>) -> Slice {
        Slice { channels, answered: AtomicBool::new(false) }
    }

    /// Which channels.
    pub fn channels(&self) -> &[ChannelName] {
        &self.channels
    }

    /// The reactors were told.
    pub fn answer(&self) {
        self.answered.store(true, Ordering::Release);
    }

    /// True exactly when the reactors were told.
    pub fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Acquire)
    }
}

/// The way to the bus. Cloned freely.
#[derive(Clone)]
pub struct Bus {
    publications: Sender<Arc<[Published]>>,
    signals: Sender<SignalFrame>,
    canaries: Sender<Committed>,
    interests: Sender<Interest>,
    bell: Arc<Bell>,
    dropped: Arc<AtomicU64>,
    hurried: Arc<AtomicBool>,
}

/// What the bus receives.
pub struct BusInbox {
    /// Publications that were committed here, a batch of the store at a time.
    pub publications: Receiver<Arc<[Published]>>,
    /// Signals of this process's clients.
    pub signals: Receiver<SignalFrame>,
    /// Canaries that were committed here.
    pub canaries: Receiver<Committed>,
    /// What reactors want to hear.
    pub interests: Receiver<Interest>,
    /// Rings when there is an interest.
    pub bell: Arc<Bell>,
    /// Publications' messages that could not be sent.
    pub dropped: Arc<AtomicU64>,
    /// Set while a canary should come sooner than usual.
    pub hurried: Arc<AtomicBool>,
}

/// Wakes a thread that waits for a socket.
#[derive(Debug)]
pub struct Bell {
    fd: OwnedFd,
    rung: AtomicBool,
}

/// Makes the two ends of the way to the bus.
pub fn bus() -> io::Result<(Bus, BusInbox)> {
    let (publications, publications_in) = bounded(BUS_PUBLICATIONS);
    let (signals, signals_in) = bounded(BUS_SIGNALS);
    let (canaries, canaries_in) = bounded(1);
    let (interests, interests_in) = bounded(BUS_INTERESTS);
    let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let bell = Arc::new(Bell { fd, rung: AtomicBool::new(false) });
    let dropped = Arc::new(AtomicU64::new(0));
    let hurried = Arc::new(AtomicBool::new(false));
    let inbox = BusInbox {
        publications: publications_in,
        signals: signals_in,
        canaries: canaries_in,
        interests: interests_in,
        bell: Arc::clone(&bell),
        dropped: Arc::clone(&dropped),
        hurried: Arc::clone(&hurried),
    };
    Ok((Bus { publications, signals, canaries, interests, bell, dropped, hurried }, inbox))
}

impl Bus {
    /// Has the other instances' subscribers told what was committed.
    pub fn publish(&self, batch: &Arc<[Published]>) {
        if self.publications.try_send(Arc::clone(batch)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Has the other instances' subscribers told a signal. One that does not fit is lost.
    pub fn signal(&self, channel: &ChannelName, frame: &Arc<[u8]>) {
        let _ = self.signals.try_send((channel.clone(), Arc::clone(frame)));
    }

    /// Sends a canary that was committed. While one waits to be sent, no other need be.
    pub fn canary(&self, committed: Committed) {
        let _ = self.canaries.try_send(committed);
    }

    /// How full its queues are. What does not fit there is dropped: the log makes up for publications, signals may be lost.
    pub fn depths(&self) -> [Depth; 2] {
        let depth =
            |name, waiting: usize, bound: usize| Depth { name, waiting: waiting as u64, bound: bound as u64 };
        [
            depth("bus_publications", self.publications.len(), BUS_PUBLICATIONS),
            depth("bus_signals", self.signals.len(), BUS_SIGNALS),
        ]
    }

    /// True while the bus waits for a canary to show that it delivers again.
    pub fn is_hurried(&self) -> bool {
        self.hurried.load(Ordering::Relaxed)
    }

    /// Asks for a channel's messages; gives the question back when there is no room.
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
    /// Wakes who waits, once until it looks.
    pub fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // Full it cannot be: it is written once between two looks.
            let _ = rustix::io::write(&self.fd, &1_u64.to_ne_bytes());
        }
    }

    /// Says that the waiting thread is looking: it is rung again from here on. Call it before taking.
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

    #[test]
    fn a_canary_is_everywhere_when_each_reactor_has_it() {
        let canary = Canary::new(3, 2);
        canary.arrive();
        assert!(!canary.is_everywhere());
        canary.arrive();
        assert!(canary.is_everywhere());
    }

    #[test]
    fn what_the_bus_cannot_take_is_counted_or_given_back_and_nobody_waits() {
        let (bus, inbox) = bus().expect("a descriptor");
        let batch: Arc<[Published]> = Arc::from([]);
        for _ in 0..BUS_PUBLICATIONS + 3 {
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
