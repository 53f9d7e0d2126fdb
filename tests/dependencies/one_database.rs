//! One gateway and its database: a replaced epoch, the source address, and what `doctor` reports of a weak server.

use crate::servers::{Postgres, process};
use crate::support::wait::{LATE, SOON, until};
use crate::support::{Client, Setup};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustix::process::Signal;
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};
use std::time::Duration;

fn on(server: &Postgres) -> Setup {
    Setup::new().env("SEAWALL_STORE_URL", &server.url())
}

/// Runs another command of the binary with the settings of a gateway on this server.
fn run(server: &Postgres, source: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
    command
        .args(arguments)
        .env("SEAWALL_STORE_URL", server.url())
        .env("SEAWALL_SERVER_SOURCE_ADDRESS", source);
    command.output().expect("the gateway's binary starts")
}

/// Waits until a publication is stored: a worker of the store may still be connecting.
#[track_caller]
fn takes_publications(client: &mut Client) {
    let publish = json!({"publish": {"channel": "c", "key": "k", "data": 1}});
    until(SOON, "the store takes publications", || {
        client.command(publish.clone()).get("published").is_some()
    });
}

/// The report of `doctor`. On a busy machine a handshake may take longer than a look, so it is asked again then.
#[track_caller]
fn doctor(server: &Postgres, source: &str) -> Output {
    let mut reports = std::iter::repeat_with(|| run(server, source, &["doctor"])).take(5);
    reports.find(|report| !text(report).contains("no answer")).unwrap_or_else(|| panic!("{LATE}: doctor"))
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn gateway_says_bye_and_exits_when_its_store_gets_another_epoch() {
    let server = Postgres::start();
    let mut gateway = on(&server).start();
    let mut client = Client::connect(&gateway);
    takes_publications(&mut client);
    let ran = run(&server, "", &["store", "new-epoch"]);
    assert!(ran.status.success(), "{}", text(&ran));
    assert_eq!(client.next_push("bye")["code"], 1012);
    until(SOON, "it has ended", || !gateway.is_running());
    gateway.logs("new-epoch");
}

#[test]
fn log_that_lost_acknowledged_publications_takes_no_more_until_it_has_another_epoch() {
    let server = Postgres::start();
    let mut gateway = on(&server).start();
    let mut client = Client::connect(&gateway);
    let mut publish = |channel: &str| {
        let reply = client.command(json!({"publish": {"channel": channel, "data": 1}}));
        let code = reply["error"]["code"].as_str().unwrap_or("published");
        code.to_owned()
    };
    until(SOON, "the store takes publications", || publish("c") == "published");
    let mut listener = Client::connect(&gateway);
    (0..4).for_each(|_| assert_eq!(publish("c"), "published"));
    // As after a failover to a server that had the first three.
    server.sql("DELETE FROM seawall.publications WHERE \"offset\" > 3 AND channel = (SELECT id FROM seawall.channels WHERE name = 'c');
                UPDATE seawall.channels SET head = 3 WHERE name = 'c'");
    assert_eq!(publish("c"), "unconfirmed", "its offset was acknowledged before");
    assert_eq!(publish("another"), "unavailable");
    listener.next_status("down", SOON);
    // The log has a thread of its own, and this one may be faster.
    let (down, lost) = ("dependency down", "store lost acknowledged publications");
    until(SOON, "the outage is in the log", || {
        [down, lost].iter().all(|text| gateway.output().contains(text))
    });
    let output = gateway.output();
    let lines = |text| output.lines().filter(|line| line.contains(text)).collect::<Vec<_>>();
    let [line] = lines(lost)[..] else { panic!("{output}") };
    assert!(line.contains("known=5 found=4") && line.contains("seawall store new-epoch"), "{line}");
    assert!(lines(down)[0].contains("fault=\"went_back\""), "{output}");
    // Probes succeed, and end nothing.
    let change = listener.next_push_within("status", Duration::from_secs(3));
    assert_eq!(change, None);
    assert!(run(&server, "", &["store", "new-epoch"]).status.success());
    until(SOON, "it has ended", || !gateway.is_running());
}

#[test]
fn large_cuts_of_retention_are_logged() {
    let server = Postgres::start();
    let gateway = on(&server).env("SEAWALL_RETENTION_AGE_MS", "86400000").start();
    let mut client = Client::connect(&gateway);
    takes_publications(&mut client);
    (1..8).for_each(|n| _ = client.publish("c", json!(n)));
    let day_ms = 24 * 3_600 * 1_000;
    server.sql(&format!(
        "UPDATE seawall.publications SET time = time - {day_ms} WHERE \"offset\" <= 6;
         UPDATE seawall.channels SET oldest = oldest - {day_ms} WHERE name = 'c'"
    ));
    let wanted = "retention cut channels by a tenth";
    until(SOON, "it is logged", || gateway.output().contains(wanted));
    let output = gateway.output();
    let line = output.lines().find(|line| line.contains(wanted)).expect("just seen");
    assert!(line.contains("slices=1 publications=6 channel=c removed=6"), "{line}");
}

#[test]
fn store_and_probe_connect_from_the_source_address() {
    let server = Postgres::start();
    std::fs::write(
        server.data().join("pg_hba.conf"),
        "local all all trust\nhost all all 127.0.0.2/32 trust\n",
    )
    .unwrap();
    server.sql("SELECT pg_reload_conf()");
    until(SOON, "the rules are read", || server.sql("SELECT count(*) FROM pg_hba_file_rules") == "2");
    let gateway = on(&server).env("SEAWALL_SERVER_SOURCE_ADDRESS", "127.0.0.2").start();
    let seen = "SELECT string_agg(DISTINCT application_name || ' ' || host(client_addr), ',') FROM pg_stat_activity WHERE usename = 'seawall'";
    until(SOON, "both have connected", || server.sql(seen) == "seawall 127.0.0.2,seawall-probe 127.0.0.2");
    drop(gateway);
    let report = doctor(&server, "192.0.2.1");
    assert_eq!(report.status.code(), Some(3), "{}", text(&report));
    assert!(text(&report).contains("no address of this machine"), "{}", text(&report));
}

#[test]
fn log_and_doctor_warn_of_a_server_that_does_not_sync() {
    let server = Postgres::start();
    let gateway = on(&server).start();
    until(SOON, "the warning is logged", || gateway.output().contains("fsync is off"));
    let report = doctor(&server, "");
    assert_eq!(report.status.code(), Some(0), "{}", text(&report));
    assert!(text(&report).contains("fsync is off"), "{}", text(&report));
    server.sql("ALTER ROLE seawall SET synchronous_commit = off");
    let report = doctor(&server, "");
    assert_eq!(report.status.code(), Some(3), "{}", text(&report));
    assert!(text(&report).contains("synchronous_commit"), "{}", text(&report));
}

#[test]
fn doctor_warns_of_an_absent_schema_and_fails_on_a_newer_or_incomplete_one() {
    let server = Postgres::start();
    let look = || {
        let ran = doctor(&server, "");
        (ran.status.code(), text(&ran))
    };
    let (code, said) = look();
    assert!(code == Some(0) && said.contains("no schema seawall"), "{code:?} {said}");
    assert_eq!(server.sql("SELECT to_regnamespace('seawall') IS NULL"), "t", "doctor creates nothing");
    drop(on(&server).start());
    let (code, said) = look();
    assert!(code == Some(0) && !said.contains("schema"), "{code:?} {said}");
    server.sql("UPDATE seawall.meta SET value = value + 90 WHERE name = 'version'");
    let (code, said) = look();
    assert!(code == Some(3) && said.contains("schema version 9"), "{code:?} {said}");
    server.sql("UPDATE seawall.meta SET value = value - 90 WHERE name = 'version'");
    server.sql("DROP FUNCTION seawall.sweep_keys");
    let (code, said) = look();
    assert!(code == Some(3) && said.contains("sweep_keys"), "{code:?} {said}");
}

#[test]
fn missing_right_to_create_the_schema_is_named_with_both_ways_out() {
    let server = Postgres::start();
    server.sql("ALTER DATABASE seawall OWNER TO postgres");
    let ways = ["GRANT CREATE ON DATABASE \"seawall\"", "CREATE SCHEMA seawall AUTHORIZATION \"seawall\""];
    let report = doctor(&server, "");
    assert_eq!(report.status.code(), Some(3), "{}", text(&report));
    assert!(ways.iter().all(|way| text(&report).contains(way)), "{}", text(&report));
    let gateway = on(&server).start();
    // A quote within a value of the log is escaped.
    let logged = || gateway.output().replace("\\\"", "\"");
    until(SOON, "the log names them", || ways.iter().all(|way| logged().contains(way)));
    // As PostgreSQL checks it: the right to create a schema is not needed to use one.
    server.sql(ways[1]);
    until(SOON, "the store is up", || gateway.fetch("/health/dependencies").status == 200);
    let mut client = Client::connect(&gateway);
    let publish = json!({"publish": {"channel": "c", "data": 1}});
    until(SOON, "it is published", || client.command(publish.clone()).get("published").is_some());
    drop(gateway);
    // Another role owns the tables, and the guide's grants are enough.
    server.sql("REASSIGN OWNED BY seawall TO postgres");
    assert_eq!(doctor(&server, "").status.code(), Some(3));
    let guide = include_str!("../../docs/dependencies.md");
    let (_, grants) = guide.split_once("role that serves needs\n\n```sql\n").expect("they are there");
    let (grants, _) = grants.split_once("```").expect("they end");
    server.sql(&grants.replace("chat", "seawall"));
    let report = doctor(&server, "");
    assert_eq!(report.status.code(), Some(0), "{}", text(&report));
}

/// PostgreSQL logs each client whose TLS connection ends without a farewell, among its own faults. A probe that is not answered in time
/// ends so as well, which a busy machine can cause once.
#[test]
fn connections_of_start_doctor_reload_and_stop_leave_no_line_in_the_log_of_postgresql() {
    let lost: Vec<Vec<String>> = (0..3)
        .map_while(|_| Some(connections_without_a_farewell()).filter(|lost| !lost.is_empty()))
        .collect();
    assert!(lost.len() < 3, "{lost:#?}");
}

/// The lines of PostgreSQL's log about connections that ended without a farewell, from the start of a gateway to its stop.
fn connections_without_a_farewell() -> Vec<String> {
    let server = Postgres::start_with(&[("log_disconnections", "on")]);
    with_tls(&server);
    let ended = || server.logged(&["disconnection:"]).len();
    // Probes come often, so that the probe replaces its connection several times.
    let pace = "[[dependency]]\nname = \"store\"\ninterval_ms = 100\ntimeout_ms = 9000\nfailures = 10";
    let mut gateway = on(&server).toml(pace).start();
    let mut client = Client::connect(&gateway);
    until(SOON, "the store takes publications", || {
        client.command(json!({"publish": {"channel": "c", "data": 1}})).get("published").is_some()
    });
    until(SOON, "the probe has replaced its connection", || ended() >= 3);
    // On a busy machine the handshakes may take longer than a look.
    until(SOON, "doctor finds no fault", || run(&server, "", &["doctor"]).status.success());
    let file = gateway.setup().data().with_file_name("seawall.toml");
    std::fs::write(file, pace.replace("100", "200")).unwrap();
    gateway.signal(Signal::HUP);
    until(SOON, "it is reloaded", || gateway.metrics()["seawall_reloads_total{outcome=\"applied\"}"] == 1.0);
    let (code, _) = gateway.ends_after(Signal::TERM);
    assert_eq!(code, Some(0), "{}", gateway.output());
    until(SOON, "all have ended", || {
        server.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'seawall'") == "0"
    });
    server.logged(&["could not receive data", "could not send data", "unexpected EOF"])
}

/// Makes the server accept TLS, which clients use if they can.
fn with_tls(server: &Postgres) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".into()]).unwrap();
    let key = server.data().join("server.key");
    std::fs::write(server.data().join("server.crt"), cert.pem()).unwrap();
    std::fs::write(&key, signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    process::give(server.data());
    server.reload("ssl", "on");
}
