//! The dependencies of a gateway, as its configuration defines them.

use crate::configuration::bench::{Bench, assert_listed};

#[test]
fn ready_made_dependency_needs_only_its_name_and_settings_imply_store_and_bus() {
    let bench = Bench::with_file(
        "[[dependency]]\nname = \"auth\"\nurl = \"https://auth.local/health?token=hunter2\"\n\
         [[dependency]]\nname = \"llm\"\nkind = \"http\"\nurl = \"https://llm.local\"\nlost = [\"replies\"]\n\
         sentence = \"Assistant replies are paused.\"\nfield = \"status=ok\"\n\
         [[dependency]]\nname = \"mail\"\nkind = \"tcp\"\naddress = \"mail.local:25\"\n",
    )
    .variable("SEAWALL_STORE_URL", "postgres://chat:hunter2@db/chat")
    .variable("SEAWALL_BUS_URL", "redis://bus");
    let listing = bench.listing(&[]);
    assert!(!listing.contains("hunter2"), "{listing}");
    assert_listed(&listing, "[[dependency]] # variable SEAWALL_STORE_URL");
    assert_listed(&listing, "[[dependency]] # seawall.toml:1");
    let table = |name: &str| -> Vec<String> {
        let first = format!("name = \"{name}\"");
        let rest = listing.lines().skip_while(|line| *line != first);
        rest.take_while(|line| !line.is_empty()).map(str::to_owned).collect()
    };
    let common = ["failures = 2", "successes = 2"];
    assert_eq!(
        table("store"),
        [
            &[
                "name = \"store\"",
                "kind = \"postgres\"",
                "criticality = \"critical\"",
                "lost = [\"publish\", \"history\"]",
                "sentence = \"Messages can be neither sent nor loaded at the moment.\"",
                "interval_ms = 2000",
                "timeout_ms = 1000",
            ][..],
            &common
        ]
        .concat()
    );
    assert!(table("bus").contains(&"criticality = \"optional\"".to_owned()));
    assert!(table("auth").contains(&"url = \"https://auth.local/health?token=(hidden)\"".to_owned()));
    assert!(table("auth").contains(&"criticality = \"critical\"".to_owned()));
    assert!(table("llm").contains(&"interval_ms = 5000".to_owned()));
    assert!(table("llm").contains(&"field = \"status=ok\"".to_owned()));
    assert!(table("mail").contains(&"address = \"mail.local:25\"".to_owned()));
}

#[test]
fn table_overrides_an_implied_dependency_and_survives_its_listing() {
    let file = "[store]\nurl = \"postgres://chat@db/chat\"\n[bus]\nurl = \"redis://bus\"\n[health]\nadmission = \"observe\"\n\
                [[dependency]]\nname = \"bus\"\ncriticality = \"critical\"\ntimeout_ms = 300\nsuccesses = 1\n";
    let listing = Bench::with_file(file).listing(&[]);
    assert_listed(&listing, "admission = \"observe\" # seawall.toml:6");
    for line in ["criticality = \"critical\"", "timeout_ms = 300", "interval_ms = 2000", "successes = 1"] {
        assert!(listing.lines().any(|listed| listed == line), "{line}: {listing}");
    }
    let tables = |listing: &str| -> Vec<String> {
        let known = |line: &&str| line.contains(" = ") && !line.contains("  # ");
        listing.lines().filter(known).map(str::to_owned).collect()
    };
    assert_eq!(tables(&Bench::with_file(&listing).listing(&[])), tables(&listing));
}

#[test]
fn wrong_table_is_rejected_with_field_bound_and_remedy() {
    let table = |text: &str| format!("[[dependency]]\n{text}\n");
    for (given, expected) in [
        ("kind = \"http\"", "seawall.toml:1: dependency.name: is missing: must be 1 to 32 letters"),
        ("name = \"a b\"", "seawall.toml:2: dependency.name = \"a b\": must be 1 to 32 letters"),
        ("name = \"x\"", "seawall.toml:1: dependency.kind: is missing: must be \"postgres\" or \"redis\" or"),
        (
            "name = \"x\"\nkind = \"mysql\"",
            "seawall.toml:3: dependency.kind = \"mysql\": must be \"postgres\" or",
        ),
        ("name = \"auth\"", "seawall.toml:1: dependency.url: is missing: must be a URL like \"https://"),
        (
            "name = \"x\"\nkind = \"tcp\"\nurl = \"tcp://a:1\"",
            "dependency.url: does not apply to kind \"tcp\": remove it",
        ),
        (
            "name = \"x\"\nkind = \"tcp\"\naddress = \"mail\"",
            "dependency.address = \"mail\": must be a host with a port",
        ),
        (
            "name = \"x\"\nkind = \"tcp\"\naddress = \"m:25\"\nstatus = 200",
            "dependency.status: does not apply to kind \"tcp\"",
        ),
        (
            "name = \"auth\"\nurl = \"ftp://u:hunter2@a\"",
            "dependency.url = \"ftp://…\": must be a URL like \"https://",
        ),
        (
            "name = \"auth\"\nurl = \"https://a\"\ninterval_ms = 99",
            "dependency.interval_ms = 99: must be 100 to 3600000",
        ),
        ("name = \"auth\"\nurl = \"https://a\"\nfailures = 0", "dependency.failures = 0: must be 1 to 10"),
        (
            "name = \"auth\"\nurl = \"https://a\"\nlost = [\"a b\"]",
            "dependency.lost = [\"a b\"]: must be a list of up to 8",
        ),
        (
            "name = \"auth\"\nurl = \"https://a\"\nfield = \"ok\"",
            "dependency.field = \"ok\": must be a path and a text",
        ),
        (
            "name = \"auth\"\nulr = \"https://a\"",
            "seawall.toml:3: dependency.ulr: unknown; did you mean url?",
        ),
        (
            "name = \"store\"",
            "dependency.name: has no effect without store.url: set store.url too, or remove this",
        ),
        (
            "name = \"store\"\nurl = \"postgres://u:hunter2@a\"",
            "dependency.url: is set by store.url: remove it here",
        ),
        (
            "name = \"bus\"\nkind = \"tcp\"",
            "dependency.kind = \"tcp\": must be \"redis\", because its name is \"bus\"",
        ),
    ] {
        let errors = Bench::with_file(&table(given)).errors(&[]);
        assert!(errors.len() == 1 && errors[0].contains(expected), "{given}: {errors:?}");
        assert!(!errors[0].contains("hunter2"), "{errors:?}");
    }
    let twice = table("name = \"auth\"\nurl = \"https://a\"").repeat(2);
    let error = Bench::with_file(&twice).error(&[]);
    assert!(
        error.contains("seawall.toml:4: dependency.name: another dependency is already named \"auth\""),
        "{error}"
    );
    let error = Bench::with_file("[dependency]\nname = \"auth\"\n").error(&[]);
    assert!(error.contains("must be a list of tables: write [[dependency]]"), "{error}");
    let error = Bench::with_file("[[dependencies]]\nname = \"auth\"\n").error(&[]);
    assert!(error.contains("did you mean [[dependency]]?"), "{error}");
}

#[test]
fn table_of_a_rejected_setting_is_not_an_error_of_its_own() {
    let bench =
        Bench::with_file("[[dependency]]\nname = \"store\"\n").variable("SEAWALL_STORE_URL", "mysql://a");
    assert_eq!(bench.errors(&[]).len(), 1);
}

#[test]
fn dependency_named_like_the_process_is_rejected() {
    let table = "[[dependency]]\nname = \"gateway\"\nkind = \"tcp\"\naddress = \"a:1\"\n";
    let error = Bench::with_file(table).error(&[]);
    assert!(
        error.starts_with("seawall.toml:1: dependency.name: \"gateway\" is the name of this process"),
        "{error}"
    );
}
