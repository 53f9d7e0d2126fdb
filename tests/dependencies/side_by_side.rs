//! One test can start a gateway and all its dependencies, and make each fail alone.

use crate::dependencies::proxied;
use crate::servers::{Answer, Reply, redis};
use crate::support::raw::dial;
use crate::support::{Client, Gateway, RawClient};
use seawall_fault::Mode;
use serde_json::json;

#[test]
fn each_proxy_fails_alone_and_recovers() {
    let (store, bus, auth) = (proxied::postgres(), proxied::redis(), proxied::http());
    let gateway = Gateway::start();
    let mut client = Client::connect(&gateway);
    auth.server.answer("/introspect", Answer::json(200, r#"{"active":true}"#));
    let ask_store = || store.server.try_sql_at(store.address(), "SELECT 1");
    let ask_bus = || redis::ask(bus.address(), &["PING"]);
    let ask_auth = || {
        let stream = dial(auth.address(), None, None).ok()?;
        Some(RawClient::from(stream).fetch("GET", "/introspect").json()["active"] == json!(true))
    };
    for down in 0..3 {
        let proxies = [&store.proxy, &bus.proxy, &auth.proxy];
        proxies[down].set(Mode::Refuse);
        let up = [ask_store().is_ok(), ask_bus().is_ok(), ask_auth().is_some()];
        assert_eq!(up, [down != 0, down != 1, down != 2]);
        proxies[down].set(Mode::Pass);
        assert_eq!(client.publish("c", json!(down)), down as u64 + 1, "this gateway uses none of them");
    }
    assert_eq!(ask_store(), Ok("1".into()));
    assert_eq!(ask_bus().expect("it answers"), Reply::Status("PONG".into()));
    assert_eq!(ask_auth(), Some(true));
}
