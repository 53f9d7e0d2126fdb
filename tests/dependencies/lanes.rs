//! Runs the rows of a table, several at once, because they mostly wait.
//!
//! A row bounds many times, and on a machine that is busy for seconds a probe fails in time. So a row that was late runs once more at the
//! end, alone; one that failed for another reason does not.
//!
//! `SEAWALL_TEST_ROW` selects the rows whose name contains it.

use crate::support::wait::LATE;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;

/// Lanes of one table. What a lane keeps from row to row, for example a server, exists once for each.
const LANES: usize = 4;

/// Rows of all tables that run at once. Each has a gateway with clients, and bounds on times that a busier machine would miss.
const ROWS_AT_ONCE: usize = 6;

static RUNNING: Mutex<usize> = Mutex::new(0);
static ONE_ENDED: Condvar = Condvar::new();

/// True if a row failed because something took too long.
fn is_late(panic: &(dyn Any + Send)) -> bool {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    text.is_some_and(|text| text.contains(LATE))
}

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
                Err(panic) => failed.push((row, is_late(&*panic))),
            }
            drop(place);
        }
        failed
    };
    let failed: Vec<(&R, bool)> = thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|_| scope.spawn(lane)).collect();
        lanes.into_iter().flat_map(|lane| lane.join().expect("panics are caught")).collect()
    });
    let (late, wrong): (Vec<_>, Vec<_>) = failed.into_iter().partition(|(_, is_late)| *is_late);
    let wrong: Vec<String> = wrong.into_iter().map(|(row, _)| name(row)).collect();
    assert!(wrong.is_empty(), "these rows failed: {wrong:?}");
    for (row, _) in late {
        let _place = Place::take();
        println!("{}: once more, alone", name(row));
        let (measured, _) = run(row, None);
        println!("{}: {measured}", name(row));
    }
}

#[test]
fn only_a_row_that_was_late_runs_again() {
    // The message with which a row panics when it runs for the first time.
    let runs = |rows: &[Option<&str>]| {
        let ran: Vec<_> = rows.iter().map(|_| AtomicUsize::new(0)).collect();
        let rows: Vec<_> = rows.iter().zip(&ran).collect();
        let run = |(message, ran): &(&Option<&str>, &AtomicUsize), _: Option<()>| {
            let is_first = ran.fetch_add(1, Ordering::Relaxed) == 0;
            message.filter(|_| is_first).inspect(|message| panic!("{message}"));
            (String::new(), ())
        };
        let all = catch_unwind(AssertUnwindSafe(|| run_rows(&rows, |_| "a row of a test".into(), run)));
        (all.is_ok(), ran.iter().map(|ran| ran.load(Ordering::Relaxed)).collect::<Vec<_>>())
    };
    assert_eq!(runs(&[None, Some("not in time: the answer")]), (true, vec![1, 2]));
    assert_eq!(runs(&[Some("a wrong answer"), None]), (false, vec![1, 1]));
}
