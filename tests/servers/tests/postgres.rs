//! PostgreSQL in each of its states.

use crate::servers::{Disk, Postgres};
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::wait::{SOON, until};

#[test]
fn committed_rows_survive_a_stop_and_a_crash_on_the_same_port() {
    let mut postgres = Postgres::start();
    let address = postgres.address();
    postgres.sql("CREATE TABLE t (n int); INSERT INTO t VALUES (1)");
    postgres.stop();
    let refused = TcpStream::connect(address).expect_err("the port is closed");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    postgres.start_again();
    postgres.sql("INSERT INTO t VALUES (2)");
    postgres.kill9();
    assert!(postgres.try_sql("SELECT 1").is_err());
    postgres.start_again();
    assert_eq!(postgres.sql("SELECT n FROM t ORDER BY n"), "1\n2");
    assert_eq!(postgres.address(), address);
    assert!(postgres.url().contains(&address.to_string()));
}

#[test]
fn two_servers_are_independent_and_leave_nothing() {
    let (one, two) = (Postgres::start(), Postgres::start());
    one.sql("CREATE TABLE t (n int)");
    let absent = two.try_sql("SELECT * FROM t").expect_err("another cluster");
    assert!(absent.contains("42P01"), "{absent}");
    let folder: PathBuf = one.data().into();
    let address = one.address();
    drop(one);
    assert!(!folder.exists());
    assert!(TcpStream::connect(address).is_err());
    two.sql("SELECT 1");
}

#[test]
fn frozen_server_accepts_bytes_and_answers_only_after_it_continues() {
    let postgres = Postgres::start();
    postgres.sigstop();
    let mut stream = TcpStream::connect(postgres.address()).expect("the kernel accepts");
    // The answer to an SSLRequest is one byte.
    std::io::Write::write_all(&mut stream, &[0, 0, 0, 8, 4, 210, 22, 47])
        .expect("the kernel buffers the bytes");
    stream.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    let kind = stream.read_exact(&mut [0]).expect_err("silence").kind();
    assert!(matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{kind}");
    postgres.sigcont();
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    let mut answer = [0];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"N");
}

#[test]
fn read_only_server_and_standby_refuse_writes() {
    let mut postgres = Postgres::start();
    postgres.sql("CREATE TABLE t (n int)");
    postgres.read_only();
    let refused = postgres.try_sql("INSERT INTO t VALUES (1)").expect_err("read only");
    assert!(refused.contains("25006"), "{refused}");
    postgres.read_write();
    postgres.sql("INSERT INTO t VALUES (1)");
    postgres.stop();
    postgres.become_standby();
    postgres.start_again();
    assert_eq!(postgres.sql("SELECT pg_is_in_recovery()"), "t");
    assert!(postgres.try_sql("INSERT INTO t VALUES (2)").is_err());
    assert_eq!(postgres.sql("SELECT n FROM t"), "1");
    postgres.promote();
    postgres.sql("INSERT INTO t VALUES (2)");
}

#[test]
fn occupied_connections_are_unavailable_until_released() {
    let postgres = Postgres::start_with(&[("max_connections", "6")]);
    postgres.try_sql_as_owner("SELECT 1").expect("there is room");
    let occupied = postgres.occupy(3);
    let refused = postgres.try_sql_as_owner("SELECT 1").expect_err("no connection is left");
    assert!(refused.contains("remaining connection slots are reserved"), "{refused}");
    assert_eq!(postgres.sql("SELECT 1"), "1", "the superuser has reserved connections");
    drop(occupied);
    until(SOON, "the connections are released", || postgres.try_sql_as_owner("SELECT 1").is_ok());
}

#[test]
fn hanging_commits_do_not_block_reads() {
    let postgres = Postgres::start();
    postgres.sql("CREATE TABLE t (n int)");
    postgres.hang_commits();
    // One that waited for the commit would wait for ever.
    let limited = "SET statement_timeout = '20s'; SELECT count(*) FROM t";
    assert_eq!(postgres.sql(limited), "0");
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| postgres.try_sql("INSERT INTO t VALUES (1)"));
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        until(SOON, "the commit waits", || postgres.sql(waiting) == "1");
        assert_eq!(postgres.sql(limited), "0", "the row is not visible before its commit");
        postgres.let_commits_go();
        writing.join().expect("no panic").expect("it is committed");
    });
    assert_eq!(postgres.sql(limited), "1");
}

#[test]
fn held_lock_blocks_others_until_dropped() {
    let postgres = Postgres::start();
    postgres.try_sql_as_owner("CREATE TABLE t (n int)").expect("its own schema");
    let holder = postgres.hold("LOCK TABLE t");
    let met = postgres.try_sql("SET lock_timeout = 100; SELECT * FROM t").expect_err("locked");
    assert!(met.contains("55P03"), "{met}");
    drop(holder);
    assert_eq!(postgres.sql("SET lock_timeout = 30000; SELECT * FROM t"), "");
}

#[test]
fn owner_of_the_database_can_create_tables_but_no_roles() {
    let postgres = Postgres::start();
    postgres.try_sql_as_owner("CREATE TABLE t (n int); INSERT INTO t VALUES (1)").expect("its own schema");
    assert_eq!(postgres.sql("SELECT n FROM t"), "1");
    let refused = postgres.try_sql_as_owner("CREATE ROLE other").expect_err("no superuser");
    assert!(refused.contains("42501"), "{refused}");
}

#[test]
fn full_disk_refuses_writes_until_freed() {
    let Some(disk) = Disk::or_skip(100) else { return };
    let mut postgres = Postgres::start_at(disk.path(), &[]);
    postgres.sql("CREATE TABLE t (n int, x text)");
    disk.fill();
    let insert = "INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(1, 30000) n";
    let refused = postgres.try_sql(insert).expect_err("no room");
    assert!(
        refused.contains("53100") || refused.contains("server closed") || refused.contains("PANIC"),
        "{refused}"
    );
    disk.free();
    if !postgres.is_running() {
        postgres.start_again();
    }
    until(SOON, "it takes writes again", || postgres.try_sql("INSERT INTO t VALUES (1, '')").is_ok());
}
