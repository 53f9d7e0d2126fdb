//! Keys that the issuer publishes: they are used, replaced, and kept while the issuer is down.

use crate::auth_service::issuer::{Issuer, JWKS, connect, logged, refused, state};
use crate::servers::Answer;
use crate::support::Gateway;
use crate::support::token::{asymmetric, claims, signed};
use crate::support::wait::{SOON, until};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
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

#[test]
fn invented_key_ids_cause_few_fetches() {
    let issuer = Issuer::start();
    issuer.publishes(&[published(Algorithm::RS256, "k")]);
    let gateway = issuer.trusted().start();
    connect(&gateway, &token(Algorithm::RS256, "k"));
    for number in 0..30 {
        refused(&gateway, &token(Algorithm::ES256, &format!("made up {number}"))).is(4501, "unauthenticated");
    }
    assert!(gateway.metric("seawall_key_set_fetches_total") <= 3.0);
}

#[test]
fn gateway_starts_without_keys_and_fetches_them_when_they_appear() {
    let mut issuer = Issuer::start();
    issuer.publishes(&[published(Algorithm::ES256, "k")]);
    issuer.server.stop();
    let gateway = issuer.trusted().start();
    let token = token(Algorithm::ES256, "k");
    let began = Instant::now();
    let closed = refused(&gateway, &token);
    assert!(began.elapsed() < Duration::from_secs(5));
    closed.is(1011, "unavailable");
    assert_eq!(closed.bye.unwrap()["dependency"], "auth");
    issuer.server.start_again();
    let restarted = Instant::now();
    until(SOON, "the keys are fetched", || keys_in_use(&gateway) == 1.0);
    assert!(restarted.elapsed() < Duration::from_secs(3), "{:?}", restarted.elapsed());
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
