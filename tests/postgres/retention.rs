//! Retention: busy channels are skipped, a failing task does not stop the others, and keys are deleted in slices.

use crate::postgres::rig::{KEEP_ALL, PostgresConfig, Rig, config, plain, request};
use crate::servers::Postgres;
use crate::support::wait::{SOON, comes_true, until};
use seawall::auth::account::ChannelShare;
use seawall::clock::Moment;
use seawall::id::Offset;
use seawall::job::probing::Probing as _;
use seawall::job::{Append, AppendError, Creation, Span};
use seawall::store::postgres::drop_channels;
use seawall::store::postgres::{StoreProbe, Unmigrated};
use seawall::store::{Retention, Selection};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const FIVE: Retention = Retention { publications: 5, age: None };

/// The number of publications of a channel on the server.
fn held(server: &Postgres, channel: &str) -> String {
    server.sql(&format!(
        "SELECT count(*) FROM seawall.publications p JOIN seawall.channels c ON c.id = p.channel WHERE c.name = '{channel}'"
    ))
}

/// A server whose channels have this many publications each.
fn filled(channels: &[&str], count: u64) -> Postgres {
    let server = Postgres::start();
    let mut rig = Rig::postgres(&server, KEEP_ALL, 100).ready();
    for channel in channels {
        let sent: Vec<u64> = (0..count).map(|_| rig.send(plain(channel, "1"))).collect();
        assert!(sent.into_iter().all(|request| rig.outcome(request).is_ok()));
    }
    rig.close();
    server
}

#[test]
fn busy_channel_is_skipped_and_trimmed_later() {
    let server = filled(&["a-busy", "b"], 20);
    let holder = server.hold("SELECT 1 FROM seawall.channels WHERE name = 'a-busy' FOR UPDATE");
    let mut rig = Rig::postgres(&server, FIVE, 100).ready();
    until(SOON, "the channel after it is trimmed", || held(&server, "b") == "5");
    assert_eq!(held(&server, "a-busy"), "20");
    assert_eq!(rig.counters.retention_failures.load(Ordering::Relaxed), 0, "it waits for no lock");
    drop(holder);
    until(SOON, "it stores publications again", || rig.append(plain("a-busy", "1")).is_ok());
    until(SOON, "it is trimmed as well", || held(&server, "a-busy") == "5");
    rig.close();
}

#[test]
fn channel_of_a_probe_is_not_counted_and_goes_a_day_after_its_last_use() {
    let server = filled(&["c"], 1);
    let counted = || server.sql("SELECT value FROM seawall.meta WHERE name = 'channels'");
    let before = counted();
    for instance in ["ended", "ended", "runs"] {
        let mut probe =
            StoreProbe::new(&server.url(), None, instance, Unmigrated::Fails).expect("an address");
        for _ in 0..3 {
            probe.look(SOON).result.expect("the store works");
        }
    }
    assert_eq!((held(&server, "$probe:ended"), counted()), ("1".into(), before.clone()));
    let day_ms = 24 * 3_600 * 1_000;
    server.sql(&format!("UPDATE seawall.channels SET time = time - {day_ms} WHERE name = '$probe:ended'"));
    let rig = Rig::postgres(&server, KEEP_ALL, 100).ready();
    let left = "SELECT name FROM seawall.channels WHERE left(name, 1) = '$'";
    until(SOON, "it is removed", || server.sql(left) == "$probe:runs");
    let orphans =
        "SELECT count(*) FROM seawall.publications WHERE channel NOT IN (SELECT id FROM seawall.channels)";
    assert_eq!((server.sql(orphans), counted()), ("0".into(), before));
    rig.close();
}

#[test]
fn failing_task_does_not_stop_the_others() {
    let server = filled(&["c"], 20);
    server.sql("ALTER FUNCTION seawall.cut_number RENAME TO away");
    old_keys(&server, 10, 0);
    let both = Retention { publications: 5, age: Some(Duration::from_millis(100)) };
    let rig = Rig::postgres(&server, both, 100).ready();
    until(SOON, "expired publications are deleted", || held(&server, "c") == "0");
    until(SOON, "keys are deleted", || rig.counters.keys_forgotten.load(Ordering::Relaxed) == 10);
    // Counted at the end of the round.
    until(SOON, "the first task failed", || rig.counters.retention_failures.load(Ordering::Relaxed) > 0);
    rig.close();
}

/// Inserts old keys of channel `c` without publications, nine days old, sorted after `after` recent ones.
fn old_keys(server: &Postgres, count: u64, after: u64) {
    let insert = |name: &str, count: u64, age: &str| {
        server.sql(&format!(
            "INSERT INTO seawall.keys SELECT c.id, 'ann', '{name}' || to_char(n, 'FM000000'), 0,
                 (extract(epoch FROM now() - interval '{age}') * 1000)::bigint, ''
             FROM seawall.channels c, generate_series(1, {count}) n WHERE c.name = 'c'"
        ))
    };
    insert("a-new", after, "1 minute");
    insert("b-old", count, "9 days");
}

#[test]
fn old_keys_are_deleted_in_consecutive_slices() {
    let server = filled(&["c"], 1);
    // More recent keys than one slice examines: a scan that restarts each time would never reach the old ones.
    old_keys(&server, 1_300, 1_100);
    let rig = Rig::postgres(&server, KEEP_ALL, 100).ready();
    until(SOON * 2, "all old keys are deleted", || {
        rig.counters.keys_forgotten.load(Ordering::Relaxed) == 1_300
    });
    assert_eq!(server.sql("SELECT count(*) FROM seawall.keys WHERE key LIKE 'a-new%'"), "1100");
    rig.close();
}

#[test]
fn backlog_of_old_keys_is_deleted_without_a_pause_between_slices() {
    let server = filled(&["c"], 1);
    old_keys(&server, 40_000, 0);
    let rig = Rig::postgres(&server, KEEP_ALL, 100).ready();
    // One slice a second would take more than a minute.
    until(SOON, "all old keys are deleted", || rig.counters.keys_forgotten.load(Ordering::Relaxed) == 40_000);
    rig.close();
}

#[test]
fn start_long_after_the_last_use_deletes_nothing_by_age_at_once() {
    let server = filled(&["c"], 20);
    old_keys(&server, 10, 0);
    server.sql(
        "INSERT INTO seawall.meta VALUES ('last_use', (extract(epoch FROM now() - interval '25 hours') * 1000)::bigint)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    );
    let both = Retention { publications: 5, age: Some(Duration::from_millis(100)) };
    let rig = Rig::postgres(&server, both, 100).ready();
    until(SOON, "retention by age rests", || rig.counters.retention_rests.load(Ordering::Relaxed) > 0);
    until(SOON, "retention by number goes on", || held(&server, "c") == "5");
    assert_eq!(rig.counters.keys_forgotten.load(Ordering::Relaxed), 0);
    server.sql("DELETE FROM seawall.meta WHERE name = 'last_use'");
    rig.close();
    // Without a note, the time of the newest publication is used, and it is recent.
    let rig = Rig::postgres(&server, both, 100).ready();
    until(SOON, "expired publications are deleted", || held(&server, "c") == "0");
    rig.close();
}

/// Lets everything in the store appear two minutes older.
fn age(server: &Postgres) {
    server.sql("UPDATE seawall.channels SET time = time - 120000, oldest = oldest - 120000");
    server.sql("UPDATE seawall.publications SET time = time - 120000");
}

/// The number of rows, and the number that the store counts.
fn channels(server: &Postgres) -> String {
    server.sql("SELECT count(*) || ' ' || (SELECT value FROM seawall.meta WHERE name = 'channels') FROM seawall.channels")
}

#[test]
fn empty_idle_channels_are_removed_and_their_offsets_are_not_used_again() {
    let server = filled(&["a", "b"], 3);
    server.sql(
        "INSERT INTO seawall.keys SELECT id, 'ann', 'k', 3, time, '' FROM seawall.channels WHERE name = 'b'",
    );
    age(&server);
    let brief = Retention { publications: 0, age: Some(Duration::from_secs(60)) };
    // The third is the one that shows the rig to be ready.
    let mut rig = Rig::postgres(&server, brief, 3).ready();
    until(SOON, "the channel without keys is removed", || channels(&server) == "2 2");
    assert_eq!(rig.heads(&["a", "b", "new"]).expect("read"), [(65_536, 65_537), (3, 4), (65_536, 65_537)]);
    let absent = rig.page(request("a", Span::After(Offset(3)))).expect("a page").position;
    assert_eq!((absent.head, absent.floor), (Offset(65_536), Offset(65_537)));
    assert_eq!(rig.offset(plain("a", "1")), 65_537);
    assert_eq!(rig.append(plain("c", "1")), Err(AppendError::TooManyChannels));
    until(SOON, "the gauges are set", || rig.counters.channels.load(Ordering::Relaxed) == 3);
    assert!(rig.counters.channels_removed.load(Ordering::Relaxed) > 0);
    rig.close();
}

#[test]
fn append_whose_channel_is_removed_meanwhile_creates_it_again() {
    let server = filled(&["c"], 20);
    let mut rig = Rig::postgres(&server, KEEP_ALL, 1).ready();
    let removal = "BEGIN; UPDATE seawall.meta SET value = 0 WHERE name = 'channels';
         DELETE FROM seawall.channels; SELECT pg_sleep(0.5); COMMIT";
    let asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    let mut met = false;
    until(SOON * 2, "an append meets the removal", || {
        std::thread::scope(|scope| {
            let removing = scope.spawn(|| server.sql(removal));
            // A busy machine may look too late.
            until(SOON, "the removal waits, or is over", || {
                met = server.sql(asleep) == "1";
                met || removing.is_finished()
            });
            assert_eq!(rig.offset(plain("c", "1")), 1);
        });
        met
    });
    assert_eq!(channels(&server), "1 1");
    rig.close();
}

#[test]
fn new_channels_are_counted_against_the_share_of_their_creator() {
    let server = Postgres::start();
    let mut rig = Rig::postgres(&server, KEEP_ALL, 100).ready();
    let share = ChannelShare::new(Arc::default(), 2, Moment::from_micros(10));
    let mut append =
        |channel: &str, creation: Creation| rig.append(Append { creation, ..plain(channel, "1") });
    for channel in ["a", "a", "a", "ready", "b"] {
        assert!(append(channel, Creation::Shared(share.clone())).is_ok(), "{channel}");
    }
    let used = append("c", Creation::Shared(share.clone()));
    assert!(matches!(used, Err(AppendError::ChannelShareUsed { retry_ms: 1_800_001 })), "{used:?}");
    assert!(append("b", Creation::Shared(share)).is_ok(), "it exists");
    assert_eq!(append("d", Creation::Denied), Err(AppendError::MayNotCreate));
    assert!(append("b", Creation::Denied).is_ok(), "it exists");
    rig.close();
}

#[test]
fn dropped_channels_leave_the_store_while_a_gateway_runs() {
    let server = filled(&["room.1", "room.2", "lobby"], 3);
    server.sql("INSERT INTO seawall.keys SELECT id, 'ann', 'k', 3, time, '' FROM seawall.channels");
    let mut rig = Rig::postgres(&server, KEEP_ALL, 100).ready();
    let selection = Selection::parse("room.*").expect("a beginning");
    let dropped = drop_channels(&server.url(), None, &selection).expect("dropped");
    assert_eq!((dropped.channels, dropped.publications), (2, 6));
    assert_eq!(channels(&server), "2 2");
    assert_eq!(server.sql("SELECT count(*) FROM seawall.keys"), "2");
    assert_eq!(rig.offset(plain("room.1", "1")), 65_537);
    assert_eq!(rig.offset(plain("lobby", "1")), 4);
    rig.close();
}

#[test]
fn oldest_publications_go_while_all_take_more_bytes_than_allowed() {
    let data = format!("\"{}\"", "0123456789abcdef".repeat(60));
    let server = Postgres::start();
    let mut rig = Rig::postgres(&server, KEEP_ALL, 100).ready();
    let sent: Vec<u64> =
        (0..1_000).map(|n| rig.send(plain(if n < 500 { "old" } else { "new" }, &data))).collect();
    assert!(sent.into_iter().all(|request| rig.outcome(request).is_ok()));
    rig.close();
    // Both channels were written at once, and what is at most 10 s younger than the oldest may go in any order.
    server.sql("UPDATE seawall.channels SET oldest = oldest - 60000 WHERE name = 'old'");
    server.sql(
        "UPDATE seawall.publications SET time = time - 60000
         WHERE channel = (SELECT id FROM seawall.channels WHERE name = 'old')",
    );
    let bounded = PostgresConfig { bytes_max: 700_000, ..config(server.url(), KEEP_ALL, 100) };
    let rig = Rig::postgres_with(bounded).ready();
    let count = |channel| held(&server, channel).parse::<u64>().expect("a number");
    let deletes = || rig.counters.retention_deletes.load(Ordering::Relaxed);
    until(SOON, "enough is deleted", || deletes() > 250);
    let mut deleted = deletes();
    until(SOON, "nothing is deleted for two seconds", || {
        deleted = deletes();
        !comes_true(Duration::from_secs(2), || deletes() > deleted)
    });
    let more = comes_true(Duration::from_secs(5), || deletes() > deleted + 5);
    assert!(!more, "the next estimates find no excess: {deleted}, {}", deletes());
    // About 1,120 bytes each with what belongs to it.
    assert_eq!(count("new"), 500, "the oldest go first");
    assert!((50..250).contains(&count("old")), "{}", count("old"));
    rig.close();
}
