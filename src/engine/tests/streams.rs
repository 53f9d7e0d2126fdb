//! Producers and readers of streams.

use super::*;
use crate::engine::peer::Reading;
use crate::id::ProducerId;
use crate::job::stream::{
    BegunStream, News, ProducerNotice, StreamJob, StreamNews, StreamOrder, StreamOutcome, StreamWork,
    WholeStream,
};
use crate::job::{Appended, Attempt, StreamRequest};
use crate::limits::{REPLY_TIMEOUT, STREAM_WORK_WAITING_BYTES};
use crate::wire::server_frame::{self, Opcode};
use crate::wire::stream::{Generation, Piece, Position, StreamEnd, StreamFault, StreamId, StreamState};

const BEGIN: &str = r#"{"id":2,"publish":{"channel":"c","key":"k","data":{},"stream":{"for":"u1"}}}"#;
const APPEND: &str = r#"{"append":{"channel":"c","offset":5,"gen":1,"at":0,"text":"Hello"}}"#;

fn stream() -> StreamId {
    StreamId { channel: ChannelName::parse("c").expect("valid"), offset: Offset(5) }
}

fn frame(text: &str) -> Arc<[u8]> {
    let mut frame = Vec::new();
    server_frame::write(&mut frame, Opcode::Text, text.as_bytes());
    frame.into()
}

fn news(news: News) -> Broadcast {
    Broadcast::Streamed(Arc::from([StreamNews { id: stream(), generation: Generation::FIRST, news }]))
}

fn pieces(at: u32, next: u32) -> Broadcast {
    let frames = frame(&format!("<{at}-{next}>"));
    news(News::Pieces { at: Position(at), next: Position(next), frames })
}

/// A client that began a stream at offset 5, with its number.
fn producer(stage: &mut Stage) -> (Client, u64) {
    let client = stage.chat(&[CONNECT, BEGIN]);
    stage.turn_until(|stage| !stage.appends.is_empty());
    let append = stage.appends.pop_front().expect("not empty");
    let begin = append.stream.expect("it begins a stream");
    assert_eq!(begin.options.asker, UserName::parse("u1").ok());
    let stream = Some(BegunStream { generation: Generation::FIRST, next: Position::ZERO, ended: None });
    let (offset, attempt) = (Offset(5), Attempt::First);
    let appended = Appended { epoch: Epoch(7), offset, time_ms: 1, attempt, stream, answer: None };
    stage.answer(Completion::Appended { ticket: append.ticket, outcome: Ok(appended) });
    assert!(stage.has(client, r#""stream":{"gen":1,"next":0}"#), "{}", stage.received(client));
    stage.forget_received(client);
    (client, begin.producer.connection)
}

fn job(stage: &mut Stage) -> StreamJob {
    stage.turn_until(|stage| !stage.streams.is_empty());
    match stage.streams.pop_front().expect("not empty") {
        StreamWork::Job(job) => job,
        other => panic!("{other:?}"),
    }
}

fn reading(stage: &Stage, client: Client) -> Option<Reading> {
    stage.engine.peers.get(client).map(|peer| peer.reading)
}

fn notify(stage: &mut Stage, connection: u64, notice: ProducerNotice) {
    stage.answer(Completion::Producers(Box::new([(connection, notice)])));
}

#[test]
fn commands_of_a_producer_reach_the_owner_of_the_streams_and_are_answered() {
    let mut stage = Stage::new(AuthMode::Off);
    let (client, connection) = producer(&mut stage);
    stage.say(client, APPEND);
    stage.say(client, r#"{"id":3,"append":{"channel":"c","offset":5,"gen":1,"at":5,"text":"!"}}"#);
    stage.say(client, r#"{"id":4,"restart":{"channel":"c","offset":5}}"#);
    stage.say(client, r#"{"id":5,"end":{"channel":"c","offset":5,"state":"failed"}}"#);
    stage.say(client, r#"{"id":6,"cancel":{"channel":"c","offset":5}}"#);
    let first = job(&mut stage);
    assert_eq!((first.ticket, first.producer), (None, ProducerId { reactor: ReactorId(0), connection }));
    assert!(matches!(first.order, StreamOrder::Append { piece: Piece::Text(text), .. } if &*text == "Hello"));
    let outcomes = [
        (StreamOutcome::Appended { generation: Generation(1), next: Position(6) }, r#"{"id":3,"appended""#),
        (StreamOutcome::Restarted { generation: Generation(2), next: Position(0) }, r#"{"id":4,"restarted""#),
        (
            StreamOutcome::Ended { edit: Offset(9), end: StreamEnd::Failed, duplicate: false },
            r#"{"id":5,"ended""#,
        ),
        (StreamOutcome::Refused(StreamFault::NotAuthor), r#"{"id":6,"error":{"code":"forbidden""#),
    ];
    for (outcome, reply) in outcomes {
        let ticket = job(&mut stage).ticket.expect("it has an id");
        stage.answer(Completion::Stream { ticket, outcome });
        assert!(stage.has(client, reply), "{reply}: {}", stage.received(client));
    }
    let notices = [
        (
            ProducerNotice::Appended { id: stream(), generation: Generation(1), next: Position(5) },
            r#"{"appended":{"channel":"c","offset":5,"gen":1,"next":5}}"#,
        ),
        (
            ProducerNotice::Refused { id: stream(), fault: StreamFault::Gap { next: Position(3) } },
            r#"{"error":{"code":"gap","channel":"c","offset":5,"next":3,"#,
        ),
        (
            ProducerNotice::Cancel {
                id: stream(),
                generation: Generation(1),
                user: UserName::anonymous(),
                end_ms: 5_000,
            },
            r#"{"cancel":{"channel":"c","offset":5,"gen":1,"user":"anonymous","end_ms":5000}}"#,
        ),
    ];
    for (notice, push) in notices {
        notify(&mut stage, connection, notice);
        assert!(stage.has(client, push), "{push}: {}", stage.received(client));
    }
}

#[test]
fn command_about_a_stream_is_unconfirmed_at_its_deadline() {
    let mut stage = Stage::new(AuthMode::Off);
    let (client, _) = producer(&mut stage);
    stage.say(client, r#"{"id":3,"restart":{"channel":"c","offset":5}}"#);
    let ticket = job(&mut stage).ticket.expect("it has an id");
    let began = stage.engine.now().at;
    stage.turn_until(|stage| stage.has(client, r#"{"id":3,"error":{"code":"unconfirmed","channel":"c""#));
    assert!(stage.engine.now().at.since(began) <= REPLY_TIMEOUT + Duration::from_millis(2));
    stage.answer(Completion::Stream { ticket, outcome: StreamOutcome::Cancelling });
    assert!(!stage.has(client, "cancelling"), "it was answered already");
}

#[test]
fn repeated_begin_of_another_connection_attaches_it() {
    let mut stage = Stage::new(AuthMode::Off);
    let client = stage.chat(&[CONNECT, BEGIN]);
    stage.turn_until(|stage| !stage.appends.is_empty());
    let ticket = stage.appends.pop_front().expect("not empty").ticket;
    let stream = Some(BegunStream { generation: Generation(2), next: Position(7), ended: None });
    let (offset, attempt) = (Offset(5), Attempt::Repeat);
    let appended = Appended { epoch: Epoch(7), offset, time_ms: 1, attempt, stream, answer: None };
    stage.answer(Completion::Appended { ticket, outcome: Ok(appended) });
    assert!(stage.has(client, r#""duplicate":true,"stream":{"gen":2,"next":7}"#));
    assert!(
        matches!(job(&mut stage), StreamJob { order: StreamOrder::Attach, id, .. } if id == self::stream())
    );
}

#[test]
fn connection_that_ends_is_detached_once_and_only_if_it_produced() {
    let mut stage = Stage::new(AuthMode::Off);
    let (client, connection) = producer(&mut stage);
    let reader = stage.chat(&[CONNECT]);
    stage.turn_until(|stage| stage.has(reader, "connected"));
    stage.leave(client);
    stage.leave(reader);
    stage.turn_until(|stage| stage.engine.is_empty());
    let work: Vec<StreamWork> = stage.streams.drain(..).collect();
    assert!(matches!(&work[..], [StreamWork::Detach { producer }] if producer.connection == connection));
    // The begin of a connection that ended before its commit attached it afterwards.
    let gone = stage.chat(&[CONNECT, BEGIN]);
    stage.turn_until(|stage| !stage.appends.is_empty());
    let ticket = stage.appends.pop_front().expect("not empty").ticket;
    stage.leave(gone);
    stage.turn_until(|stage| stage.engine.is_empty());
    stage.streams.clear();
    let appended = begun();
    stage.answer(Completion::Appended { ticket, outcome: Ok(appended) });
    assert!(matches!(stage.streams.pop_front(), Some(StreamWork::Detach { .. })));
}

/// The answer to a begin whose connection is gone.
fn begun() -> Appended {
    let stream = Some(BegunStream { generation: Generation(1), next: Position::ZERO, ended: None });
    Appended { epoch: Epoch(7), offset: Offset(6), time_ms: 1, attempt: Attempt::First, stream, answer: None }
}

#[test]
fn begin_that_commits_after_its_deadline_and_its_connection_is_detached() {
    let mut stage = Stage::new(AuthMode::Off);
    let gone = stage.chat(&[CONNECT, BEGIN]);
    stage.turn_until(|stage| !stage.appends.is_empty());
    let ticket = stage.appends.pop_front().expect("not empty").ticket;
    stage.turn_until(|stage| stage.has(gone, r#"{"id":2,"error":{"code":"unconfirmed""#));
    stage.leave(gone);
    stage.turn_until(|stage| stage.engine.is_empty());
    stage.streams.clear();
    let appended = begun();
    stage.answer(Completion::Appended { ticket, outcome: Ok(appended) });
    assert!(matches!(stage.streams.pop_front(), Some(StreamWork::Detach { .. })));
    stage.answer(Completion::Appended { ticket, outcome: Ok(appended) });
    assert!(stage.streams.is_empty(), "it is forgotten");
}

#[test]
fn commands_that_wait_are_bounded_in_bytes() {
    let mut stage = Stage::new(AuthMode::Off);
    let (_, connection) = producer(&mut stage);
    let (other, _) = producer(&mut stage);
    stage.stream_room = 0;
    let text = "x".repeat(64 << 10);
    let count = STREAM_WORK_WAITING_BYTES / text.len();
    for _ in 0..count {
        let producer = ProducerId { reactor: ReactorId(0), connection };
        let piece = Piece::Text(text.as_str().into());
        let order = StreamOrder::Append { generation: None, at: None, piece };
        let job = StreamJob { producer, ticket: None, id: stream(), user: UserName::anonymous(), order };
        stage.engine.handle_refused(Job::Stream(Box::new(StreamWork::Job(job))));
    }
    stage.say(other, APPEND);
    stage.turn_until(|stage| stage.has(other, r#"{"error":{"code":"overloaded","channel":"c","offset":5"#));
    stage.stream_room = count + 1;
    stage.turn_until(|stage| stage.streams.len() == count);
    stage.streams.clear();
    stage.say(other, APPEND);
    assert!(matches!(job(&mut stage).order, StreamOrder::Append { .. }), "there is room again");
}

#[test]
fn full_queue_holds_its_producers_and_keeps_their_order() {
    let mut stage = Stage::new(AuthMode::Off);
    let (client, _) = producer(&mut stage);
    stage.stream_room = 1;
    for at in 0..4 {
        let text = format!(r#"{{"append":{{"channel":"c","offset":5,"gen":1,"at":{at},"text":"x"}}}}"#);
        stage.say(client, &text);
    }
    stage.turn_until(|stage| stage.streams.len() == 1);
    stage.turn();
    assert_eq!((reading(&stage, client), stage.engine.streams.waiting()), (Some(Reading::Held), 3));
    stage.say(client, APPEND);
    stage.turn();
    assert_eq!(stage.engine.streams.waiting(), 3, "its socket is not read");
    stage.stream_room = 2;
    stage.turn_until(|stage| stage.streams.len() == 3);
    assert_eq!(reading(&stage, client), Some(Reading::Held));
    stage.stream_room = 2;
    stage.turn_until(|stage| stage.streams.len() == 5);
    assert_ne!(reading(&stage, client), Some(Reading::Held));
    let places: Vec<u32> = stage
        .streams
        .iter()
        .filter_map(|work| match work {
            StreamWork::Job(StreamJob { order: StreamOrder::Append { at: Some(at), .. }, .. }) => Some(at.0),
            _ => None,
        })
        .collect();
    assert_eq!(places, [0, 1, 2, 3, 0]);
}

#[test]
fn paused_producer_is_neither_read_nor_given_up_until_it_resumes() {
    let mut stage = Stage::new(AuthMode::Off);
    let (client, connection) = producer(&mut stage);
    notify(&mut stage, connection, ProducerNotice::Pause);
    assert_eq!(reading(&stage, client), Some(Reading::Held));
    stage.say(client, APPEND);
    // A minute, in which it would have been closed for its silence.
    stage.pause = Duration::from_millis(100);
    let began = stage.engine.now().at;
    stage.turn_until(|stage| stage.engine.now().at.since(began) >= Duration::from_secs(60));
    assert!(stage.streams.is_empty() && !stage.has(client, "bye"), "{}", stage.received(client));
    notify(&mut stage, connection, ProducerNotice::Resume);
    assert!(matches!(job(&mut stage).order, StreamOrder::Append { .. }));
    assert_eq!(stage.engine.len(), 1);
}

#[test]
fn producer_that_is_paused_for_longer_than_a_stream_lives_is_given_up() {
    let mut stage = Stage::new(AuthMode::Off);
    let (client, connection) = producer(&mut stage);
    notify(&mut stage, connection, ProducerNotice::Pause);
    stage.pause = Duration::from_secs(1);
    let began = stage.engine.now().at;
    stage.turn_until(|stage| stage.has(client, "4408"));
    let took = stage.engine.now().at.since(began).as_secs();
    assert!((600..640).contains(&took), "{took} s");
}

/// A subscriber of the channel, which has an open stream and the log up to its begin. Answers with the read of the streams.
fn joining(stage: &mut Stage) -> (Client, Ticket) {
    let client = stage.chat(&[CONNECT, r#"{"id":2,"subscribe":{"channel":"c"}}"#]);
    let position = stage.asked();
    let found = Page { has_streams: true, ..page(5) };
    stage.answer(Completion::Page { ticket: position.ticket, outcome: Ok(found) });
    let StreamRequest { ticket, offset, known, .. } = stream_read(stage);
    assert_eq!((offset, known), (None, None));
    (client, ticket)
}

/// The next read of open streams.
fn stream_read(stage: &mut Stage) -> StreamRequest {
    let mut found = None;
    stage.turn_until(|stage| {
        found = match stage.reads.as_mut().and_then(VecDeque::pop_front) {
            Some(Read::Stream(request)) => Some(request),
            _ => None,
        };
        found.is_some()
    });
    found.expect("it came")
}

fn whole(next: u32) -> WholeStream {
    WholeStream {
        id: stream(),
        generation: Generation::FIRST,
        next: Position(next),
        state: StreamState::Streaming,
        frame: frame(&format!("<whole to {next}>")),
    }
}

/// The frames after the reply, without their headers.
fn shown(stage: &Stage, client: Client) -> Vec<String> {
    let received = stage.received(client);
    let mut shown = Vec::new();
    for part in received.split(['<', '{']) {
        if let Some((piece, _)) = part.split_once('>') {
            shown.push(piece.to_owned());
        } else if part.starts_with("\"synced\"") {
            shown.push("synced".to_owned());
        }
    }
    shown
}

#[test]
fn subscriber_is_shown_the_open_streams_before_synced_and_then_each_piece() {
    let mut stage = Stage::new(AuthMode::Off);
    let (client, ticket) = joining(&mut stage);
    stage.broadcasts.push_back(pieces(0, 4));
    stage.turn();
    assert!(!stage.has(client, "synced"), "the streams are awaited");
    stage.broadcasts.push_back(pieces(4, 6));
    stage.answer(Completion::StreamRead { ticket, outcome: Ok(vec![whole(4)]) });
    stage.turn();
    assert_eq!(shown(&stage, client), ["whole to 4", "4-6", "synced"]);
    stage.broadcasts.push_back(pieces(6, 9));
    stage.turn();
    assert_eq!(shown(&stage, client), ["whole to 4", "4-6", "synced", "6-9"]);
}

#[test]
fn subscriber_is_synced_without_streams_that_cannot_be_read_and_they_follow() {
    let mut stage = Stage::new(AuthMode::Off);
    let (client, ticket) = joining(&mut stage);
    stage.answer(Completion::StreamRead { ticket, outcome: Err(ReadError { retry_ms: 1 }) });
    stage.turn();
    assert_eq!(shown(&stage, client), ["synced"]);
    let ticket = stream_read(&mut stage).ticket;
    stage.answer(Completion::StreamRead { ticket, outcome: Ok(vec![whole(4)]) });
    stage.turn();
    assert_eq!(shown(&stage, client), ["synced", "whole to 4"]);
}

#[test]
fn open_streams_are_read_whenever_the_position_of_their_log_is() {
    let mut stage = Stage::new(AuthMode::Off);
    let (client, ticket) = joining(&mut stage);
    stage.answer(Completion::StreamRead { ticket, outcome: Ok(vec![whole(4)]) });
    stage.turn();
    let channel = ChannelName::parse("c").expect("valid");
    let survey = Broadcast::Heads(Arc::from([(channel, page(5).position)]));
    let before = ["whole to 4", "synced"];
    let after = ["whole to 4", "synced", "whole to 9"];
    // Text that is ahead may be on its way: it is lost if the next look finds the same.
    for (found, wanted) in [(4, &before[..]), (9, &before), (9, &after)] {
        stage.broadcasts.push_back(survey.clone());
        let ticket = stream_read(&mut stage).ticket;
        stage.answer(Completion::StreamRead { ticket, outcome: Ok(vec![whole(found)]) });
        stage.turn();
        assert_eq!(shown(&stage, client), wanted);
    }
}

#[test]
fn client_reads_a_stream_from_its_own_place() {
    let mut stage = Stage::new(AuthMode::Off);
    let client = stage.chat(&[CONNECT, r#"{"id":2,"stream":{"channel":"c","offset":5,"gen":1,"after":3}}"#]);
    let StreamRequest { ticket, offset, known, .. } = stream_read(&mut stage);
    assert_eq!((offset, known), (Some(Offset(5)), Some((Generation(1), Position(3)))));
    let frame = frame(r#"{"stream":{"channel":"c","offset":5,"at":3}}"#);
    let outcome = Ok(vec![WholeStream { frame, ..whole(9) }]);
    stage.answer(Completion::StreamRead { ticket, outcome });
    assert!(stage.has(client, r#"{"id":2,"stream":{"channel":"c","offset":5,"at":3}}"#));
}

#[test]
fn client_that_asks_for_a_stream_that_has_ended_is_answered_with_its_end() {
    let mut stage = Stage::new(AuthMode::Off);
    let client = stage.chat(&[CONNECT, r#"{"id":2,"stream":{"channel":"c","offset":5}}"#]);
    let (ticket, edit) = (stream_read(&mut stage).ticket, Offset(9));
    stage.answer(Completion::StreamEnded { ticket, end: StreamEnd::Completed, edit });
    assert!(stage.has(client, r#"{"id":2,"error":{"code":"ended","#), "{}", stage.received(client));
    assert!(stage.has(client, r#""state":"completed","edit":9"#), "{}", stage.received(client));
}
