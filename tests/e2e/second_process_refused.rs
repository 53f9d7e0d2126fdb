//! A data folder has one owner.

use crate::support::{Client, Gateway};
use serde_json::json;

#[test]
fn a_second_process_on_the_same_data_refuses_to_start() {
    let gateway = Gateway::start();
    let Err(refused) = gateway.setup().clone().try_start() else { panic!("two owners of one folder") };
    assert!(!refused.status.success());
    assert!(refused.status.code().is_some(), "it ends itself: {}", refused.status);
    let folder = gateway.setup().data();
    assert!(
        refused.output.contains(folder.to_str().expect("text")),
        "it names the folder: {}",
        refused.output
    );
    let mut client = Client::connect(&gateway);
    assert_eq!(client.publish("c", json!(1)), 1, "the first goes on");
}

#[test]
fn a_crashed_owner_leaves_no_lock() {
    let gateway = Gateway::start().kill9().start();
    assert_eq!(Client::connect(&gateway).publish("c", json!(1)), 1);
}
