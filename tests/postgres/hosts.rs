//! Several hosts in one address.

use crate::postgres::rig::{KEEP_ALL, Rig, config, plain};
use crate::servers::Postgres;
use crate::support::wait::{SOON, in_time, until};
use seawall::store::postgres::new_epoch;
use std::net::TcpListener;
use std::time::{Duration, Instant};

fn url(hosts: &[u16], query: &str) -> String {
    let hosts: Vec<String> = hosts.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    format!("postgres://seawall@{}/seawall?sslmode=disable{query}", hosts.join(","))
}

#[test]
fn first_writable_host_is_used_and_the_next_one_after_a_change() {
    let (mut one, mut two) = (Postgres::start(), Postgres::start());
    one.stop();
    one.become_standby();
    one.start_again();
    let ports = [one.address().port(), two.address().port()];
    let error =
        new_epoch(&url(&ports, ""), None).expect_err("the first host accepts the session").to_string();
    assert!(error.contains("standby"), "{error}");
    let mut rig =
        Rig::postgres_with(config(url(&ports, "&target_session_attrs=read-write"), KEEP_ALL, 1_000)).ready();
    rig.offset(plain("c", "1"));
    assert_eq!(two.sql("SELECT count(*) FROM seawall.publications WHERE data = '1'"), "2");
    two.stop();
    until(SOON, "the stop is detected", || rig.append(plain("c", "2")).is_err());
    let none =
        new_epoch(&url(&ports[..1], "&target_session_attrs=read-write"), None).expect_err("none").to_string();
    assert!(none.contains("takes no writes"), "{none}");
    let none =
        new_epoch(&url(&ports[..1], "&target_session_attrs=primary"), None).expect_err("none").to_string();
    assert!(none.contains("is a standby"), "{none}");
    two.start_again();
    until(SOON, "publications are stored again", || rig.append(plain("c", "3")).is_ok());
    rig.close();
    new_epoch(&url(&ports, "&target_session_attrs=primary"), None).expect("the second host is the primary");
}

#[test]
fn silent_hosts_leave_time_for_the_next() {
    let silent = || TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (one, two, server) = (silent(), silent(), Postgres::start());
    let of = |listener: &TcpListener| listener.local_addr().expect("bound").port();
    let ports = [of(&one), of(&two), server.address().port()];
    // Two thirds of two seconds; it would be more than two seconds if the first host used all of the time.
    in_time(Duration::from_millis(2_000), || {
        let begun = Instant::now();
        new_epoch(&url(&ports, ""), None).expect("the third host answers");
        begun.elapsed()
    });
}
