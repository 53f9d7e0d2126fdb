//! All clients reconnect at once: each is admitted in the end, and the store gets few reads.

use crate::support::{Client, Closed, Gateway, SOON, Setup, until};
use serde_json::{Value, json};
use std::thread;
use std::time::{Duration, Instant};

/// Admitted at once by each reactor, however low the rate.
const BACKLOG_LEAST: usize = 256;

/// Sends `connect`, and returns the close if that is the answer.
fn connect(gateway: &Gateway) -> Result<Client, Closed> {
    let mut client = Client::open(gateway);
    // A deferred client may be closed before it has sent anything.
    let answered = client.try_send(json!({"connect": {}})).ok().and_then(|id| client.try_reply(id));
    match answered {
        Some(reply) if reply.get("connected").is_some() => Ok(client),
        _ => Err(client.expect_close()),
    }
}

#[test]
fn deferred_client_is_admitted_after_its_retry_ms() {
    let gateway = Setup::new().limit("admissions_per_s", 24).start();
    let (mut held, mut later) = (Vec::new(), Vec::new());
    // As many as two reactors admit at once, those they admit meanwhile, and some more.
    let start = Instant::now();
    while later.len() < 60 {
        assert!(held.len() < 8 * BACKLOG_LEAST, "no client is deferred");
        match connect(&gateway) {
            Ok(client) => held.push(client),
            Err(closed) => {
                closed.is(1013, "over_capacity");
                let bye = closed.bye.as_ref().expect("a bye with the reason and retry_ms");
                assert!(closed.reason.contains("limits.admissions_per_s"), "{closed:?}");
                later
                    .push(start.elapsed() + Duration::from_millis(bye["retry_ms"].as_u64().expect("a wait")));
            }
        }
    }
    later.sort();
    assert!(later[59] - later[0] > Duration::from_millis(1_000), "all would reconnect at once: {later:?}");
    assert!(later[59] < start.elapsed() + Duration::from_secs(20), "bounded: {later:?}");
    let mut deferred = later.len();
    for at in later {
        until(2 * SOON, "its wait is over", || start.elapsed() >= at);
        // New clients that connected in between took tokens from the same bucket.
        let mut attempts = 0;
        let client = loop {
            attempts += 1;
            assert!(attempts <= 3, "no client is deferred again and again");
            match connect(&gateway) {
                Ok(client) => break client,
                Err(closed) => {
                    deferred += 1;
                    let wait = closed.bye.as_ref().and_then(|bye| bye["retry_ms"].as_u64()).expect("a wait");
                    let at = start.elapsed() + Duration::from_millis(wait);
                    until(2 * SOON, "its wait is over", || start.elapsed() >= at);
                }
            }
        };
        held.push(client);
    }
    gateway.shows("seawall_handshakes_admitted_total", held.len() as f64);
    gateway.shows("seawall_handshakes_deferred_total", deferred as f64);
    assert!(gateway.metric("seawall_handshake_cost_seconds") > 0.0);
    assert!(gateway.metric("seawall_admissions_per_second") >= 50.0);
}

#[test]
fn recovery_after_a_crash_reads_the_store_per_channel_not_per_client() {
    const CHANNELS: usize = 8;
    const CLIENTS: usize = 25;
    let gateway = Setup::new().unlimited().start();
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
    let (before, began) = (gateway.metric("seawall_store_reads_total"), Instant::now());
    thread::scope(|scope| {
        for (channel, epoch) in epochs.iter().enumerate() {
            let gateway = &gateway;
            scope.spawn(move || {
                let mut all: Vec<Client> =
                    (0..CLIENTS).map(|n| recovers(gateway, channel, epoch, 40 - n as u64 % 20)).collect();
                let offset = all[0].publish(&format!("c{channel}"), json!("live"));
                assert!(
                    all.iter_mut().all(|client| client.offsets(1) == [offset]),
                    "live publications follow"
                );
            });
        }
    });
    let reads = gateway.metric("seawall_store_reads_total") - before;
    // Two for each channel and reactor: the first client's, and one for clients with lower cursors. A publication while
    // a position is read may cost one more, and the probe and the poll of the heads add a few, more on a
    // machine that is busy for longer.
    let most = (CHANNELS * 2 * 2 + CHANNELS + 6) as f64 + 3.0 * began.elapsed().as_secs_f64();
    assert!(reads <= most, "{reads} reads for {} clients", CHANNELS * CLIENTS);
}

/// Connects with a cursor, and reads what it missed.
fn recovers(gateway: &Gateway, channel: usize, epoch: &str, offset: u64) -> Client {
    let recover = json!([{"channel": format!("c{channel}"), "epoch": epoch, "offset": offset}]);
    let mut client = Client::open(gateway).with_connect(json!({"recover": recover}));
    assert_eq!(client.connected["recovered"][0]["recovered"], true);
    assert!(client.offsets((40 - offset) as usize).into_iter().eq(offset + 1..=40), "each once, in order");
    assert_eq!(client.next_push("synced")["offset"], 40);
    client
}
