//! Readers of streams.

use super::*;
use crate::job::StreamRequest;
use crate::job::stream::{News, StreamNews, WholeStream};
use crate::wire::server_frame::{self, Opcode};
use crate::wire::stream::{Generation, Position, StreamId, StreamState};

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

/// A subscriber of the channel, which has an open stream and the log up to its begin. Answers with the read of the streams.
fn joining(stage: &mut Stage) -> (Client, Ticket) {
    let client = stage.chat(&[CONNECT, r#"{"id":2,"subscribe":{"channel":"c"}}"#]);
    let position = stage.asked();
    let found = Page { has_streams: true, ..page(5) };
    stage.answer(Completion::Page { ticket: position.ticket, outcome: Ok(found) });
    let mut ticket = None;
    stage.turn_until(|stage| {
        ticket = match stage.reads.as_mut().and_then(VecDeque::pop_front) {
            Some(Read::Stream(StreamRequest { ticket, offset: None, known: None, .. })) => Some(ticket),
            _ => None,
        };
        ticket.is_some()
    });
    (client, ticket.expect("it came"))
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
    let mut again = None;
    stage.turn_until(|stage| {
        again = match stage.reads.as_mut().and_then(VecDeque::pop_front) {
            Some(Read::Stream(request)) => Some(request.ticket),
            _ => None,
        };
        again.is_some()
    });
    let ticket = again.expect("it came");
    stage.answer(Completion::StreamRead { ticket, outcome: Ok(vec![whole(4)]) });
    stage.turn();
    assert_eq!(shown(&stage, client), ["synced", "whole to 4"]);
}
