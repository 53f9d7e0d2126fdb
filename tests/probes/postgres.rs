//! PostgreSQL, and the states in which it cannot serve as a store.

use crate::servers::process;
use crate::servers::{Disk, Postgres};
use crate::support::{
    BRIEF, GRACE, certificate, fails, fails_within, parrot, probe, silent_in_time, unused_address, well,
};
use crate::wait::{SOON, in_time, size, until};
use seawall::health::finding::Fault;
use seawall::net::target::{DependencyKind, Target};
use seawall::probe::{LOOKS_PER_CONNECTION, Probe};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

fn backends(postgres: &Postgres) -> usize {
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'seawall-probe'";
    postgres.sql(count).parse().unwrap()
}

#[test]
fn healthy_store_costs_one_row_for_each_instance_and_one_connection() {
    let postgres = Postgres::start();
    let target = || {
        Target::parse(DependencyKind::Postgres, &postgres.url()).unwrap().with_tables(&["chat_log"]).unwrap()
    };
    let mut probe = Probe::new(target(), "one's");
    assert_eq!(well(&mut probe).as_deref(), Some("not there yet: table chat_log"));
    postgres.sql("CREATE TABLE chat_log (id int); GRANT SELECT ON chat_log TO seawall");
    assert_eq!(well(&mut probe), None);
    well(&mut Probe::new(target(), "two"));
    assert_eq!(postgres.sql("SELECT instance FROM seawall_probe ORDER BY 1"), "one_s\ntwo");
    let xmin = || postgres.sql("SELECT xmin FROM seawall_probe WHERE instance = 'one_s'");
    let before = xmin();
    well(&mut probe);
    assert_ne!(xmin(), before, "a probe commits");
    until(SOON, "one connection", || backends(&postgres) == 1);
    postgres.sql("REVOKE SELECT ON chat_log FROM seawall");
    fails(&mut probe, Fault::Schema, &["42501", "chat_log"]);
}

/// `IF NOT EXISTS` checks before it creates, and a race in between can fail with three different errors.
#[test]
fn first_probes_of_several_instances_at_once_succeed() {
    let postgres = Postgres::start();
    let target = || Target::parse(DependencyKind::Postgres, &postgres.url()).unwrap();
    let mut probes: Vec<Probe> = (0..6).map(|number: u8| Probe::new(target(), &number.to_string())).collect();
    for _ in 0..size("SEAWALL_TEST_FIRST_LOOKS", 25) {
        postgres.sql("DROP TABLE IF EXISTS seawall_probe");
        std::thread::scope(|scope| {
            for probe in &mut probes {
                scope.spawn(|| well(probe));
            }
        });
    }
}

#[test]
fn probe_writes_in_the_schema_of_the_tables_that_it_reads() {
    let postgres = Postgres::start();
    let target = Target::parse(DependencyKind::Postgres, &postgres.url()).unwrap();
    let mut probe = Probe::new(target.with_tables(&["chat.log"]).unwrap(), "one");
    assert_eq!(well(&mut probe).as_deref(), Some("not there yet: table chat.log"));
    postgres.sql("REVOKE CREATE ON SCHEMA public FROM pg_database_owner, public");
    postgres.sql("CREATE SCHEMA chat AUTHORIZATION seawall");
    postgres.sql("SET ROLE seawall; CREATE TABLE chat.log (id int)");
    assert_eq!(well(&mut probe), None);
    assert_eq!(postgres.sql("SELECT instance FROM chat.seawall_probe"), "one");
}

#[test]
fn crash_is_a_fault_but_a_restart_or_a_cut_connection_is_not() {
    let mut postgres = Postgres::start();
    let mut probe = probe(DependencyKind::Postgres, &postgres.url());
    well(&mut probe);
    postgres.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'seawall-probe'",
    );
    // A single cut connection is no fault of the dependency.
    well(&mut probe);
    postgres.kill9();
    fails(&mut probe, Fault::Refused, &["refuses", &postgres.address().to_string()]);
    postgres.start_again();
    well(&mut probe);
}

#[test]
fn frozen_server_is_reported_in_time_and_recovers_at_once() {
    let postgres = Postgres::start();
    let mut probe = probe(DependencyKind::Postgres, &postgres.url());
    well(&mut probe);
    postgres.sigstop();
    silent_in_time(&mut probe, Fault::Timeout);
    postgres.sigcont();
    well(&mut probe);
    until(SOON, "the probes left no backend", || backends(&postgres) == 1);
}

#[test]
fn hanging_commit_is_reported_and_leaves_no_backend() {
    let postgres = Postgres::start();
    let mut probe = probe(DependencyKind::Postgres, &postgres.url());
    well(&mut probe);
    postgres.reload("synchronous_standby_names", "absent");
    for _ in 0..5 {
        in_time(BRIEF + GRACE, || {
            let started = Instant::now();
            fails_within(&mut probe, BRIEF, Fault::Timeout, &["no answer"]);
            started.elapsed()
        });
    }
    until(SOON, "cancelled probes have ended", || backends(&postgres) <= 1);
    postgres.reload("synchronous_standby_names", "");
    well(&mut probe);
}

#[test]
fn standby_and_read_only_server_are_faults() {
    let mut postgres = Postgres::start();
    let mut probe = probe(DependencyKind::Postgres, &postgres.url());
    well(&mut probe);
    postgres.read_only();
    fails(&mut probe, Fault::ReadOnly, &["default_transaction_read_only"]);
    postgres.read_write();
    well(&mut probe);
    postgres.stop();
    postgres.become_standby();
    postgres.start_again();
    fails(&mut probe, Fault::Standby, &["standby"]);
    postgres.promote();
    well(&mut probe);
}

#[test]
fn connections_that_run_out_cause_a_warning_then_a_fault() {
    let postgres = Postgres::start_with(&[("max_connections", "13")]);
    let mut probe = probe(DependencyKind::Postgres, &postgres.url());
    assert_eq!(well(&mut probe), None);
    let _most = postgres.occupy(8);
    let warning = well(&mut probe).unwrap();
    assert!(warning.ends_with("of 10 connections are in use"), "{warning}");
    // Each probe keeps its connection.
    let mut others: Vec<Probe> = Vec::new();
    let cause = loop {
        let mut other = crate::support::probe(DependencyKind::Postgres, &postgres.url());
        match other.look(SOON).result {
            Ok(_) => others.push(other),
            Err(cause) => break cause,
        }
        assert!(others.len() <= 10);
    };
    assert!(cause.fault == Fault::ConnectionLimit && cause.text.contains("53300"), "{cause:?}");
    assert!(cause.look_at.contains("max_connections"), "{cause:?}");
}

#[test]
fn wrong_password_missing_database_and_starting_server_are_distinguished() {
    let mut postgres = Postgres::start();
    postgres.sql("ALTER ROLE seawall PASSWORD 'hunter22'");
    for method in ["scram-sha-256", "password"] {
        let rules = format!("local all all trust\nhost all all all {method}\n");
        std::fs::write(postgres.data().join("pg_hba.conf"), rules).unwrap();
        postgres.sql("SELECT pg_reload_conf()");
        let with = |password: &str| postgres.url().replace("seawall@", &format!("seawall:{password}@"));
        until(SOON, "the rules apply", || {
            probe(DependencyKind::Postgres, &postgres.url()).look(SOON).result.is_err()
        });
        well(&mut probe(DependencyKind::Postgres, &with("hunter22")));
        let cause =
            fails(&mut probe(DependencyKind::Postgres, &with("swordfish")), Fault::Credentials, &["28P01"]);
        assert!(!cause.text.contains("swordfish"), "{cause:?}");
        fails(&mut probe(DependencyKind::Postgres, &postgres.url()), Fault::Credentials, &["password"]);
        let other = with("hunter22").replace("/seawall", "/nowhere").replace("//nowhere", "//seawall");
        fails(&mut probe(DependencyKind::Postgres, &other), Fault::Schema, &["3D000", "nowhere"]);
    }
    let socket = format!(
        "host={} port={} user=seawall dbname=seawall",
        postgres.socket_folder().display(),
        postgres.address().port()
    );
    well(&mut probe(DependencyKind::Postgres, &socket));
    // With hot standby off, a recovering standby accepts no session.
    postgres.stop();
    postgres.become_standby();
    postgres.set("hot_standby", "off");
    postgres.launch();
    let mut probe = probe(DependencyKind::Postgres, &postgres.url());
    until(SOON, "it listens", || probe.look(SOON).result.is_err_and(|cause| cause.fault != Fault::Refused));
    fails(&mut probe, Fault::NotReady, &["57P03"]);
}

#[test]
fn connected_probe_succeeds_while_new_connections_are_refused() {
    let postgres = Postgres::start();
    let mut probe = probe(DependencyKind::Postgres, &postgres.url());
    well(&mut probe);
    postgres.sql("ALTER ROLE seawall CONNECTION LIMIT 0");
    let warnings: Vec<String> = (0..LOOKS_PER_CONNECTION).filter_map(|_| well(&mut probe)).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("no further connection is taken") && warnings[0].contains("53300"));
    // The store's workers keep their connections as the probe does; without its own, the probe must report the limit.
    probe.forget();
    fails(&mut probe, Fault::ConnectionLimit, &["53300"]);
    postgres.sql("ALTER ROLE seawall CONNECTION LIMIT -1");
    well(&mut probe);
}

#[test]
fn silent_host_does_not_hide_the_next_one() {
    let postgres = Postgres::start();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ports = (silent.local_addr().unwrap().port(), postgres.address().port());
    let address =
        format!("host=127.0.0.1,127.0.0.1 port={},{} user=seawall dbname=seawall", ports.0, ports.1);
    assert!(probe(DependencyKind::Postgres, &address).look(BRIEF * 10).result.is_ok());
}

#[test]
fn tls_is_used_if_required_and_its_certificate_is_verified() {
    let postgres = Postgres::start();
    let (certified, folder) = (certificate(), postgres.data());
    std::fs::write(folder.join("server.crt"), certified.cert.pem()).unwrap();
    std::fs::write(folder.join("server.key"), certified.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(folder.join("server.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let address =
        format!("postgres://seawall@localhost:{}/seawall?sslmode=verify-full", postgres.address().port());
    fails(&mut probe(DependencyKind::Postgres, &address), Fault::Tls, &["speaks no TLS"]);
    process::give(folder);
    postgres.reload("ssl", "on");
    fails(&mut probe(DependencyKind::Postgres, &address), Fault::Tls, &["TLS", "localhost"]);
    well(&mut probe(
        DependencyKind::Postgres,
        &format!("{address}&sslrootcert={}", folder.join("server.crt").display()),
    ));
}

#[test]
fn full_disk_is_reported() {
    let Some(disk) = Disk::or_skip(120) else { return };
    let postgres = Postgres::start_at(disk.path(), &[]);
    let mut probe = probe(DependencyKind::Postgres, &postgres.url());
    // A probe's row that fits its page needs no disk space, but a table that does not exist yet does.
    disk.fill();
    fails(&mut probe, Fault::DiskFull, &["53100", "No space left"]);
    disk.free();
    until(SOON, "the probe succeeds with free space", || probe.look(SOON).result.is_ok());
}

#[test]
fn non_postgresql_answer_and_refused_connection_are_distinguished() {
    for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"R\0\0\0\x01", b"R\xff\xff\xff\xff"] {
        let address = parrot(answer);
        fails(
            &mut probe(DependencyKind::Postgres, &format!("postgres://a@{address}/b")),
            Fault::Protocol,
            &["PostgreSQL"],
        );
    }
    let (_port, gone) = unused_address();
    fails(
        &mut probe(DependencyKind::Postgres, &format!("postgres://a:hunter22@{gone}/b")),
        Fault::Refused,
        &["refuses"],
    );
}
