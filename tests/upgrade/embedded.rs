//! The embedded store: stop, replace the program, start, and back.

use crate::previous;
use crate::support::{Client, Setup};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::path::Path;

/// Publishes a keyed publication with one program, and reads the whole log with it.
fn visit(setup: Setup, key: &str) -> (Vec<Value>, Setup) {
    let mut gateway = setup.start();
    let mut client = Client::connect(&gateway);
    client.ask(json!({"publish": {"channel": "c", "key": key, "data": key}}), "published");
    let page = client.ask(json!({"history": {"channel": "c", "limit": 100}}), "history");
    let epoch = page["epoch"].clone();
    let log = page["publications"].as_array().expect("a list").iter();
    let log = log.map(|each| json!([epoch, each["offset"], each["key"], each["data"]])).collect();
    drop(client);
    assert_eq!(gateway.ends_after(Signal::TERM).0, Some(0), "{}", gateway.output());
    (log, gateway.setup().clone())
}

fn store_version(setup: &Setup) -> String {
    let printed = setup.run(&["store", "version"]);
    assert!(printed.status.success(), "{printed:?}");
    String::from_utf8_lossy(&printed.stdout).into_owned()
}

#[test]
fn embedded_store_is_upgraded_and_rolled_back_without_a_loss() {
    let Some(old) = previous::program() else { return };
    let setup = Setup::new();
    let new = setup.clone();
    let (log, setup) = visit(setup.program(&old), "1");
    assert_eq!(log.len(), 1);
    assert!(store_version(&new).contains("The next start of this program migrates the store"));
    let (log, _) = visit(new.clone(), "2");
    assert_eq!(log.len(), 2);
    let noted = store_version(&new);
    let (log, _) = visit(setup, "3");
    assert_eq!(log.len(), 3);
    // The key that the newer program stored is known to the older one, and the other way round.
    let (log, _) = visit(new.clone().program(&old), "2");
    assert_eq!(log.len(), 3);
    assert_eq!(store_version(&new), noted, "the older program changed the versions");
    let (log, _) = visit(new, "3");
    assert_eq!(log.len(), 3);
    let keys: Vec<&Value> = log.iter().map(|each| &each[2]).collect();
    assert_eq!(keys, ["1", "2", "3"]);
    assert!(log.iter().all(|each| each[0] == log[0][0]), "the epoch changed: {log:?}");
}
