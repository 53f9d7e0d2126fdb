//! The erasure of a user: the same in both stores, and shared by the instances of one PostgreSQL.

use crate::postgres::orders::{instance, instance_member};
use crate::postgres::rig::{KEEP_ALL, PostgresConfig, Rig, append, config, keyed, offsets, plain};
use crate::servers::Postgres;
use crate::support::wait::{LATE, SOON, until};
use seawall::cluster::order::ClusterOrder;
use seawall::id::{Offset, UserName};
use seawall::job::orders::OrderFault;
use seawall::job::{Append, AppendChange, Attempt, Authority};
use seawall::store::Retention;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const TEXT: &str = "\"of ann\"";
/// A search begins 10 s after its order, and a busy machine needs more.
const ERASED: Duration = Duration::from_secs(90);

fn edit(channel: &str, user: &str, target: u64, authority: Authority) -> Append {
    Append { change: AppendChange::Edit(Offset(target), authority), ..append(channel, user, None, TEXT) }
}

fn erasure(user: &str) -> ClusterOrder {
    ClusterOrder::Erase(UserName::parse(user).expect("a user name"))
}

fn erase(rig: &Rig, user: &str) {
    rig.orders.place(erasure(user), "test").expect("placed");
}

fn of(all: &[Value], user: &str) -> usize {
    all.iter().filter(|publication| publication["user"] == user).count()
}

/// Has the search begin at once.
fn begin_now(server: &Postgres) {
    server.sql("UPDATE seawall.user_erasures SET asked = asked - interval '1 minute'");
}

/// Has ann write more than a slice changes, in channels with texts of bob.
fn write(rig: &mut Rig) {
    for n in 0..150 {
        rig.offset(append("a", "ann", Some(&format!("k{n}")), TEXT));
    }
    rig.offset(append("a", "bob", Some("k0"), "\"of bob\""));
    rig.offset(edit("a", "ann", 3, Authority::Author));
    let delete = AppendChange::Delete(Offset(4), Authority::Author);
    rig.offset(Append { change: delete, ..plain("a", TEXT) });
    // A moderator's words in the place of bob's.
    rig.offset(append("b", "bob", None, "\"of bob\""));
    rig.offset(edit("b", "ann", 1, Authority::Moderator));
    rig.offset(append("c", "bob", None, "\"of bob\""));
}

fn is_erased(rig: &mut Rig) {
    until(ERASED, "nothing names ann", || of(&rig.all("a"), "ann") + of(&rig.all("b"), "ann") == 0);
    let all = rig.all("a");
    // 149 deletes: one was made before.
    assert_eq!(offsets(&all), (1..=153 + 149).collect::<Vec<_>>(), "offsets have no gaps");
    let kept: Vec<&Value> = all.iter().filter(|publication| publication["data"] != Value::Null).collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(
        (&kept[0]["user"], &kept[0]["data"], &kept[0]["key"]),
        (&json!("bob"), &json!("of bob"), &json!("k0"))
    );
    assert_eq!(of(&all, "erased"), all.len() - 1);
    assert!(all.iter().filter(|one| one["user"] == "erased").all(|one| one["key"] == Value::Null));
    let edited = rig.all("b");
    assert!(edited.iter().all(|one| one["data"] == Value::Null), "{edited:?}");
    assert_eq!((of(&edited, "bob"), of(&edited, "erased")), (1, 2), "{edited:?}");
    assert_eq!(rig.all("c")[0]["data"], "of bob");
    // The key is free again once the second stage is over, and the log goes on.
    let first =
        |rig: &mut Rig| rig.append(keyed("a", "k7")).is_ok_and(|stored| stored.attempt == Attempt::First);
    until(ERASED, "the keys are gone", || first(rig));
    assert_eq!(of(&rig.all("a"), "ann"), 1);
}

#[test]
fn erased_user_is_gone_in_both_stores() {
    let mut rig = Rig::sqlite(KEEP_ALL, 100).ready();
    write(&mut rig);
    erase(&rig, "ann");
    is_erased(&mut rig);
    let server = Postgres::start();
    let mut rig = instance(&server, 1).ready();
    write(&mut rig);
    erase(&rig, "ann");
    begin_now(&server);
    is_erased(&mut rig);
}

#[test]
fn instances_share_an_erasure_and_another_ends_what_one_began() {
    let server = Postgres::start();
    let mut one = instance(&server, 1).ready();
    write(&mut one);
    erase(&one, "ann");
    begin_now(&server);
    one.close();
    let (mut two, three) = (instance(&server, 2), instance(&server, 3));
    is_erased(&mut two);
    until(SOON, "it is over", || server.sql("SELECT count(*) FROM seawall.user_erasures") == "0");
    // A block stays, and the next erasure finds nothing to do.
    erase(&three, "ann");
    begin_now(&server);
    until(SOON, "it is over", || server.sql("SELECT count(*) FROM seawall.user_erasures") == "0");
}

/// Has retention remove the original of an edit, and erases the author.
fn edit_without_its_original_is_erased(rig: &mut Rig) {
    rig.offset(append("d", "ann", None, TEXT));
    rig.offset(edit("d", "ann", 1, Authority::Author));
    rig.offset(append("d", "bob", None, "\"of bob\""));
    until(SOON, "the original is not retained", || offsets(&rig.all("d")) == [2, 3]);
    until(SOON, "the store is read", || rig.orders.is_read());
    erase(rig, "ann");
    until(ERASED, "nothing names ann", || of(&rig.all("d"), "ann") == 0);
    let all = rig.all("d");
    assert_eq!((&all[0]["data"], &all[0]["deleted_by"]), (&Value::Null, &json!(2)), "{all:?}");
    assert_eq!((all.len(), &all[1]["data"]), (2, &json!("of bob")), "{all:?}");
}

#[test]
fn edit_whose_original_is_not_retained_loses_its_text_in_both_stores() {
    let retention = Retention { publications: 2, age: None };
    edit_without_its_original_is_erased(&mut Rig::sqlite(retention, 100).ready());
    let server = Postgres::start();
    let member = instance_member(1);
    let config = PostgresConfig { member: Some(member), ..config(server.url(), retention, 100) };
    edit_without_its_original_is_erased(&mut Rig::postgres_with(config).ready());
}

#[test]
fn one_key_has_half_of_the_unfinished_erasures() {
    let server = Postgres::start();
    let rig = instance(&server, 1).ready();
    // More than half, because some end meanwhile.
    let fill = "INSERT INTO seawall.user_erasures (user_name, asked, by)
                SELECT 'u' || n, now(), 'test' FROM generate_series(1, 55000) AS n";
    server.sql(fill);
    assert_eq!(rig.orders.place(erasure("ann"), "test").expect_err("its share"), OrderFault::TooManyErasures);
    rig.orders.place(erasure("ann"), "other").expect("a share of its own");
}

/// A store without a running instance, in which ann has three originals, the first with 30 edits, and 50 keys.
fn written_by_hand() -> Postgres {
    let server = Postgres::start();
    instance(&server, 1).ready().close();
    server.sql(
        "INSERT INTO seawall.channels (name, head, time, oldest) VALUES ('hand', 0, 1, 1);
         UPDATE seawall.channels SET head = 33 WHERE name = 'hand';
         INSERT INTO seawall.publications (channel, \"offset\", author, time, kind, target, data)
             SELECT c.id, n, 'ann', 1, CASE WHEN n <= 3 THEN 0 ELSE 1 END, CASE WHEN n > 3 THEN 1 END, '1'
             FROM seawall.channels AS c, generate_series(1, 33) AS n WHERE c.name = 'hand';
         INSERT INTO seawall.keys (channel, author, key, \"offset\", time, digest)
             SELECT c.id, CASE WHEN n <= 50 THEN 'ann' ELSE 'bob' END, 'k' || n, 1, 1, ''
             FROM seawall.channels AS c, generate_series(1, 60) AS n WHERE c.name = 'hand';
         INSERT INTO seawall.user_erasures (user_name, by, asked) VALUES ('ann', 'test', '2000-01-01');
         INSERT INTO seawall.erasure_searches (by) VALUES ('test')",
    );
    server
}

#[test]
fn slice_of_a_search_is_bounded_in_publications_edits_and_keys() {
    let server = written_by_hand();
    let number = |sql: &str| server.sql(sql).parse::<u64>().expect("a number");
    let erased = || number("SELECT count(*) FROM seawall.publications WHERE deleted_by IS NOT NULL");
    let keys = || number("SELECT count(*) FROM seawall.keys WHERE author = 'ann'");
    let (mut most_rows, mut most_keys, mut slices) = (0, 0, 0);
    while number("SELECT count(*) FROM seawall.erasure_searches") > 0 {
        let before = (erased(), keys());
        server.sql("SELECT seawall.erase_slice('test', 5, 'erased', 10000, 7, 2)");
        most_rows = most_rows.max(erased() - before.0);
        most_keys = most_keys.max(before.1 - keys());
        slices += 1;
        assert!(slices < 100, "it goes on");
    }
    assert!((4..=10).contains(&most_rows), "{most_rows} rows in a slice of 2 publications");
    assert!((1..=7).contains(&most_keys), "{most_keys} keys in a slice that examines 7");
    assert_eq!((number("SELECT count(*) FROM seawall.user_erasures"), keys()), (0, 0));
    assert_eq!(number("SELECT count(*) FROM seawall.keys"), 10, "those of others stay");
    let rest = "SELECT count(*) FROM seawall.publications WHERE author = 'ann' OR data NOT IN ('null', '1')";
    assert_eq!(number(rest), 0);
    assert_eq!(number("SELECT count(*) FROM seawall.orders WHERE kind = 'erased'"), 1);
}

#[test]
fn failing_erasure_of_one_requester_holds_up_no_other() {
    let server = Postgres::start();
    let mut rig = instance(&server, 1).ready();
    rig.offset(append("locked", "ann", None, TEXT));
    rig.offset(append("free", "bob", None, TEXT));
    let counted = |rig: &Rig| rig.counters.erasures_unfinished.load(Ordering::Relaxed);
    // Slices fail at the lock of the channel, until the lock ends.
    let holder = server.hold("SELECT 1 FROM seawall.channels WHERE name = 'locked' FOR UPDATE");
    rig.orders.place(erasure("ann"), "a").expect("placed");
    begin_now(&server);
    rig.orders.place(erasure("bob"), "b").expect("placed");
    begin_now(&server);
    until(ERASED, "the other is erased", || of(&rig.all("free"), "bob") == 0);
    until(ERASED, "one erasure is left", || counted(&rig) == 1);
    assert_eq!(of(&rig.all("locked"), "ann"), 1, "its channel is locked");
    until(SOON, "its age is counted", || rig.counters.erasure_age_ms.load(Ordering::Relaxed) >= 60_000);
    drop(holder);
    until(ERASED, "the first is erased", || of(&rig.all("locked"), "ann") == 0);
    until(ERASED, "none is left", || counted(&rig) == 0);
}

#[test]
fn one_search_is_for_all_users_of_a_requester() {
    let server = Postgres::start();
    let mut rig = instance(&server, 1).ready();
    for n in 0..40 {
        rig.offset(append("c", &format!("u{n}"), Some("k"), TEXT));
    }
    let begun = Instant::now();
    (0..40).for_each(|n| erase(&rig, &format!("u{n}")));
    // A search begins ten seconds after its first order.
    assert!(begun.elapsed() < Duration::from_secs(8), "{LATE}: the orders");
    begin_now(&server);
    until(ERASED, "all are erased", || server.sql("SELECT count(*) FROM seawall.user_erasures") == "0");
    assert_eq!(of(&rig.all("c"), "erased"), 80);
    assert_eq!(server.sql("SELECT count(*) FROM seawall.orders WHERE kind = 'erased'"), "1");
    assert_eq!(server.sql("SELECT count(*) FROM seawall.keys WHERE author LIKE 'u%'"), "0");
}
