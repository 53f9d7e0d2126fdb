//! Answers: their states, their deadlines, and their ends before any text.

mod facts;

use super::*;
use crate::stream::settings::GIVE_UP_MARGIN;
use crate::wire::stream::{AnswerOptions, EndCause};

const GIVE_UP_MS: u32 = 3_600_000;
const ANSWER_MS: u32 = 120_000;
const RELAY: ProducerId = ProducerId { reactor: ReactorId(2), connection: 3 };

fn answer(offset: u64) -> StreamBegin {
    let question = Offset(offset - 1);
    let answer = Some(AnswerOptions { question, give_up_ms: GIVE_UP_MS, answer_ms: ANSWER_MS });
    let options = StreamOptions { asker: Some(user("ann")), answer, ..StreamOptions::default() };
    let begun = format!("{{\"answers\":{question}}}").into();
    StreamBegin { id: id(offset), author: user("assistant"), options, begun, producer: None }
}

/// A ledger with the answer 59 to the question 58, whose state readers know.
fn bench() -> Bench {
    let mut ledger = Ledger::new(StreamSettings::default(), ms(0));
    ledger.begin(answer(59), ms(0)).expect("there is room");
    let mut bench = Bench { ledger, now: ms(0), out: Output::default() };
    assert_eq!(states(&bench.settle()), [StreamState::Accepted]);
    bench
}

fn states(out: &Output) -> Vec<StreamState> {
    let state = |news: &StreamNews| match news.news {
        News::State(state, _) => Some(state),
        News::Pieces { .. } | News::Restarted(_) => None,
    };
    out.news.iter().filter_map(state).collect()
}

impl Bench {
    fn relay(&mut self, ticket: u32, order: RelayOrder) -> &mut Bench {
        let user = user("assistant");
        let sender = StreamSender { producer: RELAY, user: &user, ticket: Some(ticket) };
        let (id, now, out) = (id(59), self.now, &mut self.out);
        let known = match order {
            RelayOrder::Process => self.ledger.process(&id, sender, now, out),
            RelayOrder::Fail(cause) => self.ledger.fail(&id, sender, cause, out),
            RelayOrder::Restart => self.ledger.restart(&id, sender, now, out),
        };
        assert_eq!(known, Known::Open);
        self
    }

    fn write(&mut self, ticket: u32, generation: Option<u32>, piece: Piece) -> &mut Bench {
        let user = user("assistant");
        let append = StreamAppend { generation: generation.map(Generation), at: None, piece };
        let sender = StreamSender { producer: BOT, user: &user, ticket: Some(ticket) };
        assert_eq!(self.ledger.take(&id(59), sender, append, self.now, &mut self.out), Known::Open);
        self
    }

    fn stop(&mut self, ticket: u32) -> &mut Bench {
        let user = user("ann");
        let sender = StreamSender { producer: SUCCESSOR, user: &user, ticket: Some(ticket) };
        let known = self.ledger.cancel(&id(59), sender, CancelRight::Own, self.now, &mut self.out);
        assert_eq!(known, Known::Open);
        self
    }

    /// The next flush that has an end.
    fn until_end(&mut self) -> EndRow {
        loop {
            let mut flush = self.flush();
            if let Some(row) = flush.ends.pop() {
                return row;
            }
            self.ledger.settled(flush, &[], self.now, &mut self.out);
        }
    }
}

enum RelayOrder {
    Process,
    Fail(EndCause),
    Restart,
}

fn processing() -> StreamOutcome {
    StreamOutcome::Processing { generation: Generation(1) }
}

#[test]
fn answer_that_no_backend_takes_fails_a_minute_after_the_relay_gives_up() {
    let mut bench = bench();
    let row = bench.until_end();
    assert_eq!(bench.now, ms(0) + Duration::from_millis(GIVE_UP_MS.into()) + GIVE_UP_MARGIN);
    assert_eq!((row.end, row.cause), (StreamEnd::Failed, Some(EndCause::NotDelivered)));
    assert_eq!(&*row.data, r#"{"text":"","begun":{"answers":58},"cause":"not_delivered"}"#);
}

#[test]
fn taken_question_is_answered_with_its_commit_and_waits_for_a_first_piece() {
    let mut bench = bench();
    bench.wait(3_000_000).relay(1, RelayOrder::Process);
    assert!(bench.out.replies.is_empty());
    let out = bench.settle();
    assert_eq!((replies(&out), states(&out)), (vec![(1, processing())], vec![StreamState::Processing]));
    bench.relay(2, RelayOrder::Process);
    let out = bench.settle();
    assert_eq!((replies(&out), states(&out)), (vec![(2, processing())], vec![]), "a repeat");
    let taken = ms(3_000_000);
    let row = bench.until_end();
    assert_eq!((row.end, row.cause), (StreamEnd::Interrupted, Some(EndCause::Idle)));
    let after = bench.now.since(taken);
    assert!((120_000..120_100).contains(&after.as_millis()), "{after:?}");
}

#[test]
fn sign_of_life_keeps_an_answer_and_its_life_counts_from_the_question_being_taken() {
    let mut bench = bench();
    bench.wait(2_000_000).relay(1, RelayOrder::Process).settle();
    for ticket in 2..7 {
        bench.wait(110_000).write(ticket, Some(1), Piece::Alive);
        let out = bench.settle();
        assert!(states(&out).is_empty(), "it is processed still");
    }
    let row = bench.until_end();
    assert_eq!((row.end, row.cause), (StreamEnd::Interrupted, Some(EndCause::Life)));
    let life = bench.now.since(ms(2_000_000));
    assert!((600_000..600_100).contains(&life.as_millis()), "{life:?}");
}

#[test]
fn first_piece_makes_an_answer_a_stream_like_any_other() {
    for takes in [true, false] {
        let mut bench = bench();
        if takes {
            bench.relay(1, RelayOrder::Process).settle();
        }
        bench.wait(1_000).write(2, Some(1), text("Hi"));
        let out = bench.settle();
        assert_eq!((replies(&out), states(&out)), (vec![(2, appended(2))], vec![StreamState::Streaming]));
        bench.relay(3, RelayOrder::Process);
        assert_eq!(replies(&bench.settle()), [(3, processing())], "it was taken in any case");
        let begun = bench.now;
        let row = bench.until_end();
        assert_eq!((row.end, row.cause), (StreamEnd::Interrupted, Some(EndCause::Idle)));
        assert!(bench.now.since(begun) < Duration::from_secs(31));
    }
}

#[test]
fn lost_producer_of_a_processed_answer_is_waited_for_and_its_return_is_no_text() {
    let mut bench = bench();
    bench.relay(1, RelayOrder::Process).settle();
    bench.ledger.attach(&id(59), BOT, bench.now, &mut bench.out).expect("open");
    bench.ledger.detach(BOT, bench.now);
    assert_eq!(states(&bench.settle()), [StreamState::Paused]);
    bench.ledger.attach(&id(59), BOT, bench.now, &mut bench.out).expect("open");
    assert_eq!(states(&bench.settle()), [StreamState::Processing]);
    bench.ledger.detach(BOT, bench.now);
    let row = bench.until_end();
    assert_eq!((row.end, row.cause), (StreamEnd::Interrupted, Some(EndCause::ProducerLost)));
}

#[test]
fn cancel_of_an_accepted_answer_ends_it_at_once_and_that_of_a_taken_one_has_time() {
    let mut bench = bench();
    bench.wait(1_000).stop(1);
    let out = bench.settle();
    let ended = StreamOutcome::Ended { edit: Offset(75), end: StreamEnd::Cancelled, duplicate: true };
    assert_eq!(replies(&out), [(1, ended)]);
    let cancelled = CancelledAnswer {
        id: id(59),
        question: Offset(58),
        generation: Generation(1),
        state: StreamState::Accepted,
        by: CancelledBy::Here,
    };
    assert_eq!(out.cancelled, std::slice::from_ref(&cancelled));
    assert_eq!((bench.ledger.open_streams(), bench.ledger.bytes()), (0, 0));

    let mut bench = self::bench();
    bench.relay(1, RelayOrder::Process).settle();
    bench.wait(1_000).stop(2);
    let asked = bench.now;
    let out = bench.settle();
    assert_eq!(replies(&out), [(2, StreamOutcome::Cancelling)]);
    assert_eq!(out.cancelled, [CancelledAnswer { state: StreamState::Processing, ..cancelled }]);
    let row = bench.until_end();
    assert_eq!((row.end, row.cause), (StreamEnd::Cancelled, None));
    assert!(bench.now >= asked + Duration::from_secs(5));
    let fate = EndFate { end: StreamEnd::Cancelled, edit: Offset(75) };
    let _ = bench.ledger.ended(&id(59), fate, &mut bench.out);
    assert!(bench.out.cancelled.is_empty(), "the relay is notified once");
}

#[test]
fn cancel_or_end_by_another_instance_is_news_for_the_relay_that_reads_the_response() {
    let stored = |state| {
        let StreamBegin { id, author, options, begun, .. } = answer(59);
        let (generation, age) = (Generation::FIRST, Duration::ZERO);
        let stream = StoredStream { id, author, options, begun, generation, state, age, asked: None };
        LoadedStream {
            stream,
            touched: Touched(8),
            canceller: Some(user("ann")),
            parts: Vec::new(),
            restarted: 0,
        }
    };
    let fate = EndFate { end: StreamEnd::Cancelled, edit: Offset(75) };
    let several = || {
        let ledger = Ledger::of_several(StreamSettings::default(), ms(0));
        let mut bench = Bench { ledger, now: ms(0), out: Output::default() };
        let _ = bench.ledger.begun(answer(59), Touched(7), ms(0));
        bench.settle();
        bench.relay(1, RelayOrder::Process).settle();
        bench
    };
    let over = |state| CancelledAnswer {
        id: id(59),
        question: Offset(58),
        generation: Generation(1),
        state,
        by: CancelledBy::Elsewhere,
    };
    let mut bench = several();
    bench.ledger.loaded(stored(StreamState::Cancelling), bench.now, &mut bench.out).expect("readable");
    let out = std::mem::take(&mut bench.out);
    assert_eq!(
        (states(&out), out.cancelled),
        (vec![StreamState::Cancelling], vec![over(StreamState::Processing)])
    );
    bench.ledger.loaded(stored(StreamState::Cancelling), bench.now, &mut bench.out).expect("readable");
    assert!(bench.out.cancelled.is_empty(), "it is known");

    let mut bench = several();
    bench.ledger.loaded(stored(StreamState::Processing), bench.now, &mut bench.out).expect("readable");
    assert!(bench.out.cancelled.is_empty(), "nothing has changed");
    let _ = bench.ledger.ended(&id(59), fate, &mut bench.out);
    assert_eq!(bench.out.cancelled, [over(StreamState::Processing)]);
}

#[test]
fn cancel_whose_commit_fails_is_carried_out_by_the_next() {
    let mut bench = bench();
    bench.wait(1_000).stop(1);
    let flush = bench.flush();
    assert_eq!(flush.ends.len(), 1);
    bench.ledger.failed(flush, bench.now, &mut bench.out);
    assert!(bench.out.replies.is_empty());
    let out = bench.settle();
    assert!(
        matches!(replies(&out)[..], [(1, StreamOutcome::Ended { end: StreamEnd::Cancelled, .. })]),
        "{out:?}"
    );
}

#[test]
fn refused_question_fails_its_answer_also_after_a_commit_that_failed() {
    let mut bench = bench();
    bench.relay(1, RelayOrder::Fail(EndCause::Refused)).relay(2, RelayOrder::Fail(EndCause::Refused));
    let flush = bench.flush();
    assert_eq!((flush.ends.len(), flush.ends[0].cause), (1, Some(EndCause::Refused)));
    bench.ledger.failed(flush, bench.now, &mut bench.out);
    bench.relay(3, RelayOrder::Process);
    assert!(bench.settle().replies.iter().any(|(ticket, outcome)| {
        *ticket == 1
            && *outcome == StreamOutcome::Ended { edit: Offset(75), end: StreamEnd::Failed, duplicate: false }
    }));
    assert_eq!(bench.ledger.open_streams(), 0);
}

#[test]
fn append_and_end_of_an_answer_name_the_generation() {
    let mut bench = bench();
    bench.relay(1, RelayOrder::Process).settle();
    bench.write(2, None, text("x"));
    let user = user("assistant");
    let sender = StreamSender { producer: BOT, user: &user, ticket: Some(3) };
    let finish = StreamFinish { generation: None, at: None, end: StreamEnd::Completed, data: None };
    let _ = bench.ledger.end(&id(59), sender, finish, bench.now, &mut bench.out);
    let refused = StreamOutcome::Refused(StreamFault::NoGeneration);
    assert_eq!(replies(&bench.out), [(2, refused.clone()), (3, refused)]);
}

#[test]
fn repeated_request_raises_the_generation_and_has_no_producer() {
    let mut bench = bench();
    bench.relay(1, RelayOrder::Restart);
    let out = bench.settle();
    let restarted = StreamOutcome::Restarted { generation: Generation(2), next: Position(0) };
    assert_eq!(replies(&out), [(1, restarted)]);
    let shared = bench.ledger.shared(&id(59)).expect("open");
    assert_eq!((shared.generation, shared.state), (Generation(2), StreamState::Accepted));
    bench.write(2, Some(1), text("of the first run"));
    let stale = StreamOutcome::Refused(StreamFault::Stale { generation: Generation(2) });
    assert_eq!(replies(&bench.out), [(2, stale)]);
    bench.relay(5, RelayOrder::Process).settle();
    bench.relay(6, RelayOrder::Restart).settle();
    bench.ledger.detach(RELAY, bench.now);
    bench.wait(30_000).relay(7, RelayOrder::Restart).settle();
    assert_eq!(
        bench.ledger.shared(&id(59)).map(|it| it.state),
        Some(StreamState::Processing),
        "nothing is lost"
    );

    let mut bench = self::bench();
    bench.relay(1, RelayOrder::Restart).settle();
    bench.ledger.detach(RELAY, bench.now);
    bench.wait(60_000).stop(3);
    assert!(
        matches!(replies(&bench.settle())[..], [.., (3, StreamOutcome::Ended { .. })]),
        "no one is waited for"
    );
}

#[test]
fn deleted_question_withdraws_its_answer_until_a_backend_has_it() {
    let mut bench = bench();
    let (channel, ann) = (id(59).channel, user("ann"));
    bench.ledger.withdraw(&channel, Offset(57), &ann, bench.now);
    bench.ledger.withdraw(&channel, Offset(59), &ann, bench.now);
    assert!(!bench.ledger.has_waiting());
    bench.ledger.withdraw(&channel, Offset(58), &ann, bench.now);
    let row = bench.until_end();
    assert_eq!(row.end, StreamEnd::Cancelled);

    let mut bench = self::bench();
    bench.relay(1, RelayOrder::Process).settle();
    bench.ledger.withdraw(&channel, Offset(58), &ann, bench.now);
    assert!(!bench.ledger.has_waiting());
}

#[test]
fn answer_whose_question_is_gone_ends_until_a_backend_has_it() {
    let mut bench = bench();
    bench.ledger.lose_question(&id(57));
    assert!(!bench.ledger.has_waiting());
    bench.ledger.lose_question(&id(59));
    let row = bench.until_end();
    assert_eq!((row.end, row.cause), (StreamEnd::Failed, Some(EndCause::NotDelivered)));

    let mut bench = self::bench();
    bench.relay(1, RelayOrder::Process).settle();
    bench.ledger.lose_question(&id(59));
    assert!(!bench.ledger.has_waiting());
}

#[test]
fn channel_with_too_many_open_streams_refuses_a_question_and_its_asker_pays_for_answers() {
    let settings = StreamSettings { open_per_channel: 2, ..StreamSettings::default() };
    let mut ledger: Ledger<u32> = Ledger::new(settings, ms(0));
    ledger.begin(answer(3), ms(0)).expect("there is room");
    ledger.begin(begin(4), ms(0)).expect("there is room");
    assert!(matches!(ledger.begin(answer(6), ms(0)), Err(StreamFault::ChannelFull { .. })));

    let settings = StreamSettings { open_per_channel: 5, ..StreamSettings::default() };
    let mut ledger: Ledger<u32> = Ledger::new(settings, ms(0));
    for offset in [2, 4, 6] {
        ledger.begin(answer(offset), ms(0)).expect("a share of three");
    }
    assert!(matches!(ledger.begin(answer(8), ms(0)), Err(StreamFault::ChannelFull { .. })));
    let options = StreamOptions { asker: Some(user("bob")), ..answer(8).options };
    ledger.begin(StreamBegin { options, ..answer(8) }, ms(0)).expect("another user may ask");
    ledger.forget(&id(2), &mut Output::default());
    ledger.begin(answer(10), ms(0)).expect("one of hers has ended");

    let settings =
        StreamSettings { memory_bytes: 16 << 10, open_per_channel: 256, ..StreamSettings::default() };
    let mut ledger: Ledger<u32> = Ledger::new(settings, ms(0));
    let asked = |offset: u64, asker: &str| {
        let begin = answer(offset);
        let options = StreamOptions { asker: Some(user(asker)), ..begin.options };
        StreamBegin { options, ..begin }
    };
    let mut offsets = (1..).map(|place| place * 2);
    while ledger.begin(asked(offsets.next().expect("endless"), "ann"), ms(0)).is_ok() {}
    ledger.begin(asked(offsets.next().expect("endless"), "bob"), ms(0)).expect("another user has room");
}

#[test]
fn answers_go_on_after_a_start_with_their_own_deadlines() {
    let day = Duration::from_secs(86_400);
    for (state, age, after_ms, cause) in [
        (StreamState::Accepted, Duration::from_secs(600), 3_060_000, EndCause::NotDelivered),
        (StreamState::Accepted, day, 10_000, EndCause::NotDelivered),
        (StreamState::Processing, Duration::ZERO, 120_000, EndCause::Idle),
        (StreamState::Processing, day, 10_000, EndCause::Life),
        (StreamState::Streaming, Duration::ZERO, 10_000, EndCause::ProducerLost),
    ] {
        let mut ledger: Ledger<u32> = Ledger::new(StreamSettings::default(), ms(0));
        let StreamBegin { id, author, options, begun, .. } = answer(59);
        let generation = Generation(3);
        ledger
            .restore(StoredStream { id, author, options, begun, generation, state, age, asked: None }, ms(0));
        let mut bench = Bench { ledger, now: ms(0), out: Output::default() };
        let row = bench.until_end();
        assert_eq!((row.cause, row.generation), (Some(cause), generation), "{state:?}");
        let after = bench.now.since(ms(0)).as_millis();
        assert!((after_ms..after_ms + 100).contains(&after), "{state:?} ended after {after} ms");
    }
}

#[test]
fn taken_question_takes_no_text_of_another_instance_back() {
    let mut bench = Bench {
        ledger: Ledger::of_several(StreamSettings::default(), ms(0)),
        now: ms(0),
        out: Output::default(),
    };
    let _ = bench.ledger.begun(answer(59), Touched(7), ms(0));
    bench.settle();
    bench.relay(1, RelayOrder::Process);
    let flush = bench.flush();
    let blank = StreamFence { generation: Generation::FIRST, next: Position::ZERO, touched: None };
    assert_eq!(
        flush.states.iter().map(|row| (row.state, row.fence)).collect::<Vec<_>>(),
        [(StreamState::Processing, Some(blank))]
    );
    let moved = FlushFates { states: vec![StateFate::Moved], ..FlushFates::default() };
    bench.ledger.settled_partly(flush, &moved, bench.now, &mut bench.out);
    assert!(bench.out.replies.is_empty());
    let StreamBegin { id, author, options, begun, .. } = answer(59);
    let (generation, state, age) = (Generation::FIRST, StreamState::Streaming, Duration::ZERO);
    let stream = StoredStream { id: id.clone(), author, options, begun, generation, state, age, asked: None };
    let body = [&[0, 2, 0, 0, 0], &b"Hi"[..]].concat();
    let parts = vec![PartRow { id, generation, at: Position::ZERO, next: Position(2), body }];
    let loaded = LoadedStream { stream, touched: Touched(7), canceller: None, parts, restarted: 0 };
    bench.ledger.loaded(loaded, bench.now, &mut bench.out).expect("readable");
    assert_eq!(replies(&bench.out), [(1, processing())]);
    let flush = bench.flush();
    assert!(flush.states.is_empty(), "{flush:?}");
}
