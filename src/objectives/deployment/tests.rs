//! The last row of a process, while an earlier call of the store is in progress.

use super::*;
use crate::job::shared_counts::{CountsEnds, shared_counts};
use crate::slo::part::PartTotals;
use crate::slo::scoreboard::PartCounts;

const MINUTE: u64 = 30_000_000;
const RUN: i64 = 7;

fn slot() -> AllCounts {
    let mut counts = AllCounts::default();
    counts[SloPart::Publish.index()] = PartCounts::of_slot(PartTotals { good: 3, bad: 1, excluded: 0 });
    counts
}

/// An instance with a call in progress, and the end of the store.
fn deployment() -> (Deployment, CountsEnds, Moment, u64) {
    let (shared, _, ends) = shared_counts();
    let (now, now_ms) = (Moment::from_micros(1_000_000), MINUTE * MINUTE_MS);
    let mut deployment = Deployment::new(shared, Arc::from("gw-1"), 30, now, now_ms);
    deployment.add(RUN, MINUTE, &slot(), now_ms);
    deployment.begin_turn((RUN, SharedRunEnd::Runs), 1, now, now_ms);
    // Counted after the call began.
    deployment.add(RUN, MINUTE, &slot(), now_ms);
    (deployment, ends, now, now_ms)
}

fn good(call: &CountsCall) -> Vec<u64> {
    let of = |row: &CountsRow| row.counts.counts[SloPart::Publish.index()].totals.good;
    call.rows.iter().map(of).collect()
}

#[test]
fn last_row_is_written_after_an_earlier_answer_and_confirmed_by_its_own() {
    for earlier in [Some(CountsAnswer { store_ms: MINUTE * MINUTE_MS, ..CountsAnswer::default() }), None] {
        let (mut deployment, CountsEnds { calls, answers, .. }, now, now_ms) = deployment();
        assert_eq!(good(&calls.recv().expect("the first call")), [3]);
        answers.send(earlier.clone()).expect("room");
        let store = std::thread::spawn(move || {
            let call = calls.recv().ok()?;
            let answer = CountsAnswer { store_ms: MINUTE * MINUTE_MS, ..CountsAnswer::default() };
            answers.send(Some(answer)).ok()?;
            Some(call)
        });
        deployment.finish(RUN, 1, now, now_ms);
        // The store has answered, or it never will.
        drop(deployment.shared);
        let last = store.join().expect("the store");
        match earlier {
            Some(_) => {
                let last = last.expect("the last call");
                assert_eq!((good(&last), last.end), (vec![6], SharedRunEnd::Clean), "all that was counted");
                // A confirmed row of the present minute is written again once a minute.
                assert_eq!(deployment.journal.due(MINUTE), [], "it is confirmed");
            }
            None => {
                assert!(last.is_none(), "a store that cannot be reached is not waited for");
                assert_eq!(deployment.journal.due(MINUTE).len(), 1, "the row stays in the journal");
            }
        }
    }
}
