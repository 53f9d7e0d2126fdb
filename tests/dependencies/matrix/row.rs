//! One row: everything is well, the dependency fails, everybody is told, it comes back, and the accounts are checked.

use super::ground::{Ground, Of};
use super::people::{Listener, Publisher};
use super::table::{Nature, Reads, Row, Sees, Weight};
use crate::support::wait::comes_true;
use crate::support::{Client, Gateway, RawClient, SOON, Upgrade, until};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Channels of rows that share a database.
static CHANNELS: AtomicU64 = AtomicU64::new(0);

/// An answer that asks nobody.
const AT_ONCE: Duration = Duration::from_millis(500);

/// What a row took.
pub struct Measured {
    pub told: Duration,
    pub back: Duration,
}

/// A gateway and those who are connected to it.
struct Scene<'a> {
    row: &'a Row,
    gateway: Gateway,
    publisher: Publisher,
    listener: Listener,
    channel: String,
}

#[track_caller]
pub fn run(row: &Row, ground: &mut Ground) -> Measured {
    let channel = format!("row-{}", CHANNELS.fetch_add(1, Ordering::Relaxed));
    let gateway = ground.setup(row).start();
    until(SOON, "all is well at first", || {
        let report = gateway.fetch("/health/dependencies").json();
        report["checks"][ground.name()][0]["state"] == json!("ok")
    });
    until(SOON, "every worker has its connection", || ground.is_taken_up());
    let mut publisher = Publisher::new(&gateway, &channel);
    until(SOON, "the store takes publications", || publisher.publish("before") == "published");
    until(SOON, "history is served", || publisher.reads());
    let listener = Listener::new(&gateway, &channel);
    let mut scene = Scene { row, gateway, publisher, listener, channel };
    let measured = match row.sees {
        Sees::Nothing(length) => scene.nothing(ground, length),
        Sees::Outage(nature) | Sees::WritesFail(nature) => scene.outage(ground, nature),
    };
    scene.end(ground);
    measured
}

impl Scene<'_> {
    fn nothing(&mut self, ground: &mut Ground, length: Duration) -> Measured {
        ground.strike(self.row.fault);
        let begun = Instant::now();
        let mut count = 0;
        while begun.elapsed() < length {
            count += 1;
            assert_eq!(self.publisher.publish(&format!("meanwhile-{count}")), "published");
            assert!(self.publisher.reads());
            drop(Client::connect(&self.gateway));
            let level = self.gateway.fetch("/health/dependencies").json()["level"].take();
            assert_eq!(level, json!("ok"), "{}", self.gateway.output());
            assert_eq!(self.listener.client.next_push_within("status", Duration::from_millis(50)), None);
        }
        assert!(count > 3, "{count} in {length:?}");
        ground.mend(self.row.fault);
        Measured { told: Duration::ZERO, back: Duration::ZERO }
    }

    fn outage(&mut self, ground: &mut Ground, nature: Nature) -> Measured {
        let struck = Instant::now();
        ground.strike(self.row.fault);
        // A server that is ended in order takes its time, and tells its clients before.
        let met = if nature == Nature::Hard { Instant::now() } else { struck };
        let level = if self.row.weight == Weight::Critical { "down" } else { "degraded" };
        let (publisher, listener) = (&mut self.publisher, &mut self.listener);
        let (answer, (status, at)) = thread::scope(|scope| {
            let meeting = scope.spawn(|| publisher.publish("met"));
            let told = listener.status(level, SOON + Duration::from_secs(5));
            (meeting.join().expect("answered in time"), told)
        });
        let told = at.saturating_duration_since(met);
        assert!(told <= self.row.seen_within(), "told after {told:?}; bound {:?}", self.row.seen_within());
        self.status_says_it(&status, ground);
        assert_eq!(answer != "published", self.row.refuses_publish(), "{answer}");

        let reference = self.newcomers(level, ground);
        self.work();
        self.endpoints(ground);
        self.log_says_it(&reference);
        assert!(self.listener.client.is_open() && self.publisher.client.is_open(), "who is connected stays");

        ground.mend(self.row.fault);
        let mended = Instant::now();
        let back = self.let_in(mended);
        self.listener.status("ok", SOON);
        Measured { told, back }
    }

    #[track_caller]
    fn status_says_it(&self, status: &Value, ground: &Ground) {
        let entry = &status["dependencies"][0];
        assert_eq!((&entry["name"], &entry["state"]), (&json!(ground.name()), &json!("down")), "{status}");
        assert_eq!(entry["critical"], json!(self.row.weight == Weight::Critical), "{status}");
        assert_eq!(status["lost"], json!(ground.lost()), "{status}");
        assert!(status["message"].as_str().is_some_and(|text| text.ends_with('.')), "{status}");
    }

    /// New connections, by WebSocket and without; the outage's reference if they are told one.
    #[track_caller]
    fn newcomers(&mut self, level: &str, ground: &Ground) -> Option<String> {
        let plain = RawClient::to(&self.gateway).fetch("GET", "/ws");
        if self.row.weight == Weight::Optional {
            assert_eq!(plain.status, 426, "{plain:?}");
            let newcomer = Client::connect(&self.gateway);
            assert_eq!(newcomer.connected["status"]["level"], json!(level));
            return None;
        }
        assert_eq!(plain.status, 503, "{plain:?}");
        assert!(plain.header("retry-after").is_some(), "{plain:?}");
        let came = Instant::now();
        let closed = Client::open(&self.gateway).expect_close();
        assert!(came.elapsed() < AT_ONCE, "the refusal took {:?}", came.elapsed());
        closed.is(1011, "unavailable");
        let bye = closed.bye.expect("checked");
        assert_eq!(bye["dependency"], json!(ground.name()), "{bye}");
        assert!(bye["retry_ms"].as_u64().is_some_and(|ms| (1_000..=15_000).contains(&ms)), "{bye}");
        let reference = bye["reference"].as_str().expect("a reference").to_owned();
        assert!(closed.reason.ends_with(&format!("ref={reference}")), "{}", closed.reason);
        Some(reference)
    }

    /// Publications and reads while it is down.
    #[track_caller]
    fn work(&mut self) {
        let asked = Instant::now();
        let answer = self.publisher.publish("meanwhile");
        if self.row.refuses_publish() {
            assert_eq!(answer, "unavailable");
            assert!(asked.elapsed() < AT_ONCE, "refused after {:?}", asked.elapsed());
        } else {
            assert_eq!(answer, "published");
        }
        assert_eq!(self.publisher.reads(), self.row.reads() == Reads::Served);
    }

    #[track_caller]
    fn endpoints(&self, ground: &Ground) {
        let asked = Instant::now();
        let of = |path: &str| self.gateway.fetch(path);
        let (summary, live, ready) = (of("/health"), of("/health/live"), of("/health/ready"));
        let dependencies = of("/health/dependencies");
        assert!(asked.elapsed() < AT_ONCE, "the endpoints took {:?}", asked.elapsed());
        assert_eq!(
            (summary.status, live.status, ready.status),
            (200, 200, 200),
            "{summary:?} {live:?} {ready:?}"
        );
        assert_eq!(summary.json()["status"], json!("warn"), "{summary:?}");
        assert_eq!(ready.json()["degraded"], json!(true), "{ready:?}");
        let (code, status) = match self.row.weight {
            Weight::Critical => (503, "fail"),
            Weight::Optional => (200, "warn"),
        };
        let report = dependencies.json();
        assert_eq!((dependencies.status, &report["status"]), (code, &json!(status)), "{report}");
        assert_eq!(report["checks"][ground.name()][0]["state"], json!("down"), "{report}");
        assert_eq!(report["checks"][ground.name()][0]["lost"], json!(ground.lost()), "{report}");
    }

    /// One line, with the cause, under the reference that people were told.
    #[track_caller]
    fn log_says_it(&self, reference: &Option<String>) {
        let lines = || -> Vec<String> {
            let output = self.gateway.output();
            let lines = output.lines().filter(|line| line.contains("dependency down"));
            lines.map(str::to_owned).collect()
        };
        until(SOON, "the outage is in the log", || !lines().is_empty());
        let lines = lines();
        let [line] = lines.as_slice() else { panic!("logged more than once: {lines:?}") };
        let reference = reference.as_deref().unwrap_or("reference=");
        assert!(line.contains(reference), "{reference} is not in {line}");
        let named = self.row.named.iter().any(|word| line.contains(&format!("fault=\"{word}\"")));
        assert!(named, "none of {:?} in {line}", self.row.named);
        assert!(line.contains("look_at="), "{line}");
    }

    /// Tries until one is let in; how long after it was mended that was.
    #[track_caller]
    fn let_in(&mut self, mended: Instant) -> Duration {
        let admitted = comes_true(SOON, || match self.row.weight {
            Weight::Critical => RawClient::to(&self.gateway).fetch("GET", "/ws").status == 426,
            Weight::Optional => self.gateway.fetch("/health/ready").json()["degraded"] == json!(false),
        });
        let back = mended.elapsed();
        assert!(admitted && back <= self.row.back_within(), "back after {back:?}\n{}", self.gateway.output());
        drop(Client::connect(&self.gateway));
        back
    }

    /// Everybody catches up, and the accounts are compared with the log: as another instance has it, if there can be one.
    #[track_caller]
    fn end(&mut self, ground: &Ground) {
        self.publisher.catch_up();
        let other = ground.other_instance().map(|setup| setup.start());
        let mut reader = Client::connect(other.as_ref().unwrap_or(&self.gateway));
        let head = self.publisher.check(&mut reader);
        self.listener.hears(head, SOON);
        assert!(self.listener.client.is_open() && self.publisher.client.is_open(), "who was connected stays");
        assert_eq!(self.listener.client.next_push_within("publication", Duration::from_millis(1)), None);
        let up = self.gateway.metric("seawall_dependency_up");
        assert_eq!(up, 1.0, "of {}", self.channel);
    }
}
