//! An engine on a virtual clock: the test answers each `Job` with a `Completion`.

use super::peer::{Peer, Replays};
use super::stall::Stall;
use super::*;
use crate::admission::address_shares::ArrivalShare;
use crate::admission::handshakes::{HandshakeDecision, Publishing};
use crate::auth::permission::Permissions;
use crate::clock::Moment;
use crate::health::report::Report;
use crate::id::{ChannelName, CommandId, Epoch, InstanceName, Offset, UserName};
use crate::job::{
    Append, AuthJob, Broadcast, Completion, Counted, Identity, Occasion, Outlook, Page, PageRequest, Read,
    ReadError, Span, Ticket,
};
use crate::limits::{
    ARENA_BYTES_MAX, AUTH_QUEUE, GATHER_MAX, GATHER_MIN, Limits, OUTSTANDING_MAX, RECOVERIES_AT_ONCE,
    WRITE_COST_MAX,
};
use crate::metrics::reactor::CLOSE_CODES;
use crate::metrics::scrape::{MetricSources, Metrics};
use crate::metrics::vitals::Vitals;
use crate::session::{AuthMode, Policy};
use crate::wire::outbox::Outbox;
use crate::wire::publication::{Change, Published, Stored};
use crate::wire::push::{self, LogPosition};
use crate::wire::stream::StreamMark;
use std::collections::VecDeque;
use std::io::IoSlice;

mod arrivals;
mod drain;
mod flags;
mod inbound;
mod orders;
mod outage;
mod promises;
mod rebalance;
mod recover;
mod reports;
mod returns;
mod rosters;
mod stage;
mod streams;
mod turns;

use stage::{CONNECT, Client, Stage, identity, page};

#[test]
fn peer_that_reads_no_responses_gets_a_bounded_number() {
    let mut stage = Stage::new(AuthMode::Off);
    let client = stage.client();
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // The socket takes nothing, so all responses of one read wait.
    stage.send(client, request.repeat(1_500).as_bytes());
    stage.turn_until(|stage| stage.engine.tally.requests.read() > 0);
    let answered = stage.engine.tally.requests.read();
    assert!(answered < 100, "{answered} responses were made for a peer that reads none");
}

#[test]
fn each_message_is_counted_and_a_violation_is_not() {
    const PING: [u8; 6] = [0x89, 0x80, 0, 0, 0, 0];
    const CLOSE: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 3, 0xE8];
    const RESERVED: [u8; 6] = [0xF1, 0x80, 0, 0, 0, 0];
    for (last, code, wanted) in [(&CLOSE[..], 1000, 3), (&RESERVED[..], 1002, 2)] {
        let mut stage = Stage::new(AuthMode::Off);
        let client = stage.chat(&[CONNECT]);
        stage.send(client, &[&PING, last].concat());
        let at = CLOSE_CODES.iter().position(|known| *known == code).expect("counted by itself");
        stage.turn_until(|stage| stage.engine.tally.closes[at].read() == 1);
        assert_eq!(stage.engine.tally.messages_received.read(), wanted, "{code}");
    }
}

#[test]
fn stalled_peer_is_closed_once_after_a_late_turn() {
    let mut stage = Stage::new(AuthMode::Off);
    let client = stage.chat(&[CONNECT]);
    stage.turn_until(|stage| stage.engine.tally.connected.read() == 1);
    let since = Stall::at(stage.engine.now().at);
    stage.engine.peers.get_mut(client).expect("connected").stalled_since = Some(since);
    stage.engine.schedule(client);
    stage.pause = Duration::from_secs(20);
    stage.turn();
    let at = CLOSE_CODES.iter().position(|known| *known == 4408).expect("counted by itself");
    assert_eq!((stage.engine.tally.closes[at].read(), stage.engine.len()), (1, 0));
}

#[test]
fn peer_that_becomes_ready_often_is_listed_once() {
    let mut stage = Stage::new(AuthMode::Off);
    let client = stage.client();
    for _ in 0..10 {
        stage.engine.mark_ready(client);
    }
    assert_eq!((stage.engine.due.ready.len(), stage.engine.arrivals.first.heads.len()), (0, 1));
}

#[test]
fn failed_read_of_a_tail_is_retried_once_for_its_channel() {
    let mut stage = Stage::new(AuthMode::Off);
    let clients: Vec<Client> = (0..10).map(|_| stage.chat(&[CONNECT])).collect();
    stage.turn_until(|stage| stage.engine.tally.connected.read() == 10);
    for client in &clients {
        stage.say(*client, r#"{"id":2,"subscribe":{"channel":"c","last":9}}"#);
    }
    stage.turn_until(|stage| stage.engine.tally.commands.read() == 20);
    let position = stage.asked();
    stage.answer(Completion::Page { ticket: position.ticket, outcome: Ok(page(9)) });
    // One more for the clients that subscribed after the first was made, and one for the tail.
    let (position, older) = (stage.asked(), stage.asked());
    stage.answer(Completion::Page { ticket: position.ticket, outcome: Ok(page(9)) });
    stage.answer(Completion::Page { ticket: older.ticket, outcome: Err(ReadError { retry_ms: 1 }) });
    assert!(clients.iter().all(|client| stage.has(*client, r#""id":2,"subscribed""#)));
    assert_eq!(stage.engine.reads.retries(), 1);
}

#[test]
fn failed_read_of_a_replay_is_retried_once_for_its_peer() {
    let mut stage = Stage::new(AuthMode::Off);
    let client = stage.chat(&[CONNECT]);
    for index in 0..10 {
        stage
            .say(client, &format!(r#"{{"id":{},"subscribe":{{"channel":"c{index}","last":9}}}}"#, index + 2));
    }
    // The shared reads bring nothing, so each replay needs pages of its own.
    let mut own = Vec::new();
    while own.is_empty() || stage.engine.pending.recoveries() > own.len() {
        let request = stage.asked();
        match request.span {
            Span::After(_) => own.push(request.ticket),
            Span::Before(_) => {
                stage.answer(Completion::Page { ticket: request.ticket, outcome: Ok(page(9)) });
            }
        }
    }
    assert_eq!(own.len(), 1, "one page at a time");
    assert!(stage.has(client, r#""id":11,"subscribed""#));
    // Every further read is refused.
    stage.reads = None;
    stage.answer(Completion::Page { ticket: own[0], outcome: Err(ReadError { retry_ms: 1 }) });
    assert_eq!(stage.engine.reads.retries(), 1);
    let first = stage.engine.reads.retry_due();
    stage.turn_until(|stage| stage.engine.reads.retry_due() != first);
    assert_eq!(stage.engine.reads.retries(), 1, "and one again after it");
}

#[test]
fn replay_paused_by_the_outbox_total_continues_by_itself() {
    let mut stage = Stage::new(AuthMode::Off);
    let client = stage.chat(&[CONNECT, r#"{"id":2,"subscribe":{"channel":"c","last":9}}"#]);
    let request = stage.asked();
    // Another peer's bytes fill the total, and one of this peer waits, too.
    let hog = stage.client();
    let over = stage.engine.outbox_bytes_max() + 1;
    stage.engine.memory.relief.waiting_bytes += over + 1;
    stage.engine.peers.get_mut(hog).expect("accepted").counted_bytes += over as u32;
    stage.engine.peers.get_mut(client).expect("accepted").counted_bytes += 1;
    stage.answer(Completion::Page { ticket: request.ticket, outcome: Ok(page(9)) });
    let chat = stage.engine.peers.get_mut(client).and_then(Peer::chat_mut).expect("a chat");
    assert_eq!(chat.replays, Replays::Resting);
    stage.engine.memory.relief.waiting_bytes -= over;
    stage.engine.peers.get_mut(hog).expect("accepted").counted_bytes -= over as u32;
    let asked = stage.asked();
    assert_eq!((asked.span, asked.limit), (Span::Before(Offset(10)), 300));
    assert!(stage.has(client, r#""subscribed""#));
}

#[test]
fn replay_of_a_peer_that_keeps_up_does_not_pause_over_the_outbox_total() {
    let mut stage = Stage::new(AuthMode::Off);
    let client = stage.chat(&[CONNECT, r#"{"id":2,"subscribe":{"channel":"c","last":9}}"#]);
    let request = stage.asked();
    let hog = stage.client();
    let over = stage.engine.outbox_bytes_max() + 1;
    stage.engine.memory.relief.waiting_bytes += over;
    stage.engine.peers.get_mut(hog).expect("accepted").counted_bytes += over as u32;
    stage.answer(Completion::Page { ticket: request.ticket, outcome: Ok(page(9)) });
    assert_eq!(stage.engine.reads.retries(), 0, "its replay does not rest");
    assert!(matches!(stage.asked().span, Span::Before(Offset(10))));
    assert!(stage.has(client, r#""subscribed""#));
}

#[test]
fn user_is_released_once_if_a_refresh_is_answered_after_the_end() {
    let mut stage = Stage::new(AuthMode::Required);
    let client = stage.chat(&[r#"{"id":1,"connect":{"token":"t"}}"#]);
    let ticket = stage.token(&Occasion::Connect);
    let outcome = Ok(identity(&stage, Counted::Yes, None));
    stage.answer(Completion::TokenChecked { ticket, outcome });
    stage.say(client, r#"{"id":2,"refresh":{"token":"t"}}"#);
    let ticket = stage.token(&Occasion::Refresh(UserName::anonymous()));
    stage.leave(client);
    stage.turn_until(|stage| stage.engine.is_empty());
    assert!(matches!(stage.admitted(), AuthJob::ReleaseUser { .. }));
    let outcome = Ok(identity(&stage, Counted::No, None));
    stage.answer(Completion::TokenChecked { ticket, outcome });
    assert!(stage.admits.is_empty(), "it was counted once");
}

#[test]
fn token_that_expires_first_ends_the_session_in_time() {
    let mut stage = Stage::new(AuthMode::Required);
    let client = stage.chat(&[r#"{"id":1,"connect":{"token":"t"}}"#]);
    let ticket = stage.token(&Occasion::Connect);
    let outcome = Ok(identity(&stage, Counted::Yes, Some(300)));
    stage.answer(Completion::TokenChecked { ticket, outcome });
    let start = stage.engine.now().at;
    stage.turn_until(|stage| stage.has(client, "4501"));
    assert!(stage.engine.now().at.since(start) < Duration::from_millis(400));
}

#[test]
fn costly_fan_out_waits_for_appends_at_most_as_long_as_the_last_one_took() {
    let mut stage = Stage::new(AuthMode::Off);
    let append = || pending::Request::Append {
        slot: SlotId { index: 0, generation: 0 },
        id: CommandId(1),
        channel: ChannelName::parse("c").expect("valid"),
        user: UserName::anonymous(),
        key: None,
        asked: crate::clock::Moment::ZERO,
    };
    let engine = &mut stage.engine;
    let start = engine.now.at;
    engine.gathering.fan_out = Duration::from_millis(3);
    engine.pending.insert(append(), start).expect("room");
    assert!(!engine.gathers(0, 0), "no broadcast waits");
    assert!(engine.gathers(0, 1), "an append is outstanding");
    engine.now.at = start + Duration::from_millis(2);
    assert!(engine.gathers(0, 1));
    engine.now.at = start + Duration::from_millis(3);
    assert!(!engine.gathers(0, 1), "the last fan-out took no longer");
    assert!(engine.gathers(0, 1), "the next wait begins");
    assert!(!engine.gathers(1, 1), "everything is answered");
    engine.gathering.fan_out = Duration::from_micros(900);
    assert!(!engine.gathers(0, 1), "a short fan-out waits for nothing");
    engine.gathering.fan_out = Duration::from_secs(1);
    assert!(engine.gathers(0, 1));
    engine.now.at = engine.now.at + GATHER_MAX;
    assert!(!engine.gathers(0, 1), "nothing waits longer than the bound");
}

#[test]
fn time_of_handshakes_is_not_part_of_a_fan_out() {
    let mut stage = Stage::new(AuthMode::Off);
    let engine = &mut stage.engine;
    let turn = |engine: &mut Engine, handshakes: u64| {
        engine.tally.runs.add(5_000);
        engine.handle_handshake_time(Duration::from_millis(handshakes));
        engine.end_turn(Duration::from_millis(20));
        engine.gathering.fan_out
    };
    assert_eq!(turn(engine, 0), Duration::from_millis(20));
    assert_eq!(turn(engine, 15), Duration::from_millis(5));
    assert_eq!(turn(engine, 60), Duration::ZERO);
}

#[test]
fn long_turn_with_few_deliveries_is_not_a_costly_fan_out() {
    let mut stage = Stage::new(AuthMode::Off);
    let engine = &mut stage.engine;
    let turn = |engine: &mut Engine, deliveries: u64, took: Duration| {
        engine.tally.runs.add(deliveries);
        engine.end_turn(took);
        engine.gathering.fan_out
    };
    let long = Duration::from_millis(20);
    assert_eq!(turn(engine, 3, long), 3 * WRITE_COST_MAX);
    assert!(turn(engine, 99, long) < GATHER_MIN && turn(engine, 100, long) >= GATHER_MIN);
    assert_eq!(turn(engine, 5_000, GATHER_MIN), GATHER_MIN, "no longer than the turn");
    assert_eq!(turn(engine, 0, long), GATHER_MIN, "no fan-out");
}

#[test]
fn recovery_reads_wait_for_their_turn_and_are_all_made() {
    let mut stage = Stage::new(AuthMode::Off);
    let client = stage.chat(&[CONNECT]);
    for index in 0..40 {
        stage.say(client, &format!(r#"{{"id":{},"subscribe":{{"channel":"c{index}"}}}}"#, index + 2));
    }
    stage.turn_until(|stage| stage.engine.tally.commands.read() == 41);
    stage.turn();
    assert_eq!(stage.engine.tally.recovery_reads.read(), RECOVERIES_AT_ONCE as u64);
    assert_eq!(stage.engine.reads.recoveries.waiting(), 40 - RECOVERIES_AT_ONCE);
    for answered in 1..=40 {
        let request = stage.asked();
        assert!(stage.engine.pending.recoveries() <= RECOVERIES_AT_ONCE);
        stage.answer(Completion::Page { ticket: request.ticket, outcome: Ok(page(0)) });
        assert!(stage.has(client, &format!(r#""id":{},"subscribed""#, answered + 1)), "in order");
    }
}

#[test]
fn recovery_reads_wait_while_the_store_queue_is_full() {
    let mut stage = Stage::new(AuthMode::Off);
    let client = stage.chat(&[CONNECT]);
    stage.turn_until(|stage| stage.has(client, "connected"));
    stage.read_room = 0;
    stage.turn();
    stage.say(client, r#"{"id":2,"subscribe":{"channel":"c"}}"#);
    stage.turn_until(|stage| stage.engine.tally.commands.read() == 2);
    for _ in 0..100 {
        stage.turn();
    }
    assert_eq!(stage.reads.as_ref().map(VecDeque::len), Some(0), "a read was made without room");
    assert_eq!(stage.engine.tally.recoveries_refused.read(), 0);
    stage.read_room = 1;
    let request = stage.asked();
    stage.answer(Completion::Page { ticket: request.ticket, outcome: Ok(page(0)) });
    stage.turn_until(|stage| stage.has(client, r#""id":2,"subscribed""#));
}

/// Uses up the admissions of a second.
fn use_up(engine: &mut Engine) {
    while engine.arrivals.handshakes.admit(engine.now.at, Some(1.0), ArrivalShare::Within, 0.5)
        == HandshakeDecision::Admit
    {}
}

#[test]
fn client_over_capacity_gets_a_bye_and_one_far_over_it_is_refused() {
    let limits = Limits { admissions_per_s: 1, ..Limits::default() };
    let mut stage = Stage::with(limits, AuthMode::Off);
    stage.pause = Duration::ZERO;
    use_up(&mut stage.engine);
    let deferred = stage.chat(&[CONNECT]);
    stage.turn_until(|stage| stage.has(deferred, "limits.admissions_per_s"));
    assert!(stage.has(deferred, "101 Switching Protocols") && stage.has(deferred, r#""code":1013"#));
    assert_eq!(stage.engine.tally.handshakes_deferred.read(), 1);
    let refused = stage.chat(&[]);
    stage.turn_until(|stage| {
        let now = stage.engine.now.at;
        while let HandshakeDecision::Defer { .. } =
            stage.engine.arrivals.handshakes.admit(now, Some(1.0), ArrivalShare::Within, 0.5)
        {}
        stage.has(refused, "over_capacity")
    });
    assert!(stage.has(refused, "HTTP/1.1 503 ") && stage.has(refused, "Retry-After: "));
    assert_eq!(stage.engine.tally.handshakes_refused.read(), 1);
    // Plain requests are still answered.
    let asks = stage.client();
    stage.send(asks, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stage.turn_until(|stage| stage.has(asks, "HTTP/1.1 200 "));
}

#[test]
fn refused_requests_count_towards_the_cost_of_handshakes() {
    let mut stage = Stage::new(AuthMode::Off);
    let clients: Vec<Client> = (0..200).map(|_| stage.client()).collect();
    for client in &clients {
        stage.send(*client, b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    stage.turn_until(|stage| clients.iter().all(|client| stage.has(*client, "HTTP/1.1 404 ")));
    // Without these requests there would be too little for a measurement.
    let now = stage.engine.now.at;
    let handshakes = &mut stage.engine.arrivals.handshakes;
    let before = handshakes.cost();
    assert!(handshakes.turned(now + Duration::from_secs(1), Duration::ZERO, Publishing::No));
    assert_ne!(handshakes.cost(), before);
}

#[test]
fn connected_peer_stops_arriving_with_its_first_commands() {
    let mut stage = Stage::new(AuthMode::Off);
    let client = stage.chat(&[]);
    stage.turn_until(|stage| stage.has(client, "101 Switching Protocols"));
    let arrival = |stage: &mut Stage| stage.engine.peers.get_mut(client).map(|peer| peer.arrival);
    assert_eq!(arrival(&mut stage), Some(Arrival::Upgraded));
    stage.say(client, CONNECT);
    stage.turn_until(|stage| stage.has(client, r#""connected""#));
    assert_eq!(arrival(&mut stage), Some(Arrival::Settling));
    assert_eq!(stage.engine.tally.connected.read(), 1);
    stage.say(client, r#"{"id":2,"subscribe":{"channel":"c"}}"#);
    stage.turn_until(|stage| stage.engine.tally.commands.read() == 2);
    assert_eq!(arrival(&mut stage), Some(Arrival::In));
}

#[test]
fn release_refused_by_the_auth_worker_is_handed_out_again() {
    let mut stage = Stage::new(AuthMode::Off);
    let release = AuthJob::ReleaseUser { user: UserName::anonymous() };
    stage.engine.handle_refused(Job::Admit(release));
    assert!(matches!(stage.admitted(), AuthJob::ReleaseUser { .. }));
}

#[test]
fn crowd_of_newcomers_is_spread_over_turns() {
    const CROWD: usize = 400;
    let mut stage = Stage::new(AuthMode::Off);
    stage.arrival_cost = Duration::from_micros(50);
    let clients: Vec<Client> = (0..CROWD).map(|_| stage.chat(&[])).collect();
    let (mut most, mut before) = (0, 0);
    stage.turn_until(|stage| {
        let now = stage.engine.tally.upgrades.read() as usize;
        most = most.max(now - before);
        before = now;
        now == CROWD
    });
    assert!(most < CROWD / 3, "{most} of {CROWD} in one turn");
    stage.turn_until(|stage| clients.iter().all(|client| stage.has(*client, "101 Switching Protocols")));
}

#[test]
fn plain_peer_fits_its_share_of_memory() {
    // An outbox and a stage, mostly a session. The shell's socket takes sixteen bytes more.
    assert!(size_of::<Peer>() <= 472, "{}", size_of::<Peer>());
}

#[test]
fn releases_of_a_crowd_are_handed_out_as_fast_as_the_auth_queue_takes_them() {
    let mut stage = Stage::new(AuthMode::Off);
    for _ in 0..=AUTH_QUEUE {
        stage.engine.handle_refused(Job::Admit(AuthJob::ReleaseUser { user: UserName::anonymous() }));
    }
    stage.turn();
    assert_eq!(stage.admits.len(), AUTH_QUEUE);
    stage.turn();
    assert_eq!(stage.admits.len(), AUTH_QUEUE + 1);
}

#[test]
fn full_turn_still_takes_one_completion() {
    let mut stage = Stage::new(AuthMode::Off);
    stage.engine.gathers(0, 0);
    let (_, out) = Outbox::mark(&mut stage.engine.scratch.arena);
    out.resize(ARENA_BYTES_MAX + 1, 0);
    assert!(stage.engine.turn_is_full());
    assert!(stage.engine.wants_completion());
    let ticket = Ticket { reactor: ReactorId(0), request: 0 };
    stage.engine.handle_completion(Completion::Followed { ticket });
    assert!(!stage.engine.wants_completion());
}

#[test]
fn peer_is_read_once_a_turn_whatever_was_listed_with_it() {
    let mut stage = Stage::new(AuthMode::Off);
    let [gone, client] = [stage.client(), stage.client()];
    for id in [gone, client] {
        stage.engine.peers.get_mut(id).expect("accepted").arrival = peer::Arrival::In;
        stage.engine.mark_ready(id);
    }
    stage.engine.kill(gone);
    stage.engine.reap();
    let mut left = stage.engine.ready();
    assert_eq!(stage.engine.next_ready(&mut left), Some(client));
    stage.engine.handle_more(client);
    assert_eq!(stage.engine.next_ready(&mut left), None);
}

#[test]
fn publication_under_a_delivered_offset_is_reported_to_the_store() {
    let mut stage = Stage::new(AuthMode::Off);
    let client = stage.chat(&[CONNECT, r#"{"id":2,"subscribe":{"channel":"c"}}"#]);
    let ticket = stage.asked().ticket;
    stage.answer(Completion::Page { ticket, outcome: Ok(page(9)) });
    let channel = ChannelName::parse("c").expect("valid");
    for time_ms in [1_000, 2_000] {
        let (offset, change) = (Offset(10), Change::None);
        let stored = Stored {
            offset,
            key: None,
            user: "u",
            time_ms,
            change,
            stream: StreamMark::None,
            deleted_by: None,
            data: "1",
        };
        let mut frame = Vec::new();
        push::publication(&mut frame, &channel, &stored);
        let published = Published {
            channel: channel.clone(),
            offset,
            change,
            stream: StreamMark::None,
            time_ms,
            frame: frame.into(),
        };
        stage.broadcasts.push_back(Broadcast::Published(Arc::from([published])));
        stage.turn();
    }
    stage.turn_until(|stage| stage.has(client, r#""offset":10"#));
    assert_eq!(stage.received(client).matches(r#""offset":10"#).count(), 1, "it is not delivered");
    let reads = stage.reads.take().expect("a queue");
    let reported = |read: &&Read| matches!(read, Read::Contradicted(found) if (found.known, found.found) == (Offset(10), Offset(10)));
    assert_eq!(reads.iter().filter(reported).count(), 1, "{reads:?}");
}
