//! `seawall token`: tokens that the configuration accepts, new keys, and explanations.

use crate::configuration::bench::{Bench, SECRET};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;

const ANN: [&str; 6] = ["token", "--sub", "ann", "--channel", "room.*=subscribe,publish", "--ttl"];

fn signed(claims: &serde_json::Value) -> String {
    jsonwebtoken::encode(&Header::default(), claims, &EncodingKey::from_secret(SECRET.as_bytes()))
        .expect("signs")
}

#[test]
fn printed_token_is_accepted_with_the_claims_that_the_configuration_demands() {
    let bench = Bench::with_file("[auth]\nissuer = \"me\"\naudience = \"chat\"\n")
        .variable("SEAWALL_AUTH_SECRET", SECRET);
    let token = bench.run(&[&ANN[..], &["1h"]].concat());
    assert_eq!((token.code, token.err.as_str()), (Some(0), ""));
    let said = bench.run_with(&["token", "--check"], &token.out);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    for line in [
        "sub        ann",
        "iss        me",
        "aud        chat",
        "channel    room.*: subscribe, publish",
        "key        1 of the configuration, HS256",
        "verdict    accepted",
    ] {
        assert!(said.out.contains(line), "{line}: {}", said.out);
    }
}

#[test]
fn refused_token_is_explained_in_the_words_of_its_refusal() {
    let bench = Bench::new().variable("SEAWALL_AUTH_SECRET", SECRET);
    let unknown = json!([{"pattern": "a", "rights": ["write", "publish"]}]);
    for (token, code, words) in [
        (signed(&json!({"sub": "ann", "exp": 1})), 1, "refused with 4501: the token has expired"),
        (signed(&json!({"sub": "ann", "channels": unknown})), 0, "a: write (unknown, ignored), publish"),
        (signed(&json!({"sub": "ann"})), 0, "every channel is forbidden"),
        ("nonsense".into(), 1, "refused with 4501"),
        (String::new(), 1, "refused with 4501"),
    ] {
        let said = bench.run_with(&["token", "--check"], &token);
        assert_eq!(said.code, Some(code), "{words}: {}{}", said.out, said.err);
        assert!(said.out.contains(words), "{words}: {}", said.out);
    }
}

#[test]
fn wrong_arguments_are_refused_with_what_to_write() {
    let bench = Bench::new().variable("SEAWALL_AUTH_SECRET", SECRET);
    for (arguments, words) in [
        (&["token", "--sub", "ann", "--channel", "room=write"][..], "\"write\" is unknown; rights are"),
        (&["token", "--sub", "ann", "--channel", "room"], "PATTERN=RIGHTS"),
        (&["token", "--sub", "ann", "--ttl", "1w"], "90s, 15m, 1h or 7d"),
        (&["token", "--sub", "ann", "--kid", "x"], "--kid"),
        (&["token", "--sub", "ann", "--key", "absent.pem"], "cannot read absent.pem"),
        (&["token"], "--sub"),
        (&["token", "--new-key", "HS512", "--out", "a"], "HS256"),
    ] {
        let said = bench.run(arguments);
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{words}: {}", said.err);
        assert!(said.err.contains(words), "{words}: {}", said.err);
    }
    let off = Bench::new().run(&["token", "--sub", "ann"]);
    assert_eq!(off.code, Some(2), "{}", off.err);
    assert!(off.err.contains("auth is off"), "{}", off.err);
}

#[test]
fn new_key_is_private_and_makes_tokens_that_its_public_half_accepts() {
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let bench = Bench::with_file(&format!(
            "[[auth.keys]]\nalgorithm = \"{algorithm}\"\nkid = \"one\"\npublic_key_file = \"k.public.pem\"\n"
        ))
        .variable("SEAWALL_AUTH_AUDIENCE", "chat");
        let made = bench.run(&["token", "--new-key", algorithm, "--out", "k"]);
        assert_eq!(made.code, Some(0), "{algorithm}: {}", made.err);
        let mode = bench.path("k.private.pem").metadata().expect("written").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = bench.run(&["token", "--new-key", algorithm, "--out", "k"]);
        assert_eq!(again.code, Some(1), "{}", again.out);
        assert!(again.err.contains("never overwritten"), "{}", again.err);
        let token = bench.run(&[&ANN[..], &["1h", "--key", "k.private.pem"]].concat());
        assert_eq!((token.code, token.err.as_str()), (Some(0), ""), "{algorithm}");
        let said = bench.run_with(&["token", "--check"], &token.out);
        assert_eq!(said.code, Some(0), "{}", said.out);
        assert!(said.out.contains("kid        one") && said.out.contains("kid one"), "{}", said.out);
    }
    let bench = Bench::with_file("[[auth.keys]]\nalgorithm = \"HS256\"\nsecret_file = \"k.secret\"\n");
    assert_eq!(bench.run(&["token", "--new-key", "hs256", "--out", "k"]).code, Some(0));
    let token = bench.run(&[&ANN[..], &["5m"]].concat());
    assert_eq!(bench.run_with(&["token", "--check"], &token.out).code, Some(0), "{}", token.err);
}
