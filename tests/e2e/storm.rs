//! Everybody comes back at once: nobody is left out, and the store hears little of it.

use crate::support::{Client, Closed, Gateway, SOON, Setup, until};
use serde_json::{Value, json};
use std::thread;
use std::time::{Duration, Instant};

/// Let in at once by each reactor, however small the rate.
const BACKLOG_LEAST: usize = 256;

/// Sends `connect`; the close, if that is the answer.
fn connect(gateway: &Gateway) -> Result<Client, Closed> {
    let mut client = Client::open(gateway);
    // Who is told to come back may be gone before it said anything.
    let answered = client.try_send(json!({"connect": {}})).ok().and_then(|id| client.try_reply(id));
    match answered {
        Some(reply) if reply.get("connected").is_some() => Ok(client),
        _ => Err(client.expect_close()),
    }
}

#[test]
fn who_is_over_the_rate_is_told_when_to_come_back_and_let_in_then() {
    let gateway = Setup::new().limit("admissions_per_s", 40).start();
    let (mut held, mut later) = (Vec::new(), Vec::new());
    // As many as fit at once into two reactors, what they let in meanwhile, and some more.
    let start = Instant::now();
    while later.len() < 60 {
        assert!(held.len() < 8 * BACKLOG_LEAST, "nobody is told to come back");
        match connect(&gateway) {
            Ok(client) => held.push(client),
            Err(closed) => {
                closed.is(1013, "over_capacity");
                let bye = closed.bye.as_ref().expect("why, and when to come back");
                assert!(closed.reason.contains("limits.admissions_per_s"), "{closed:?}");
                later.push(start.elapsed() + Duration::from_millis(bye["retry_ms"].as_u64().expect("when")));
            }
        }
    }
    later.sort();
    assert!(later[59] - later[0] > Duration::from_millis(1_000), "all would come back at once: {later:?}");
    assert!(later[59] < start.elapsed() + Duration::from_secs(20), "bounded: {later:?}");
    let mut deferred = later.len();
    for at in later {
        until(2 * SOON, "its place comes", || start.elapsed() >= at);
        // Those who came for the first time after it was told took of the same bucket.
        let mut attempts = 0;
        let client = loop {
            attempts += 1;
            assert!(attempts <= 3, "nobody is left out");
            match connect(&gateway) {
                Ok(client) => break client,
                Err(closed) => {
                    deferred += 1;
                    let wait = closed.bye.as_ref().and_then(|bye| bye["retry_ms"].as_u64()).expect("when");
                    let at = start.elapsed() + Duration::from_millis(wait);
                    until(2 * SOON, "its place comes", || start.elapsed() >= at);
                }
            }
        };
        held.push(client);
    }
    let count = |name: &str| gateway.metric(name) as usize;
    let counted = (count("seawall_handshakes_admitted_total"), count("seawall_handshakes_deferred_total"));
    assert_eq!(counted, (held.len(), deferred));
    assert!(gateway.metric("seawall_handshake_cost_us") > 0.0);
    assert!(gateway.metric("seawall_admissions_per_s") >= 50.0);
}

#[test]
fn after_a_crash_the_store_is_read_for_each_channel_and_not_for_each_client() {
    const CHANNELS: usize = 8;
    const CLIENTS: usize = 25;
    let gateway = Setup::new().unhurried().start();
    let mut publisher = Client::connect(&gateway);
    let mut epochs = Vec::new();
    for channel in 0..CHANNELS {
        let ids: Vec<u64> = (0..40)
            .map(|n| publisher.send(json!({"publish": {"channel": format!("c{channel}"), "data": n}})))
            .collect();
        let replies: Vec<Value> = ids.into_iter().map(|id| publisher.reply(id)).collect();
        epochs.push(replies[39]["published"]["epoch"].as_str().expect("an epoch").to_string());
    }
    let gateway = gateway.kill9().start();
    let before = gateway.metric("seawall_store_reads_total");
    thread::scope(|scope| {
        for (channel, epoch) in epochs.iter().enumerate() {
            let gateway = &gateway;
            scope.spawn(move || {
                let mut all: Vec<Client> =
                    (0..CLIENTS).map(|n| recovers(gateway, channel, epoch, 40 - n as u64 % 20)).collect();
                let offset = all[0].publish(&format!("c{channel}"), json!("live"));
                assert!(all.iter_mut().all(|client| client.offsets(1) == [offset]), "and goes on");
            });
        }
    });
    let reads = gateway.metric("seawall_store_reads_total") - before;
    // Two for each channel and reactor: the first comer's, and one for those whose cursors are lower. What is published
    // while a position is read may cost one more, and the probe and the round over the heads are a few.
    let most = (CHANNELS * 2 * 2 + CHANNELS + 6) as f64;
    assert!(reads <= most, "{reads} reads for {} clients", CHANNELS * CLIENTS);
}

/// Connects with a cursor, and takes what it lacks.
fn recovers(gateway: &Gateway, channel: usize, epoch: &str, offset: u64) -> Client {
    let recover = json!([{"channel": format!("c{channel}"), "epoch": epoch, "offset": offset}]);
    let mut client = Client::open(gateway).with_connect(json!({"recover": recover}));
    assert_eq!(client.connected["recovered"][0]["recovered"], true);
    assert!(client.offsets((40 - offset) as usize).into_iter().eq(offset + 1..=40), "each once, in order");
    assert_eq!(client.next_push("synced")["offset"], 40);
    client
}
