//! The ledger one order at a time, and under random ones.

mod answers;
mod bounds;
mod checks;
mod promises;
mod reader;
mod several;
mod source;
mod store;
mod users;
mod world;

use super::pieces::position;
use super::*;
use crate::clock::Moment;
use crate::id::{ChannelName, Offset, ProducerId, ReactorId, UserName};
use crate::wire::stream::{
    EventKeep, EventKind, Generation, News, Piece, Position, ProducerNotice, StreamEnd, StreamFault,
    StreamId, StreamNews, StreamOptions, StreamOutcome, StreamState,
};
use proptest::prelude::*;
use std::time::Duration;

type Output = StreamOutput<u32>;

const BOT: ProducerId = ProducerId { reactor: ReactorId(0), connection: 1 };
const SUCCESSOR: ProducerId = ProducerId { reactor: ReactorId(1), connection: 2 };

fn user(name: &str) -> UserName {
    UserName::parse(name).expect("valid")
}

fn id(offset: u64) -> StreamId {
    StreamId { channel: ChannelName::parse("c1").expect("valid"), offset: Offset(offset) }
}

fn ms(ms: u64) -> Moment {
    Moment::from_micros(1_000_000_000 + ms * 1_000)
}

fn text(text: &str) -> Piece {
    Piece::Text(text.into())
}

fn event(kind: &str, data: &str) -> Piece {
    Piece::Event { kind: EventKind::parse(kind).expect("valid"), data: data.into() }
}

fn begin(offset: u64) -> StreamBegin {
    let options =
        StreamOptions { asker: Some(user("ann")), idle_ms: None, events: EventKeep::Keep, answer: None };
    StreamBegin { id: id(offset), author: user("bot"), options, begun: "{}".into(), producer: Some(BOT) }
}

/// A ledger with one stream, at the offset 1.
fn with_stream(settings: StreamSettings) -> Ledger<u32> {
    let mut ledger = Ledger::new(settings, ms(0));
    let begun = ledger.begin(begin(1), ms(0)).expect("there is room");
    assert_eq!((begun.generation, begun.next, begun.ended), (Generation(1), Position(0), None));
    ledger
}

struct Bench {
    ledger: Ledger<u32>,
    now: Moment,
    out: Output,
}

impl Bench {
    fn new() -> Bench {
        Bench::with(StreamSettings::default())
    }

    fn with(settings: StreamSettings) -> Bench {
        Bench { ledger: with_stream(settings), now: ms(0), out: Output::default() }
    }

    fn append_as(&mut self, producer: ProducerId, ticket: Option<u32>, at: u32, piece: Piece) -> &mut Bench {
        let user = user("bot");
        let append = StreamAppend { generation: None, at: Some(Position(at)), piece };
        let sender = StreamSender { producer, user: &user, ticket };
        assert_eq!(self.ledger.take(&id(1), sender, append, self.now, &mut self.out), Known::Open);
        self
    }

    fn append(&mut self, ticket: Option<u32>, at: u32, piece: Piece) -> &mut Bench {
        self.append_as(BOT, ticket, at, piece)
    }

    fn end(&mut self, ticket: u32, at: u32, end: StreamEnd, data: Option<&str>) -> &mut Bench {
        let user = user("bot");
        let finish =
            StreamFinish { generation: None, at: Some(Position(at)), end, data: data.map(Box::from) };
        let sender = StreamSender { producer: BOT, user: &user, ticket: Some(ticket) };
        assert_eq!(self.ledger.end(&id(1), sender, finish, self.now, &mut self.out), Known::Open);
        self
    }

    fn cancel(&mut self, ticket: u32, name: &str, right: CancelRight) -> &mut Bench {
        let user = user(name);
        let sender = StreamSender { producer: SUCCESSOR, user: &user, ticket: Some(ticket) };
        assert_eq!(self.ledger.cancel(&id(1), sender, right, self.now, &mut self.out), Known::Open);
        self
    }

    fn restart(&mut self, ticket: u32) -> &mut Bench {
        let user = user("bot");
        let sender = StreamSender { producer: BOT, user: &user, ticket: Some(ticket) };
        assert_eq!(self.ledger.restart(&id(1), sender, self.now, &mut self.out), Known::Open);
        self
    }

    fn wait(&mut self, ms: u64) -> &mut Bench {
        self.now = self.now + Duration::from_millis(ms);
        self
    }

    /// Commits the next flush when it is due.
    fn flush(&mut self) -> Flush {
        self.now = self.now.max(self.ledger.due().expect("something waits"));
        self.ledger.cut(self.now)
    }

    fn settle(&mut self) -> Output {
        let flush = self.flush();
        let fates: Vec<EndFate> =
            flush.ends.iter().map(|row| EndFate { end: row.end, edit: Offset(75) }).collect();
        self.ledger.settled(flush, &fates, self.now, &mut self.out);
        std::mem::take(&mut self.out)
    }
}

fn replies(out: &Output) -> Vec<(u32, StreamOutcome)> {
    out.replies.clone()
}

fn appended(next: u32) -> StreamOutcome {
    StreamOutcome::Appended { generation: Generation(1), next: Position(next) }
}

#[test]
fn nothing_about_a_piece_is_said_before_its_commit() {
    let mut bench = Bench::new();
    bench.append(Some(7), 0, text("Hé")).append(None, 3, event("usage", "{\"n\":1}"));
    assert!(bench.out.is_empty());
    assert!(
        bench.ledger.shared(&id(1)).expect("open").text.text_from(Position(0)).is_some_and(|t| t.is_empty())
    );
    let out = bench.settle();
    assert_eq!(replies(&out), [(7, appended(4))]);
    let notice = ProducerNotice::Appended { id: id(1), generation: Generation(1), next: Position(4) };
    assert_eq!(out.notices, [(BOT, notice)]);
    let [news] = &out.news[..] else { panic!("{:?}", out.news) };
    let News::Pieces { at, next, frames } = &news.news else { panic!("{news:?}") };
    assert_eq!((*at, *next), (Position(0), Position(4)));
    let frames: Vec<&str> = crate::wire::server_frame::split(frames)
        .map(|frame| std::str::from_utf8(&frame[2..]).expect("short frames of UTF-8"))
        .collect();
    assert_eq!(
        frames,
        [
            r#"{"stream":{"channel":"c1","offset":1,"gen":1,"at":0,"text":"Hé","next":3}}"#,
            r#"{"stream":{"channel":"c1","offset":1,"gen":1,"at":3,"event":{"type":"usage","data":{"n":1}},"next":4}}"#,
        ]
    );
}

#[test]
fn end_has_the_whole_text_its_begin_and_its_events() {
    let mut bench = Bench::new();
    bench.append(None, 0, text("a\"")).append(None, 2, event("usage", "7")).append(None, 3, text("\u{1}"));
    bench.end(1, 4, StreamEnd::Completed, None);
    let flush = bench.flush();
    let [row] = &flush.ends[..] else { panic!("{flush:?}") };
    assert_eq!(&*row.data, r#"{"text":"a\"\u0001","begun":{},"events":[[2,"usage",7]]}"#);
    assert_eq!((row.end, row.cause, flush.rows.len()), (StreamEnd::Completed, None, 0));
    let fate = EndFate { end: StreamEnd::Completed, edit: Offset(75) };
    bench.ledger.settled(flush, &[fate], bench.now, &mut bench.out);
    let ended = StreamOutcome::Ended { edit: Offset(75), end: StreamEnd::Completed, duplicate: false };
    assert_eq!(replies(&bench.out), [(1, ended)]);
    assert_eq!((bench.ledger.open_streams(), bench.ledger.bytes(), bench.ledger.due()), (0, 0, None));
}

#[test]
fn failed_flush_waits_again_in_order() {
    let mut bench = Bench::new();
    bench.append(Some(1), 0, text("ab")).restart(2).append(None, 0, text("x"));
    let flush = bench.flush();
    assert_eq!((flush.restarts.len(), flush.rows.len()), (1, 1));
    bench.ledger.failed(flush, bench.now, &mut bench.out);
    bench.append(Some(3), 1, text("y"));
    let stale = StreamOutcome::Refused(StreamFault::Stale { generation: Generation(2) });
    assert_eq!(replies(&bench.out), [(1, stale)]);
    bench.out = Output::default();
    let flush = bench.flush();
    assert_eq!(
        decode(Position(0), Position(2), &flush.rows[0].body).map(|pieces| pieces.entries().count()),
        Ok(1)
    );
    bench.ledger.settled(flush, &[], bench.now, &mut bench.out);
    let shared = bench.ledger.shared(&id(1)).expect("open");
    assert_eq!(
        (shared.generation, shared.text.text_from(Position(0)).as_deref()),
        (Generation(2), Some("xy"))
    );
    assert!(matches!(bench.out.news[0].news, News::Restarted(_)));
}

#[test]
fn repeat_is_acknowledged_and_an_overlap_is_cut() {
    let mut bench = Bench::new();
    bench.append(None, 0, text("añb"));
    bench.settle();
    bench.append(Some(1), 0, text("añ")).append(Some(2), 1, text("ñbc"));
    assert_eq!(replies(&bench.out), [(1, appended(4))]);
    assert_eq!(replies(&bench.settle()), [(1, appended(4)), (2, appended(5))]);
    bench.append(Some(3), 2, text("b")).append(Some(4), 6, text("d")).append(Some(5), 0, text("x"));
    let next = Position(5);
    let refused = [StreamFault::Diverged { next }, StreamFault::Gap { next }, StreamFault::Diverged { next }];
    let refused: Vec<_> = (3..).zip(refused.map(StreamOutcome::Refused)).collect();
    assert_eq!(replies(&bench.out), refused);
    bench.out = Output::default();
    bench.append(None, 0, text("añbc"));
    let out = bench.settle();
    assert_eq!(
        (out.notices.len(), out.news.len()),
        (1, 0),
        "a repeat without an id is acknowledged with the next flush"
    );
}

#[test]
fn stream_without_a_producer_is_paused_and_then_interrupted() {
    let mut bench = Bench::new();
    bench.append(None, 0, text("a"));
    bench.settle();
    bench.wait(20_000);
    bench.append_as(SUCCESSOR, None, 1, text("b"));
    bench.settle();
    bench.ledger.detach(BOT, bench.now);
    let lost = bench.now;
    bench.ledger.detach(SUCCESSOR, bench.now);
    let out = bench.settle();
    assert_eq!(bench.now, lost + Duration::from_secs(1));
    assert!(matches!(out.news[..], [StreamNews { news: News::State(StreamState::Paused, _), .. }]));
    bench.wait(2_000).append(None, 2, text("c"));
    let out = bench.settle();
    assert!(matches!(out.news[1].news, News::State(StreamState::Streaming, _)));
    bench.ledger.detach(BOT, bench.now);
    bench.wait(1_000).settle();
    let flush = loop {
        let flush = bench.flush();
        if !flush.writes_nothing() {
            break flush;
        }
        bench.ledger.settled(flush, &[], bench.now, &mut bench.out);
    };
    assert_eq!(&*flush.ends[0].data, r#"{"text":"abc","begun":{},"cause":"producer_lost"}"#);
    assert_eq!(flush.ends[0].end, StreamEnd::Interrupted);
}

#[test]
fn cancel_ends_a_stream_whose_producer_goes_on() {
    let mut bench = Bench::new();
    bench.append(None, 0, text("a")).cancel(1, "eve", CancelRight::Own);
    assert_eq!(replies(&bench.out), [(1, StreamOutcome::Refused(StreamFault::NotAuthor))]);
    bench.out = Output::default();
    bench.cancel(2, "ann", CancelRight::Own);
    let out = bench.settle();
    assert_eq!(replies(&out), [(2, StreamOutcome::Cancelling)]);
    let cancelled = bench.now;
    assert!(out.notices.iter().any(|(producer, notice)| {
        *producer == BOT && matches!(notice, ProducerNotice::Cancel { end_ms: 4_900..=5_000, .. })
    }));
    let ended = loop {
        let at = bench.ledger.shared(&id(1)).map(|shared| shared.text.next().0).unwrap_or_default();
        bench.wait(100).append(None, at, text("a"));
        let flush = bench.flush();
        if let Some(row) = flush.ends.first() {
            break row.clone();
        }
        bench.ledger.settled(flush, &[], bench.now, &mut bench.out);
    };
    assert_eq!((ended.end, ended.cause), (StreamEnd::Cancelled, None));
    assert!(bench.now.since(cancelled) <= Duration::from_millis(5_200));
}

#[test]
fn producer_is_paused_at_its_window_and_resumed_below_half() {
    let settings = StreamSettings { window_bytes: 10, ..StreamSettings::default() };
    let mut bench = Bench::with(settings);
    bench.append(None, 0, text("0123456789"));
    assert!(bench.out.is_empty());
    bench.append(None, 10, text("0")).append(None, 11, text("12345678"));
    assert_eq!(bench.out.notices, [(BOT, ProducerNotice::Pause)]);
    bench.out = Output::default();
    bench.append(Some(1), 19, text("too much"));
    let overloaded = StreamOutcome::Refused(StreamFault::Overloaded { retry_ms: 1_000 });
    assert_eq!(replies(&bench.out), [(1, overloaded)]);
    let out = bench.settle();
    assert_eq!(out.notices.last(), Some(&(BOT, ProducerNotice::Resume)));
    bench.append(None, 19, text("0123456789a")).end(2, 30, StreamEnd::Completed, None);
    let out = bench.settle();
    let pauses = out
        .notices
        .iter()
        .filter(|(_, notice)| matches!(notice, ProducerNotice::Pause | ProducerNotice::Resume));
    assert_eq!(pauses.count(), 2, "the end of its last stream resumes it");
}

#[test]
fn user_has_at_most_half_of_a_shared_bound() {
    let settings = StreamSettings { memory_bytes: 16_000, pending_bytes: 1_000, ..StreamSettings::default() };
    let mut bench = Bench::with(settings);
    let mut offset = 1;
    let mut begin_by = |bench: &mut Bench, name: &str| {
        offset += 1;
        bench.ledger.begin(StreamBegin { author: user(name), ..begin(offset) }, bench.now).is_ok()
    };
    let of_bot = (0..20).filter(|_| begin_by(&mut bench, "bot")).count();
    assert_eq!((of_bot, begin_by(&mut bench, "other")), (4, true), "5 KiB of 6,000 bytes");
    let long = "x".repeat(450);
    bench.append(Some(1), 0, text(&long)).append(Some(2), 450, text(&long));
    assert!(matches!(bench.out.replies[..], [(2, StreamOutcome::Refused(StreamFault::Overloaded { .. }))]));
    let other = user("other");
    let sender = StreamSender { producer: SUCCESSOR, user: &other, ticket: Some(3) };
    let append = StreamAppend { generation: None, at: None, piece: text(&long) };
    let mut out = Output::default();
    assert_eq!(bench.ledger.take(&id(offset), sender, append, bench.now, &mut out), Known::Open);
    assert_eq!(out.replies, []);
}

#[test]
fn piece_taken_while_a_flush_is_in_doubt_is_acknowledged_by_its_own_commit() {
    let mut bench = Bench::new();
    bench.append(None, 0, text("a"));
    let flush = bench.flush();
    bench.append(None, 1, text("b"));
    bench.ledger.settled(flush, &[], bench.now, &mut bench.out);
    let positions = |out: &Output| -> Vec<u32> {
        let next = |notice: &ProducerNotice| match notice {
            ProducerNotice::Appended { next, .. } => Some(next.0),
            _ => None,
        };
        out.notices.iter().filter_map(|(_, notice)| next(notice)).collect()
    };
    assert_eq!(positions(&std::mem::take(&mut bench.out)), [1]);
    assert_eq!(positions(&bench.settle()), [2]);
}

#[test]
fn cancel_during_an_end_of_the_gateway_that_fails_is_to_be_sent_again() {
    let mut bench = Bench::new();
    bench.append(None, 0, text("a")).settle();
    bench.wait(31_000);
    let flush = bench.ledger.cut(bench.now);
    assert_eq!(flush.ends.len(), 1, "it was silent");
    bench.cancel(1, "ann", CancelRight::Own);
    bench.ledger.failed(flush, bench.now, &mut bench.out);
    let overloaded = StreamOutcome::Refused(StreamFault::Overloaded { retry_ms: 1_000 });
    assert_eq!(replies(&bench.out), [(1, overloaded)]);
}

#[test]
fn piece_larger_than_two_windows_is_taken_if_nothing_waits() {
    let mut bench = Bench::with(StreamSettings { window_bytes: 10, ..StreamSettings::default() });
    bench.append(Some(1), 0, text(&"x".repeat(30)));
    assert_eq!(replies(&bench.settle()), [(1, appended(30))]);
}

#[test]
fn stream_outgrows_no_message_and_has_no_more_events_than_allowed() {
    let settings = StreamSettings { message_bytes: 200, events_per_stream: 2, ..StreamSettings::default() };
    let mut bench = Bench::with(settings.clone());
    bench.append(None, 0, event("a", "1")).append(None, 1, event("a", "2")).append(
        Some(1),
        2,
        event("a", "3"),
    );
    let too_large = StreamOutcome::Refused(StreamFault::TooLarge);
    assert_eq!(replies(&bench.out), [(1, too_large.clone())]);
    let mut at = 2;
    while bench.out.replies.len() == 1 {
        bench.append(Some(2), at, text("\u{1}"));
        at += 1;
    }
    assert_eq!(bench.out.replies[1], (2, too_large));
    bench.end(3, at - 1, StreamEnd::Completed, None);
    let size = bench.flush().ends[0].data.len();
    assert!((130..=200).contains(&size), "{size}");
    let mut ledger: Ledger<u32> = Ledger::new(settings, ms(0));
    let begun = format!("\"{}\"", "x".repeat(150)).into();
    assert_eq!(ledger.begin(StreamBegin { begun, ..begin(1) }, ms(0)), Err(StreamFault::TooLarge));
}

#[test]
fn silent_stream_is_not_ended_while_commits_fail_and_a_while_after() {
    let mut bench = Bench::new();
    bench.append(None, 0, text("a"));
    bench.settle();
    bench.ledger.detach(BOT, bench.now);
    bench.append_as(SUCCESSOR, None, 1, text("b"));
    bench.ledger.detach(SUCCESSOR, bench.now);
    let lost = bench.now;
    while bench.now.since(lost) < Duration::from_secs(60) {
        let flush = bench.flush();
        assert_eq!(flush.ends, []);
        bench.ledger.failed(flush, bench.now, &mut bench.out);
    }
    bench.settle();
    let back = bench.now;
    bench.append(None, 2, text("c"));
    bench.settle();
    bench.ledger.detach(BOT, bench.now);
    bench.wait(9_900);
    let flush = bench.ledger.cut(bench.now);
    assert_eq!((bench.now > back + Duration::from_secs(9), flush.ends.len()), (true, 0));
    bench.ledger.settled(flush, &[], bench.now, &mut bench.out);
    bench.wait(200);
    let flush = bench.ledger.cut(bench.now);
    assert_eq!(flush.ends.len(), 1);
    // The commit fails, and the producer is back before the next one.
    bench.ledger.failed(flush, bench.now, &mut bench.out);
    bench.append(None, 3, text("d"));
    let flush = bench.flush();
    assert_eq!((flush.ends.len(), flush.rows.len()), (0, 1));
}

#[test]
fn streams_that_are_due_together_end_in_several_flushes() {
    let settings = StreamSettings { open_per_channel: 200, ..StreamSettings::default() };
    let mut ledger: Ledger<u32> = Ledger::new(settings, ms(0));
    for offset in 1..=150 {
        ledger.begin(begin(offset), ms(0)).expect("there is room");
    }
    ledger.detach(BOT, ms(0));
    let (mut now, mut ends) = (ms(0), Vec::new());
    while ledger.open_streams() > 0 {
        now = now.max(ledger.due().expect("streams are open"));
        let flush = ledger.cut(now);
        let fates: Vec<EndFate> =
            flush.ends.iter().map(|row| EndFate { end: row.end, edit: Offset(1) }).collect();
        ends.push(fates.len());
        ledger.settled(flush, &fates, now, &mut Output::default());
    }
    ends.retain(|ends| *ends > 0);
    assert_eq!(ends, [64, 64, 22]);
    assert!(now <= ms(10_100));
}

#[test]
fn many_connections_of_one_stream_are_forgotten_again() {
    let mut bench = Bench::new();
    for connection in 0..100 {
        let producer = ProducerId { reactor: ReactorId(2), connection };
        bench.append_as(producer, None, connection as u32, text("a"));
    }
    let out = bench.settle();
    assert_eq!(out.notices.len(), 4, "the newest four are producers");
    for connection in 0..100 {
        bench.ledger.detach(ProducerId { reactor: ReactorId(2), connection }, bench.now);
    }
    let out = bench.settle();
    assert!(matches!(out.news[..], [StreamNews { news: News::State(StreamState::Paused, _), .. }]));
}

#[test]
fn long_text_is_compared_over_its_blocks() {
    let long: String = (0..20_000).map(|n| char::from(b'a' + (n % 23) as u8)).collect();
    let mut bench = Bench::new();
    for (index, part) in long.as_bytes().chunks(700).enumerate() {
        let part = std::str::from_utf8(part).expect("ASCII");
        bench.append(None, index as u32 * 700, text(part));
        bench.settle();
    }
    let shared = bench.ledger.shared(&id(1)).expect("open").text;
    for at in [0, 1, 699, 4_200, 4_095, 19_999, 20_000] {
        assert_eq!(shared.text_from(Position(at)).as_deref(), long.get(at as usize..));
    }
    assert_eq!(shared.text_from(Position(20_001)), None);
    for (ticket, at) in (1..).zip([0, 1, 4_199, 8_000, 15_000]) {
        bench.append(Some(ticket), at, text(&long[at as usize..at as usize + 5_000]));
        assert_eq!(bench.out.replies.pop(), Some((ticket, appended(20_000))));
        let wrong = long[at as usize..at as usize + 4_999].to_string() + "!";
        bench.append(Some(ticket), at, text(&wrong));
        let diverged = StreamOutcome::Refused(StreamFault::Diverged { next: Position(20_000) });
        assert_eq!(bench.out.replies.pop(), Some((ticket, diverged)));
    }
}

#[test]
fn flushes_keep_to_the_grid_which_slow_ones_stretch() {
    let mut bench = Bench::new();
    bench.append(None, 0, text("a"));
    let first = bench.flush();
    let cut = bench.now;
    bench.append(None, 1, text("b"));
    assert_eq!(bench.ledger.due(), None, "one flush at a time");
    bench.wait(1);
    bench.ledger.settled(first, &[], bench.now, &mut bench.out);
    assert_eq!(bench.ledger.due(), Some(cut + Duration::from_millis(40)));
    assert!(bench.ledger.cut(cut + Duration::from_millis(39)).writes_nothing());
    let flush = bench.flush();
    bench.wait(21);
    bench.ledger.settled(flush, &[], bench.now, &mut bench.out);
    assert_eq!(bench.ledger.window(), Duration::from_millis(80));
    // A first token after a silence does not wait for the whole window.
    bench.wait(200);
    bench.append(None, 2, text("c"));
    assert!(bench.ledger.due().is_some_and(|due| due <= bench.now));
    for expected in [160, 200, 200] {
        let at = bench.ledger.shared(&id(1)).map(|shared| shared.text.next().0).unwrap_or_default();
        bench.append(None, at.max(3), text("d"));
        let flush = bench.flush();
        bench.wait(150);
        bench.ledger.settled(flush, &[], bench.now, &mut bench.out);
        assert_eq!(bench.ledger.window(), Duration::from_millis(expected));
    }
}

#[test]
fn joined_bodies_of_several_rows_are_read_as_one() {
    let (mut all, mut joined) = (Pieces::empty(0), Vec::new());
    let long = "ö".repeat(200);
    for texts in [&["wörd 1; "][..], &["wörd 2; "], &[&long], &["before ", "after"], &["wörd 3"]] {
        let mut pieces = Pieces::empty(all.next());
        for (place, text) in texts.iter().enumerate() {
            if place > 0 {
                pieces.push_event(EventKind::parse("usage").expect("valid"), "{}".into());
            }
            pieces.push_text(text);
        }
        let row = PartRow::new(id(1), Generation(1), &pieces);
        assert_eq!(row.only_text().is_some(), texts.len() == 1);
        if let Some(text) = row.only_text() {
            assert_eq!(PartRow::of_text(id(1), Generation(1), row.at, text), row);
        }
        joined.extend(row.body);
        all.extend(pieces);
    }
    let read = decode(Position(0), position(all.next()), &joined).expect("a body");
    assert_eq!(
        format!("{:?}", read.entries().collect::<Vec<_>>()),
        format!("{:?}", all.entries().collect::<Vec<_>>())
    );
}

proptest! {
    #[test]
    fn body_of_any_bytes_is_read_or_refused(
        at in any::<u32>(), next in any::<u32>(), body in prop::collection::vec(0u8..4, 0..60),
    ) {
        let row = PartRow { id: id(1), generation: Generation(1), at: Position(at), next: Position(next), body };
        if let Some(text) = row.only_text() {
            prop_assert!(row.body.ends_with(text));
        }
        if let Ok(pieces) = decode(row.at, row.next, &row.body) {
            let entries = pieces.entries().map(|entry| match entry {
                PieceEntry::Text { text, .. } => text.len(),
                PieceEntry::Event(_) => 1,
            });
            prop_assert_eq!(at as usize + entries.sum::<usize>(), next as usize);
        }
    }
}
