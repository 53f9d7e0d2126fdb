//! The rows of instances and the duty of the leader, as the SQL of the store keeps them.

use crate::postgres::rig::{KEEP_ALL, Rig};
use crate::servers::Postgres;

/// The rows that an instance gets, as `ORIGIN:COUNT:LEAVING:LEADS`, by origin.
fn renew(server: &Postgres, origin: u32) -> String {
    call(server, origin, "false")
}

/// The same of an instance that says goodbye.
fn leave(server: &Postgres, origin: u32) -> String {
    call(server, origin, "true")
}

fn call(server: &Postgres, origin: u32, ends: &str) -> String {
    server.sql(&format!(
        "SELECT string_agg(concat_ws(':', origin, count, leaving, leads), ' ' ORDER BY origin)
         FROM seawall.renew_instance({origin}, 'gw-{origin}', 1, 1, 0, {ends})"
    ))
}

/// The term of the leader ends now.
fn expire(server: &Postgres) {
    server.sql("UPDATE seawall.duties SET until = clock_timestamp() - interval '1 ms'");
}

#[test]
fn one_instance_leads_until_it_leaves_or_its_term_ends() {
    let server = Postgres::start();
    Rig::postgres(&server, KEEP_ALL, 1_000).ready().close();
    // Those of the store that the rig ran.
    server.sql("DELETE FROM seawall.canaries");
    expire(&server);
    assert_eq!(renew(&server, 1), "1:1:f:t");
    prolong(&server);
    assert_eq!(renew(&server, 2), "1:1:f:t 2:1:f:f", "the term has not ended");
    assert_eq!(renew(&server, 1), "1:1:f:t 2:1:f:f", "the leader keeps the duty");
    assert_eq!(leave(&server, 1), "1:1:t:f 2:1:f:f", "it gives the duty up when it leaves");
    assert_eq!(leave(&server, 1), "1:1:t:f 2:1:f:f", "and does not take it again");
    assert_eq!(renew(&server, 2), "1:1:t:f 2:1:f:t");
    expire(&server);
    assert_eq!(renew(&server, 3), "1:1:t:f 2:1:f:f 3:1:f:t");
    let terms =
        server.sql("SELECT count(*) FROM seawall.duties WHERE until < clock_timestamp() + interval '5 s'");
    assert_eq!(terms, "1", "a term has four seconds");
}

/// The term of the leader ends long after the test, however slow the machine is, unless the leader renews it.
fn prolong(server: &Postgres) {
    server.sql("UPDATE seawall.duties SET until = clock_timestamp() + interval '1 hour'");
}

/// Writes an open incident as this leader in this term.
fn write(server: &Postgres, origin: u32, term: u32, incident: u32) -> String {
    server.sql(&format!(
        "SELECT seawall.write_alerts({origin}, {term}, false, '{{{incident}}}', '{{t}}', '{{of {origin}}}',
            '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}')"
    ))
}

#[test]
fn leader_of_an_earlier_term_writes_no_alerts() {
    let server = Postgres::start();
    Rig::postgres(&server, KEEP_ALL, 1_000).ready().close();
    server.sql("DELETE FROM seawall.canaries; UPDATE seawall.duties SET term = 0");
    let term = || server.sql("SELECT term FROM seawall.duties").parse::<u32>().expect("a number");
    let take = |origin| {
        expire(&server);
        renew(&server, origin);
        prolong(&server);
        term()
    };
    let first = take(1);
    renew(&server, 1);
    assert_eq!(term(), first, "the same holder goes on");
    assert_eq!(write(&server, 1, first, 7), "t");
    expire(&server);
    assert_eq!(write(&server, 1, first, 7), "t", "no other one has taken the duty");
    let second = take(2);
    assert_eq!(write(&server, 1, first, 8), "f", "another one leads");
    assert_eq!(write(&server, 2, second, 7), "t");
    let third = take(1);
    assert_eq!(write(&server, 1, first, 8), "f", "it leads again, and does not know what the other one did");
    assert_eq!((second, third), (first + 1, first + 2));
    assert_eq!(server.sql("SELECT string_agg(number || body, ' ') FROM seawall.incidents"), "7of 2");
}

#[test]
fn only_the_leader_deletes_rows_that_are_an_hour_old() {
    let server = Postgres::start();
    Rig::postgres(&server, KEEP_ALL, 1_000).ready().close();
    server.sql("DELETE FROM seawall.canaries");
    expire(&server);
    renew(&server, 1);
    prolong(&server);
    server
        .sql("INSERT INTO seawall.canaries VALUES (9, 'old', 1, clock_timestamp() - interval '61 minutes')");
    assert_eq!(renew(&server, 2), "1:1:f:t 2:1:f:f", "a row of an hour ago is not listed");
    assert_eq!(server.sql("SELECT count(*) FROM seawall.canaries"), "3");
    renew(&server, 1);
    assert_eq!(server.sql("SELECT count(*) FROM seawall.canaries"), "2");
}

#[test]
fn row_of_an_earlier_program_is_listed_with_count_0() {
    let server = Postgres::start();
    Rig::postgres(&server, KEEP_ALL, 1_000).ready().close();
    server.sql("DELETE FROM seawall.canaries");
    let old = "SELECT count(*) FROM seawall.canary(7, 'old', 1)";
    assert_eq!(server.sql(old), "0");
    expire(&server);
    assert_eq!(renew(&server, 8), "7:0:f:f 8:1:f:t");
    assert_eq!(server.sql(old), "1", "the earlier program sees the row of this one");
}
