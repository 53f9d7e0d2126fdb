//! Recoveries that wait for their turn, and what they share.

use super::{Client, Stage, page};
use crate::id::{ChannelName, Offset};
use crate::job::{Completion, Page, PageRequest, Span};
use crate::limits::{RECOVERIES_AT_ONCE, REPLAYS_PER_READ};
use crate::session::AuthMode;
use crate::wire::server_frame::{self, Kind};

const CONNECT: &str = r#"{"id":1,"connect":{}}"#;

/// Says that the channel's head is 9 and that nothing of it was read.
fn answer(stage: &mut Stage, request: &PageRequest) {
    stage.answer(Completion::Page { ticket: request.ticket, outcome: Ok(page(9)) });
}

/// The channel whose page waits for its turn.
fn in_line(stage: &Stage) -> Option<ChannelName> {
    stage.reactor.recoveries.channels().next().cloned()
}

/// One who subscribes to as many channels as there are places, of which two are taken.
fn crowd(stage: &mut Stage) -> Client {
    let mut client = stage.chat(&[CONNECT]);
    let crowd = stage.reactor.counters.accepted.read();
    for index in 0..RECOVERIES_AT_ONCE {
        client.say(&format!(r#"{{"id":{},"subscribe":{{"channel":"d{crowd}-{index}"}}}}"#, index + 2));
    }
    stage.turn_until(|stage| stage.reactor.recoveries.waiting() == 2);
    client
}

#[test]
fn who_leaves_a_channel_whose_page_waits_for_its_turn_gets_those_of_the_others() {
    let mut stage = Stage::new(AuthMode::Off);
    let mut client = stage.chat(&[
        CONNECT,
        r#"{"id":2,"subscribe":{"channel":"c0","last":9}}"#,
        r#"{"id":3,"subscribe":{"channel":"c1","last":9}}"#,
    ]);
    let mut tails = vec![stage.asked(), stage.asked()];
    // What is read for all brings nothing, several times, until a page is to be read that is for this subscriber alone. Each
    // time others have taken all places before.
    let mut others = Vec::new();
    let left = loop {
        others.push(crowd(&mut stage));
        for tail in tails.drain(..) {
            answer(&mut stage, &tail);
        }
        if let Some(channel) = in_line(&stage) {
            break channel;
        }
        while tails.len() < 2 {
            let request = stage.asked();
            match request.channel.as_str().starts_with('c') {
                true => tails.push(request),
                false => answer(&mut stage, &request),
            }
        }
    };

    client.say(&format!(r#"{{"id":4,"unsubscribe":{{"channel":"{left}"}}}}"#));
    stage.turn_until(|_| client.has(r#""id":4,"unsubscribed""#));
    assert!(in_line(&stage).is_some(), "its turn had come");
    let next = loop {
        let request = stage.asked();
        if request.channel.as_str().starts_with('c') {
            break request;
        }
        answer(&mut stage, &request);
    };
    assert_ne!(next.channel, left);
    assert!(matches!(next.span, Span::After(_)), "{next:?}");
}

#[test]
fn a_page_that_many_lack_is_shared_and_each_is_sent_it_once() {
    const MANY: usize = RECOVERIES_AT_ONCE + 1 + REPLAYS_PER_READ + 10;
    let mut stage = Stage::new(AuthMode::Off);
    let mut clients: Vec<Client> = (0..MANY).map(|_| stage.chat(&[CONNECT])).collect();
    stage.turn_until(|_| clients.iter_mut().all(|client| client.has(r#""connected""#)));
    // No turn comes between them: on a busy machine the first ones would be served before the others ask.
    for client in &mut clients {
        client.say(r#"{"id":2,"subscribe":{"channel":"c","last":9}}"#);
    }
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
