//! Wrong configurations: `check-config` and a start say the same about each, and exit with the same code.

use crate::configuration::bench::{Bench, SECRET};

/// Content of `seawall.toml`, and a part of the answer.
const FILES: [(&str, &str); 69] = [
    ("[server]\nlisten = \"8080\"", "an IP address with a port"),
    ("[server]\nlisten = \"localhost:8080\"", "an IP address with a port"),
    ("[server]\nlisten = \"0.0.0.0:8080\"", "auth is off"),
    ("[server]\nreactors = -1", "1 to 256"),
    ("[server]\necho = 1", "true or false"),
    (
        "[server]\norigins = [\"https://a.example\", \"https://b.example/chat\"]",
        "element 2 is \"https://b.example/chat\"",
    ),
    ("[server]\norigins = [\"*\"]", "would let every web page read and write while auth is off"),
    ("[server]\norigins = [1]", "a list of origins"),
    ("[server]\nhosts = [\"a.example\", \"b.example:80\"]", "element 2 is \"b.example:80\""),
    ("[server]\ntrusted_proxies = [\"10.0.0.0/8\", \"10.0.0.0/33\"]", "element 2 is \"10.0.0.0/33\""),
    ("[server]\nproxy_protocol = \"required\"", "needs server.trusted_proxies"),
    ("[server]\nproxy_protocol = \"v1\"", "\"off\" or \"required\""),
    ("[server]\ntakeover = true", "needs PostgreSQL"),
    (
        "[store]\nurl = \"postgres://a:b@127.0.0.1/c\"\nfree_bytes_min = 2000000",
        "cannot see the free space of its disk",
    ),
    ("[server]\nsource_address = \"0.0.0.0\"", "an IP address of this machine"),
    ("[server]\ninstance = \"two words\"", "letters, digits"),
    ("[server]\nlisten_to = \"127.0.0.1:1\"", "did you mean server.listen?"),
    ("[sever]\nlisten = \"127.0.0.1:1\"", "did you mean [server]?"),
    ("listen = \"127.0.0.1:1\"", "did you mean server.listen?"),
    ("server = 3", "is a section"),
    ("[server\n", "column"),
    ("[server]\nlisten = 127.0.0.1", "column"),
    ("[server]\necho = true\necho = false", "duplicate"),
    ("[store]\nurl = \"postgres://u:p@ss@h/db\"", "percent-encode @"),
    ("[store]\nurl = \"postgres://u:p/ss@h/db\"", "percent-encode @"),
    ("[store]\nurl = \"mysql://u@h/db\"", "postgres://user:password@host"),
    ("[store]\nurl = \"host=h user=u\"", "postgres://user:password@host"),
    ("[store]\nurl = \"postgres://h/db\"", "names a host and a user"),
    ("[store]\nurl = \"postgres://u@h:many/db\"", "must be a number from 0 to 65535"),
    ("[store]\nurl = \"postgres://u@h/db?sslmode=foo\"", "sslmode must be"),
    ("[store]\nurl = \"postgres://u@h/db?sslmode=no-verify\"", "sslmode must be"),
    ("[store]\nurl = \"postgres://u@h/db?sslmode=allow\"", "sslmode must be"),
    ("[store]\nurl = \"postgres://u@h/db?ssl=true\"", "`ssl` is not understood: write sslmode=require"),
    ("[store]\nurl = \"postgres://u@h/db?schema=public\"", "`schema` is not understood"),
    ("[store]\nurl = \"postgres://u@h/db?foo=bar\"", "`foo` is not understood: leave it out"),
    ("[store]\nurl = \"postgres://u@h/db?keepalives_count=x\"", "must be numbers"),
    (
        "[store]\nurl = \"postgres://u@h/db?target_session_attrs=standby\"",
        "any, primary, read-only or read-write",
    ),
    (
        "[store]\nurl = \"postgres://u@h/db?sslmode=verify-full&sslrootcert=/nope.pem\"",
        "/nope.pem cannot be read",
    ),
    (
        "[store]\nurl = \"postgres://u@h/db?sslmode=verify-full&sslrootcert=seawall.toml\"",
        "has no certificate in it",
    ),
    ("[store]\nurl = \"postgres://u@h/db?sslcert=/mine.pem\"", "not supported"),
    ("[store]\nurl = \"postgres://u@h/db?sslnegotiation=direct\"", "not supported"),
    ("[store]\nurl = \"postgres://u@h/db?flag\"", "a parameter has no value"),
    ("[store]\ndata = \"\"", "the path of a folder"),
    ("[store]\ndata = \"seawall.toml\"", "is not a folder"),
    ("[bus]\nurl = \"redis://h\"", "has no effect with the embedded store"),
    ("[bus]\nprefix = \"a b\"", "letters, digits"),
    ("[limits]\nframe_bytes = 1", "125 to 16777216"),
    ("[limits]\nfragments = 1048577", "must be 1 to "),
    ("[limits]\nframe_bytes = 10000000", "limits.message_bytes"),
    ("[limits]\nping_ms = \"25s\"", "a whole number"),
    ("[limits]\nhead_bytes = 1024", "limits.uri_bytes"),
    ("[drain]\nclose_ms = 1", "drain.close_ms"),
    ("[[relay]]\nname = \"assistant\"\nuser = \"assistant\"", "relay.pattern: is missing"),
    ("[auth]\naudience = \"chat\"", "while auth is off"),
    ("[auth]\nintrospection_url = \"ftp://h\"", "https://host/path"),
    ("[auth]\njwks_url = \"https://h:99999/keys\"", "auth.jwks_url"),
    ("[auth]\njwks_url = \"http://h/keys\"", "use https, or set server.insecure_ok"),
    (
        "[auth]\nintrospection_url = \"http://h/\"\nclient_id = \"a\"\nclient_secret = \"0123456789\"",
        "use https, or set server.insecure_ok",
    ),
    ("[auth]\njwks_url = \"https://h/keys\"", "auth.issuer: is missing"),
    ("[auth]\nexpiry = \"always\"", "\"optional\" or \"required\""),
    ("[auth]\ntoken_pattern = \"[a-z]+\"", "one set of letters and one length"),
    ("[auth]\nclient_id = \"x\"", "auth.introspection_url"),
    ("[[auth.keys]]\nalgorithm = \"none\"", "\"HS256\""),
    ("[[auth.keys]]\nalgorithm = \"HS256\"\nsecret_file = \"/nope\"", "cannot read /nope"),
    ("[tls]\ncertificate = \"/nope.crt\"\nkey = \"/nope.key\"", "/nope.crt"),
    ("[tls]\ncertificate = \"/nope.crt\"", "tls.key"),
    ("[admin]\nlisten = \"on\"", "or \"off\""),
    ("[log]\nlevel = \"loud\"", "\"error\" or \"warn\""),
    ("[retention]\nage_ms = 1", "0 (forever)"),
];

/// A table of `[[dependency]]`, and a part of the answer.
const DEPENDENCIES: [(&str, &str); 12] = [
    ("name = \"a\"", "dependency.kind"),
    ("name = \"a\"\nkind = \"ftp\"", "\"postgres\""),
    ("name = \"a\"\nkind = \"http\"", "dependency.url"),
    ("name = \"a\"\nkind = \"http\"\nurl = \"https://h:99999/\"", "an http address is written"),
    ("name = \"a\"\nkind = \"tcp\"\naddress = \"h\"", "a host with a port"),
    ("name = \"a\"\nkind = \"redis\"\nurl = \"redis://h/notadb\"", "the number of a database"),
    (
        "name = \"a\"\nkind = \"redis\"\nurl = \"redis://h?ssl=true\"",
        "`ssl` is not understood: write rediss://",
    ),
    ("name = \"a\"\nkind = \"redis\"\nurl = \"redis://n1:6379,n2:6379\"", "a redis address is written"),
    ("name = \"a\"\nkind = \"postgres\"\nurl = \"postgres://u@h/d?foo=1\"", "`foo` is not understood"),
    ("name = \"bus\"", "bus.url"),
    ("name = \"gateway\"\nkind = \"tcp\"\naddress = \"h:1\"", "the name of this process"),
    ("name = \"a\"\nkind = \"tcp\"\naddress = \"h:1\"\nstatus = 200", "does not apply to kind \"tcp\""),
];

/// A variable, its value, and a part of the answer.
const VARIABLES: [(&str, &str, &str); 9] = [
    ("SEAWALL_LISTEN", "127.0.0.1:1", "did you mean SEAWALL_SERVER_LISTEN?"),
    ("SEAWALL_LIMITS_FRAMEBYTES", "1000", "did you mean SEAWALL_LIMITS_FRAME_BYTES?"),
    ("SEAWALL_AUTH_SECRET", "short", "32 to 4096 bytes"),
    ("SEAWALL_AUTH_SECRET", "", "32 to 4096 bytes"),
    ("SEAWALL_AUTH_SECRET", "-----BEGIN PUBLIC KEY-----MCowBQYDK2VwAyEA", "auth.secret"),
    ("SEAWALL_ADMIN_TOKEN", "short", "32 to 512 letters"),
    (
        "SEAWALL_STORE_URL",
        "postgres://u@h/d?sslmode=foo",
        "variable SEAWALL_STORE_URL: store.url: sslmode must be",
    ),
    ("SEAWALL_SERVER_TRUSTED_PROXIES", "10.0.0.0/8,a", "element 2 is \"a\""),
    ("SEAWALL_LOG_FORMAT", "yaml", "\"text\" or \"json\""),
];

#[track_caller]
fn refused_alike(bench: &Bench, flags: &[&str], words: &str) {
    let check = bench.run(&[flags, &["check-config"]].concat());
    assert_eq!((check.code, check.out.as_str()), (Some(2), ""), "{words}: {}", check.err);
    assert!(check.err.contains(words), "{words}: {}", check.err);
    for verb in ["serve", "doctor"] {
        let other = bench.run(&[flags, &[verb]].concat());
        assert_eq!((other.code, other.err), (Some(2), check.err.clone()), "{verb}: {words}");
    }
}

#[test]
fn wrong_configuration_is_refused_alike_by_check_config_doctor_and_serve() {
    for (file, words) in FILES {
        refused_alike(&Bench::with_file(file), &[], words);
    }
    for (table, words) in DEPENDENCIES {
        refused_alike(&Bench::with_file(&format!("[[dependency]]\n{table}\n")), &[], words);
    }
    for (name, value, words) in VARIABLES {
        refused_alike(&Bench::new().variable(name, value), &[], words);
    }
    refused_alike(&Bench::new(), &["--config", "absent.toml"], "cannot read absent.toml");
    refused_alike(&Bench::new(), &["--reactors", "many"], "a whole number");
}

#[test]
fn address_of_a_bus_is_checked_before_it_is_dialled() {
    for (url, words) in [
        ("redis://h/abc", "the number of a database"),
        ("redis://h?ssl=true", "rediss://"),
        ("redis://h?sentinel=m", "redis+sentinel://"),
        ("redis+sentinel://h1:26379,h2:x/m", "bus.url: the port of Sentinel 2 of the address"),
        ("redis+sentinel://h1,,h3/m", "bus.url: Sentinel 2 of the address has no valid host"),
        ("redis+sentinel://h1:26379", "bus.url: the path must name the master"),
        ("redis+cluster://h1:6379,h2:x", "bus.url: the port of node 2 of the address"),
        ("redis+cluster://h1/3", "bus.url: a Redis Cluster has no databases"),
        ("redis+sentinel://h1/m/zero", "bus.url: only the number of a database may follow"),
        ("redis+sentinel://h1/m?timeout=1", "the parameter `timeout` is not understood"),
    ] {
        let bench =
            Bench::new().variable("SEAWALL_STORE_URL", "postgres://u@h/d").variable("SEAWALL_BUS_URL", url);
        refused_alike(&bench, &[], words);
    }
}

#[test]
fn keys_of_an_issuer_without_an_audience_are_accepted_with_a_warning() {
    let shared = || {
        Bench::new()
            .variable("SEAWALL_AUTH_JWKS_URL", "https://id.example/keys")
            .variable("SEAWALL_AUTH_ISSUER", "https://id.example")
    };
    let said = shared().run(&["check-config"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("auth.audience: not set"), "{}", said.err);
    let said = shared().variable("SEAWALL_AUTH_AUDIENCE", "chat").run(&["check-config"]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    let own = Bench::new().variable("SEAWALL_AUTH_SECRET", "0123456789abcdef0123456789abcdef");
    assert_eq!(own.run(&["check-config"]).err, "", "a secret is for this gateway alone");
}

#[test]
fn parameter_without_effect_is_accepted_with_a_warning() {
    let url = "postgres://u@localhost/d?pgbouncer=true&connection_limit=1&keepalives_count=5&target_session_attrs=primary";
    let said = Bench::new().variable("SEAWALL_STORE_URL", url).run(&["check-config"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let warnings: Vec<&str> = said.err.lines().collect();
    let warning = |word| {
        format!(
            "seawall: warning: variable SEAWALL_STORE_URL: store.url: the parameter `{word}` has no effect here: leave it out"
        )
    };
    assert_eq!(warnings, [warning("pgbouncer"), warning("connection_limit")]);
}

#[test]
fn what_crosses_a_network_unencrypted_is_warned_of() {
    let settings = [
        ("SEAWALL_SERVER_LISTEN", "0.0.0.0:8080", "server.listen: tokens and messages"),
        ("SEAWALL_STORE_URL", "postgres://u@h/d", "store.url: the network can read and change"),
        ("SEAWALL_BUS_URL", "redis://h", "bus.url: the network can read and change"),
        ("SEAWALL_AUTH_INTROSPECTION_URL", "http://h/", "auth.introspection_url: tokens cross"),
    ];
    let bench = || Bench::new().variable("SEAWALL_AUTH_AUDIENCE", "chat");
    let open = || settings.iter().fold(bench(), |bench, (name, value, _)| bench.variable(name, value));
    let said = open().run(&["check-config"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert_eq!(said.err.lines().count(), settings.len(), "{}", said.err);
    for (name, _, words) in settings {
        let words = format!("seawall: warning: variable {name}: {words}");
        let line = said.err.lines().find(|line| line.starts_with(&words));
        assert!(line.is_some_and(|line| line.contains("server.insecure_ok")), "{words}: {}", said.err);
    }
    let silenced = open().variable("SEAWALL_SERVER_INSECURE_OK", "true").run(&["check-config"]);
    assert_eq!((silenced.code, silenced.err.as_str()), (Some(0), ""));
    let behind_proxy = open().variable("SEAWALL_SERVER_TRUSTED_PROXIES", "10.0.0.0/8").run(&["check-config"]);
    assert!(!behind_proxy.err.contains("server.listen"), "{}", behind_proxy.err);
}

#[test]
fn wrong_name_of_a_dependency_hides_no_other_mistake_of_its_table() {
    let file = "[[dependency]]\nname = \"two words\"\nkind = \"ftp\"\ntimeout_ms = 1\nlost = 3\nstatus = 1\n";
    let errors = Bench::with_file(file).errors(&[]);
    let lines: Vec<&str> = errors.iter().filter_map(|error| error.split(": ").next()).collect();
    let expected = [2, 3, 4, 5, 6].map(|line| format!("seawall.toml:{line}"));
    assert_eq!(lines, expected, "{errors:#?}");
}

#[test]
fn chain_of_contradicting_limits_is_reported_at_once() {
    let errors = Bench::with_file("[limits]\nframe_bytes = 2000000\n").errors(&[]);
    let expected = ["limits.message_bytes", "limits.outbox_bytes", "limits.outbox_bytes_hard"];
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
    for (error, setting) in errors.iter().zip(expected) {
        assert!(
            error.starts_with(&format!("default: {setting} = "))
                && error.contains("must be at least limits.frame_bytes = 2000000"),
            "{error}"
        );
    }
}

#[test]
fn port_in_use_names_the_flag_and_nothing_else() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let said = Bench::new().variable("SEAWALL_AUTH_SECRET", SECRET).run(&["--listen", &address]);
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(said.err.contains("--listen") && !said.err.contains("admin listener"), "{}", said.err);
}
