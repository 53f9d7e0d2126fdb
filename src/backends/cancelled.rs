//! Requests that say that a user has cancelled an answer.
//!
//! Each route has a short queue and a thread for them, so they are never in the way of publications, and a backend that does not answer
//! delays no other thing than such requests of its own route.

use super::call::{Called, RelayCall, SKIPPED_BYTES_MAX, timestamp};
use super::shared::{Mode, RelayShared};
use crate::clock::Moment;
use crate::id::{Epoch, Offset};
use crate::metrics::relay::RouteMeter;
use crate::net::deadline::now;
use crate::relay::answer::Meaning;
use crate::relay::route::RelayRoute;
use crate::wire::stream::{Generation, StreamId};
use crate::wire::webhook;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::Builder;
use std::time::Duration;

/// Requests of one route that may wait.
const QUEUE: usize = 256;
/// The tries of one request, and the waits between them.
const WAITS: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];
/// One that waited for longer is dropped: its answer has ended, and what the backend writes is refused. A backend that is down must not get
/// those of minutes ago once it is up again.
const OLD: Duration = Duration::from_secs(30);
/// The stream ends without the backend after `streams.cancel_ms`, so there is no use in a long wait.
const TIMEOUT: Duration = Duration::from_secs(2);

/// An answer that was cancelled.
pub(super) struct AnswerCancel {
    pub(super) id: StreamId,
    pub(super) question: Offset,
    pub(super) generation: Generation,
    pub(super) epoch: Epoch,
    /// When it was cancelled.
    pub(super) at: Moment,
    /// Of its route then. A reload may leave the channel without one.
    pub(super) meter: Arc<RouteMeter>,
}

impl AnswerCancel {
    fn count_dropped(meter: &RouteMeter) {
        meter.cancels_dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// The requests of one route. Dropping it ends its thread.
#[derive(Default)]
pub(super) struct RouteCancels {
    /// `None` before the first request.
    queue: Option<Sender<AnswerCancel>>,
}

impl RouteCancels {
    /// Has a request sent, or counts it as dropped.
    pub(super) fn send(&mut self, shared: &Arc<RelayShared>, cancel: AnswerCancel) {
        let meter = Arc::clone(&cancel.meter);
        let is_queued = self.queue(shared).and_then(|queue| queue.try_send(cancel).ok()).is_some();
        if !is_queued {
            AnswerCancel::count_dropped(&meter);
        }
    }

    fn queue(&mut self, shared: &Arc<RelayShared>) -> Option<&Sender<AnswerCancel>> {
        if self.queue.is_none() {
            match start(shared) {
                Ok(queue) => self.queue = Some(queue),
                Err(error) => tracing::error!(%error, "relay thread not started"),
            }
        }
        self.queue.as_ref()
    }
}

/// Starts the thread of a route. It ends when the sender is gone.
fn start(shared: &Arc<RelayShared>) -> io::Result<Sender<AnswerCancel>> {
    let (sender, receiver) = bounded(QUEUE);
    let shared = Arc::clone(shared);
    let run = move || serve(&shared, &receiver);
    Builder::new().name("relay-cancelled".into()).spawn(run).map(|_| sender)
}

fn serve(shared: &RelayShared, cancels: &Receiver<AnswerCancel>) {
    for cancel in cancels {
        let routes = shared.routes.current();
        let route = routes.of(&cancel.id.channel);
        // A defect in one request must not take those after it.
        let send = || route.is_some_and(|route| is_taken(shared, route, &cancel));
        let is_taken = catch_unwind(AssertUnwindSafe(send)).unwrap_or(false);
        if shared.is(Mode::Stopping) {
            return;
        }
        if !is_taken {
            AnswerCancel::count_dropped(&cancel.meter);
        }
    }
}

/// Sends a request until the backend has it, but not often. False: it has it not.
fn is_taken(shared: &RelayShared, route: &RelayRoute, cancel: &AnswerCancel) -> bool {
    let AnswerCancel { id: stream, question, generation, epoch, at, meter: _ } = cancel;
    if shared.now().at.since(*at) >= OLD {
        return false;
    }
    let id = webhook::cancel_id(*epoch, stream, *generation);
    let client = shared.calls.take(&route.name);
    let mut waits = WAITS.into_iter();
    let is_taken = loop {
        let unix_ms = shared.now().unix_ms;
        let body = webhook::cancelled(&timestamp(unix_ms), &route.name, stream, *generation, *question);
        let timeout = TIMEOUT.min(route.timeout);
        let call = RelayCall { route, id: &id, body: &body, unix_ms, timeout };
        // No evidence for the breaker: the time is shorter than that of a question, and people who cancel must stop no questions.
        match call.send(None, &client) {
            Ok(Called { mut response, meaning: Meaning::Taken(_), .. }) => {
                client.control.wait_until(now() + TIMEOUT);
                response.skip(SKIPPED_BYTES_MAX);
                break true;
            }
            Ok(Called { meaning: Meaning::Refused | Meaning::Gone, .. }) => break false,
            Ok(Called { meaning: Meaning::Later(_), .. }) | Err(_) => {}
        }
        let Some(wait) = waits.next() else { break false };
        shared.pause(wait);
        if shared.is(Mode::Stopping) {
            break false;
        }
    };
    shared.calls.give_back(&route.name, client);
    is_taken
}

#[cfg(test)]
#[path = "cancelled/tests.rs"]
mod tests;
