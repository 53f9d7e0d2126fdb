//! The relay's sweep through a real log, and its looks at the channels that wait.

use super::super::place::RowKey;
use super::super::streams::lost_questions;
use super::relay_support::{Desk, route, silent};
use super::stream_support::id;
use super::support::plain;
use crate::id::pattern::ChannelPattern;
use crate::job::relay::{DeadCause, RelayAnswer, RelayWork};
use crate::relay::route::RelayRoute;
use serde_json::json;

#[test]
fn answer_ends_when_its_question_is_removed_unsent_or_erased() {
    let mut desk = Desk::new(vec![route()]);
    for channel in ["t1", "t2", "t3"] {
        desk.ask(plain(channel, "1"));
    }
    let sql = "UPDATE channels SET floor = 2 WHERE name = 't1';
               DELETE FROM publications WHERE place = (SELECT id << 39 | 1 FROM channels WHERE name = 't1');
               UPDATE publications SET deleted_by = 1, data = NULL
               WHERE place = (SELECT id << 39 | 1 FROM channels WHERE name = 't2')";
    desk.shelf.log.raw().execute_batch(sql).expect("SQL");
    desk.sweep(1_000);
    desk.flush();
    let is_open = |channel| desk.shelf.seen(&id(channel, 2)).is_some();
    assert_eq!(["t1", "t2", "t3"].map(is_open), [false, false, true]);
    let end = &desk.shelf.all("t1").pop().expect("an end");
    assert_eq!((&end["stream"], &end["data"]["cause"]), (&json!("failed"), &json!("not_delivered")));
}

#[test]
fn open_streams_are_looked_at_in_slices() {
    let mut desk = Desk::new(vec![route()]);
    for channel in ["t1", "t2", "t3"] {
        desk.ask(plain(channel, "1"));
    }
    let lost = "UPDATE publications SET deleted_by = 1, data = NULL WHERE place & 0x7fffffffff = 1
                AND place >> 39 <> (SELECT id FROM channels WHERE name = 't2')";
    desk.shelf.log.raw().execute_batch(lost).expect("SQL");
    let (mut found, mut after, mut slices) = (Vec::new(), Some(RowKey(0)), 0);
    while let Some(place) = after {
        let some;
        (some, after) = lost_questions(desk.shelf.log.raw(), place, 2).expect("a slice");
        found.extend(some);
        slices += 1;
    }
    assert_eq!(found, [id("t1", 2), id("t3", 2)]);
    assert_eq!(slices, 2, "two streams, and one");
    let (all, next) = lost_questions(desk.shelf.log.raw(), RowKey(0), 4).expect("a slice");
    assert_eq!((all.len(), next), (2, None));
}

#[test]
fn sweep_notes_what_is_gone_and_forgets_channels_that_do_not_exist() {
    let mut desk = Desk::new(vec![silent()]);
    for channel in ["t1", "t2"] {
        desk.ask(plain(channel, "1"));
    }
    let sql = "UPDATE channels SET floor = 2, oldest = NULL WHERE name = 't1'; DELETE FROM channels WHERE name = 't2'";
    desk.shelf.log.raw().execute_batch(sql).expect("SQL");
    desk.sweep(1_000);
    let letters = desk.dead();
    assert_eq!((letters.len(), letters[0].cause, letters[0].channel.as_str()), (1, DeadCause::Expired, "t1"));
    assert_eq!(desk.shelf.count("SELECT count(*) FROM relays"), 1);
    let month_ms = crate::store::relay::DEAD_AGE.as_millis() as u64;
    desk.sweep(month_ms + 2_000);
    assert_eq!(desk.dead(), []);
}

#[test]
fn route_with_very_many_channels_hides_no_other() {
    let pattern = |text| ChannelPattern::parse(text).expect("a pattern");
    let other = RelayRoute { name: "other".into(), pattern: pattern("u*"), ..silent() };
    let mut desk = Desk::new(vec![silent(), other]);
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
               INSERT INTO relays (channel, head, cursor, attempts, next) SELECT 't' || i, 2, 1, 0, i % 7 FROM n";
    desk.shelf.log.raw().execute_batch(sql).expect("SQL");
    desk.ask(plain("u1", "1"));
    let finds = |desk: &mut Desk| match desk.call(RelayWork::Due { limit: 1_000 }) {
        RelayAnswer::Due(due) => {
            let names: Vec<_> = due.channels.iter().map(|due| due.channel.as_str().to_owned()).collect();
            (names[0].clone(), names.iter().any(|name| name == "u1"))
        }
        other => panic!("{other:?}"),
    };
    let (first, found): (Vec<_>, Vec<bool>) = (0..4).map(|_| finds(&mut desk)).unzip();
    assert_eq!(found, [false, true, false, true], "5,000 channels are more than one look");
    assert!(first.iter().all(|name| *name == first[0]), "each look begins at the front: {first:?}");
}
