//! Recoveries that wait for their turn, and the reads that they share.

use super::*;
use crate::limits::REPLAYS_PER_READ;
use crate::wire::server_frame::{self, Opcode};

/// Answers that the channel's head is 9, with an empty page.
fn answer(stage: &mut Stage, request: &PageRequest) {
    stage.answer(Completion::Page { ticket: request.ticket, outcome: Ok(page(9)) });
}

/// The channel with a page whose read waits.
fn in_line(stage: &Stage) -> Option<ChannelName> {
    stage.engine.reads.recoveries.channels().next().cloned()
}

/// A client that subscribes to as many channels as there are places, two of which are taken.
fn crowd(stage: &mut Stage) -> Client {
    let client = stage.chat(&[CONNECT]);
    let crowd = stage.engine.len();
    for index in 0..RECOVERIES_AT_ONCE {
        stage.say(client, &format!(r#"{{"id":{},"subscribe":{{"channel":"d{crowd}-{index}"}}}}"#, index + 2));
    }
    stage.turn_until(|stage| stage.engine.reads.recoveries.waiting() == 2);
    client
}

#[test]
fn client_that_leaves_a_channel_with_a_waiting_page_gets_its_other_pages() {
    let mut stage = Stage::new(AuthMode::Off);
    let client = stage.chat(&[
        CONNECT,
        r#"{"id":2,"subscribe":{"channel":"c0","last":9}}"#,
        r#"{"id":3,"subscribe":{"channel":"c1","last":9}}"#,
    ]);
    let mut tails = vec![stage.asked(), stage.asked()];
    // Shared reads bring nothing several times, until a page is read for this subscriber alone. Each time other clients have
    // taken all places before.
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

    stage.say(client, &format!(r#"{{"id":4,"unsubscribe":{{"channel":"{left}"}}}}"#));
    stage.turn_until(|stage| stage.has(client, r#""id":4,"unsubscribed""#));
    assert!(in_line(&stage).is_some(), "its read was made already");
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
fn page_that_many_lack_is_shared_and_sent_to_each_once() {
    const MANY: usize = RECOVERIES_AT_ONCE + 1 + REPLAYS_PER_READ + 10;
    let mut stage = Stage::new(AuthMode::Off);
    let mut clients: Vec<Client> = (0..MANY).map(|_| stage.chat(&[CONNECT])).collect();
    stage.turn_until(|stage| clients.iter().all(|client| stage.has(*client, r#""connected""#)));
    for client in &clients {
        stage.say(*client, r#"{"id":2,"subscribe":{"channel":"c","last":9}}"#);
    }
    // The shared reads bring nothing, so each client needs a page of its own.
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
    stage.turn_until(|stage| stage.engine.tally.commands.read() == 2 * MANY as u64);
    // One of them leaves: the page is read for the others.
    let left = clients.pop().expect("many");
    stage.leave(left);
    stage.turn_until(|stage| stage.engine.len() == MANY - 1);
    let mut frames = Vec::new();
    for offset in 1..=9 {
        server_frame::write(&mut frames, Opcode::Text, format!("<{offset}>").as_bytes());
    }
    let whole = || Page { count: 9, first: Offset(1), last: Offset(9), body: frames.clone(), ..page(9) };
    for ticket in own {
        stage.answer(Completion::Page { ticket, outcome: Ok(whole()) });
    }
    while stage.engine.pending.recoveries() > 0 {
        let request = stage.asked();
        let read = match request.span {
            Span::After(_) => whole(),
            Span::Before(_) => page(9),
        };
        stage.answer(Completion::Page { ticket: request.ticket, outcome: Ok(read) });
    }
    let pages = stage.engine.tally.replay_pages.read() as usize;
    assert!(pages < MANY - REPLAYS_PER_READ / 4, "{pages} pages for {MANY} that lack the same");
    stage.turn_until(|stage| clients.iter().all(|client| stage.has(*client, r#""synced""#)));
    for client in &clients {
        let got = stage.received(*client).matches("<9>").count();
        assert_eq!(got, 1, "once");
    }
}
