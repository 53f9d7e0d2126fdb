//! One publication to all subscribers of its channel: the hub and the outboxes, with the kernel accepting everything.

use super::Path;
use super::encode::{STORED, channel};
use seawall::hub::{CatchUpStep, Hub, LogPage, Need, Paging, Slot};
use seawall::id::{Epoch, Offset};
use seawall::wire::command::StartAt;
use seawall::wire::outbox::{Arena, Offer, Outbox};
use seawall::wire::publication::{Change, Published};
use seawall::wire::push::{self, LogPosition};
use seawall::wire::stream::StreamMark;
use std::hint::black_box;
use std::sync::Arc;

const BYTES_MAX: usize = 256 << 10;

/// The parts of a connection that fan-out uses.
#[derive(Default)]
struct Subscriber {
    outbox: Outbox,
    queued: Queued,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Queued {
    #[default]
    No,
    Dirty,
}

/// Delivers `IN_FLIGHT` publications in one turn to `SUBSCRIBERS` connections.
pub struct FanOut<const SUBSCRIBERS: usize, const IN_FLIGHT: usize> {
    hub: Hub,
    subscribers: Vec<Subscriber>,
    arena: Arena,
    dirty: Vec<u32>,
    published: Published,
}

impl<const SUBSCRIBERS: usize, const IN_FLIGHT: usize> Path for FanOut<SUBSCRIBERS, IN_FLIGHT> {
    const OPERATIONS: u32 = (SUBSCRIBERS * IN_FLIGHT) as u32;

    fn prepare() -> FanOut<SUBSCRIBERS, IN_FLIGHT> {
        let name = channel("room:lobby");
        let mut hub = Hub::new(10, 1 << 20, ahash::RandomState::with_seeds(1, 2, 3, 4));
        let mut ids = Vec::with_capacity(SUBSCRIBERS);
        for slot in 0..SUBSCRIBERS {
            ids.push(hub.open(&name, Slot(slot as u32), StartAt::Now).expect("room for the channel").0);
        }
        let position = LogPosition { epoch: Epoch(1), head: Offset(0), floor: Offset(1) };
        while hub.has_needs() {
            for need in hub.take_needs() {
                match need {
                    Need::Position(id) => drop(hub.position_read(id, Some(LogPage::bare(position)))),
                    Need::Older(_) | Need::Streams(_) | Need::Fill(..) => panic!("nothing was published"),
                }
            }
        }
        for id in ids {
            assert_eq!(hub.step(id, Paging::Allowed, &mut Vec::new()), CatchUpStep::Done);
        }
        let mut frame = Vec::new();
        push::publication(&mut frame, &name, &STORED);
        let published = Published {
            channel: name,
            offset: Offset(0),
            change: Change::None,
            time_ms: 1,
            stream: StreamMark::None,
            frame: Arc::from(frame),
        };
        let mut path = FanOut {
            hub,
            subscribers: (0..SUBSCRIBERS).map(|_| Subscriber::default()).collect(),
            arena: Arena::default(),
            dirty: Vec::new(),
            published,
        };
        // Fills the tail, so that each further publication evicts one.
        for _ in 0..seawall::limits::TAIL_PUBLICATIONS_MAX {
            path.published.offset = path.published.offset.next();
            path.hub.publish(&path.published);
        }
        path.deliver();
        path.flush();
        path
    }

    fn once(&mut self) {
        for _ in 0..IN_FLIGHT {
            self.published.offset = self.published.offset.next();
            self.hub.publish(black_box(&self.published));
        }
        self.deliver();
        assert_eq!(self.flush(), SUBSCRIBERS);
    }
}

impl<const SUBSCRIBERS: usize, const IN_FLIGHT: usize> FanOut<SUBSCRIBERS, IN_FLIGHT> {
    fn deliver(&mut self) {
        while let Some(run) = self.hub.take_run() {
            for live in run.live {
                let subscriber = &mut self.subscribers[live.slot.0 as usize];
                assert_eq!(subscriber.outbox.offer(&run.bytes, BYTES_MAX), Offer::Taken);
                if subscriber.queued == Queued::No {
                    subscriber.queued = Queued::Dirty;
                    self.dirty.push(live.slot.0);
                }
            }
        }
    }

    /// Takes everything the outboxes hold, as the kernel would. Returns the number of outboxes flushed.
    fn flush(&mut self) -> usize {
        let mut flushed = 0;
        for slot in self.dirty.drain(..) {
            let subscriber = &mut self.subscribers[slot as usize];
            subscriber.queued = Queued::No;
            let taken = subscriber.outbox.single(&self.arena).map_or(0, <[u8]>::len);
            subscriber.outbox.advance(black_box(taken));
            flushed += 1;
        }
        flushed
    }
}
