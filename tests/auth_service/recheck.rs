//! Tokens of open sessions are introspected again: a revoked one ends its session, an outage ends none.

use crate::auth_service::issuer::{Issuer, active, connect, state};
use crate::servers::Answer;
use crate::support::wait::{LATE, SOON, until};
use crate::support::{Client, Gateway};
use serde_json::json;
use std::time::{Duration, Instant};

fn rechecking(issuer: &Issuer) -> Gateway {
    issuer
        .introspected()
        .env("SEAWALL_AUTH_CACHE_MS", "1")
        .env("SEAWALL_AUTH_RECHECK_MS", "1000")
        .limit("connections_per_user", 0)
        .start()
}

#[test]
fn revoked_token_ends_its_sessions_and_no_others() {
    let issuer = Issuer::start();
    issuer.knows("ann", "ann");
    issuer.knows("bob", "bob");
    let gateway = rechecking(&issuer);
    let mut revoked: Vec<Client> = (0..4).map(|_| connect(&gateway, "ann")).collect();
    let mut stays = connect(&gateway, "bob");
    issuer.says("ann", Answer::json(200, r#"{"active":false}"#));
    let began = Instant::now();
    for client in &mut revoked {
        let closed = client.expect_close();
        closed.is(4501, "unauthenticated");
        assert!(closed.reason.contains("not active"), "{closed:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{LATE}: {:?}", began.elapsed());
    let asked = issuer.asked("bob");
    until(SOON, "the other token is asked about again", || issuer.asked("bob") >= asked + 2);
    assert_eq!(stays.publish("c", json!(1)), 1);
}

#[test]
fn right_that_the_service_takes_away_ends_the_subscription_until_it_is_given_back() {
    let issuer = Issuer::start();
    issuer.knows("ann", "ann");
    let gateway = rechecking(&issuer);
    let mut client = connect(&gateway, "ann");
    client.subscribe("room");
    let mut less = active("ann");
    less["channels"] = json!([{"pattern": "lobby", "rights": ["subscribe"]}]);
    issuer.says("ann", Answer::json(200, &less.to_string()));
    client.next_push("refreshed");
    let ended = client.next_push("unsubscribed");
    assert_eq!((&ended["channel"], &ended["because"]), (&json!("room"), &json!("forbidden")));
    // The right comes back without a command, and the client hears of it.
    issuer.knows("ann", "ann");
    client.next_push("refreshed");
    client.subscribe("room");
    assert_eq!(client.publish("room", json!(1)), 1);
}

#[test]
fn outage_ends_no_session_and_the_check_is_made_after_it() {
    let mut issuer = Issuer::start();
    issuer.knows("ann", "ann");
    let gateway = rechecking(&issuer);
    let mut client = connect(&gateway, "ann");
    issuer.server.stop();
    until(SOON, "auth is down", || state(&gateway) == "down");
    let checked = || gateway.metric("seawall_tokens_checked_total");
    let before = checked();
    until(SOON, "the token was to be checked twice", || checked() >= before + 2.0);
    assert_eq!(client.publish("c", json!(1)), 1);
    issuer.says("ann", Answer::json(200, r#"{"active":false}"#));
    issuer.server.start_again();
    client.expect_close().is(4501, "unauthenticated");
}
