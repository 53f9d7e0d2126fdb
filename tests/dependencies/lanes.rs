//! Runs the rows of a table, several at once, because they mostly wait.
//!
//! `SEAWALL_TEST_ROW` selects the rows whose name contains it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex};
use std::thread;

/// Lanes of one table. What a lane keeps from row to row, for example a server, exists once for each.
const LANES: usize = 4;

/// Rows of all tables that run at once. Each has a gateway with clients, and bounds on times that a busier machine would miss.
const ROWS_AT_ONCE: usize = 6;

static RUNNING: Mutex<usize> = Mutex::new(0);
static ONE_ENDED: Condvar = Condvar::new();

/// The right to run a row.
struct Place;

impl Place {
    fn take() -> Place {
        let running = RUNNING.lock().expect("no holder panics");
        let is_full = |running: &mut usize| *running >= ROWS_AT_ONCE;
        let mut running = ONE_ENDED.wait_while(running, is_full).expect("no holder panics");
        *running += 1;
        Place
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *RUNNING.lock().expect("no holder panics") -= 1;
        ONE_ENDED.notify_one();
    }
}

/// Runs every row, prints what `run` measured, and names all that failed.
///
/// A lane passes to `run` what it keeps from its last row, `None` at first and after a failure.
#[track_caller]
pub fn run_rows<R: Sync, K>(
    rows: &[R],
    name: impl Fn(&R) -> String + Sync,
    run: impl Fn(&R, Option<K>) -> (String, K) + Sync,
) {
    let only = std::env::var("SEAWALL_TEST_ROW").unwrap_or_default();
    let left = Mutex::new(rows.iter().filter(|row| name(row).contains(&only)).rev().collect::<Vec<_>>());
    let next = || left.lock().expect("no holder panics").pop();
    let lane = || {
        let (mut failed, mut kept) = (Vec::new(), None);
        while let Some(row) = next() {
            let place = Place::take();
            let own = kept.take();
            match catch_unwind(AssertUnwindSafe(|| run(row, own))) {
                Ok((measured, own)) => {
                    println!("{}: {measured}", name(row));
                    kept = Some(own);
                }
                Err(_) => failed.push(name(row)),
            }
            drop(place);
        }
        failed
    };
    let failed: Vec<String> = thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|_| scope.spawn(lane)).collect();
        lanes.into_iter().flat_map(|lane| lane.join().expect("panics are caught")).collect()
    });
    assert!(failed.is_empty(), "these rows failed: {failed:?}");
}
