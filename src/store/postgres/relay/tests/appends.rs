//! Questions and the begins of their answers.

use super::support::{Store, delete, question, route, silent};
use crate::id::{Offset, UserName};
use crate::job::{Append, AppendError, Appended, Attempt};
use crate::wire::stream::StreamFault;

/// The publications of a channel: offset, author, mark and data.
fn log(store: &Store, channel: &str) -> String {
    store.sql(&format!(
        "SELECT string_agg(concat_ws(' ', p.\"offset\", p.author, coalesce(p.stream::text, '-'), p.data), ', ' ORDER BY p.\"offset\")
         FROM seawall.publications p JOIN seawall.channels c ON c.id = p.channel WHERE c.name = '{channel}'"
    ))
}

#[test]
fn question_and_the_begin_of_its_answer_are_stored_together() {
    let mut store = Store::start(vec![route()]);
    let settled = store.commit(&[
        question("t1", None, "\"why\""),
        question("other", None, "1"),
        question("t1", None, "2"),
    ]);
    let answers: Vec<_> =
        settled.iter().map(|settled| settled.outcome.as_ref().expect("stored").answer).collect();
    assert_eq!(answers, [Some(Offset(2)), None, Some(Offset(4))]);
    assert_eq!(
        log(&store, "t1"),
        "1 ann - \"why\", 2 assistant 1 {\"answers\":1}, 3 ann - 2, 4 assistant 1 {\"answers\":3}"
    );
    let streams = "SELECT string_agg(concat_ws(' ', \"offset\", state, author, asker, options), ', ' ORDER BY \"offset\") FROM seawall.streams";
    let options = |question| {
        format!(
            "{{\"keep_events\" : false, \"answer\" : {{\"question\" : {question}, \"give_up_ms\" : 3600000, \"answer_ms\" : 120000}}}}"
        )
    };
    assert_eq!(
        store.sql(streams),
        format!("2 4 assistant ann {}, 4 4 assistant ann {}", options(1), options(3))
    );
    assert_eq!(store.sql("SELECT head || ' ' || \"cursor\" FROM seawall.relays"), "3 0");
    assert_eq!(store.sql("SELECT head FROM seawall.channels WHERE name = 't1'"), "4");
}

#[test]
fn repeat_of_a_question_stores_nothing_and_names_its_answer() {
    let mut store = Store::start(vec![route()]);
    let ask = || question("t1", Some("k"), "\"why\"");
    assert_eq!(store.ask(ask()).answer, Some(Offset(2)));
    for settled in store.commit(&[ask(), ask()]) {
        let Appended { offset, attempt, answer, .. } = settled.outcome.expect("known");
        assert_eq!((offset, attempt, answer), (Offset(1), Attempt::Repeat, Some(Offset(2))));
    }
    let other = store.commit(&[question("t1", Some("k"), "\"what\"")]);
    assert_eq!(other[0].outcome, Err(AppendError::KeyConflict));
    assert_eq!(store.sql("SELECT count(*) FROM seawall.publications"), "2");
}

#[test]
fn question_is_refused_while_too_many_answers_are_open_in_its_channel() {
    let mut store = Store::start(vec![route()]);
    let of = |asker: &str| {
        let user = UserName::parse(asker).expect("a user name");
        Append { user, ..question("t1", None, "1") }
    };
    for _ in 0..4 {
        store.ask(of("ann"));
    }
    let fifth = store.commit(&[of("ann")]).remove(0).outcome;
    assert!(
        matches!(fifth, Err(AppendError::Stream(StreamFault::ChannelFull { .. }))),
        "more than half: {fifth:?}"
    );
    for _ in 0..4 {
        store.ask(of("bob"));
    }
    let settled = store.commit(&[of("eve"), question("t2", None, "1")]);
    assert!(
        matches!(settled[0].outcome, Err(AppendError::Stream(StreamFault::ChannelFull { .. }))),
        "{settled:?}"
    );
    assert_eq!(settled[1].outcome.as_ref().expect("stored").answer, Some(Offset(2)));
    assert_eq!(store.sql("SELECT count(*) FROM seawall.publications"), "18");
    assert_eq!(store.sql("SELECT max(head) FROM seawall.relays"), "15");
    // Without an answer there is no such bound.
    store.table = crate::relay::route::RouteTable::new(vec![silent()]);
    assert_eq!(store.ask(question("t1", None, "1")).answer, None);
}

#[test]
fn what_is_not_new_is_stored_as_before_in_a_batch_with_questions() {
    let mut store = Store::start(vec![route()]);
    store.ask(question("t1", None, "1"));
    let settled = store.commit(&[
        delete("t1", 1),
        question("t1", None, "2"),
        Append { channel: super::support::name("b"), ..question("b", Some("k"), "3") },
        delete("t1", 99),
    ]);
    let offsets: Vec<_> =
        settled.iter().map(|settled| settled.outcome.as_ref().map(|it| it.offset.0).ok()).collect();
    assert_eq!(offsets, [Some(3), Some(4), Some(1), None]);
    assert_eq!(store.sql("SELECT head || ' ' || \"cursor\" FROM seawall.relays"), "4 0");
}

#[test]
fn nothing_older_than_the_route_is_sent() {
    let mut store = Store::start(Vec::new());
    for _ in 0..3 {
        store.ask(question("t1", None, "1"));
    }
    assert_eq!(store.sql("SELECT count(*) FROM seawall.relays"), "0");
    store.table = crate::relay::route::RouteTable::new(vec![silent()]);
    store.ask(question("t1", None, "1"));
    assert_eq!(store.instance(1).claimed("t1").question.offset, Offset(4));
}

#[test]
fn dropped_channel_leaves_nothing() {
    let mut store = Store::start(vec![silent()]);
    let claims = Some("{\"tenant\":\"a\"}".into());
    store.ask(Append { claims, ..question("t1", None, "1") });
    assert_eq!(store.sql("SELECT claims FROM seawall.relay_claims"), "{\"tenant\":\"a\"}");
    let selection = crate::store::Selection::parse("t1").expect("a name");
    super::super::super::drop_channels(&store.server.url(), None, &selection).expect("dropped");
    for table in ["relays", "relay_claims", "relay_dead"] {
        assert_eq!(store.sql(&format!("SELECT count(*) FROM seawall.{table}")), "0", "{table}");
    }
}
