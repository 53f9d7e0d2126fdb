//! Bounds of what streams leave in the store, and of the time that a start takes from them.

use super::*;
use crate::wire::stream::EndCause;

#[test]
fn restart_is_refused_when_too_much_was_given_up() {
    let settings = StreamSettings { message_bytes: 200, ..StreamSettings::default() };
    let mut bench = Bench::with(settings);
    // 1,600 bytes, in texts of 100.
    for ticket in 0..16 {
        bench.append(None, 0, text(&"x".repeat(100))).restart(ticket);
        bench.settle();
    }
    bench.append(None, 0, text("y")).restart(16);
    assert_eq!(replies(&bench.out), [(16, StreamOutcome::Refused(StreamFault::TooLarge))]);
    bench.out = Output::default();
    bench.append(Some(17), 1, text("z"));
    let appended = StreamOutcome::Appended { generation: Generation(17), next: Position(2) };
    assert_eq!(replies(&bench.settle()), [(17, appended)], "the stream goes on");
}

#[test]
fn pieces_and_restarts_wait_while_the_store_is_short_of_room_and_states_and_ends_do_not() {
    let mut bench = Bench::new();
    bench.append(Some(1), 0, text("ab"));
    bench.cancel(2, "bot", CancelRight::Own);
    let short = |bench: &mut Bench| {
        bench.now = bench.now.max(bench.ledger.due().expect("something waits"));
        let flush = bench.ledger.cut_without_pieces(bench.now);
        assert!(flush.rows.is_empty() && flush.restarts.is_empty());
        flush
    };
    let flush = short(&mut bench);
    assert_eq!((flush.states.len(), flush.ends.len()), (1, 0));
    bench.ledger.settled(flush, &[], bench.now, &mut bench.out);
    assert_eq!(replies(&bench.out), [(2, StreamOutcome::Cancelling)], "no piece is acknowledged");
    assert_eq!(bench.ledger.due(), Some(bench.now + bench.ledger.window()), "it waits for a window");
    bench.restart(3).append(Some(4), 0, text("cd"));
    let flush = short(&mut bench);
    assert!(flush.writes_nothing());
    bench.ledger.settled(flush, &[], bench.now, &mut bench.out);
    bench.out = Output::default();
    let out = bench.settle();
    let restarted = StreamOutcome::Restarted { generation: Generation(2), next: Position(0) };
    let appended = StreamOutcome::Appended { generation: Generation(2), next: Position(2) };
    let mut answers = replies(&out);
    answers.sort_by_key(|(ticket, _)| *ticket);
    assert_eq!(answers, [(3, restarted), (4, appended)], "there is room again");
    bench.append(None, 2, text("e")).end(5, 3, StreamEnd::Completed, None);
    let flush = short(&mut bench);
    assert_eq!(&*flush.ends[0].data, r#"{"text":"cde","begun":{}}"#);
}

#[test]
fn stream_that_is_too_old_by_the_wall_clock_has_time_for_its_producer_after_a_start() {
    let mut ledger: Ledger<u32> = Ledger::new(StreamSettings::default(), ms(0));
    let StreamBegin { id, author, options, begun, .. } = begin(1);
    let age = Duration::from_secs(400_000_000);
    let (generation, state) = (Generation::FIRST, StreamState::Streaming);
    ledger.restore(StoredStream { id, author, options, begun, generation, state, age, asked: None }, ms(0));
    let mut out = Output::default();
    ledger.attach(&super::id(1), BOT, ms(1), &mut out).expect("open");
    for (now, ends) in [(9_900, 0), (10_100, 1)] {
        let flush = ledger.cut(ms(now));
        assert_eq!(flush.ends.len(), ends, "after {now} ms");
        if ends == 0 {
            ledger.settled(flush, &[], ms(now), &mut out);
        }
    }
}

#[test]
fn stream_with_a_part_that_cannot_be_read_ends_with_the_text_before_it() {
    let part = |at: u32, next: u32, text: &str| {
        let length = u32::try_from(text.len()).expect("short").to_le_bytes();
        let body = [&[0], &length[..], text.as_bytes()].concat();
        let (id, at, next) = (id(1), Position(at), Position(next));
        PartRow { id, generation: Generation::FIRST, at, next, body }
    };
    let StreamBegin { id, author, options, begun, .. } = begin(1);
    let (generation, state, age) = (Generation::FIRST, StreamState::Streaming, Duration::ZERO);
    let stream = StoredStream { id, author, options, begun, generation, state, age, asked: None };
    let broken = PartRow { body: vec![0, 9], ..part(5, 9, "lost") };
    let loaded = LoadedStream {
        stream,
        touched: Touched(7),
        canceller: None,
        parts: vec![part(0, 5, "Hello"), broken, part(9, 10, "!")],
        restarted: 0,
    };
    let mut bench = Bench::with(StreamSettings::default());
    bench.ledger = Ledger::of_several(StreamSettings::default(), ms(0));
    let _ = bench.ledger.begun(begin(1), Touched(7), ms(0));
    bench.append(Some(3), 0, text("waits"));
    for _ in 0..2 {
        assert_eq!(bench.ledger.loaded(loaded.clone(), bench.now, &mut bench.out), Err(PartFault::Body));
        bench.append(Some(4), 10, text("late"));
        let flush = bench.flush();
        let [row] = &flush.ends[..] else { panic!("{flush:?}") };
        assert_eq!((row.end, row.cause), (StreamEnd::Failed, Some(EndCause::Damaged)));
        assert_eq!(&*row.data, r#"{"text":"Hello","begun":{},"cause":"damaged"}"#);
        assert_eq!(
            (row.fence.generation, row.fence.next),
            (Generation::FIRST, Position(10)),
            "as the store has it"
        );
        let moved = FlushFates { ends: vec![StoredEndFate::Moved], ..FlushFates::default() };
        bench.ledger.settled_partly(flush, &moved, bench.now, &mut bench.out);
        assert_eq!(bench.ledger.behind().count(), 1, "it is loaded again");
    }
    let _ = bench.ledger.loaded(loaded, bench.now, &mut bench.out);
    let flush = bench.flush();
    let fate = EndFate { end: StreamEnd::Failed, edit: Offset(75) };
    let stored = FlushFates { ends: vec![StoredEndFate::Stored(fate, 1)], ..FlushFates::default() };
    bench.ledger.settled_partly(flush, &stored, bench.now, &mut bench.out);
    let refused: Vec<u32> = bench
        .out
        .replies
        .iter()
        .map(|(ticket, outcome)| {
            assert!(matches!(outcome, StreamOutcome::Refused(StreamFault::Overloaded { .. })), "{outcome:?}");
            *ticket
        })
        .collect();
    assert_eq!((refused, bench.ledger.open_streams()), (vec![3, 4, 4], 0));
}

/// A stream of this user, as another instance has stored it.
fn stored(offset: u64, author: &str, texts: &[&str]) -> LoadedStream {
    let StreamBegin { id, options, begun, .. } = begin(offset);
    let (generation, state) = (Generation::FIRST, StreamState::Streaming);
    let mut pieces = super::super::pieces::Pieces::empty(0);
    texts.iter().for_each(|text| pieces.push_text(text));
    let parts = vec![PartRow::new(id.clone(), generation, &pieces)];
    let stream = StoredStream {
        id,
        author: user(author),
        options,
        begun,
        generation,
        state,
        age: Duration::ZERO,
        asked: None,
    };
    LoadedStream { stream, touched: Touched(offset), canceller: None, parts, restarted: 0 }
}

#[test]
fn stream_of_another_instance_is_taken_over_only_within_the_share_of_its_user() {
    let settings = StreamSettings { memory_bytes: 390 << 10, ..StreamSettings::default() };
    let mut ledger: Ledger<u32> = Ledger::of_several(settings, ms(0));
    let (long, mut out) = ("x".repeat(60_000), Output::default());
    let mut take = |offset: u64, author: &str| {
        let loaded = stored(offset, author, &[&long]);
        let room = [Adoption::Continue, Adoption::End].map(|it| ledger.has_room_for(&loaded, it));
        if room[0] {
            ledger.loaded(loaded, ms(0), &mut out).expect("rows that adjoin");
        }
        room
    };
    assert_eq!([take(1, "bot"), take(2, "bot")], [[true, true]; 2]);
    assert_eq!(take(3, "bot"), [false, true], "three would be more than half of three quarters");
    assert_eq!(take(1, "bot"), [true, true], "it is open here");
    assert_eq!(take(4, "eve"), [true, true]);
    assert_eq!([take(5, "eve"), take(6, "ann")], [[true, true], [false, true]], "three quarters are taken");
}

#[test]
fn stream_that_outgrows_the_memory_at_another_instance_is_let_go() {
    let settings = StreamSettings { memory_bytes: 64 << 10, ..StreamSettings::default() };
    let mut ledger: Ledger<u32> = Ledger::of_several(settings, ms(0));
    let mut out = Output::default();
    ledger.loaded(stored(1, "bot", &["Hello"]), ms(0), &mut out).expect("rows that adjoin");
    let (bot, id) = (user("bot"), id(1));
    let sender = StreamSender { producer: BOT, user: &bot, ticket: Some(1) };
    let append = StreamAppend { generation: None, at: Some(Position(5)), piece: text("!") };
    assert_eq!(ledger.take(&id, sender, append, ms(0), &mut out), Known::Open);
    let little = "x".repeat(20_000);
    ledger.loaded(stored(1, "bot", &["Hello!", &little]), ms(1), &mut out).expect("rows that adjoin");
    let appended = StreamOutcome::Appended { generation: Generation::FIRST, next: Position(20_006) };
    assert_eq!((replies(&out), ledger.open_streams()), (vec![(1, appended)], 1));
    out = Output::default();
    let append = StreamAppend { generation: None, at: Some(Position(20_006)), piece: text("?") };
    let sender = StreamSender { producer: BOT, user: &bot, ticket: Some(2) };
    assert_eq!(ledger.take(&id, sender, append, ms(2), &mut out), Known::Open);
    let much = "x".repeat(40_000);
    ledger.loaded(stored(1, "bot", &["Hello!", &much]), ms(3), &mut out).expect("rows that adjoin");
    assert_eq!(replies(&out).len(), 1, "{out:?}");
    assert!(matches!(replies(&out)[0], (2, StreamOutcome::Refused(_))), "{out:?}");
    assert_eq!((ledger.open_streams(), ledger.bytes()), (0, 0));
    let news = out.news.iter().filter(|news| matches!(news.news, News::Pieces { .. }));
    assert_eq!(news.count(), 1, "readers here get what was found");
}
