//! Commands over a rate are refused with `retry_ms`; a client that ignores it is closed.

use crate::support::{Client, SOON, Setup, until};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn publish(client: &mut Client) -> Value {
    client.command(json!({"publish": {"channel": "c", "data": 1}}))
}

#[test]
fn publish_over_the_burst_is_refused_until_retry_ms() {
    let gateway = Setup::new().limit("publishes_per_s", 2).limit("publishes_burst", 3).start();
    let mut client = Client::connect(&gateway);
    assert_eq!(client.connected["limits"]["publishes_burst"], 3);
    let mut stored = 0;
    let refused = loop {
        let reply = publish(&mut client);
        let Some(published) = reply.get("published") else { break reply };
        stored += 1;
        assert_eq!(published["offset"], stored);
        assert!(stored < 50, "no publish is refused");
    };
    assert!(stored >= 3, "{stored}");
    let retry_ms = refused["error"]["retry_ms"].as_u64().unwrap_or_else(|| panic!("retry_ms: {refused}"));
    assert_eq!(refused["error"]["code"], "rate_limited");
    assert!((1..=500).contains(&retry_ms), "{refused}");
    let deadline = Instant::now() + Duration::from_millis(retry_ms);
    until(SOON, "retry_ms has passed", || Instant::now() >= deadline);
    assert_eq!(publish(&mut client)["published"]["offset"], stored + 1);
    let mut other = Client::connect(&gateway);
    assert_eq!(publish(&mut other)["published"]["offset"], stored + 2, "each connection has its own limit");
}

#[test]
fn other_commands_have_their_own_limit() {
    let gateway = Setup::new().limit("commands_per_s", 1).limit("commands_burst", 5).start();
    let mut client = Client::connect(&gateway);
    let began = Instant::now();
    let ids: Vec<u64> = (0..20).map(|_| client.send(json!({"history": {"channel": "c"}}))).collect();
    let refused = ids.iter().filter(|id| client.reply(**id)["error"]["code"] == "rate_limited").count();
    // One a second is answered.
    let answered = 20 - refused;
    assert!((5..=6 + began.elapsed().as_secs() as usize).contains(&answered), "{answered}");
    assert_eq!(client.publish("c", json!(1)), 1, "publishes have a separate limit");
}

#[test]
fn client_that_ignores_the_limit_is_closed() {
    let gateway = Setup::new().limit("publishes_per_s", 1).limit("publishes_burst", 1).start();
    let mut client = Client::connect(&gateway);
    for _ in 0..150 {
        if client.try_send(json!({"publish": {"channel": "c", "data": 1}})).is_err() {
            break;
        }
    }
    let closed = client.expect_close();
    closed.is(4429, "rate_limited");
    assert!(closed.bye.unwrap()["retry_ms"].as_u64().is_some_and(|retry| retry > 0));
}

#[test]
fn eleventh_malformed_command_in_a_minute_is_misuse() {
    let gateway = Setup::new().start();
    let mut client = Client::connect(&gateway);
    for _ in 0..10 {
        client.send_text("{");
        assert_eq!(client.next_push("error")["code"], "malformed");
    }
    assert!(client.is_open());
    client.send_text("{");
    client.expect_close().is(4500, "misuse");
}
