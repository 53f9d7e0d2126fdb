//! Keys and passwords are read and checked, but never printed.

use crate::configuration::bench::{Bench, SECRET, assert_listed};

const PUBLIC_PEM: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

#[test]
fn password_in_a_url_is_neither_listed_nor_repeated() {
    for wrong in ["mysql://chat:hunter2@db/chat", "postgres://chat:hun@hunter2@db", "hunter2"] {
        let error = Bench::new().variable("SEAWALL_STORE_URL", wrong).error(&[]);
        assert!(error.contains("store.url = ") && error.contains("postgres://user:password@host"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let listing = Bench::new()
        .variable("SEAWALL_STORE_URL", "postgres://chat:hunter2@db/chat")
        .variable("SEAWALL_BUS_URL", "rediss://:hunter2@bus:6380")
        .listing(&[]);
    assert!(!listing.contains("hunter2"), "{listing}");
    assert_listed(&listing, "url = \"postgres://chat:(hidden)@db/chat\" # variable SEAWALL_STORE_URL");
    assert_listed(&listing, "url = \"rediss://:(hidden)@bus:6380\" # variable SEAWALL_BUS_URL");
    // Used as a file, the listing asks for its passwords instead of falling back to other values.
    let errors = Bench::with_file(&listing).errors(&[]);
    assert_eq!(errors.len(), 2, "{errors:?}");
}

#[test]
fn embedded_store_is_selected_by_name_or_by_default() {
    assert_listed(
        &Bench::with_file("[store]\nurl = \"sqlite:\"\n").listing(&[]),
        "url = \"sqlite:\" # seawall.toml:2",
    );
    let unset = Bench::with_file("[store]\nurl = \"sqlite:\"\n").variable("SEAWALL_STORE_URL", "");
    assert_listed(&unset.listing(&[]), "#url = (not set) # variable SEAWALL_STORE_URL");
}

#[test]
fn keys_of_every_kind_are_listed_without_their_secrets() {
    let bench = Bench::new().variable("SEAWALL_AUTH_SECRET", SECRET);
    bench.write("hs.key", &format!("file-{SECRET}\n"));
    bench.write("ed.pem", PUBLIC_PEM);
    let inline = include_str!("../keys/test_only_p256.public.pem").replace('\n', "\\n");
    bench.write(
        "seawall.toml",
        &format!(
            "[auth]\naudience = \"chat\"\n\
             [[auth.keys]]\nkid = \"a\"\nalgorithm = \"HS256\"\nsecret = \"inline-{SECRET}\"\n\
             [[auth.keys]]\nkid = \"b\"\nalgorithm = \"HS256\"\nsecret_file = \"hs.key\"\n\
             [[auth.keys]]\nalgorithm = \"EdDSA\"\npublic_key_file = \"ed.pem\"\n\
             [[auth.keys]]\nalgorithm = \"ES256\"\npublic_key = \"{inline}\"\n"
        ),
    );
    let listing = bench.listing(&["--listen", "0.0.0.0:80"]);
    assert!(!listing.contains(SECRET), "{listing}");
    assert_listed(&listing, "#secret = (hidden) # variable SEAWALL_AUTH_SECRET");
    assert_listed(&listing, "#[[auth.keys]] # seawall.toml:3");
    assert_listed(&listing, "#secret = (hidden)");
    assert_listed(&listing, "secret_file = \"hs.key\"");
    assert_listed(&listing, "public_key_file = \"ed.pem\"");
    assert_listed(&listing, &format!("public_key = \"{inline}\""));

    // Used as a file, the listing still has three keys.
    bench.write("seawall.toml", &listing);
    let again = bench.listing(&[]);
    assert_eq!(again.lines().filter(|line| line.starts_with("[[auth.keys]]")).count(), 3, "{again}");
}

#[test]
fn wrong_key_is_rejected_without_repeating_a_secret() {
    let bench =
        Bench::new().variable("SEAWALL_AUTH_SECRET", "hunter2").variable("SEAWALL_AUTH_KEYS", "hunter2");
    bench.write("private.pem", "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n");
    bench.write("short.key", "hunter2\n");
    bench.write(
        "seawall.toml",
        "[[auth.keys]]\nalgorithm = \"HS256\"\nsecret = \"hunter2\"\n\
         [[auth.keys]]\nalgorithm = \"HS256\"\nsecret_file = \"short.key\"\n\
         [[auth.keys]]\nalgorithm = \"HS256\"\nsecret = \"hunter2\"\nsecret_file = \"short.key\"\n\
         [[auth.keys]]\nalgorithm = \"none\"\nsercet = \"hunter2\"\n\
         [[auth.keys]]\nalgorithm = \"RS256\"\nsecret = \"hunter2\"\n\
         [[auth.keys]]\nalgorithm = \"RS256\"\npublic_key = \"hunter2\"\n\
         [[auth.keys]]\nalgorithm = \"RS256\"\npublic_key_file = \"private.pem\"\n\
         [[auth.keys]]\nalgorithm = \"RS256\"\npublic_key_file = \"absent.pem\"\n\
         [[auth.keys]]\nsecret = \"hunter2\"\n\
         [[auth.keys]]\nalgorithm = \"HS256\"\nsecret = [\"hunter2\"]\n\
         [[auth.keys]]\nalgorithm = \"HS256\"\n",
    );
    let errors = bench.errors(&["--listen", "0.0.0.0:80"]);
    assert!(errors.iter().all(|error| !error.contains("hunter2")), "{errors:#?}");
    let not_hs = "give exactly one of public_key and public_key_file, because the algorithm is not HS256";
    let hs = "one of secret and secret_file, because the algorithm is HS256";
    let algorithms = "must be \"HS256\" or \"RS256\" or \"ES256\" or \"EdDSA\"";
    let expected = [
        "seawall.toml:3: auth.keys.secret = (7 bytes, hidden): must be 32 to 4096 bytes".to_owned(),
        "seawall.toml:6: auth.keys.secret_file = (7 bytes, hidden): must be 32 to 4096 bytes".into(),
        format!("seawall.toml:7: auth.keys: has secret and secret_file: give exactly {hs}"),
        format!("seawall.toml:12: auth.keys.algorithm = \"none\": {algorithms}"),
        "seawall.toml:13: auth.keys.sercet: unknown; did you mean secret?".into(),
        format!("seawall.toml:14: auth.keys: has secret: {not_hs}"),
        "seawall.toml:19: auth.keys.public_key = (7 bytes, hidden): must be a public key in PEM, \
         from -----BEGIN PUBLIC KEY----- to its end"
            .into(),
        "seawall.toml:22: auth.keys.public_key_file: is a private key: give the public key; only the issuer of the \
         tokens should have the private one"
            .into(),
        "seawall.toml:25: auth.keys.public_key_file: cannot read absent.pem: No such file or directory (os error 2)"
            .into(),
        format!("seawall.toml:26: auth.keys.algorithm: is missing: {algorithms}"),
        "seawall.toml:30: auth.keys.secret = (hidden): must be text, not empty".into(),
        format!("seawall.toml:31: auth.keys: has no key: give {hs}"),
        "variable SEAWALL_AUTH_KEYS: cannot be set by a variable: use [[auth.keys]] in a file, or SEAWALL_AUTH_SECRET \
         for one HS256 key"
            .into(),
        "variable SEAWALL_AUTH_SECRET: auth.secret = (7 bytes, hidden): must be text of 32 to 4096 bytes".into(),
    ];
    assert_eq!(errors, expected);
}

#[test]
fn secret_in_broken_toml_is_not_repeated() {
    for broken in
        ["[auth]\nsecret = hunter2\n", "[auth]\nsecret = \"hunter2\n", "[auth]\nsecret = \"hunter2\\q\"\n"]
    {
        let said = Bench::with_file(broken).run(&["check-config"]);
        assert_eq!(said.code, Some(2));
        assert!(!said.err.contains("hunter2") && said.err.contains("seawall.toml:2: column"), "{}", said.err);
    }
}

#[test]
fn token_checks_without_a_key_and_duplicate_kids_are_rejected() {
    let errors = Bench::with_file("[auth]\naudience = \"chat\"\nissuer = \"me\"\n").errors(&[]);
    assert!(
        errors[0].starts_with("seawall.toml:2: auth.audience: has no effect while auth is off"),
        "{errors:?}"
    );
    assert!(errors[1].starts_with("seawall.toml:3: auth.issuer: has no effect"), "{errors:?}");
    let key = format!("[[auth.keys]]\nkid = \"a\"\nalgorithm = \"HS256\"\nsecret = \"{SECRET}\"\n");
    let error = Bench::with_file(&format!("{key}{key}")).error(&[]);
    assert!(error.starts_with("seawall.toml:6: auth.keys.kid: another key already has kid \"a\""), "{error}");
}

#[test]
fn key_that_its_algorithm_cannot_use_is_rejected_with_its_line() {
    let text = |algorithm| {
        format!("[[auth.keys]]\nalgorithm = \"{algorithm}\"\npublic_key = \"\"\"\n{PUBLIC_PEM}\"\"\"\n")
    };
    Bench::with_file(&text("EdDSA")).variable("SEAWALL_AUTH_AUDIENCE", "chat").listing(&[]);
    for wrong in ["ES256", "RS256"] {
        let error = Bench::with_file(&text(wrong)).error(&[]);
        assert!(
            error.starts_with(
                "seawall.toml:3: auth.keys.public_key: not a public key of this algorithm in PEM"
            ),
            "{error}"
        );
    }
    let pem = "-----BEGIN CERTIFICATE-----".repeat(2);
    let error =
        Bench::with_file(&format!("[[auth.keys]]\nalgorithm = \"HS256\"\nsecret = \"{pem}\"\n")).error(&[]);
    assert!(error.contains("seawall.toml:3: auth.keys.secret: the secret is a PEM file"), "{error}");
}

#[test]
fn admin_token_is_checked_and_never_repeated() {
    let token = "an-operators-own-token-of-enough-letters";
    let listing = Bench::new()
        .variable("SEAWALL_ADMIN_TOKEN", token)
        .variable("SEAWALL_ADMIN_LISTEN", "off")
        .listing(&[]);
    assert!(!listing.contains(token), "{listing}");
    assert_listed(&listing, "#token = (hidden) # variable SEAWALL_ADMIN_TOKEN");
    assert_listed(&listing, "listen = \"off\" # variable SEAWALL_ADMIN_LISTEN");
    for wrong in ["hunter2", "hunter2 with spaces, and long enough to be a token"] {
        let error = Bench::new().variable("SEAWALL_ADMIN_TOKEN", wrong).error(&[]);
        assert!(!error.contains("hunter2") && error.contains("32 to 512 letters"), "{error}");
    }
    let error = Bench::with_file("[admin]\nlisten = \"8081\"\n").error(&[]);
    assert!(error.contains("admin.listen = \"8081\": must be an IP address with a port"), "{error}");
    assert!(error.contains("or \"off\""), "{error}");
}
