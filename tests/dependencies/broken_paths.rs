//! A store that answers while one thing that publishing, reading or deleting needs is broken: it is down within 5 s,
//! whether clients publish or not, stays down under one reference until it is repaired, and is up only when publishing
//! works.
//!
//! `SEAWALL_TEST_ROW` selects the rows whose name contains it.

use crate::dependencies::matrix::clients::Listener;
use crate::servers::Postgres;
use crate::support::{Client, Gateway, SOON, Setup, until};
use serde_json::json;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// From the fault to the first notification, with the default probes.
const DOWN_WITHIN: Duration = Duration::from_secs(5);
/// From the repair to `ok`, with time for a busy machine.
const BACK_WITHIN: Duration = Duration::from_millis(2_500);
/// Long enough for two delays of a breaker and four probes: a wrong `ok` would come in this time.
const HELD: Duration = Duration::from_secs(5);
/// Rows that run at once, because they mostly wait.
const LANES: usize = 4;

/// A fault and its repair, as statements of a superuser.
struct Row {
    name: &'static str,
    /// Publications per second meanwhile.
    rate: u64,
    fault: &'static str,
    repair: Repair,
    /// The fault as the log names it.
    named: &'static str,
}

enum Repair {
    Sql(&'static str),
    /// A dump made before the fault is restored.
    Restore,
}

const fn row(name: &'static str, rate: u64, fault: &'static str, repair: Repair, named: &'static str) -> Row {
    Row { name, rate, fault, repair, named }
}

const DROP_TABLE: &str = "DROP TABLE seawall.publications";
const DROP_SCHEMA: &str = "DROP SCHEMA seawall CASCADE";
const NEWER: &str = "UPDATE seawall.meta SET value = value + 95 WHERE name = 'version'";
const NEWER_AND_CUT: &str = "UPDATE seawall.meta SET value = value + 95 WHERE name = 'version';
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'seawall'";
const NOT_NEWER: &str = "UPDATE seawall.meta SET value = value - 95 WHERE name = 'version'";
const NO_APPEND: &str = "REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA seawall FROM seawall, PUBLIC";
const APPEND: &str = "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA seawall TO seawall, PUBLIC";
const NO_INSERT: &str = "REVOKE INSERT ON seawall.publications FROM seawall";
const INSERT: &str = "GRANT INSERT ON seawall.publications TO seawall";

const ROWS: [Row; 14] = [
    row("table", 0, DROP_TABLE, Repair::Restore, "schema"),
    row("table", 10, DROP_TABLE, Repair::Restore, "schema"),
    row("schema", 0, DROP_SCHEMA, Repair::Restore, "schema"),
    row("schema", 10, DROP_SCHEMA, Repair::Restore, "schema"),
    row("newer", 0, NEWER, Repair::Sql(NOT_NEWER), "version"),
    row("newer-cut", 0, NEWER_AND_CUT, Repair::Sql(NOT_NEWER), "version"),
    row("newer-cut", 10, NEWER_AND_CUT, Repair::Sql(NOT_NEWER), "version"),
    row("execute", 0, NO_APPEND, Repair::Sql(APPEND), "schema"),
    row("execute", 10, NO_APPEND, Repair::Sql(APPEND), "schema"),
    row("insert", 0, NO_INSERT, Repair::Sql(INSERT), "schema"),
    row("insert", 10, NO_INSERT, Repair::Sql(INSERT), "schema"),
    row(
        "heads",
        0,
        "ALTER FUNCTION seawall.heads RENAME TO away",
        Repair::Sql("ALTER FUNCTION seawall.away RENAME TO heads"),
        "schema",
    ),
    row(
        "channels",
        10,
        "REVOKE INSERT ON seawall.channels FROM seawall",
        Repair::Sql("GRANT INSERT ON seawall.channels TO seawall"),
        "schema",
    ),
    row(
        "keys",
        0,
        "REVOKE DELETE ON seawall.keys FROM seawall",
        Repair::Sql("GRANT DELETE ON seawall.keys TO seawall"),
        "schema",
    ),
];

#[test]
fn store_with_one_broken_path_is_down_until_it_is_repaired() {
    let only = std::env::var("SEAWALL_TEST_ROW").unwrap_or_default();
    let name = |row: &Row| format!("{} {}", row.name, row.rate);
    let left = Mutex::new(ROWS.iter().filter(|row| name(row).contains(&only)).rev().collect::<Vec<_>>());
    let next = || left.lock().expect("no holder panics").pop();
    let lane = || {
        let mut failed = Vec::new();
        while let Some(row) = next() {
            match catch_unwind(AssertUnwindSafe(|| run(row))) {
                Ok((down, back)) => println!("{}: down after {down:?}, back after {back:?}", name(row)),
                Err(_) => failed.push(name(row)),
            }
        }
        failed
    };
    let failed: Vec<String> = thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|_| scope.spawn(lane)).collect();
        lanes.into_iter().flat_map(|lane| lane.join().expect("panics are caught")).collect()
    });
    assert!(failed.is_empty(), "these rows failed: {failed:?}");
}

/// Publishes to new channels and old ones until it must stop, and counts what was published.
struct Load<'a> {
    /// Connected before the fault, because a newcomer is refused during the outage.
    client: Client,
    rate: u64,
    is_over: &'a AtomicBool,
    published: &'a AtomicU64,
}

impl Load<'_> {
    fn run(self) {
        let Some(pause) = 1_000_u64.checked_div(self.rate) else { return };
        let mut client = self.client;
        let mut due = Instant::now();
        for number in 0_u64.. {
            due += Duration::from_millis(pause);
            // It reads pushes until the next publication is due.
            let _ = client.next_push_within("nothing", due.saturating_duration_since(Instant::now()));
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            let channel = if number.is_multiple_of(2) { "old".into() } else { format!("new-{number}") };
            let reply = client.command(json!({"publish": {"channel": channel, "data": number}}));
            self.published.fetch_add(u64::from(reply.get("published").is_some()), Ordering::Relaxed);
        }
    }
}

/// Returns the times from the fault to `down` and from the repair to `ok`.
fn run(row: &Row) -> (Duration, Duration) {
    let server = Postgres::start();
    let gateway = Setup::new().env("SEAWALL_STORE_URL", &server.url()).limit("publishes_per_s", 0).start();
    let well = || gateway.fetch("/health/dependencies").json()["checks"]["store"][0]["state"] == json!("ok");
    until(SOON, "the store is probed", well);
    let mut client = Client::connect(&gateway);
    let mut publish = || {
        let reply = client.command(json!({"publish": {"channel": "old", "data": 1}}));
        reply.get("published").is_some()
    };
    until(SOON, "the store takes publications", &mut publish);
    let mut listener = Listener::new(&gateway, "old");
    let dump = matches!(row.repair, Repair::Restore).then(|| server.dump());
    let (is_over, published) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let load = Load {
            client: Client::connect(&gateway),
            rate: row.rate,
            is_over: &is_over,
            published: &published,
        };
        let broken = Instant::now();
        server.sql(row.fault);
        scope.spawn(|| load.run());
        // Ends the load whatever happens.
        let _over = Over(&is_over);
        let (_, at) = listener.status("down", DOWN_WITHIN);
        let down = at - broken;
        let before = published.load(Ordering::Relaxed);
        let change = listener.client.next_push_within("status", HELD);
        assert!(change.is_none(), "nothing is repaired: {change:?}");
        assert_eq!(published.load(Ordering::Relaxed), before, "published while it is down");
        check_log(&gateway, row);
        let repaired = Instant::now();
        match (&row.repair, &dump) {
            (Repair::Sql(text), _) => drop(server.sql(text)),
            (Repair::Restore, Some(dump)) => server.restore(dump),
            (Repair::Restore, None) => unreachable!("it was dumped"),
        }
        let repaired = repaired.max(Instant::now());
        let (_, at) = listener.status("ok", BACK_WITHIN);
        assert!(publish(), "`ok` is true: {}", gateway.output());
        check_log(&gateway, row);
        (down, at - repaired)
    })
}

/// The outage is in the log once, with its cause.
#[track_caller]
fn check_log(gateway: &Gateway, row: &Row) {
    until(SOON, "it is in the log", || gateway.output().contains("dependency down"));
    let output = gateway.output();
    let lines: Vec<&str> = output.lines().filter(|line| line.contains("dependency down")).collect();
    assert_eq!(lines.len(), 1, "{output}");
    assert!(lines[0].contains(&format!("fault=\"{}\"", row.named)), "{lines:?}");
}

/// Ends the load when it is dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
