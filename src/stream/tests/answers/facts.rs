//! The facts about answers that are counted.

use super::*;

fn wait_ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A time in tenths of a second: until the first piece, or until an end without one.
type Fact = (u128, Option<(StreamEnd, Option<EndCause>)>);

fn facts(out: &Output) -> Vec<Fact> {
    let fact = |fact: &AnswerFact| match *fact {
        AnswerFact::FirstPiece(waited) => (waited.as_millis() / 100, None),
        AnswerFact::Ended { end, cause, unheard } => {
            (unheard.map_or(0, |waited| waited.as_millis() / 100), Some((end, cause)))
        }
    };
    out.answers.iter().map(fact).collect()
}

#[test]
fn first_piece_is_counted_once_when_it_is_stored() {
    for piece in [text("Hi"), event("thinking", "1")] {
        let mut bench = bench();
        bench.wait(2_000).relay(1, RelayOrder::Process).settle();
        bench.wait(1_000).write(2, Some(1), Piece::Alive);
        assert_eq!(facts(&bench.out), [], "a sign of life is no piece");
        bench.wait(4_000).write(3, Some(1), piece);
        let flush = bench.flush();
        bench.ledger.failed(flush, bench.now, &mut bench.out);
        assert_eq!(facts(&bench.out), []);
        bench.wait(3_000);
        assert_eq!(facts(&bench.settle()), [(100, None)]);
        bench.relay(4, RelayOrder::Restart).write(5, Some(2), text("again"));
        assert_eq!(facts(&bench.settle()), []);
        bench.relay(6, RelayOrder::Fail(EndCause::Refused));
        assert_eq!(facts(&bench.settle()), [(0, Some((StreamEnd::Failed, Some(EndCause::Refused))))]);
    }
}

#[test]
fn end_without_a_piece_says_how_long_was_waited_unless_it_is_the_answer() {
    let with_end = |pieces: &[&str], end: StreamEnd, data: Option<&str>| {
        let mut bench = bench();
        bench.relay(1, RelayOrder::Process).settle();
        bench.wait(5_000);
        for piece in pieces {
            bench.write(2, Some(1), text(piece));
        }
        let user = user("assistant");
        let finish =
            StreamFinish { generation: Some(Generation(1)), at: None, end, data: data.map(Box::from) };
        let sender = StreamSender { producer: BOT, user: &user, ticket: Some(3) };
        let known = bench.ledger.end(&id(59), sender, finish, bench.now, &mut bench.out);
        assert_eq!(known, Known::Open);
        facts(&bench.settle())
    };
    let ended = |end| Some((end, None));
    let completed = [(50, None), (0, ended(StreamEnd::Completed))];
    assert_eq!(with_end(&["Hi"], StreamEnd::Completed, None), completed);
    assert_eq!(with_end(&[], StreamEnd::Completed, Some("7")), completed);
    assert_eq!(with_end(&["Hi"], StreamEnd::Failed, None), [(50, None), (0, ended(StreamEnd::Failed))]);
    assert_eq!(with_end(&[], StreamEnd::Failed, Some("7")), [(50, ended(StreamEnd::Failed))]);
    let mut bench = bench();
    bench.wait(5_000).stop(1);
    assert_eq!(facts(&bench.settle()), [(50, ended(StreamEnd::Cancelled))]);
}

#[test]
fn answer_that_an_edit_or_another_instance_ends_is_counted_there() {
    let mut bench = bench();
    let fate = EndFate { end: StreamEnd::Deleted, edit: Offset(75) };
    bench.ledger.overwritten(&id(59), fate, &mut bench.out);
    let _ = bench.ledger.ended(&id(59), fate, &mut bench.out);
    assert_eq!(facts(&bench.out), [(0, Some((StreamEnd::Deleted, None)))]);
    let mut bench = self::bench();
    let _ = bench.ledger.ended(&id(59), fate, &mut bench.out);
    assert_eq!(facts(&bench.out), []);
    let mut bench = Bench::new();
    bench.ledger.overwritten(&id(1), fate, &mut bench.out);
    bench.append(None, 0, text("no answer")).end(1, 9, StreamEnd::Completed, None);
    assert_eq!(facts(&bench.settle()), []);
}

/// An answer that the store has, of which the question is so old.
fn stored(asked: Option<Duration>) -> StoredStream {
    let StreamBegin { id, author, options, begun, .. } = answer(59);
    let (generation, state, age) = (Generation::FIRST, StreamState::Processing, Duration::ZERO);
    StoredStream { id, author, options, begun, generation, state, age, asked }
}

fn part(text: &str) -> PartRow {
    let length = text.len() as u32;
    let body = [&[0][..], &length.to_le_bytes(), text.as_bytes()].concat();
    PartRow { id: id(59), generation: Generation::FIRST, at: Position::ZERO, next: Position(length), body }
}

#[test]
fn answer_of_the_store_is_counted_if_the_time_of_its_question_is_known_and_it_has_no_piece() {
    for (asked, part, expected) in [
        (Some(wait_ms(20_000)), None, vec![(200, None)]),
        (None, None, vec![]),
        (Some(wait_ms(20_000)), Some(part("Hi")), vec![]),
    ] {
        let write = |ledger| {
            let mut bench = Bench { ledger, now: ms(0), out: Output::default() };
            bench.write(1, Some(1), text("!"));
            facts(&bench.settle())
        };
        let mut restored = Ledger::new(StreamSettings::default(), ms(0));
        restored.restore(stored(asked), ms(0));
        part.iter().for_each(|part| restored.restore_part(part).expect("readable"));
        assert_eq!(write(restored), expected, "after a start");
        let mut adopted = Ledger::of_several(StreamSettings::default(), ms(0));
        let parts = part.into_iter().collect();
        let loaded =
            LoadedStream { stream: stored(asked), touched: Touched(7), canceller: None, parts, restarted: 0 };
        adopted.loaded(loaded, ms(0), &mut Output::default()).expect("readable");
        assert_eq!(write(adopted), expected, "of another instance");
    }
}

#[test]
fn first_piece_that_another_instance_stored_is_not_counted_here() {
    let mut bench = Bench {
        ledger: Ledger::of_several(StreamSettings::default(), ms(0)),
        now: ms(0),
        out: Output::default(),
    };
    let _ = bench.ledger.begun(answer(59), Touched(7), ms(0));
    let stream = StoredStream { state: StreamState::Streaming, ..stored(None) };
    let parts = vec![part("Hi")];
    let loaded = LoadedStream { stream, touched: Touched(8), canceller: None, parts, restarted: 0 };
    bench.ledger.loaded(loaded, bench.now, &mut bench.out).expect("readable");
    bench.write(1, Some(1), text("!"));
    assert_eq!(facts(&bench.settle()), []);
}
