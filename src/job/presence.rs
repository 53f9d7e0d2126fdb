//! The queue into the thread that owns the rosters.
//!
//! No reactor waits for that thread. An event that does not fit is dropped, and its reactor is asked again for everything that it
//! holds (a recount), so that nothing is lost for good.

use super::message::Ticket;
use crate::health::capacity::Depth;
use crate::id::ReactorId;
use crate::limits::ROSTER_EVENTS;
use crate::roster::{PageWish, RosterEvent};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long a thread waits for a page.
const PAGE_TIMEOUT: Duration = Duration::from_secs(1);

/// Work for the thread.
#[derive(Debug)]
pub enum PresenceJob {
    Event(RosterEvent),
    /// A page of a roster, as the object `presence`.
    Page {
        wish: PageWish,
        reply: PageReply,
    },
}

/// The way back of a page.
#[derive(Debug)]
pub enum PageReply {
    /// A [`Completion::Presence`](super::Completion::Presence) to a reactor.
    Reactor(Ticket),
    /// To a thread that waits.
    Thread(Sender<Arc<[u8]>>),
}

/// Sends to the thread. Cloned freely.
#[derive(Clone, Debug)]
pub struct PresenceQueue {
    jobs: Sender<PresenceJob>,
    missed: Arc<[AtomicBool]>,
}

/// The thread's end of the queue.
#[derive(Debug)]
pub struct PresenceInbox {
    pub jobs: Receiver<PresenceJob>,
    missed: Arc<[AtomicBool]>,
}

/// Makes the two ends of the queue for this many reactors.
pub fn presence(reactors: usize) -> (PresenceQueue, PresenceInbox) {
    let (jobs, jobs_in) = bounded(ROSTER_EVENTS);
    let missed: Arc<[AtomicBool]> = (0..reactors).map(|_| AtomicBool::new(false)).collect();
    (PresenceQueue { jobs, missed: Arc::clone(&missed) }, PresenceInbox { jobs: jobs_in, missed })
}

impl PresenceQueue {
    /// Sends a job of a reactor. A page that does not fit is returned; for an event, the reactor is recounted.
    pub fn send(&self, job: PresenceJob, reactor: ReactorId) -> Result<(), PresenceJob> {
        match self.jobs.try_send(job) {
            Ok(()) => Ok(()),
            Err(
                TrySendError::Full(PresenceJob::Event(_)) | TrySendError::Disconnected(PresenceJob::Event(_)),
            ) => {
                mark(&self.missed, reactor);
                Ok(())
            }
            Err(
                TrySendError::Full(page @ PresenceJob::Page { .. })
                | TrySendError::Disconnected(page @ PresenceJob::Page { .. }),
            ) => Err(page),
        }
    }

    /// Reads a page on a thread that may wait. `None`: no answer within a second.
    pub fn page(&self, wish: PageWish) -> Option<Arc<[u8]>> {
        let (reply, page) = bounded(1);
        let job = PresenceJob::Page { wish, reply: PageReply::Thread(reply) };
        self.jobs.send_timeout(job, PAGE_TIMEOUT).ok()?;
        page.recv_timeout(PAGE_TIMEOUT).ok()
    }

    /// The depth of the queue. Its overflow costs a recount.
    pub fn depth(&self) -> Depth {
        Depth { name: "presence", waiting: self.jobs.len() as u64, bound: ROSTER_EVENTS as u64 }
    }
}

impl PresenceInbox {
    /// True exactly if an event of the reactor was dropped since the last call.
    pub fn take_missed(&self, reactor: ReactorId) -> bool {
        let flag = self.missed.get(usize::from(reactor.0));
        // Most of the time it is not set, and a load is cheaper than a swap.
        flag.is_some_and(|flag| flag.load(Ordering::Acquire) && flag.swap(false, Ordering::AcqRel))
    }

    /// Asks for a recount of the reactor again later.
    pub fn mark_missed(&self, reactor: ReactorId) {
        mark(&self.missed, reactor);
    }
}

fn mark(missed: &[AtomicBool], reactor: ReactorId) {
    if let Some(flag) = missed.get(usize::from(reactor.0)) {
        flag.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ChannelName;

    #[test]
    fn event_without_room_marks_its_reactor_and_a_page_is_returned() {
        let (queue, inbox) = presence(2);
        let event = || PresenceJob::Event(RosterEvent::Recounted { reactor: ReactorId(1) });
        for _ in 0..ROSTER_EVENTS {
            queue.send(event(), ReactorId(1)).expect("room");
        }
        assert!(!inbox.take_missed(ReactorId(1)));
        queue.send(event(), ReactorId(1)).expect("it is dropped");
        let channel = ChannelName::parse("c").expect("valid");
        let (wish, ticket) =
            (PageWish { channel, after: None, limit: 1 }, Ticket { reactor: ReactorId(1), request: 1 });
        let page = PresenceJob::Page { wish, reply: PageReply::Reactor(ticket) };
        assert!(queue.send(page, ReactorId(1)).is_err());
        assert!(
            inbox.take_missed(ReactorId(1))
                && !inbox.take_missed(ReactorId(1))
                && !inbox.take_missed(ReactorId(0))
        );
        assert!(size_of::<PresenceJob>() <= 72, "{} bytes", size_of::<PresenceJob>());
    }
}
