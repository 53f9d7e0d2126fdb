use super::*;
use crate::auth::token::{Judged, TokenFault, TokenForm, Verifier, VerifierConfig};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

const RSA_ONE: &[u8] = include_bytes!("../../../tests/keys/test_only_rsa_one.private.pem");
const P256: &[u8] = include_bytes!("../../../tests/keys/test_only_p256.private.pem");
const ED25519: &[u8] = include_bytes!("../../../tests/keys/test_only_ed25519.private.pem");

/// The public part of a key, as published by an issuer.
fn published(key: &EncodingKey, algorithm: jsonwebtoken::Algorithm, kid: &str) -> Value {
    let mut jwk = Jwk::from_encoding_key(key, algorithm).expect("a key");
    jwk.common.key_id = Some(kid.into());
    serde_json::to_value(jwk).expect("JSON")
}

fn three() -> [(jsonwebtoken::Algorithm, EncodingKey, &'static str); 3] {
    use jsonwebtoken::Algorithm as A;
    [
        (A::RS256, EncodingKey::from_rsa_pem(RSA_ONE).expect("a key"), "r"),
        (A::ES256, EncodingKey::from_ec_pem(P256).expect("a key"), "e"),
        (A::EdDSA, EncodingKey::from_ed_pem(ED25519).expect("a key"), "d"),
    ]
}

fn document(keys: Vec<Value>) -> Vec<u8> {
    json!({ "keys": keys }).to_string().into_bytes()
}

fn signed(algorithm: jsonwebtoken::Algorithm, key: &EncodingKey, kid: Option<&str>) -> String {
    let mut header = Header::new(algorithm);
    header.kid = kid.map(str::to_owned);
    jsonwebtoken::encode(&header, &json!({"sub": "ann"}), key).expect("signs")
}

fn verifier() -> Verifier {
    let config = VerifierConfig { keys: vec![], ..VerifierConfig::default() };
    Verifier::with_auth_service(config).expect("a service needs no keys")
}

#[test]
fn tokens_of_all_three_algorithms_are_verified_by_published_keys() {
    let keys = three();
    let set = document(keys.iter().map(|(algorithm, key, kid)| published(key, *algorithm, kid)).collect());
    let set = KeySet::parse(&set).expect("a key set");
    assert_eq!((set.len(), set.passed_over, set.exposed), (3, 0, 0));
    for (algorithm, key, kid) in &keys {
        for kid in [Some(*kid), None] {
            let judged = verifier().judge(&signed(*algorithm, key, kid), &set, 0);
            assert!(matches!(judged, Judged::Settled(Ok(_))), "{algorithm:?} {kid:?} {judged:?}");
        }
        let judged = verifier().judge(&signed(*algorithm, key, Some("newer")), &set, 0);
        assert_eq!(judged, Judged::Open { fault: TokenFault::UnknownKey, form: TokenForm::Jwt });
        let judged = verifier().judge(&signed(*algorithm, key, Some("newer")), &KeySet::default(), 0);
        assert_eq!(judged, Judged::Open { fault: TokenFault::UnknownKey, form: TokenForm::Jwt });
    }
    let forged = signed(keys[0].0, &keys[0].1, Some("e"));
    assert!(!matches!(verifier().judge(&forged, &set, 0), Judged::Settled(Ok(_))));
}

#[test]
fn token_not_signed_by_the_key_it_names_is_settled() {
    let other = include_bytes!("../../../tests/keys/test_only_rsa_two.private.pem");
    let other = EncodingKey::from_rsa_pem(other).expect("a key");
    let [(algorithm, key, kid), ..] = three();
    let set = KeySet::parse(&document(vec![published(&key, algorithm, kid)])).expect("a key set");
    let judge = |token: &str| verifier().judge(token, &set, 0);
    let bad = TokenFault::BadSignature;
    assert_eq!(judge(&signed(algorithm, &other, Some(kid))), Judged::Settled(Err(bad)));
    assert_eq!(judge(&signed(algorithm, &other, None)), Judged::Open { fault: bad, form: TokenForm::Jwt });
    assert_eq!(judge("opaque"), Judged::Open { fault: TokenFault::Malformed, form: TokenForm::Opaque });
}

#[test]
fn unusable_and_secret_keys_are_skipped() {
    let [(algorithm, key, kid), ..] = three();
    let good = published(&key, algorithm, kid);
    let with = |member: &str, value: Value| {
        let mut key = good.clone();
        key[member] = value;
        key
    };
    let secret = json!({"kty": "oct", "alg": "HS256", "kid": "s", "k": "c2VjcmV0LW9mLXRoaXJ0eS10d28tYnl0ZXMtb3ItbW9yZS0t"});
    let unusable = [
        (secret, 1),
        (with("d", json!("AQAB")), 1),
        (with("use", json!("enc")), 0),
        (with("key_ops", json!(["encrypt"])), 0),
        (with("alg", json!("RS512")), 0),
        (with("alg", json!("PS256")), 0),
        (with("n", json!("AQAB")), 0),
        (with("kty", json!("XYZ")), 0),
        (json!({"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"}), 0),
        (json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}), 0),
        (json!({"kty": "OKP", "crv": "Ed25519", "x": "AA"}), 0),
        (json!(7), 0),
    ];
    for (entry, exposed) in unusable {
        let alone = KeySet::parse(&document(vec![entry.clone()]));
        assert_eq!(alone.err(), Some(KeySetFault::NoUsableKey), "{entry}");
        let skipped = KeySet::parse(&document(vec![entry, good.clone()])).expect("one is good");
        assert_eq!((skipped.len(), skipped.passed_over, skipped.exposed), (1, 1, exposed));
    }
}

#[test]
fn document_of_wrong_shape_or_size_is_rejected() {
    for wrong in ["", "[]", "{}", "<html>", r#"{"keys":{}}"#, r#"{"keys":7}"#] {
        assert_eq!(KeySet::parse(wrong.as_bytes()).err(), Some(KeySetFault::Shape), "{wrong}");
    }
    let [.., (algorithm, key, kid)] = three();
    let many = |count| document(vec![published(&key, algorithm, kid); count]);
    assert_eq!(KeySet::parse(&many(SET_KEYS_MAX)).map(|set| set.len()).ok(), Some(SET_KEYS_MAX));
    assert_eq!(KeySet::parse(&many(SET_KEYS_MAX + 1)).err(), Some(KeySetFault::TooManyKeys));
}
