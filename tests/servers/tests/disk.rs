//! The small disk.

use crate::servers::Disk;
use crate::support::wait::{SOON, until};
use std::io::ErrorKind;
use std::path::PathBuf;

#[test]
fn small_disk_fills_and_frees_and_leaves_no_mount() {
    let Some(disk) = Disk::or_skip(2) else { return };
    let path: PathBuf = disk.path().into();
    std::fs::write(path.join("before"), "kept").expect("there is room");
    let taken = disk.fill();
    assert!((1 << 20..=2 << 20).contains(&taken), "{taken}");
    let full = std::fs::write(path.join("more"), "x").expect_err("no room");
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    disk.free();
    // A process that another test is about to start holds the removed file for a moment.
    until(SOON, "there is room again", || std::fs::write(path.join("more"), "x").is_ok());
    assert_eq!(std::fs::read_to_string(path.join("before")).expect("a file"), "kept");
    drop(disk);
    let mounts = std::fs::read_to_string("/proc/mounts").expect("Linux tells");
    assert!(!mounts.contains(path.to_str().expect("text")), "still mounted");
    assert!(!path.exists());
}
