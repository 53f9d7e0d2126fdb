//! Keys that the issuer publishes: they are used, replaced, and kept while the issuer is down.

use crate::auth_service::issuer::{Issuer, JWKS, connect, logged, refused, state};
use crate::servers::Answer;
use crate::support::backend::{Backend, is_problem};
use crate::support::token::{asymmetric, claims, signed};
use crate::support::wait::{LATE, SOON, SetOnDrop, until};
use crate::support::{Client, Gateway};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn published(algorithm: Algorithm, kid: &str) -> Value {
    let mut jwk = Jwk::from_encoding_key(&asymmetric(algorithm).0, algorithm).unwrap();
    jwk.common.key_id = Some(kid.into());
    serde_json::to_value(jwk).unwrap()
}

fn token(algorithm: Algorithm, kid: &str) -> String {
    signed(&claims("ann"), algorithm, Some(kid), &asymmetric(algorithm).0)
}

fn keys_in_use(gateway: &Gateway) -> f64 {
    gateway.metric("seawall_key_set_keys")
}

#[test]
fn keys_rotate_without_a_restart() {
    let issuer = Issuer::start();
    issuer.publishes(&[published(Algorithm::RS256, "old")]);
    let gateway = issuer.trusted().env("SEAWALL_AUTH_JWKS_PAUSE_MS", "100").start();
    let old = token(Algorithm::RS256, "old");
    assert_eq!(connect(&gateway, &old).connected["user"], "ann");
    issuer.publishes(&[published(Algorithm::ES256, "new"), published(Algorithm::EdDSA, "newer")]);
    until(SOON, "the pause is over and the new key is fetched", || {
        let mut client = crate::support::Client::open(&gateway);
        let id = client.send(json!({"connect": {"token": token(Algorithm::ES256, "new")}}));
        client.try_reply(id).is_some_and(|reply| reply.get("connected").is_some())
    });
    assert_eq!(connect(&gateway, &token(Algorithm::EdDSA, "newer")).connected["user"], "ann");
    logged(&gateway, r#"keys changed setting="auth.jwks_url" added="new,newer" removed="old""#);
    refused(&gateway, &old).is(4501, "unauthenticated");
    let forged = signed(&claims("ann"), Algorithm::EdDSA, Some("new"), &asymmetric(Algorithm::EdDSA).0);
    refused(&gateway, &forged).is(4501, "unauthenticated");
}

/// The token of a backend.
fn backend_token(algorithm: Algorithm, kid: &str) -> String {
    let mut claims = claims("shop");
    claims["aud"] = "seawall-api".into();
    claims["api"] = json!({"rights": ["history"], "channels": ["*"]});
    signed(&claims, algorithm, Some(kid), &asymmetric(algorithm).0)
}

#[test]
fn backend_with_a_published_key_is_accepted_and_one_with_a_newer_key_after_a_fetch() {
    let mut issuer = Issuer::start();
    issuer.publishes(&[published(Algorithm::RS256, "old")]);
    let setup = issuer.trusted().toml("[api]\nlisten = \"127.0.0.1:0\"\naudience = \"seawall-api\"\n");
    let gateway = setup.env("SEAWALL_AUTH_JWKS_PAUSE_MS", "100").start();
    let path = "/v1/channels/room.7";
    let asks = |token: &str| Backend::with(&gateway, token).get(path);
    let old = backend_token(Algorithm::RS256, "old");
    until(SOON, "the keys are fetched", || asks(&old).status == 200);
    let new = backend_token(Algorithm::ES256, "new");
    issuer.publishes(&[published(Algorithm::ES256, "new")]);
    let problem = is_problem(&asks(&new), 503, "unavailable");
    assert_eq!(problem["dependency"], "auth", "{problem}");
    assert!(problem["retry_ms"].as_u64().is_some_and(|wait| wait <= 600), "{problem}");
    // Each refusal counts as a bad token, so that the address has to wait after some.
    let becomes = |token: &str, wanted: u16| {
        until(SOON + SOON, "the token is judged with newer keys", || {
            let response = asks(token);
            assert!([wanted, 200, 429, 503].contains(&response.status), "{response:?}");
            response.status == wanted
        });
    };
    becomes(&new, 200);
    // The issuer has withdrawn its key.
    becomes(&old, 401);
    let other = backend_token(Algorithm::RS256, "old").replace('.', "-");
    becomes(&other, 401);
    becomes(&backend_token(Algorithm::EdDSA, "never"), 401);
    issuer.server.stop();
    assert_eq!(asks(&new).status, 200, "the keys stay in use while the issuer is down");
}

#[test]
fn invented_key_ids_cause_few_fetches() {
    let issuer = Issuer::start();
    issuer.publishes(&[published(Algorithm::RS256, "k")]);
    let gateway = issuer.trusted().env("SEAWALL_AUTH_JWKS_PAUSE_MS", "1000").start();
    connect(&gateway, &token(Algorithm::RS256, "k"));
    let began = Instant::now();
    let clients: Vec<Client> = (0..30).map(|number| presents_unknown(&gateway, number)).collect();
    for mut client in clients {
        client.expect_close().is(4501, "unauthenticated");
    }
    // One at the start, one at once, and one after each pause.
    let fetches = gateway.metric("seawall_key_set_fetches_total");
    assert!(fetches <= 3.0 + began.elapsed().as_secs_f64().floor(), "{fetches} in {:?}", began.elapsed());
}

/// A client with a token whose key was never published.
fn presents_unknown(gateway: &Gateway, number: u32) -> Client {
    let mut client = Client::open(gateway);
    client.send(json!({"connect": {"token": token(Algorithm::ES256, &format!("made up {number}"))}}));
    client
}

#[test]
fn new_key_is_accepted_amid_tokens_with_made_up_keys() {
    let issuer = Issuer::start();
    issuer.publishes(&[published(Algorithm::RS256, "0")]);
    let gateway = issuer.trusted().env("SEAWALL_AUTH_JWKS_PAUSE_MS", "1000").start();
    connect(&gateway, &token(Algorithm::RS256, "0"));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut clients = VecDeque::new();
            for number in 0.. {
                clients.push_back(presents_unknown(&gateway, number));
                if clients.len() > 20 {
                    clients.pop_front().into_iter().for_each(|mut client| drop(client.expect_close()));
                }
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let is_over = SetOnDrop(&is_over);
        for rotation in 1..=4 {
            let fetched = issuer.fetched();
            until(SOON, "the made-up keys cause a fetch", || issuer.fetched() > fetched);
            let kid = rotation.to_string();
            issuer.publishes(&[published(Algorithm::ES256, &kid)]);
            let came = connect(&gateway, &token(Algorithm::ES256, &kid)).connected["user"].clone();
            assert_eq!(came, "ann", "rotation {rotation}");
        }
        drop(is_over);
    });
}

#[test]
fn new_key_far_from_the_next_fetch_is_refused_for_now() {
    let issuer = Issuer::start();
    issuer.publishes(&[published(Algorithm::RS256, "k")]);
    let gateway = issuer.trusted().env("SEAWALL_AUTH_JWKS_PAUSE_MS", "60000").start();
    let mut client = connect(&gateway, &token(Algorithm::RS256, "k"));
    issuer.publishes(&[published(Algorithm::ES256, "new")]);
    let new = token(Algorithm::ES256, "new");
    let closed = refused(&gateway, &new);
    closed.is(4425, "too_early");
    let retry_ms = closed.bye.unwrap()["retry_ms"].as_u64().unwrap();
    assert!((50_000..=60_500).contains(&retry_ms), "{retry_ms}");
    let reply = client.command(json!({"refresh": {"token": new}}));
    assert_eq!(reply["error"]["code"], "unavailable");
    assert!(reply["error"]["retry_ms"].as_u64().is_some_and(|wait| wait > 50_000), "{reply}");
}

#[test]
fn gateway_starts_without_keys_and_fetches_them_when_they_appear() {
    let mut issuer = Issuer::start();
    issuer.publishes(&[published(Algorithm::ES256, "k")]);
    issuer.server.stop();
    let gateway = issuer.trusted().start();
    let token = token(Algorithm::ES256, "k");
    let began = Instant::now();
    let mut closed = refused(&gateway, &token);
    // Until the first fetch is known to have failed, a token is only too early.
    while closed.code == 4425 && began.elapsed() < SOON {
        closed = refused(&gateway, &token);
    }
    closed.is(1011, "unavailable");
    assert_eq!(closed.bye.unwrap()["dependency"], "auth");
    issuer.server.start_again();
    let restarted = Instant::now();
    until(SOON, "the keys are fetched", || keys_in_use(&gateway) == 1.0);
    assert!(restarted.elapsed() < Duration::from_secs(20), "{LATE}: {:?}", restarted.elapsed());
    assert_eq!(connect(&gateway, &token).connected["user"], "ann");
}

#[test]
fn keys_stay_in_use_while_the_issuer_is_down_or_serves_garbage() {
    let mut issuer = Issuer::start();
    issuer.publishes(&[published(Algorithm::RS256, "k")]);
    let gateway = issuer
        .trusted()
        .env("SEAWALL_AUTH_JWKS_REFRESH_MS", "1000")
        .env("SEAWALL_AUTH_JWKS_PAUSE_MS", "100")
        .start();
    let known = token(Algorithm::RS256, "k");
    connect(&gateway, &known);
    for garbage in ["<html>", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#] {
        issuer.server.answer(JWKS, Answer::json(200, garbage));
        until(SOON, "auth is down", || state(&gateway) == "down");
        assert_eq!(connect(&gateway, &known).connected["user"], "ann");
        logged(&gateway, " kept=1");
    }
    issuer.server.stop();
    assert_eq!(connect(&gateway, &known).connected["status"]["level"], "down");
    refused(&gateway, &token(Algorithm::ES256, "unknown")).is(1011, "unavailable");
    assert_eq!(keys_in_use(&gateway), 1.0);
}

#[test]
fn published_symmetric_key_is_not_accepted() {
    let issuer = Issuer::start();
    let secret = b"0123456789abcdef0123456789abcdef";
    let exposed =
        json!({"kty": "oct", "kid": "s", "alg": "HS256", "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"});
    issuer.publishes(&[exposed, published(Algorithm::RS256, "k")]);
    let gateway = issuer.trusted().start();
    connect(&gateway, &token(Algorithm::RS256, "k"));
    let forged = signed(&claims("root"), Algorithm::HS256, Some("s"), &EncodingKey::from_secret(secret));
    refused(&gateway, &forged).is(4501, "unauthenticated");
    logged(&gateway, "publishes secret or private keys");
}
