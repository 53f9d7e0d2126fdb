//! Backups of a running gateway's store, and restores, as the guide describes them.

use crate::support::wait::until;
use crate::support::{Client, Gateway, SOON, Setup};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The value of a line that a command printed.
#[track_caller]
fn printed(output: &Output, name: &str) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let line =
        text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}: {output:?}"));
    line.trim().to_owned()
}

fn mode(path: &Path) -> u32 {
    path.metadata().expect("it is there").permissions().mode() & 0o7777
}

/// The epoch and the data of all publications of a channel, checked to be without a gap.
fn log(gateway: &Gateway) -> (Value, Vec<Value>) {
    let mut client = Client::connect(gateway);
    let mut all = Vec::new();
    loop {
        let page =
            client.ask(json!({"history": {"channel": "c", "after": all.len(), "limit": 300}}), "history");
        for each in page["publications"].as_array().expect("a list") {
            assert_eq!(each["offset"], json!(all.len() + 1));
            all.push(each["data"].clone());
        }
        if Some(all.len() as u64) >= page["head"].as_u64() {
            return (page["epoch"].clone(), all);
        }
    }
}

/// Publishes until it is done, and makes a backup meanwhile. Returns the backup, and the number of publications that were
/// acknowledged before it began and in the end.
fn back_up_under_appends(gateway: &Gateway, arguments: &[&str]) -> (Output, u64, u64) {
    let (done, acknowledged) = (AtomicBool::new(false), AtomicU64::new(log(gateway).1.len() as u64));
    let (made, before) = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = Client::connect(gateway);
            while !done.load(Ordering::SeqCst) {
                acknowledged.store(client.publish("c", json!("more")), Ordering::SeqCst);
            }
        });
        let start = acknowledged.load(Ordering::SeqCst);
        let more =
            |count| until(SOON, "publications", || acknowledged.load(Ordering::SeqCst) >= start + count);
        more(20);
        let before = acknowledged.load(Ordering::SeqCst);
        let made = gateway.setup().run(&[&["backup"], arguments].concat());
        // The last of these are after the backup: at its end, one publication may be stored and not acknowledged.
        more(acknowledged.load(Ordering::SeqCst) - start + 40);
        done.store(true, Ordering::SeqCst);
        (made, before)
    });
    assert!(made.status.success(), "{made:?}");
    (made, before, acknowledged.load(Ordering::SeqCst))
}

fn restore(setup: &Setup, file: &str) -> Output {
    setup.run(&["restore", file])
}

#[test]
fn backup_under_appends_is_restored_with_a_new_epoch_twice() {
    let mut gateway = Setup::new().unlimited().start();
    let data = gateway.setup().data();
    for _ in 0..2 {
        let (made, before, after) = back_up_under_appends(&gateway, &[]);
        let file = printed(&made, "backup");
        assert_eq!((mode(Path::new(&file)), mode(&data.join("backup"))), (0o600, 0o700));
        let (old_epoch, _) = log(&gateway);
        assert_eq!(printed(&made, "epoch"), old_epoch.as_str().expect("text"));
        let held: u64 = printed(&made, "publications").parse().expect("a number");
        assert!((before..after).contains(&held), "{before} to {after}: {held}");

        let refused = restore(gateway.setup(), &file);
        assert_eq!(refused.status.code(), Some(1));
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(text.contains(&format!("in use by process {}", gateway.pid())), "{text}");

        assert_eq!(gateway.ends_after(Signal::TERM).0, Some(0));
        let restored = restore(gateway.setup(), &file);
        assert!(restored.status.success(), "{restored:?}");
        gateway = gateway.setup().clone().start();
        let (epoch, all) = log(&gateway);
        assert_eq!((json!(printed(&restored, "epoch")), all.len() as u64), (epoch.clone(), held));
        assert_ne!(epoch, old_epoch);
        let cursor = json!({"epoch": old_epoch, "offset": after});
        let subscribe = json!({"subscribe": {"channel": "c", "recover": cursor}});
        let subscribed = Client::connect(&gateway).ask(subscribe, "subscribed");
        assert_eq!(
            (&subscribed["recovered"], &subscribed["because"]),
            (&json!(false), &json!("epoch_changed"))
        );
        let aside = printed(&restored, "old files");
        let old_file = Path::new(aside.split(": ").next().expect("a path")).join("seawall.db");
        assert_eq!(mode(&old_file), 0o600);
    }
    // A restore is undone by a restore of the old files.
    let asides = || {
        std::fs::read_dir(&data).expect("a folder").filter_map(|entry| {
            let path = entry.expect("an entry").path();
            path.to_string_lossy().contains("before-restore").then_some(path)
        })
    };
    assert_eq!(asides().count(), 2);
    let last: PathBuf = asides().max().expect("two");
    let (_, held) = log(&gateway);
    assert_eq!(gateway.ends_after(Signal::TERM).0, Some(0));
    let undone = restore(gateway.setup(), last.join("seawall.db").to_str().expect("text"));
    assert!(undone.status.success(), "{undone:?}");
    assert!(log(&gateway.setup().clone().start()).1.len() > held.len(), "what followed the backup is back");
}

#[test]
fn only_the_newest_backups_are_kept_if_so_ordered() {
    let gateway = Gateway::start();
    let folder = gateway.setup().folder().join("copies");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(folder.join("seawall-notes.db"), "mine").expect("a file");
    let names = || {
        let entries = std::fs::read_dir(&folder).expect("a folder");
        entries.map(|entry| entry.expect("an entry").file_name()).collect::<std::collections::BTreeSet<_>>()
    };
    let back_up = |arguments: &[&str]| {
        let made = gateway.setup().run(&[&["backup", "copies"], arguments].concat());
        assert!(made.status.success(), "{made:?}");
        made
    };
    for _ in 0..3 {
        back_up(&[]);
    }
    assert_eq!(names().len(), 4, "no backup replaces another");
    let made = back_up(&["--keep", "2"]);
    assert_eq!(names().len(), 3);
    assert!(gateway.setup().folder().join(printed(&made, "backup")).exists());
    assert!(names().contains(std::ffi::OsStr::new("seawall-notes.db")));
    assert!(!PathBuf::from(printed(&made, "removed")).exists());
}

#[test]
fn damaged_backup_is_refused_and_the_store_stays() {
    let mut gateway = Setup::new().unlimited().start();
    let mut client = Client::connect(&gateway);
    let long = "x".repeat(3_000);
    for n in 0..100 {
        client.ask(json!({"publish": {"channel": "c", "key": n.to_string(), "data": long}}), "published");
    }
    let made = gateway.setup().run(&["backup"]);
    let file = PathBuf::from(printed(&made, "backup"));
    let whole = std::fs::read(&file).expect("the backup");
    let (before, _) = log(&gateway);
    drop(client);
    assert_eq!(gateway.ends_after(Signal::TERM).0, Some(0));
    let mut torn = whole.clone();
    torn[8_192..].iter_mut().step_by(7).for_each(|byte| *byte ^= 0x55);
    for bad in [&torn[..], &whole[..whole.len() / 2], b"not a database, but a text of some length".as_slice()]
    {
        std::fs::write(&file, bad).expect("written");
        let refused = restore(gateway.setup(), file.to_str().expect("text"));
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    }
    let left: Vec<_> = std::fs::read_dir(gateway.setup().data()).expect("a folder").flatten().collect();
    assert!(!left.iter().any(|entry| entry.file_name().to_string_lossy().contains("restore")), "{left:?}");
    let (after, all) = log(&gateway.setup().clone().start());
    assert_eq!((before, all.len()), (after, 100));
}

#[test]
fn store_in_postgresql_is_not_backed_up_but_its_commands_are_printed() {
    let setup = Setup::new();
    let url = [("SEAWALL_STORE_URL", "postgres://chat:secret@db.example/chat")];
    for arguments in [&["backup"][..], &["restore", "copy.db"]] {
        let said = setup.run_with(arguments, &url);
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert_eq!(said.status.code(), Some(1), "{text}");
        for line in ["\npg_dump --format=custom", "\npg_restore --clean", "\nseawall store new-epoch"] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(!text.contains("secret"), "{text}");
        // Up to the address.
        for command in text.lines().filter(|line| line.starts_with("pg_")) {
            let words = command.split('\'').next().expect("words");
            for guide in [include_str!("../../docs/operations.md"), include_str!("../../docs/production.md")]
            {
                assert!(guide.contains(words), "a guide lacks {words:?}");
            }
        }
    }
}
