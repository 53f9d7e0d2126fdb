//! A reactor turned by hand, its workers played by the test: a `Job` is answered with a `Completion`.

use super::connection::Replays;
use super::*;
use crate::auth::permission::Permissions;
use crate::health::handshakes::Passage;
use crate::health::report::Report;
use crate::id::{ChannelName, CommandId, Epoch, InstanceName, Offset, UserName};
use crate::job::{
    Admit, Append, AppendError, Completion, Counted, Identity, Live, Occasion, Page, PageRequest, Read,
    ReadError, Span, Ticket,
};
use crate::limits::{Limits, OUTSTANDING_MAX, RECOVERIES_AT_ONCE, REPLAYS_PER_READ};
use crate::metrics::reactor::CLOSE_CODES;
use crate::session::AuthMode;
use crate::wire::push::LogPosition;
use crate::wire::server_frame::{self, Kind};
use crossbeam_channel::{Receiver, bounded};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

mod drain;
mod outage;
mod recover;
mod returns;
mod secure;

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn outlook() -> Outlook {
    Outlook::new(Arc::new(Snapshot::ok()), Report { status: 200, body: "{}".into() })
}

struct Stage {
    reactor: Reactor,
    events: Events,
    mailbox: Mailbox,
    appends: Receiver<Append>,
    reads: Option<Receiver<Read>>,
    admits: Receiver<Admit>,
    address: SocketAddr,
}

impl Stage {
    fn new(auth: AuthMode) -> Stage {
        Stage::with_tls(auth, None)
    }

    fn with_tls(auth: AuthMode, tls: Option<Arc<rustls::ServerConfig>>) -> Stage {
        Stage::with(Limits::default(), auth, tls)
    }

    fn with(limits: Limits, auth: AuthMode, tls: Option<Arc<rustls::ServerConfig>>) -> Stage {
        let listener = listen(([127, 0, 0, 1], 0).into()).expect("loopback");
        let address = listener.local_addr().expect("bound");
        let (mailbox, prepared) = Prepared::new(listener).expect("poll");
        let clock = Clock::start();
        let instance = InstanceName(Arc::from("test"));
        let setup = Setup {
            policy: Policy::new(&limits, auth, instance),
            origins: Vec::new(),
            hosts: Hosts::Any,
            trusted_proxies: Vec::new(),
            proxy_header: ProxyHeader::Off,
            echo: Echo::Off,
            port: Port::Own,
            addresses: Addresses::Uncounted,
            reactors: 1,
            clock,
            vitals: Arc::new(Vitals::new(1, 100, 1_000, u64::MAX, clock.read().at)),
            outlook: Arc::new(outlook()),
            tls,
            metrics: Arc::new(Metrics::new(1, Arc::from("test"), (Arc::default(), None), || 0)),
        };
        let (append, appends) = bounded(OUTSTANDING_MAX);
        let (read, reads) = bounded(OUTSTANDING_MAX);
        let (admit, admits) = bounded(OUTSTANDING_MAX);
        let queues = Queues { append, read, bus: None, admit: Some(admit) };
        let mailboxes = Arc::from(vec![mailbox.clone()]);
        let reactor = Reactor::new(ReactorId(0), prepared, &Setups::new(setup), queues, mailboxes);
        let events = Events::with_capacity(64);
        Stage { reactor, events, mailbox, appends, reads: Some(reads), admits, address }
    }

    /// Turns until `done`, which must come within seconds.
    fn turn_until(&mut self, mut done: impl FnMut(&mut Stage) -> bool) {
        let start = self.reactor.setup.clock.read().at;
        while !done(self) {
            let waited = self.reactor.setup.clock.read().at.since(start);
            assert!(waited < Duration::from_secs(8), "it did not come");
            self.mailbox.ring().expect("waker");
            self.reactor.turn(&mut self.events).expect("poll");
        }
    }

    fn answer(&mut self, completion: Completion) {
        self.mailbox.answer(completion);
        self.mailbox.ring().expect("waker");
        self.reactor.turn(&mut self.events).expect("poll");
    }

    fn admitted(&mut self) -> Admit {
        let mut admit = None;
        self.turn_until(|stage| {
            admit = stage.admits.try_recv().ok();
            admit.is_some()
        });
        admit.expect("came")
    }

    fn asked(&mut self) -> PageRequest {
        let mut page = None;
        self.turn_until(|stage| {
            page = match stage.reads.as_ref().and_then(|reads| reads.try_recv().ok()) {
                Some(Read::Page(request)) => Some(request),
                Some(Read::Heads { .. } | Read::Survey(_)) | None => None,
            };
            page.is_some()
        });
        page.expect("came")
    }

    fn token(&mut self, wanted: &Occasion) -> Ticket {
        match self.admitted() {
            Admit::Token { ticket, occasion, .. } if occasion == *wanted => ticket,
            other => panic!("{other:?}"),
        }
    }

    fn client(&self) -> Client {
        let socket = TcpStream::connect(self.address).expect("listening");
        socket.set_nonblocking(true).expect("socket");
        Client { socket, received: Vec::new() }
    }

    fn chat(&self, commands: &[&str]) -> Client {
        let mut client = self.client();
        client.socket.write_all(UPGRADE.as_bytes()).expect("room");
        for command in commands {
            client.say(command);
        }
        client
    }
}

struct Client {
    socket: TcpStream,
    received: Vec<u8>,
}

impl Client {
    /// One masked text frame; the mask is zero.
    fn say(&mut self, text: &str) {
        let length = u8::try_from(text.len()).ok().filter(|length| *length < 126).expect("short");
        let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0];
        frame.extend_from_slice(text.as_bytes());
        self.socket.write_all(&frame).expect("room");
    }

    fn has(&mut self, text: &str) -> bool {
        let mut buffer = [0; 65_536];
        while let Ok(length @ 1..) = self.socket.read(&mut buffer) {
            self.received.extend_from_slice(&buffer[..length]);
        }
        self.received.windows(text.len()).any(|window| window == text.as_bytes())
    }
}

fn page(head: u64) -> Page {
    let position = LogPosition { epoch: Epoch(7), head: Offset(head), floor: Offset(1) };
    Page { position, count: 0, first: Offset::ZERO, last: Offset::ZERO, body: Vec::new() }
}

fn identity(stage: &Stage, counted: Counted, lives_ms: Option<u64>) -> Identity {
    let unix_ms = stage.reactor.setup.clock.read().unix_ms;
    Identity {
        user: UserName::anonymous(),
        permissions: Arc::new(Permissions::everything()),
        expires_unix_ms: lives_ms.map(|lives| unix_ms + lives),
        counted,
    }
}

#[test]
fn who_asks_again_and_again_and_takes_no_answer_is_not_answered_without_end() {
    let mut stage = Stage::new(AuthMode::Off);
    let mut client = stage.client();
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    client.socket.write_all(request.repeat(1_500).as_bytes()).expect("room");
    stage.turn_until(|stage| stage.reactor.counters.requests.read() > 0);
    for _ in 0..20 {
        stage.mailbox.ring().expect("waker");
        stage.reactor.turn(&mut stage.events).expect("poll");
    }
    let answered = stage.reactor.counters.requests.read();
    assert!(answered < 100, "{answered} answers were made for who reads none");
}

#[test]
fn each_message_counts_and_a_violation_is_none() {
    const PING: [u8; 6] = [0x89, 0x80, 0, 0, 0, 0];
    const CLOSE: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 3, 0xE8];
    const RESERVED: [u8; 6] = [0xF1, 0x80, 0, 0, 0, 0];
    for (last, code, wanted) in [(&CLOSE[..], 1000, 3), (&RESERVED[..], 1002, 2)] {
        let mut stage = Stage::new(AuthMode::Off);
        let mut client = stage.chat(&[r#"{"id":1,"connect":{}}"#]);
        client.socket.write_all(&[&PING, last].concat()).expect("room");
        let at = CLOSE_CODES.iter().position(|known| *known == code).expect("counted by itself");
        stage.turn_until(|stage| stage.reactor.counters.closes[at].read() == 1);
        assert_eq!(stage.reactor.counters.messages_received.read(), wanted, "{code}");
    }
}

#[test]
fn a_connection_is_listed_once_to_be_read() {
    let mut stage = Stage::new(AuthMode::Off);
    let _client = stage.client();
    stage.turn_until(|stage| stage.reactor.slots.len() == 1);
    let id = stage.reactor.slots.ids()[0];
    for _ in 0..10 {
        stage.reactor.mark_ready(id);
    }
    assert_eq!((stage.reactor.ready.len(), stage.reactor.arrivals.heads.len()), (0, 1));
}

#[test]
fn tails_that_cannot_be_read_have_one_retry_a_channel() {
    let mut stage = Stage::new(AuthMode::Off);
    let mut clients: Vec<Client> = (0..10)
        .map(|_| {
            stage.chat(&[r#"{"id":1,"connect":{}}"#, r#"{"id":2,"subscribe":{"channel":"c","last":9}}"#])
        })
        .collect();
    let position = stage.asked();
    stage.turn_until(|stage| stage.reactor.counters.commands.read() == 20);
    stage.answer(Completion::Page { ticket: position.ticket, outcome: Ok(page(9)) });
    // For those that came after the question, and for the tail.
    let (position, older) = (stage.asked(), stage.asked());
    stage.answer(Completion::Page { ticket: position.ticket, outcome: Ok(page(9)) });
    stage.answer(Completion::Page { ticket: older.ticket, outcome: Err(ReadError { retry_ms: 1 }) });
    assert!(clients.iter_mut().all(|client| client.has(r#""id":2,"subscribed""#)));
    assert_eq!(stage.reactor.retries.len(), 1);
}

#[test]
fn replays_that_cannot_be_read_have_one_retry_a_connection() {
    let mut stage = Stage::new(AuthMode::Off);
    let mut client = stage.chat(&[r#"{"id":1,"connect":{}}"#]);
    for index in 0..10 {
        client.say(&format!(r#"{{"id":{},"subscribe":{{"channel":"c{index}","last":9}}}}"#, index + 2));
    }
    // What is read for all brings nothing, so that each replay is to have pages of its own.
    let mut own = Vec::new();
    while own.is_empty() || stage.reactor.pending.recoveries() > own.len() {
        let request = stage.asked();
        match request.span {
            Span::After(_) => own.push(request.ticket),
            Span::Before(_) => {
                stage.answer(Completion::Page { ticket: request.ticket, outcome: Ok(page(9)) });
            }
        }
    }
    assert_eq!(own.len(), 1, "one page at a time");
    assert!(client.has(r#""id":11,"subscribed""#));
    // From here on no page can be asked for.
    stage.reads = None;
    stage.answer(Completion::Page { ticket: own[0], outcome: Err(ReadError { retry_ms: 1 }) });
    assert_eq!(stage.reactor.retries.len(), 1);
    let first = stage.reactor.retries.front().map(|(due, _)| *due);
    stage.turn_until(|stage| stage.reactor.retries.front().map(|(due, _)| *due) != first);
    assert_eq!(stage.reactor.retries.len(), 1, "and so after it");
}

#[test]
fn a_replay_that_paused_for_want_of_memory_goes_on_by_itself() {
    let mut stage = Stage::new(AuthMode::Off);
    let subscribe = r#"{"id":2,"subscribe":{"channel":"c","last":9}}"#;
    let mut client = stage.chat(&[r#"{"id":1,"connect":{}}"#, subscribe]);
    let request = stage.asked();
    let over = stage.reactor.outbox_bytes_max() + 1;
    stage.reactor.waiting_bytes += over;
    stage.answer(Completion::Page { ticket: request.ticket, outcome: Ok(page(9)) });
    let id = stage.reactor.slots.ids()[0];
    let chat = stage.reactor.slots.get_mut(id).and_then(Connection::chat_mut).expect("a chat");
    assert_eq!(chat.replays, Replays::Resting);
    stage.reactor.waiting_bytes -= over;
    let page_asked = stage.asked();
    assert_eq!((page_asked.span, page_asked.limit), (Span::Before(Offset(10)), 300));
    assert!(client.has(r#""subscribed""#));
}

#[test]
fn a_user_is_counted_off_once_though_a_refresh_is_answered_after_the_end() {
    let mut stage = Stage::new(AuthMode::Required);
    let mut client = stage.chat(&[r#"{"id":1,"connect":{"token":"t"}}"#]);
    let ticket = stage.token(&Occasion::Connect);
    let outcome = Ok(identity(&stage, Counted::Yes, None));
    stage.answer(Completion::TokenChecked { ticket, outcome });
    client.say(r#"{"id":2,"refresh":{"token":"t"}}"#);
    let refresh = Occasion::Refresh(UserName::anonymous());
    let ticket = stage.token(&refresh);
    client.socket.shutdown(Shutdown::Both).expect("open");
    stage.turn_until(|stage| stage.reactor.slots.is_empty());
    assert!(matches!(stage.admitted(), Admit::Leave { .. }));
    let outcome = Ok(identity(&stage, Counted::No, None));
    stage.answer(Completion::TokenChecked { ticket, outcome });
    assert!(stage.admits.try_recv().is_err(), "it was counted once");
}

#[test]
fn a_token_that_ends_before_anything_else_is_due_ends_the_session_in_time() {
    let mut stage = Stage::new(AuthMode::Required);
    let mut client = stage.chat(&[r#"{"id":1,"connect":{"token":"t"}}"#]);
    let ticket = stage.token(&Occasion::Connect);
    let outcome = Ok(identity(&stage, Counted::Yes, Some(300)));
    stage.answer(Completion::TokenChecked { ticket, outcome });
    let start = stage.reactor.now.at;
    // The first ping comes at a random time: only the token's own deadline is always in time.
    stage.turn_until(|_| client.has("4501"));
    assert!(stage.reactor.now.at.since(start) < Duration::from_millis(600));
}

#[test]
fn a_costly_fan_out_waits_for_its_answers_and_no_longer_than_the_last_one_took() {
    let mut stage = Stage::new(AuthMode::Off);
    let append = || pending::Request::Append {
        slot: SlotId { index: 0, generation: 0 },
        id: CommandId(1),
        channel: ChannelName::parse("c").expect("valid"),
        key: None,
    };
    let reactor = &mut stage.reactor;
    let start = reactor.now.at;
    reactor.fan_out = Duration::from_millis(3);
    let first = reactor.pending.insert(append(), start).expect("room");
    assert!(!reactor.gathers(), "nothing is there to be given out");
    stage.mailbox.offer(Live::Published(Arc::from(Vec::new())));
    assert!(reactor.gathers(), "one of ours is with the store");
    reactor.now.at = start + Duration::from_millis(2);
    assert!(reactor.gathers());
    reactor.now.at = start + Duration::from_millis(3);
    assert!(!reactor.gathers(), "it took no longer the last time");
    assert!(reactor.gathers(), "the next wait is another one");
    stage.mailbox.answer(Completion::Appended {
        ticket: first,
        outcome: Err(AppendError::Unavailable { retry_ms: 1 }),
    });
    assert!(!reactor.gathers(), "all is answered");
    reactor.pending.insert(append(), start).expect("room");
    reactor.fan_out = Duration::from_micros(900);
    assert!(!reactor.gathers(), "a short one waits for nothing");
    reactor.fan_out = Duration::from_secs(1);
    assert!(reactor.gathers());
    reactor.now.at = reactor.now.at + GATHER_MAX;
    assert!(!reactor.gathers(), "nothing waits longer than the bound");
}

#[test]
fn reads_for_who_comes_back_wait_for_their_turn_and_are_all_made() {
    let mut stage = Stage::new(AuthMode::Off);
    let mut client = stage.chat(&[r#"{"id":1,"connect":{}}"#]);
    for index in 0..40 {
        client.say(&format!(r#"{{"id":{},"subscribe":{{"channel":"c{index}"}}}}"#, index + 2));
    }
    stage.turn_until(|stage| stage.reactor.counters.commands.read() == 41);
    assert_eq!(stage.reactor.counters.recovery_reads.read(), RECOVERIES_AT_ONCE as u64);
    assert_eq!(stage.reactor.recoveries.waiting(), 40 - RECOVERIES_AT_ONCE);
    for answered in 1..=40 {
        let request = stage.asked();
        assert!(stage.reactor.pending.recoveries() <= RECOVERIES_AT_ONCE);
        stage.answer(Completion::Page { ticket: request.ticket, outcome: Ok(page(0)) });
        assert!(client.has(&format!(r#""id":{},"subscribed""#, answered + 1)), "in order");
    }
}

#[test]
fn a_page_that_many_lack_is_shared_and_each_is_sent_it_once() {
    const MANY: usize = RECOVERIES_AT_ONCE + 1 + REPLAYS_PER_READ + 10;
    let mut stage = Stage::new(AuthMode::Off);
    let subscribe = r#"{"id":2,"subscribe":{"channel":"c","last":9}}"#;
    let mut clients: Vec<Client> =
        (0..MANY).map(|_| stage.chat(&[r#"{"id":1,"connect":{}}"#, subscribe])).collect();
    // What is read for all brings nothing, so that each is to have a page of its own.
    let mut own = Vec::new();
    while own.len() < RECOVERIES_AT_ONCE {
        let request = stage.asked();
        match request.span {
            Span::After(_) => own.push(request.ticket),
            Span::Before(_) => {
                stage.answer(Completion::Page { ticket: request.ticket, outcome: Ok(page(9)) });
            }
        }
    }
    stage.turn_until(|stage| stage.reactor.counters.commands.read() == 2 * MANY as u64);
    // One of them leaves: it is read for the others.
    drop(clients.pop());
    stage.turn_until(|stage| stage.reactor.slots.len() == MANY - 1);
    let mut frames = Vec::new();
    for offset in 1..=9 {
        server_frame::write(&mut frames, Kind::Text, format!("<{offset}>").as_bytes());
    }
    let whole = || Page { count: 9, first: Offset(1), last: Offset(9), body: frames.clone(), ..page(9) };
    for ticket in own {
        stage.answer(Completion::Page { ticket, outcome: Ok(whole()) });
    }
    while stage.reactor.pending.recoveries() > 0 {
        let request = stage.asked();
        let read = match request.span {
            Span::After(_) => whole(),
            Span::Before(_) => page(9),
        };
        stage.answer(Completion::Page { ticket: request.ticket, outcome: Ok(read) });
    }
    let pages = stage.reactor.counters.replay_pages.read() as usize;
    assert!(pages < MANY - REPLAYS_PER_READ / 4, "{pages} pages for {MANY} who lack the same");
    stage.turn_until(|_| clients.iter_mut().all(|client| client.has(r#""synced""#)));
    for client in &mut clients {
        let got = String::from_utf8_lossy(&client.received).matches("<9>").count();
        assert_eq!(got, 1, "once");
    }
}

/// Fills the bucket of handshakes for a second.
fn use_up(reactor: &mut Reactor) {
    while reactor.handshakes.admit(reactor.now.at, Some(1.0), 0.5) == Passage::Admit {}
}

#[test]
fn who_comes_over_capacity_is_upgraded_to_be_told_and_who_comes_far_over_it_is_not() {
    let limits = Limits { admissions_per_s: 1, ..Limits::default() };
    let mut stage = Stage::with(limits, AuthMode::Off, None);
    let mut told = stage.chat(&[r#"{"id":1,"connect":{}}"#]);
    stage.turn_until(|stage| {
        use_up(&mut stage.reactor);
        told.has("limits.admissions_per_s")
    });
    assert!(told.has("101 Switching Protocols") && told.has(r#""code":1013"#));
    assert_eq!(stage.reactor.counters.handshakes_deferred.read(), 1);
    // A moment later one more may be told, so it is tried until the moment was short enough.
    let mut refused = stage.chat(&[]);
    stage.turn_until(|stage| {
        let reactor = &mut stage.reactor;
        while let Passage::Later { .. } = reactor.handshakes.admit(reactor.now.at, Some(1.0), 0.5) {}
        if refused.has("over_capacity") && !refused.has("503 ") {
            refused = stage.chat(&[]);
        }
        refused.has("over_capacity")
    });
    assert!(refused.has("HTTP/1.1 503 ") && refused.has("Retry-After: "));
    assert!(stage.reactor.counters.handshakes_refused.read() == 1);
    // Plain questions are answered all the same.
    let mut asks = stage.client();
    asks.socket.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("room");
    stage.turn_until(|_| asks.has("HTTP/1.1 200 "));
}

#[test]
fn what_is_refused_is_a_part_of_what_handshakes_cost() {
    let mut stage = Stage::new(AuthMode::Off);
    let mut clients: Vec<Client> = (0..200).map(|_| stage.client()).collect();
    for client in &mut clients {
        client.socket.write_all(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("room");
    }
    stage.turn_until(|_| clients.iter_mut().all(|client| client.has("HTTP/1.1 404 ")));
    // Too little was done for a measure, unless they are a part of it.
    let reactor = &mut stage.reactor;
    let before = reactor.handshakes.cost();
    assert!(reactor.handshakes.turned(reactor.now.at + Duration::from_secs(1), Duration::ZERO));
    assert_ne!(reactor.handshakes.cost(), before);
}

#[test]
fn who_is_connected_is_no_longer_one_who_arrives() {
    let mut stage = Stage::new(AuthMode::Off);
    let mut client = stage.chat(&[]);
    stage.turn_until(|_| client.has("101 Switching Protocols"));
    let id = stage.reactor.slots.ids()[0];
    let arrival = |stage: &mut Stage| stage.reactor.slots.get_mut(id).map(|connection| connection.arrival);
    assert_eq!(arrival(&mut stage), Some(Arrival::Upgraded));
    client.say(r#"{"id":1,"connect":{}}"#);
    stage.turn_until(|_| client.has(r#""connected""#));
    assert_eq!(arrival(&mut stage), Some(Arrival::Settling));
    assert_eq!(stage.reactor.counters.connected.read(), 1);
    client.say(r#"{"id":2,"subscribe":{"channel":"c"}}"#);
    stage.turn_until(|stage| stage.reactor.counters.commands.read() == 2);
    assert_eq!(arrival(&mut stage), Some(Arrival::In));
}
