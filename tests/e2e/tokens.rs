//! Tokens: the user they identify, the rights they give, and their expiry.

use crate::support::token::{SECRET, asymmetric, claims, signed, token, token_of, unix_s};
use crate::support::{Client, Closed, Gateway, Setup, Upgrade};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

fn with_secret() -> Setup {
    Setup::new().env("SEAWALL_AUTH_SECRET", SECRET).env("SEAWALL_AUTH_LEEWAY_MS", "0")
}

fn connect(gateway: &Gateway, token: &str) -> Client {
    Client::open(gateway).with_connect(json!({"token": token}))
}

fn refused(gateway: &Gateway, token: &str) -> Closed {
    let mut client = Client::open(gateway);
    client.send(json!({"connect": {"token": token}}));
    client.expect_close()
}

#[test]
fn token_is_accepted_in_header_subprotocol_and_connect() {
    let gateway = with_secret().start();
    let token = token_of("ann");
    assert_eq!(connect(&gateway, &token).connected["user"], "ann");
    let header = Upgrade::default().header("Authorization", &format!("Bearer {token}"));
    let client = Client::open_with(gateway.address, &header).with_connect(json!({}));
    assert_eq!(client.connected["user"], "ann");
    let offer = Upgrade::default().subprotocols(&format!("seawall.v1, seawall.token.{token}"));
    let client = Client::open_with(gateway.address, &offer).with_connect(json!({}));
    assert_eq!(client.connected["user"], "ann");
    let echoed = client.response.headers().get("sec-websocket-protocol").unwrap();
    assert_eq!(echoed, "seawall.v1", "the token is never echoed");
    let both = header.subprotocols(&format!("seawall.v1, seawall.token.{}", token_of("bob")));
    let client = Client::open_with(gateway.address, &both).with_connect(json!({"token": token_of("cat")}));
    assert_eq!(client.connected["user"], "ann", "the header takes precedence");
}

#[test]
fn bad_token_is_closed_with_4501_after_the_upgrade() {
    let gateway = with_secret().start();
    let mut expired = claims("ann");
    expired["exp"] = json!(unix_s() - 10);
    let mut early = claims("ann");
    early["nbf"] = json!(unix_s() + 100);
    let mut nameless = claims("ann");
    nameless.as_object_mut().unwrap().remove("sub");
    let other = EncodingKey::from_secret(b"another secret of thirty-two bytes");
    let unsigned = {
        let parts: Vec<String> = token_of("ann").split('.').map(String::from).collect();
        // {"alg":"none"}
        format!("eyJhbGciOiJub25lIn0.{}.", parts[1])
    };
    for bad in [
        "x".to_string(),
        "a.b.c".to_string(),
        token(&expired),
        token(&nameless),
        signed(&claims("ann"), Algorithm::HS256, None, &other),
        signed(&claims("ann"), Algorithm::HS512, None, &EncodingKey::from_secret(SECRET.as_bytes())),
        unsigned,
    ] {
        refused(&gateway, &bad).is(4501, "unauthenticated");
    }
    let closed = refused(&gateway, &token(&early));
    closed.is(4425, "too_early");
    let retry_ms = closed.bye.expect("a reason")["retry_ms"].as_u64();
    assert!(retry_ms.is_some_and(|wait| (50_000..=100_000).contains(&wait)), "valid in 100 s: {retry_ms:?}");
    let mut client = Client::open(&gateway);
    client.send(json!({"connect": {}}));
    client.expect_close().is(4501, "unauthenticated");
    let header = Upgrade::default().header("Authorization", "Bearer nonsense");
    let mut client = Client::open_with(gateway.address, &header);
    client.send(json!({"connect": {}}));
    client.expect_close().is(4501, "unauthenticated");
}

#[test]
fn token_is_verified_with_the_key_and_algorithm_of_its_kid() {
    let mut toml = String::from("[auth]\nleeway_ms = 0\n");
    let algorithms = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
    for algorithm in algorithms {
        let (_, public) = asymmetric(algorithm);
        toml.push_str(&format!(
            "[[auth.keys]]\nkid = \"{algorithm:?}\"\nalgorithm = \"{algorithm:?}\"\npublic_key = '''\n{public}'''\n"
        ));
    }
    toml.push_str(&format!("[[auth.keys]]\nkid = \"HS256\"\nalgorithm = \"HS256\"\nsecret = \"{SECRET}\"\n"));
    let gateway = Setup::new().toml(&toml).start();
    for algorithm in algorithms {
        let (private, public) = asymmetric(algorithm);
        let kid = format!("{algorithm:?}");
        let good = signed(&claims("ann"), algorithm, Some(&kid), &private);
        assert_eq!(connect(&gateway, &good).connected["user"], "ann", "{algorithm:?}");
        let confused = EncodingKey::from_secret(public.as_bytes());
        let confused = signed(&claims("ann"), Algorithm::HS256, Some(&kid), &confused);
        refused(&gateway, &confused).is(4501, "unauthenticated");
        let wrong_kid = signed(&claims("ann"), algorithm, Some("unknown"), &private);
        refused(&gateway, &wrong_kid).is(4501, "unauthenticated");
    }
    let secret = EncodingKey::from_secret(SECRET.as_bytes());
    let good = signed(&claims("bob"), Algorithm::HS256, Some("HS256"), &secret);
    assert_eq!(connect(&gateway, &good).connected["user"], "bob");
}

fn expiring(user: &str, seconds: u64) -> String {
    let mut claims = claims(user);
    claims["exp"] = json!(unix_s() + seconds);
    token(&claims)
}

#[test]
fn session_ends_with_its_token_unless_refreshed() {
    let gateway = with_secret().start();
    let mut ends = connect(&gateway, &expiring("ann", 8));
    let mut stays = connect(&gateway, &expiring("ann", 8));
    assert!(
        stays.connected["expires"].as_u64().is_some_and(|at| at > unix_s() * 1000),
        "{}",
        stays.connected
    );
    let later = unix_s() + 600;
    let refreshed = stays.ask(json!({"refresh": {"token": expiring("ann", 600)}}), "refreshed");
    assert!(
        refreshed["expires"].as_u64().is_some_and(|at| at.abs_diff(later * 1000) < 60_000),
        "{refreshed}"
    );
    ends.expect_close().is(4501, "unauthenticated");
    assert!(stays.is_open());
    assert_eq!(stays.publish("c", json!(1)), 1);
}

#[test]
fn refresh_needs_a_valid_token_of_the_same_user() {
    let gateway = with_secret().start();
    let mut client = connect(&gateway, &token_of("ann"));
    for bad in ["nonsense".to_string(), token_of("bob")] {
        client.refused(json!({"refresh": {"token": bad}}), "unauthorized");
    }
    assert_eq!(client.publish("c", json!(1)), 1, "the first token still counts");
}

#[test]
fn rights_are_checked_for_each_channel() {
    let gateway = with_secret().start();
    let of = |user: &str, channels: Value| {
        let mut claims = claims(user);
        claims["channels"] = channels;
        connect(&gateway, &token(&claims))
    };
    let mut reader = of("ann", json!([{"pattern": "room.*", "rights": ["subscribe"]}]));
    reader.subscribe("room.1");
    for command in [
        json!({"publish": {"channel": "room.1", "data": 1}}),
        json!({"subscribe": {"channel": "other"}}),
        json!({"history": {"channel": "other"}}),
    ] {
        reader.refused(command, "forbidden");
    }
    reader.send_text(r#"{"signal":{"channel":"room.1","data":1}}"#);
    assert_eq!(reader.next_push("error")["code"], "forbidden");
    let mut writer = of("bob", json!([{"pattern": "room.1", "rights": ["publish"]}]));
    assert_eq!(writer.publish("room.1", json!("mine")), 1);
    assert_eq!(reader.next_push("publication")["user"], "bob");
    writer.refused(json!({"subscribe": {"channel": "room.1"}}), "forbidden");
    writer.refused(json!({"history": {"channel": "room.1"}}), "forbidden");
    let mut other = of("cat", json!([{"pattern": "*", "rights": ["publish"]}]));
    let edit = json!({"publish": {"channel": "room.1", "edits": 1, "data": 2}});
    other.refused(edit.clone(), "not_found");
    let mut reads = of("cat", json!([{"pattern": "*", "rights": ["publish", "subscribe"]}]));
    reads.refused(edit, "forbidden");
    let mut moderator = of("eve", json!([{"pattern": "*", "rights": ["publish", "moderate"]}]));
    let edit = moderator.ask(json!({"publish": {"channel": "room.1", "edits": 1, "data": 2}}), "published");
    assert_eq!(edit["offset"], 2);
    let mut powerless = of("dan", json!([]));
    powerless.refused(json!({"publish": {"channel": "room.1", "data": 1}}), "forbidden");
    assert!(powerless.is_open(), "a command error does not close the connection");
}

#[test]
fn recovery_without_the_right_is_forbidden() {
    let gateway = with_secret().start();
    let mut claims = claims("ann");
    claims["channels"] = json!([{"pattern": "a", "rights": ["subscribe"]}]);
    let cursor = |channel: &str| json!({"channel": channel, "epoch": "0", "offset": 0});
    let arguments = json!({"token": token(&claims), "recover": [cursor("a"), cursor("b")]});
    let client = Client::open(&gateway).with_connect(arguments);
    let entry = &client.connected["recovered"][1];
    assert_eq!((&entry["recovered"], &entry["because"]), (&json!(false), &json!("forbidden")));
}

#[test]
fn same_key_of_another_user_is_another_publication() {
    let gateway = with_secret().start();
    let publish = json!({"publish": {"channel": "c", "key": "k", "data": 1}});
    let ann = connect(&gateway, &token_of("ann")).ask(publish.clone(), "published");
    let bob = connect(&gateway, &token_of("bob")).ask(publish, "published");
    assert_eq!((&ann["offset"], &bob["offset"], &bob["duplicate"]), (&json!(1), &json!(2), &json!(false)));
}

#[test]
fn connection_over_the_bound_of_a_user_is_refused() {
    let gateway = with_secret().limit("connections_per_user", 2).start();
    let token = token_of("ann");
    let mut first = connect(&gateway, &token);
    let _second = connect(&gateway, &token);
    let closed = refused(&gateway, &token);
    closed.is(1013, "over_capacity");
    assert!(closed.reason.contains("connections_per_user"), "{closed:?}");
    connect(&gateway, &token_of("bob"));
    first.close();
    crate::support::until(crate::support::SOON, "another connection fits again", || {
        let mut client = Client::open(&gateway);
        client.send(json!({"connect": {"token": token}}));
        client.next_push_within("bye", std::time::Duration::from_millis(200)).is_none()
    });
}

#[test]
fn personal_channel_is_read_by_its_user_alone_and_by_patterns_that_name_it() {
    let gateway = with_secret().start();
    let with = |user: &str, pattern: &str| {
        let mut claims = claims(user);
        claims["channels"] = json!([{"pattern": pattern, "rights": ["subscribe", "publish"]}]);
        connect(&gateway, &token(&claims))
    };
    let mut bare = claims("ann@example.com");
    bare.as_object_mut().unwrap().remove("channels");
    let mut ann = connect(&gateway, &token(&bare));
    let personal = ann.connected["personal"].as_str().expect("a name").to_owned();
    assert_eq!(personal, "$user:ann:40example.com");
    ann.subscribe(&personal);
    ann.refused(json!({"publish": {"channel": personal, "data": 1}}), "forbidden");
    ann.refused(json!({"subscribe": {"channel": "$user:bob"}}), "forbidden");

    let mut everything = with("bob", "*");
    everything.refused(json!({"subscribe": {"channel": personal}}), "forbidden");
    everything.refused(json!({"history": {"channel": personal}}), "forbidden");
    everything.refused(json!({"publish": {"channel": personal, "data": 1}}), "forbidden");

    let mut service = with("service", "$user:*");
    let command = json!({"publish": {"channel": personal, "data": {"hello": "ann"}}});
    let published = service.ask(command, "published");
    let received = ann.next_push("publication");
    assert_eq!((&received["channel"], &received["data"]), (&json!(personal), &json!({"hello": "ann"})));

    // Another device catches up from the log.
    let cursor = json!({"channel": personal, "epoch": published["epoch"], "offset": 0});
    let mut phone = Client::open(&gateway).with_connect(json!({"token": token(&bare), "recover": [cursor]}));
    assert_eq!(phone.connected["recovered"][0]["recovered"], true, "{}", phone.connected);
    assert_eq!(phone.next_push("publication")["data"], json!({"hello": "ann"}));
}
