//! Every dependency, every fault, and what each must see of it and by when: new connections, existing ones, publishers, readers,
//! health endpoints.
//!
//! A row has a gateway of its own, so that no fault is the second within a minute, which would be flapping; rows of one lane share
//! a server. The bounds of time are those of the specification, with [`table::SLACK`] for a busy machine.

mod fault;
mod ground;
pub mod people;
mod row;
mod table;

use ground::{Ground, Of};
use row::Measured;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;
use table::{HTTP, REDIS, Row, STORE_HARD, STORE_SILENT};

/// Rows of one table under way at once: they wait more than they work.
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
    assert!(failed.is_empty(), "these rows do not hold: {failed:?}");
}

fn lane<'a>(next: impl Fn() -> Option<&'a Row>) -> Vec<String> {
    let mut failed = Vec::new();
    let mut ground: Option<Ground> = None;
    while let Some(row) = next() {
        let own = ground.take().filter(|ground| ground.of == row.of);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut ground = own.unwrap_or_else(|| Ground::new(row.of));
            (row::run(row, &mut ground), ground)
        }));
        match outcome {
            Ok((Measured { told, back }, own)) => {
                println!("{}: told after {told:?}, back after {back:?}", name(row));
                ground = Some(own);
            }
            // What it stood on is in no known state, and went with it.
            Err(_) => failed.push(name(row)),
        }
    }
    failed
}

/// As `SEAWALL_TEST_ROW` chooses it.
fn name(row: &Row) -> String {
    format!("{:?} {:?} {:?} {:?}", row.of, row.weight, row.fault, row.pace)
}

#[test]
fn a_store_whose_connections_end() {
    run(STORE_HARD);
}

#[test]
fn a_store_that_says_nothing() {
    run(STORE_SILENT);
}

#[test]
fn redis_in_every_way() {
    run(REDIS);
}

#[test]
fn services_over_http_and_tcp_in_every_way() {
    run(HTTP);
}

#[test]
fn the_table_leaves_out_no_kind_and_no_weight() {
    let all = || [STORE_HARD, STORE_SILENT, REDIS, HTTP].into_iter().flatten();
    for of in [Of::Store, Of::Redis, Of::Http, Of::Tcp, Of::Clickhouse] {
        assert!(all().any(|row| row.of == of), "{of:?}");
    }
    for of in [Of::Redis, Of::Http, Of::Tcp] {
        assert!(all().any(|row| row.of == of && row.weight == table::Weight::Critical), "{of:?}");
        assert!(all().any(|row| row.of == of && row.weight == table::Weight::Optional), "{of:?}");
    }
}
