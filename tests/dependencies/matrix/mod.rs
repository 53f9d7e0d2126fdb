//! Every dependency with every fault, and what each party must see of it and by when: new connections, existing ones,
//! publishers, readers, health endpoints.
//!
//! A row has a gateway of its own, so that no fault is the second within a minute, which would count as flapping. Rows
//! of one lane share a server. Time bounds are those of the specification plus [`table::SLACK`] for a busy machine.

pub mod clients;
mod fault;
mod row;
mod table;
mod target;

use row::Measured;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;
use table::{HTTP, REDIS, Row, STORE_HARD, STORE_SILENT};
use target::{Kind, Target};

/// Rows of one table that run at once, because they mostly wait.
const LANES: usize = 4;

/// Runs every row, and names all that failed.
fn run(rows: &[Row]) {
    let only = std::env::var("SEAWALL_TEST_ROW").unwrap_or_default();
    let left: Vec<&Row> = rows.iter().filter(|row| name(row).contains(&only)).rev().collect();
    let left = Mutex::new(left);
    let next = || left.lock().expect("no holder panics").pop();
    let failed: Vec<String> = thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|_| scope.spawn(|| lane(next))).collect();
        lanes.into_iter().flat_map(|lane| lane.join().expect("panics are caught")).collect()
    });
    assert!(failed.is_empty(), "these rows failed: {failed:?}");
}

fn lane<'a>(next: impl Fn() -> Option<&'a Row>) -> Vec<String> {
    let mut failed = Vec::new();
    let mut target: Option<Target> = None;
    while let Some(row) = next() {
        let own = target.take().filter(|target| target.kind == row.kind);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut target = own.unwrap_or_else(|| Target::new(row.kind));
            (row::run(row, &mut target), target)
        }));
        match outcome {
            Ok((Measured { notified, back }, own)) => {
                println!("{}: notified after {notified:?}, back after {back:?}", name(row));
                target = Some(own);
            }
            // The state of its dependency is unknown, so it was dropped.
            Err(_) => failed.push(name(row)),
        }
    }
    failed
}

/// The name of a row, as `SEAWALL_TEST_ROW` selects it.
fn name(row: &Row) -> String {
    format!("{:?} {:?} {:?} {:?}", row.kind, row.weight, row.fault, row.pace)
}

#[test]
fn store_whose_connections_end_is_reported_and_recovers() {
    run(STORE_HARD);
}

#[test]
fn silent_store_is_reported_and_recovers() {
    run(STORE_SILENT);
}

#[test]
fn redis_with_each_fault_is_reported_and_recovers() {
    run(REDIS);
}

#[test]
fn http_and_tcp_services_with_each_fault_are_reported_and_recover() {
    run(HTTP);
}

#[test]
fn table_covers_each_kind_and_weight() {
    let all = || [STORE_HARD, STORE_SILENT, REDIS, HTTP].into_iter().flatten();
    for kind in [Kind::Store, Kind::Redis, Kind::Http, Kind::Tcp, Kind::Clickhouse] {
        assert!(all().any(|row| row.kind == kind), "{kind:?}");
    }
    for kind in [Kind::Redis, Kind::Http, Kind::Tcp] {
        assert!(all().any(|row| row.kind == kind && row.weight == table::Weight::Critical), "{kind:?}");
        assert!(all().any(|row| row.kind == kind && row.weight == table::Weight::Optional), "{kind:?}");
    }
}
