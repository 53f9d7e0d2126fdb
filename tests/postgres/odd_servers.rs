//! Servers that end idle sessions, and databases that cannot hold every text.

use crate::postgres::rig::{KEEP_ALL, Rig, config, keyed, plain};
use crate::servers::Postgres;
use crate::support::wait::{LATE, SOON, until};
use seawall::health::finding::Fault;
use seawall::job::probing::Probing as _;
use seawall::store::postgres::{StoreProbe, Unmigrated, new_epoch};
use seawall_fault::Proxy;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Longer than the time after which a writer looks at its connection before it uses it.
const IDLE: Duration = Duration::from_millis(50);
/// A try to connect is given up after this time, or more.
const DIAL_MAX: Duration = Duration::from_secs(1);

#[test]
fn sessions_that_the_server_ends_when_they_are_idle_lose_no_publication() {
    let server = Postgres::start();
    server.sql("ALTER ROLE seawall SET idle_session_timeout = '100ms'");
    let mut rig = Rig::postgres(&server, KEEP_ALL, 1_000).ready();
    for offset in 1..=4 {
        let ended = || server.logged(&["idle-session timeout"]).len();
        let before = ended();
        until(SOON, "a session is ended", || ended() > before);
        let mut stored = None;
        until(SOON, "it is stored", || {
            stored = rig.append(plain("lobby", "1")).ok();
            stored.is_some()
        });
        assert_eq!(stored.map(|appended| appended.offset.0), Some(offset), "once, and after the one before");
    }
    rig.close();
}

#[test]
fn session_that_the_server_ended_is_replaced_before_a_publication_needs_it() {
    let server = Postgres::start();
    let mut rig = Rig::postgres(&server, KEEP_ALL, 1_000).ready();
    let reconnects = |rig: &Rig| rig.counters.reconnects.load(Ordering::Relaxed);
    let unavailable = |rig: &Rig| rig.counters.unavailable.load(Ordering::Relaxed);
    let at_first = unavailable(&rig);
    let ended =
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'seawall'";
    for offset in 1..=3 {
        let before = reconnects(&rig);
        // As an administrator, a firewall or a pooler ends them, which is what a timeout does.
        let sessions: u64 = server.sql(ended).parse().expect("a number");
        until(SOON, "all have connected again", || reconnects(&rig) >= before + sessions);
        assert_eq!(
            rig.append(plain("lobby", "1")).map(|appended| appended.offset.0),
            Ok(offset),
            "not refused"
        );
    }
    assert_eq!(unavailable(&rig), at_first);
    rig.close();
}

#[test]
fn publication_right_after_idle_connections_were_cut_is_stored() {
    let server = Postgres::start();
    let proxy = Proxy::start(server.address()).expect("the proxy starts");
    let mut rig = Rig::postgres_with(config(server.url_through(proxy.address()), KEEP_ALL, 1_000)).ready();
    // Each writer serves some of the channels.
    for channel in ["a", "b", "c", "d", "e", "f"] {
        let idle = Instant::now();
        until(SOON, "the connections are idle", || idle.elapsed() > IDLE);
        proxy.cut();
        let begun = Instant::now();
        // With a key, because a writer may have used its connection just before.
        let outcome = rig.append(keyed(channel, "k"));
        let fault = if begun.elapsed() < DIAL_MAX { "refused" } else { LATE };
        let stored = outcome.unwrap_or_else(|error| panic!("{fault}: {channel}: {error:?}"));
        assert_eq!(stored.offset.0, 1, "once");
    }
    rig.close();
}

#[test]
fn database_that_cannot_hold_every_text_is_refused_with_the_encoding_to_use() {
    let server = Postgres::start();
    // The servers of the tests lack it, and a database of another encoding needs a template of this name.
    server.sql("CREATE DATABASE template0 TEMPLATE seawall");
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let name = encoding.to_lowercase();
        server.sql(&format!(
            "CREATE DATABASE {name} OWNER seawall ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        ));
        let url = format!("{}/{name}", server.url().rsplit_once('/').expect("a database").0);
        let error = new_epoch(&url, None).expect_err("refused").to_string();
        let mut probe = StoreProbe::new(&url, None, "one", Unmigrated::Fails).expect("an address");
        let cause = probe.look(Duration::from_secs(5)).result.expect_err("refused");
        assert_eq!(cause.fault, Fault::Encoding);
        for text in [error, cause.text] {
            assert!(text.contains(encoding) && text.contains("UTF8"), "{text}");
        }
    }
}
