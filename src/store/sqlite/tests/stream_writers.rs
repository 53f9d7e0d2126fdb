//! The streams in the thread that writes, without the thread: floods, latencies, a short disk, and commits of unknown outcome.

use super::super::stream_writer::StreamWriter;
use super::stream_support::{id, job, piece};
use super::support::{KEEP_ALL, Shelf};
use crate::job::callers::Callers;
use crate::job::stream::StreamWork;
use crate::metrics::streams::StreamCounters;
use crate::store::answers::Answers;
use crate::store::late_share::LOOKS_OF_USER;
use crate::store::wall_clock::WallClock;
use crate::store::{RelayEnds, StreamEnds};
use crate::stream::Flush;
use crate::wire::stream::StreamEnd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

fn no_answers() -> Answers {
    let (none, callers) = (Arc::from(Vec::new()), Arc::new(Callers::new(0)));
    Answers::new(none, callers, None, RelayEnds::none().watch(), Arc::default())
}

#[test]
fn flood_about_streams_that_are_not_open_reads_the_file_a_bounded_number_of_times() {
    let mut shelf = Shelf::new(KEEP_ALL);
    let (send, work) = crossbeam_channel::bounded(1_000);
    let counters = Arc::new(StreamCounters::default());
    let ends = StreamEnds { work, counters: Arc::clone(&counters), ..StreamEnds::none() };
    let mut writer = StreamWriter::new(shelf.open(), shelf.log.epoch(), ends);
    for offset in 1..=1_000 {
        send.send(StreamWork::Job(job(&id("c", offset), None, piece("x")))).expect("there is room");
    }
    writer.take_work(&mut shelf.log, &no_answers());
    let refused = |code| counters.refusals().find(|(word, _)| *word == code).map(|(_, count)| count);
    let looked = refused("not_found").expect("a code");
    // A slow machine may come into the next periods.
    assert!((LOOKS_OF_USER as u64..500).contains(&looked), "{looked}");
    assert_eq!(refused("overloaded"), Some(1_000 - looked));
}

#[test]
fn latency_is_measured_at_the_commit_of_the_piece_only() {
    let mut shelf = Shelf::new(KEEP_ALL);
    let of = shelf.begin("c");
    let (send, work) = crossbeam_channel::bounded(2);
    let counters = Arc::new(StreamCounters::default());
    let ends = StreamEnds { work, counters: Arc::clone(&counters), ..StreamEnds::none() };
    let mut writer = StreamWriter::new(shelf.open(), shelf.log.epoch(), ends);
    let answers = no_answers();
    let measured = || counters.latency.buckets.iter().map(|cell| cell.load(Ordering::Relaxed)).sum::<u64>();
    send.send(StreamWork::Job(job(&of, None, piece("x")))).expect("there is room");
    writer.take_work(&mut shelf.log, &answers);
    writer.settle_repeats(Flush::default(), &answers);
    assert_eq!(measured(), 0, "nothing was committed");
    let flush = writer.cut_all();
    let committed = shelf.log.commit(&[], &flush, 2).expect("it commits");
    writer.committed(&mut shelf.log, (&[], &mut []), &committed.streams, flush);
    assert_eq!(measured(), 1);
}

#[test]
fn flush_of_unknown_outcome_is_shown_once_if_the_file_has_it_and_waits_again_if_not() {
    let mut shelf = Shelf::new(KEEP_ALL);
    let answers = no_answers();
    let clock = WallClock::Set(Arc::new(AtomicU64::new(1_000)));
    let mut writer = StreamWriter::new(shelf.open(), shelf.log.epoch(), StreamEnds::none());
    let id = shelf.begin("c");
    for (text, is_stored, shown) in [("a", true, "a"), ("b", false, "a"), ("c", true, "abc")] {
        shelf.take(&id, text);
        let (flush, first) = (shelf.cut(), shelf.log.next_part());
        if is_stored {
            shelf.log.commit(&[], &flush, 2).expect("it commits");
        }
        writer.doubtful(flush, first);
        // Before anything reads the file, another commit fails as well.
        writer.doubtful(Flush::default(), first);
        assert!(writer.cut_all().writes_nothing(), "nothing else is committed meanwhile");
        let before = shelf.text(&id);
        writer.settle_doubt(&mut shelf.log, &clock, &answers);
        assert_eq!(shelf.text(&id), shown, "after {before:?}");
    }
    shelf.end(&id, StreamEnd::Completed);
    let (flush, first) = (shelf.cut(), shelf.log.next_part());
    shelf.log.commit(&[], &flush, 2).expect("it commits");
    writer.doubtful(flush, first);
    writer.settle_doubt(&mut shelf.log, &clock, &answers);
    assert!(shelf.open().is_empty());
    assert_eq!((shelf.marks(), &shelf.all("c")[1]["data"]["text"]), (vec![Some(1), Some(2)], &"abc".into()));
}
