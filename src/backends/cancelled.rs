//! Requests that say that a user has cancelled an answer.
//!
//! They have a short queue and a thread of their own, so they are never in the way of publications, and a backend that does not answer
//! delays no other thing than such requests.

use super::call::{Called, RelayCall, SKIPPED_BYTES_MAX, timestamp};
use super::shared::{Mode, RelayShared};
use crate::id::Offset;
use crate::net::deadline::now;
use crate::relay::answer::Meaning;
use crate::wire::stream::{Generation, StreamId};
use crate::wire::webhook;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::Builder;
use std::time::Duration;

/// Requests that may wait.
const QUEUE: usize = 256;
/// The tries of one request, and the waits between them.
const WAITS: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];
/// The stream ends without the backend after `streams.cancel_ms`, so there is no use in a long wait.
const TIMEOUT: Duration = Duration::from_secs(2);

/// An answer that was cancelled.
pub(super) struct AnswerCancel {
    pub(super) id: StreamId,
    pub(super) question: Offset,
    pub(super) generation: Generation,
}

/// Starts the thread. It ends when the sender is gone.
pub(super) fn start(shared: &Arc<RelayShared>) -> io::Result<Sender<AnswerCancel>> {
    let (sender, receiver) = bounded(QUEUE);
    let shared = Arc::clone(shared);
    let run = move || serve(&shared, &receiver);
    Builder::new().name("relay-cancelled".into()).spawn(run).map(|_| sender)
}

fn serve(shared: &RelayShared, answers: &Receiver<AnswerCancel>) {
    for answer in answers {
        let routes = shared.routes.current();
        let Some(route) = routes.of(&answer.id.channel) else { continue };
        let id = webhook::cancel_id(&answer.id, answer.generation);
        let client = shared.client(&route.name);
        let mut waits = WAITS.into_iter();
        let is_taken = loop {
            let unix_ms = shared.now().unix_ms;
            let (at, AnswerCancel { id: stream, question, generation }) = (timestamp(unix_ms), &answer);
            let body = webhook::cancelled(&at, &route.name, stream, *generation, *question);
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
                return;
            }
        };
        shared.calls.give_back(&route.name, client);
        if !is_taken && let Some(meter) = shared.meters.of(&route.name) {
            meter.cancels_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}
