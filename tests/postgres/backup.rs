//! The commands that `seawall backup` and `seawall restore` print for a store in PostgreSQL.

use crate::servers::Postgres;
use crate::servers::postgres::programs;
use crate::support::{Client, Gateway, SOON, Setup, until};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::process::Command;

fn publish(gateway: &Gateway, key: &str) {
    let mut client = Client::connect(gateway);
    let command = json!({"publish": {"channel": "c", "key": key, "data": key}});
    until(SOON, "it is stored", || client.command(command.clone()).get("published").is_some());
}

/// The epoch and the keys of the log.
fn log(gateway: &Gateway) -> (Value, Vec<Value>) {
    let mut client = Client::connect(gateway);
    let mut page = Value::Null;
    until(SOON, "the log is read", || {
        page = client.command(json!({"history": {"channel": "c", "limit": 100}}))["history"].take();
        !page.is_null()
    });
    let keys = page["publications"].as_array().expect("a list").iter().map(|each| each["key"].clone());
    (page["epoch"].clone(), keys.collect())
}

#[test]
fn printed_commands_back_up_under_a_gateway_and_restore_twice() {
    let server = Postgres::start();
    let url = server.url();
    let setup = Setup::new().env("SEAWALL_STORE_URL", &url);
    let printed = setup.run_with(&["backup"], &[("SEAWALL_STORE_URL", &url)]);
    let printed = String::from_utf8_lossy(&printed.stderr).into_owned();
    let run = |program: &str| {
        let line = printed.lines().find(|line| line.starts_with(program)).expect("it is printed");
        let path = format!("{}:/usr/bin:/bin", programs().display());
        let ran =
            Command::new("sh").args(["-c", line]).env("PATH", path).current_dir(setup.folder()).output();
        let ran = ran.expect("a shell");
        assert!(ran.status.success(), "{line}: {ran:?}");
    };
    let mut gateway = setup.clone().start();
    publish(&gateway, "before");
    for _ in 0..2 {
        let (old, before) = log(&gateway);
        run("pg_dump");
        publish(&gateway, "after");
        assert_eq!(gateway.ends_after(Signal::TERM).0, Some(0));
        run("pg_restore");
        let replaced = setup.run_with(&["store", "new-epoch"], &[("SEAWALL_STORE_URL", &url)]);
        assert!(replaced.status.success(), "{replaced:?}");
        gateway = setup.clone().start();
        let (new, after) = log(&gateway);
        assert_eq!((before, new != old), (after, true));
        // Stored, because the restored store has forgotten the key as well.
        publish(&gateway, "after");
        assert_eq!(log(&gateway).1.last(), Some(&json!("after")));
    }
}
