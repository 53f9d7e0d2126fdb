use super::*;
use crate::gateway::config::table;

#[test]
fn arguments_are_consistent() {
    command().debug_assert();
}

#[test]
fn wrong_argument_is_named_with_its_bound_and_where_the_right_one_is_found() {
    let long = "x".repeat(129);
    let cases: [(&[&str], &str, &str); 10] = [
        (&["presence", "a b"], "<CHANNEL>", "1 to 128 bytes of A-Z"),
        (&["presence", ""], "<CHANNEL>", "as in subscribe of a client"),
        (&["user", "disconnect", ""], "<NAME>", "1 to 128 bytes without control characters, as in sub"),
        (&["user", "sessions", &long], "<NAME>", "1 to 128 bytes"),
        (&["user", "block", "ann", "--until", "tomorrow"], "--until <MS>", "must be Unix milliseconds"),
        (&["user", "block", "ann", "--until", "+5"], "--until <MS>", "a whole number from 0 to"),
        (&["user", "block", "ann", "--reason", &long], "--reason <TEXT>", "at most 64 bytes"),
        (&["connection", "show", "7f"], "<ID>", "16 hexadecimal digits"),
        (&["rebalance", "--within", "2"], "--within <PERCENT>", "a whole number from 3 to 100"),
        (&["order", "last"], "<N>", "which the command that gave it printed"),
    ];
    for (arguments, argument, says) in cases {
        let line = ["seawall"].iter().chain(arguments);
        let error = command().try_get_matches_from(line).expect_err(says).to_string();
        assert!(error.contains(argument) && error.contains(says), "{error}");
    }
}

#[test]
fn flags_of_serve_are_accepted_everywhere_and_listed_only_where_they_act() {
    for line in [
        "seawall --reactors 3 check-config",
        "seawall check-config --reactors 3",
        "seawall serve --reactors 3",
    ] {
        let matches = command().try_get_matches_from(line.split(' ')).expect(line);
        let parsed = CommandLine::from_arg_matches(&matches).expect(line);
        assert_eq!(parsed.settings.reactors.as_deref(), Some("3"), "{line}");
    }
    let help = |verb: &str| {
        let mut command = command();
        command.build();
        command.find_subcommand_mut(verb).expect(verb).render_help().to_string()
    };
    assert!(help("serve").contains("--reactors") && help("serve").contains("--echo"));
    for verb in ["doctor", "drain", "token", "store"] {
        assert!(!help(verb).contains("--reactors") && !help(verb).contains("--echo"), "{verb}");
        assert!(help(verb).contains("--config"), "{verb}");
    }
}

#[test]
fn every_flag_of_the_table_is_an_argument() {
    for setting in table::all() {
        let Some(flag) = setting.flag else { continue };
        let arguments: &[&str] =
            if flag == "--echo" { &["seawall", flag] } else { &["seawall", flag, "value"] };
        let parsed = CommandLine::try_parse_from(arguments).expect(flag);
        let names: Vec<_> = parsed.settings.sources().flags.iter().map(|flag| flag.name).collect();
        assert_eq!(names, [flag]);
    }
}
