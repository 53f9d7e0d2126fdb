//! Streams in the file: what each step of a stream leaves there, and what a start makes of it.

use super::super::connection;
use super::super::log::BatchFault;
use super::super::retention::{Duty, SliceRows};
use super::stream_support::{begin, has_row, id};
use super::support::{KEEP_ALL, Shelf, append, changing, delete, edit, plain};
use crate::id::Offset;
use crate::job::{AppendError, Appended, Attempt};
use crate::store::open_streams::Output;
use crate::store::retention::Rest;
use crate::wire::stream::{Generation, StreamEnd, StreamFault, StreamState};

/// Text with characters of one to four bytes, and what JSON escapes.
const WORDS: [&str; 5] = ["Né ", "\"\\\u{0}\n", "日本", "👩‍🚀", "e\u{301}"];

#[test]
fn end_has_the_text_of_all_pieces_byte_for_byte_and_closes_the_stream() {
    let mut shelf = Shelf::new(KEEP_ALL);
    let id = shelf.begin("c");
    for word in WORDS {
        shelf.take(&id, word);
        shelf.flush();
    }
    assert_eq!((shelf.text(&id), shelf.parts(), has_row(&mut shelf.log, 1)), (WORDS.concat(), 5, true));
    shelf.take(&id, "!");
    shelf.end(&id, StreamEnd::Completed);
    let ends = shelf.flush();
    assert_eq!((ends[0].fate.edit, ends[0].fate.end), (Offset(2), StreamEnd::Completed));
    let all = shelf.all("c");
    assert_eq!((all[1]["edits"].as_u64(), all[1]["user"].as_str()), (Some(1), Some("bot")));
    assert_eq!(all[1]["data"]["text"].as_str(), Some(&*(WORDS.concat() + "!")));
    assert_eq!(shelf.marks(), [Some(1), Some(2)]);
    assert!(shelf.open().is_empty() && !has_row(&mut shelf.log, 1));
}

#[test]
fn start_after_a_kill_at_each_step_has_exactly_what_was_committed() {
    let mut shelf = Shelf::new(KEEP_ALL);
    let id = shelf.begin("c");
    shelf.start_again();
    assert_eq!(shelf.text(&id), "", "killed after the begin");
    shelf.take(&id, "a");
    let _never_committed = shelf.cut();
    shelf.start_again();
    assert_eq!(shelf.text(&id), "", "killed before the commit of a flush");
    shelf.take(&id, "one ");
    let flush = shelf.cut();
    shelf.log.commit(&[], &flush, 5).expect("it commits");
    shelf.start_again();
    assert_eq!(shelf.text(&id), "one ", "killed before the acknowledgement");
    shelf.take(&id, "two ");
    shelf.flush();
    shelf.restart(&id);
    shelf.take(&id, "three ");
    shelf.flush();
    shelf.start_again();
    assert_eq!(
        (shelf.text(&id), shelf.seen(&id).expect("open").generation),
        ("three ".into(), Generation(2))
    );
    shelf.take(&id, "four");
    shelf.end(&id, StreamEnd::Failed);
    let _never_committed = shelf.cut();
    shelf.start_again();
    assert_eq!(shelf.text(&id), "three ", "killed before the commit of the end");
    shelf.take(&id, "five");
    shelf.end(&id, StreamEnd::Completed);
    let flush = shelf.cut();
    shelf.log.commit(&[], &flush, 5).expect("it commits");
    shelf.start_again();
    assert!(shelf.open().is_empty(), "killed before the end was announced");
    assert_eq!(shelf.all("c")[1]["data"]["text"], "three five");
    assert_eq!(shelf.marks(), [Some(1), Some(2)], "one end");
}

#[test]
fn streams_are_told_apart_and_states_survive_a_start() {
    let mut shelf = Shelf::new(KEEP_ALL);
    let ids = ["a", "b", "a"].map(|channel| shelf.begin(channel));
    for round in 0..20 {
        for (number, id) in ids.iter().enumerate() {
            shelf.take(id, &format!("{number}.{round} "));
        }
        shelf.flush();
    }
    shelf.end(&ids[1], StreamEnd::Completed);
    shelf.flush();
    shelf.open().order(|ledger, now| ledger.detach(super::stream_support::BOT, now));
    let texts = [&ids[0], &ids[2]].map(|id| shelf.text(id));
    assert!(texts[0].starts_with("0.0 0.1 ") && texts[1].ends_with("2.19 "), "{texts:?}");
    shelf.log.raw().execute("UPDATE streams SET state = 3 WHERE place & 1 = 1", []).expect("one of them");
    shelf.start_again();
    assert_eq!([&ids[0], &ids[2]].map(|id| shelf.text(id)), texts);
    let states = [&ids[0], &ids[2]].map(|id| shelf.seen(id).expect("open").state);
    assert_eq!(states, [StreamState::Cancelling, StreamState::Streaming]);
    assert!(shelf.seen(&ids[1]).is_none());
}

#[test]
fn repeated_begin_is_found_by_its_key_though_no_stream_may_begin() {
    let mut shelf = Shelf::new(KEEP_ALL);
    let first = shelf.append(&[begin("c", Some("run"), "{}")], 1);
    let begun = first[0].as_ref().expect("stored").stream.expect("it began");
    assert_eq!((begun.generation, begun.next.0, begun.ended), (Generation::FIRST, 0, None));
    for _ in 1..16 {
        shelf.begin("c");
    }
    let outcomes = shelf.append(&[begin("c", None, "{}"), begin("c", Some("run"), "{}"), plain("c", "1")], 2);
    assert!(matches!(outcomes[0], Err(AppendError::Stream(StreamFault::ChannelFull { .. }))), "{outcomes:?}");
    assert!(matches!(outcomes[1], Ok(Appended { offset: Offset(1), attempt: Attempt::Repeat, .. })));
    assert_eq!(outcomes[2].as_ref().expect("stored").offset, Offset(17), "the refused one took no offset");
}

#[test]
fn refused_begin_in_a_new_channel_leaves_no_channel_and_no_stream() {
    let mut shelf = Shelf::new(KEEP_ALL);
    let large = format!("\"{}\"", "x".repeat(70_000));
    let outcomes = shelf.append(&[begin("new", Some("k"), &large)], 1);
    assert_eq!(outcomes[0], Err(AppendError::Stream(StreamFault::TooLarge)));
    assert_eq!(shelf.count("SELECT (SELECT count(*) FROM channels) + (SELECT count(*) FROM keys)"), 0);
    assert_eq!((shelf.log.channels().0, shelf.open().is_empty()), (0, true));
}

#[test]
fn edit_or_delete_of_the_begin_ends_the_stream() {
    let mut shelf = Shelf::new(KEEP_ALL);
    let ids = [shelf.begin("c"), shelf.begin("c")];
    ids.iter().for_each(|id| shelf.take(id, "secret"));
    shelf.flush();
    let by_bot = |change, data| changing(change, append("c", "bot", None, data));
    let jobs = [by_bot(edit(1), "\"mine\""), by_bot(edit(1), "\"again\""), by_bot(delete(2), "null")];
    let committed = shelf.log.commit(&jobs, &shelf.cut(), 3).expect("it commits");
    let ends: Vec<_> =
        committed.streams.ended.iter().map(|(id, fate)| (id.offset.0, fate.end, fate.edit.0)).collect();
    assert_eq!(ends, [(1, StreamEnd::Replaced, 3), (2, StreamEnd::Deleted, 5)]);
    assert_eq!(shelf.marks(), [Some(1), Some(1), Some(6), None, Some(7)]);
    for (id, fate) in &committed.streams.ended {
        shelf.open().ended(id, *fate, &mut Output::default());
    }
    assert!(shelf.open().is_empty() && shelf.count("SELECT count(*) FROM streams") == 0);
    let found = shelf.log.end_of(&ids[0]).expect("it is read").expect("it has ended");
    assert_eq!((found.fate.end, found.fate.edit), (StreamEnd::Replaced, Offset(3)));
    assert!(shelf.log.end_of(&id("c", 4)).expect("it is read").is_none());
}

#[test]
fn failed_commit_stores_nothing_of_a_flush_and_forgets_the_begins_of_its_batch() {
    let mut shelf = Shelf::new(KEEP_ALL);
    let id = shelf.begin("c");
    shelf.take(&id, "kept");
    let flush = shelf.cut();
    let thief = connection::writer(&shelf.path()).expect("another program");
    thief.execute_batch("BEGIN IMMEDIATE").expect("the write lock");
    let fault = shelf.log.commit(&[begin("d", None, "{}")], &flush, 2).expect_err("the file is locked");
    assert!(matches!(fault, BatchFault::NotStored(_)), "{fault:?}");
    thief.execute_batch("ROLLBACK").expect("the lock is free");
    assert_eq!(shelf.open().beginning(), 0);
    shelf.open().order(|ledger, now| ledger.failed(flush, now, &mut Output::default()));
    assert_eq!((shelf.text(&id), shelf.parts()), (String::new(), 0), "nothing was shown");
    shelf.flush();
    assert_eq!((shelf.text(&id), shelf.parts()), ("kept".into(), 1), "and nothing is doubled");
    shelf.begin("d");
}

#[test]
fn flush_at_fault_does_not_keep_publications_from_being_stored() {
    let mut shelf = Shelf::new(KEEP_ALL);
    let id = shelf.begin("c");
    shelf.take(&id, "kept");
    let trap = "CREATE TRIGGER trap BEFORE INSERT ON stream_parts BEGIN SELECT RAISE(ABORT, 'trap'); END";
    shelf.log.raw().execute_batch(trap).expect("a trap");
    let flush = shelf.cut();
    let committed = shelf.log.commit(&[plain("c", "1")], &flush, 2).expect("it commits");
    assert!(committed.outcomes[0].is_ok() && committed.streams.ends.is_none());
    shelf.open().order(|ledger, now| ledger.failed(flush, now, &mut Output::default()));
    shelf.log.raw().execute_batch("DROP TRIGGER trap").expect("no trap");
    shelf.flush();
    assert_eq!(shelf.text(&id), "kept");
}

#[test]
fn file_says_whether_a_flush_of_unknown_outcome_is_stored() {
    let mut shelf = Shelf::new(KEEP_ALL);
    let id = shelf.begin("c");
    for step in ["piece", "restart", "end"] {
        match step {
            "piece" => shelf.take(&id, "a"),
            "restart" => shelf.restart(&id),
            _ => shelf.end(&id, StreamEnd::Failed),
        }
        let (flush, first) = (shelf.cut(), shelf.log.next_part());
        assert!(!flush.writes_nothing());
        assert!(!shelf.log.has_flush(&flush, first).expect("it is read"), "{flush:?}");
        let committed = shelf.log.commit(&[], &flush, 3).expect("it commits");
        assert!(shelf.log.has_flush(&flush, first).expect("it is read"), "{flush:?}");
        let fates: Vec<_> = committed.streams.ends.expect("written").iter().map(|end| end.fate).collect();
        shelf.open().settled(flush, &fates, &mut Output::default());
    }
}

#[test]
fn begins_and_ends_of_a_batch_of_unknown_outcome_are_found_in_the_file() {
    let mut shelf = Shelf::new(KEEP_ALL);
    let id = shelf.begin("c");
    let jobs = [begin("c", Some("k"), "{}"), changing(edit(1), append("c", "bot", None, "1"))];
    shelf.log.commit(&jobs, &shelf.cut(), 2).expect("it commits");
    // As if the commit had reported a failure: the process knows neither.
    let unknown = super::stream_support::id("c", 2);
    let fate = shelf.log.end_of(&id).expect("read").expect("ended").fate;
    shelf.open().ended(&unknown, fate, &mut Output::default());
    let mut out = Output::default();
    shelf.log.reconcile_streams(&Default::default(), 3, &mut out).expect("it is read");
    assert_eq!(shelf.open().ids(), [unknown]);
}

#[test]
fn edit_in_the_same_commit_as_the_end_is_no_second_end() {
    let mut shelf = Shelf::new(KEEP_ALL);
    let of = shelf.begin("c");
    shelf.end(&of, StreamEnd::Completed);
    let flush = shelf.cut();
    let jobs = [changing(edit(1), append("c", "bot", None, "\"mine\""))];
    let committed = shelf.log.commit(&jobs, &flush, 3).expect("it commits");
    assert!(committed.outcomes[0].is_ok() && committed.streams.ended.is_empty());
    assert_eq!(shelf.marks(), [Some(1), Some(2), None], "one end");
}

#[test]
fn parts_of_ended_streams_go_and_those_of_open_ones_stay() {
    let mut shelf = Shelf::new(KEEP_ALL);
    let first = shelf.begin("c");
    shelf.take(&first, "a");
    shelf.flush();
    let second = shelf.begin("c");
    for text in ["b", "c"] {
        shelf.take(&second, text);
        shelf.flush();
    }
    shelf.retain(10);
    assert_eq!(shelf.parts(), 3);
    shelf.end(&first, StreamEnd::Completed);
    shelf.flush();
    shelf.retain(10);
    assert_eq!((shelf.parts(), shelf.text(&second)), (2, "bc".into()));
    shelf.end(&second, StreamEnd::Completed);
    shelf.flush();
    shelf.retain(10);
    assert_eq!(shelf.parts(), 0);
    let third = shelf.begin("c");
    shelf.take(&third, "d");
    shelf.flush();
    let number = shelf.count("SELECT id FROM stream_parts");
    assert_eq!(number, 4, "numbers only rise");
    shelf.start_again();
    assert_eq!(shelf.text(&third), "d");
}

#[test]
fn parts_of_a_deleted_stream_go_though_an_older_stream_is_open() {
    let mut shelf = Shelf::new(KEEP_ALL);
    let (older, deleted) = (shelf.begin("c"), shelf.begin("c"));
    shelf.retain(10);
    for id in [&older, &deleted, &older, &deleted] {
        shelf.take(id, "text");
        shelf.flush();
    }
    shelf.end(&deleted, StreamEnd::Completed);
    shelf.flush();
    shelf.retain(10);
    assert_eq!(shelf.parts(), 4, "the older stream holds them back");
    shelf.append(&[changing(delete(2), append("c", "bot", None, "null"))], 5);
    shelf.retain(10);
    assert_eq!((shelf.parts(), shelf.text(&older)), (2, "texttext".into()));
    shelf.start_again();
    assert_eq!(shelf.text(&older), "texttext");
    let slice = shelf.log.retain(Duty::Parts, 10, SliceRows::MAX).expect("a slice");
    assert!(slice.parts == 0 && slice.rest == Rest::Some, "a start looks once at all: {slice:?}");
}

#[test]
fn row_without_its_begin_is_removed_at_a_start() {
    let mut shelf = Shelf::new(KEEP_ALL);
    let (kept, gone) = (shelf.begin("c"), shelf.begin("c"));
    for id in [&kept, &gone] {
        shelf.take(id, "text");
    }
    shelf.flush();
    // A program of the release before deletes a begin without looking at streams.
    let sql = "UPDATE publications SET data = NULL, deleted_by = 3 WHERE place & 3 = 2";
    assert_eq!(shelf.log.raw().execute(sql, []).expect("deleted"), 1);
    shelf.start_again();
    assert_eq!((shelf.open().ids(), shelf.text(&kept)), (vec![kept.clone()], "text".into()));
    shelf.retain(10);
    assert_eq!(shelf.parts(), 1);
}

#[test]
fn channel_with_an_open_stream_is_not_removed_and_its_end_is_stored() {
    let mut shelf = Shelf::new(KEEP_ALL);
    let id = shelf.begin("c");
    // Retention has removed the begin, and the channel is idle.
    shelf
        .log
        .raw()
        .execute_batch("DELETE FROM publications; UPDATE channels SET floor = 2, oldest = NULL")
        .expect("an empty channel");
    shelf.log.memory.clear();
    shelf.retain(10_000_000_000);
    assert_eq!(shelf.count("SELECT count(*) FROM channels"), 1);
    shelf.take(&id, "text");
    shelf.end(&id, StreamEnd::Completed);
    shelf.flush();
    assert_eq!(shelf.all("c")[0]["data"]["text"], "text");
}
