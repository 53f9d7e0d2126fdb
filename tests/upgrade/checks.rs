//! The checks that a gateway passes, whichever program it runs and whichever other one uses its store.

use crate::clients::FROM_THE_LOG_WITHIN;
use crate::support::wait::{SOON, comes_true, until};
use crate::support::{Client, Gateway};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// `retention.publications`: more than a channel of the authors gets in a run.
pub const RETAINED: u64 = 1_000;
/// Publications to the channel that retention cuts, in each check.
const FURTHER: u64 = 20;

/// Sends a command until it is not refused for a moment, as after the loss of a connection to the store. A publish has a key.
#[track_caller]
fn ask(client: &mut Client, command: &Value, kind: &str) -> Value {
    let mut answer = Value::Null;
    let answered = comes_true(SOON, || {
        let mut reply = client.command(command.clone());
        let code = reply["error"]["code"].as_str().unwrap_or_default();
        assert!(matches!(code, "" | "unavailable" | "unconfirmed"), "{command}: {reply}");
        answer = reply[kind].take();
        !answer.is_null()
    });
    assert!(answered, "{command} is refused");
    answer
}

fn publish(client: &mut Client, channel: &str, key: &str, mut change: Value) -> Value {
    change["channel"] = json!(channel);
    change["key"] = json!(key);
    ask(client, &json!({"publish": change}), "published")
}

fn history(client: &mut Client, channel: &str) -> Value {
    ask(client, &json!({"history": {"channel": channel, "limit": 100}}), "history")
}

/// Publishes at one gateway, and at the other repeats, edits, deletes, reads and recovers; then retention at both.
pub fn works(one: &Gateway, other: &Gateway, channel: &str) {
    let (mut here, mut there) = (Client::connect(one), Client::connect(other));
    for n in 1..=4 {
        let published = publish(&mut here, channel, &format!("{channel}-{n}"), json!({"data": n}));
        assert_eq!(published["offset"], json!(n), "{channel}");
    }
    let repeated = publish(&mut there, channel, &format!("{channel}-2"), json!({"data": 2}));
    assert_eq!((&repeated["offset"], &repeated["duplicate"]), (&json!(2), &json!(true)), "stored twice");
    let edit = publish(&mut there, channel, &format!("{channel}-e"), json!({"edits": 1, "data": "one"}));
    let delete = publish(&mut there, channel, &format!("{channel}-d"), json!({"deletes": 2, "data": null}));
    assert_eq!((&edit["offset"], &delete["offset"]), (&json!(5), &json!(6)));
    let page = history(&mut here, channel);
    assert_eq!(page, history(&mut there, channel), "the logs differ");
    let deleted = &page["publications"][1];
    assert_eq!((&deleted["data"], &deleted["deleted_by"]), (&Value::Null, &json!(6)));
    for gateway in [one, other] {
        recovers(gateway, channel, &page);
        cuts(gateway);
    }
}

/// A publication at one gateway reaches a subscriber at the other, over the bus or from the log. Returns the time it took.
pub fn crosses(one: &Gateway, other: &Gateway, channel: &str) -> Duration {
    let mut subscriber = Client::connect(other);
    ask(&mut subscriber, &json!({"subscribe": {"channel": channel}}), "subscribed");
    let start = Instant::now();
    publish(&mut Client::connect(one), channel, "crosses", json!({"data": 1}));
    let came = subscriber.next_push_within("publication", FROM_THE_LOG_WITHIN);
    assert_eq!(came.expect("it comes")["offset"], json!(1));
    start.elapsed()
}

fn recovers(gateway: &Gateway, channel: &str, page: &Value) {
    let mut client = Client::connect(gateway);
    let command =
        json!({"subscribe": {"channel": channel, "recover": {"epoch": page["epoch"], "offset": 3}}});
    let mut subscribed = Value::Null;
    until(SOON, "the log is read", || {
        subscribed = ask(&mut client, &command, "subscribed");
        subscribed["because"] != json!("unavailable")
    });
    assert_eq!(subscribed["recovered"], json!(true), "{subscribed}");
    for offset in 4..=6 {
        let publication = client.next_push("publication");
        assert_eq!(publication["offset"], json!(offset), "{publication}");
    }
}

/// The gateway that stores publications beyond the bound deletes the oldest ones.
fn cuts(gateway: &Gateway) {
    const CHANNEL: &str = "deep";
    let mut client = Client::connect(gateway);
    let mut head = history(&mut client, CHANNEL)["head"].as_u64().expect("a head");
    let further = RETAINED.saturating_sub(head) + FURTHER;
    let sent: Vec<u64> = (0..further)
        .map(|n| {
            client.send(json!({"publish": {"channel": CHANNEL, "key": format!("{head}+{n}"), "data": n}}))
        })
        .collect();
    for id in sent {
        // One that is refused is not needed.
        client.reply(id);
    }
    until(SOON, "retention cuts the log", || {
        let page = history(&mut client, CHANNEL);
        let floor = page["floor"].as_u64().expect("a floor");
        head = page["head"].as_u64().expect("a head");
        head > RETAINED && floor == head - RETAINED + 1
    });
}
