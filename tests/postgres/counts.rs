//! The counts of objectives that instances share, as the store keeps them.

use crate::postgres::rig::{KEEP_ALL, PATIENCE, config};
use crate::servers::Postgres;
use crate::support::wait::{SOON, until};
use crossbeam_channel::{Sender, bounded};
use seawall::job::callers::Callers;
use seawall::job::shared_alerts::SharedAlerts;
use seawall::job::shared_counts::{
    CountsAnswer, CountsCall, CountsRow, QuarterWork, RowPlace, SharedCounts, SharedRunEnd, shared_counts,
};
use seawall::job::{Append, Read, inbox};
use seawall::metrics::store::StoreCounters;
use seawall::slo::SloPart;
use seawall::slo::minute_row::MinuteRow;
use seawall::slo::run_counts::AllCounts;
use seawall::slo::scoreboard::PartCounts;
use seawall::store::postgres::{PostgresStore, RunningPostgres};
use seawall::store::{OrderEnds, StoreEnds};
use std::sync::Arc;

/// A store, of which only the counts are used.
struct Counts {
    shared: SharedCounts,
    alerts: SharedAlerts,
    jobs: (Sender<Append>, Sender<Read>),
    running: RunningPostgres,
}

impl Counts {
    fn start(server: &Postgres) -> Counts {
        let poll = mio::Poll::new().expect("a poll");
        let (mailbox, _inbox) = inbox(mio::Waker::new(poll.registry(), mio::Token(0)).expect("a waker"));
        let ((append, appends), (read, reads)) = (bounded(1), bounded(1));
        let (shared, alerts, ends) = shared_counts();
        let store = PostgresStore::open(config(server.url(), KEEP_ALL, 1_000)).expect("the URL is read");
        let running = store.start(StoreEnds {
            mailboxes: Arc::from([mailbox]),
            callers: Arc::new(Callers::new(0)),
            appends,
            reads,
            counters: Arc::new(StoreCounters::default()),
            orders: OrderEnds::alone(),
            shared_counts: Some(ends),
        });
        Counts { shared, alerts, jobs: (append, read), running: running.expect("threads start") }
    }

    /// Sends a call until the store answers.
    fn call(&self, call: &CountsCall) -> CountsAnswer {
        let mut answer = None;
        until(PATIENCE, "the store answers", || {
            assert!(self.shared.call(call.clone()), "no call is in progress");
            answer = self.shared.wait(SOON);
            answer.is_some()
        });
        answer.expect("just seen")
    }

    fn close(self) {
        drop((self.shared, self.alerts, self.jobs));
        self.running.join();
    }
}

fn messages(good: u64) -> AllCounts {
    let mut counts = AllCounts::default();
    counts[SloPart::Publish.index()] = PartCounts { looks: 1, ..PartCounts::default() };
    counts[SloPart::Publish.index()].totals.good = good;
    counts
}

fn row(run: i64, minute: u64, good: u64) -> CountsRow {
    CountsRow { run, minute, counts: MinuteRow { counts: messages(good), ..MinuteRow::default() } }
}

fn rows_of(answer: &CountsAnswer) -> Vec<CountsRow> {
    let row = |(place, counts): &(RowPlace, MinuteRow)| CountsRow {
        run: place.run,
        minute: place.minute,
        counts: *counts,
    };
    answer.rows.iter().map(row).collect()
}

fn call(run: i64, rows: Vec<CountsRow>) -> CountsCall {
    CountsCall {
        run,
        instance: Arc::from(format!("gw-{run}")),
        sessions: 4,
        end: SharedRunEnd::Runs,
        killed: Vec::new(),
        rows,
        after: RowPlace::default(),
        quarters: QuarterWork::None,
    }
}

#[test]
fn rows_that_are_written_again_late_or_in_an_older_version_count_once() {
    let server = Postgres::start();
    let counts = Counts::start(&server);
    let first = counts.call(&call(1, Vec::new()));
    let minute = first.store_ms / 60_000;
    assert_eq!(rows_of(&first), []);
    for good in [5, 3, 5] {
        counts.call(&call(1, vec![row(1, minute, good), row(1, minute - 1, 1)]));
    }
    // A row of which no quarter is open any more is left out.
    let seen = counts.call(&call(2, vec![row(2, minute, 9), row(2, minute - 3 * 1_440 - 1, 1)]));
    let mut rows = rows_of(&seen);
    rows.sort_by_key(|row| (row.run, row.minute));
    assert_eq!(rows, [row(1, minute - 1, 1), row(1, minute, 5), row(2, minute, 9)]);
    let after = seen.rows.last().expect("rows").0;
    assert_eq!(counts.call(&CountsCall { after, ..call(2, vec![row(2, minute, 9)]) }).rows.len(), 0);
    let next = counts.call(&CountsCall { after, ..call(1, vec![row(1, minute, 6)]) });
    assert_eq!(rows_of(&next), [row(1, minute, 6)]);

    let over = counts.call(&CountsCall { end: SharedRunEnd::Clean, killed: vec![1], ..call(2, Vec::new()) });
    let mut runs: Vec<_> = over.runs.iter().map(|run| (&*run.instance, run.is_over)).collect();
    runs.sort_unstable();
    assert_eq!(runs, [("gw-1", true), ("gw-2", true)]);
    let ends = server.sql("SELECT string_agg(ended, ' ' ORDER BY run) FROM seawall.slo_runs");
    assert_eq!(ends, "killed clean");
    counts.close();
}

#[test]
fn closed_quarters_keep_their_first_sums_and_old_rows_are_deleted() {
    let server = Postgres::start();
    let counts = Counts::start(&server);
    let now = counts.call(&call(1, Vec::new())).store_ms / 60_000;
    server.sql(&format!(
        "INSERT INTO seawall.slo_rows SELECT 7, {now} - 5800 - each, '{{}}', clock_timestamp() FROM generate_series(1, 5000) AS each;
         INSERT INTO seawall.slo_runs VALUES
            (7, 'gw-7', clock_timestamp() - interval '101 days', clock_timestamp() - interval '101 days', 0, ''),
            (8, 'gw-8', clock_timestamp() - interval '100 min', clock_timestamp() - interval '40 min', 0, ''),
            (9, 'gw-9', clock_timestamp() - interval '50 min', clock_timestamp() - interval '20 min', 0, '')"
    ));
    let quarter = now / 15 - 300;
    for good in [4, 8] {
        let closed = vec![(quarter, messages(good)), (quarter - 1, messages(1))];
        let quarters = QuarterWork::Turn { closed, days: 7 };
        let measured =
            counts.call(&CountsCall { quarters, ..call(1, Vec::new()) }).measured.expect("a figure");
        let (known, up) = (measured.known_s.abs_diff(6_000), measured.up_s.abs_diff(4_800));
        assert!(known < 60 && up < 60, "an hour, and twenty minutes more: {measured:?}");
    }
    let read = counts.call(&CountsCall { quarters: QuarterWork::Read { days: 7 }, ..call(1, Vec::new()) });
    assert_eq!(read.quarters, [(quarter, messages(4)), (quarter - 1, messages(1))]);
    assert_eq!(server.sql("SELECT count(*) FROM seawall.slo_rows"), "0");
    assert_eq!(server.sql("SELECT count(*) FROM seawall.slo_runs WHERE run = 7"), "0");
    counts.close();
}
