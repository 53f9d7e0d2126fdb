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
use seawall::job::shared_questions::{ClosedWeek, ExclusionRow, PastSpan, StoreAnswer, StoreQuestion};
use seawall::job::{Append, Read, inbox};
use seawall::metrics::store::StoreCounters;
use seawall::slo::SloPart;
use seawall::slo::minute_row::MinuteRow;
use seawall::slo::run_counts::AllCounts;
use seawall::slo::scoreboard::PartCounts;
use seawall::slo::weekly_rows::{RunEnding, RunSpan};
use seawall::store::postgres::{PostgresStore, RunningPostgres};
use seawall::store::{OrderEnds, RelayEnds, StoreEnds, StreamEnds};
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
            relay: RelayEnds::none(),
            streams: StreamEnds::closed(),
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

    fn ask(&mut self, question: StoreQuestion) -> StoreAnswer {
        assert!(self.shared.questions.ask(question), "no question is in progress");
        let answer = self.shared.questions.answers().recv_timeout(PATIENCE).expect("an answer");
        answer.expect("the store works")
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
        exclusions: Vec::new(),
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
    let mut counts = Counts::start(&server);
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
    check_past(&mut counts, &server, quarter);
    check_plan(&mut counts, &server);
    check_exclusions(&mut counts, &server);
    counts.close();
}

/// Rows of the past are read as they are, and times in which any run went on as one.
fn check_past(counts: &mut Counts, server: &Postgres, quarter: u64) {
    server.sql(
        r#"INSERT INTO seawall.incidents VALUES (1, false, '{"since_ms":10,"end":{"at_ms":20}}'), (2, true, '{"since_ms":30,"end":null}'),
            (3, false, '{"since_ms":99,"end":{"at_ms":100}}');
         INSERT INTO seawall.notices VALUES (1, 'sent', '{"content":{"at_ms":25}}'), (2, 'waiting', '{"content":{"at_ms":25}}'),
            (3, 'dead', '{"content":{"at_ms":40}}');
         INSERT INTO seawall.slo_runs SELECT 20 + each, 'gw', timestamptz 'epoch' + began * interval '1 second',
            timestamptz 'epoch' + last * interval '1 second', 0, ended
            FROM (VALUES (1, 100, 200, ''), (2, 150, 170, 'clean'), (3, 205, 300, 'clean'), (4, 340, 400, 'killed')) AS run (each, began, last, ended)"#,
    );
    let span = PastSpan { quarters: quarter..quarter + 1, week_ms: Some(20..40), zone: None };
    let StoreAnswer::Past(rows) = counts.ask(StoreQuestion::Past(span)) else { panic!("rows") };
    assert_eq!(rows.quarters, [(quarter, messages(4))]);
    assert_eq!(rows.incidents, [r#"{"since_ms":30,"end":null}"#]);
    assert_eq!(rows.notices, [("sent".to_owned(), r#"{"content":{"at_ms":25}}"#.to_owned())]);
    assert_eq!(rows.runs, [], "none began before");
    let span = PastSpan { quarters: 0..0, week_ms: Some(20..500_000), zone: None };
    let StoreAnswer::Past(rows) = counts.ask(StoreQuestion::Past(span)) else { panic!("rows") };
    let run = |began_ms, last_ms, ending| RunSpan { began_ms, last_ms, ending };
    let runs = [run(100_000, 300_000, RunEnding::Stopped), run(340_000, 400_000, RunEnding::Killed)];
    assert_eq!(rows.runs, runs);
    let span = PastSpan { quarters: 0..0, week_ms: Some(320_000..500_000), zone: None };
    let StoreAnswer::Past(rows) = counts.ask(StoreQuestion::Past(span)) else { panic!("rows") };
    let last = run(205_000, 300_000, RunEnding::Stopped);
    assert_eq!(rows.runs, [last, runs[1]], "the last one before, because a gap began there");

    let week =
        |good| vec![ClosedWeek { week: "2026-W48".into(), from_ms: u64::MAX >> 8, counts: messages(good) }];
    for good in [4, 9] {
        assert_eq!(counts.ask(StoreQuestion::Close("UTC".into(), week(good))), StoreAnswer::Closed);
    }
    let span = PastSpan { quarters: 0..0, week_ms: None, zone: Some("UTC".into()) };
    let StoreAnswer::Past(rows) = counts.ask(StoreQuestion::Past(span)) else { panic!("rows") };
    assert_eq!(rows.weeks, week(4), "the first sum is kept");
}

/// The runs of a week are read without those of the weeks before, however many there were.
fn check_plan(counts: &mut Counts, server: &Postgres) {
    server.sql(
        "INSERT INTO seawall.slo_runs SELECT 1000 + each, 'gw', timestamptz 'epoch' + each * interval '10 second',
            timestamptz 'epoch' + (each * 10 + 9) * interval '1 second', 0, 'clean' FROM generate_series(1000, 20000) AS each;
         ANALYZE seawall.slo_runs",
    );
    let reads = || {
        let text = server.sql(
            "SELECT seq_scan + idx_scan || ' ' || seq_tup_read + idx_tup_fetch
             FROM pg_stat_user_tables WHERE relname = 'slo_runs'",
        );
        let numbers: Vec<u64> = text.split(' ').map(|number| number.parse().expect("a number")).collect();
        (numbers[0], numbers[1])
    };
    let (mut scans, rows_before) = reads();
    let week_ms = Some(200_000_000..201_000_000);
    let (mut asked, mut counted) = (0, 0);
    // A session adds up its reads once a second. The second sum is of these alone.
    until(PATIENCE, "the reads are counted", || {
        let span = PastSpan { quarters: 0..0, week_ms: week_ms.clone(), zone: None };
        let StoreAnswer::Past(rows) = counts.ask(StoreQuestion::Past(span)) else { panic!("rows") };
        assert_eq!(rows.runs.first().map(|run| run.last_ms), Some(200_009_000));
        asked += 1;
        let scans_now = reads().0;
        counted += u32::from(scans_now > scans);
        scans = scans_now;
        counted == 2
    });
    let read = reads().1 - rows_before;
    assert!(read <= 20 * asked + 1_000, "{read} rows for {asked} weeks, of 19,000 in the table");
    server.sql("DELETE FROM seawall.slo_runs WHERE run >= 2000");
}

/// An exclusion is one row, however often it is added, and no more than a hundred are.
fn check_exclusions(counts: &mut Counts, server: &Postgres) {
    let row = |name: &str| ExclusionRow {
        identity: name.into(),
        until_ms: u64::MAX >> 8,
        body: format!(r#"{{"why":"{name}"}}"#),
    };
    let list = |counts: &Counts| counts.call(&call(1, Vec::new())).exclusions;
    for name in ["one", "one", "two"] {
        let number = if name == "one" { 1 } else { 2 };
        assert_eq!(counts.ask(StoreQuestion::Exclude(row(name))), StoreAnswer::Excluded(Some(number)));
    }
    let ended = StoreAnswer::Ended(Some(row("two").body));
    assert_eq!(counts.ask(StoreQuestion::EndExclusion(2)), ended);
    assert_eq!(counts.ask(StoreQuestion::EndExclusion(2)), StoreAnswer::Ended(None));
    let own = CountsCall { exclusions: vec![row("one"), row("own")], ..call(1, Vec::new()) };
    assert_eq!(
        counts.call(&own).exclusions,
        [(1, row("one").body), (3, row("own").body)],
        "no number is used twice"
    );
    server.sql("INSERT INTO seawall.slo_exclusions (identity, until_ms, body) SELECT each::text, 1, '' FROM generate_series(3, 100) AS each");
    assert_eq!(counts.ask(StoreQuestion::Exclude(row("many"))), StoreAnswer::Excluded(None));
    let own = CountsCall { exclusions: vec![row("one"), row("left out")], ..call(1, Vec::new()) };
    let full = counts.call(&own).exclusions;
    assert_eq!((full.len(), full.iter().any(|(_, body)| *body == row("left out").body)), (100, false));
    let quarters = QuarterWork::Turn { closed: Vec::new(), days: 7 };
    counts.call(&CountsCall { quarters, ..call(1, Vec::new()) });
    assert_eq!(list(counts).len(), 2, "old ones are deleted");
}
