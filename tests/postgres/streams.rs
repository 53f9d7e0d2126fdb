//! Streams through the store's threads, on one instance and on two.

use crate::postgres::rig::{
    KEEP_ALL, PATIENCE, PostgresConfig, Rig, append, config, name, publications, request,
};
use crate::servers::Postgres;
use crate::support::wait::{LATE, SOON, comes_true, until};
use seawall::id::pattern::ChannelPattern;
use seawall::id::{ChannelName, Offset, ProducerId, ReactorId, UserName};
use seawall::job::stream::{
    BeginStream, News, ProducerNotice, StreamFault, StreamJob, StreamNews, StreamOrder, StreamOutcome,
    StreamWork,
};
use seawall::job::{
    Append, AppendChange, AppendError, Appended, Attempt, Authority, Broadcast, CancelAuthority, Completion,
    Span, StreamRequest, Ticket,
};
use seawall::relay::route::{AnswerMode, ChannelOrder, RelayRoute, RelayedKind, RelayedKinds, RouteTable};
use seawall::stream::StreamSettings;
use seawall::wire::server_frame;
use seawall::wire::stream::{
    EndCause, Generation, Piece, Position, StreamEnd, StreamId, StreamOptions, StreamState, WholeStream,
};
use seawall_fault::{Direction, Mode, Proxy};
use serde_json::Value;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Deadlines that a test can wait for.
fn soon() -> StreamSettings {
    StreamSettings {
        idle: Duration::from_secs(2),
        orphan: Duration::from_secs(1),
        cancel: Duration::from_secs(1),
        ..StreamSettings::default()
    }
}

fn store(url: String, streams: StreamSettings) -> PostgresConfig {
    PostgresConfig { streams, ..config(url, KEEP_ALL, 1_000) }
}

fn start(server: &Postgres) -> Rig {
    Rig::postgres_with(store(server.url(), StreamSettings::default())).ready()
}

fn producer(connection: u64) -> ProducerId {
    ProducerId { reactor: ReactorId(0), connection }
}

fn begin(channel: &str, key: Option<&str>, connection: u64) -> Append {
    let options = StreamOptions { asker: Some(user("ann")), ..StreamOptions::default() };
    let stream = Some(Box::new(BeginStream { options, producer: producer(connection) }));
    Append { stream, ..append(channel, "bot", key, "{}") }
}

fn user(name: &str) -> UserName {
    UserName::parse(name).expect("a user name")
}

fn id(channel: &str, offset: u64) -> StreamId {
    StreamId { channel: name(channel), offset: Offset(offset) }
}

fn text(at: u32, text: &str) -> StreamOrder {
    StreamOrder::Append { generation: None, at: Some(Position(at)), piece: Piece::Text(text.into()) }
}

fn end(at: u32) -> StreamOrder {
    StreamOrder::End { generation: None, at: Some(Position(at)), end: StreamEnd::Completed, data: None }
}

const CANCEL: StreamOrder = StreamOrder::Cancel { authority: CancelAuthority::Reader };

impl Rig {
    fn begin(&mut self, channel: &str) -> StreamId {
        let Appended { offset, .. } = self.append(begin(channel, None, 1)).expect("stored");
        StreamId { channel: name(channel), offset }
    }

    /// Sends a command and returns its request number.
    fn order(&mut self, of: &StreamId, connection: u64, by: &str, order: StreamOrder) -> u64 {
        let (ticket, number) = self.ticket();
        let (producer, id, user) = (producer(connection), of.clone(), user(by));
        self.streams
            .send(StreamWork::Job(StreamJob { producer, ticket: Some(ticket), id, user, order }))
            .expect("the writer lives");
        number
    }

    fn outcome_of(&mut self, request: u64) -> StreamOutcome {
        match self.completion(request) {
            Completion::Stream { outcome, .. } => outcome,
            other => panic!("{other:?}"),
        }
    }

    fn ask(&mut self, of: &StreamId, order: StreamOrder) -> StreamOutcome {
        let request = self.order(of, 1, "bot", order);
        self.outcome_of(request)
    }

    /// Repeats a command until it is not refused for the outage of the store.
    fn ask_until_it_works(&mut self, of: &StreamId, order: impl Fn() -> StreamOrder) -> StreamOutcome {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.ask(of, order()) {
                StreamOutcome::Unavailable { .. }
                | StreamOutcome::Refused(StreamFault::Overloaded { .. }) => {
                    assert!(Instant::now() < deadline, "{LATE}: the store does not come back");
                    std::thread::sleep(Duration::from_millis(50));
                }
                outcome => return outcome,
            }
        }
    }

    /// The open streams of a channel, or the end of the one that was asked for.
    fn read(&mut self, of: &StreamId) -> Result<Vec<WholeStream>, StreamEnd> {
        let ticket = Ticket { reactor: ReactorId(0), request: 0 };
        let (channel, offset, known) = (of.channel.clone(), Some(of.offset), None);
        let number = self.read_streams(StreamRequest { ticket, channel, offset, known });
        match self.completion(number) {
            Completion::StreamRead { outcome, .. } => Ok(outcome.expect("it is read")),
            Completion::StreamEnded { end, .. } => Err(end),
            other => panic!("{other:?}"),
        }
    }

    /// The text of a stream, as a reader is shown it.
    fn text(&mut self, of: &StreamId) -> Result<String, StreamEnd> {
        let open = self.read(of)?;
        let [whole] = &open[..] else { panic!("{open:?}") };
        Ok(frames(&whole.frame)[0]["stream"]["text"].as_str().expect("a text").into())
    }

    /// The publications of a channel with a mark of a stream: offset, mark and data.
    fn marked(&mut self, channel: &ChannelName) -> Vec<(u64, String, Value)> {
        let page = self.page(request(channel.as_str(), Span::After(Offset::ZERO))).expect("a page");
        let mark = |it: Value| {
            Some((it["offset"].as_u64()?, it["stream"].as_str()?.to_string(), it["data"].clone()))
        };
        publications(&page).into_iter().filter_map(mark).collect()
    }

    /// The text that the news of a stream have shown, which must adjoin.
    fn shown(&self, of: &StreamId, before: &mut String) {
        while let Ok(live) = self.inbox.live.try_recv() {
            let Broadcast::Streamed(news) = live else { continue };
            for StreamNews { news, .. } in news.iter().filter(|news| news.id == *of) {
                let News::Pieces { at, frames: bytes, .. } = news else { continue };
                // Known pieces are dropped, and nothing may be missing.
                assert!(at.0 as usize <= before.len(), "a hole before {at:?} in {before:?}");
                for frame in frames(bytes) {
                    let at = frame["stream"]["at"].as_u64().expect("a position") as usize;
                    let text = frame["stream"]["text"].as_str().expect("a text");
                    if at + text.len() > before.len() {
                        before.push_str(&text[before.len() - at..]);
                    }
                }
            }
        }
    }

    fn detach(&self, connection: u64) {
        self.streams.send(StreamWork::Detach { producer: producer(connection) }).expect("the writer lives");
    }
}

fn frames(bytes: &[u8]) -> Vec<Value> {
    let payload = |frame| server_frame::text(frame).expect("a text frame");
    server_frame::split(bytes).map(|frame| serde_json::from_slice(payload(frame)).expect("JSON")).collect()
}

fn appended(next: u32) -> StreamOutcome {
    StreamOutcome::Appended { generation: Generation(1), next: Position(next) }
}

#[test]
fn stream_begins_grows_and_ends() {
    let server = Postgres::start();
    let mut rig = start(&server);
    let of = rig.begin("c");
    assert_eq!(rig.ask(&of, text(0, "Hé")), appended(3));
    assert_eq!(rig.ask(&of, text(3, "llo")), appended(6));
    assert_eq!(rig.text(&of), Ok("Héllo".into()));
    let page = rig.page(request("c", Span::After(Offset::ZERO))).expect("a page");
    assert!(page.has_streams, "a subscriber that joins reads the open streams");
    assert!(matches!(
        rig.ask(&of, end(6)),
        StreamOutcome::Ended { end: StreamEnd::Completed, duplicate: false, .. }
    ));
    let marked = rig.marked(&of.channel);
    let [(1, begun, _), (edit, completed, data)] = &marked[..] else { panic!("{marked:?}") };
    assert_eq!(
        (begun.as_str(), completed.as_str(), data["text"].as_str()),
        ("begun", "completed", Some("Héllo"))
    );
    assert_eq!(rig.text(&of), Err(StreamEnd::Completed));
    let page = rig.page(request("c", Span::After(Offset::ZERO))).expect("a page");
    assert!(!page.has_streams);
    // A late command is answered with the end.
    let ended = StreamFault::AlreadyEnded { end: StreamEnd::Completed, edit: Offset(*edit) };
    assert_eq!(rig.ask(&of, text(6, "!")), StreamOutcome::Refused(ended));
    assert!(matches!(rig.ask(&of, end(6)), StreamOutcome::Ended { duplicate: true, .. }));
    assert_eq!(rig.ask(&id("c", 99), text(0, "x")), StreamOutcome::Refused(StreamFault::NotFound));
    rig.close();
}

#[test]
fn producer_moves_between_instances() {
    let server = Postgres::start();
    let (mut one, mut two) = (start(&server), start(&server));
    let Appended { offset, .. } = one.append(begin("c", Some("k"), 1)).expect("stored");
    let of = id("c", offset.0);
    assert_eq!(one.ask(&of, text(0, "one ")), appended(4));
    // It only goes on there.
    assert_eq!(two.ask(&of, text(4, "two ")), appended(8));
    // The first instance is behind, and must not refuse what is right.
    assert_eq!(one.ask(&of, text(8, "three ")), appended(14));
    // It begins again with its key.
    let again = two.append(begin("c", Some("k"), 7)).expect("stored");
    let begun = again.stream.expect("a stream");
    assert_eq!((again.offset, again.attempt, begun.next), (offset, Attempt::Repeat, Position(14)));
    // A wrong command is refused by the state of the store.
    let diverged = StreamFault::Diverged { next: Position(14) };
    assert_eq!(one.ask(&of, text(4, "TWO")), StreamOutcome::Refused(diverged));
    assert_eq!(one.ask(&of, text(99, "x")), StreamOutcome::Refused(StreamFault::Gap { next: Position(14) }));
    assert_eq!(
        one.ask(&of, StreamOrder::Restart),
        StreamOutcome::Restarted { generation: Generation(2), next: Position(0) }
    );
    let stale = StreamOrder::Append {
        generation: Some(Generation(1)),
        at: Some(Position(14)),
        piece: Piece::Text("x".into()),
    };
    assert_eq!(two.ask(&of, stale), StreamOutcome::Refused(StreamFault::Stale { generation: Generation(2) }));
    let second = StreamOutcome::Appended { generation: Generation(2), next: Position(5) };
    assert_eq!(two.ask(&of, text(0, "again")), second);
    assert_eq!(one.text(&of), Ok("again".into()));
    assert!(matches!(one.ask(&of, end(5)), StreamOutcome::Ended { duplicate: false, .. }));
    assert!(matches!(two.ask(&of, end(5)), StreamOutcome::Ended { duplicate: true, .. }));
    let marked = one.marked(&of.channel);
    assert_eq!(marked.len(), 2, "one end: {marked:?}");
    assert_eq!(marked[1].2["text"], "again");
    one.close();
    two.close();
}

/// The wait for a commit whose answer is held. It does not come if a look of the worker was under way, whose answer is held as well.
const UNHELD: Duration = Duration::from_secs(10);

/// Cuts the connection before the server has a flush, or after it, and in the middle of the answer.
#[test]
fn nothing_is_lost_or_doubled_when_the_connection_is_cut_at_any_step_of_a_flush() {
    let server = Postgres::start();
    let proxy = Proxy::start(server.address()).expect("a port");
    let settings = StreamSettings::default();
    let mut rig = Rig::postgres_with(store(server.url_through(proxy.address()), settings)).ready();
    let of = rig.begin("c");
    assert_eq!(rig.ask(&of, text(0, "0")), appended(1));
    let (mut shown, mut written) = (String::new(), String::from("0"));
    let steps = [
        Some(Direction::Requests),
        Some(Direction::Answers),
        None,
        Some(Direction::Answers),
        Some(Direction::Requests),
    ];
    let parts = "SELECT count(*) FROM seawall.stream_parts WHERE body IS NOT NULL";
    for (n, held) in (1..).zip(steps) {
        let before = server.sql(parts);
        match held {
            Some(direction) => proxy.set(Mode::HalfOpen(direction)),
            // The answer to the flush breaks off.
            None => proxy.set(Mode::ResetOnce(40)),
        }
        let piece = format!("<piece {n}>");
        let request = rig.order(&of, 1, "bot", text(written.len() as u32, &piece));
        written.push_str(&piece);
        if held == Some(Direction::Answers) {
            comes_true(UNHELD, || server.sql(parts) != before);
        }
        if held.is_some() {
            proxy.reset();
            proxy.set(Mode::Pass);
        }
        assert_eq!(rig.outcome_of(request), appended(written.len() as u32), "{held:?}");
        rig.shown(&of, &mut shown);
        assert!(written.starts_with(&shown), "{shown:?} of {written:?}");
    }
    assert_eq!(rig.text(&of), Ok(written.clone()));
    until(SOON, "all of it is shown", || {
        rig.shown(&of, &mut shown);
        shown == written
    });
    // The same for the end.
    proxy.set(Mode::HalfOpen(Direction::Answers));
    let request = rig.order(&of, 1, "bot", end(written.len() as u32));
    let ends = "SELECT count(*) FROM seawall.publications WHERE stream = 2";
    comes_true(UNHELD, || server.sql(ends) == "1");
    proxy.reset();
    proxy.set(Mode::Pass);
    assert!(matches!(rig.outcome_of(request), StreamOutcome::Ended { duplicate: false, .. }));
    let ended = |live: &Broadcast| match live {
        Broadcast::Published(all) => {
            all.iter().any(|it| it.change == seawall::wire::publication::Change::Edits(of.offset))
        }
        _ => false,
    };
    let deadline = Instant::now() + PATIENCE;
    while !rig.inbox.live.recv_deadline(deadline).is_ok_and(|live| ended(&live)) {
        assert!(Instant::now() < deadline, "{LATE}: the end is announced by the instance that wrote it");
    }
    assert_eq!(server.sql(ends), "1");
    assert_eq!(rig.marked(&of.channel)[1].2["text"], written.as_str());
    rig.close();
}

/// The worker of one instance is held up with text that it has taken. Its producer goes on at the other one.
#[test]
fn instance_that_was_held_up_shows_nothing_that_the_store_does_not_have() {
    let server = Postgres::start();
    let proxy = Proxy::start(server.address()).expect("a port");
    let mut zombie =
        Rig::postgres_with(store(server.url_through(proxy.address()), StreamSettings::default())).ready();
    let mut other = start(&server);
    let of = zombie.begin("c");
    assert_eq!(zombie.ask(&of, text(0, "one ")), appended(4));
    proxy.set(Mode::HalfOpen(Direction::Requests));
    let waits = zombie.order(&of, 1, "bot", text(4, "zombie"));
    // Whatever becomes of the flush that is under way, the worker is still held up.
    let end_waits = zombie.order(&of, 1, "bot", end(10));
    assert_eq!(other.ask(&of, text(4, "two ")), appended(8));
    proxy.set(Mode::Pass);
    assert_eq!(
        zombie.outcome_of(waits),
        StreamOutcome::Refused(StreamFault::Diverged { next: Position(8) }),
        "the other writer has the position"
    );
    assert!(matches!(zombie.outcome_of(end_waits), StreamOutcome::Refused(_)));
    let mut shown = String::new();
    until(SOON, "the text of the other instance is shown", || {
        zombie.shown(&of, &mut shown);
        shown == "one two "
    });
    assert!(matches!(other.ask(&of, end(8)), StreamOutcome::Ended { duplicate: false, .. }));
    let marked = other.marked(&of.channel);
    assert_eq!((marked.len(), marked[1].2["text"].as_str()), (2, Some("one two ")));
    zombie.close();
    other.close();
}

#[test]
fn cancel_at_another_instance_reaches_the_producer_and_ends_the_stream_once() {
    let server = Postgres::start();
    let url = server.url();
    // Far longer than the second between two looks.
    let settings = StreamSettings { cancel: Duration::from_secs(8), ..StreamSettings::default() };
    let mut one = Rig::postgres_with(store(url.clone(), settings.clone())).ready();
    let mut two = Rig::postgres_with(store(url, settings)).ready();
    let of = one.begin("c");
    assert_eq!(one.ask(&of, text(0, "text")), appended(4));
    let refused = two.order(&of, 9, "eve", CANCEL);
    assert_eq!(two.outcome_of(refused), StreamOutcome::Refused(StreamFault::NotAuthor));
    let request = two.order(&of, 9, "ann", CANCEL);
    assert_eq!(two.outcome_of(request), StreamOutcome::Cancelling);
    until(SOON, "the producer is notified", || {
        one.hear();
        one.notices.iter().any(|(connection, notice)| {
            *connection == 1 && matches!(notice, ProducerNotice::Cancel { id, user, .. } if *id == of && user.as_str() == "ann")
        })
    });
    until(SOON, "the stream has ended", || one.text(&of).is_err());
    assert_eq!(one.text(&of), Err(StreamEnd::Cancelled));
    let marked = one.marked(&of.channel);
    assert_eq!((marked.len(), marked[1].1.as_str()), (2, "cancelled"));
    assert!(matches!(one.ask(&of, text(4, "x")), StreamOutcome::Refused(StreamFault::AlreadyEnded { .. })));
    one.close();
    two.close();
}

#[test]
fn producer_that_moved_is_not_taken_for_lost() {
    let server = Postgres::start();
    let settings = StreamSettings { idle: Duration::from_secs(60), ..soon() };
    let mut one = Rig::postgres_with(store(server.url(), settings.clone())).ready();
    let mut two = Rig::postgres_with(store(server.url(), settings)).ready();
    let Appended { offset, .. } = one.append(begin("c", Some("k"), 1)).expect("stored");
    let of = id("c", offset.0);
    assert_eq!(one.ask(&of, text(0, "one ")), appended(4));
    assert_eq!(two.append(begin("c", Some("k"), 2)).map(|it| it.attempt), Ok(Attempt::Repeat));
    one.detach(1);
    // Longer than a stream without a producer is spared.
    let later = Instant::now() + Duration::from_secs(4);
    until(SOON, "time passes", || Instant::now() > later);
    assert_eq!(two.ask(&of, text(4, "two")), appended(7));
    assert_eq!(two.read(&of).map(|open| open[0].state), Ok(StreamState::Streaming));
    // Now it is lost.
    two.detach(1);
    two.detach(2);
    until(SOON, "the stream has ended", || two.text(&of).is_err());
    let marked = two.marked(&of.channel);
    assert_eq!((marked.len(), marked[1].1.as_str()), (2, "interrupted"));
    assert_eq!(
        (marked[1].2["text"].as_str(), marked[1].2["cause"].as_str()),
        (Some("one two"), Some("producer_lost"))
    );
    one.close();
    two.close();
}

/// Its only command waits for a load, which would make the connection a producer after its end.
#[test]
fn producer_that_goes_at_once_after_its_first_piece_is_lost() {
    let server = Postgres::start();
    let settings = StreamSettings { orphan: Duration::from_secs(1), ..StreamSettings::default() };
    let mut gone = Rig::postgres_with(store(server.url(), settings.clone())).ready();
    let of = gone.begin("c");
    gone.close();
    let config = PostgresConfig { writers: 1, ..store(server.url(), settings) };
    let mut rig = Rig::postgres_with(config).ready();
    let held = rig.begin("d");
    // The worker is held up by a restart, which locks, so that it finds the command and the end of the connection together.
    let holder = server.hold(
        "SELECT 1 FROM seawall.streams s JOIN seawall.channels c ON c.id = s.channel WHERE c.name = 'd' FOR UPDATE OF s",
    );
    let waits = rig.order(&held, 1, "bot", StreamOrder::Restart);
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'seawall'";
    until(SOON, "the worker waits for the lock", || server.sql(waiting) == "1");
    // The command of a connection that has ended is not answered.
    let _ = rig.order(&of, 2, "bot", text(0, "one"));
    rig.detach(2);
    drop(holder);
    assert!(matches!(rig.outcome_of(waits), StreamOutcome::Restarted { .. }));
    until(SOON, "the stream has ended", || rig.text(&of).is_err());
    let marked = rig.marked(&of.channel);
    assert_eq!((marked.len(), marked[1].1.as_str()), (2, "interrupted"));
    assert_eq!(
        (marked[1].2["text"].as_str(), marked[1].2["cause"].as_str()),
        (Some("one"), Some("producer_lost"))
    );
    rig.close();
}

#[test]
fn streams_of_an_instance_that_is_gone_are_ended_by_another() {
    let server = Postgres::start();
    // A busy machine takes long from the begin to the text.
    let settings = StreamSettings { idle: Duration::from_secs(8), ..soon() };
    let mut gone = Rig::postgres_with(store(server.url(), settings.clone())).ready();
    let of = gone.begin("c");
    assert_eq!(gone.ask(&of, text(0, "text")), appended(4));
    gone.close();
    let mut other = Rig::postgres_with(store(server.url(), settings)).ready();
    until(Duration::from_secs(120), "the stream has ended", || other.text(&of).is_err());
    let marked = other.marked(&of.channel);
    assert_eq!(
        (marked.len(), marked[1].1.as_str(), marked[1].2["text"].as_str()),
        (2, "interrupted", Some("text"))
    );
    other.close();
}

#[test]
fn delete_of_a_begin_ends_its_stream_at_every_instance() {
    let server = Postgres::start();
    let (mut one, mut two) = (start(&server), start(&server));
    let of = one.begin("c");
    assert_eq!(one.ask(&of, text(0, "text")), appended(4));
    let change = AppendChange::Delete(of.offset, Authority::Moderator);
    let Appended { offset, .. } =
        two.append(Append { change, ..append("c", "ann", None, "null") }).expect("stored");
    let ended = StreamFault::AlreadyEnded { end: StreamEnd::Deleted, edit: offset };
    until(SOON, "the producer is refused", || one.ask(&of, text(4, "x")) == StreamOutcome::Refused(ended));
    assert_eq!(one.text(&of), Err(StreamEnd::Deleted));
    one.close();
    two.close();
}

/// Two instances write to the same streams, in opposite order, and end them.
#[test]
fn many_streams_in_opposite_order_do_not_deadlock() {
    const STREAMS: u64 = 500;
    let server = Postgres::start();
    let (mut one, mut two) = (start(&server), start(&server));
    let begun: Vec<u64> = (0..STREAMS).map(|n| one.send(begin(&format!("c{n}"), None, 1))).collect();
    let ids: Vec<StreamId> = (0..)
        .zip(begun)
        .map(|(n, request)| id(&format!("c{n}"), one.outcome(request).expect("stored").offset.0))
        .collect();
    let write = |rig: &mut Rig, ids: &mut dyn Iterator<Item = &StreamId>| {
        for of in ids {
            // Both write the same text, so either may be first.
            for (at, piece) in [(0, "one "), (4, "two "), (8, "three")] {
                rig.order(of, 1, "bot", text(at, piece));
            }
            rig.order(of, 1, "bot", end(13));
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| write(&mut one, &mut ids.iter()));
        scope.spawn(|| write(&mut two, &mut ids.iter().rev()));
    });
    let open = "SELECT count(*) FROM seawall.streams WHERE kept_until IS NULL";
    until(Duration::from_secs(90), "all streams have ended", || server.sql(open) == "0");
    let ends = "SELECT count(*), count(DISTINCT channel) FROM seawall.publications WHERE stream = 2";
    assert_eq!(server.sql(ends), format!("{STREAMS}|{STREAMS}"), "one end for each");
    for of in ids.iter().step_by(50) {
        assert_eq!(one.marked(&of.channel)[1].2["text"], "one two three");
    }
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = 'seawall'";
    assert_eq!(server.sql(deadlocks), "0");
    one.close();
    two.close();
}

#[test]
fn text_that_stays_shorter_than_what_was_committed_proves_a_loss() {
    let server = Postgres::start();
    let mut rig = start(&server);
    let of = rig.begin("c");
    assert_eq!(rig.ask(&of, text(0, "Hello")), appended(5));
    assert_eq!(rig.ask(&of, text(5, " world")), appended(11));
    server.sql("DELETE FROM seawall.stream_parts WHERE at = 5");
    until(SOON, "another connection answers the same later", || {
        rig.counters.contradictions.load(Ordering::Relaxed) == 1
    });
    let refused = rig.append(append("d", "ann", None, "1"));
    assert!(matches!(refused, Err(AppendError::Unavailable { .. })), "{refused:?}");
    let shown = rig.inbox.live.try_iter().filter(|live| format!("{live:?}").contains("Restarted")).count();
    assert_eq!(shown, 0, "nothing is shown of the shorter text");
    rig.close();
}

#[test]
fn instance_takes_over_streams_until_the_memory_of_their_user_is_full() {
    let server = Postgres::start();
    let mut one = start(&server);
    // All of one channel are of one writer. Three of these texts are the share of a user.
    let bounded = StreamSettings { memory_bytes: 512 << 10, ..StreamSettings::default() };
    let config = PostgresConfig { writers: 1, ..store(server.url(), bounded) };
    let mut two = Rig::postgres_with(config).ready();
    let long = "x".repeat(60_000);
    let mut begun = |by: &str, key: &str| {
        let begin = Append { user: user(by), ..begin("c", Some(key), 1) };
        let of = id("c", one.offset(begin));
        let request = one.order(&of, 1, by, text(0, &long));
        assert!(matches!(one.outcome_of(request), StreamOutcome::Appended { .. }));
        of
    };
    let streams = ["a", "b", "c", "d", "e"].map(|key| begun("bot", key));
    let others = ["f", "g"].map(|key| begun("eve", key));
    let mut go_on = |of: &StreamId, by: &str, order| {
        let request = two.order(of, 2, by, order);
        two.outcome_of(request)
    };
    let is_full =
        |outcome: StreamOutcome| matches!(outcome, StreamOutcome::Refused(StreamFault::Overloaded { .. }));
    for of in &streams[..3] {
        assert!(matches!(go_on(of, "bot", text(60_000, "!")), StreamOutcome::Appended { .. }));
    }
    assert!(is_full(go_on(&streams[3], "bot", text(60_000, "!"))));
    for of in &others {
        let outcome = go_on(of, "eve", text(60_000, "!"));
        assert!(matches!(outcome, StreamOutcome::Appended { .. }), "another user has a share: {outcome:?}");
    }
    let ended = go_on(&streams[3], "bot", end(60_000));
    assert!(matches!(ended, StreamOutcome::Ended { .. }), "there is room to end it: {ended:?}");
    let repeat = two.append(begin("c", Some("e"), 2));
    let full = matches!(repeat, Err(AppendError::Stream(StreamFault::Overloaded { .. })));
    assert!(full, "{repeat:?}");
    let ended = two.order(&streams[0], 2, "bot", end(60_001));
    assert!(matches!(two.outcome_of(ended), StreamOutcome::Ended { .. }));
    let repeat = two.append(begin("c", Some("e"), 2)).expect("there is room again");
    assert_eq!(repeat.stream.expect("it is open").next, Position(60_000));
    one.close();
    two.close();
}

/// A route that answers in the channels of threads.
fn assistant() -> RouteTable {
    RouteTable::new(vec![RelayRoute {
        name: "assistant".into(),
        pattern: ChannelPattern::parse("thread.*").expect("a pattern"),
        url: "http://127.0.0.1:9/".into(),
        user: user("assistant"),
        answers: AnswerMode::Stored,
        kinds: RelayedKinds::NONE.with(RelayedKind::Original),
        skip_users: Vec::new(),
        claims: Vec::new(),
        publish: Vec::new(),
        dependency: None,
        secrets: Vec::new(),
        timeout: Duration::from_secs(10),
        concurrency: 1,
        order: ChannelOrder::Taken,
        give_up: Duration::from_secs(3_600),
        answer: Duration::from_secs(120),
    }])
}

#[test]
fn answer_is_taken_and_withdrawn_at_any_instance() {
    let server = Postgres::start();
    let config = || store(server.url(), StreamSettings::default());
    let mut one = Rig::relaying(config(), assistant()).ready();
    let mut two = Rig::relaying(config(), assistant()).ready();
    let ask = |rig: &mut Rig| {
        let question = rig.append(append("thread.1", "ann", None, "1")).expect("stored");
        assert_eq!(question.answer, Some(question.offset.next()));
        (question.offset, id("thread.1", question.offset.0 + 1))
    };
    let delete = |question| {
        let change = AppendChange::Delete(question, Authority::Author);
        Append { change, ..append("thread.1", "ann", None, "null") }
    };
    let state = |rig: &mut Rig, of: &StreamId| rig.read(of).map(|open| open[0].state);

    let (question, of) = ask(&mut one);
    assert_eq!(state(&mut two, &of), Ok(StreamState::Accepted));
    two.append(delete(question)).expect("stored");
    until(SOON, "the answer is withdrawn", || one.text(&of) == Err(StreamEnd::Cancelled));

    let (question, of) = ask(&mut one);
    let request = two.order(&of, 9, "assistant", StreamOrder::Take);
    assert_eq!(two.outcome_of(request), StreamOutcome::Processing { generation: Generation(1) });
    one.append(delete(question)).expect("stored");
    assert_eq!(state(&mut one, &of), Ok(StreamState::Processing), "a backend has the question");
    let request = one.order(&of, 9, "assistant", StreamOrder::Fail { cause: EndCause::Refused });
    assert!(matches!(one.outcome_of(request), StreamOutcome::Ended { end: StreamEnd::Failed, .. }));
    one.close();
    two.close();
}
