//! Producers of streams that are threads: one reads a body and sends its commands, another the response of a backend.
//!
//! Reactors have connections, and their answers come in lanes. A thread has a mailbox for what it sent: the answers to its tickets, and
//! the notices for its streams. The owner of the streams never waits for a thread, so a mailbox has a bound: `appended` of one stream
//! merge into the newest, as do refusals into the first, and a thread with much to receive can send nothing more. Dropping the
//! [`ThreadProducer`] is the end of the connection: its streams have lost their producer.

mod log_reads;

use super::message::{Completion, Read, Ticket};
use super::places::TakenPlaces;
use super::stream::{ProducerNotice, StreamQueue, StreamWork};
use crate::id::{ProducerId, ReactorId};
use crate::job::stream::StreamOutcome;
use crate::wire::stream::StreamId;
use ahash::AHashMap;
use arc_swap::ArcSwapOption;
use crossbeam_channel::Sender;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

mod pace;
mod producer;

use pace::TextPace;

/// In the tickets and ids of these threads; no reactor has this number, and the threads that wait for calls have another.
pub const PRODUCERS: ReactorId = ReactorId(u16::MAX - 1);
/// Tickets of one producer that are not answered.
pub const TICKETS_MAX: usize = 256;
/// Items that wait for a thread, above which it can send nothing more.
const ITEMS_MANY: usize = 256;
/// Items that wait for a thread, above which notices are dropped. Each is for another stream, and only cancels and ends by others come
/// while the thread sends nothing.
const ITEMS_MAX: usize = 1_024;
/// The pause before work is offered again to a queue that was full.
const SEND_AGAIN: Duration = Duration::from_millis(1);
/// The wait of a producer that ends for room in the queue. Without it the streams end when they are silent for too long.
const DETACH_TIMEOUT: Duration = Duration::from_secs(2);
/// After this time an append without an answer is lost: its worker ended.
const LOST_AFTER: Duration = Duration::from_secs(60);

/// The mailboxes of all threads that produce streams.
#[derive(Debug, Default)]
pub struct ThreadMailboxes {
    /// `None` before the threads of the store start, and once the process ends.
    queue: ArcSwapOption<PacedQueue>,
    /// The same for reads of logs.
    reads: ArcSwapOption<Sender<Read>>,
    opened: AtomicU64,
    /// By the number in their tickets.
    boxes: Mutex<AHashMap<u64, Arc<ThreadMailbox>>>,
}

/// The queue of the streams, and the text that may be on its way to each.
#[derive(Debug)]
struct PacedQueue {
    queue: StreamQueue,
    /// `streams.window_bytes`
    window: usize,
    /// Counts notices to threads that had too many.
    dropped: Arc<AtomicU64>,
}

/// Something that came for a thread.
#[derive(Debug)]
pub enum MailboxItem {
    /// The answer to a command about a stream.
    Outcome { ticket: Ticket, outcome: StreamOutcome },
    /// The answer to another job: an append or a read.
    Answer { ticket: Ticket, completion: Completion },
    /// For a stream of the producer; never [`ProducerNotice::Pause`] or [`ProducerNotice::Resume`].
    Notice(ProducerNotice),
}

/// Work that was not sent.
#[derive(Debug)]
pub enum Unsent {
    /// The queue, the window of a stream or the mailbox is full. Receive, then send it again.
    Full(StreamWork),
    /// The process ends.
    Ends,
}

/// A thread that produces streams. Dropping it ends that.
#[derive(Debug)]
pub struct ThreadProducer {
    mailboxes: Arc<ThreadMailboxes>,
    number: u64,
    mailbox: Arc<ThreadMailbox>,
    departure: ThreadEnd,
}

/// The way in which a producer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ThreadEnd {
    /// Its streams have lost it.
    Lost,
    /// Another will go on with its streams, which have until `streams.idle_ms`.
    Proper,
}

#[derive(Debug)]
struct ThreadMailbox {
    inner: Mutex<Inner>,
    changed: Condvar,
    /// Wakes the poll of the thread, if it waits there.
    waker: Option<mio::Waker>,
}

#[derive(Debug, Default)]
struct Inner {
    items: VecDeque<MailboxItem>,
    window: TextWindow,
    pace: TextPace,
    tickets: Vec<OpenTicket>,
    last_ticket: u16,
    /// When the thread ended.
    closed: Option<Instant>,
}

/// Says if the owner of the streams takes more text of the producer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum TextWindow {
    #[default]
    Open,
    Full,
}

#[derive(Debug)]
struct OpenTicket {
    number: u16,
    of: TicketOf,
}

/// The job that a ticket is for.
#[derive(Debug)]
enum TicketOf {
    /// Nothing of it outlives the thread.
    Command,
    /// It is in a queue until it is answered, with these places.
    Append(#[allow(dead_code, reason = "freed when it is dropped")] Option<TakenPlaces>),
}

impl ThreadMailboxes {
    /// Connects the producers with the queue of the streams. `window`: `streams.window_bytes`. `dropped` counts
    /// the notices to threads that had too many.
    pub fn start(&self, queue: StreamQueue, window: usize, dropped: Arc<AtomicU64>) {
        self.queue.store(Some(Arc::new(PacedQueue { queue, window, dropped })));
    }

    /// Disconnects them, as the process ends.
    pub fn stop(&self) {
        self.queue.store(None);
        self.reads.store(None);
        self.wake_all();
    }

    /// Wakes all threads that wait for something.
    pub fn wake_all(&self) {
        for mailbox in self.boxes.lock().values() {
            // A thread that has found the queue waits by now.
            drop(mailbox.inner.lock());
            mailbox.wake();
        }
    }

    /// True after [`ThreadMailboxes::stop`].
    pub fn has_stopped(&self) -> bool {
        self.queue.load().is_none()
    }

    /// A producer for this thread, which waits in [`ThreadProducer::receive`].
    pub fn open(self: &Arc<ThreadMailboxes>) -> ThreadProducer {
        self.open_with(None)
    }

    /// A producer for this thread, which waits for a poll that the waker wakes when something came.
    pub fn open_waking(self: &Arc<ThreadMailboxes>, waker: mio::Waker) -> ThreadProducer {
        self.open_with(Some(waker))
    }

    fn open_with(self: &Arc<ThreadMailboxes>, waker: Option<mio::Waker>) -> ThreadProducer {
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let mailbox = Arc::new(ThreadMailbox { inner: Mutex::default(), changed: Condvar::new(), waker });
        self.boxes.lock().insert(number, Arc::clone(&mailbox));
        ThreadProducer { mailboxes: Arc::clone(self), number, mailbox, departure: ThreadEnd::Lost }
    }

    fn of(&self, number: u64) -> Option<Arc<ThreadMailbox>> {
        self.boxes.lock().get(&number).map(Arc::clone)
    }

    /// Takes the answer to a ticket; one that is not awaited is dropped.
    pub(super) fn answer(&self, ticket: Ticket, completion: Completion) {
        let number = ticket.request >> 16;
        let Some(mailbox) = self.of(number) else { return };
        let mut inner = mailbox.inner.lock();
        let place = inner.tickets.iter().position(|open| open.number == ticket.request as u16);
        let Some(place) = place else { return };
        inner.tickets.swap_remove(place);
        if inner.pace.answered(ticket.request as u16) {
            drop(inner);
            return mailbox.wake();
        }
        if inner.closed.is_none() {
            inner.items.push_back(match completion {
                Completion::Stream { ticket, outcome } => MailboxItem::Outcome { ticket, outcome },
                completion => MailboxItem::Answer { ticket, completion },
            });
            drop(inner);
            return mailbox.wake();
        }
        let is_over = inner.tickets.is_empty();
        drop(inner);
        if is_over {
            self.boxes.lock().remove(&number);
        }
        if let Completion::Appended { outcome: Ok(appended), .. } = completion
            && appended.stream.is_some()
            && let Some(queue) = self.queue.load_full()
        {
            // The stream began with a producer that had ended. If there is no room, it ends when it is silent for too long.
            let _ = queue.queue.send(StreamWork::Detach { producer: producer_id(number) });
        }
    }

    /// Takes a notice; one for a thread that has ended is dropped.
    pub fn notify(&self, producer: ProducerId, notice: ProducerNotice) {
        if producer.reactor != PRODUCERS {
            return;
        }
        let Some(mailbox) = self.of(producer.connection) else { return };
        let mut inner = mailbox.inner.lock();
        if inner.closed.is_some() {
            return;
        }
        match inner.take(notice) {
            MergeFate::Waits => {}
            MergeFate::Merged => return,
            MergeFate::Dropped => {
                if let Some(queue) = self.queue.load().as_ref() {
                    queue.dropped.fetch_add(1, Ordering::Relaxed);
                }
                return;
            }
        }
        drop(inner);
        mailbox.wake();
    }

    /// Forgets appends of threads that have ended which will never be answered, and with them their places in the queue.
    pub fn forget_lost(&self, now: Instant) {
        self.boxes.lock().retain(|_, mailbox| {
            let closed = mailbox.inner.lock().closed;
            closed.is_none_or(|closed| now.saturating_duration_since(closed) < LOST_AFTER)
        });
    }
}

/// The fate of a notice.
enum MergeFate {
    Waits,
    Merged,
    Dropped,
}

impl Inner {
    fn take(&mut self, notice: ProducerNotice) -> MergeFate {
        match &notice {
            ProducerNotice::Pause => self.window = TextWindow::Full,
            ProducerNotice::Resume => self.window = TextWindow::Open,
            ProducerNotice::Appended { .. }
            | ProducerNotice::Refused { .. }
            | ProducerNotice::Cancel { .. } => {
                let count = self.items.len();
                let waiting = self.items.iter_mut().find_map(|item| match item {
                    MailboxItem::Notice(known) => Some(known).filter(|known| topic(known) == topic(&notice)),
                    MailboxItem::Outcome { .. } | MailboxItem::Answer { .. } => None,
                });
                match waiting {
                    // The first refusal is the reason for those after it.
                    Some(ProducerNotice::Refused { .. }) => return MergeFate::Merged,
                    Some(known) => {
                        *known = notice;
                        return MergeFate::Merged;
                    }
                    None if count >= ITEMS_MAX => return MergeFate::Dropped,
                    None => self.items.push_back(MailboxItem::Notice(notice)),
                }
            }
        }
        MergeFate::Waits
    }
}

/// The subject of a notice: those with the same merge.
fn topic(notice: &ProducerNotice) -> Option<(u8, &StreamId)> {
    match notice {
        ProducerNotice::Appended { id, .. } => Some((0, id)),
        ProducerNotice::Refused { id, .. } => Some((1, id)),
        ProducerNotice::Cancel { id, .. } => Some((2, id)),
        ProducerNotice::Pause | ProducerNotice::Resume => None,
    }
}

impl ThreadMailbox {
    fn wake(&self) {
        self.changed.notify_one();
        if let Some(waker) = &self.waker
            && let Err(error) = waker.wake()
        {
            tracing::error!(%error, "thread could not be woken");
        }
    }
}

fn producer_id(number: u64) -> ProducerId {
    ProducerId { reactor: PRODUCERS, connection: number }
}

#[allow(clippy::disallowed_methods, reason = "threads own the time of their own waits")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests;
