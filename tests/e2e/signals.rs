//! Signals reach the current subscribers and are not stored.

use crate::support::{Client, Gateway, Setup};
use serde_json::json;

#[test]
fn signal_reaches_other_subscribers_and_is_not_stored() {
    let gateway = Gateway::start();
    let (mut a, mut b) = (Client::connect(&gateway), Client::connect(&gateway));
    a.subscribe("c");
    b.subscribe("c");
    a.send_text(r#"{"signal":{"channel":"c","data":{"typing":true}}}"#);
    let signal = b.next_push("signal");
    assert_eq!(signal["channel"], "c");
    assert_eq!(signal["user"], "anonymous");
    assert_eq!(signal["data"], json!({"typing": true}));
    assert_eq!(signal.get("offset"), None);
    let page = b.ask(json!({"history": {"channel": "c"}}), "history");
    assert_eq!((&page["head"], page["publications"].as_array().unwrap().len()), (&json!(0), 0));
}

#[test]
fn signal_reaches_subscribers_on_other_reactors() {
    let gateway = Setup::new().arguments(&["--reactors", "2"]).start();
    let mut clients: Vec<Client> = (0..6).map(|_| Client::connect(&gateway)).collect();
    for client in &mut clients {
        client.subscribe("c");
    }
    let (first, others) = clients.split_first_mut().unwrap();
    first.send_text(r#"{"signal":{"channel":"c","data":1}}"#);
    for other in others {
        assert_eq!(other.next_push("signal")["data"], 1);
    }
}

#[test]
fn signal_without_a_subscription_is_refused() {
    let gateway = Gateway::start();
    let (mut a, mut b) = (Client::connect(&gateway), Client::connect(&gateway));
    b.subscribe("c");
    a.send_text(r#"{"signal":{"channel":"c","data":1}}"#);
    assert_eq!(a.next_push("error")["code"], "not_subscribed");
    assert!(a.is_open());
    b.expect_no("signal");
}
