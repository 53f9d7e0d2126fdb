//! Tests the library with shell commands: synced data stays and unsynced data is lost.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use fastrand::Rng;
use seawall_power_loss::{Disk, Lost, Model, Names, Sync, WrittenBack, compile};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;
use tempfile::TempDir;

struct Machine {
    folder: TempDir,
    disk: Disk,
}

static LIBRARY: LazyLock<PathBuf> = LazyLock::new(|| {
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("power-loss.so");
    compile(&library).expect("a compiled library");
    library
});

const STRICT: Model = Model { sync: Sync::Honest, names: Names::FolderSync, sync_time: Duration::ZERO };

impl Machine {
    /// Creates a machine with a file `old` on its disk.
    fn start(model: Model) -> Machine {
        let folder = tempfile::tempdir().expect("a folder");
        let watched = folder.path().join("watched");
        fs::create_dir(&watched).unwrap();
        fs::write(watched.join("old"), "old").unwrap();
        let disk = Disk::begin(&watched, &folder.path().join("shadow"), model).unwrap();
        Machine { folder, disk }
    }

    fn run(&self, script: &str) {
        let mut command = Command::new("bash");
        // The shell's own output goes through stdio, which the library cannot see; `cat` calls `write`.
        let put = r#"put() { printf %s "$1" | cat; }"#;
        command.args(["-euc", &format!("{put}; {script}")]).current_dir(self.folder.path().join("watched"));
        command.envs(self.disk.environment(&LIBRARY));
        assert!(command.status().unwrap().success(), "{script}");
    }

    fn lose_power(&mut self, back: WrittenBack) -> Lost {
        self.disk.cut(back, &mut Rng::new()).unwrap()
    }

    /// All files with their contents.
    fn files(&self) -> Vec<(String, String)> {
        let mut files = Vec::new();
        list(&self.folder.path().join("watched"), "", &mut files);
        files.sort();
        files
    }

    #[track_caller]
    fn has(&self, expected: &[(&str, &str)]) {
        let expected: Vec<(String, String)> =
            expected.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
        assert_eq!(self.files(), expected);
    }
}

fn list(folder: &Path, prefix: &str, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_string_lossy());
        if path.is_dir() {
            list(&path, &format!("{name}/"), files);
        } else {
            files.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn unsynced_files_and_names_are_lost() {
    let mut machine = Machine::start(STRICT);
    machine.run("put more >>old; put new >new; mkdir sub; put x >sub/x");
    machine.has(&[("new", "new"), ("old", "oldmore"), ("sub/x", "x")]);
    let lost = machine.lose_power(WrittenBack::Nothing);
    machine.has(&[("old", "old")]);
    assert_eq!((lost.unsynced, lost.names), (3, 2));
}

#[test]
fn file_sync_keeps_content_and_folder_sync_keeps_names() {
    let mut machine = Machine::start(STRICT);
    machine.run("put more >>old; sync old; put a >a; sync a; put b >b; sync .; put c >c; sync c .");
    machine.lose_power(WrittenBack::Nothing);
    machine.has(&[("a", "a"), ("b", ""), ("c", "c"), ("old", "oldmore")]);
    // Again, starting from the disk after the first cut.
    machine.run("put more >>b; sync b; put more >>c; put d >d; sync d");
    machine.lose_power(WrittenBack::Nothing);
    machine.has(&[("a", "a"), ("b", "more"), ("c", "c"), ("old", "oldmore")]);
}

#[test]
fn file_sync_keeps_names_if_the_model_says_so() {
    let mut machine = Machine::start(Model { names: Names::FileSync, ..STRICT });
    machine.run("mkdir sub; sync .; put a >sub/a; sync sub/a; put b >sub/b");
    machine.lose_power(WrittenBack::Nothing);
    machine.has(&[("old", "old"), ("sub/a", "a")]);
}

#[test]
fn renamed_or_removed_file_keeps_its_old_name_until_the_folder_is_synced() {
    let mut machine = Machine::start(STRICT);
    machine.run("mv old new");
    machine.lose_power(WrittenBack::Nothing);
    machine.has(&[("old", "old")]);
    machine.run("rm old; put again >old; sync old");
    machine.lose_power(WrittenBack::Nothing);
    machine.has(&[("old", "old")]);
    machine.run("mv old new; sync .; rm new");
    machine.lose_power(WrittenBack::Nothing);
    machine.has(&[("new", "old")]);
    machine.run("rm new; sync .");
    machine.lose_power(WrittenBack::Nothing);
    machine.has(&[]);
}

#[test]
fn truncated_file_keeps_its_length_until_it_is_synced() {
    let mut machine = Machine::start(STRICT);
    machine.run("truncate -s 1 old");
    machine.lose_power(WrittenBack::Nothing);
    machine.has(&[("old", "old")]);
    machine.run("truncate -s 1 old; truncate -s 3 old; sync old; put lost >old");
    machine.lose_power(WrittenBack::Nothing);
    machine.has(&[("old", "o\0\0")]);
}

#[test]
fn write_through_a_synchronous_descriptor_is_durable() {
    let mut machine = Machine::start(STRICT);
    machine.run("put new | dd of=old oflag=dsync conv=notrunc status=none");
    machine.lose_power(WrittenBack::Nothing);
    machine.has(&[("old", "new")]);
}

#[test]
fn lying_disk_keeps_nothing() {
    let mut machine = Machine::start(Model { sync: Sync::Lies, ..STRICT });
    machine.run("put more >>old; sync old; put new >new; sync new .");
    machine.lose_power(WrittenBack::Nothing);
    machine.has(&[("old", "old")]);
}

#[test]
fn unsynced_data_may_survive_in_part() {
    let mut machine = Machine::start(STRICT);
    let (mut torn, mut whole, mut gone) = (0, 0, 0);
    for _ in 0..40 {
        machine.run("rm -f big; sync .; head -c 65536 /dev/zero | tr '\\0' x | cat >big; sync .");
        let lost = machine.lose_power(WrittenBack::Some);
        let files = machine.files();
        let big = files.iter().find(|(name, _)| name == "big").expect("its name is durable");
        match big.1.matches('x').count() {
            0 => gone += 1,
            65_536 => whole += 1,
            count => {
                assert_eq!((count % 512, lost.torn), (0, 1));
                torn += 1;
            }
        }
    }
    assert!(torn > 0 && whole > 0 && gone > 0, "{torn} torn, {whole} whole, {gone} gone");
}
