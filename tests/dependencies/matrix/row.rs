//! One row: all is healthy, the dependency fails, clients are notified, it recovers, and the records match the log.

use super::clients::{Listener, Publisher};
use super::fault::Fault;
use super::table::{Nature, Reads, Row, Sees, Weight};
use super::target::{Kind, Target};
use crate::support::wait::{LATE, comes_true};
use crate::support::{Client, Gateway, RawClient, SOON, Upgrade, until};
use serde_json::{Value, json};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Makes the channel of each row unique, because rows share a database.
static CHANNELS: AtomicU64 = AtomicU64::new(0);

/// The bound on an answer that needs no dependency.
const AT_ONCE: Duration = Duration::from_millis(4_000);

/// The lines that an outage may take in the log at info: two say when it began and ended, with one reference.
const LINES_MAX: usize = 4;

/// The times that a row took.
pub struct Measured {
    pub notified: Duration,
    pub back: Duration,
}

/// A gateway and its clients.
struct Scene<'a> {
    row: &'a Row,
    gateway: Gateway,
    publisher: Publisher,
    listener: Listener,
    channel: String,
}

#[track_caller]
pub fn run(row: &Row, target: &mut Target) -> Measured {
    let channel = format!("row-{}", CHANNELS.fetch_add(1, Ordering::Relaxed));
    let gateway = target.setup(row).start();
    until(SOON, "all is healthy at first", || {
        let report = gateway.fetch("/health/dependencies").json();
        report["checks"][target.name()][0]["state"] == json!("ok")
    });
    until(SOON, "every worker has its connection", || target.is_fully_connected());
    let mut publisher = Publisher::new(&gateway, &channel);
    until(SOON, "the store takes publications", || publisher.publish("before") == "published");
    until(SOON, "history is served", || publisher.reads());
    let listener = Listener::new(&gateway, &channel);
    let mut scene = Scene { row, gateway, publisher, listener, channel };
    let measured = match row.sees {
        Sees::Nothing(length) => scene.nothing(target, length),
        Sees::Outage(nature) | Sees::WritesFail(nature) => scene.outage(target, nature),
    };
    scene.end(target);
    measured
}

impl Scene<'_> {
    /// Begins the message about a state that is not the one of the row's outage. A busy machine can make a dependency come and go, so there
    /// were more outages: then the row was late. What was lost, stored twice or answered with a wrong code has another message.
    fn wrong_state(&self) -> String {
        let outages = self.gateway.output().matches("dependency down").count();
        let fault = if outages > self.row.outages() { LATE } else { "another state" };
        format!("{fault}: {outages} outages")
    }

    /// The fault only slows something, so a machine that is slow besides may make it too slow: then the row was late.
    fn nothing(&mut self, target: &mut Target, length: Duration) -> Measured {
        target.inject(self.row.fault);
        let begun = Instant::now();
        let mut count = 0;
        while begun.elapsed() < length {
            count += 1;
            let answer = self.publisher.publish(&format!("meanwhile-{count}"));
            assert_eq!(answer, "published", "{LATE}");
            assert!(self.publisher.reads(), "{LATE}: history");
            drop(Client::connect(&self.gateway));
            let level = self.gateway.fetch("/health/dependencies").json()["level"].take();
            assert_eq!(level, json!("ok"), "{LATE}: {}", self.gateway.output());
            let status = self.listener.client.next_push_within("status", Duration::from_millis(50));
            assert_eq!(status, None, "{LATE}");
        }
        assert!(count > 3, "{LATE}: {count} in {length:?}");
        target.repair(self.row.fault);
        Measured { notified: Duration::ZERO, back: Duration::ZERO }
    }

    fn outage(&mut self, target: &mut Target, nature: Nature) -> Measured {
        let injected = Instant::now();
        let lines_before = self.lines().len();
        target.inject(self.row.fault);
        // An orderly stop takes time, and the server disconnects its clients before it returns.
        // So does a changed setting, until the server has read it.
        let takes_time = nature == Nature::Hard || self.row.fault == Fault::CommitsHang;
        let met = if takes_time { Instant::now() } else { injected };
        let level = if self.row.weight == Weight::Critical { "down" } else { "degraded" };
        let (publisher, listener) = (&mut self.publisher, &mut self.listener);
        let (answer, (status, at)) = thread::scope(|scope| {
            let meeting = scope.spawn(|| publisher.publish("met"));
            let notified = listener.status(level, SOON + Duration::from_secs(5));
            (meeting.join().unwrap_or_else(|panic| resume_unwind(panic)), notified)
        });
        let notified = at.saturating_duration_since(met);
        assert!(
            notified <= self.row.seen_within(),
            "{LATE}: notified after {notified:?}; bound {:?}",
            self.row.seen_within()
        );
        self.check_status(&status, target);
        assert_eq!(answer != "published", self.row.refuses_publish(), "{}: {answer}", self.wrong_state());

        let reference = self.newcomers(level, target);
        self.work();
        self.endpoints(target);
        self.check_log(&reference);
        assert!(
            self.listener.client.is_open() && self.publisher.client.is_open(),
            "connected clients stay connected"
        );

        target.repair(self.row.fault);
        let repaired = Instant::now();
        let back = self.readmits(repaired);
        self.listener.status("ok", SOON);
        until(SOON, "the end is in the log", || self.lines().iter().any(|line| line.contains("recovered")));
        let lines = self.lines();
        let lines = lines.get(lines_before..).unwrap_or_default();
        // A busy machine may make the dependency come and go.
        assert!(lines.len() <= LINES_MAX, "{LATE}, or too many lines: {lines:#?}");
        Measured { notified, back }
    }

    /// The lines of the gateway's log at info and above, without those about the gateways of earlier rows, whose database it has, and
    /// about alerts, of which there are more the longer a busy machine takes.
    fn lines(&self) -> Vec<String> {
        let others = [
            "instance state changed",
            "leader duty taken",
            "incident began",
            "incident ended",
            "alerts taken over",
        ];
        let is_of_others = |line: &str| others.iter().any(|other| line.contains(other));
        let is_seen = |line: &&str| {
            [" INFO ", " WARN ", "ERROR "].iter().any(|level| line.contains(level)) && !is_of_others(line)
        };
        self.gateway.output().lines().filter(is_seen).map(str::to_owned).collect()
    }

    #[track_caller]
    fn check_status(&self, status: &Value, target: &Target) {
        let entry = &status["dependencies"][0];
        let state = (&entry["name"], &entry["state"]);
        assert_eq!(state, (&json!(target.name()), &json!("down")), "{}: {status}", self.wrong_state());
        assert_eq!(entry["critical"], json!(self.row.weight == Weight::Critical), "{status}");
        assert_eq!(status["lost"], json!(target.lost()), "{status}");
        assert!(status["message"].as_str().is_some_and(|text| text.ends_with('.')), "{status}");
    }

    /// Connects new clients, by WebSocket and plain HTTP, and returns the outage's reference if they are refused.
    #[track_caller]
    fn newcomers(&mut self, level: &str, target: &Target) -> Option<String> {
        let plain = RawClient::to(&self.gateway).fetch("GET", "/ws");
        if self.row.weight == Weight::Optional {
            assert_eq!(plain.status, 426, "{plain:?}");
            let newcomer = Client::connect(&self.gateway);
            assert_eq!(newcomer.connected["status"]["level"], json!(level), "{}", self.wrong_state());
            return None;
        }
        assert_eq!(plain.status, 503, "{}: {plain:?}", self.wrong_state());
        assert!(plain.header("retry-after").is_some(), "{plain:?}");
        let came = Instant::now();
        let closed = Client::open(&self.gateway).expect_close();
        assert!(came.elapsed() < AT_ONCE, "{LATE}: the refusal took {:?}", came.elapsed());
        closed.is(1011, "unavailable");
        let bye = closed.bye.expect("checked");
        assert_eq!(bye["dependency"], json!(target.name()), "{bye}");
        assert!(bye["retry_ms"].as_u64().is_some_and(|ms| (1_000..=15_000).contains(&ms)), "{bye}");
        let reference = bye["reference"].as_str().expect("a reference").to_owned();
        assert!(closed.reason.ends_with(&format!("ref={reference}")), "{}", closed.reason);
        Some(reference)
    }

    /// Publishes and reads during the outage.
    #[track_caller]
    fn work(&mut self) {
        let asked = Instant::now();
        let answer = self.publisher.publish("meanwhile");
        if self.row.refuses_publish() {
            assert_eq!(answer, "unavailable", "{}", self.wrong_state());
            assert!(asked.elapsed() < AT_ONCE, "{LATE}: refused after {:?}", asked.elapsed());
        } else {
            assert_eq!(answer, "published");
        }
        let reads = self.publisher.reads();
        assert_eq!(reads, self.row.reads() == Reads::Served, "{}", self.wrong_state());
    }

    #[track_caller]
    fn endpoints(&self, target: &Target) {
        let asked = Instant::now();
        let of = |path: &str| self.gateway.fetch(path);
        let (summary, live, ready) = (of("/health"), of("/health/live"), of("/health/ready"));
        let dependencies = of("/health/dependencies");
        assert!(asked.elapsed() < AT_ONCE, "{LATE}: the endpoints took {:?}", asked.elapsed());
        assert_eq!(
            (summary.status, live.status, ready.status),
            (200, 200, 200),
            "{summary:?} {live:?} {ready:?}"
        );
        assert_eq!(summary.json()["status"], json!("warn"), "{}: {summary:?}", self.wrong_state());
        assert_eq!(ready.json()["degraded"], json!(true), "{}: {ready:?}", self.wrong_state());
        let (code, status) = match self.row.weight {
            Weight::Critical => (503, "fail"),
            Weight::Optional => (200, "warn"),
        };
        let report = dependencies.json();
        let (answer, check) = ((dependencies.status, &report["status"]), &report["checks"][target.name()][0]);
        assert_eq!(answer, (code, &json!(status)), "{}: {report}", self.wrong_state());
        assert_eq!(check["state"], json!("down"), "{}: {report}", self.wrong_state());
        assert_eq!(check["lost"], json!(target.lost()), "{report}");
    }

    /// Checks that the log has one line with the cause, under the reference that clients got.
    #[track_caller]
    fn check_log(&self, reference: &Option<String>) {
        let lines = || -> Vec<String> {
            let output = self.gateway.output();
            let lines = output.lines().filter(|line| line.contains("dependency down"));
            lines.map(str::to_owned).collect()
        };
        until(SOON, "the outage is in the log", || !lines().is_empty());
        let lines = lines();
        let [line] = lines.as_slice() else { panic!("{LATE}, or logged more than once: {lines:?}") };
        let reference = reference.as_deref().unwrap_or("reference=");
        assert!(line.contains(reference), "{reference} is not in {line}");
        let named = self.row.named.iter().any(|word| line.contains(&format!("fault=\"{word}\"")));
        // A busy machine may be too slow for a probe before the fault begins.
        let fault = if line.contains("fault=\"timeout\"") { LATE } else { "wrong cause" };
        assert!(named, "{fault}: none of {:?} in {line}", self.row.named);
        assert!(line.contains("look_at="), "{line}");
    }

    /// Tries until a client is admitted, and returns the time since the repair.
    #[track_caller]
    fn readmits(&mut self, repaired: Instant) -> Duration {
        let admitted = comes_true(SOON, || match self.row.weight {
            Weight::Critical => RawClient::to(&self.gateway).fetch("GET", "/ws").status == 426,
            Weight::Optional => self.gateway.fetch("/health/ready").json()["degraded"] == json!(false),
        });
        let back = repaired.elapsed();
        assert!(
            admitted && back <= self.row.back_within(),
            "{LATE}: back after {back:?}\n{}",
            self.gateway.output()
        );
        drop(Client::connect(&self.gateway));
        back
    }

    /// Lets all clients catch up, and compares their records with the log, as another instance reads it if possible.
    #[track_caller]
    fn end(&mut self, target: &Target) {
        self.publisher.catch_up();
        let other = target.other_instance().map(|setup| setup.start());
        let mut reader = Client::connect(other.as_ref().unwrap_or(&self.gateway));
        let head = self.publisher.check(&mut reader);
        self.listener.hears(head, SOON);
        assert!(
            self.listener.client.is_open() && self.publisher.client.is_open(),
            "connected clients stay connected"
        );
        assert_eq!(self.listener.client.next_push_within("publication", Duration::from_millis(1)), None);
        until(SOON, "the dependency is up", || self.gateway.metric("seawall_dependency_up") == 1.0);
    }
}
