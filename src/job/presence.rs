//! The queue into the thread that owns the rosters.
//!
//! No reactor waits for that thread. A reactor whose event does not fit repeats everything that it holds (a recount) once there is room,
//! so that nothing is lost for good.

use super::message::Ticket;
use crate::health::capacity::Depth;
use crate::limits::ROSTER_EVENTS;
use crate::roster::{PageWish, RosterEvent};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::sync::Arc;
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
    reactors: usize,
}

/// The thread's end of the queue.
#[derive(Debug)]
pub struct PresenceInbox {
    pub jobs: Receiver<PresenceJob>,
}

/// Makes the two ends of the queue for this many reactors.
pub fn presence(reactors: usize) -> (PresenceQueue, PresenceInbox) {
    let (jobs, jobs_in) = bounded(ROSTER_EVENTS);
    (PresenceQueue { jobs, reactors: reactors.max(1) }, PresenceInbox { jobs: jobs_in })
}

impl PresenceQueue {
    /// Sends a job of a reactor, or returns it if it does not fit. Once the thread has ended, events are of no use to it.
    pub fn send(&self, job: PresenceJob) -> Result<(), PresenceJob> {
        match self.jobs.try_send(job) {
            Ok(()) | Err(TrySendError::Disconnected(PresenceJob::Event(_))) => Ok(()),
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job @ PresenceJob::Page { .. })) => {
                Err(job)
            }
        }
    }

    /// The number of events that each reactor may send now without a client's cause: even if all of them do so at once, they do not
    /// fill the queue.
    pub fn share(&self) -> usize {
        const HALF: usize = ROSTER_EVENTS / 2;
        if self.jobs.len() > HALF { 0 } else { (HALF / self.reactors).max(1) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ChannelName, ReactorId};

    #[test]
    fn job_without_room_is_returned_and_shares_end_at_half_of_the_queue() {
        let (queue, inbox) = presence(4);
        assert_eq!(queue.share(), ROSTER_EVENTS / 8);
        let event = || PresenceJob::Event(RosterEvent::Recounted { reactor: ReactorId(1) });
        for _ in 0..ROSTER_EVENTS {
            queue.send(event()).expect("room");
        }
        assert!(matches!(queue.send(event()), Err(PresenceJob::Event(_))));
        let channel = ChannelName::parse("c").expect("valid");
        let (wish, ticket) =
            (PageWish { channel, after: None, limit: 1 }, Ticket { reactor: ReactorId(1), request: 1 });
        let page = PresenceJob::Page { wish, reply: PageReply::Reactor(ticket) };
        assert!(matches!(queue.send(page), Err(PresenceJob::Page { .. })));
        assert_eq!(queue.share(), 0);
        for _ in 0..ROSTER_EVENTS / 2 {
            inbox.jobs.try_recv().expect("an event");
        }
        assert_eq!(queue.share(), ROSTER_EVENTS / 8);
        assert!(size_of::<PresenceJob>() <= 72, "{} bytes", size_of::<PresenceJob>());
    }
}
