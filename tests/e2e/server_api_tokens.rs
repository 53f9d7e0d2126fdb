//! Tokens of backends at the server API: `api.audience` and the claim `api`.

use crate::support::backend::{Backend, is_problem};
use crate::support::token::{ISSUER, SECRET, claims, token, unix_s};
use crate::support::{Gateway, Setup};
use serde_json::{Value, json};

const AUDIENCE: &str = "seawall-api";

fn start() -> Gateway {
    Setup::new()
        .toml("[api]\nlisten = \"127.0.0.1:0\"")
        .env("SEAWALL_API_AUDIENCE", AUDIENCE)
        .env("SEAWALL_AUTH_SECRET", SECRET)
        .start()
}

fn backend_claims() -> Value {
    json!({
        "iss": ISSUER,
        "sub": "shop",
        "aud": AUDIENCE,
        "exp": unix_s() + 3600,
        "api": {"rights": ["publish", "history"], "channels": ["room.*"]},
    })
}

#[test]
fn token_of_a_backend_publishes_what_it_may_and_one_of_a_user_is_refused() {
    let gateway = start();
    let mut backend = Backend::with(&gateway, &token(&backend_claims()));
    let body = json!({"channel": "room.7", "key": "k", "data": 1});
    assert_eq!(backend.publish(&body)["offset"], 1);
    assert_eq!(backend.publish(&body)["duplicate"], true);
    let page = backend.get("/v1/channels/room.7/history").json();
    assert_eq!(page["publications"][0]["user"], "$api:shop");
    is_problem(&backend.post("/v1/publish", &json!({"channel": "lobby", "data": 1})), 403, "forbidden");
    let as_user = json!({"channel": "room.7", "user": "ann", "data": 1});
    is_problem(&backend.post("/v1/publish", &as_user), 403, "forbidden");
    is_problem(&backend.post("/v1/signal", &json!({"channel": "room.7", "data": 1})), 403, "forbidden");

    let changed = |change: fn(&mut Value)| {
        let mut claims = backend_claims();
        change(&mut claims);
        token(&claims)
    };
    let any = changed(|claims| claims["api"]["as_user"] = true.into());
    assert_eq!(Backend::with(&gateway, &any).publish(&as_user)["offset"], 2);
    let mut user = claims("ann");
    user["aud"] = AUDIENCE.into();
    let refused = [
        (token(&user), "no claim api"),
        (token(&claims("ann")), "api.audience"),
        (changed(|claims| claims["exp"] = 1.into()), "expired"),
        (changed(|claims| claims["api"]["rights"] = 1.into()), "rights"),
        ("a.b.c".into(), "not a JWT"),
        ("no-token-0123456789012345678901234567890123".into(), "a token for api.audience"),
    ];
    for (token, says) in refused {
        let problem =
            is_problem(&Backend::with(&gateway, &token).post("/v1/publish", &body), 401, "unauthorized");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(says)), "{says}: {problem}");
    }
}

#[test]
fn address_with_bad_tokens_has_to_wait_and_a_known_token_is_accepted_meanwhile() {
    let gateway = start();
    let good = token(&backend_claims());
    let path = "/v1/channels/room.7";
    assert_eq!(Backend::with(&gateway, &good).get(path).status, 200);
    let bad = |n: usize| {
        let (signed, _) = good.rsplit_once('.').expect("a signature");
        Backend::with(&gateway, &format!("{signed}.{n:043}")).get(path)
    };
    // One more is looked at each second, so a slow machine needs more of them.
    let refused = (0..600).map(|n| (n, bad(n))).find(|(_, response)| response.status == 429);
    let (at, response) = refused.expect("one is refused");
    assert!(at >= 20, "{at}");
    is_problem(&response, 429, "rate_limited");
    assert_eq!(Backend::with(&gateway, &good).get(path).status, 200);
}

#[test]
fn token_of_a_backend_that_is_revoked_is_refused_from_the_next_request_on() {
    let gateway = start();
    let mut claims = backend_claims();
    claims["jti"] = "b-1".into();
    claims["api"]["rights"] = json!(["history", "block"]);
    let mut backend = Backend::with(&gateway, &token(&claims));
    let path = "/v1/channels/room.7";
    assert_eq!(backend.get(path).status, 200, "it is known to be good");
    claims["jti"] = "b-2".into();
    let mut other = Backend::with(&gateway, &token(&claims));
    let until = (unix_s() + 3_600) * 1_000;
    assert_eq!(other.post("/v1/tokens/revoke", &json!({"jti": "b-1", "until": until})).status, 200);
    let problem = is_problem(&backend.get(path), 401, "unauthorized");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("revoked")), "{problem}");
    assert_eq!(other.get(path).status, 200);
    let all = json!({"user": "$api:shop", "issued_before": unix_s() * 1_000, "until": until});
    assert_eq!(other.post("/v1/tokens/revoke", &all).status, 200);
    is_problem(&other.get(path), 401, "unauthorized");
}
