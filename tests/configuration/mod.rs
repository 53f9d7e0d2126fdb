//! The configuration of the program as an operator sees it: accepted values, rejected values, listing and errors.

mod bench;
mod dependencies;
mod secrets;
mod tokens;
mod wrong;

use bench::{Bench, SECRET, assert_listed};

#[test]
fn defaults_apply_without_any_configuration() {
    let listing = Bench::new().listing(&[]);
    assert_listed(&listing, r#"listen = "127.0.0.1:8080" # default"#);
    assert_listed(&listing, r#"data = "data" # default"#);
    assert_listed(&listing, "publishes_per_s = 20 # default");
    assert_listed(&listing, "age_ms = 7776000000 # default");
    assert_listed(&listing, "#secret = (not set) # default");
    assert_listed(&listing, r#"listen = "127.0.0.1:8081" # default"#);
    assert_listed(&listing, "#token = (not set) # default");
    assert!(listing.contains("# Auth is off"), "{listing}");
}

#[test]
fn flag_overrides_variable_overrides_file_overrides_default() {
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
fn every_flag_works_before_and_after_the_command() {
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
fn named_file_replaces_the_default_file_and_must_exist() {
    let bench = Bench::with_file("[server]\nreactors = 3\n");
    bench.write("other.toml", "[server]\nreactors = 4\n");
    assert_listed(&bench.listing(&["--config", "other.toml"]), "reactors = 4 # other.toml:2");
    let error = bench.error(&["--config", "absent.toml"]);
    assert!(error.starts_with("absent.toml: cannot read absent.toml: No such file"), "{error}");
}

#[test]
fn lists_are_read_from_files_and_variables() {
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
fn unknown_key_section_or_variable_is_rejected_with_the_nearest() {
    let file = "reactors = 3\n[server]\nlisten_to = 3\n[limts]\nx = 1\n[limits]\nlog_level = 3\nframe_byte = 9\ndata = 1\n";
    let errors = Bench::with_file(file).variable("SEAWALL_LIMITS_FRAMEBYTES", "hunter2").errors(&[]);
    assert_eq!(
        errors,
        [
            "seawall.toml:1: reactors: unknown; did you mean server.reactors?",
            "seawall.toml:3: server.listen_to: unknown; did you mean server.listen?",
            "seawall.toml:4: limts: unknown; did you mean [limits]?",
            "seawall.toml:7: limits.log_level: unknown; `seawall check-config` lists every setting",
            "seawall.toml:8: limits.frame_byte: unknown; did you mean limits.frame_bytes?",
            "seawall.toml:9: limits.data: unknown; did you mean store.data?",
            "variable SEAWALL_LIMITS_FRAMEBYTES: unknown; did you mean SEAWALL_LIMITS_FRAME_BYTES?",
        ]
    );
}

#[test]
fn service_links_of_kubernetes_are_ignored() {
    let bench = Bench::new()
        .variable("SEAWALL_SERVICE_HOST", "10.0.0.1")
        .variable("SEAWALL_SERVICE_PORT_HTTP", "8080")
        .variable("SEAWALL_PORT", "tcp://10.0.0.1:8080")
        .variable("SEAWALL_PORT_8080_TCP_ADDR", "10.0.0.1");
    assert_eq!(bench.listing(&[]), Bench::new().listing(&[]));
}

#[test]
fn value_out_of_bounds_is_rejected_with_key_value_bound_and_origin() {
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
fn value_of_the_wrong_type_is_rejected_with_the_expected_one() {
    let file = "[server]\nlisten = 8080\necho = \"yes\"\norigins = \"https://a.example\"\nhosts = [\"a:80\"]\n\
                [limits]\nping_ms = \"25s\"\npong_ms = 1.5\nchannels = 99999999999999999999\n[log]\nlevel = \"loud\"\n";
    let errors = Bench::with_file(file).variable("SEAWALL_SERVER_PIN_REACTORS", "1").errors(&["--data", ""]);
    let expected = [
        r#"seawall.toml:2: server.listen = 8080: must be an IP address with a port, like "127.0.0.1:8080""#,
        r#"seawall.toml:3: server.echo = "yes": must be true or false"#,
        r#"seawall.toml:4: server.origins = "https://a.example": must be a list of origins like "https://chat.example.com", "https://*.example.com", "http://localhost:*" or "*", without a path"#,
        r#"seawall.toml:5: server.hosts = ["a:80"]: must be a list of host names like "chat.local", without a port"#,
        r#"seawall.toml:7: limits.ping_ms = "25s": must be a whole number: 100 to 3600000"#,
        "seawall.toml:8: limits.pong_ms = (number with a fraction): must be a whole number: 100 to 600000",
        "seawall.toml:9: limits.channels = 99999999999999999999: must be 1 to 16777215",
        r#"seawall.toml:11: log.level = "loud": must be "error" or "warn" or "info" or "debug""#,
        "variable SEAWALL_SERVER_PIN_REACTORS: server.pin_reactors = 1: must be true or false",
        r#"flag --data: store.data = "": must be the path of a folder"#,
    ];
    assert_eq!(errors, expected);
}

#[test]
fn section_with_a_value_is_rejected() {
    assert_eq!(
        Bench::with_file("limits = 3\n").error(&[]),
        "seawall.toml:1: limits: is a section: write its keys below its name in brackets"
    );
}

#[test]
fn malformed_toml_is_rejected_with_line_and_column_and_without_further_errors() {
    let error = Bench::with_file("[server]\nreactors = = 3\nechoo = 1\n").error(&[]);
    assert!(error.starts_with("seawall.toml:2: column "), "{error}");
    let error = Bench::with_file("[limits]\nchannels = 1\nchannels = 2\n").error(&[]);
    assert!(error.starts_with("seawall.toml:3: column 1: ") && error.contains("duplicate"), "{error}");
}

#[test]
fn contradicting_limits_are_rejected_with_both_origins() {
    let bench = Bench::with_file("[limits]\nframe_bytes = 100000\nuri_bytes = 20000\n")
        .variable("SEAWALL_LIMITS_OUTBOX_BYTES_TOTAL", "1048576")
        .variable("SEAWALL_LIMITS_OUTBOX_BYTES_HARD", "2000000");
    assert_eq!(
        bench.errors(&[]),
        [
            "default: limits.message_bytes = 65536: must be at least limits.frame_bytes = 100000 (seawall.toml:2), \
             because a message may be a single frame",
            "default: limits.head_bytes = 16384: must be at least limits.uri_bytes = 20000 (seawall.toml:3), \
             because the request target is part of the head",
            "variable SEAWALL_LIMITS_OUTBOX_BYTES_TOTAL: limits.outbox_bytes_total = 1048576: must be at least \
             limits.outbox_bytes_hard = 2000000 (variable SEAWALL_LIMITS_OUTBOX_BYTES_HARD), \
             because the total includes every single outbox",
        ]
    );
}

#[test]
fn overlapping_phases_of_a_drain_are_rejected() {
    let bench = Bench::with_file("[drain]\naccept_ms = 10000\n").variable("SEAWALL_DRAIN_EXIT_MS", "23500");
    assert_eq!(
        bench.errors(&[]),
        [
            "default: drain.close_ms = 23000: must be at least 28000 (drain.accept_ms + drain.spread_ms), \
             because no connection is closed before the last slot",
            "variable SEAWALL_DRAIN_EXIT_MS: drain.exit_ms = 23500: must be at least 24000 (drain.close_ms + 1000), \
             because pending requests are answered and the store is closed in between",
        ]
    );
    let error = Bench::with_file("[drain]\naccept_ms = 5\nspread_ms = 0\nclose_ms = 5\n").error(&[]);
    assert!(error.contains("drain.close_ms = 5: must be at least 6 "), "{error}");
    let error = Bench::with_file("[drain]\nclose_ms = 0\n").error(&[]);
    assert!(error.contains("drain.close_ms = 0: must be 1 to 86400000"), "{error}");
    Bench::with_file("[drain]\naccept_ms = 0\nspread_ms = 0\nclose_ms = 1\nexit_ms = 1001\n").listing(&[]);
}

#[test]
fn rejected_value_is_not_also_a_contradiction() {
    let bench = Bench::with_file("[limits]\nframe_bytes = 100000\nmessage_bytes = \"100k\"\n");
    assert!(bench.error(&[]).contains("limits.message_bytes = \"100k\""));
    let bench =
        Bench::with_file("[server]\nproxy_protocol = \"required\"\ntrusted_proxies = [\"10.0.0.0/33\"]\n");
    assert!(bench.error(&[]).contains("server.trusted_proxies = [\"10.0.0.0/33\"]"));
}

#[test]
fn required_proxy_header_needs_trusted_proxies() {
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
fn listener_without_auth_is_limited_to_loopback() {
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
fn every_command_rejects_a_wrong_configuration() {
    for command in [&["serve"][..], &[], &["store", "new-epoch"]] {
        let said = Bench::with_file("[limits]\nframe_bytes = 12\n").run(command);
        assert_eq!(said.code, Some(2));
        assert!(said.err.contains("seawall.toml:2: limits.frame_bytes = 12"), "{}", said.err);
    }
}

#[test]
fn listing_used_as_a_file_has_the_same_values() {
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
        ["\ncommit ", "\nprotocol seawall.v1\n", "\ntarget "].iter().all(|line| version.out.contains(line)),
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
fn wrong_argument_is_rejected_with_the_nearest() {
    let said = Bench::new().run(&["--lisen", "127.0.0.1:1"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("--listen"), "{}", said.err);
}
