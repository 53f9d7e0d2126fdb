//! A client that does not know whether its publication was stored sends it again under the same key.

use crate::support::{Client, Gateway, SOON, Upgrade, until};
use seawall_fault::{Direction, Mode, Proxy};
use serde_json::json;

#[test]
fn publish_repeated_after_a_lost_reply_is_stored_once() {
    let gateway = Gateway::start();
    let proxy = Proxy::start(gateway.address).expect("the proxy starts");
    let faults = [Mode::ResetOnce(20), Mode::ResetOnce(1), Mode::HalfOpen(Direction::Answers)];
    for (offset, fault) in (1u64..).zip(faults) {
        let publish = json!({"publish": {"channel": "c", "key": offset.to_string(), "data": offset}});
        let mut client = Client::open_with(proxy.address(), &Upgrade::default()).with_connect(json!({}));
        proxy.set(fault);
        let before = proxy.stats().request_bytes;
        let id = client.send(publish.clone());
        until(SOON, "the gateway has read the request", || proxy.stats().request_bytes > before);
        if fault == Mode::HalfOpen(Direction::Answers) {
            let mut reader = Client::connect(&gateway);
            let head = |client: &mut Client| {
                client.ask(json!({"history": {"channel": "c", "limit": 1}}), "history")["head"].as_u64()
            };
            until(SOON, "it is stored", || head(&mut reader) == Some(offset));
            proxy.cut();
            proxy.set(Mode::Pass);
        }
        assert_eq!(client.try_reply(id), None, "{fault}");
        let mut again = Client::open_with(proxy.address(), &Upgrade::default()).with_connect(json!({}));
        let published = again.ask(publish, "published");
        assert_eq!(
            (&published["offset"], &published["duplicate"]),
            (&json!(offset), &json!(true)),
            "{fault}"
        );
    }
}
