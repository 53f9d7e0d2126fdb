//! A data folder belongs to one process.

use crate::support::{Client, Gateway};
use serde_json::json;

#[test]
fn second_process_on_the_same_data_refuses_to_start() {
    let gateway = Gateway::start();
    let Err(refused) = gateway.setup().clone().try_start() else { panic!("two processes share one folder") };
    assert!(!refused.status.success());
    assert!(refused.status.code().is_some(), "it exits by itself: {}", refused.status);
    let folder = gateway.setup().data();
    assert!(
        refused.output.contains(folder.to_str().expect("text")),
        "the error names the folder: {}",
        refused.output
    );
    let mut client = Client::connect(&gateway);
    assert_eq!(client.publish("c", json!(1)), 1, "the first gateway still works");
}

#[test]
fn store_version_is_printed_while_a_gateway_runs() {
    let gateway = Gateway::start();
    let printed = std::process::Command::new(env!("CARGO_BIN_EXE_seawall"))
        .args(["store", "version", "--data"])
        .arg(gateway.setup().data())
        .current_dir(std::env::temp_dir())
        .output()
        .expect("the program runs");
    let text = String::from_utf8_lossy(&printed.stdout);
    assert!(printed.status.success(), "{printed:?}");
    let version = seawall::store::sqlite::VERSION;
    for line in [&format!("found    {version}"), &format!("program  {version}"), "oldest   2"] {
        assert!(text.lines().any(|printed| printed == line), "{line}: {text}");
    }
    assert_eq!(Client::connect(&gateway).publish("c", json!(1)), 1, "the gateway is not disturbed");
}

#[test]
fn crashed_process_leaves_no_lock() {
    let gateway = Gateway::start().kill9().start();
    assert_eq!(Client::connect(&gateway).publish("c", json!(1)), 1);
}
