//! What cannot be served is said in one sentence, before anything starts.

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
fn an_address_in_use() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = holder.local_addr().expect("an address");
    refused(Setup::new().listen(address), 1, &[&address.to_string()]);
}

#[test]
fn an_address_that_another_gateway_has() {
    let gateway = Gateway::start();
    refused(Setup::new().listen(gateway.address), 1, &[&gateway.address.to_string()]);
}

#[test]
fn the_network_without_auth() {
    refused(Setup::new().listen(([0, 0, 0, 0], 0).into()), 2, &["server.listen", "auth"]);
}

#[test]
fn a_wrong_configuration_all_at_once() {
    let setup = Setup::new()
        .toml("[limits]\nping_ms = 1\nnonsense = 3\n[server]\norigins = [\"not an origin\"]")
        .env("SEAWALL_LIMITS_FRAGMENTS", "many");
    refused(setup, 2, &["limits.ping_ms", "nonsense", "server.origins", "fragments"]);
}

#[test]
fn a_data_folder_that_is_a_file() {
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
