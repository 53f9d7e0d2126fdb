//! One user uses up a bound; another user does not notice.

use crate::support::token::{SECRET, asymmetric, claims, signed, token, token_of};
use crate::support::wait::{SOON, in_time, until};
use crate::support::{Client, Gateway, Setup};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

fn with_secret() -> Setup {
    Setup::new().env("SEAWALL_AUTH_SECRET", SECRET).arguments(&["--reactors", "2"])
}

fn connect(gateway: &Gateway, user: &str) -> Client {
    Client::open(gateway).with_connect(json!({"token": token_of(user)}))
}

/// Asserts that a user can chat, although another user has used up a share.
fn can_chat(gateway: &Gateway, user: &str) {
    let mut client = connect(gateway, user);
    client.subscribe("lobby");
    let offset = client.publish("lobby", json!(user));
    assert_eq!(client.next_push("publication")["offset"], offset);
    client.ask(json!({"history": {"channel": "lobby"}}), "history");
}

fn publish(client: &mut Client, data: &str) -> Value {
    client.command(json!({"publish": {"channel": "c", "data": data}}))
}

#[test]
fn bytes_that_one_user_publishes_are_bounded_over_all_connections() {
    let gateway = with_secret()
        .limit("publishes_per_s", 0)
        .limit("publish_bytes_per_s", 1_024)
        .limit("publish_bytes_burst", 610_000)
        .start();
    let mut clients: Vec<Client> = (0..4).map(|_| connect(&gateway, "ann")).collect();
    // One more takes the rate most of a minute.
    let data = "x".repeat(60_000);
    let replies: Vec<Value> = (0..24).map(|n| publish(&mut clients[n % 4], &data)).collect();
    let stored = replies.iter().filter(|reply| reply["published"].is_object()).count();
    assert!((10..=11).contains(&stored), "{stored}");
    let refused = replies.last().expect("24 replies");
    assert_eq!(refused["error"]["code"], "rate_limited", "{refused}");
    assert!(refused["error"]["retry_ms"].as_u64().is_some_and(|wait| wait > 0), "{refused}");
    drop(clients);
    let again = publish(&mut connect(&gateway, "ann"), &data);
    assert_eq!(again["error"]["code"], "rate_limited", "a reconnect grants no other burst: {again}");
    can_chat(&gateway, "bob");
}

#[test]
fn publishes_of_one_user_are_bounded_over_all_connections() {
    let gateway = with_secret().limit("publishes_per_s", 1).limit("publishes_burst", 8).start();
    let mut clients: Vec<Client> = (0..4).map(|_| connect(&gateway, "ann")).collect();
    let began = Instant::now();
    let stored = (0..24).filter(|n| publish(&mut clients[n % 4], "x")["published"].is_object()).count();
    // The burst, and one for each second.
    let most = 9 + began.elapsed().as_secs() as usize;
    assert!((8..=most).contains(&stored), "{stored}");
    can_chat(&gateway, "bob");
}

#[test]
fn bytes_of_the_log_that_one_user_reads_are_bounded_over_all_connections() {
    let gateway = with_secret().limit("read_bytes_per_s", 65_536).limit("read_bytes_burst", 1 << 20).start();
    let mut clients: Vec<Client> = (0..2).map(|_| connect(&gateway, "ann")).collect();
    let data = "x".repeat(60_000);
    (0..4).for_each(|_| _ = clients[0].publish("c", json!(data)));
    let history = json!({"history": {"channel": "c"}});
    let (began, mut read) = (Instant::now(), 0);
    let refused = loop {
        let reply = clients[read % 2].command(history.clone());
        if !reply["history"].is_object() {
            break reply;
        }
        read += 1;
        // The burst, and one for each four seconds.
        let most = 6 + began.elapsed().as_secs() as usize / 3;
        assert!(read <= most, "{read} pages of 240 kB");
    };
    assert!(read >= 5, "{read} pages of 240 kB");
    assert_eq!(refused["error"]["code"], "rate_limited", "{refused}");
    // Each turn is as short as a page, which spends what came meanwhile.
    until(SOON, "a replay costs the same", || {
        clients[1].command(history.clone());
        clients[0].command(json!({"subscribe": {"channel": "d"}}))["error"]["code"] == "rate_limited"
    });
    can_chat(&gateway, "bob");
}

#[test]
fn channels_that_one_user_creates_are_bounded_and_others_still_create_some() {
    let gateway = with_secret().limit("publishes_per_s", 0).limit("channels", 30).start();
    let mut clients: Vec<Client> = (0..2).map(|_| connect(&gateway, "ann")).collect();
    let replies: Vec<Value> = (0..30)
        .map(|n| clients[n % 2].command(json!({"publish": {"channel": format!("x{n}"), "data": 1}})))
        .collect();
    let created = replies.iter().filter(|reply| reply["published"].is_object()).count();
    assert_eq!(created, 7, "a quarter of limits.channels");
    let error = &replies[29]["error"];
    assert_eq!(error["code"], "rate_limited", "{error}");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("channels_per_user")), "{error}");
    assert!(error["retry_ms"].as_u64().is_some_and(|wait| (60_000..600_000).contains(&wait)), "{error}");
    assert!(publish_to(&mut clients[0], "x0")["published"].is_object(), "a channel that exists stays open");
    can_chat(&gateway, "bob");
}

fn publish_to(client: &mut Client, channel: &str) -> Value {
    client.command(json!({"publish": {"channel": channel, "data": 1}}))
}

#[test]
fn store_that_is_full_of_channels_says_so_without_a_time_to_retry() {
    let gateway = with_secret().limit("channels", 2).limit("channels_per_user", 10).start();
    let mut ann = connect(&gateway, "ann");
    assert!(["a", "b"].iter().all(|channel| publish_to(&mut ann, channel)["published"].is_object()));
    let refused = publish_to(&mut connect(&gateway, "bob"), "c");
    assert_eq!(refused["error"]["code"], "overloaded", "{refused}");
    assert!(refused["error"]["retry_ms"].is_null(), "{refused}");
    until(SOON, "the gauge is set", || gateway.metric("seawall_store_channels") == 2.0);
    assert_eq!(gateway.metric("seawall_store_channels_max"), 2.0);
    until(SOON, "a warning is logged", || gateway.output().contains("store nearly full of channels"));
}

#[test]
fn token_that_lists_create_creates_channels_only_there() {
    let gateway = with_secret().start();
    let rights =
        json!([{"pattern": "*", "rights": ["publish"]}, {"pattern": "mine.*", "rights": ["create"]}]);
    let claims = json!({"sub": "ann", "exp": 4_000_000_000u64, "channels": rights});
    let mut ann = Client::open(&gateway).with_connect(json!({"token": token(&claims)}));
    let refused = publish_to(&mut ann, "lobby");
    assert_eq!(refused["error"]["code"], "forbidden", "{refused}");
    assert!(publish_to(&mut ann, "mine.1")["published"].is_object());
    connect(&gateway, "bob").publish("lobby", json!(1));
    assert!(publish_to(&mut ann, "lobby")["published"].is_object(), "it exists now");
}

/// Seven RS256 keys, so that a token that names none of them is costly.
fn with_seven_keys() -> Setup {
    let (_, public) = asymmetric(Algorithm::RS256);
    let key = |n: usize| {
        format!("[[auth.keys]]\nkid = \"k{n}\"\nalgorithm = \"RS256\"\npublic_key = \"\"\"{public}\"\"\"\n")
    };
    let toml: String = (0..7).map(key).collect();
    Setup::new().toml(&toml).arguments(&["--reactors", "2"])
}

/// A token like `token` with another content, so that its signature is wrong, and without `kid`.
fn forged(token: &str, n: usize) -> String {
    let signature = token.rsplit('.').next().expect("three parts");
    let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    format!("{}.{}.{signature}", part(json!({"alg": "RS256"})), part(json!({"sub": "ann", "jti": n})))
}

#[test]
fn bad_refreshes_of_one_user_do_not_delay_newcomers() {
    let gateway = with_seven_keys().start();
    let (private, _) = asymmetric(Algorithm::RS256);
    let good = |user: &str| signed(&claims(user), Algorithm::RS256, Some("k6"), &private);
    let ann = good("ann");
    let mut hostile: Vec<Client> =
        (0..32).map(|_| Client::open(&gateway).with_connect(json!({"token": ann}))).collect();
    let newcomers: Vec<String> = (0..60).map(|n| good(&format!("user{n}"))).collect();
    let median = |tokens: &[String]| {
        let mut took: Vec<Duration> = Vec::new();
        for token in tokens {
            let began = Instant::now();
            Client::open(&gateway).with_connect(json!({"token": token}));
            took.push(began.elapsed());
        }
        took.sort();
        took[took.len() / 2]
    };
    let calm = median(&newcomers[..30]);
    // Other tests take the processor at times; without shares, newcomers wait for seconds each time.
    let most = Duration::from_millis(200).max(4 * calm);
    in_time(most, || {
        let (over, mut busy) = (AtomicBool::new(false), Duration::ZERO);
        thread::scope(|scope| {
            scope.spawn(|| {
                // At least some, however late this thread begins.
                for n in (0..30).take_while(|n| *n < 10 || !over.load(Ordering::Relaxed)) {
                    for client in &mut hostile {
                        client.send(json!({"refresh": {"token": forged(&ann, n)}}));
                    }
                    thread::sleep(Duration::from_millis(20));
                }
            });
            busy = median(&newcomers);
            over.store(true, Ordering::Relaxed);
        });
        busy
    });
    until(SOON, "some are refused", || {
        gateway.metrics()["seawall_errors_total{code=\"rate_limited\"}"] > 0.0
    });
}

#[test]
fn subscriptions_to_absent_channels_cost_the_share_of_the_subscriber() {
    let gateway = with_secret().limit("channels", 20).start();
    let mut clients: Vec<Client> = (0..2).map(|_| connect(&gateway, "ann")).collect();
    let subscribe = |n: usize| json!({"subscribe": {"channel": format!("absent{n}")}});
    let replies: Vec<Value> = (0..20).map(|n| clients[n % 2].command(subscribe(n))).collect();
    assert_eq!(replies.iter().filter(|reply| reply["subscribed"].is_object()).count(), 5);
    let error = &replies[19]["error"];
    assert_eq!((&error["code"], &error["retry_ms"]), (&json!("too_large"), &json!(15_000)), "{error}");
    can_chat(&gateway, "bob");
    clients[0].command(json!({"unsubscribe": {"channel": "absent0"}}));
    until(SOON, "one place is free", || clients[1].command(subscribe(21))["subscribed"].is_object());
    drop(clients);
    let mut again = connect(&gateway, "ann");
    until(SOON, "ended connections release their places", || {
        again.command(subscribe(22))["subscribed"].is_object()
    });
}
