//! A dependency that answers while one thing that calls need is broken: it is down within 5 s, whether clients call or not,
//! stays down under one reference until it is repaired, and is up only when calls work.

mod rig;
mod table;

use crate::dependencies::lanes::run_rows;
use crate::dependencies::matrix::SLACK;
use crate::dependencies::matrix::clients::Listener;
use crate::support::wait::LATE;
use crate::support::{Client, Gateway, SOON, until};
use rig::Rig;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use table::{Calls, ROWS, Row};

/// From the fault to the first notification, with the default probes, and the slack of the matrix.
const DOWN_WITHIN: Duration = Duration::from_secs(5).saturating_add(SLACK);
/// From the repair to `ok`.
const BACK_WITHIN: Duration = Duration::from_secs(2).saturating_add(SLACK);
/// Long enough for two delays of a breaker and four probes: a wrong `ok` would come in this time.
const HELD: Duration = Duration::from_secs(5);

#[test]
fn dependency_with_one_broken_path_is_down_until_it_is_repaired() {
    let name = |row: &Row| format!("{} {}", row.name, row.rate);
    run_rows(&ROWS, name, |row, _: Option<()>| {
        let (down, back) = run(row);
        (format!("down after {down:?}, back after {back:?}"), ())
    });
}

/// Makes calls until it must stop, and counts the calls that worked.
struct Load<'a> {
    rig: &'a Rig,
    gateway: &'a Gateway,
    /// Connected before the fault, because a newcomer is refused during the outage.
    client: Client,
    rate: u64,
    is_over: &'a AtomicBool,
    worked: &'a AtomicU64,
    /// All calls that have ended.
    made: &'a AtomicU64,
}

impl Load<'_> {
    fn run(mut self) {
        let Some(pause) = 1_000_u64.checked_div(self.rate) else { return };
        let mut due = Instant::now();
        loop {
            due += Duration::from_millis(pause);
            // It reads pushes until the next call is due.
            let wait = due.saturating_duration_since(Instant::now());
            let _ = self.client.next_push_within("nothing", wait);
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            let worked = self.rig.call(self.gateway, &mut self.client);
            self.worked.fetch_add(u64::from(worked), Ordering::SeqCst);
            self.made.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Returns the times from the fault to `down` and from the repair to `ok`.
fn run(row: &Row) -> (Duration, Duration) {
    let rig = Rig::start(row.calls);
    let gateway = rig.gateway();
    run_on(row, &rig, &gateway)
}

/// Begins the message about a state that is not the one of a single outage. A busy machine can make a dependency come and go.
fn wrong_state(gateway: &Gateway) -> String {
    let outages = gateway.output().matches("dependency down").count();
    let fault = if outages > 1 { LATE } else { "another state" };
    format!("{fault}: {outages} outages")
}

fn run_on(row: &Row, rig: &Rig, gateway: &Gateway) -> (Duration, Duration) {
    let mut client = rig.resident(gateway);
    if row.calls != Calls::UnknownKey {
        until(SOON, "a call works", || rig.call(gateway, &mut client));
    }
    let mut listener = Listener::of(rig.resident(gateway), "old");
    let dump = rig.dump(row);
    let (is_over, worked, made) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        let load = Load {
            rig,
            gateway,
            client: rig.resident(gateway),
            rate: row.rate,
            is_over: &is_over,
            worked: &worked,
            made: &made,
        };
        let broken = Instant::now();
        rig.apply(row.fault, None);
        let loaded = scope.spawn(|| load.run());
        // Ends the load whatever happens.
        let over = Over(&is_over);
        let (_, at) = listener.status(rig.level(), DOWN_WITHIN);
        let down = at - broken;
        // A call that began before the outage may have worked.
        let ended = made.load(Ordering::SeqCst);
        until(SOON, "it has ended", || row.rate == 0 || made.load(Ordering::SeqCst) > ended);
        let before = worked.load(Ordering::SeqCst);
        let change = listener.client.next_push_within("status", HELD);
        assert!(change.is_none(), "{}: nothing is repaired: {change:?}", wrong_state(gateway));
        // The bus carries only speed: calls do not fail without it.
        if row.calls != Calls::PublishAndSubscribe {
            let worked = worked.load(Ordering::SeqCst);
            assert_eq!(worked, before, "{}: a call worked while it was down", wrong_state(gateway));
        }
        check_log(gateway, rig, row);
        let repaired = Instant::now();
        rig.apply(row.repair, dump.as_deref());
        let repaired = repaired.max(Instant::now());
        let (_, at) = listener.status("ok", BACK_WITHIN);
        let works = rig.call(gateway, &mut client);
        assert!(works, "{}: `ok` is true: {}", wrong_state(gateway), gateway.output());
        check_log(gateway, rig, row);
        drop(over);
        loaded.join().unwrap_or_else(|panic| resume_unwind(panic));
        (down, at - repaired)
    })
}

/// The outage is in the log once, with its cause.
#[track_caller]
fn check_log(gateway: &Gateway, rig: &Rig, row: &Row) {
    until(SOON, "it is in the log", || gateway.output().contains("dependency down"));
    let output = gateway.output();
    let lines: Vec<&str> = output.lines().filter(|line| line.contains("dependency down")).collect();
    assert_eq!(lines.len(), 1, "{LATE}, or logged more than once: {output}");
    assert!(lines[0].contains(&format!("fault=\"{}\"", row.named)), "{lines:?}");
    assert!(lines[0].contains(rig.dependency()), "{lines:?}");
}

/// Ends the load when it is dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
