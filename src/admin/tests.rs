use super::console::rules::PageRules;
use super::*;
use crate::clock::Moment;
use crate::health::report::Report;
use crate::health::snapshot::Snapshot;
use crate::limits::Limits;
use crate::metrics::scrape::MetricSources;
use std::io::{Read as _, Write as _};
use std::time::Instant;

const TOKEN: &str = "0123456789012345678901234567890123456789";

/// A listener over these vitals, while the watch thread hangs.
fn started(vitals: Vitals) -> SocketAddr {
    let report = Report { status: 200, body: "{}".into() };
    let began = Instant::now();
    let admin = Admin {
        token: Vec::from(TOKEN).into(),
        requests: AdminRequests::unserved(),
        waker: Arc::new(|| {}),
        clock: move || Now { at: Moment::from_micros(3_600_000_000) + began.elapsed(), unix_ms: 0 },
        outlook: Arc::new(Outlook::new(Arc::new(Snapshot::ok()), report)),
        vitals: Arc::new(vitals),
        metrics: Arc::new(Metrics::new(
            1,
            Arc::from("test"),
            MetricSources {
                watch: Arc::default(),
                bus: None,
                cluster: Arc::default(),
                api: None,
                log_dropped: || 0,
            },
        )),
        instance: Arc::from("test"),
        mailboxes: Arc::from([]),
        presence: crate::job::presence::presence(1).0,
        monitor: Arc::default(),
        cluster: Arc::default(),
        users: UserDirectory::new(crate::job::registry::RegistrySender::pair().0),
        orders: OrderBoard::alone(Arc::from([])).0,
        alert_requests: crate::job::alerts::links(Default::default()).requests,
        slo_requests: crate::job::slo::questions().0,
        relay: RelayLinks {
            routes: Arc::default(),
            store: crate::job::relay::RelayQueue::new().0,
            producers: Arc::default(),
            source: None,
        },
        head_limits: HeadLimits::from(&Limits::default()),
        request_ms: 5_000,
        console: Console::new(PageRules::default()),
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    admin.start(listener).expect("a thread");
    address
}

fn ask(address: SocketAddr, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout can be set");
    let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nAuthorization: bearer {TOKEN}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it takes a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer and the end");
    answer
}

fn vitals(silence: Duration) -> Vitals {
    let vitals = Vitals::new(1, 10, 100, 1 << 30, Moment::from_micros(3_600_000_000));
    vitals.reactors[0].turned.set(3_600_000_000 - silence.as_micros() as u64);
    vitals
}

#[test]
fn live_is_answered_at_once_while_a_reactor_stalls_and_the_watch_hangs() {
    let address = started(vitals(Duration::from_secs(6)));
    // Meanwhile, operators wait in vain for the watch thread and hold seats.
    let waiting: Vec<_> = (0..4)
        .map(|_| std::thread::spawn(move || ask(address, "POST", "/health/dependencies/store/probe")))
        .collect();
    let mut times: Vec<Duration> = (0..50)
        .map(|_| {
            let asked = Instant::now();
            let answer = ask(address, "GET", "/health/live");
            assert!(
                answer.starts_with("HTTP/1.1 503 ") && answer.contains("reactor 0 made no turn"),
                "{answer}"
            );
            asked.elapsed()
        })
        .collect();
    times.sort();
    // Whatever waits for another thread, waits for a second or more.
    assert!(times[25] < Duration::from_millis(500), "not in time: half of the answers, of {times:?}");
    for asked in waiting {
        let answer = asked.join().expect("no panic");
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("watch thread"), "{answer}");
    }
    assert!(ask(started(vitals(Duration::ZERO)), "GET", "/health/live").starts_with("HTTP/1.1 200 "));
}

#[test]
fn token_is_checked_for_characters_and_length() {
    assert!(is_bearer(TOKEN.as_bytes()) && is_bearer(&[b'='; 512]));
    for wrong in ["", "short", "012345678901234567890123456789 0123", "01234567890123456789012345678901é"] {
        assert!(!is_bearer(wrong.as_bytes()), "{wrong}");
    }
    assert!(!is_bearer(&[b'a'; 513]));
}
