//! The bounds of streams in the file, what retention deletes of them, and rows that a start finds without a stream.

use super::super::retention::{Duty, RetentionSlice, SliceRows};
use super::stream_support::{BOT, has_row, user};
use super::support::{KEEP_ALL, Shelf, append, changing, delete, edit};
use crate::id::Offset;
use crate::store::open_streams::Output;
use crate::store::retention::Rest;
use crate::stream::StreamSender;
use crate::wire::stream::{Generation, ProducerNotice, StreamEnd, StreamFault, StreamId};

/// A little less than a message.
const LONG: usize = 60_000;

fn slice(shelf: &mut Shelf) -> RetentionSlice {
    shelf.log.retain(Duty::Parts, 10, SliceRows::MAX).expect("a slice")
}

/// The fault with which a restart is refused.
fn refusal_of_restart(shelf: &Shelf, id: &StreamId) -> Option<StreamFault> {
    let (bot, mut out) = (user("bot"), Output::default());
    let sender = StreamSender { producer: BOT, user: &bot, ticket: None };
    let _ = shelf.open().order(|ledger, now| ledger.restart(id, sender, now, &mut out));
    out.notices.into_iter().find_map(|(_, notice)| match notice {
        ProducerNotice::Refused { fault, .. } => Some(fault),
        _ => None,
    })
}

#[test]
fn restarts_give_up_eight_messages_at_most_though_the_process_starts_again() {
    let mut shelf = Shelf::new(KEEP_ALL);
    let (_older, id) = (shelf.begin("c"), shelf.begin("c"));
    for _ in 0..8 {
        shelf.take(&id, &"x".repeat(LONG));
        shelf.flush();
        assert_eq!(refusal_of_restart(&shelf, &id), None);
        shelf.flush();
    }
    shelf.take(&id, &"y".repeat(LONG));
    shelf.flush();
    assert_eq!(refusal_of_restart(&shelf, &id), Some(StreamFault::TooLarge));
    shelf.start_again();
    assert_eq!(refusal_of_restart(&shelf, &id), Some(StreamFault::TooLarge));
    let seen = shelf.seen(&id).expect("open");
    assert_eq!((seen.generation, seen.text.len()), (Generation(9), LONG));
    shelf.retain(10);
    assert_eq!((shelf.parts(), shelf.text(&id).len()), (1, LONG), "the first sweep leaves the newest text");
}

#[test]
fn parts_of_ended_streams_and_earlier_generations_go_in_a_sweep_though_an_older_stream_is_open() {
    let mut shelf = Shelf::new(KEEP_ALL);
    let (older, ended, restarted) = (shelf.begin("c"), shelf.begin("c"), shelf.begin("c"));
    shelf.retain(10);
    for id in [&older, &ended, &restarted] {
        shelf.take(id, "one");
    }
    shelf.flush();
    shelf.end(&ended, StreamEnd::Completed);
    shelf.restart(&restarted);
    shelf.take(&restarted, "two");
    shelf.flush();
    shelf.retain(10);
    assert_eq!(shelf.parts(), 4, "little was written");
    shelf.log.streams.unswept = 33 << 20;
    shelf.retain(10);
    assert_eq!((shelf.parts(), shelf.text(&older), shelf.text(&restarted)), (2, "one".into(), "two".into()));
    assert_eq!(shelf.log.streams.unswept, 0);
    shelf.start_again();
    assert_eq!((shelf.text(&older), shelf.text(&restarted)), ("one".into(), "two".into()));
}

#[test]
fn slice_of_long_parts_ends_at_its_bytes() {
    let mut shelf = Shelf::new(KEEP_ALL);
    let ids = [shelf.begin("c"), shelf.begin("c")];
    for _ in 0..8 {
        for id in &ids {
            shelf.take(id, &"x".repeat(LONG));
            shelf.flush();
            shelf.restart(id);
        }
    }
    ids.iter().for_each(|id| shelf.end(id, StreamEnd::Failed));
    shelf.flush();
    let first = shelf.log.streams.take_slice();
    assert!(first.bytes >= (32 * LONG) as u64, "it outruns what was written: {first:?}");
    assert_eq!(shelf.parts(), 16);
    let slices = [slice(&mut shelf), slice(&mut shelf)];
    assert_eq!(slices.map(|slice| (slice.parts, slice.rest)), [(9, Rest::Some), (7, Rest::Some)]);
}

#[test]
fn text_of_a_deleted_stream_leaves_the_log_of_the_file_too() {
    let mut shelf = Shelf::new(KEEP_ALL);
    shelf.retain(10);
    for (change, erased) in [(None, 0), (Some(delete(3)), 1)] {
        let id = shelf.begin("c");
        shelf.take(&id, "secret");
        shelf.flush();
        shelf.end(&id, StreamEnd::Completed);
        shelf.flush();
        let deletes: Vec<_> =
            change.map(|change| changing(change, append("c", "bot", None, "null"))).into_iter().collect();
        shelf.append(&deletes, 5);
        let slice = slice(&mut shelf);
        assert_eq!((slice.parts, slice.erased), (1, erased));
        shelf.retain(10);
    }
}

#[test]
fn stream_whose_begin_retention_has_removed_goes_on_after_a_start() {
    let mut shelf = Shelf::new(KEEP_ALL);
    let id = shelf.begin("c");
    shelf.take(&id, "kept ");
    shelf.flush();
    let cut = "DELETE FROM publications; UPDATE channels SET floor = 2, oldest = NULL";
    shelf.log.raw().execute_batch(cut).expect("the begin is gone");
    shelf.start_again();
    assert_eq!(shelf.text(&id), "kept ");
    shelf.take(&id, "text");
    shelf.end(&id, StreamEnd::Completed);
    let ends = shelf.flush();
    assert_eq!((ends[0].fate.end, ends[0].fate.edit), (StreamEnd::Completed, Offset(2)));
    let data = &shelf.all("c")[0]["data"];
    assert_eq!((data["text"].as_str(), data["begun"].is_null()), (Some("kept text"), true));
    // A program of the release before has removed the channel, and another one has its number.
    shelf.begin("c");
    shelf.log.raw().execute_batch(&format!("{cut}; UPDATE channels SET name = 'd'")).expect("another one");
    shelf.start_again();
    assert!(shelf.open().is_empty() && !has_row(&mut shelf.log, 3));
}

#[test]
fn row_without_a_begin_does_not_keep_a_file_that_takes_no_writes_from_opening() {
    let mut shelf = Shelf::new(KEEP_ALL);
    let kept = shelf.begin("c");
    shelf.begin("c");
    shelf.take(&kept, "text");
    shelf.flush();
    let stale = "UPDATE publications SET data = NULL, deleted_by = 3 WHERE place & 3 = 2;
         CREATE TRIGGER trap BEFORE DELETE ON streams BEGIN SELECT RAISE(ABORT, 'trap'); END";
    shelf.log.raw().execute_batch(stale).expect("deleted");
    shelf.start_again();
    assert_eq!((shelf.open().ids(), shelf.text(&kept)), (vec![kept], "text".into()));
    assert!(has_row(&mut shelf.log, 2));
    shelf.log.raw().execute_batch("DROP TRIGGER trap").expect("no trap");
    shelf.retain(10);
    assert!(!has_row(&mut shelf.log, 2) && has_row(&mut shelf.log, 1));
}

#[test]
fn change_of_the_begin_by_the_release_before_has_ended_the_stream() {
    for (change, mark, end) in [(edit(1), 6, StreamEnd::Replaced), (delete(1), 7, StreamEnd::Deleted)] {
        let mut shelf = Shelf::new(KEEP_ALL);
        let id = shelf.begin("c");
        shelf.take(&id, "old");
        shelf.flush();
        shelf.log.raw().execute_batch("CREATE TEMP TABLE kept AS SELECT * FROM streams").expect("a copy");
        shelf.append(&[changing(change, append("c", "bot", None, "\"mine\""))], 5);
        let unaware =
            "UPDATE publications SET stream = NULL WHERE kind > 0; INSERT INTO streams SELECT * FROM kept";
        shelf.log.raw().execute_batch(unaware).expect("as that release leaves it");
        shelf.start_again();
        assert!(shelf.open().is_empty() && !has_row(&mut shelf.log, 1));
        assert_eq!(shelf.marks(), [Some(1), Some(mark)]);
        let found = shelf.log.end_of(&id).expect("it is read").expect("it has ended");
        assert_eq!((found.fate.end, found.fate.edit), (end, Offset(2)));
    }
}
