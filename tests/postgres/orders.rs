//! Orders, blocks and revocations: the same in both stores, and shared by the instances of one PostgreSQL.

use crate::postgres::rig::{KEEP_ALL, PostgresConfig, Rig, config};
use crate::servers::Postgres;
use crate::support::wait::{SOON, until};
use seawall::close::Comeback;
use seawall::cluster::order::{BlockOrder, ClusterOrder, Disconnect, RevokeOrder, RevokedTokens};
use seawall::cluster::restrictions::Restriction;
use seawall::id::{TokenId, TokenStamp, UserName};
use seawall::job::orders::OrderFault;
use seawall::job::registry::{OwnSigns, RegistrySender};
use seawall::store::postgres::ClusterMember;
use std::sync::Arc;

/// The year 2100 in Unix milliseconds.
const FAR: u64 = 4_102_444_800_000;

pub fn instance_member(origin: u64) -> ClusterMember {
    let signs = Arc::new(OwnSigns::new(origin, format!("gw-{origin}").into()));
    ClusterMember { bus: None, signs, registry: RegistrySender::pair().0 }
}

pub fn instance(server: &Postgres, origin: u64) -> Rig {
    let member = Some(instance_member(origin));
    let rig = Rig::postgres_with(PostgresConfig { member, ..config(server.url(), KEEP_ALL, 100) });
    until(SOON, "the store is read", || rig.orders.is_read());
    rig
}

fn user(name: &str) -> UserName {
    UserName::parse(name).expect("a user name")
}

fn block(name: &str) -> ClusterOrder {
    ClusterOrder::Block(BlockOrder { user: user(name), until_unix_ms: None, reason: "spam \"1\"".into() })
}

fn revoke(tokens: RevokedTokens) -> ClusterOrder {
    ClusterOrder::Revoke(RevokeOrder { tokens, until_unix_ms: FAR })
}

/// No block here has an end.
const BLOCKED: Restriction = Restriction::Blocked { retry_ms: None };

fn refusal(rig: &Rig, name: &str, jti: &str) -> Option<Restriction> {
    let stamp = TokenStamp { issued_s: 10, jti: TokenId::of(jti) };
    rig.orders.judge(&user(name), stamp).expect("the store is read").1
}

/// Gives orders of each kind, and looks at what they leave.
fn orders_and_restrictions(rig: &Rig) {
    let place = |order| rig.orders.place(order, "test").expect("placed").order.id.0;
    let disconnect = ClusterOrder::Disconnect(Disconnect {
        user: user("ann"),
        connection: Some(7),
        except: vec![1, 2],
        reason: Arc::from("é"),
        comeback: Comeback::Unwanted,
    });
    let first = place(disconnect.clone());
    assert_eq!(rig.orders.log().newest().next().expect("one").order, disconnect);
    assert_eq!(refusal(rig, "ann", "a"), None);
    let second = place(block("ann"));
    assert!(second > first);
    assert_eq!(refusal(rig, "ann", "a"), Some(BLOCKED));
    place(ClusterOrder::Unblock(user("ann")));
    assert_eq!(refusal(rig, "ann", "a"), None);
    place(revoke(RevokedTokens::One("a".into())));
    assert_eq!((refusal(rig, "ann", "a"), refusal(rig, "ann", "b")), (Some(Restriction::Revoked), None));
    place(revoke(RevokedTokens::IssuedBefore(user("bob"), 10_001)));
    // A repetition takes nothing back.
    place(revoke(RevokedTokens::IssuedBefore(user("bob"), 1)));
    assert_eq!((refusal(rig, "bob", "b"), refusal(rig, "eve", "b")), (Some(Restriction::Revoked), None));
    place(block("cat"));
    assert!(rig.orders.report(seawall::id::OrderId(second)).is_some_and(|report| report.is_complete()));
}

#[test]
fn both_stores_number_orders_and_keep_restrictions() {
    orders_and_restrictions(&Rig::sqlite(KEEP_ALL, 100));
    let server = Postgres::start();
    let rig = instance(&server, 1);
    orders_and_restrictions(&rig);
    rig.close();
    let rig = instance(&server, 2);
    assert_eq!(refusal(&rig, "cat", "b"), Some(BLOCKED), "after a restart");
    assert_eq!(refusal(&rig, "ann", "a"), Some(Restriction::Revoked));
    assert_eq!(refusal(&rig, "bob", "b"), Some(Restriction::Revoked));
    assert_eq!(refusal(&rig, "ann", "b"), None);
}

#[test]
fn instance_learns_of_the_orders_of_others_and_full_tables_take_no_more() {
    let server = Postgres::start();
    let (one, two) = (instance(&server, 1), instance(&server, 2));
    let report = one.orders.place(block("ann"), "test").expect("placed");
    until(SOON, "the other instance knows it", || refusal(&two, "ann", "a") == Some(BLOCKED));
    until(SOON, "and says so", || {
        one.orders.report(report.order.id).is_some_and(|report| {
            report.is_complete() && report.instances.iter().any(|instance| &*instance.name == "gw-2")
        })
    });
    server.sql(
        "INSERT INTO seawall.blocks SELECT 'u' || n, NULL, '', now(), 'n' || n FROM generate_series(1, 99999) AS n",
    );
    assert_eq!(one.orders.place(block("bob"), "test").expect_err("no room"), OrderFault::TooManyBlocks);
    one.orders.place(block("ann"), "test").expect("one that is blocked already");
    one.orders.place(ClusterOrder::Unblock(user("ann")), "test").expect("placed");
    two.orders.place(block("bob"), "test").expect("there is room again");
    server.sql("DELETE FROM seawall.blocks WHERE user_name NOT IN ('u1', 'u2')");
    let filled = "INSERT INTO seawall.blocks SELECT 'v' || n, NULL, '', now(), 'test' FROM generate_series(1, 50000) AS n";
    server.sql(filled);
    assert_eq!(two.orders.place(block("eve"), "test").expect_err("its share"), OrderFault::TooManyBlocks);
    two.orders.place(block("eve"), "other").expect("a share of its own");
    server.sql("DELETE FROM seawall.blocks WHERE user_name LIKE 'v%'");
    // A restriction that has ended is not read; the sweep of the next minute deletes it.
    server.sql("UPDATE seawall.blocks SET until = now() - interval '1 s' WHERE user_name = 'u1'");
    let third = instance(&server, 3);
    assert_eq!(refusal(&third, "u2", "a"), Some(BLOCKED));
    assert_eq!(refusal(&third, "u1", "a"), None, "it has ended");
}

#[test]
fn instance_that_missed_orders_which_were_deleted_learns_the_restrictions() {
    let server = Postgres::start();
    let rig = instance(&server, 1);
    rig.orders.place(block("ann"), "test").expect("placed");
    // In one transaction, as if the instance had been cut off for hours: the orders that it missed are gone, except the last.
    server.sql(
        "BEGIN; DELETE FROM seawall.orders; DELETE FROM seawall.blocks;
         INSERT INTO seawall.blocks VALUES ('bob', NULL, '', now(), 'test');
         SELECT nextval(pg_get_serial_sequence('seawall.orders', 'id'));
         INSERT INTO seawall.orders (kind, args, made, by) VALUES ('unblock', '{\"user\": \"cat\"}', now(), 'test'); COMMIT",
    );
    until(SOON, "it knows that bob is blocked", || refusal(&rig, "bob", "a") == Some(BLOCKED));
    assert_eq!(refusal(&rig, "ann", "a"), None, "her block was lifted meanwhile");
    let report = rig.orders.place(block("eve"), "test").expect("placed");
    assert!(report.is_complete(), "{report:?}");
}
