//! The log by itself: properties that the model does not cover, and the effects of a failing disk.

use super::super::connection::{self, Checkpoint};
use super::super::log::{BatchFault, LogBounds};
use super::super::retention::{Duty, SliceRows};
use super::super::room;
use super::support::{
    KEEP_ALL, Shelf, append, changing, delete, edit, name, offsets, plain, publications, request,
};
use crate::auth::account::{Account, ChannelShare};
use crate::clock::Moment;
use crate::id::{Epoch, Offset};
use crate::job::{Append, AppendChange, AppendError, Attempt, Authority, Creation, Form, PageRequest, Span};
use crate::store::Retention;
use crate::store::columns::natural;
use crate::store::emptied::BASE_STEP;
use crate::wire::push::LogPosition;
use rusqlite::limits::Limit;
use std::sync::Arc;
use std::time::Duration;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

fn keeping(publications: u64, age: Option<Duration>) -> LogBounds {
    LogBounds { retention: Retention { publications, age }, ..KEEP_ALL }
}

#[test]
fn repeat_is_answered_with_the_first_offset_even_in_one_batch_and_after_a_restart() {
    let mut shelf = Shelf::new(KEEP_ALL);
    let job = || append("c", "ann", Some("k"), "1");
    let both = shelf.append(&[job(), job()], 5);
    let (first, again) = (both[0].as_ref().expect("stored"), both[1].as_ref().expect("a repeat"));
    assert_eq!((first.offset, first.time_ms, first.attempt), (Offset(1), 5, Attempt::First));
    assert_eq!((again.offset, again.time_ms, again.attempt), (Offset(1), 5, Attempt::Repeat));
    shelf.reopen();
    let later =
        shelf.append(&[job(), append("c", "bob", Some("k"), "2"), append("c", "ann", Some("k"), "2")], 9);
    assert_eq!(later[0].as_ref(), Ok(again));
    assert_eq!(later[1].as_ref().expect("another user's key").offset, Offset(2));
    assert_eq!(later[2], Err(AppendError::KeyConflict));
    assert_eq!(shelf.all("c").len(), 2);
}

#[test]
fn key_is_kept_eight_days_and_while_its_publication_is_retained() {
    let mut shelf = Shelf::new(keeping(1, None));
    for n in 0..600 {
        shelf.append(&[append("c", "ann", Some(&format!("k{n}")), "1")], 0);
    }
    shelf.retain(0);
    let repeat = shelf.append(&[append("c", "ann", Some("k0"), "1")], 7 * DAY_MS);
    assert_eq!(repeat[0].as_ref().expect("known").attempt, Attempt::Repeat);
    shelf.retain(9 * DAY_MS);
    let kept: i64 =
        shelf.log.raw().query_row("SELECT count(*) FROM keys", [], |row| row.get(0)).expect("a count");
    assert_eq!(kept, 1);
    let last = shelf.append(&[append("c", "ann", Some("k599"), "1")], 9 * DAY_MS);
    assert_eq!(last[0].as_ref().expect("known").attempt, Attempt::Repeat);
    assert_eq!(shelf.offset(append("c", "ann", Some("k0"), "1"), 9 * DAY_MS), 601);
}

#[test]
fn table_of_keys_stays_within_twice_the_keys_that_must_be_known() {
    let mut shelf = Shelf::new(keeping(1, None));
    let (per_day, days_known) = (2_000, 8);
    for day in 0..40 {
        // Spread over three channels, so that the expired keys are not next to each other in the sweep's order.
        for batch in 0..2 {
            let jobs: Vec<_> = (0..1_000)
                .map(|n| append(&format!("c{}", n % 3), "ann", Some(&format!("{day}-{batch}-{n}")), "1"))
                .collect();
            shelf.append(&jobs, day * DAY_MS);
        }
        shelf.retain(day * DAY_MS);
    }
    let kept: i64 =
        shelf.log.raw().query_row("SELECT count(*) FROM keys", [], |row| row.get(0)).expect("a count");
    assert!(kept <= 2 * per_day * (days_known + 1), "{kept} keys");
}

#[test]
fn delete_removes_the_text_of_original_and_edits_from_pages_and_file() {
    let mut shelf = Shelf::new(KEEP_ALL);
    let long = format!("\"{}\"", "secret-one ".repeat(2_000));
    shelf.offset(plain("c", &long), 1);
    shelf.offset(changing(edit(1), plain("c", "\"secret-two\"")), 2);
    shelf.offset(plain("c", "\"public\""), 3);
    assert_eq!(shelf.offset(changing(delete(1), plain("c", "null")), 4), 4);
    let all = shelf.all("c");
    assert_eq!(
        all[0].to_string(),
        r#"{"channel":"c","data":null,"deleted_by":4,"offset":1,"time":1,"user":"ann"}"#
    );
    assert_eq!(
        (&all[1]["data"], &all[1]["deleted_by"], &all[1]["edits"]),
        (&().into(), &4.into(), &1.into())
    );
    assert_eq!((&all[2]["data"], &all[3]["deletes"]), (&"public".into(), &1.into()));
    shelf.retain(5);
    shelf.log.checkpoint(Checkpoint::Truncate).expect("a checkpoint");
    let file = std::fs::read(shelf.path()).expect("the file");
    let holds = |text: &str| file.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("public") && !holds("secret-one") && !holds("secret-two"));
    let again =
        shelf.append(&[changing(delete(1), plain("c", "null")), changing(edit(2), plain("c", "1"))], 5);
    assert_eq!(again, [Err(AppendError::NotFound), Err(AppendError::NotFound)]);
}

#[test]
fn delete_after_many_large_edits_is_hidden_at_once_and_erased_in_slices_over_a_restart() {
    const EDITS: u64 = 40;
    let mut shelf = Shelf::new(KEEP_ALL);
    let text = format!("\"{}\"", "secret ".repeat(8_000));
    shelf.offset(plain("c", &text), 1);
    for _ in 0..EDITS {
        shelf.offset(changing(edit(1), plain("c", &text)), 2);
    }
    let by = shelf.offset(changing(delete(1), plain("c", "null")), 3);
    let hidden = |shelf: &Shelf| {
        let all = shelf.all("c");
        let edits = &all[..=EDITS as usize];
        edits.iter().all(|edit| edit["data"].is_null() && edit["deleted_by"] == by)
    };
    let held = |shelf: &mut Shelf| -> i64 {
        let count = "SELECT count(*) FROM publications WHERE data LIKE '%secret%'";
        shelf.log.raw().query_row(count, [], |row| row.get(0)).expect("a count")
    };
    assert!(hidden(&shelf));
    assert_eq!(held(&mut shelf) as u64, EDITS, "the delete itself waits for no edit");
    let slice = shelf.log.retain(Duty::Erase, 3, SliceRows::MAX).expect("a slice");
    assert!((1..=10).contains(&slice.erased), "{} of 56 kB each", slice.erased);
    shelf.reopen();
    // The original may leave before its edits do.
    shelf.log.raw().execute_batch("DELETE FROM publications WHERE kind = 0").expect("a cut");
    assert!(shelf.all("c").iter().all(|edit| edit["data"].is_null()));
    shelf.retain(3);
    assert_eq!(held(&mut shelf), 0);
    let left: i64 =
        shelf.log.raw().query_row("SELECT count(*) FROM erasures", [], |row| row.get(0)).expect("a count");
    assert_eq!(left, 0);
}

#[test]
fn only_the_author_or_a_moderator_changes_a_publication() {
    let mut shelf = Shelf::new(KEEP_ALL);
    shelf.offset(plain("c", "1"), 1);
    let by_bob = |change| changing(change, append("c", "bob", None, "2"));
    let moderated = AppendChange::Edit(Offset(1), Authority::Moderator);
    let outcomes = shelf.append(&[by_bob(edit(1)), by_bob(delete(1)), by_bob(moderated)], 2);
    assert_eq!(outcomes[..2], [Err(AppendError::NotAuthor), Err(AppendError::NotAuthor)]);
    assert_eq!(outcomes[2].as_ref().expect("stored").offset, Offset(2));
}

#[test]
fn retention_by_number_raises_floors_in_fair_slices() {
    let mut shelf = Shelf::new(keeping(10, None));
    for channel in ["a", "b"] {
        let jobs: Vec<_> = (0..900).map(|_| plain(channel, "1")).collect();
        shelf.append(&jobs, 1);
    }
    let slice = shelf.log.retain(Duty::Number, 1, SliceRows::MAX).expect("a slice");
    assert_eq!(slice.publications, 512);
    let floor = |shelf: &Shelf, channel| shelf.page(channel, Span::After(Offset::ZERO), 0).position.floor;
    assert_eq!((floor(&shelf, "a"), floor(&shelf, "b")), (Offset(257), Offset(257)));
    shelf.reopen();
    shelf.retain(1);
    assert_eq!(offsets(&shelf.page("a", Span::After(Offset::ZERO), 3)), [891, 892, 893]);
    assert_eq!(floor(&shelf, "b"), Offset(891));
    assert_eq!(shelf.offset(plain("a", "1"), 2), 901);
}

#[test]
fn retention_by_age_may_empty_a_channel_and_offsets_continue() {
    let mut shelf = Shelf::new(keeping(0, Some(Duration::from_millis(100))));
    shelf.offset(plain("c", "1"), 1_000);
    shelf.offset(plain("c", "2"), 1_050);
    // The second is exactly as old as allowed.
    shelf.retain(1_150);
    assert_eq!(offsets(&shelf.page("c", Span::After(Offset::ZERO), 9)), [2]);
    shelf.retain(2_000);
    let page = shelf.page("c", Span::Before(Offset(u64::MAX)), 9);
    assert_eq!(page.position, LogPosition { epoch: Epoch(7), head: Offset(2), floor: Offset(3) });
    assert_eq!((page.count, page.first, page.last, page.body.len()), (0, Offset::ZERO, Offset::ZERO, 0));
    shelf.reopen();
    assert_eq!(shelf.offset(plain("c", "3"), 3_000), 3);
    assert_eq!(shelf.page("c", Span::After(Offset::ZERO), 0).position.floor, Offset(3));
}

#[test]
fn times_never_decrease_along_a_channel() {
    let mut shelf = Shelf::new(KEEP_ALL);
    for now_ms in [50, 40, 60] {
        shelf.offset(plain("c", "1"), now_ms);
        shelf.reopen();
    }
    let times: Vec<_> = shelf.all("c").iter().map(|value| value["time"].as_u64()).collect();
    assert_eq!(times, [Some(50), Some(50), Some(60)]);
}

#[test]
fn pages_are_ascending_in_both_directions_and_within_bounds() {
    let mut shelf = Shelf::new(KEEP_ALL);
    let jobs: Vec<_> = (1..=9).map(|n| plain("c", &n.to_string())).collect();
    shelf.append(&jobs, 1);
    let page = |span, limit| offsets(&shelf.page("c", span, limit));
    assert_eq!(page(Span::After(Offset(2)), 3), [3, 4, 5]);
    assert_eq!(page(Span::Before(Offset(6)), 3), [3, 4, 5]);
    assert_eq!(page(Span::Before(Offset(u64::MAX)), 2), [8, 9]);
    assert_eq!(page(Span::Before(Offset(1)), 9), [0u64; 0]);
    assert_eq!(page(Span::After(Offset(9)), 9), [0u64; 0]);
    assert_eq!(page(Span::After(Offset(u64::MAX)), 9), [0u64; 0]);
    let never = shelf.page("never", Span::After(Offset::ZERO), 9);
    assert_eq!((never.position.head, never.position.floor), (Offset::ZERO, Offset(1)));
    let all = shelf.page("c", Span::After(Offset::ZERO), 9);
    assert_eq!((all.count, all.first, all.last), (9, Offset(1), Offset(9)));
    for span in [Span::After(Offset::ZERO), Span::Before(Offset(10))] {
        for form in [Form::Json, Form::Frames] {
            let bytes = shelf.read(&PageRequest { form, ..request("c", span) }).body.len();
            for bytes_max in [0, 1, bytes / 3, bytes - 1, bytes] {
                let request = PageRequest { bytes_max, form, ..request("c", span) };
                let page = shelf.read(&request);
                assert!(page.count == 1 || page.body.len() <= bytes_max, "{request:?}");
                assert_eq!(page.last.0 - page.first.0 + 1, u64::from(page.count));
                assert_eq!(page.count == 9, bytes_max == bytes, "{request:?} {}", page.body.len());
            }
        }
    }
}

#[test]
fn frames_hold_the_same_publications_as_json() {
    let mut shelf = Shelf::new(KEEP_ALL);
    shelf.append(&[plain("c", "1"), plain("c", "[\"two\"]")], 1);
    let span = Span::Before(Offset(3));
    let frames = shelf.read(&PageRequest { form: Form::Frames, ..request("c", span) }).body;
    let mut expected = Vec::new();
    for value in publications(&shelf.page("c", span, 9)) {
        let (offset, data) = (value["offset"].as_u64().expect("an offset"), value["data"].to_string());
        let stored = crate::wire::publication::Stored {
            offset: Offset(offset),
            key: None,
            user: "ann",
            time_ms: 1,
            change: crate::wire::publication::Change::None,
            stream: crate::wire::stream::StreamMark::None,
            deleted_by: None,
            data: &data,
        };
        crate::wire::push::publication(&mut expected, &name("c"), &stored);
    }
    assert_eq!(frames, expected);
}

#[test]
fn channel_over_the_limit_is_refused_and_a_refused_edit_creates_none() {
    let mut shelf = Shelf::new(LogBounds { channels_max: 2, ..KEEP_ALL });
    let missing = changing(edit(1), plain("x", "1"));
    let outcomes =
        shelf.append(&[missing, plain("a", "1"), plain("b", "1"), plain("c", "1"), plain("a", "2")], 1);
    assert_eq!(outcomes[0], Err(AppendError::NotFound));
    assert_eq!(outcomes[3], Err(AppendError::TooManyChannels));
    assert_eq!(outcomes[4].as_ref().expect("stored").offset, Offset(2));
    shelf.reopen();
    assert_eq!(shelf.append(&[plain("c", "1")], 1), [Err(AppendError::TooManyChannels)]);
}

const EMPTIED: LogBounds = LogBounds {
    retention: Retention { publications: 0, age: Some(Duration::from_secs(1)) },
    channels_max: 2,
    ..KEEP_ALL
};

#[test]
fn empty_idle_channel_without_keys_is_removed_and_its_offsets_are_not_used_again() {
    let mut shelf = Shelf::new(EMPTIED);
    for data in ["1", "2", "3"] {
        shelf.offset(plain("a", data), 1_000);
    }
    shelf.offset(append("keyed", "ann", Some("k"), "1"), 1_000);
    shelf.retain(61_000);
    assert_eq!(shelf.log.channels(), (2, 2), "a minute has not passed");
    assert_eq!(shelf.page("a", Span::After(Offset(0)), 1).position.head, Offset(3));
    shelf.retain(61_001);
    assert_eq!(shelf.log.channels(), (1, 2), "the key must be known for eight days");
    let removed = shelf.page("a", Span::After(Offset(3)), 1).position;
    assert_eq!((removed.head, removed.floor), (Offset(BASE_STEP), Offset(BASE_STEP + 1)));
    assert_eq!(shelf.offset(plain("b", "1"), 61_001), BASE_STEP + 1);
    assert_eq!(shelf.append(&[plain("a", "1")], 61_001), [Err(AppendError::TooManyChannels)]);
    shelf.reopen();
    shelf.retain(200_000);
    assert_eq!(shelf.offset(plain("a", "4"), 200_000), 2 * BASE_STEP + 1);
    shelf.retain(9 * DAY_MS);
    shelf.retain(9 * DAY_MS);
    assert_eq!(shelf.log.channels().0, 0, "the key is forgotten, too");
}

#[test]
fn new_channels_are_counted_against_the_share_of_their_creator() {
    let mut shelf = Shelf::new(KEEP_ALL);
    shelf.offset(plain("old", "1"), 1);
    let account = Arc::new(Account::default());
    let share = ChannelShare::new(account, 2, Moment::from_micros(10));
    let job = |channel: &str| Append { creation: Creation::Shared(share.clone()), ..plain(channel, "1") };
    let outcomes = shelf.append(&[job("a"), job("a"), job("old"), job("b"), job("c"), plain("d", "1")], 1);
    let used = Err(AppendError::ChannelShareUsed { retry_ms: 1_800_001 });
    assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, true, true, false, true]);
    assert_eq!(outcomes[4], used);
    let denied = Append { creation: Creation::Denied, ..plain("e", "1") };
    assert_eq!(shelf.append(&[denied], 1), [Err(AppendError::MayNotCreate)]);
    let existing = Append { creation: Creation::Denied, ..plain("a", "2") };
    assert_eq!(shelf.offset(existing, 1), 3);
}

#[test]
fn oldest_publications_of_all_channels_go_while_the_file_holds_too_much() {
    let mut shelf = Shelf::new(LogBounds { bytes_max: 2 << 20, ..KEEP_ALL });
    let text = format!("\"{}\"", "x".repeat(20_000));
    for round in 0..150 {
        let now_ms = 1_000_000 + round * 120_000;
        shelf.append(&[plain("a", &text), plain("b", &text)], now_ms);
        shelf.retain(now_ms);
    }
    let floors = ["a", "b"].map(|name| shelf.page(name, Span::After(Offset(0)), 1).position.floor.0);
    assert!(floors.iter().all(|floor| (90..=120).contains(floor)), "{floors:?}");
    let used = room::used_bytes(shelf.log.raw()).expect("a number");
    assert!(used <= 2 << 20, "{used}");
    let pages: u64 =
        shelf.log.raw().query_row("PRAGMA page_count", [], |row| row.get(0).map(natural)).expect("pages");
    assert!(pages * 4_096 < 3 << 20, "freed pages are used again: {pages}");
}

#[test]
fn numbers_of_removed_channels_are_used_again() {
    let mut shelf = Shelf::new(LogBounds { channels_max: 10, ..EMPTIED });
    for round in 1..=20 {
        let now_ms = round * 100_000;
        let names = ["x", "y", "z"].map(|text| format!("{text}{round}"));
        let jobs: Vec<_> = names.iter().map(|name| plain(name, "1")).collect();
        shelf.append(&jobs, now_ms);
        shelf.retain(now_ms + 70_000);
    }
    let kept = shelf.offset(plain("last", "1"), 10_000_000);
    assert_eq!(offsets(&shelf.page("last", Span::After(Offset::ZERO), 9)), [kept]);
    let highest: i64 =
        shelf.log.raw().query_row("SELECT max(id) FROM channels", [], |row| row.get(0)).expect("a number");
    assert!(highest <= 3, "{highest}");
}

#[test]
fn number_that_an_older_program_used_is_not_taken_again() {
    let mut shelf = Shelf::new(EMPTIED);
    shelf.offset(plain("a", "1"), 1_000);
    shelf.retain(70_000);
    let old = "INSERT INTO channels (name, head, floor, time) VALUES ('old', 0, 1, 0)";
    shelf.log.raw().execute_batch(old).expect("the row of an older program");
    assert_eq!(shelf.offset(plain("b", "1"), 70_000), BASE_STEP + 1);
}

#[test]
fn bad_append_fails_alone() {
    let mut shelf = Shelf::new(LogBounds { channels_max: 3, ..KEEP_ALL });
    shelf.log.raw().set_limit(Limit::SQLITE_LIMIT_LENGTH, 10_000).expect("a limit");
    let large = format!("\"{}\"", "x".repeat(20_000));
    let jobs = [
        append("c", "ann", Some("1"), "1"),
        append("c", "ann", Some("2"), &large),
        append("new", "ann", Some("3"), &large),
        append("c", "ann", Some("4"), "4"),
    ];
    let outcomes = shelf.append(&jobs, 1);
    assert_eq!(outcomes[0].as_ref().expect("stored").offset, Offset(1));
    assert!(matches!(outcomes[1], Err(AppendError::Unavailable { .. })));
    assert!(matches!(outcomes[2], Err(AppendError::Unavailable { .. })));
    assert_eq!(outcomes[3].as_ref().expect("stored").offset, Offset(2));
    // Nothing of the bad ones is left: no key, no channel, no place among the allowed channels.
    assert_eq!(shelf.offset(append("c", "ann", Some("2"), "2"), 1), 3);
    assert_eq!(shelf.offset(plain("d", "1"), 1), 1);
    assert_eq!(shelf.offset(plain("e", "1"), 1), 1);
}

#[test]
fn full_disk_refuses_the_batch_serves_pages_and_recovers() {
    let mut shelf = Shelf::new(KEEP_ALL);
    shelf.offset(append("c", "ann", Some("first"), "1"), 1);
    let pages: i64 = shelf.log.raw().query_row("PRAGMA page_count", [], |row| row.get(0)).expect("a count");
    let bound = format!("PRAGMA max_page_count = {pages}");
    shelf.log.raw().query_row(&bound, [], |_| Ok(())).expect("a bound");
    let large = format!("\"{}\"", "x".repeat(30_000));
    for _ in 0..3 {
        let batch = [append("c", "ann", Some("k"), "2"), plain("new", &large)];
        assert!(matches!(shelf.log.append(&batch, 2), Err(BatchFault::NotStored(_))));
        assert_eq!(offsets(&shelf.page("c", Span::After(Offset::ZERO), 9)), [1]);
    }
    shelf.log.raw().query_row("PRAGMA max_page_count = 1000000", [], |_| Ok(())).expect("no bound");
    let outcomes = shelf.append(&[append("c", "ann", Some("k"), "2"), plain("new", &large)], 3);
    assert_eq!(outcomes[0].as_ref().expect("stored").offset, Offset(2));
    assert_eq!(outcomes[1].as_ref().expect("stored").offset, Offset(1));
}

#[test]
fn failed_commit_has_an_unknown_outcome_and_reopens_the_log() {
    let mut shelf = Shelf::new(KEEP_ALL);
    shelf.offset(plain("c", "1"), 1);
    // A deferred constraint is the only way to make COMMIT itself fail at will.
    shelf
        .log
        .raw()
        .execute_batch(
            "PRAGMA foreign_keys = ON;
             CREATE TABLE parent (id INTEGER PRIMARY KEY);
             CREATE TABLE child (parent REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);
             CREATE TRIGGER orphan AFTER INSERT ON publications BEGIN INSERT INTO child VALUES (1); END;",
        )
        .expect("a trap");
    assert!(matches!(shelf.log.append(&[plain("c", "2")], 2), Err(BatchFault::Unknown(_))));
    let other = connection::writer(&shelf.path()).expect("another connection");
    other.execute_batch("DROP TRIGGER orphan").expect("no trap");
    assert_eq!(shelf.offset(plain("c", "2"), 3), 2);
}

#[test]
fn write_ahead_log_restarts_after_a_restart_checkpoint() {
    let mut shelf = Shelf::new(KEEP_ALL);
    for _ in 0..20 {
        shelf.append(&[plain("c", &format!("\"{}\"", "x".repeat(20_000)))], 1);
    }
    let before = shelf.log.checkpoint(Checkpoint::Look).expect("a look");
    assert!(before.bytes > 400_000 && before.waiting == before.bytes, "{before:?}");
    let passive = shelf.log.checkpoint(Checkpoint::Passive).expect("a pass");
    assert!(passive.bytes == before.bytes && passive.waiting == 0, "{passive:?}");
    shelf.log.checkpoint(Checkpoint::Restart).expect("a restart");
    shelf.append(&[plain("c", "1")], 1);
    let after = shelf.log.checkpoint(Checkpoint::Look).expect("a look");
    assert!(after.bytes > 0 && after.bytes < before.bytes / 4, "{after:?}");
}
