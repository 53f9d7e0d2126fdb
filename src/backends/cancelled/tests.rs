//! The thread of a route against a backend that is a thread.

use super::*;
use crate::backends::shared::RelayParts;
use crate::clock::{Moment, Now};
use crate::health::report::Report;
use crate::health::snapshot::Snapshot;
use crate::id::pattern::ChannelPattern;
use crate::id::{ChannelName, UserName};
use crate::job::Outlook;
use crate::job::relay::{RelayNotices, RelayQueue, Routes};
use crate::metrics::relay::RelayMeters;
use crate::metrics::vitals::Vitals;
use crate::relay::route::{AnswerMode, ChannelOrder, RelayedKinds, RouteTable};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::AtomicU32;
use std::thread;

const PATIENCE: Duration = Duration::from_secs(30);

fn route(port: u16) -> RelayRoute {
    RelayRoute {
        name: "assistant".into(),
        pattern: ChannelPattern::parse("t*").expect("a pattern"),
        url: format!("http://127.0.0.1:{port}/").into(),
        user: UserName::parse("assistant").expect("a user"),
        answers: AnswerMode::Stored,
        kinds: RelayedKinds::NONE,
        skip_users: Vec::new(),
        claims: Vec::new(),
        publish: Vec::new(),
        dependency: None,
        secrets: Vec::new(),
        timeout: PATIENCE,
        concurrency: 1,
        order: ChannelOrder::Taken,
        give_up: PATIENCE,
        answer: PATIENCE,
    }
}

/// The shared part of a relay with one route, and a clock of its own.
fn relay(port: u16, clock: impl Fn() -> Now + Send + Sync + 'static) -> Arc<RelayShared> {
    let route = route(port);
    let meters = Arc::new(RelayMeters::default());
    meters.renew(std::iter::once(&route.name));
    let report = Report { status: 200, body: "{}".into() };
    let parts = RelayParts {
        routes: Arc::new(Routes::new(RouteTable::new(vec![route]))),
        queue: RelayQueue::new().0,
        notices: RelayNotices::new().1,
        mailboxes: Arc::default(),
        appends: bounded(1).0,
        outlook: Arc::new(Outlook::new(Arc::new(Snapshot::ok()), report)),
        evidence: Arc::default(),
        meters,
        vitals: Arc::new(Vitals::new(1, 10, 10, 10, Moment::ZERO)),
        source: None,
        idle: PATIENCE,
        life: PATIENCE,
    };
    RelayShared::new(parts, Arc::new(clock)).0
}

fn cancel(offset: u64) -> AnswerCancel {
    let channel = ChannelName::parse("t1").expect("a channel");
    let id = StreamId { channel, offset: Offset(offset + 1) };
    AnswerCancel { id, question: Offset(offset), generation: Generation::FIRST }
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
    let shared = relay(port, move || {
        assert!(looks.fetch_add(1, Ordering::Relaxed) > 0, "the first look at the clock panics");
        Now { at: Moment::ZERO, unix_ms: 0 }
    });
    let meter = shared.meters.of("assistant").expect("its route");
    let mut cancels = RouteCancels::default();
    cancels.send(&shared, &meter, cancel(1));
    cancels.send(&shared, &meter, cancel(3));
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
    let shared = relay(port, || Now { at: Moment::ZERO, unix_ms: 0 });
    let meter = shared.meters.of("assistant").expect("its route");
    let mut cancels = RouteCancels::default();
    for offset in 0..2 * QUEUE as u64 {
        cancels.send(&shared, &meter, cancel(offset));
    }
    let dropped = meter.cancels_dropped.load(Ordering::Relaxed);
    assert!(dropped > 0, "all of them wait");
    shared.enter(Mode::Stopping);
}
