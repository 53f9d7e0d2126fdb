//! A full disk refuses publications, and nothing else.

use crate::servers::Disk;
use crate::servers::skipped::skip;
use crate::support::{Client, Gateway, SOON, Setup, until};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::path::PathBuf;

/// The data folder as the gateway sees it, in its own mount namespace.
fn inside(gateway: &Gateway) -> PathBuf {
    let data = gateway.setup().data();
    let path = data.strip_prefix("/").expect("a whole path").to_path_buf();
    PathBuf::from(format!("/proc/{}/root", gateway.pid())).join(path)
}

fn publish(client: &mut Client, n: usize) -> Value {
    client.command(json!({"publish": {"channel": "c", "key": n.to_string(), "data": "x".repeat(20_000)}}))
}

#[test]
fn publishing_is_refused_until_space_is_free() {
    let mount =
        std::process::Command::new("unshare").args(["-rm", "sh", "-c", "mount -t tmpfs none /mnt"]).status();
    if !mount.is_ok_and(|status| status.success()) {
        return skip("this machine allows no mount in a namespace, so no disk can be filled");
    }
    let gateway = Setup::new().unlimited().tmpfs("size=12m").start();
    let ballast = inside(&gateway).join("ballast");
    std::fs::write(&ballast, vec![0; 5 << 20]).expect("room for ballast");
    let mut client = Client::connect(&gateway);
    let mut stored = 0;
    let mut refusal = Value::Null;
    until(SOON * 3, "the disk is full", || {
        let reply = publish(&mut client, stored + 1);
        match reply.get("published") {
            Some(published) => {
                stored += 1;
                assert_eq!(published["offset"], stored);
            }
            None => refusal = reply,
        }
        !refusal.is_null()
    });
    assert_eq!(refusal["error"]["code"], "unavailable", "{refusal}");
    assert!(refusal["error"]["retry_ms"].as_u64().is_some_and(|retry| retry > 0), "{refusal}");
    assert_eq!(refusal["error"]["dependency"], "store", "{refusal}");
    assert!(stored > 10, "{stored}");
    let page = client.ask(json!({"history": {"channel": "c", "limit": 1}}), "history");
    assert_eq!(page["head"], stored, "history is served without the refused publication");
    assert!(client.is_open());
    std::fs::remove_file(ballast).expect("the ballast is removed");
    until(SOON * 2, "publishing works again", || {
        let reply = publish(&mut client, stored + 1);
        if let Some(published) = reply.get("published") {
            assert_eq!(published["offset"], stored + 1, "a refusal uses no offset");
        }
        reply.get("published").is_some()
    });
}

#[test]
fn clients_can_read_after_a_clean_stop_and_a_start_on_a_full_disk() {
    let Some(disk) = Disk::or_skip(24) else { return };
    let setup = || Setup::new().unlimited().data_at(disk.path().join("data"));
    let mut gateway = setup().start();
    let mut client = Client::connect(&gateway);
    for n in 1..=20 {
        assert!(publish(&mut client, n).get("published").is_some());
    }
    disk.fill();
    assert_eq!(publish(&mut client, 21)["error"]["code"], "unavailable");
    // The drain does not wait for room.
    gateway.signal(Signal::TERM);
    client.expect_close().is(1012, "restart");
    assert_eq!(gateway.ends_within(SOON), Some(0), "{}", gateway.output());
    let gateway = setup().start();
    let mut client = Client::connect(&gateway);
    let page = client.ask(json!({"history": {"channel": "c", "limit": 1}}), "history");
    assert_eq!(page["head"], 20);
    assert_eq!(publish(&mut client, 21)["error"]["code"], "unavailable");
    disk.free();
    until(SOON, "publishing works again", || publish(&mut client, 21).get("published").is_some());
    drop(client);
    drop(gateway);

    // A store that has to be created has no room: the error names the cause.
    disk.fill();
    let Err(refused) = setup().data_at(disk.path().join("new")).try_start() else { panic!("it started") };
    assert!(
        refused.output.contains("is full") && refused.output.contains("bytes are free"),
        "{}",
        refused.output
    );
}

#[test]
fn publishing_is_refused_before_the_disk_is_full_and_deletes_go_on() {
    let mount =
        std::process::Command::new("unshare").args(["-rm", "sh", "-c", "mount -t tmpfs none /mnt"]).status();
    if !mount.is_ok_and(|status| status.success()) {
        return skip("this machine allows no mount in a namespace, so no disk can be filled");
    }
    let gateway = Setup::new().unlimited().tmpfs("size=60m").start();
    let mut client = Client::connect(&gateway);
    assert!(publish(&mut client, 1).get("published").is_some());
    // A twentieth of the disk is 3 MiB.
    let ballast = inside(&gateway).join("ballast");
    std::fs::write(&ballast, vec![0; 57 << 20]).expect("room for ballast");
    let mut refusal = Value::Null;
    until(SOON, "publishing is refused", || {
        // Few bytes, because the disk is looked at once a second.
        refusal = client.command(json!({"publish": {"channel": "c", "data": 1}}));
        refusal.get("published").is_none()
    });
    let error = &refusal["error"];
    assert_eq!((&error["code"], &error["dependency"]), (&json!("unavailable"), &json!("store")), "{refusal}");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("free_bytes_min")), "{refusal}");
    gateway.shows("seawall_store_short_of_room", 1.0);
    assert!(gateway.metric("seawall_store_free_bytes") > 1e6, "there is room for deletes");
    let deleted = client.command(json!({"publish": {"channel": "c", "deletes": 1}}));
    assert!(deleted.get("published").is_some(), "{deleted}");
    std::fs::remove_file(ballast).expect("the ballast is removed");
    until(SOON, "publishing works again", || publish(&mut client, 2).get("published").is_some());
}
