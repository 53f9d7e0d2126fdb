//! The program's configuration from outside: what it accepts, what it refuses, and what it says of both.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use tempfile::TempDir;

/// A working directory, and what the program is started with in it.
struct Bench {
    folder: TempDir,
    variables: Vec<(&'static str, String)>,
}

/// What the program said.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Bench {
    fn new() -> Bench {
        Bench { folder: tempfile::tempdir().expect("a folder"), variables: Vec::new() }
    }

    /// With this `seawall.toml`.
    fn with_file(text: &str) -> Bench {
        let bench = Bench::new();
        bench.write("seawall.toml", text);
        bench
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("written");
        path
    }

    fn variable(mut self, name: &'static str, value: &str) -> Bench {
        self.variables.push((name, value.to_owned()));
        self
    }

    fn run(&self, arguments: &[&str]) -> Said {
        let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_seawall"))
            .current_dir(self.folder.path())
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .args(arguments)
            .output()
            .expect("the program starts");
        Said {
            code: status.code(),
            out: String::from_utf8(stdout).expect("UTF-8"),
            err: String::from_utf8(stderr).expect("UTF-8"),
        }
    }

    /// The listing of a configuration that is fine.
    fn listing(&self, flags: &[&str]) -> String {
        let said = self.run(&[&["check-config"], flags].concat());
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{}", said.out);
        said.out
    }

    /// The errors of a configuration that is wrong, less their indent.
    fn errors(&self, flags: &[&str]) -> Vec<String> {
        let said = self.run(&[&["check-config"], flags].concat());
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{}", said.err);
        let mut lines = said.err.lines();
        let head = lines.next().expect("a head");
        let errors: Vec<String> = lines.map(|line| line.trim_start().to_owned()).collect();
        let count = if errors.len() == 1 { "an error".into() } else { format!("{} errors", errors.len()) };
        assert_eq!(head, format!("seawall: the configuration has {count}"));
        errors
    }

    fn error(&self, flags: &[&str]) -> String {
        let errors = self.errors(flags);
        assert_eq!(errors.len(), 1, "{errors:#?}");
        errors.into_iter().next().unwrap_or_default()
    }
}

/// Whether the listing has this key with this value and origin, whatever the columns.
#[track_caller]
fn assert_listed(listing: &str, expected: &str) {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(listing.lines().any(|line| words(line) == words(expected)), "no line {expected:?} in\n{listing}");
}

const SECRET: &str = "correct-horse-battery-staple-0123456789";
const PUBLIC_PEM: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

#[test]
fn without_any_configuration_the_defaults_hold() {
    let listing = Bench::new().listing(&[]);
    assert_listed(&listing, r#"listen = "127.0.0.1:8080" # default"#);
    assert_listed(&listing, r#"data = "data" # default"#);
    assert_listed(&listing, "publishes_per_s = 20 # default");
    assert_listed(&listing, "age_ms = 7776000000 # default");
    assert_listed(&listing, "#secret = (not set) # default");
    assert!(listing.contains("# Auth is off"), "{listing}");
}

#[test]
fn a_file_is_over_the_defaults_and_a_variable_over_the_file_and_a_flag_over_both() {
    let file = "[server]\nlisten = \"127.0.0.1:1001\"\nreactors = 3\n[limits]\npublishes_per_s = 5\n";
    let bench = Bench::with_file(file);
    assert_listed(&bench.listing(&[]), r#"listen = "127.0.0.1:1001" # seawall.toml:2"#);
    assert_listed(&bench.listing(&[]), "reactors = 3 # seawall.toml:3");
    let bench = bench
        .variable("SEAWALL_SERVER_LISTEN", "127.0.0.1:1002")
        .variable("SEAWALL_LIMITS_PUBLISHES_PER_S", "0");
    let listing = bench.listing(&[]);
    assert_listed(&listing, r#"listen = "127.0.0.1:1002" # variable SEAWALL_SERVER_LISTEN"#);
    assert_listed(&listing, "publishes_per_s = 0 # variable SEAWALL_LIMITS_PUBLISHES_PER_S");
    let listing = bench.listing(&["--listen", "[::1]:1003"]);
    assert_listed(&listing, r#"listen = "[::1]:1003" # flag --listen"#);
    assert_listed(&listing, "publishes_per_s = 0 # variable SEAWALL_LIMITS_PUBLISHES_PER_S");
    assert_listed(&listing, "reactors = 3 # seawall.toml:3");
}

#[test]
fn every_flag_reaches_its_setting_before_and_after_the_command() {
    let flags =
        ["--data", "/srv/x", "--reactors", "2", "--echo", "--log-format", "json", "--log-level", "debug"];
    let said = Bench::new().run(&[&flags[..], &["check-config"]].concat());
    assert_eq!(said.out, Bench::new().listing(&flags));
    assert_listed(&said.out, r#"data = "/srv/x" # flag --data"#);
    assert_listed(&said.out, "reactors = 2 # flag --reactors");
    assert_listed(&said.out, "echo = true # flag --echo");
    assert_listed(&said.out, r#"format = "json" # flag --log-format"#);
    assert_listed(&said.out, r#"level = "debug" # flag --log-level"#);
}

#[test]
fn a_named_file_is_read_instead_and_must_exist() {
    let bench = Bench::with_file("[server]\nreactors = 3\n");
    bench.write("other.toml", "[server]\nreactors = 4\n");
    assert_listed(&bench.listing(&["--config", "other.toml"]), "reactors = 4 # other.toml:2");
    let error = bench.error(&["--config", "absent.toml"]);
    assert!(error.starts_with("absent.toml: cannot read absent.toml: No such file"), "{error}");
}

#[test]
fn lists_come_from_files_and_from_variables() {
    let file = "[server]\norigins = [\"https://A.example\", \"http://b.example:81\"]\ntrusted_proxies = [\"10.0.0.0/8\"]\n";
    let bench = Bench::with_file(file).variable("SEAWALL_SERVER_TRUSTED_PROXIES", "192.168.0.0/16, 10.1.2.3");
    let listing = bench.listing(&[]);
    assert_listed(&listing, r#"origins = ["https://a.example", "http://b.example:81"] # seawall.toml:2"#);
    assert_listed(
        &listing,
        r#"trusted_proxies = ["192.168.0.0/16", "10.1.2.3/32"] # variable SEAWALL_SERVER_TRUSTED_PROXIES"#,
    );
}

#[test]
fn an_unknown_key_section_or_variable_is_refused_with_the_nearest() {
    let file = "reactors = 3\n[server]\nlisten_to = 3\n[limts]\nx = 1\n[limits]\nlog_level = 3\nframe_byte = 9\ndata = 1\n";
    let errors = Bench::with_file(file).variable("SEAWALL_LIMITS_FRAMEBYTES", "hunter2").errors(&[]);
    assert_eq!(
        errors,
        [
            "seawall.toml:1: reactors: unknown; did you mean server.reactors?",
            "seawall.toml:3: server.listen_to: unknown; did you mean server.listen?",
            "seawall.toml:4: limts: unknown; did you mean [limits]?",
            "seawall.toml:7: limits.log_level: unknown; `seawall check-config` lists all that there is",
            "seawall.toml:8: limits.frame_byte: unknown; did you mean limits.frame_bytes?",
            "seawall.toml:9: limits.data: unknown; did you mean store.data?",
            "variable SEAWALL_LIMITS_FRAMEBYTES: unknown; did you mean SEAWALL_LIMITS_FRAME_BYTES?",
        ]
    );
}

#[test]
fn what_kubernetes_puts_beside_a_service_of_this_name_is_let_pass() {
    let bench = Bench::new()
        .variable("SEAWALL_SERVICE_HOST", "10.0.0.1")
        .variable("SEAWALL_SERVICE_PORT_HTTP", "8080")
        .variable("SEAWALL_PORT", "tcp://10.0.0.1:8080")
        .variable("SEAWALL_PORT_8080_TCP_ADDR", "10.0.0.1");
    assert_eq!(bench.listing(&[]), Bench::new().listing(&[]));
}

#[test]
fn a_value_out_of_bounds_is_refused_with_key_value_bound_and_origin() {
    let bench = Bench::with_file("[limits]\nframe_bytes = 12\n\njson_depth = -1\n")
        .variable("SEAWALL_LIMITS_PUBLISHES_BURST", "0");
    assert_eq!(
        bench.errors(&["--reactors", "257"]),
        [
            "seawall.toml:2: limits.frame_bytes = 12: must be 125 to 16777216",
            "seawall.toml:4: limits.json_depth = -1: must be 4 to 128",
            "variable SEAWALL_LIMITS_PUBLISHES_BURST: limits.publishes_burst = 0: must be 1 to 1000000",
            "flag --reactors: server.reactors = 257: must be 0 (one per core), or 1 to 256",
        ]
    );
}

#[test]
fn a_value_of_the_wrong_type_is_refused_with_what_it_should_be() {
    let file = "[server]\nlisten = 8080\necho = \"yes\"\norigins = \"https://a.example\"\nhosts = [\"a:80\"]\n\
                [limits]\nping_ms = \"25s\"\npong_ms = 1.5\nchannels = 99999999999999999999\n[log]\nlevel = \"loud\"\n";
    let errors = Bench::with_file(file).variable("SEAWALL_SERVER_PIN_REACTORS", "1").errors(&["--data", ""]);
    let expected = [
        r#"seawall.toml:2: server.listen = 8080: must be an IP address with a port, like "127.0.0.1:8080""#,
        r#"seawall.toml:3: server.echo = "yes": must be true or false"#,
        r#"seawall.toml:4: server.origins = "https://a.example": must be a list of origins like "https://chat.example.com", without a path"#,
        r#"seawall.toml:5: server.hosts = ["a:80"]: must be a list of host names like "chat.local", without a port"#,
        r#"seawall.toml:7: limits.ping_ms = "25s": must be a whole number: 100 to 3600000"#,
        "seawall.toml:8: limits.pong_ms = (number with a fraction): must be a whole number: 100 to 600000",
        "seawall.toml:9: limits.channels = 99999999999999999999: must be 1 to 100000000",
        r#"seawall.toml:11: log.level = "loud": must be "error" or "warn" or "info" or "debug""#,
        "variable SEAWALL_SERVER_PIN_REACTORS: server.pin_reactors = 1: must be true or false",
        r#"flag --data: store.data = "": must be the path of a folder"#,
    ];
    assert_eq!(errors, expected);
}

#[test]
fn a_section_must_be_a_section() {
    assert_eq!(
        Bench::with_file("limits = 3\n").error(&[]),
        "seawall.toml:1: limits: is a section: write its keys under its name in brackets"
    );
}

#[test]
fn malformed_toml_is_refused_with_line_and_column_and_hides_the_rest_of_the_file() {
    let error = Bench::with_file("[server]\nreactors = = 3\nechoo = 1\n").error(&[]);
    assert!(error.starts_with("seawall.toml:2: column "), "{error}");
    let error = Bench::with_file("[limits]\nchannels = 1\nchannels = 2\n").error(&[]);
    assert!(error.starts_with("seawall.toml:3: column 1: ") && error.contains("duplicate"), "{error}");
}

#[test]
fn limits_that_contradict_each_other_are_refused_with_both_origins() {
    let bench = Bench::with_file("[limits]\nframe_bytes = 100000\nuri_bytes = 20000\n")
        .variable("SEAWALL_LIMITS_OUTBOX_BYTES_TOTAL", "1048576")
        .variable("SEAWALL_LIMITS_OUTBOX_BYTES_HARD", "2000000");
    assert_eq!(
        bench.errors(&[]),
        [
            "default: limits.message_bytes = 65536: must be at least limits.frame_bytes = 100000 (seawall.toml:2), \
             since a message may be one frame",
            "default: limits.head_bytes = 16384: must be at least limits.uri_bytes = 20000 (seawall.toml:3), \
             since the request target is part of the head",
            "variable SEAWALL_LIMITS_OUTBOX_BYTES_TOTAL: limits.outbox_bytes_total = 1048576: must be at least \
             limits.outbox_bytes_hard = 2000000 (variable SEAWALL_LIMITS_OUTBOX_BYTES_HARD), \
             since all outboxes together hold each one",
        ]
    );
}

#[test]
fn a_refused_value_is_not_also_a_contradiction() {
    let bench = Bench::with_file("[limits]\nframe_bytes = 100000\nmessage_bytes = \"100k\"\n");
    assert!(bench.error(&[]).contains("limits.message_bytes = \"100k\""));
    let bench =
        Bench::with_file("[server]\nproxy_protocol = \"required\"\ntrusted_proxies = [\"10.0.0.0/33\"]\n");
    assert!(bench.error(&[]).contains("server.trusted_proxies = [\"10.0.0.0/33\"]"));
}

#[test]
fn a_required_proxy_header_needs_somebody_to_trust() {
    let file = "[server]\nproxy_protocol = \"required\"\n";
    let error = Bench::with_file(file).error(&[]);
    assert!(
        error.starts_with("seawall.toml:2: server.proxy_protocol: needs server.trusted_proxies"),
        "{error}"
    );
    let bench = Bench::with_file(file).variable("SEAWALL_SERVER_TRUSTED_PROXIES", "10.0.0.0/8");
    assert_listed(&bench.listing(&[]), r#"proxy_protocol = "required" # seawall.toml:2"#);
}

#[test]
fn without_auth_only_loopback_is_listened_on() {
    for open in ["0.0.0.0:8080", "[::]:8080", "192.168.1.5:8080"] {
        let error = Bench::new().error(&["--listen", open]);
        assert!(
            error.starts_with(&format!("flag --listen: server.listen = \"{open}\": auth is off")),
            "{error}"
        );
        assert!(error.contains("[[auth.keys]]") && error.contains("loopback"), "{error}");
        let with_key = Bench::new().variable("SEAWALL_AUTH_SECRET", SECRET);
        assert_listed(
            &with_key.listing(&["--listen", open]),
            &format!("listen = \"{open}\" # flag --listen"),
        );
    }
    for closed in ["127.0.0.9:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
        Bench::new().listing(&["--listen", closed]);
    }
}

#[test]
fn serving_and_tending_the_store_refuse_a_wrong_configuration_as_well() {
    for command in [&["serve"][..], &[], &["store", "new-epoch"]] {
        let said = Bench::with_file("[limits]\nframe_bytes = 12\n").run(command);
        assert_eq!(said.code, Some(2));
        assert!(said.err.contains("seawall.toml:2: limits.frame_bytes = 12"), "{}", said.err);
    }
}

#[test]
fn only_sqlite_is_a_store_and_a_password_in_a_url_is_not_repeated() {
    let bench = Bench::new().variable("SEAWALL_STORE_URL", "postgres://chat:hunter2@db/chat");
    let error = bench.error(&[]);
    assert!(
        error.starts_with(
            "variable SEAWALL_STORE_URL: store.url = \"postgres:…\": this build has SQLite only"
        )
    );
    assert!(!error.contains("hunter2"), "{error}");
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
    let inline = PUBLIC_PEM.replace('\n', "\\n");
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

    // What is left of it as a file still has three keys.
    bench.write("seawall.toml", &listing);
    let again = bench.listing(&[]);
    assert_eq!(again.lines().filter(|line| line.starts_with("[[auth.keys]]")).count(), 3, "{again}");
}

#[test]
fn a_wrong_key_is_refused_and_no_secret_is_ever_repeated() {
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
    let not_hs = "give exactly one of public_key and public_key_file, since the algorithm is not HS256";
    let hs = "one of secret and secret_file, since the algorithm is HS256";
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
        "seawall.toml:22: auth.keys.public_key_file: is a private key: give the public one; the private one belongs \
         to who signs the tokens"
            .into(),
        "seawall.toml:25: auth.keys.public_key_file: cannot read absent.pem: No such file or directory (os error 2)"
            .into(),
        format!("seawall.toml:26: auth.keys.algorithm: is missing: {algorithms}"),
        "seawall.toml:30: auth.keys.secret = (hidden): must be text, not empty".into(),
        format!("seawall.toml:31: auth.keys: has no key: give {hs}"),
        "variable SEAWALL_AUTH_KEYS: does not fit in a variable: use [[auth.keys]] in a file, or SEAWALL_AUTH_SECRET \
         for one HS256 key"
            .into(),
        "variable SEAWALL_AUTH_SECRET: auth.secret = (7 bytes, hidden): must be text of 32 to 4096 bytes".into(),
    ];
    assert_eq!(errors, expected);
}

#[test]
fn a_secret_in_broken_toml_is_not_repeated() {
    for broken in
        ["[auth]\nsecret = hunter2\n", "[auth]\nsecret = \"hunter2\n", "[auth]\nsecret = \"hunter2\\q\"\n"]
    {
        let said = Bench::with_file(broken).run(&["check-config"]);
        assert_eq!(said.code, Some(2));
        assert!(!said.err.contains("hunter2") && said.err.contains("seawall.toml:2: column"), "{}", said.err);
    }
}

#[test]
fn checks_of_tokens_need_a_key_and_keys_need_names_of_their_own() {
    let errors = Bench::with_file("[auth]\naudience = \"chat\"\nissuer = \"me\"\n").errors(&[]);
    assert!(
        errors[0].starts_with("seawall.toml:2: auth.audience: has no effect, since auth is off"),
        "{errors:?}"
    );
    assert!(errors[1].starts_with("seawall.toml:3: auth.issuer: has no effect"), "{errors:?}");
    let key = format!("[[auth.keys]]\nkid = \"a\"\nalgorithm = \"HS256\"\nsecret = \"{SECRET}\"\n");
    let error = Bench::with_file(&format!("{key}{key}")).error(&[]);
    assert!(error.starts_with("seawall.toml:6: auth.keys.kid: another key already has kid \"a\""), "{error}");
}

#[test]
fn the_listing_is_a_file_that_means_the_same() {
    let bench = Bench::with_file(
        "[server]\necho = true\ninstance = \"gw-1\"\nhosts = [\"chat.local\"]\n[retention]\nage_ms = 0\n",
    )
    .variable("SEAWALL_LIMITS_PING_MS", "1000");
    let values = |listing: &str| -> Vec<String> {
        listing
            .lines()
            .skip(3)
            .map(|line| line.split("  #").next().unwrap_or_default().trim().to_owned())
            .collect()
    };
    let listing = bench.listing(&["--data", "/srv/\"quoted\"\\x"]);
    let saved = Bench::with_file(&listing);
    assert_eq!(values(&saved.listing(&[])), values(&listing));
}

#[test]
fn help_version_and_completions_produce_output() {
    let bench = Bench::with_file("broken = [");
    let help = bench.run(&["--help"]);
    assert_eq!(help.code, Some(0));
    for part in ["check-config", "SEAWALL_LIMITS_PUBLISHES_PER_S=50", "seawall.toml", "--listen", "Examples:"]
    {
        assert!(help.out.contains(part), "{part}: {}", help.out);
    }
    let version = bench.run(&["version"]);
    assert_eq!(version.code, Some(0));
    assert!(version.out.starts_with(concat!("seawall ", env!("CARGO_PKG_VERSION"), "\n")), "{}", version.out);
    assert!(
        version.out.contains("protocol seawall.v1\n") && version.out.contains("target "),
        "{}",
        version.out
    );
    for shell in ["bash", "zsh", "fish"] {
        let completions = bench.run(&["completions", shell]);
        assert_eq!(completions.code, Some(0));
        assert!(completions.out.contains("check-config"), "{}", completions.out);
    }
}

#[test]
fn a_wrong_argument_is_refused_with_the_nearest() {
    let said = Bench::new().run(&["--lisen", "127.0.0.1:1"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("--listen"), "{}", said.err);
}
