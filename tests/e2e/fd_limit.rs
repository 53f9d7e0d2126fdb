//! Without free descriptors the gateway refuses connections, does not spin, and recovers.

use crate::support::{Client, RawClient, SOON, Setup, until};
use serde_json::json;
use std::time::{Duration, Instant};

#[test]
fn connection_without_a_free_descriptor_is_refused_and_the_gateway_does_not_spin() {
    let gateway = Setup::new().descriptors(600).start();
    let mut held = Vec::new();
    let mut refused = 0;
    for _ in 0..700 {
        let Ok(mut client) = Client::try_open(gateway.address, &Default::default()) else {
            refused += 1;
            if refused > 20 {
                break;
            }
            continue;
        };
        // A refused client may be closed before it has sent anything.
        let answered = client.try_send(json!({"connect": {}})).ok().and_then(|id| client.try_reply(id));
        match answered {
            Some(reply) if reply.get("connected").is_some() => held.push(client),
            _ => {
                client.expect_close().is(1013, "over_capacity");
                refused += 1;
            }
        }
        if refused > 20 {
            break;
        }
    }
    assert!(refused > 0, "600 descriptors cannot hold {}", held.len());
    assert!(held.len() > 100, "only {} fit into 600 descriptors", held.len());
    let _queued: Vec<RawClient> = (0..30).map(|_| RawClient::to(&gateway)).collect();
    let (before, start) = (gateway.processor_time(), Instant::now());
    until(SOON, "a second has passed", || start.elapsed() > Duration::from_secs(1));
    let (used, passed) = (gateway.processor_time() - before, start.elapsed());
    assert!(used < passed * 2 / 5, "{used:?} of processor time in {passed:?} without work");
    assert_eq!(held[0].publish("c", json!(1)), 1, "connected clients are served");
    drop(held);
    until(SOON, "descriptors are free again", || {
        let Ok(mut client) = Client::try_open(gateway.address, &Default::default()) else { return false };
        let answered = client.try_send(json!({"connect": {}})).ok().and_then(|id| client.try_reply(id));
        answered.is_some_and(|reply| reply.get("connected").is_some())
    });
}
