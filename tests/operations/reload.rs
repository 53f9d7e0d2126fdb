//! SIGHUP: the settings in the file apply to all that can change; a wrong file changes nothing.

use crate::support::token::{SECRET, claims, signed, token, token_of};
use crate::support::{Client, Gateway, SOON, Setup, Upgrade, until};
use jsonwebtoken::{Algorithm, EncodingKey};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::path::PathBuf;

/// The configuration file of a gateway that was started with one.
pub fn file(gateway: &Gateway) -> PathBuf {
    gateway.setup().data().with_file_name("seawall.toml")
}

fn reloads(gateway: &Gateway, outcome: &str) -> f64 {
    gateway.metrics()[&format!("seawall_reloads_total{{outcome=\"{outcome}\"}}")]
}

/// Writes the file, sends SIGHUP, and waits for the outcome.
#[track_caller]
pub fn reload(gateway: &Gateway, toml: &str, outcome: &str) {
    std::fs::write(file(gateway), toml).expect("written");
    hang_up(gateway, outcome);
}

/// Sends SIGHUP and waits for the outcome. A thread of a busy machine may not take its part of a new configuration within a second;
/// then the next reload applies it.
#[track_caller]
pub fn hang_up(gateway: &Gateway, outcome: &str) {
    const OUTCOMES: [&str; 4] = ["applied", "unchanged", "refused", "incomplete"];
    let outcomes = || OUTCOMES.map(|outcome| reloads(gateway, outcome));
    until(SOON, "every thread takes its part", || {
        let before = outcomes();
        gateway.signal(Signal::HUP);
        let mut after = before;
        until(SOON, "the reload ends", || {
            after = outcomes();
            after != before
        });
        let ended: Vec<&str> = OUTCOMES
            .into_iter()
            .zip(before.iter().zip(after))
            .filter(|(_, (before, after))| *before != after)
            .map(|(it, _)| it)
            .collect();
        if ended == ["incomplete"] && outcome == "applied" {
            return false;
        }
        assert_eq!(ended, [outcome], "{}", gateway.output());
        true
    });
}

/// Waits for a line of the log, which a thread of its own writes.
#[track_caller]
pub fn says(gateway: &Gateway, line: &str) {
    until(SOON, line, || gateway.output().contains(line));
}

/// The time at which the current configuration was read.
pub fn loaded_s(gateway: &Gateway) -> f64 {
    gateway.metric("seawall_configuration_loaded_seconds")
}

#[test]
fn lower_limits_apply_at_once_and_keep_connections_and_subscriptions() {
    let gateway = Setup::new().toml("[limits]\nsubscriptions = 10\npublishes_per_s = 1000").start();
    let mut client = Client::connect(&gateway);
    assert_eq!(client.connected["limits"]["subscriptions"], 10);
    for channel in ["a", "b", "c"] {
        client.subscribe(channel);
    }
    let before = loaded_s(&gateway);
    let smaller = "[limits]\nsubscriptions = 1\npublishes_per_s = 1\npublishes_burst = 1\nframe_bytes = 200\n\
                   message_bytes = 200\ntail_bytes_total = 65536\nconnections = 1";
    reload(&gateway, smaller, "applied");
    assert!(loaded_s(&gateway) > before);
    for line in [
        r#"key="limits.subscriptions" change="10 -> 1""#,
        r#"key="limits.publishes_per_s" change="1000 -> 1""#,
        "reloaded changed=7",
    ] {
        says(&gateway, line);
    }

    // Three subscriptions stay, and a fourth is refused.
    assert_eq!(client.publish("c", json!(1)), 1);
    assert_eq!(client.next_push("publication")["channel"], "c");
    client.refused(json!({"subscribe": {"channel": "d"}}), "too_large");
    // A busy machine may take longer than the second after which one more is allowed.
    let publish = json!({"publish": {"channel": "a", "data": 1}});
    let refused = (0..60).map(|_| client.command(publish.clone())).find(|reply| reply["error"].is_object());
    assert_eq!(refused.expect("one is refused")["error"]["code"], "rate_limited");
    assert_eq!(gateway.metric("seawall_connections_max"), 1.0);
    let mut second = Client::open(&gateway);
    second.expect_close().is(1013, "over_capacity");
    client.send(json!({"publish": {"channel": "a", "data": "x".repeat(300)}}));
    assert_eq!(client.expect_close().code, 1009);

    reload(&gateway, "[limits]\nsubscriptions = 3", "applied");
    assert_eq!(Client::connect(&gateway).connected["limits"]["subscriptions"], 3);
}

#[test]
fn wrong_file_is_logged_with_all_errors_and_changes_nothing() {
    let gateway = Setup::new().toml("[limits]\nsubscriptions = 10").start();
    let before = loaded_s(&gateway);
    reload(&gateway, "[limits]\nsubscriptions = 0\nframe_bytes = 12\npings = 3\njson_depth = 5", "refused");
    for fault in [
        "seawall.toml:2: limits.subscriptions = 0",
        "seawall.toml:3: limits.frame_bytes = 12",
        "limits.pings",
    ] {
        says(&gateway, fault);
    }
    assert_eq!(Client::connect(&gateway).connected["limits"]["subscriptions"], 10);
    assert_eq!(loaded_s(&gateway), before);

    std::fs::remove_file(file(&gateway)).expect("removed");
    hang_up(&gateway, "refused");
    assert_eq!(Client::connect(&gateway).connected["limits"]["subscriptions"], 10);

    reload(&gateway, "[limits]\nsubscriptions = 10", "unchanged");
    assert!(loaded_s(&gateway) > before);
}

#[test]
fn setting_that_needs_a_restart_is_logged_and_keeps_its_value() {
    let gateway = Setup::new().toml("[limits]\nchannels = 500").start();
    let wanted = "[limits]\nchannels = 600\npending = 7\n[server]\nreactors = 3\n[log]\nformat = \"json\"";
    reload(&gateway, wanted, "applied");
    for line in [
        r#"setting change needs a restart key="limits.channels" current="500" wanted="600""#,
        r#"setting change needs a restart key="server.reactors" current="0" wanted="3""#,
        r#"key="limits.pending" change="64 -> 7""#,
        "reloaded changed=1 needs_restart=3",
    ] {
        says(&gateway, line);
    }
    // The warning is repeated at each reload. Auth cannot be turned on, because clients were admitted without it.
    let auth = format!("{wanted}\n[auth]\nsecret = \"{SECRET}\"");
    reload(&gateway, &auth, "unchanged");
    says(&gateway, r#"needs a restart key="auth" current="off" wanted="on""#);
    let reactors = r#"needs a restart key="server.reactors" current="0" wanted="3""#;
    until(SOON, "the warning is repeated", || gateway.output().matches(reactors).count() == 2);
    let output = gateway.output();
    assert!(!output.contains(SECRET), "{output}");
    Client::connect(&gateway);
}

#[test]
fn origins_and_address_limits_follow_the_new_rules() {
    let gateway = Setup::new().toml("[server]\norigins = [\"https://a.example\"]").start();
    let opens = |origin: &str| {
        let upgrade = Upgrade::default().header("Origin", origin);
        // A page of another site is upgraded, so that it learns the reason, and closed.
        Client::try_open(gateway.address, &upgrade).is_ok_and(|mut client| {
            client.try_send(json!({"connect": {}})).is_ok_and(|id| client.try_reply(id).is_some())
        })
    };
    assert!(opens("https://a.example") && !opens("https://b.example"));
    let limit = "[limits]\nconnections_per_address = 1";
    reload(
        &gateway,
        &format!("[server]\norigins = [\"https://b.example\"]\necho = true\n{limit}"),
        "applied",
    );
    assert!(!opens("https://a.example") && opens("https://b.example"));
    // Earlier connections were not counted; of the new ones, one per address is allowed.
    until(SOON, "the last connection is released", || gateway.metric("seawall_addresses") == 0.0);
    let first = Client::open_with(gateway.address, &Upgrade::default().path("/echo"));
    assert!(!opens("https://b.example"));
    drop(first);
    until(SOON, "the address is released", || opens("https://b.example"));
    reload(&gateway, "", "applied");
    let all: Vec<Client> = (0..3).map(|_| Client::connect(&gateway)).collect();
    drop(all);
    // Connections that were counted are released, whatever the current setting.
    reload(&gateway, limit, "applied");
    until(SOON, "no address is counted", || gateway.metric("seawall_addresses") == 0.0);
    Client::connect(&gateway);
}

#[test]
fn keys_change_without_an_interruption_and_are_not_logged() {
    const NEXT: &str = "the-next-secret-of-at-least-32-bytes";
    let key = |kid: &str, secret: &str| {
        format!("[[auth.keys]]\nkid = \"{kid}\"\nalgorithm = \"HS256\"\nsecret = \"{secret}\"\n")
    };
    let under = |kid: &str, secret: &str| {
        signed(&claims("ann"), Algorithm::HS256, Some(kid), &EncodingKey::from_secret(secret.as_bytes()))
    };
    let gateway = Setup::new().toml(&key("old", SECRET)).start();
    let connect = |token: &str| {
        let mut client = Client::open(&gateway);
        client.send(json!({"connect": {"token": token}}));
        client
    };
    let (old, next) = (under("old", SECRET), under("next", NEXT));
    let mut resident = Client::open(&gateway).with_connect(json!({"token": old}));
    connect(&next).expect_close().is(4501, "unauthenticated");

    reload(&gateway, &(key("old", SECRET) + &key("next", NEXT)), "applied");
    let mut stays = Client::open(&gateway).with_connect(json!({"token": next}));
    assert_eq!(resident.publish("c", json!(1)), 1);

    reload(&gateway, &(key("next", NEXT) + "[limits]\nconnections_per_user = 1"), "applied");
    let closed = resident.expect_close();
    closed.is(4501, "unauthenticated");
    assert!(closed.reason.contains("no longer trusted"), "{closed:?}");
    for change in [r#"added="next" removed="" "#, r#"added="" removed="old""#, "session ended"] {
        until(SOON, change, || gateway.output().contains(change));
    }
    connect(&old).expect_close().is(4501, "unauthenticated");
    // The other client stays, and counts towards the user's limit.
    assert_eq!(stays.publish("c", json!(2)), 2);
    connect(&next).expect_close().is(1013, "over_capacity");
    stays.close();
    until(SOON, "the connection is released", || {
        connect(&next).try_reply(1).is_some_and(|reply| reply.get("connected").is_some())
    });

    says(&gateway, "change=\"[old HS256] -> [old HS256, next HS256]\"");
    let output = gateway.output();
    assert!(!output.contains(SECRET) && !output.contains(NEXT), "{output}");
}

#[test]
fn reload_with_another_issuer_ends_the_sessions_of_the_old_one() {
    let auth = |issuer: &str| format!("[auth]\nsecret = \"{SECRET}\"\nissuer = \"{issuer}\"\n");
    let of = |issuer: &str| {
        let mut claims = claims("ann");
        claims["iss"] = json!(issuer);
        json!({"token": token(&claims)})
    };
    let gateway = Setup::new().toml(&format!("[auth]\nsecret = \"{SECRET}\"\n")).start();
    let mut old: Vec<Client> =
        (0..8).map(|_| Client::open(&gateway).with_connect(of("https://old.test"))).collect();
    let mut new = Client::open(&gateway).with_connect(of("https://new.test"));
    reload(&gateway, &auth("https://new.test"), "applied");
    old.iter_mut().for_each(|client| client.expect_close().is(4501, "unauthenticated"));
    assert_eq!(new.publish("c", json!(1)), 1);
    reload(&gateway, &(auth("https://new.test") + "leeway_ms = 1\n"), "applied");
    assert_eq!(new.publish("c", json!(2)), 2, "other rules end no session");
}

#[test]
fn replaced_key_file_is_read_again_and_an_invalid_one_changes_nothing() {
    const ONE: &str = include_str!("../keys/test_only_rsa_one.public.pem");
    const TWO: &str = include_str!("../keys/test_only_rsa_two.public.pem");
    let signing = [
        &include_bytes!("../keys/test_only_rsa_one.private.pem")[..],
        &include_bytes!("../keys/test_only_rsa_two.private.pem")[..],
    ];
    let setup = Setup::new().toml("[[auth.keys]]\nalgorithm = \"RS256\"\npublic_key_file = \"issuer.pem\"");
    let path = setup.folder().join("issuer.pem");
    std::fs::write(&path, ONE).expect("written");
    let gateway = setup.start();
    let accepted = || {
        signing.map(|pem| {
            let key = EncodingKey::from_rsa_pem(pem).expect("a key");
            let mut client = Client::open(&gateway);
            client.send(json!({"connect": {"token": signed(&claims("ann"), Algorithm::RS256, None, &key)}}));
            client.try_reply(1).is_some_and(|reply| reply.get("connected").is_some())
        })
    };
    assert_eq!(accepted(), [true, false]);
    // Half a file, like one that is being written.
    std::fs::write(&path, &TWO[..TWO.len() / 2]).expect("written");
    hang_up(&gateway, "refused");
    says(&gateway, "auth.keys.public_key_file: not a public key of this algorithm");
    assert_eq!(accepted(), [true, false]);
    std::fs::write(&path, TWO).expect("written");
    hang_up(&gateway, "applied");
    says(&gateway, "with other material");
    assert_eq!(accepted(), [false, true]);
}

#[test]
fn variable_overrides_the_file_at_a_reload_too() {
    let gateway = Setup::new().limit("subscriptions", 5).toml("[limits]\nsubscriptions = 10").start();
    reload(&gateway, "[limits]\nsubscriptions = 20", "unchanged");
    reload(&gateway, "[limits]\nsubscriptions = 30\npending = 9", "applied");
    says(&gateway, "reloaded changed=1");
    assert_eq!(Client::connect(&gateway).connected["limits"]["subscriptions"], 5);
}

#[test]
fn last_of_many_signals_wins() {
    let gateway = Setup::new().toml("[limits]\nsubscriptions = 10").start();
    for subscriptions in 11..=40 {
        let toml = format!("[limits]\nsubscriptions = {subscriptions}");
        // The file is replaced by a rename, as deployment tools do, so that a reload reads one version or the other.
        let next = file(&gateway).with_extension("next");
        std::fs::write(&next, toml).expect("written");
        std::fs::rename(next, file(&gateway)).expect("renamed");
        gateway.signal(Signal::HUP);
    }
    until(SOON, "the last version applies", || {
        Client::connect(&gateway).connected["limits"]["subscriptions"] == 40
    });
    assert_eq!(reloads(&gateway, "refused"), 0.0);
}

#[test]
fn log_level_changes_at_a_reload() {
    let gateway = Setup::new().toml("[log]\nlevel = \"error\"").start();
    reload(&gateway, "[log]\nlevel = \"error\"\n[limits]\npending = 5", "applied");
    assert!(!gateway.output().contains("pending"), "{}", gateway.output());
    reload(&gateway, "[log]\nlevel = \"info\"", "applied");
    says(&gateway, r#"change="\"error\" -> \"info\"""#);
    reload(&gateway, "[log]\nlevel = \"error\"\n[limits]\npending = 6", "applied");
    // The last lines are written at the old level.
    says(&gateway, "change=\"64 -> 6\"");
}

#[test]
fn draining_process_rejects_a_reload_and_keeps_draining() {
    let setup = Setup::new().toml("[limits]\npending = 5");
    let setup =
        setup.drain("accept", 30_000).drain("spread", 1_000).drain("close", 32_000).drain("exit", 34_000);
    let mut gateway = setup.start();
    let client = Client::connect(&gateway);
    gateway.signal(Signal::TERM);
    until(SOON, "the gateway is no longer ready", || gateway.fetch("/health/ready").status == 503);
    reload(&gateway, "[limits]\npending = 9", "refused");
    says(&gateway, r#"reload rejected reason="the process is draining""#);
    assert_eq!(gateway.fetch("/health/ready").status, 503);
    let (code, _) = gateway.ends_after(Signal::TERM);
    assert_eq!(code, Some(0), "{}", gateway.output());
    assert!(!gateway.output().contains("limits.pending"), "{}", gateway.output());
    drop(client);
}
