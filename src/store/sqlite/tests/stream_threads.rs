//! Streams through the threads of the store, with the queues and mailboxes that a reactor has.

use super::super::connection::{self, FILE_NAME};
use super::stream_support::{BOT, begin, id, job, piece, user};
use super::support::{append, changing, delete, name, plain};
use super::threads::{KEEP_ALL, Rig, rig, rig_in, rig_waiting, wait_until};
use crate::id::{Offset, ProducerId, ReactorId};
use crate::job::stream::{StreamJob, StreamOrder, StreamWork};
use crate::job::{
    Append, AppendError, Appended, Attempt, Broadcast, CancelAuthority, Completion, Read, StreamRequest,
    Ticket,
};
use crate::wire::publication::Published;
use crate::wire::stream::{
    BegunStream, Generation, News, Piece, Position, ProducerNotice, StreamEnd, StreamFault, StreamId,
    StreamMark, StreamNews, StreamOutcome, StreamState, WholeStream,
};
use std::sync::atomic::Ordering;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

fn ticket(request: u64) -> Ticket {
    Ticket { reactor: ReactorId(0), request }
}

impl Rig {
    fn append(&self, job: Append) -> Result<Appended, AppendError> {
        self.send(0, 1, job);
        loop {
            match self.answer(0) {
                Completion::Appended { outcome, .. } => return outcome,
                // Other tests look at messages to producers.
                Completion::Producers(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn begin(&self, channel: &str, key: Option<&str>) -> (StreamId, Appended) {
        let appended = self.append(begin(channel, key, "{}")).expect("stored");
        (id(channel, appended.offset.0), appended)
    }

    fn order(&self, of: &StreamId, request: Option<u64>, order: StreamOrder) {
        self.streams.send(StreamWork::Job(job(of, request.map(ticket), order))).expect("the writer lives");
    }

    /// The answer to a command, and the notices to producers before it.
    fn outcome_of(&self, request: u64) -> (StreamOutcome, Vec<(u64, ProducerNotice)>) {
        let mut notices = Vec::new();
        loop {
            match self.answer(0) {
                Completion::Stream { ticket, outcome } if ticket.request == request => {
                    return (outcome, notices);
                }
                Completion::Producers(more) => notices.extend(more),
                other => panic!("{other:?}"),
            }
        }
    }

    fn ask(&self, of: &StreamId, order: StreamOrder) -> StreamOutcome {
        self.order(of, Some(7), order);
        self.outcome_of(7).0
    }

    /// The next publications and news that are announced to the first reactor.
    fn announced(&self) -> Broadcast {
        self.inboxes[0].live.recv_timeout(PATIENCE).expect("an announcement")
    }

    fn published(&self) -> Vec<Published> {
        match self.announced() {
            Broadcast::Published(published) => published.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    fn news(&self) -> Vec<StreamNews> {
        match self.announced() {
            Broadcast::Streamed(news) => news.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    fn whole(&self, channel: &str, offset: Option<u64>, known: Option<(u32, u32)>) -> Vec<WholeStream> {
        let known = known.map(|(generation, after)| (Generation(generation), Position(after)));
        let (channel, offset) = (name(channel), offset.map(Offset));
        let request = StreamRequest { ticket: ticket(9), channel, offset, known };
        self.read.send(Read::Stream(request)).expect("readers live");
        match self.answer(0) {
            Completion::StreamRead { outcome, .. } => outcome.expect("it is read"),
            other => panic!("{other:?}"),
        }
    }

    fn waits_for_end(&self) -> (StreamMark, u64) {
        loop {
            if let Broadcast::Published(published) = self.announced()
                && let [.., last] = &published[..]
                && last.stream != StreamMark::Begun
            {
                return (last.stream, last.offset.0);
            }
        }
    }
}

fn text(frame: &[u8]) -> serde_json::Value {
    let payload = crate::wire::server_frame::text(frame).expect("a text frame");
    serde_json::from_slice(payload).expect("JSON")
}

#[test]
fn pieces_are_acknowledged_and_shown_after_their_commit_and_the_end_is_announced() {
    let rig = rig(1, KEEP_ALL);
    let (of, appended) = rig.begin("c", None);
    let begun = BegunStream { generation: Generation(1), next: Position(0), ended: None };
    assert_eq!((appended.stream, rig.published()[0].stream), (Some(begun), StreamMark::Begun));
    rig.order(&of, None, piece("Hel"));
    rig.order(&of, Some(2), piece("lo"));
    let (outcome, notices) = rig.outcome_of(2);
    assert_eq!(outcome, StreamOutcome::Appended { generation: Generation(1), next: Position(5) });
    // In one commit, unless this thread was held up between the two pieces.
    let (mut shown, mut end) = (String::new(), Position(0));
    while end < Position(5) {
        let news = rig.news();
        let News::Pieces { at, next, frames } = &news[0].news else { panic!("{news:?}") };
        assert_eq!((news.len(), *at, &news[0].id), (1, end, &of));
        shown.push_str(text(frames)["stream"]["text"].as_str().expect("a text"));
        end = *next;
    }
    assert_eq!((&*shown, end), ("Hello", Position(5)));
    // The piece without an id is acknowledged with its commit. If that is the one of both, the reply comes first.
    let notices = if notices.is_empty() {
        match rig.answer(0) {
            Completion::Producers(notices) => notices.to_vec(),
            other => panic!("{other:?}"),
        }
    } else {
        notices
    };
    let acknowledges =
        |notice: &ProducerNotice| matches!(notice, ProducerNotice::Appended { next: Position(3 | 5), .. });
    assert!(matches!(&notices[..], [(1, notice)] if acknowledges(notice)), "{notices:?}");
    let end = StreamOrder::End { generation: None, at: None, end: StreamEnd::Completed, data: None };
    assert_eq!(
        rig.ask(&of, end),
        StreamOutcome::Ended { edit: Offset(2), end: StreamEnd::Completed, duplicate: false }
    );
    let published = rig.published();
    assert_eq!((published[0].stream, published[0].offset.0), (StreamMark::Ended(StreamEnd::Completed), 2));
    assert_eq!(text(&published[0].frame)["publication"]["data"]["text"], "Hello");
    let again = StreamOrder::End { generation: None, at: None, end: StreamEnd::Completed, data: None };
    assert_eq!(
        rig.ask(&of, again),
        StreamOutcome::Ended { edit: Offset(2), end: StreamEnd::Completed, duplicate: true }
    );
    let late = StreamFault::AlreadyEnded { end: StreamEnd::Completed, edit: Offset(2) };
    assert_eq!(rig.ask(&of, piece("!")), StreamOutcome::Refused(late));
    assert_eq!(rig.ask(&id("c", 9), piece("!")), StreamOutcome::Refused(StreamFault::NotFound));
    assert_eq!(rig.of_streams.bytes.load(Ordering::Relaxed), 5);
    let ended = StreamOutcome::Ended { edit: Offset(2), end: StreamEnd::Completed, duplicate: true };
    let not_found = StreamOutcome::Refused(StreamFault::NotFound);
    for (authority, known) in [
        (CancelAuthority::Moderator, ended.clone()),
        (CancelAuthority::Reader, ended),
        (CancelAuthority::Outsider, not_found),
    ] {
        assert_eq!(rig.ask(&of, StreamOrder::Cancel { authority }), known, "{authority:?}");
    }
    rig.close();
}

#[test]
fn producer_that_begins_again_with_its_key_gets_its_place_or_the_end() {
    let rig = rig(1, KEEP_ALL);
    let (of, _) = rig.begin("c", Some("run"));
    assert!(matches!(rig.ask(&of, piece("abc")), StreamOutcome::Appended { .. }));
    let (_, again) = rig.begin("c", Some("run"));
    let begun = BegunStream { generation: Generation(1), next: Position(3), ended: None };
    assert_eq!((again.offset, again.attempt, again.stream), (Offset(1), Attempt::Repeat, Some(begun)));
    assert_eq!(
        rig.append(changing(delete(1), append("c", "bot", None, "null"))).expect("stored").offset.0,
        2
    );
    let (_, again) = rig.begin("c", Some("run"));
    assert_eq!(again.stream.expect("it has ended").ended, Some((StreamEnd::Deleted, Offset(2))));
    let other = rig.append(append("c", "bot", Some("plain"), "1")).expect("stored");
    let (_, not_a_stream) = rig.begin("c", Some("other"));
    assert!(other.stream.is_none() && not_a_stream.attempt == Attempt::First);
    rig.close();
}

#[test]
fn readers_get_open_streams_whole_or_from_where_they_are() {
    let rig = rig(1, KEEP_ALL);
    let (first, _) = rig.begin("c", None);
    let (second, _) = rig.begin("c", None);
    assert!(matches!(rig.ask(&first, piece("né")), StreamOutcome::Appended { .. }));
    let kind = crate::wire::stream::EventKind::parse("usage").expect("valid");
    let event = Piece::Event { kind, data: "{\"n\":1}".into() };
    let event = StreamOrder::Append { generation: None, at: Some(Position(3)), piece: event };
    assert!(matches!(rig.ask(&first, event), StreamOutcome::Appended { next: Position(4), .. }));
    let whole = rig.whole("c", None, None);
    assert_eq!(whole.iter().map(|each| &each.id).collect::<Vec<_>>(), [&first, &second]);
    assert_eq!((whole[0].next, whole[0].state), (Position(4), StreamState::Streaming));
    let expected = serde_json::json!({"stream": {
        "channel": "c", "offset": 1, "gen": 1, "at": 0, "text": "né", "events": [[3, "usage", {"n": 1}]], "next": 4,
        "state": "streaming",
    }});
    assert_eq!(text(&whole[0].frame), expected);
    let rest = |known| text(&rig.whole("c", Some(1), Some(known))[0].frame)["stream"].clone();
    assert_eq!((rest((1, 1))["at"].as_u64(), rest((1, 1))["text"].as_str()), (Some(1), Some("é")));
    assert_eq!((rest((1, 4))["at"].as_u64(), rest((1, 4))["text"].as_str()), (Some(4), Some("")));
    for outside in [(1, 2), (1, 5), (2, 1)] {
        assert_eq!(rest(outside)["at"].as_u64(), Some(0), "{outside:?}");
    }
    assert!(rig.whole("c", Some(7), None).is_empty() && rig.whole("d", None, None).is_empty());
    let page = |channel| {
        let request = super::support::request(channel, crate::job::Span::After(Offset::ZERO));
        rig.read.send(Read::Page(request)).expect("readers live");
        match rig.answer(0) {
            Completion::Page { outcome, .. } => outcome.expect("a page").has_streams,
            other => panic!("{other:?}"),
        }
    };
    assert!(page("c") && !page("d"));
    rig.close();
}

#[test]
fn cancel_reaches_the_producer_and_ends_the_stream_though_it_does_nothing() {
    let rig = rig(1, KEEP_ALL);
    let (of, _) = rig.begin("c", None);
    let cancel = |authority| StreamJob {
        producer: ProducerId { connection: 2, ..BOT },
        user: user("ann"),
        ..job(&of, Some(ticket(3)), StreamOrder::Cancel { authority })
    };
    rig.streams.send(StreamWork::Job(cancel(CancelAuthority::Reader))).expect("the writer lives");
    assert_eq!(rig.outcome_of(3).0, StreamOutcome::Refused(StreamFault::NotAuthor));
    rig.streams.send(StreamWork::Job(cancel(CancelAuthority::Moderator))).expect("the writer lives");
    assert_eq!(rig.outcome_of(3).0, StreamOutcome::Cancelling);
    let Completion::Producers(notices) = rig.answer(0) else { panic!("a notice") };
    assert!(matches!(&notices[..], [(1, ProducerNotice::Cancel { end_ms: 1.., .. })]), "{notices:?}");
    assert_eq!(rig.waits_for_end(), (StreamMark::Ended(StreamEnd::Cancelled), 2));
    // A read of it is then answered with its end.
    let request =
        StreamRequest { ticket: ticket(9), channel: name("c"), offset: Some(Offset(1)), known: None };
    rig.read.send(Read::Stream(request)).expect("readers live");
    let answer = rig.answer(0);
    let Completion::StreamEnded { end, edit, .. } = answer else { panic!("{answer:?}") };
    assert_eq!((end, edit), (StreamEnd::Cancelled, Offset(2)));
    let ends: Vec<_> = rig.of_streams.ends().filter(|(_, count)| *count > 0).collect();
    assert_eq!(ends, [("cancelled", 1)]);
    rig.close();
}

#[test]
fn stream_of_an_earlier_process_goes_on_with_its_producer_or_is_interrupted() {
    let first = rig(1, KEEP_ALL);
    let (kept, _) = first.begin("c", Some("kept"));
    let (lost, _) = first.begin("c", None);
    for of in [&kept, &lost] {
        assert!(matches!(first.ask(of, piece("before ")), StreamOutcome::Appended { .. }));
    }
    first.order(&kept, None, piece("the end "));
    let (folder, _) = first.close();
    let second = rig_waiting(folder, 1, KEEP_ALL, 2_000, PATIENCE);
    let (_, again) = second.begin("c", Some("kept"));
    assert_eq!(again.stream.expect("open").next, Position(15), "what waited was committed at the end");
    let append = StreamOrder::Append {
        generation: Some(Generation(1)),
        at: Some(Position(7)),
        piece: Piece::Text("the end after".into()),
    };
    assert_eq!(
        second.ask(&kept, append),
        StreamOutcome::Appended { generation: Generation(1), next: Position(20) }
    );
    let end = StreamOrder::End { generation: None, at: None, end: StreamEnd::Completed, data: None };
    assert!(matches!(second.ask(&kept, end), StreamOutcome::Ended { edit: Offset(3), .. }));
    let (folder, _) = second.close();
    let third = rig_in(folder, 1, KEEP_ALL, 3_000);
    assert_eq!(third.waits_for_end(), (StreamMark::Ended(StreamEnd::Interrupted), 4));
    third.close();
}

#[test]
fn outage_of_the_store_loses_no_piece_and_interrupts_no_stream() {
    let rig = rig(1, KEEP_ALL);
    let (of, _) = rig.begin("c", None);
    assert!(matches!(rig.ask(&of, piece("a")), StreamOutcome::Appended { .. }));
    let thief = connection::writer(&rig.folder.path().join(FILE_NAME)).expect("another program");
    thief.execute_batch("BEGIN IMMEDIATE").expect("the write lock");
    rig.order(&of, None, piece("b"));
    wait_until(|| rig.counters.failing.load(Ordering::Relaxed) == 1);
    rig.order(&of, Some(4), piece("c"));
    rig.streams.send(StreamWork::Detach { producer: BOT }).expect("the writer lives");
    // Longer than `streams.orphan_ms` here.
    assert!(
        rig.inboxes[0].answers.recv_timeout(Duration::from_millis(700)).is_err(),
        "nothing is acknowledged"
    );
    let back =
        StreamJob { producer: ProducerId { connection: 2, ..BOT }, ..job(&of, Some(ticket(5)), piece("d")) };
    rig.streams.send(StreamWork::Job(back)).expect("the writer lives");
    thief.execute_batch("ROLLBACK").expect("the lock is free");
    assert_eq!(rig.outcome_of(5).0, StreamOutcome::Appended { generation: Generation(1), next: Position(4) });
    let whole = rig.whole("c", None, None);
    assert_eq!(text(&whole[0].frame)["stream"]["text"], "abcd");
    rig.close();
}

#[test]
fn flush_that_the_file_rolled_back_is_committed_later() {
    let rig = rig(1, KEEP_ALL);
    let (of, _) = rig.begin("c", None);
    let other = connection::writer(&rig.folder.path().join(FILE_NAME)).expect("another connection");
    let trap = "CREATE TRIGGER trap AFTER INSERT ON stream_parts BEGIN SELECT RAISE(ROLLBACK, 'trap'); END";
    other.execute_batch(trap).expect("a trap");
    rig.order(&of, Some(2), piece("a"));
    wait_until(|| rig.counters.failing.load(Ordering::Relaxed) == 1);
    other.execute_batch("DROP TRIGGER trap").expect("no trap");
    assert_eq!(rig.outcome_of(2).0, StreamOutcome::Appended { generation: Generation(1), next: Position(1) });
    assert_eq!(rig.append(plain("c", "1")).expect("stored").offset, Offset(2));
    assert_eq!(text(&rig.whole("c", None, None)[0].frame)["stream"]["text"], "a");
    rig.close();
}
