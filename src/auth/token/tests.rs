use super::*;
use crate::auth::key::{KEYS_MAX, KeyProblem};
use crate::auth::permission::Right;
use crate::id::ChannelName;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header as SignedHeader};
use proptest::prelude::*;
use serde_json::{Value, json};

const SECRET: &[u8] = b"a secret of the test suite alone";
const OTHER_SECRET: &[u8] = b"another secret of the test suite";
const NOW: u64 = 1_763_770_000_000;

const RSA_ONE: &str = include_str!("../../../tests/keys/test_only_rsa_one.public.pem");
const RSA_ONE_PRIVATE: &str = include_str!("../../../tests/keys/test_only_rsa_one.private.pem");
const RSA_TWO: &str = include_str!("../../../tests/keys/test_only_rsa_two.public.pem");
const RSA_TWO_PRIVATE: &str = include_str!("../../../tests/keys/test_only_rsa_two.private.pem");
const RSA_WEAK: &str = include_str!("../../../tests/keys/test_only_rsa_1024.public.pem");
const P256: &str = include_str!("../../../tests/keys/test_only_p256.public.pem");
const P256_PRIVATE: &str = include_str!("../../../tests/keys/test_only_p256.private.pem");
const P384: &str = include_str!("../../../tests/keys/test_only_p384.public.pem");
const ED25519: &str = include_str!("../../../tests/keys/test_only_ed25519.public.pem");
const ED25519_PRIVATE: &str = include_str!("../../../tests/keys/test_only_ed25519.private.pem");

fn secret(kid: Option<&str>, secret: &[u8]) -> KeyConfig {
    let material = KeyMaterial::Secret(secret.to_vec().into());
    KeyConfig { kid: kid.map(String::from), algorithm: Algorithm::Hs256, material }
}

fn public(kid: Option<&str>, algorithm: Algorithm, pem: &str) -> KeyConfig {
    let material = KeyMaterial::PublicPem(pem.to_string());
    KeyConfig { kid: kid.map(String::from), algorithm, material }
}

fn config(keys: Vec<KeyConfig>) -> VerifierConfig {
    VerifierConfig { keys, ..VerifierConfig::default() }
}

fn verifier(keys: Vec<KeyConfig>) -> Verifier {
    Verifier::new(config(keys)).expect("good keys")
}

fn hs() -> Verifier {
    verifier(vec![secret(None, SECRET)])
}

fn signed(algorithm: Algorithm, kid: Option<&str>, key: &EncodingKey, claims: &Value) -> String {
    let mut header = SignedHeader::new(algorithm.library());
    header.kid = kid.map(String::from);
    jsonwebtoken::encode(&header, claims, key).expect("signs")
}

/// A token signed with `SECRET`, without `kid`.
fn hs_token(claims: &Value) -> String {
    signed(Algorithm::Hs256, None, &EncodingKey::from_secret(SECRET), claims)
}

/// A token signed with `SECRET`, whatever its header says.
fn with_header(header: &str, payload: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let key = EncodingKey::from_secret(SECRET);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, jsonwebtoken::Algorithm::HS256);
    format!("{message}.{}", signature.expect("signs"))
}

fn fault(verifier: &Verifier, token: &str) -> TokenFault {
    verifier.verify(token, NOW).expect_err("refused")
}

fn private(algorithm: Algorithm, pem: &str) -> EncodingKey {
    match algorithm {
        Algorithm::Hs256 => unreachable!("has no PEM"),
        Algorithm::Rs256 => EncodingKey::from_rsa_pem(pem.as_bytes()),
        Algorithm::Es256 => EncodingKey::from_ec_pem(pem.as_bytes()),
        Algorithm::EdDsa => EncodingKey::from_ed_pem(pem.as_bytes()),
    }
    .expect("a private key")
}

#[test]
fn each_algorithm_is_accepted_only_with_its_own_key() {
    let claims = json!({"sub": "ann"});
    let table = [
        (Algorithm::Rs256, RSA_ONE, RSA_ONE_PRIVATE),
        (Algorithm::Es256, P256, P256_PRIVATE),
        (Algorithm::EdDsa, ED25519, ED25519_PRIVATE),
    ];
    for (algorithm, pem, pem_private) in table {
        let token = signed(algorithm, None, &private(algorithm, pem_private), &claims);
        let good = verifier(vec![public(None, algorithm, pem)]).verify(&token, NOW).expect("accepted");
        assert_eq!(good.user.as_str(), "ann");
        assert_eq!(fault(&hs(), &token), TokenFault::UnknownKey, "{algorithm:?}");
    }
    let token = hs_token(&claims);
    assert!(hs().verify(&token, NOW).is_ok());
    assert_eq!(fault(&verifier(vec![secret(None, OTHER_SECRET)]), &token), TokenFault::BadSignature);
}

#[test]
fn public_key_is_never_accepted_as_a_secret() {
    let rsa = verifier(vec![public(None, Algorithm::Rs256, RSA_ONE)]);
    let forged =
        signed(Algorithm::Hs256, None, &EncodingKey::from_secret(RSA_ONE.as_bytes()), &json!({"sub": "eve"}));
    assert_eq!(fault(&rsa, &forged), TokenFault::UnknownKey);
    let both = verifier(vec![public(None, Algorithm::Rs256, RSA_ONE), secret(None, SECRET)]);
    assert_eq!(fault(&both, &forged), TokenFault::BadSignature);
    assert_eq!(problem(secret(None, RSA_ONE.as_bytes())), KeyProblem::SecretIsPem);
}

#[test]
fn algorithm_needs_its_exact_name_and_none_is_rejected() {
    for alg in ["none", "None", "NONE", "", "hs256", "HS384", "HS512", "PS256", "ES384", "RS512", "eddsa"] {
        let header = json!({"alg": alg, "typ": "JWT"}).to_string();
        let token = with_header(&header, r#"{"sub":"ann"}"#);
        assert_eq!(fault(&hs(), &token), TokenFault::UnknownAlgorithm, "{alg}");
        let unsigned = token.rsplit_once('.').expect("three parts").0;
        assert_eq!(fault(&hs(), &format!("{unsigned}.")), TokenFault::UnknownAlgorithm, "{alg}");
    }
}

#[test]
fn kid_selects_the_key() {
    let keys = || vec![secret(Some("one"), SECRET), secret(Some("two"), OTHER_SECRET)];
    let claims = json!({"sub": "ann"});
    let token =
        |kid, secret: &[u8]| signed(Algorithm::Hs256, kid, &EncodingKey::from_secret(secret), &claims);
    let named = verifier(keys());
    assert!(named.verify(&token(Some("one"), SECRET), NOW).is_ok());
    assert!(named.verify(&token(Some("two"), OTHER_SECRET), NOW).is_ok());
    assert_eq!(fault(&named, &token(Some("two"), SECRET)), TokenFault::BadSignature);
    assert_eq!(fault(&named, &token(Some("three"), SECRET)), TokenFault::UnknownKey);
    assert!(named.verify(&token(None, OTHER_SECRET), NOW).is_ok(), "without kid, each key is tried");

    let with_nameless = |nameless| verifier([keys(), vec![secret(None, nameless)]].concat());
    let third = b"the third secret of the test suite";
    assert!(
        with_nameless(third).verify(&token(Some("three"), third), NOW).is_ok(),
        "a key without kid is used"
    );
    assert_eq!(fault(&with_nameless(third), &token(Some("three"), SECRET)), TokenFault::BadSignature);
    assert_eq!(fault(&with_nameless(third), &token(Some("one"), third)), TokenFault::BadSignature);
}

#[test]
fn kid_of_a_key_with_another_algorithm_is_unknown() {
    let keys = vec![public(Some("k"), Algorithm::Rs256, RSA_ONE), secret(None, SECRET)];
    let token =
        signed(Algorithm::Hs256, Some("k"), &EncodingKey::from_secret(SECRET), &json!({"sub": "ann"}));
    assert_eq!(fault(&verifier(keys), &token), TokenFault::UnknownKey);
}

#[test]
fn all_keys_of_an_algorithm_are_tried() {
    let keys = vec![public(None, Algorithm::Rs256, RSA_ONE), public(None, Algorithm::Rs256, RSA_TWO)];
    let token =
        signed(Algorithm::Rs256, None, &private(Algorithm::Rs256, RSA_TWO_PRIVATE), &json!({"sub": "a"}));
    assert!(verifier(keys).verify(&token, NOW).is_ok());
}

#[test]
fn token_without_kid_is_tried_with_four_keys_and_those_without_kid_come_first() {
    let other =
        |n: usize| secret(Some(&n.to_string()), format!("key {n} is a secret of the test suite").as_bytes());
    let token = hs_token(&json!({"sub": "ann"}));
    let fourth = (0..3).map(other).chain([secret(Some("own"), SECRET)]).collect();
    assert!(verifier(fourth).verify(&token, NOW).is_ok());
    let fifth = (0..4).map(other).chain([secret(Some("own"), SECRET)]).collect();
    assert_eq!(fault(&verifier(fifth), &token), TokenFault::BadSignature);
    let without_kid = (0..7).map(other).chain([secret(None, SECRET)]).collect();
    assert!(verifier(without_kid).verify(&token, NOW).is_ok());
    let fifth = (0..4).map(other).chain([secret(Some("own"), SECRET)]).collect();
    let named =
        signed(Algorithm::Hs256, Some("own"), &EncodingKey::from_secret(SECRET), &json!({"sub": "ann"}));
    assert!(verifier(fifth).verify(&named, NOW).is_ok(), "a token that names its key needs one attempt");
}

#[test]
fn text_that_is_not_a_jwt_is_malformed() {
    let good = hs_token(&json!({"sub": "ann"}));
    let parts: Vec<&str> = good.split('.').collect();
    let (header, payload, signature) = (parts[0], parts[1], parts[2]);
    for token in [
        "x".to_string(),
        "..".to_string(),
        format!("{header}.{payload}"),
        format!("{good}.{signature}"),
        format!("!{header}.{payload}.{signature}"),
        format!("{header}=.{payload}.{signature}"),
        with_header("{}", "{}"),
        with_header(r#"{"alg":1}"#, "{}"),
        with_header(r#"["HS256"]"#, r#"{"sub":"ann"}"#),
        with_header(r#"{"alg":"HS256"}"#, r#"["ann"]"#),
        with_header(r#"{"alg":"HS256","kid":1}"#, "{}"),
        with_header(r#"{"alg":"HS256"}"#, "[]"),
        with_header(r#"{"alg":"HS256"}"#, "nonsense"),
        with_header(r#"{"alg":"HS256"}"#, r#"{"sub":"ann","sub":"bob"}"#),
        with_header(r#"{"alg":"HS256"}"#, "{\"sub\":\"ann\",\"x\":\"\u{0}\"}"),
    ] {
        assert_eq!(fault(&hs(), &token), TokenFault::Malformed, "{token}");
    }
    assert_eq!(fault(&hs(), ""), TokenFault::Missing);
    assert_eq!(fault(&hs(), &"a".repeat(TOKEN_BYTES_MAX)), TokenFault::Malformed);
    assert_eq!(fault(&hs(), &"a".repeat(TOKEN_BYTES_MAX + 1)), TokenFault::TooLong);
}

#[test]
fn critical_extension_is_refused_even_as_null() {
    for crit in [json!(["b64"]), json!(null), json!([])] {
        let header = json!({"alg": "HS256", "crit": crit}).to_string();
        assert_eq!(fault(&hs(), &with_header(&header, r#"{"sub":"ann"}"#)), TokenFault::UnknownExtension);
    }
}

#[test]
fn times_are_exact_to_the_millisecond_and_the_leeway_extends_both() {
    for leeway_ms in [0, 30_000] {
        let leeway = Duration::from_millis(leeway_ms);
        let verifier = Verifier::new(VerifierConfig { leeway, ..config(vec![secret(None, SECRET)]) });
        let verifier = verifier.expect("good keys");
        let (begins, ends) = (1_000_000_000u64, 1_000_000_060_500u64);
        let token = hs_token(&json!({"sub": "ann", "nbf": begins, "exp": 1_000_000_060.5}));
        let at = |now| verifier.verify(&token, now).map(|claims| claims.expires_unix_ms);
        assert_eq!(at(begins * 1_000 - leeway_ms - 1), Err(TokenFault::NotYetValid { wait_ms: 1 }));
        assert_eq!(at(begins * 1_000 - leeway_ms), Ok(Some(ends + leeway_ms)));
        assert_eq!(at(ends + leeway_ms - 1), Ok(Some(ends + leeway_ms)));
        assert_eq!(at(ends + leeway_ms), Err(TokenFault::Expired));
    }
}

#[test]
fn token_without_exp_never_expires_and_invalid_times_are_faults() {
    assert_eq!(hs().verify(&hs_token(&json!({"sub": "a"})), u64::MAX).expect("good").expires_unix_ms, None);
    let far = hs().verify(&hs_token(&json!({"sub": "a", "exp": 1e300})), NOW).expect("good");
    assert_eq!(far.expires_unix_ms, Some(INTEGER_MAX));
    assert_eq!(fault(&hs(), &hs_token(&json!({"sub": "a", "exp": -1}))), TokenFault::Expired);
    for wrong in [json!(null), json!("1763770000"), json!([1]), json!(true)] {
        assert_eq!(fault(&hs(), &hs_token(&json!({"sub": "a", "exp": wrong}))), TokenFault::BadTime);
        assert_eq!(fault(&hs(), &hs_token(&json!({"sub": "a", "nbf": wrong}))), TokenFault::BadTime);
    }
}

fn checking(config: VerifierConfig) -> Verifier {
    Verifier::new(VerifierConfig { keys: vec![secret(None, SECRET)], ..config }).expect("good keys")
}

#[test]
fn token_without_exp_is_refused_when_expiry_is_required() {
    let strict = checking(VerifierConfig { expiry: ExpiryRule::Required, ..VerifierConfig::default() });
    assert_eq!(fault(&strict, &hs_token(&json!({"sub": "ann"}))), TokenFault::NoExpiry);
    let ends = hs_token(&json!({"sub": "ann", "exp": NOW / 1_000 + 60}));
    assert!(strict.verify(&ends, NOW).is_ok());
}

#[test]
fn lifetime_is_capped_from_iat_or_from_the_use() {
    let hour = Some(Duration::from_secs(3_600));
    let capped = checking(VerifierConfig { lifetime_max: hour, ..VerifierConfig::default() });
    let end = |claims: Value| capped.verify(&hs_token(&claims), NOW).map(|claims| claims.expires_unix_ms);
    let s = NOW / 1_000;
    let in_s = |seconds: u64| Ok(Some(NOW + seconds * 1_000));
    assert_eq!(end(json!({"sub": "ann"})), in_s(3_600));
    assert_eq!(end(json!({"sub": "ann", "exp": s + 60})), in_s(60));
    assert_eq!(end(json!({"sub": "ann", "exp": s + 9_999})), in_s(3_600));
    assert_eq!(end(json!({"sub": "ann", "iat": s - 3_000, "exp": s + 9_999})), in_s(600));
    assert_eq!(end(json!({"sub": "ann", "iat": s - 3_600, "exp": s + 9_999})), Err(TokenFault::Expired));
    assert_eq!(end(json!({"sub": "ann", "iat": s + 9_999})), in_s(3_600), "a future iat gains nothing");
    assert_eq!(end(json!({"sub": "ann", "iat": "now"})), Err(TokenFault::BadTime));
}

#[test]
fn type_is_that_of_the_header_or_of_the_claims() {
    let typed =
        |typ: &str| checking(VerifierConfig { token_type: Some(typ.into()), ..VerifierConfig::default() });
    let with_typ = |typ: &str, claims: Value| {
        with_header(&json!({"alg": "HS256", "typ": typ}).to_string(), &claims.to_string())
    };
    let ann = || json!({"sub": "ann"});
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt"] {
        assert!(typed("at+jwt").verify(&with_typ(typ, ann()), NOW).is_ok(), "{typ}");
        assert!(typed(typ).verify(&with_typ("at+jwt", ann()), NOW).is_ok(), "{typ}");
    }
    let keycloak = |typ: &str| with_typ("JWT", json!({"sub": "ann", "typ": typ}));
    assert!(typed("Bearer").verify(&keycloak("Bearer"), NOW).is_ok());
    assert_eq!(fault(&typed("Bearer"), &keycloak("ID")), TokenFault::WrongType);
    assert_eq!(fault(&typed("at+jwt"), &with_typ("JWT", ann())), TokenFault::WrongType);
    assert_eq!(
        fault(&typed("at+jwt"), &with_header(r#"{"alg":"HS256"}"#, r#"{"sub":"ann"}"#)),
        TokenFault::WrongType
    );
    assert!(checking(VerifierConfig::default()).verify(&with_typ("x", ann()), NOW).is_ok());
}

#[test]
fn audience_and_issuer_are_checked_when_configured() {
    let strict = Verifier::new(VerifierConfig {
        audience: Some("chat".into()),
        issuer: Some("https://id.example".into()),
        ..config(vec![secret(None, SECRET)])
    })
    .expect("good keys");
    let token = |aud: Value, iss: Value| hs_token(&json!({"sub": "ann", "aud": aud, "iss": iss}));
    let us = || json!("https://id.example");
    for aud in [json!("chat"), json!(["shop", "chat"])] {
        assert!(strict.verify(&token(aud.clone(), us()), NOW).is_ok());
        assert!(hs().verify(&token(aud, json!(7)), NOW).is_ok(), "aud and iss are ignored");
    }
    for aud in [json!("shop"), json!(["shop"]), json!([]), json!(null), json!(["chat", 1]), json!("Chat")] {
        assert_eq!(fault(&strict, &token(aud, us())), TokenFault::WrongAudience);
    }
    for iss in [json!("https://id.example/"), json!([us()]), json!(null)] {
        assert_eq!(fault(&strict, &token(json!("chat"), iss)), TokenFault::WrongIssuer);
    }
    assert_eq!(fault(&strict, &hs_token(&json!({"sub": "a", "aud": "chat"}))), TokenFault::WrongIssuer);
    assert_eq!(fault(&strict, &hs_token(&json!({"sub": "a", "iss": us()}))), TokenFault::WrongAudience);
}

#[test]
fn subject_must_be_a_user_name() {
    assert_eq!(fault(&hs(), &hs_token(&json!({}))), TokenFault::NoSubject);
    for sub in [json!(""), json!(1), json!(null), json!("a\nb"), json!("x".repeat(129)), json!("$api:shop")] {
        assert_eq!(fault(&hs(), &hs_token(&json!({"sub": sub}))), TokenFault::BadSubject);
    }
    let escaped = with_header(r#"{"alg":"HS256"}"#, r#"{"sub":"\u0061\u00e9"}"#);
    assert_eq!(hs().verify(&escaped, NOW).expect("good").user.as_str(), "aé");
}

#[test]
fn channels_become_permissions_and_their_absence_grants_nothing() {
    let lobby = ChannelName::parse("lobby").expect("a name");
    let channels = json!([{"pattern": "lob*", "rights": ["subscribe"]}]);
    let claims = hs().verify(&hs_token(&json!({"sub": "a", "channels": channels})), NOW).expect("good");
    assert!(claims.permissions.allow(Right::Subscribe, &lobby));
    assert!(!claims.permissions.allow(Right::Publish, &lobby));
    let none = hs().verify(&hs_token(&json!({"sub": "a"})), NOW).expect("good");
    assert_eq!(none.permissions, Permissions::nothing());
    let small = |pattern: &str| json!({"pattern": pattern, "rights": []});
    for (channels, expected) in [
        (json!(null), TokenFault::BadChannels),
        (json!("*"), TokenFault::BadChannels),
        (json!([small("a*b")]), TokenFault::BadPattern),
        (json!([small(&"x".repeat(129))]), TokenFault::PatternTooLong),
    ] {
        assert_eq!(fault(&hs(), &hs_token(&json!({"sub": "a", "channels": channels}))), expected);
    }
}

#[test]
fn only_the_claims_that_routes_forward_are_kept() {
    let token = with_header(
        r#"{"alg":"HS256"}"#,
        r#"{"sub":"ann","tenant":"t9","plan":{"seats": 1e2},"secret":"x","sub2":1}"#,
    );
    let forwarded = |names: &[&str]| {
        let forwarded = names.iter().map(|name| Arc::from(*name)).collect();
        let verifier = checking(VerifierConfig { forwarded, ..VerifierConfig::default() });
        verifier.verify(&token, NOW).expect("valid").forwarded
    };
    let both = r#"{"plan":{"seats": 1e2},"tenant":"t9"}"#;
    assert_eq!(forwarded(&["plan", "absent", "tenant"]).as_deref(), Some(both));
    assert_eq!(forwarded(&["absent"]), None);
    assert_eq!(forwarded(&[]), None);
}

#[test]
fn claimed_rate_is_a_whole_number_up_to_a_million() {
    let claimed = |claims| hs().verify(&hs_token(&claims), NOW).map(|claims| claims.publishes_per_s);
    assert_eq!(claimed(json!({"sub": "a"})), Ok(0));
    assert_eq!(claimed(json!({"sub": "a", "publishes_per_s": 200})), Ok(200));
    for wrong in [json!("200"), json!(1.5), json!(-1), json!(null), json!(1_000_001)] {
        assert_eq!(
            claimed(json!({"sub": "a", "publishes_per_s": wrong})),
            Err(TokenFault::BadRate),
            "{wrong}"
        );
    }
}

#[test]
fn every_fault_has_its_index_a_unique_word_and_a_short_text() {
    for (index, fault) in TokenFault::ALL.into_iter().enumerate() {
        assert_eq!(fault.index(), index);
        assert!(!fault.text().is_empty() && fault.text().len() <= 80, "{fault:?}");
        let same = TokenFault::ALL.into_iter().filter(|other| other.word() == fault.word()).count();
        assert_eq!(same, 1, "{fault:?}");
    }
}

fn problem(key: KeyConfig) -> KeyProblem {
    match Verifier::new(config(vec![key])).expect_err("refused") {
        KeyFault::Key { index: 0, problem, .. } => problem,
        fault => panic!("{fault:?}"),
    }
}

#[test]
fn unusable_keys_are_rejected_with_a_reason() {
    let pem = |algorithm, text: &str| public(None, algorithm, text);
    let table = [
        (secret(None, &SECRET[..31]), KeyProblem::SecretTooShort),
        (KeyConfig { algorithm: Algorithm::Rs256, ..secret(None, SECRET) }, KeyProblem::WrongMaterial),
        (pem(Algorithm::Hs256, RSA_ONE), KeyProblem::WrongMaterial),
        (pem(Algorithm::Rs256, RSA_ONE_PRIVATE), KeyProblem::Private),
        (pem(Algorithm::EdDsa, ED25519_PRIVATE), KeyProblem::Private),
        (pem(Algorithm::Rs256, RSA_WEAK), KeyProblem::RsaBits),
        (pem(Algorithm::Rs256, P256), KeyProblem::NotThisAlgorithm),
        (pem(Algorithm::Rs256, "nonsense"), KeyProblem::NotThisAlgorithm),
        (pem(Algorithm::Es256, RSA_ONE), KeyProblem::NotThisAlgorithm),
        (pem(Algorithm::Es256, P384), KeyProblem::NotThisAlgorithm),
        (pem(Algorithm::Es256, ED25519), KeyProblem::NotThisAlgorithm),
        (pem(Algorithm::EdDsa, P256), KeyProblem::NotThisAlgorithm),
        (pem(Algorithm::EdDsa, "-----BEGIN CERTIFICATE-----"), KeyProblem::NotThisAlgorithm),
    ];
    for (key, expected) in table {
        assert_eq!(problem(key.clone()), expected, "{key:?}");
    }
}

#[test]
fn set_of_keys_is_bounded_and_the_fault_names_the_key() {
    let new = |keys| Verifier::new(config(keys)).map(|_| ());
    assert_eq!(new(vec![]), Err(KeyFault::NoKeys));
    assert_eq!(new(vec![secret(None, SECRET); KEYS_MAX]), Ok(()));
    assert_eq!(new(vec![secret(None, SECRET); KEYS_MAX + 1]), Err(KeyFault::TooManyKeys(9)));
    let same = new(vec![secret(Some("a"), SECRET), secret(Some("a"), OTHER_SECRET)]).expect_err("refused");
    assert_eq!(
        same.to_string(),
        "key 2 (kid \"a\"): an earlier key has the same kid; use a different kid for each key"
    );
}

#[test]
fn debug_forms_show_no_secret() {
    let key = secret(Some("a"), SECRET);
    let shown = format!("{key:?} {:?}", verifier(vec![key.clone()]));
    assert!(!shown.contains("97") && !shown.contains("secret of"), "{shown}");
}

proptest! {
    #[test]
    fn any_changed_token_is_refused(at in 0usize..200, with in any::<u8>()) {
        let token = hs_token(&json!({"sub": "ann", "exp": 1_900_000_000}));
        let mut bytes = token.clone().into_bytes();
        let at = at % bytes.len();
        prop_assume!(with.is_ascii() && bytes[at] != with);
        bytes[at] = with;
        let changed = String::from_utf8(bytes).expect("ASCII");
        prop_assert!(hs().verify(&changed, NOW).is_err());
    }

    #[test]
    fn no_text_makes_the_verifier_panic(header in ".{0,40}", payload in ".{0,80}", raw in "\\PC{0,80}") {
        let _ = hs().verify(&raw, NOW);
        let _ = hs().verify(&with_header(&header, &payload), NOW);
        let claims = format!("{{\"sub\":{payload:?}}}");
        let _ = hs().verify(&with_header(r#"{"alg":"HS256"}"#, &claims), NOW);
    }
}
