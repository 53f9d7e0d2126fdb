//! The thread's side of its mailbox.

use super::pace::PaceVerdict;
use super::{
    DETACH_TIMEOUT, ITEMS_MANY, MailboxItem, OpenTicket, PRODUCERS, SEND_AGAIN, TICKETS_MAX, TextWindow,
    ThreadEnd, ThreadProducer, TicketOf, Unsent, now, producer_id,
};
use crate::id::{ProducerId, UserName};
use crate::job::Ticket;
use crate::job::places::TakenPlaces;
use crate::job::stream::{ProducerNotice, StreamJob, StreamOrder, StreamQueue, StreamWork};
use crate::wire::stream::{Generation, Piece, StreamId};
use std::collections::VecDeque;
use std::time::Instant;

impl ThreadProducer {
    /// The producer of the streams that it begins and appends to.
    pub fn id(&self) -> ProducerId {
        producer_id(self.number)
    }

    /// Ends, and leaves its streams to a producer that goes on with them: they are not paused.
    pub fn leave(mut self) {
        self.departure = ThreadEnd::Proper;
    }

    /// A ticket for a command about a stream, or for a read. `None` if too many are not answered.
    pub fn ticket(&self) -> Option<Ticket> {
        self.take_ticket(TicketOf::Command)
    }

    /// A ticket for an append, whose places are held until it is answered, even if this thread ends before.
    pub fn append_ticket(&self, places: Option<TakenPlaces>) -> Option<Ticket> {
        self.take_ticket(TicketOf::Append(places))
    }

    fn take_ticket(&self, of: TicketOf) -> Option<Ticket> {
        let mut inner = self.mailbox.inner.lock();
        if inner.tickets.len() >= TICKETS_MAX {
            return None;
        }
        loop {
            inner.last_ticket = inner.last_ticket.wrapping_add(1);
            let number = inner.last_ticket;
            if inner.tickets.iter().all(|open| open.number != number) {
                inner.tickets.push(OpenTicket { number, of });
                let request = self.number << 16 | u64::from(number);
                return Some(Ticket { reactor: PRODUCERS, request });
            }
        }
    }

    /// Takes back the ticket of a job that was not sent.
    pub fn withdraw(&self, ticket: Ticket) {
        self.mailbox.inner.lock().tickets.retain(|open| open.number != ticket.request as u16);
    }

    /// Sends work about a stream, unless something is full.
    #[allow(clippy::result_large_err, reason = "work comes back seldom, and a box would cost each piece")]
    pub fn try_send(&self, work: StreamWork) -> Result<(), Unsent> {
        let Some(paced) = self.mailboxes.queue.load_full() else { return Err(Unsent::Ends) };
        let bytes = work.bytes();
        let stream = match &work {
            StreamWork::Job(job) if bytes > 0 => {
                Some((job.id.clone(), job.user.clone(), job.order.generation()))
            }
            StreamWork::Job(_)
            | StreamWork::Detach { .. }
            | StreamWork::Leave { .. }
            | StreamWork::Hint { .. } => None,
        };
        let Some((id, user, generation)) = stream else {
            return match self.is_full() {
                true => Err(Unsent::Full(work)),
                false => paced.queue.send_of_thread(work).map_err(Unsent::Full),
            };
        };
        let verdict = match self.is_full() {
            true => PaceVerdict::Wait,
            false => self.mailbox.inner.lock().pace.judge(&id, bytes, paced.window),
        };
        match verdict {
            PaceVerdict::Wait => return Err(Unsent::Full(work)),
            PaceVerdict::Send => paced.queue.send_of_thread(work).map_err(Unsent::Full)?,
            PaceVerdict::Ask => {
                self.ask(&paced.queue, &id, user, generation);
                return Err(Unsent::Full(work));
            }
        }
        self.mailbox.inner.lock().pace.sent(&id, bytes);
        Ok(())
    }

    /// Asks if everything that was sent to a stream is committed: a sign of life with a ticket is answered then.
    /// It names the generation of the piece that waits, because an answer takes nothing without one.
    fn ask(&self, queue: &StreamQueue, id: &StreamId, user: UserName, generation: Option<Generation>) {
        let Some(ticket) = self.ticket() else { return };
        let order = StreamOrder::Append { generation, at: None, piece: Piece::Alive };
        let job = StreamJob { producer: self.id(), ticket: Some(ticket), id: id.clone(), user, order };
        // Before it is sent, because the answer may come at once.
        self.mailbox.inner.lock().pace.asked(id, ticket.request as u16);
        if queue.send_of_thread(StreamWork::Job(job)).is_err() {
            let mut inner = self.mailbox.inner.lock();
            inner.pace.withdraw(ticket.request as u16);
            inner.tickets.retain(|open| open.number != ticket.request as u16);
        }
    }

    fn is_full(&self) -> bool {
        let inner = self.mailbox.inner.lock();
        inner.window == TextWindow::Full || inner.items.len() >= ITEMS_MANY
    }

    /// True while a window of its streams is full, or much waits to be received: something comes when that ends.
    pub fn is_held(&self) -> bool {
        self.is_full() || self.mailbox.inner.lock().pace.is_waiting()
    }

    /// Sends work about a stream. Waits until the deadline while something is full, but not while much waits to be received.
    #[allow(clippy::result_large_err, reason = "work comes back seldom, and a box would cost each piece")]
    pub fn send(&self, mut work: StreamWork, deadline: Instant) -> Result<(), Unsent> {
        loop {
            work = match self.try_send(work) {
                Err(Unsent::Full(work)) => work,
                sent_or_ends => return sent_or_ends,
            };
            let mut inner = self.mailbox.inner.lock();
            let now = now();
            if self.mailboxes.has_stopped() {
                return Err(Unsent::Ends);
            }
            if now >= deadline || inner.items.len() >= ITEMS_MANY {
                return Err(Unsent::Full(work));
            }
            let until = match inner.window {
                TextWindow::Full => deadline,
                TextWindow::Open if inner.pace.is_waiting() => deadline,
                TextWindow::Open => deadline.min(now + SEND_AGAIN),
            };
            self.mailbox.changed.wait_until(&mut inner, until);
        }
    }

    /// True if the process ends, so nothing is answered any more.
    pub fn has_ended(&self) -> bool {
        self.mailboxes.has_stopped()
    }

    /// True if a refusal or a cancel waits: no more is to be sent to a stream.
    pub fn is_stopped(&self) -> bool {
        let stops = |item: &MailboxItem| match item {
            MailboxItem::Notice(ProducerNotice::Refused { .. } | ProducerNotice::Cancel { .. }) => true,
            MailboxItem::Notice(_) | MailboxItem::Outcome { .. } | MailboxItem::Answer { .. } => false,
        };
        self.mailbox.inner.lock().items.iter().any(stops)
    }

    /// The next item, if there is one.
    pub fn try_receive(&self) -> Option<MailboxItem> {
        self.mailbox.inner.lock().items.pop_front()
    }

    /// The next item; `None` if none comes until the deadline, or the process ends.
    pub fn receive(&self, deadline: Instant) -> Option<MailboxItem> {
        let mut inner = self.mailbox.inner.lock();
        loop {
            if let Some(item) = inner.items.pop_front() {
                return Some(item);
            }
            if self.mailboxes.has_stopped()
                || self.mailbox.changed.wait_until(&mut inner, deadline).timed_out()
            {
                return inner.items.pop_front();
            }
        }
    }
}

impl Drop for ThreadProducer {
    fn drop(&mut self) {
        let ended = now();
        let mut inner = self.mailbox.inner.lock();
        inner.closed = Some(ended);
        inner.items = VecDeque::new();
        inner.tickets.retain(|open| matches!(open.of, TicketOf::Append(_)));
        let is_over = inner.tickets.is_empty();
        drop(inner);
        if is_over {
            self.mailboxes.boxes.lock().remove(&self.number);
        }
        self.mailboxes.forget_lost(ended);
        let producer = self.id();
        let mut work = match self.departure {
            ThreadEnd::Lost => StreamWork::Detach { producer },
            ThreadEnd::Proper => StreamWork::Leave { producer },
        };
        while let Some(queue) = self.mailboxes.queue.load_full()
            && let Err(unsent) = queue.queue.send(work)
            && now() < ended + DETACH_TIMEOUT
        {
            work = unsent;
            std::thread::park_timeout(SEND_AGAIN);
        }
    }
}
