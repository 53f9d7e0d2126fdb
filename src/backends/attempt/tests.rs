//! An attempt with a backend that is a thread, and another thread as the owner of the streams.

use super::*;
use crate::backends::support::{PATIENCE, relay, route};
use crate::clock::{Moment, Now};
use crate::id::{ChannelName, Epoch, Offset, UserName};
use crate::job::Completion;
use crate::job::callers::Callers;
use crate::job::relay::{Fence, OpenAnswer, RelayedQuestion};
use crate::job::stream::{StreamQueue, StreamWork};
use crate::wire::publication::Change;
use crate::wire::stream::{StreamEnd, StreamState};
use crossbeam_channel::bounded;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

fn claimed() -> Claimed {
    let user = UserName::parse("ann").expect("a user");
    let (offset, change) = (Offset(1), Change::None);
    let question = RelayedQuestion { offset, key: None, user, time_ms: 1_000, change, data: "1".into() };
    let (offset, generation, state) = (Offset(2), Generation::FIRST, StreamState::Accepted);
    Claimed {
        channel: ChannelName::parse("t1").expect("a channel"),
        route: "assistant".into(),
        fence: Fence(1),
        attempt: 1,
        epoch: Epoch(1),
        question,
        claims: None,
        answer: Some(OpenAnswer { offset, generation, state }),
    }
}

/// Begins a response to one request, and then is silent.
fn silent_backend() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        let (mut connection, _) = listener.accept().expect("a connection");
        let mut request = Vec::new();
        while !request.ends_with(b"}}}") {
            let mut bytes = [0; 4_096];
            let count = connection.read(&mut bytes).expect("a request");
            request.extend_from_slice(&bytes[..count]);
        }
        let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n";
        connection.write_all(head).expect("written");
        // Until the gateway closes it.
        let _ = connection.read(&mut [0]);
    });
    port
}

#[test]
fn cancel_right_after_the_backend_has_the_question_closes_a_silent_response() {
    let callers = Arc::new(Callers::new(0));
    let (work, jobs) = bounded(16);
    callers.producers().start(StreamQueue { work, bytes: Arc::default() }, 4_096, Arc::default());
    let now = || Now { at: Moment::ZERO, unix_ms: 1_000 };
    let port = silent_backend();
    let shared = relay(port, Arc::clone(callers.producers()), now);
    let (of_relay, ends) = (Arc::clone(&shared), bounded(1));
    let streams = thread::spawn(move || {
        while let Ok(StreamWork::Job(job)) = jobs.recv_timeout(PATIENCE) {
            let outcome = match job.order {
                StreamOrder::Take => {
                    // A user cancels in the same commit, and the relay is notified before it has the outcome.
                    of_relay.readings.end(&job.id);
                    StreamOutcome::Processing { generation: Generation::FIRST }
                }
                order => {
                    ends.0.send(order).expect("the test waits");
                    return;
                }
            };
            callers.answer(Completion::Stream { ticket: job.ticket.expect("one"), outcome });
        }
    });
    let (orders, claimed, random) = (shared.mailboxes.open(), claimed(), 0.5);
    let (route, meter) = (route(port), shared.meters.of("assistant").expect("its route"));
    let attempt = RelayAttempt {
        shared: &shared,
        route: &route,
        meter: &meter,
        orders: &orders,
        claimed: &claimed,
        asked: crate::net::deadline::now(),
        random,
    };
    let Attempted { outcome, body, .. } = attempt.make();
    assert_eq!(outcome, RelayOutcome::Done);
    let body = body.expect("a response");
    let of_reader = Arc::clone(&shared);
    let reading = thread::spawn(move || body.read(&of_reader, &route, &meter));
    match ends.1.recv_timeout(PATIENCE).expect("an order") {
        StreamOrder::End { end, .. } => assert_eq!(end, StreamEnd::Cancelled),
        other => panic!("{other:?}"),
    }
    streams.join().expect("no panic");
    shared.mailboxes.stop();
    reading.join().expect("no panic");
}

#[test]
fn question_whose_claim_may_be_over_is_not_sent() {
    let callers = Arc::new(Callers::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("set");
    let port = listener.local_addr().expect("an address").port();
    let now = || Now { at: Moment::ZERO, unix_ms: 1_000 };
    let shared = relay(port, Arc::clone(callers.producers()), now);
    let (orders, claimed, random) = (shared.mailboxes.open(), claimed(), 0.5);
    let (route, meter) = (route(port), shared.meters.of("assistant").expect("its route"));
    // As after the process was stopped between the claim and the request.
    let asked = crate::net::deadline::now().checked_sub(LEASE).expect("a time");
    let attempt = RelayAttempt {
        shared: &shared,
        route: &route,
        meter: &meter,
        orders: &orders,
        claimed: &claimed,
        asked,
        random,
    };
    assert_eq!(attempt.make().outcome, RelayOutcome::Release);
    assert!(listener.accept().is_err(), "the backend is not called");
}
