//! A reactor turned by hand, its workers played by the test: a `Job` is answered with a `Completion`.

use super::connection::Replays;
use super::*;
use crate::auth::permission::Permissions;
use crate::health::handshakes::{Passage, Rests};
use crate::health::report::Report;
use crate::id::{ChannelName, CommandId, Epoch, InstanceName, Offset, UserName};
use crate::job::{
    Admit, Append, AppendError, Completion, Counted, Identity, Live, Occasion, Page, PageRequest, Read,
    ReadError, Span, Ticket,
};
use crate::limits::{Limits, OUTSTANDING_MAX, RECOVERIES_AT_ONCE};
use crate::metrics::reactor::CLOSE_CODES;
use crate::session::AuthMode;
use crate::wire::push::LogPosition;
use crossbeam_channel::{Receiver, bounded};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

mod drain;
mod outage;
mod recover;
mod returns;
mod secure;
mod stage;

use stage::{Client, Stage, identity, page};

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
fn what_handshakes_took_of_a_turn_is_no_part_of_its_fan_out() {
    let mut stage = Stage::new(AuthMode::Off);
    let reactor = &mut stage.reactor;
    let turn = |reactor: &mut Reactor, handshakes: Duration| {
        reactor.now.at = reactor.setup.clock.moment();
        while reactor.setup.clock.moment().since(reactor.now.at) < Duration::from_millis(2) {}
        reactor.counters.runs.add(1);
        reactor.handshake_time = handshakes;
        reactor.observe();
        reactor.fan_out
    };
    assert!(turn(reactor, Duration::ZERO) >= Duration::from_millis(2));
    assert_eq!(turn(reactor, Duration::from_secs(60)), Duration::ZERO);
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
    assert!(reactor.handshakes.turned(reactor.now.at + Duration::from_secs(1), Duration::ZERO, Rests::No));
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
