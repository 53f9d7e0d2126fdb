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

pub use table::SLACK;

use crate::dependencies::lanes::run_rows;
use row::Measured;
use table::{HTTP, REDIS, Row, STORE_HARD, STORE_SILENT};
use target::{Kind, Target};

fn run(rows: &[Row]) {
    run_rows(rows, name, |row, target: Option<Target>| {
        // After a failed row the state of its dependency is unknown, so it was dropped.
        let mut target =
            target.filter(|target| target.kind == row.kind).unwrap_or_else(|| Target::new(row.kind));
        let Measured { notified, back } = row::run(row, &mut target);
        (format!("notified after {notified:?}, back after {back:?}"), target)
    });
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
