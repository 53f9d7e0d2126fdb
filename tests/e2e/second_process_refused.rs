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

#[test]
fn dropped_channels_leave_the_store_and_their_offsets_are_not_used_again() {
    let gateway = Gateway::start();
    let mut client = Client::connect(&gateway);
    for channel in ["room.1", "room.1", "room.2", "lobby"] {
        client.publish(channel, json!(1));
    }
    let refused = gateway.setup().run(&["store", "drop-channel", "room.*"]);
    assert!(!refused.status.success(), "the gateway runs");
    let setup = gateway.kill9();
    let run = |name: &str| setup.run(&["store", "drop-channel", name]);
    let dropped = run("room.*");
    let text = String::from_utf8_lossy(&dropped.stdout);
    assert_eq!(text, "dropped 2 channels with 3 publications\n", "{dropped:?}");
    for wrong in ["room.*", "room.1", "*", "a b"] {
        assert!(!run(wrong).status.success(), "{wrong}");
    }
    let gateway = setup.start();
    let mut client = Client::connect(&gateway);
    assert_eq!(client.publish("lobby", json!(2)), 2);
    assert_eq!(client.publish("room.1", json!(1)), 65_537);
}
