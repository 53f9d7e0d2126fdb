//! Several instances on one database share one log for each channel.

use crate::postgres::rig::{GIVES_UP, KEEP_ALL, Rig, append, config, offsets, plain, publications, request};
use crate::servers::Postgres;
use crate::support::wait::{LATE, SetOnDrop};
use seawall::id::Offset;
use seawall::job::{Attempt, Span};
use seawall::store::postgres::{PostgresOpenError, PostgresStore, Unfit, VERSION, noted_schema};
use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

const CHANNELS: u64 = 8;
const APPENDS: u64 = 1_500;
/// Appends that wait at the same time: fewer than a slow machine stores before they are given up.
const AT_ONCE: usize = 300;

/// Appends, a third under keys that both instances use. Returns channel and offset of each publication that this
/// instance stored first.
fn write(server: &Postgres, instance: u64) -> Vec<(u64, u64)> {
    let mut rig = Rig::postgres(server, KEEP_ALL, 1_000).ready();
    let (mut sent, mut stored) = (VecDeque::new(), Vec::new());
    for n in 0..APPENDS {
        if sent.len() == AT_ONCE {
            sent.pop_front()
                .and_then(|one| first(&mut rig, one))
                .into_iter()
                .for_each(|one| stored.push(one));
        }
        // The instances use different orders, so that locks taken in the order of a batch would deadlock.
        let channel = if instance == 0 { n % CHANNELS } else { CHANNELS - 1 - n % CHANNELS };
        let key = if n % 3 == 0 { format!("shared{}", n / CHANNELS) } else { format!("own{instance}-{n}") };
        let job = append(&format!("c{channel}"), "ann", Some(&key), "1");
        sent.push_back((channel, Instant::now(), rig.send(job)));
    }
    stored.extend(sent.into_iter().filter_map(|one| first(&mut rig, one)));
    rig.close();
    stored
}

/// The channel and offset of an append, if it was not stored by another instance.
fn first(rig: &mut Rig, (channel, begun, request): (u64, Instant, u64)) -> Option<(u64, u64)> {
    let outcome = rig.outcome(request);
    let fault = if begun.elapsed() < GIVES_UP { "not stored" } else { LATE };
    let appended = outcome.unwrap_or_else(|error| panic!("{fault}: {error:?}"));
    (appended.attempt == Attempt::First).then_some((channel, appended.offset.0))
}

/// Reads new publications, as a hub does: what follows a position is final and has no gap.
fn follow(server: &Postgres, done: &AtomicBool) {
    let mut rig = Rig::postgres(server, KEEP_ALL, 1_000).ready();
    let mut heads = vec![0; CHANNELS as usize];
    while !done.load(Ordering::SeqCst) {
        for (channel, head) in heads.iter_mut().enumerate() {
            let begun = Instant::now();
            let page = rig.page(request(&format!("c{channel}"), Span::After(Offset(*head))));
            let fault = if begun.elapsed() < GIVES_UP { "no page" } else { LATE };
            let page = page.unwrap_or_else(|error| panic!("{fault}: {error:?}"));
            let seen = offsets(&publications(&page));
            let expected: Vec<u64> = (*head + 1..=*head + seen.len() as u64).collect();
            assert_eq!(
                seen, expected,
                "channel {channel}: a reader saw a later offset before an earlier one"
            );
            *head += seen.len() as u64;
            assert!(page.position.head.0 >= *head);
        }
    }
    rig.close();
}

#[test]
fn two_writers_leave_no_gap_or_duplicate_and_readers_see_commits_in_offset_order() {
    let server = Postgres::start();
    Rig::postgres(&server, KEEP_ALL, 1_000).ready().close();
    let done = AtomicBool::new(false);
    let stored: Vec<(u64, u64)> = std::thread::scope(|scope| {
        let follower = scope.spawn(|| follow(&server, &done));
        let done = SetOnDrop(&done);
        let server = &server;
        let writers: Vec<_> = (0..2).map(|instance| scope.spawn(move || write(server, instance))).collect();
        let stored = writers.into_iter().flat_map(|writer| writer.join().expect("a writer")).collect();
        drop(done);
        follower.join().expect("the follower");
        stored
    });
    let acknowledged: BTreeSet<(u64, u64)> = stored.iter().copied().collect();
    assert_eq!(acknowledged.len(), stored.len(), "an offset was given twice");
    let mut rig = Rig::postgres(&server, KEEP_ALL, 1_000).ready();
    for channel in 0..CHANNELS {
        let kept = offsets(&rig.all(&format!("c{channel}")));
        let expected: Vec<u64> =
            acknowledged.iter().filter(|(of, _)| *of == channel).map(|(_, at)| *at).collect();
        assert_eq!(kept, expected);
        assert_eq!(kept, (1..=kept.len() as u64).collect::<Vec<_>>());
    }
    let deadlocks = server.sql("SELECT deadlocks FROM pg_stat_database WHERE datname = 'seawall'");
    assert_eq!(deadlocks, "0");
    rig.close();
}

#[test]
fn instances_that_start_at_once_migrate_once() {
    let server = Postgres::start();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| Rig::postgres(&server, KEEP_ALL, 1_000).ready().close());
        }
    });
    assert_eq!(server.sql("SELECT count(*) FROM seawall.meta WHERE name IN ('version', 'epoch')"), "2");
    let mut rig = Rig::postgres(&server, KEEP_ALL, 1_000).ready();
    // Each has stored one, and one whose answer was late was sent again.
    assert!(rig.offset(plain("ready", "1")) >= 6);
    rig.close();
}

/// A database as programs left it that note no oldest version.
fn make_old(server: &Postgres) {
    let run = |text| server.try_sql_as_owner(text).expect("an old migration");
    run("CREATE SCHEMA seawall;
         CREATE TABLE seawall.meta (name text COLLATE \"C\" PRIMARY KEY, value bigint NOT NULL);
         INSERT INTO seawall.meta VALUES ('version', 3), ('epoch', 7)");
    for step in [
        include_str!("../../src/store/postgres/sql/1_tables.sql"),
        include_str!("../../src/store/postgres/sql/1_append.sql"),
        include_str!("../../src/store/postgres/sql/1_read.sql"),
        include_str!("../../src/store/postgres/sql/1_retention.sql"),
        include_str!("../../src/store/postgres/sql/2_canary.sql"),
        include_str!("../../src/store/postgres/sql/3_trial.sql"),
    ] {
        run(step);
    }
}

const NOTED: &str = "SELECT string_agg(name || ' ' || value, ', ' ORDER BY name) FROM seawall.meta
                     WHERE name IN ('version', 'schema', 'oldest')";

/// The tables with their columns, and the functions with their parameters and results.
const PARTS: &str = "SELECT string_agg(part, E'\n') FROM (
    SELECT concat_ws(' ', table_name, column_name, data_type) AS part
        FROM information_schema.columns WHERE table_schema = 'seawall'
    UNION ALL
    SELECT concat_ws(' ', proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid))
        FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace WHERE nspname = 'seawall') parts";

#[test]
fn database_without_an_oldest_version_is_migrated_once_and_only_by_additions() {
    let server = Postgres::start();
    make_old(&server);
    let before = server.sql(PARTS);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| Rig::postgres(&server, KEEP_ALL, 1_000).ready().close());
        }
    });
    let noted = format!("oldest 3, schema {VERSION}, version 3");
    assert_eq!(server.sql(NOTED), noted, "earlier programs compare `version`");
    let after = server.sql(PARTS);
    for part in before.lines() {
        assert!(after.lines().any(|line| line == part), "{part} is gone");
    }
    // As the first programs with a fourth migration left it.
    server.sql("DELETE FROM seawall.meta WHERE name IN ('schema', 'oldest')");
    server.sql(&format!("UPDATE seawall.meta SET value = {VERSION} WHERE name = 'version'"));
    Rig::postgres(&server, KEEP_ALL, 1_000).ready().close();
    assert_eq!(server.sql(NOTED), noted);
}

#[test]
fn migration_may_take_longer_than_other_statements() {
    let server = Postgres::start();
    make_old(&server);
    // Like an index of millions of rows.
    server.sql(
        "CREATE FUNCTION public.take_long() RETURNS event_trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM pg_sleep(2); END $$;
         CREATE EVENT TRIGGER take_long ON ddl_command_end WHEN TAG IN ('CREATE INDEX')
             EXECUTE FUNCTION public.take_long()",
    );
    Rig::postgres(&server, KEEP_ALL, 1_000).ready().close();
    assert_eq!(server.sql(NOTED), format!("oldest 3, schema {VERSION}, version 3"));
}

#[test]
fn newer_schema_is_used_and_left_unchanged_if_its_oldest_version_is_not_above_this() {
    let server = Postgres::start();
    Rig::postgres(&server, KEEP_ALL, 1_000).ready().close();
    server.sql(
        "ALTER TABLE seawall.channels ADD COLUMN added bigint NOT NULL DEFAULT 7;
         UPDATE seawall.meta SET value = 99 WHERE name = 'schema'",
    );
    let mut rig = Rig::postgres(&server, KEEP_ALL, 1_000).ready();
    assert_eq!(rig.offset(plain("c", "1")), 1);
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'seawall'");
    let mut rig = rig.ready();
    assert_eq!(rig.offset(plain("c", "1")), 2);
    rig.close();
    let noted = noted_schema(&server.url(), None).expect("read").expect("a store");
    assert_eq!((noted.version, noted.oldest), (99, 3));
    assert_eq!(server.sql(NOTED), "oldest 3, schema 99, version 3");
}

#[test]
fn schema_is_read_without_creating_one() {
    let server = Postgres::start();
    assert_eq!(noted_schema(&server.url(), None).expect("read"), None);
    assert_eq!(server.sql("SELECT to_regnamespace('seawall') IS NULL"), "t");
}

#[test]
fn newer_schema_is_refused() {
    let server = Postgres::start();
    Rig::postgres(&server, KEEP_ALL, 1_000).ready().close();
    server.sql("UPDATE seawall.meta SET value = 99 WHERE name = 'version'");
    let refused = PostgresStore::open(config(server.url(), KEEP_ALL, 1)).expect_err("refused");
    assert!(matches!(refused, PostgresOpenError::Unfit(Unfit::Newer { found: 99, .. })), "{refused}");
    assert!(refused.to_string().contains("schema version 99"));
    // As a program leaves it that earlier ones cannot run with.
    server.sql(
        "UPDATE seawall.meta SET value = CASE name WHEN 'schema' THEN 99 ELSE 98 END WHERE name <> 'epoch'",
    );
    let refused = PostgresStore::open(config(server.url(), KEEP_ALL, 1)).expect_err("refused");
    assert!(matches!(refused, PostgresOpenError::Unfit(Unfit::Newer { found: 99, .. })), "{refused}");
}
