//! A recovery that waits for its turn while its subscriber changes its mind.

use super::{Client, Stage, page};
use crate::id::ChannelName;
use crate::job::{Completion, PageRequest, Span};
use crate::limits::RECOVERIES_AT_ONCE;
use crate::session::AuthMode;

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
