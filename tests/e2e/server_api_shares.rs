//! Shares of the server API: what one backend uses up is not gone for the others.

use crate::support::RawClient;
use crate::support::backend::{Backend, KEY, READER, address_of, is_problem, setup};
use crate::support::wait::{SOON, in_time, until};
use rustix::process::Signal;
use serde_json::json;
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const SLOW: &str = "slow-0123456789012345678901234567890123456789";

/// The head of a request whose body does not follow.
fn head(length: usize) -> String {
    format!(
        "POST /v1/publish HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {KEY}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
    )
}

#[test]
fn backend_that_holds_connections_leaves_half_of_them_to_others() {
    let gateway = setup().env("SEAWALL_API_CONNECTIONS", "4").start();
    let body = json!({"channel": "a", "data": 1}).to_string();
    let begin = || {
        let mut raw = RawClient::from(TcpStream::connect(address_of(&gateway)).expect("it listens"));
        raw.write(head(body.len()).as_bytes());
        raw
    };
    let mut held: Vec<RawClient> = (0..2)
        .map(|_| {
            let mut raw = begin();
            assert_eq!(raw.head().status, 100, "its body is awaited");
            raw
        })
        .collect();
    for _ in 0..5 {
        let mut raw = begin();
        let response = raw.response();
        let problem = is_problem(&response, 503, "overloaded");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("api.connections")));
        assert_eq!(response.header("connection"), Some("close"), "its body is not read");
    }
    let mut others: Vec<Backend> = Vec::new();
    for _ in 0..2 {
        let mut reader = Backend::with(&gateway, READER);
        assert_eq!(reader.get("/v1/channels/room.7").status, 200);
        others.push(reader);
    }
    for reader in &mut others {
        assert_eq!(reader.get("/v1/channels/room.7").status, 200, "both have a seat");
    }
    for raw in &mut held {
        raw.write(body.as_bytes());
        assert_eq!(raw.response().status, 200);
    }
}

#[test]
fn peers_without_a_key_that_do_not_read_leave_a_place_to_a_backend() {
    let request = "GET /v1/openapi.json HTTP/1.1\r\nHost: api\r\n\r\n".repeat(400);
    // Less than the time after which an answer that is not read is given up.
    in_time(Duration::from_secs(4), || {
        let gateway = setup().env("SEAWALL_API_CONNECTIONS", "2").start();
        let unread: Vec<TcpStream> = (0..2)
            .map(|_| {
                let mut stream = TcpStream::connect(address_of(&gateway)).expect("it listens");
                stream.write_all(request.as_bytes()).expect("sent");
                stream
            })
            .collect();
        until(SOON, "some answers are on their way", || {
            unread.iter().all(|stream| stream.peek(&mut [0]).is_ok_and(|length| length > 0))
        });
        let begun = Instant::now();
        assert_eq!(Backend::of(&gateway).get("/v1/channels/room.7").status, 200);
        begun.elapsed()
    });
}

#[test]
fn key_over_its_rate_gets_429_and_others_do_not() {
    let slow = |rate: u32| {
        format!(
            "[[api.keys]]\nname = \"slow\"\nsecret = \"{SLOW}\"\nrights = [\"publish\", \"signal\"]\nchannels = [\"*\"]\n\
             publishes_per_s = {rate}\nsignals_per_s = 1\n"
        )
    };
    let gateway = setup().toml(&slow(2)).start();
    let mut backend = Backend::with(&gateway, SLOW);
    let items: Vec<_> = (0..6).map(|n| json!({"channel": "a", "data": n})).collect();
    assert_eq!(backend.post("/v1/batch", &json!({"items": items})).json()["stored"], 6, "at once");
    let one = json!({"channel": "a", "data": 7});
    // A busy machine may take longer than the rate needs for one more.
    let mut stored = 6;
    let response = loop {
        let response = backend.post("/v1/publish", &one);
        if response.status != 200 || stored == 60 {
            break response;
        }
        stored += 1;
    };
    let problem = is_problem(&response, 429, "rate_limited");
    let retry_ms = problem["retry_ms"].as_u64().expect("a wait");
    assert!((1..=2_500).contains(&retry_ms), "{retry_ms}");
    assert_eq!(response.header("retry-after").map(str::to_owned), Some(retry_ms.div_ceil(1_000).to_string()));
    assert_eq!(Backend::of(&gateway).publish(&one)["offset"], stored + 1, "another key has its own rate");

    let signal = json!({"channel": "a", "data": 1});
    assert_eq!(backend.post("/v1/signal", &signal).status, 202);
    let refused = (0..60).map(|_| backend.post("/v1/signal", &signal)).find(|answer| answer.status != 202);
    is_problem(&refused.expect("one is refused"), 429, "rate_limited");

    let file = gateway.setup().folder().join("seawall.toml");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    std::fs::write(&file, text.replace(&slow(2), &slow(0))).expect("written");
    gateway.signal(Signal::HUP);
    until(SOON, "it is reloaded", || gateway.output().contains("reloaded"));
    assert_eq!(backend.publish(&one)["offset"], stored + 2, "without a bound");
}

#[test]
fn key_that_looks_up_too_many_users_gets_429_and_others_do_not() {
    let other = "other-0123456789012345678901234567890123456789";
    let key = format!(
        "[[api.keys]]\nname = \"other\"\nsecret = \"{other}\"\nrights = [\"users\"]\nchannels = [\"*\"]\n"
    );
    let gateway = setup().toml(&key).start();
    let users: Vec<String> = (0..100).map(|number| format!("u{number}")).collect();
    let (body, begun, asked) = (json!({"users": users}), Instant::now(), AtomicUsize::new(0));
    // Several at once: its share grows while it asks.
    let ask = || {
        let mut greedy = Backend::of(&gateway);
        loop {
            let response = greedy.post("/v1/users/lookup", &body);
            asked.fetch_add(users.len(), Ordering::Relaxed);
            if response.status != 200 || begun.elapsed() > SOON {
                return response;
            }
        }
    };
    let refused = std::thread::scope(|scope| {
        let all: Vec<_> = (0..6).map(|_| scope.spawn(ask)).collect();
        all.into_iter().map(|one| one.join().expect("an answer")).find(|answer| answer.status != 200)
    });
    match refused {
        Some(response) => {
            let problem = is_problem(&response, 429, "rate_limited");
            let detail = problem["detail"].as_str().unwrap_or_default();
            assert!(detail.contains("10000 users a second"), "{problem}");
        }
        // A slow machine may not ask for more than the rate.
        None => {
            let most = 10_000.0 * (begun.elapsed().as_secs_f64() + 1.0);
            assert!(asked.into_inner() as f64 <= most, "more than {most} users in {:?}", begun.elapsed());
        }
    }
    assert_eq!(
        Backend::with(&gateway, other).get("/v1/users/ann").status,
        200,
        "another key has its own share"
    );
    let published = Backend::of(&gateway).publish(&json!({"channel": "a", "data": 1}));
    assert_eq!(published["offset"], 1, "publications have a rate of their own");
}
