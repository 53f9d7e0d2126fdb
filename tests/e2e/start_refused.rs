//! Reasons that keep the gateway from starting: each is one sentence, before anything starts.

use crate::support::token::SECRET;
use crate::support::{Gateway, Setup};

#[track_caller]
fn refused(setup: Setup, code: i32, words: &[&str]) {
    let Err(refused) = setup.try_start() else { panic!("it started") };
    assert_eq!(refused.status.code(), Some(code), "{}", refused.output);
    for word in words {
        assert!(refused.output.contains(word), "no {word:?} in:\n{}", refused.output);
    }
    assert!(!refused.output.contains("panicked"), "{}", refused.output);
}

#[test]
fn address_in_use_is_refused() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = holder.local_addr().expect("an address");
    refused(Setup::new().listen(address), 1, &[&address.to_string()]);
}

#[test]
fn address_of_another_machine_is_refused_with_what_to_set() {
    // Reserved for documentation (RFC 5737).
    let setup = Setup::new().listen(([192, 0, 2, 1], 0).into()).env("SEAWALL_AUTH_SECRET", SECRET);
    refused(setup, 1, &["server.listen", "this machine has no such address"]);
}

#[test]
fn address_of_another_gateway_is_refused() {
    let gateway = Gateway::start();
    refused(Setup::new().listen(gateway.address), 1, &[&gateway.address.to_string()]);
}

#[test]
fn network_listener_without_auth_is_refused() {
    refused(Setup::new().listen(([0, 0, 0, 0], 0).into()), 2, &["server.listen", "auth"]);
}

#[test]
fn wrong_configuration_is_refused_with_all_errors_at_once() {
    let setup = Setup::new()
        .toml("[limits]\nping_ms = 1\nnonsense = 3\n[server]\norigins = [\"not an origin\"]")
        .env("SEAWALL_LIMITS_FRAGMENTS", "many");
    refused(setup, 2, &["limits.ping_ms", "nonsense", "server.origins", "fragments"]);
}

#[test]
fn data_folder_below_a_file_is_refused() {
    let setup = Setup::new();
    let data = setup.data();
    let file = data.parent().expect("a folder").join("file");
    std::fs::write(&file, "no folder").expect("written");
    let inside = file.join("data");
    let text = inside.to_str().expect("text").to_string();
    let Err(refused) = setup.data_at(inside).try_start() else { panic!("it started") };
    assert_eq!(refused.status.code(), Some(1), "{}", refused.output);
    assert!(refused.output.contains(&text), "{}", refused.output);
}
