//! The relay on a real log: questions and their answers, claims, and what becomes of each publication.

use super::relay_support::{Desk, claimed, route, silent};
use super::stream_support::{id, user};
use super::support::{KEEP_ALL, Shelf, append, changing, delete, edit, name, plain};
use crate::id::Offset;
use crate::job::relay::{
    ClaimOutcome, DeadCause, Fence, LEASE, RelayAnswer, RelayNotice, RelayOutcome, RelayWork, SettleOutcome,
};
use crate::job::{Append, AppendError, Appended, Attempt};
use crate::relay::route::{ChannelOrder, RelayRoute, RelayedKind, RouteTable};
use crate::store::Retention;
use crate::store::open_streams::Output;
use crate::stream::{CancelRight, Known, StreamSender};
use crate::wire::publication::Change;
use crate::wire::stream::{StreamFault, StreamState};
use serde_json::json;
use std::time::Duration;

const DONE: RelayOutcome = RelayOutcome::Done;

fn cancel(desk: &Desk, channel: &str, answer: u64) {
    let (ann, mut out) = (user("ann"), Output::default());
    let producer = super::stream_support::BOT;
    let sender = StreamSender { producer, user: &ann, ticket: None };
    let known = desk
        .shelf
        .open()
        .order(|ledger, now| ledger.cancel(&id(channel, answer), sender, CancelRight::Own, now, &mut out));
    assert_eq!(known, Known::Open);
}

#[test]
fn question_and_the_begin_of_its_answer_are_stored_together() {
    let mut desk = Desk::new(vec![route()]);
    let (outcomes, announced) = desk.append(&[plain("t1", "\"why\""), plain("other", "1")]);
    let appended = outcomes[0].clone().expect("stored");
    assert_eq!((appended.offset, appended.answer, appended.stream), (Offset(1), Some(Offset(2)), None));
    assert_eq!(outcomes[1].clone().expect("stored").answer, None);
    let all = desk.shelf.all("t1");
    assert_eq!((&all[1]["user"], &all[1]["data"]), (&json!("assistant"), &json!({"answers": 1})));
    assert_eq!(all[1]["stream"], json!("begun"));
    assert_eq!((announced.len(), announced[0].offset), (1, Offset(2)));
    let seen = desk.shelf.seen(&id("t1", 2)).expect("it is open");
    assert_eq!(seen.state, StreamState::Accepted);
    let waiting: Vec<_> = desk.notices.try_iter().collect();
    assert_eq!(waiting, [RelayNotice::Waiting { channel: name("t1") }]);
}

#[test]
fn repeat_of_a_question_stores_nothing_and_names_its_answer() {
    let mut desk = Desk::new(vec![route()]);
    let question = || append("t1", "ann", Some("k"), "\"why\"");
    assert_eq!(desk.ask(question()), (1, Some(2)));
    let (outcomes, announced) = desk.append(&[question(), question()]);
    for outcome in outcomes {
        let Appended { offset, attempt, answer, .. } = outcome.expect("known");
        assert_eq!((offset, attempt, answer), (Offset(1), Attempt::Repeat, Some(Offset(2))));
    }
    assert!(announced.is_empty() && desk.shelf.all("t1").len() == 2);
    // Without a route the question has no answer; its repeat does not get the publication after it for one.
    desk.routes.replace(RouteTable::default());
    assert_eq!(desk.ask(append("t2", "ann", Some("k"), "1")), (1, None));
    desk.ask(append("t2", "assistant", None, "{\"answers\":1}"));
    desk.routes.replace(RouteTable::new(vec![route()]));
    assert_eq!(desk.ask(append("t2", "ann", Some("k"), "1")), (1, None));
}

#[test]
fn question_is_refused_while_too_many_answers_are_open_in_its_channel() {
    let mut desk = Desk::new(vec![route()]);
    let mut stored = 0;
    let refusal = loop {
        let (outcomes, _) = desk.append(&[plain("t1", "1")]);
        match &outcomes[0] {
            Ok(_) => stored += 1,
            Err(refusal) => break refusal.clone(),
        }
    };
    assert!(matches!(refusal, AppendError::Stream(StreamFault::ChannelFull { .. })), "{refusal:?}");
    assert!(stored > 0);
    assert_eq!(desk.shelf.all("t1").len(), 2 * stored);
    assert_eq!(desk.ask(plain("t2", "1")), (1, Some(2)), "others go on");
    // The next one is stored as soon as one of them has ended.
    cancel(&desk, "t1", 2);
    desk.flush();
    assert!(desk.append(&[plain("t1", "1")]).0[0].is_ok());
}

#[test]
fn publications_are_claimed_one_after_the_other() {
    let mut desk = Desk::new(vec![route()]);
    assert!(matches!(desk.claim("t1"), ClaimOutcome::Nothing));
    desk.ask(append("t1", "ann", Some("k1"), "\"one\""));
    desk.ask(append("t1", "bob", None, "\"two\""));
    let first = desk.claimed("t1");
    assert_eq!((first.question.offset, first.attempt, &*first.route), (Offset(1), 1, "assistant"));
    assert_eq!((first.question.user.as_str(), &*first.question.data), ("ann", "\"one\""));
    assert_eq!(first.question.key.as_ref().map(|key| key.as_str()), Some("k1"));
    let answer = first.answer.expect("it is open");
    assert_eq!((answer.offset, answer.state), (Offset(2), StreamState::Accepted));
    let second = claimed(desk.settled("t1", first.fence, DONE));
    assert_eq!(
        (second.question.offset, second.attempt, second.answer.map(|it| it.offset)),
        (Offset(3), 1, Some(Offset(4)))
    );
    assert!(second.fence > first.fence);
    assert!(matches!(desk.settle("t1", first.fence, DONE), SettleOutcome::Lost));
    assert!(matches!(desk.settled("t1", second.fence, DONE), ClaimOutcome::Nothing));
    assert!(matches!(desk.claim("t1"), ClaimOutcome::Nothing));
    assert_eq!(desk.dead(), []);
}

#[test]
fn attempts_are_counted_unless_nothing_was_sent_and_survive_the_process() {
    let mut desk = Desk::new(vec![silent()]);
    desk.ask(plain("t1", "1"));
    let first = desk.claimed("t1");
    assert!(matches!(desk.settled("t1", first.fence, RelayOutcome::Release), ClaimOutcome::Nothing));
    let again = desk.claimed("t1");
    assert_eq!(again.attempt, 1);
    let later = RelayOutcome::Later { delay: Duration::from_millis(500) };
    assert!(matches!(desk.settled("t1", again.fence, later), ClaimOutcome::Nothing));
    let ClaimOutcome::NotYet { delay } = desk.claim("t1") else { panic!("too early") };
    assert_eq!(delay, Duration::from_millis(500));
    desk.now_ms += 500;
    assert_eq!(desk.claimed("t1").attempt, 2);
    // The process is killed while the request is under way.
    desk.restart();
    assert_eq!(desk.claimed("t1").attempt, 3);
}

#[test]
fn outcome_that_is_repeated_after_an_unknown_commit_counts_once() {
    let mut desk = Desk::new(vec![silent()]);
    for data in ["1", "2", "3"] {
        desk.ask(plain("t1", data));
    }
    let first = desk.claimed("t1");
    let settle = |fence, outcome| RelayWork::Settle { channel: name("t1"), fence, outcome };
    desk.lose(settle(first.fence, DONE));
    let second = claimed(desk.settled("t1", first.fence, DONE));
    assert_eq!(second.question.offset, Offset(2));
    let dead = RelayOutcome::Dead { cause: DeadCause::Refused, status: Some(400) };
    desk.lose(settle(second.fence, dead));
    let third = claimed(desk.settled("t1", second.fence, dead));
    assert_eq!((third.question.offset, desk.dead().len()), (Offset(3), 1));
    desk.lose(settle(third.fence, RelayOutcome::Release));
    assert!(matches!(desk.settled("t1", third.fence, RelayOutcome::Release), ClaimOutcome::Nothing));
    assert_eq!(desk.claimed("t1").attempt, 1);
    desk.lose(RelayWork::Claim { channel: name("t1") });
    let last = desk.claimed("t1");
    assert!(last.attempt > 1, "an attempt that may have been made is counted");
    assert!(matches!(desk.settled("t1", last.fence, DONE), ClaimOutcome::Nothing));
}

#[test]
fn publication_that_is_refused_is_a_dead_letter_and_the_next_one_follows() {
    let mut desk = Desk::new(vec![silent()]);
    desk.ask(plain("t1", "1"));
    desk.ask(plain("t1", "2"));
    let first = desk.claimed("t1");
    let dead = RelayOutcome::Dead { cause: DeadCause::Refused, status: Some(422) };
    let second = claimed(desk.settled("t1", first.fence, dead));
    assert_eq!(second.question.offset, Offset(2));
    let letters = desk.dead();
    assert_eq!((letters.len(), letters[0].offset, letters[0].through), (1, Offset(1), Offset(1)));
    assert_eq!(
        (letters[0].cause, letters[0].status, &*letters[0].route),
        (DeadCause::Refused, Some(422), "assistant")
    );
    let of = |route: &str| RelayWork::Dead { route: Some(route.into()), after: 0, limit: 10 };
    assert!(matches!(desk.call(of("assistant")), RelayAnswer::Dead(letters) if letters.len() == 1));
    assert!(matches!(desk.call(of("other")), RelayAnswer::Dead(letters) if letters.is_empty()));
    let after = RelayWork::Dead { route: None, after: letters[0].number, limit: 10 };
    assert!(matches!(desk.call(after), RelayAnswer::Dead(letters) if letters.is_empty()));
}

#[test]
fn what_retention_removed_unsent_is_a_dead_letter() {
    let bounds =
        super::super::log::LogBounds { retention: Retention { publications: 2, age: None }, ..KEEP_ALL };
    let mut desk = Desk::on(Shelf::new(bounds), vec![silent()]);
    for data in ["1", "2", "3", "4"] {
        desk.ask(plain("t1", data));
    }
    desk.shelf.retain(1_000);
    assert_eq!(desk.claimed("t1").question.offset, Offset(3));
    let letters = desk.dead();
    assert_eq!((letters.len(), letters[0].cause), (1, DeadCause::Expired));
    assert_eq!((letters[0].offset, letters[0].through), (Offset(1), Offset(2)));
}

#[test]
fn question_that_was_withdrawn_or_deleted_is_not_sent() {
    let mut desk = Desk::new(vec![route()]);
    for channel in ["t1", "t2"] {
        desk.ask(plain(channel, "1"));
        desk.ask(plain(channel, "2"));
    }
    cancel(&desk, "t1", 2);
    desk.flush();
    assert_eq!(desk.claimed("t1").question.offset, Offset(3));
    desk.ask(changing(delete(1), plain("t2", "null")));
    assert_eq!(desk.claimed("t2").question.offset, Offset(3));
    assert_eq!(desk.dead(), []);
}

#[test]
fn question_is_a_dead_letter_if_its_answer_ended_because_it_was_not_delivered() {
    let mut desk = Desk::new(vec![route()]);
    desk.ask(plain("t1", "1"));
    let (fail, mut out) = (user("assistant"), Output::default());
    let producer = super::stream_support::BOT;
    let sender = StreamSender { producer, user: &fail, ticket: None };
    let cause = crate::wire::stream::EndCause::NotDelivered;
    let known = desk.shelf.open().order(|ledger, _| ledger.fail(&id("t1", 2), sender, cause, &mut out));
    assert_eq!(known, Known::Open);
    desk.flush();
    assert!(matches!(desk.claim("t1"), ClaimOutcome::Nothing));
    assert_eq!(desk.dead().iter().map(|letter| letter.cause).collect::<Vec<_>>(), [DeadCause::NotDelivered]);
}

#[test]
fn edits_and_deletes_are_relayed_if_the_route_has_them_but_not_the_marks_of_streams() {
    let kinds = silent().kinds.with(RelayedKind::Edit).with(RelayedKind::Delete);
    let mut desk = Desk::new(vec![RelayRoute { kinds, ..silent() }]);
    let begin = desk.shelf.offset(super::stream_support::begin("t1", None, "{}"), 1);
    assert_eq!(begin, 1);
    desk.ask(changing(edit(1), append("t1", "bot", None, "2")));
    assert!(matches!(desk.claim("t1"), ClaimOutcome::Nothing), "it ended a stream");
    desk.ask(plain("t1", "3"));
    desk.ask(changing(edit(3), plain("t1", "4")));
    let first = desk.claimed("t1");
    assert_eq!(first.question.offset, Offset(3));
    let second = claimed(desk.settled("t1", first.fence, DONE));
    assert_eq!((second.question.change, second.answer), (Change::Edits(Offset(3)), None));
}

#[test]
fn serial_route_waits_until_the_answer_has_ended() {
    let mut desk = Desk::new(vec![RelayRoute { order: ChannelOrder::Answered, ..route() }]);
    desk.ask(plain("t1", "1"));
    desk.ask(plain("t1", "2"));
    let first = desk.claimed("t1");
    assert!(matches!(desk.settled("t1", first.fence, DONE), ClaimOutcome::Waits));
    assert!(matches!(desk.claim("t1"), ClaimOutcome::Waits));
    cancel(&desk, "t1", 2);
    desk.flush();
    assert_eq!(desk.claimed("t1").question.offset, Offset(3));
}

#[test]
fn claims_go_with_their_question_and_then_are_deleted() {
    let forwarding = RelayRoute { claims: vec!["tenant".into()], ..silent() };
    let mut desk = Desk::new(vec![forwarding]);
    let with = |claims: &str| Append { claims: Some(claims.into()), ..plain("t1", "1") };
    desk.ask(with("{\"plan\":1,\"tenant\":\"a\"}"));
    desk.ask(with("{\"tenant\":\"b\"}"));
    desk.ask(with("{\"plan\":1}"));
    let first = desk.claimed("t1");
    assert_eq!(first.claims.as_deref(), Some("{\"tenant\":\"a\"}"), "those of the route");
    let second = claimed(desk.settled("t1", first.fence, DONE));
    assert_eq!(second.claims.as_deref(), Some("{\"tenant\":\"b\"}"));
    let third = claimed(desk.settled("t1", second.fence, DONE));
    assert_eq!(third.claims, None);
    assert_eq!(desk.shelf.count("SELECT count(*) FROM relay_claims"), 0);
    desk.routes.replace(RouteTable::new(vec![silent()]));
    desk.ask(with("{\"tenant\":\"a\"}"));
    assert_eq!(desk.shelf.count("SELECT count(*) FROM relay_claims"), 0, "the route forwards none");
}

#[test]
fn nothing_older_than_the_route_is_sent() {
    let mut desk = Desk::new(Vec::new());
    for _ in 0..3 {
        desk.ask(plain("t1", "1"));
    }
    desk.routes.replace(RouteTable::new(vec![silent()]));
    assert!(matches!(desk.claim("t1"), ClaimOutcome::Nothing));
    desk.ask(plain("t1", "2"));
    let first = desk.claimed("t1");
    assert_eq!(first.question.offset, Offset(4));
    desk.settled("t1", first.fence, DONE);
    // Nor what came while there was none.
    desk.routes.replace(RouteTable::default());
    desk.ask(plain("t1", "3"));
    desk.routes.replace(RouteTable::new(vec![silent()]));
    desk.ask(plain("t1", "4"));
    assert_eq!(desk.claimed("t1").question.offset, Offset(6));
}

#[test]
fn due_are_the_channels_that_wait_longest_and_are_not_claimed() {
    let mut desk = Desk::new(vec![silent()]);
    for channel in ["t3", "t1", "t2", "t4"] {
        desk.ask(plain(channel, "1"));
        desk.now_ms += 10;
    }
    let due = |desk: &mut Desk, limit| match desk.call(RelayWork::Due { limit }) {
        RelayAnswer::Due(due) => due,
        other => panic!("{other:?}"),
    };
    let names = |due: &crate::job::relay::RelayDue| {
        due.channels.iter().map(|due| due.channel.as_str().to_owned()).collect::<Vec<_>>()
    };
    let all = due(&mut desk, 10);
    assert_eq!(names(&all), ["t3", "t1", "t2", "t4"]);
    assert_eq!((all.channels[0].oldest_ms, all.channels[0].attempts, all.next), (Some(1_000), 0, None));
    assert_eq!(names(&due(&mut desk, 2)), ["t3", "t1"]);
    desk.claimed("t3");
    let first = desk.claimed("t1");
    desk.settled("t1", first.fence, RelayOutcome::Later { delay: Duration::from_secs(5) });
    let rest = due(&mut desk, 10);
    assert_eq!(
        (names(&rest), rest.next),
        (vec!["t2".to_owned(), "t4".to_owned()], Some(Duration::from_secs(5)))
    );
    // A channel without a route hides no other.
    desk.routes.replace(RouteTable::new(vec![RelayRoute {
        pattern: crate::id::pattern::ChannelPattern::parse("t4").expect("a pattern"),
        ..silent()
    }]));
    assert_eq!(names(&due(&mut desk, 10)), ["t4"]);
    assert!(matches!(desk.claim("t2"), ClaimOutcome::Unrouted));
}

#[test]
fn claim_that_is_not_renewed_ends() {
    let mut desk = Desk::new(vec![silent()]);
    desk.ask(plain("t1", "1"));
    let first = desk.claimed("t1");
    let renew = |fence| RelayWork::Renew { claims: vec![(name("t1"), fence)] };
    assert!(matches!(desk.call(renew(first.fence)), RelayAnswer::Renew(lost) if lost.is_empty()));
    let second = desk.claimed("t1");
    assert!(
        matches!(desk.call(renew(first.fence)), RelayAnswer::Renew(lost) if lost == [(name("t1"), first.fence)])
    );
    assert!(matches!(desk.call(RelayWork::ReleaseAll), RelayAnswer::ReleaseAll(1)));
    assert!(matches!(desk.settle("t1", second.fence, DONE), SettleOutcome::Lost));
    assert!(LEASE > Duration::from_secs(20));
}

#[test]
fn skip_moves_the_cursor_and_leaves_dead_letters() {
    let mut desk = Desk::new(vec![route()]);
    for data in ["1", "2", "3"] {
        desk.ask(plain("t1", data));
    }
    let first = desk.claimed("t1");
    cancel(&desk, "t1", 4);
    desk.flush();
    let skip = RelayWork::Skip { channel: name("t1"), to: Offset(4) };
    let RelayAnswer::Skip(skipped) = desk.call(skip) else { panic!("no answer") };
    assert_eq!((skipped.dead, skipped.cursor, &skipped.answers[..]), (1, Some(Offset(4)), &[Offset(2)][..]));
    assert!(matches!(desk.settle("t1", first.fence, DONE), SettleOutcome::Lost));
    assert_eq!(desk.claimed("t1").question.offset, Offset(5));
    assert_eq!(
        desk.dead().iter().map(|it| (it.offset, it.cause)).collect::<Vec<_>>(),
        [(Offset(1), DeadCause::Skipped)]
    );
    let skip = RelayWork::Skip { channel: name("t9"), to: Offset(4) };
    assert!(matches!(desk.call(skip), RelayAnswer::Skip(skipped) if skipped.cursor.is_none()));
}

#[test]
fn status_counts_what_waits_and_what_is_dead() {
    let mut desk = Desk::new(vec![silent()]);
    for channel in ["t1", "t2", "t3"] {
        desk.ask(plain(channel, "1"));
    }
    let first = desk.claimed("t1");
    desk.settled("t1", first.fence, RelayOutcome::Later { delay: Duration::from_secs(5) });
    let second = desk.claimed("t2");
    desk.settled("t2", second.fence, RelayOutcome::Dead { cause: DeadCause::NotDelivered, status: None });
    desk.claimed("t3");
    let RelayAnswer::Status(status) = desk.call(RelayWork::Status) else { panic!("no answer") };
    let of = &status.routes[0];
    assert_eq!((of.waiting, of.attempts, of.claims, of.dead, of.oldest_ms), (2, 1, 1, 1, Some(1_000)));
    assert_eq!((status.unrouted, status.is_complete, status.stuck.len()), (0, true, 2));
}

#[test]
fn dropped_channel_leaves_nothing() {
    let mut desk = Desk::new(vec![RelayRoute { claims: vec!["tenant".into()], ..silent() }]);
    desk.ask(Append { claims: Some("{\"tenant\":1}".into()), ..plain("t1", "1") });
    let first = desk.claimed("t1");
    desk.settled("t1", first.fence, RelayOutcome::Dead { cause: DeadCause::Refused, status: None });
    desk.ask(Append { claims: Some("{\"tenant\":1}".into()), ..plain("t1", "2") });
    desk.shelf.log.close();
    let selection = crate::store::Selection::Channel(name("t1"));
    let dropped = super::super::drop_channels(desk.shelf.folder.path(), &selection).expect("dropped");
    assert_eq!(dropped.channels, 1);
    for table in ["relays", "relay_claims", "relay_dead"] {
        assert_eq!(desk.shelf.count(&format!("SELECT count(*) FROM {table}")), 0, "{table}");
    }
}

#[test]
fn fence_of_nothing_is_lost() {
    let mut desk = Desk::new(vec![silent()]);
    assert!(matches!(desk.settle("t1", Fence(0), DONE), SettleOutcome::Lost));
    assert!(Desk::offset_of(&desk.claim("t1")).is_none());
}
