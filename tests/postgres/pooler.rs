//! The store through pgbouncer: the modes in which it works, and the errors and warnings otherwise.

use crate::postgres::rig::{KEEP_ALL, Rig, config, keyed, plain};
use crate::servers::Postgres;
use crate::servers::process::{self, Process, User};
use crate::support::wait::{SOON, until};
use seawall::health::finding::Fault;
use seawall::job::probing::Probing as _;
use seawall::net::target::{DependencyKind, Target};
use seawall::probe::Probe;
use seawall::store::postgres::{StoreProbe, Unmigrated, new_epoch};
use seawall_fault::HeldPort;
use std::collections::HashSet;
use std::net::TcpStream;
use std::time::Duration;
use tempfile::TempDir;

/// The unit for which pgbouncer assigns a server connection.
#[derive(Clone, Copy)]
enum Mode {
    Session,
    Transaction,
}

/// Its treatment of the startup parameter `options`: dropped without an error, or refused.
#[derive(Clone, Copy)]
enum Options {
    Ignored,
    Refused,
}

/// A pgbouncer in front of a server; in transaction mode it has two connections to it.
struct Pooler {
    _process: Process,
    port: HeldPort,
    _folder: TempDir,
}

impl Pooler {
    #[track_caller]
    fn before(server: &Postgres, mode: Mode, options: Options) -> Pooler {
        let folder =
            tempfile::Builder::new().prefix("seawall-pooler-").tempdir().expect("a temporary folder");
        let port = HeldPort::loopback().expect("a free port");
        let (mode, size) = match mode {
            Mode::Session => ("session", 10),
            Mode::Transaction => ("transaction", 2),
        };
        let ignored = match options {
            Options::Ignored => "ignore_startup_parameters = options\n",
            Options::Refused => "",
        };
        let text = format!(
            "[databases]\nseawall = host=127.0.0.1 port={} user=seawall\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nauth_type = any\nunix_socket_dir =\npool_mode = {mode}\ndefault_pool_size = {size}\n{ignored}",
            server.address().port(),
            port.number(),
        );
        let file = folder.path().join("pgbouncer.ini");
        std::fs::write(&file, text).expect("a file is written");
        process::give(folder.path());
        let program = process::program("pgbouncer", &["/usr/sbin".into()], "pgbouncer");
        let mut command = process::command(&program, User::NotRoot);
        command.arg(&file).current_dir(folder.path());
        let mut process = Process::start("pgbouncer", command, &folder.path().join("log"));
        let address = port.address();
        process.until("it listens", || TcpStream::connect(address).is_ok());
        Pooler { _process: process, port, _folder: folder }
    }

    fn url(&self) -> String {
        format!("postgres://seawall@{}/seawall", self.port.address())
    }
}

fn store_probe(url: &str) -> StoreProbe {
    StoreProbe::new(url, None, "one", Unmigrated::Fails).expect("an address")
}

fn with_timeouts(server: &Postgres) {
    server.sql(
        "ALTER ROLE seawall SET statement_timeout = '1500ms'; ALTER ROLE seawall SET lock_timeout = '1200ms'",
    );
}

/// The pooler drops the option with which the store asks for another isolation.
fn with_serializable_transactions(server: &Postgres) {
    server.sql("ALTER ROLE seawall SET default_transaction_isolation = 'serializable'");
}

/// Checks the store with more workers than the pooler has connections, over several channels.
fn works_through(mode: Mode) {
    let server = Postgres::start_with(&[("fsync", "on")]);
    with_timeouts(&server);
    with_serializable_transactions(&server);
    let pooler = Pooler::before(&server, mode, Options::Ignored);
    let mut rig = Rig::postgres_with(config(pooler.url(), KEEP_ALL, 1_000)).ready();
    let sent: Vec<u64> =
        (0..200).map(|n| rig.send(keyed(&format!("c{}", n % 4), &format!("k{n}")))).collect();
    let mut offsets = HashSet::new();
    for (n, request) in sent.into_iter().enumerate() {
        let appended = rig.outcome(request).expect("stored");
        assert!(offsets.insert((n % 4, appended.offset.0)), "an offset was given twice");
    }
    for channel in ["c0", "c1", "c2", "c3"] {
        assert_eq!(rig.all(channel).len(), 50);
    }
    assert_eq!(rig.heads(&["c0", "nothing"]), Ok(vec![(50, 1), (0, 1)]));
    assert_eq!(server.sql("SELECT count(*) FROM pg_prepared_statements"), "0");
    let mut probe = store_probe(&pooler.url());
    for _ in 0..3 {
        assert_eq!(probe.look(Duration::from_secs(10)).result, Ok(None));
    }
    // Its server connections are cut, as when pgbouncer restarts the pool.
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'seawall'");
    until(SOON, "publications are stored again", || rig.append(plain("c0", "1")).is_ok());
    rig.close();
}

#[test]
fn store_works_through_pgbouncer_in_transaction_mode() {
    works_through(Mode::Transaction);
}

#[test]
fn store_works_through_pgbouncer_in_session_mode() {
    works_through(Mode::Session);
}

#[test]
fn pooler_that_refuses_startup_options_is_reported_by_store_and_probe() {
    let server = Postgres::start();
    let pooler = Pooler::before(&server, Mode::Transaction, Options::Refused);
    let error = new_epoch(&pooler.url(), None).expect_err("refused").to_string();
    let cause = store_probe(&pooler.url()).look(Duration::from_secs(5)).result.expect_err("refused");
    assert_eq!(cause.fault, Fault::Protocol);
    for text in [error, cause.text] {
        assert!(text.contains("options") && text.contains("ignore_startup_parameters"), "{text}");
    }
    // A probe that is not for a store needs no options.
    let target = Target::parse(DependencyKind::Postgres, &pooler.url()).expect("an address");
    assert!(Probe::new(target, "one").look(Duration::from_secs(5)).result.is_ok());
}

#[test]
fn pooler_that_drops_the_timeouts_causes_a_warning() {
    let server = Postgres::start_with(&[("fsync", "on")]);
    let pooler = Pooler::before(&server, Mode::Transaction, Options::Ignored);
    Rig::postgres_with(config(pooler.url(), KEEP_ALL, 1_000)).ready().close();
    let look = || store_probe(&pooler.url()).look(Duration::from_secs(10)).result;
    let warning = look().expect("it works").expect("a warning");
    assert!(warning.contains("statement_timeout") && warning.contains("ALTER ROLE"), "{warning}");
    with_timeouts(&server);
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'seawall'");
    // The first probe after that may get a pooler connection that was just terminated.
    until(SOON, "there is no warning", || look() == Ok(None));
}
