//! Those who come back, and a store whose queue is full.

use super::*;

#[test]
fn reads_for_who_comes_back_wait_while_the_queue_of_the_store_is_full() {
    let mut stage = Stage::new(AuthMode::Off);
    let mut client = stage.chat(&[r#"{"id":1,"connect":{}}"#]);
    stage.turn_until(|_| client.has("connected"));
    // Others ask for more than is read.
    let ticket = Ticket { reactor: ReactorId(7), request: 0 };
    let others = || Read::Heads { ticket, channels: Vec::new() };
    while stage.reactor.queues.read.try_send(others()).is_ok() {}
    client.say(r#"{"id":2,"subscribe":{"channel":"c"}}"#);
    stage.turn_until(|stage| stage.reactor.counters.commands.read() == 2);
    assert_eq!(stage.reactor.counters.recoveries_refused.read(), 0);
    // They are read by and by.
    let request = stage.asked();
    stage.answer(Completion::Page { ticket: request.ticket, outcome: Ok(page(0)) });
    stage.turn_until(|_| client.has(r#""id":2,"subscribed""#));
}
