//! The thread of a route against a backend that is a thread.

use super::*;
use crate::backends::support::{PATIENCE, relay};
use crate::clock::{Moment, Now};
use crate::id::ChannelName;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::AtomicU32;
use std::thread;

fn cancel(offset: u64, meter: &Arc<RouteMeter>) -> AnswerCancel {
    let channel = ChannelName::parse("t1").expect("a channel");
    let id = StreamId { channel, offset: Offset(offset + 1) };
    let (generation, epoch, meter) = (Generation::FIRST, Epoch(1), Arc::clone(meter));
    AnswerCancel { id, question: Offset(offset), generation, epoch, at: Moment::ZERO, meter }
}

/// Answers each connection's first request with 204, and passes its text on.
fn backend() -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let (sender, requests) = bounded(16);
    thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let mut request = Vec::new();
            while !request.ends_with(b"}}}") {
                let mut bytes = [0; 4_096];
                match connection.read(&mut bytes) {
                    Ok(count @ 1..) => request.extend_from_slice(&bytes[..count]),
                    Ok(0) | Err(_) => break,
                }
            }
            // The test may have ended.
            let _ = connection.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
            let _ = sender.send(String::from_utf8_lossy(&request).into_owned());
        }
    });
    (port, requests)
}

#[test]
fn panic_in_one_request_takes_no_other() {
    let (port, requests) = backend();
    let looks = AtomicU32::new(0);
    let shared = relay(port, Arc::default(), move || {
        assert!(looks.fetch_add(1, Ordering::Relaxed) > 0, "the first look at the clock panics");
        Now { at: Moment::ZERO, unix_ms: 0 }
    });
    let meter = shared.meters.of("assistant").expect("its route");
    let mut cancels = RouteCancels::default();
    cancels.send(&shared, cancel(1, &meter));
    cancels.send(&shared, cancel(3, &meter));
    let request = requests.recv_timeout(PATIENCE).expect("the second request");
    assert!(
        request.contains("\"type\":\"answer.cancelled\"") && request.contains("\"question\":3"),
        "{request}"
    );
    assert_eq!(meter.cancels_dropped.load(Ordering::Relaxed), 1);
}

#[test]
fn requests_of_a_route_whose_backend_hangs_are_bounded_and_counted() {
    // It never accepts.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let shared = relay(port, Arc::default(), || Now { at: Moment::ZERO, unix_ms: 0 });
    let meter = shared.meters.of("assistant").expect("its route");
    let mut cancels = RouteCancels::default();
    for offset in 0..2 * QUEUE as u64 {
        cancels.send(&shared, cancel(offset, &meter));
    }
    let dropped = meter.cancels_dropped.load(Ordering::Relaxed);
    assert!(dropped > 0, "all of them wait");
    shared.enter(Mode::Stopping);
}

#[test]
fn cancel_that_is_old_or_has_no_route_any_more_is_counted_and_not_sent() {
    let (port, requests) = backend();
    let late = Moment::ZERO + OLD;
    let shared = relay(port, Arc::default(), move || Now { at: late, unix_ms: 0 });
    let meter = shared.meters.of("assistant").expect("its route");
    let mut cancels = RouteCancels::default();
    cancels.send(&shared, cancel(1, &meter));
    let elsewhere = StreamId { channel: ChannelName::parse("u1").expect("a channel"), offset: Offset(2) };
    cancels.send(&shared, AnswerCancel { id: elsewhere, at: late, ..cancel(1, &meter) });
    cancels.send(&shared, AnswerCancel { at: late, ..cancel(3, &meter) });
    let request = requests.recv_timeout(PATIENCE).expect("the third request");
    assert!(request.contains("\"question\":3"), "{request}");
    assert_eq!(meter.cancels_dropped.load(Ordering::Relaxed), 2);
}
