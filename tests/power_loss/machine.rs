//! Machines whose power can fail: one with a gateway that stores in SQLite, one with PostgreSQL and a gateway.

use crate::servers::Postgres;
use crate::support::wait::comes_true;
use crate::support::{Gateway, Setup};
use fastrand::Rng;
use rustix::process::Signal;
use seawall_power_loss::{Disk, Lost, Model, Names, Sync, WrittenBack, compile};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

/// The time of a sync on a usual solid state disk.
const SYNC_TIME: Duration = Duration::from_millis(2);
/// The approximate time of a clean stop with SQLite; the power may fail at any moment of it.
const STOP_MS: u64 = 40;

static LIBRARY: LazyLock<PathBuf> = LazyLock::new(|| {
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("power-loss-of-stores.so");
    compile(&library).expect("the library compiles");
    library
});

/// Settings of a gateway whose streams outlive the time that it is away.
fn setup() -> Setup {
    let setup = Setup::new().unlimited().env("SEAWALL_STREAMS_ROLLUP_MS", "20");
    setup.env("SEAWALL_STREAMS_ORPHAN_MS", "600000").env("SEAWALL_STREAMS_IDLE_MS", "600000")
}

/// A gateway and its store, on a disk whose power can fail.
pub trait Machine {
    fn gateway(&self) -> &Gateway;

    /// Fails the power: every process ends in the middle of its work.
    fn fail_power(&mut self, random: &mut Rng);

    /// Reduces the files to what the disk holds, and returns what was lost.
    fn cut(&mut self, back: WrittenBack, random: &mut Rng) -> Lost;

    /// Starts from what the disk holds.
    fn start_again(&mut self);
}

/// A gateway with its own store.
pub struct WithSqlite {
    setup: Setup,
    disk: Disk,
    gateway: Option<Gateway>,
}

impl WithSqlite {
    pub fn start(sync: Sync) -> WithSqlite {
        let setup = setup();
        // The gateway creates its data folder itself, and that must be durable too.
        let watched = setup.data().with_file_name("disk");
        std::fs::create_dir(&watched).expect("a folder is made");
        let setup = setup.data_at(watched.join("data"));
        // SQLite syncs the folder for each file it creates, so the names of new files become durable only by that.
        let model = Model { sync, names: Names::FolderSync, sync_time: SYNC_TIME };
        let disk = Disk::begin(&watched, &watched.with_file_name("shadow"), model).expect("a disk");
        let setup =
            disk.environment(&LIBRARY).iter().fold(setup, |setup, (name, value)| setup.env(name, value));
        let mut machine = WithSqlite { setup, disk, gateway: None };
        machine.start_again();
        machine
    }
}

impl Machine for WithSqlite {
    fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().expect("it runs")
    }

    fn fail_power(&mut self, random: &mut Rng) {
        let mut gateway = self.gateway.take().expect("it runs");
        if random.u8(0..3) == 0 {
            gateway.signal(Signal::TERM);
            let moment = Duration::from_millis(random.u64(0..STOP_MS));
            comes_true(moment, || !gateway.is_running());
        }
        drop(gateway);
    }

    fn cut(&mut self, back: WrittenBack, random: &mut Rng) -> Lost {
        self.disk.cut(back, random).expect("the disk is cut off")
    }

    fn start_again(&mut self) {
        self.gateway = Some(self.setup.clone().start());
    }
}

/// A database server and a gateway that stores there.
pub struct WithPostgres {
    server: Postgres,
    disk: Disk,
    gateway: Option<Gateway>,
}

impl WithPostgres {
    pub fn start(sync: Sync, settings: &[(&str, &str)]) -> WithPostgres {
        let safe = [
            ("fsync", "on"),
            // Small buffers and a small log, so that much is written before a checkpoint and checkpoints are frequent.
            ("shared_buffers", "1MB"),
            ("max_wal_size", "4MB"),
            ("min_wal_size", "2MB"),
            ("autovacuum_naptime", "1s"),
        ];
        let mut server = Postgres::prepare(&[&safe[..], settings].concat(), None);
        // Small log segments, so that a run has many.
        server.run_on_data("pg_resetwal", &["--wal-segsize=1"]);
        let shadow = server.data().with_file_name("shadow");
        // PostgreSQL syncs the files of a new table but not their folder; version 15 relies on the file system there.
        let model = Model { sync, names: Names::FileSync, sync_time: SYNC_TIME };
        let disk = Disk::begin(server.data(), &shadow, model).expect("a disk");
        // The server's user cannot read cargo's target folder.
        let library = server.data().with_file_name("power-loss.so");
        std::fs::copy(&*LIBRARY, &library).expect("the library is copied");
        for (name, value) in disk.environment(&library) {
            server.env(name, &value);
        }
        let mut machine = WithPostgres { server, disk, gateway: None };
        machine.start_again();
        machine
    }
}

impl Machine for WithPostgres {
    fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().expect("it runs")
    }

    fn fail_power(&mut self, random: &mut Rng) {
        let gateway = self.gateway.take().expect("it runs");
        if random.bool() {
            drop(gateway);
            self.server.kill9();
        } else {
            self.server.kill9();
            drop(gateway);
        }
    }

    fn cut(&mut self, back: WrittenBack, random: &mut Rng) -> Lost {
        self.disk.cut(back, random).expect("the disk is cut off")
    }

    fn start_again(&mut self) {
        self.server.start_again();
        let setup = setup().env("SEAWALL_STORE_URL", &self.server.url());
        self.gateway = Some(setup.start());
        // After this, what was created so far is only in its files, no longer in the log that recovery reads.
        self.server.sql("CHECKPOINT");
    }
}
