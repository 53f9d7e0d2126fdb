//! Claims of one instance and of several.

use super::super::reap::{reap, reap_dead};
use super::support::{Store, claimed, delete, name, question, route, silent};
use crate::id::Offset;
use crate::job::Append;
use crate::job::relay::{ClaimOutcome, DeadCause, RelayAnswer, RelayOutcome, RelayWork, SettleOutcome};
use crate::relay::route::{ChannelOrder, RelayRoute, RouteTable};
use std::time::Duration;

const DONE: RelayOutcome = RelayOutcome::Done;

#[test]
fn publications_are_claimed_one_after_the_other_with_their_claims_and_answers() {
    let mut store = Store::start(vec![route()]);
    let mut one = store.instance(1);
    assert!(matches!(one.claim("t1"), ClaimOutcome::Nothing));
    let claims = Some("{\"tenant\":\"a\"}".into());
    store.ask(Append { claims, ..question("t1", Some("k1"), "\"one\"") });
    store.ask(question("t1", None, "\"two\""));
    let first = one.claimed("t1");
    assert_eq!((first.question.offset, first.attempt, &*first.question.data), (Offset(1), 1, "\"one\""));
    assert_eq!(first.question.key.as_ref().map(|key| key.as_str()), Some("k1"));
    assert_eq!(first.claims.as_deref(), Some("{\"tenant\":\"a\"}"));
    assert_eq!(first.answer.map(|answer| answer.offset), Some(Offset(2)));
    let second = claimed(one.settled("t1", first.fence, DONE));
    assert_eq!((second.question.offset, second.claims, second.attempt), (Offset(3), None, 1));
    assert_eq!(store.sql("SELECT count(*) FROM seawall.relay_claims"), "0");
    assert!(matches!(one.settled("t1", second.fence, DONE), ClaimOutcome::Nothing));
    assert!(one.due().channels.is_empty() && one.dead().is_empty());
}

#[test]
fn lost_fence_changes_nothing() {
    let mut store = Store::start(vec![silent()]);
    let (mut one, mut two) = (store.instance(1), store.instance(2));
    store.ask(question("t1", None, "1"));
    let first = one.claimed("t1");
    assert!(matches!(two.claim("t1"), ClaimOutcome::Taken));
    assert!(two.due().channels.is_empty());
    store.expire_claims();
    assert_eq!(two.due().channels.len(), 1);
    let second = two.claimed("t1");
    assert_eq!((second.attempt, second.question.offset), (2, Offset(1)));
    for outcome in [
        DONE,
        RelayOutcome::Release,
        RelayOutcome::Later { delay: Duration::from_secs(9) },
        RelayOutcome::Dead { cause: DeadCause::Refused, status: None },
    ] {
        assert!(matches!(one.settle("t1", first.fence, outcome), SettleOutcome::Lost), "{outcome:?}");
    }
    let renew = RelayWork::Renew { claims: vec![(name("t1"), first.fence), (name("t9"), first.fence)] };
    assert!(matches!(one.answered(renew), RelayAnswer::Renew(lost) if lost.len() == 2));
    assert!(matches!(two.settled("t1", second.fence, DONE), ClaimOutcome::Nothing));
    assert!(one.dead().is_empty());
}

#[test]
fn claim_ends_by_the_clock_of_the_database_unless_it_is_renewed() {
    let mut store = Store::start(vec![silent()]);
    let (mut one, mut two) = (store.instance(1), store.instance(2));
    store.ask(question("t1", None, "1"));
    let first = one.claimed("t1");
    store.expire_claims();
    let renew = RelayWork::Renew { claims: vec![(name("t1"), first.fence)] };
    assert!(matches!(one.answered(renew), RelayAnswer::Renew(lost) if lost.is_empty()));
    assert!(matches!(two.claim("t1"), ClaimOutcome::Taken));
    assert_eq!(
        store.sql(
            "SELECT taken_until > extract(epoch FROM clock_timestamp()) * 1000 + 20000 FROM seawall.relays"
        ),
        "t"
    );
    // A claim that has ended and that no other instance has taken still settles.
    store.expire_claims();
    assert!(matches!(one.settled("t1", first.fence, DONE), ClaimOutcome::Nothing));
}

#[test]
fn outcome_that_is_repeated_after_an_unknown_commit_counts_once() {
    let mut store = Store::start(vec![silent()]);
    let mut one = store.instance(1);
    for data in ["1", "2", "3"] {
        store.ask(question("t1", None, data));
    }
    let first = one.claimed("t1");
    let lost = claimed(one.settled("t1", first.fence, DONE));
    let second = claimed(one.settled("t1", first.fence, DONE));
    assert_eq!((second.question.offset, second.attempt), (Offset(2), 1));
    assert!(second.fence > lost.fence);
    let dead = RelayOutcome::Dead { cause: DeadCause::Refused, status: Some(400) };
    claimed(one.settled("t1", second.fence, dead));
    let third = claimed(one.settled("t1", second.fence, dead));
    assert_eq!((third.question.offset, third.attempt, one.dead().len()), (Offset(3), 1, 1));
    for _ in 0..2 {
        assert!(matches!(one.settled("t1", third.fence, RelayOutcome::Release), ClaimOutcome::Nothing));
    }
    let last = one.claimed("t1");
    assert_eq!(last.attempt, 1);
    for _ in 0..2 {
        assert!(matches!(one.settled("t1", last.fence, DONE), ClaimOutcome::Nothing));
    }
}

#[test]
fn attempts_are_counted_and_delayed_for_all_instances() {
    let mut store = Store::start(vec![silent()]);
    let (mut one, mut two) = (store.instance(1), store.instance(2));
    store.ask(question("t1", None, "1"));
    let first = one.claimed("t1");
    one.settled("t1", first.fence, RelayOutcome::Later { delay: Duration::from_secs(100) });
    let ClaimOutcome::NotYet { delay } = two.claim("t1") else { panic!("too early") };
    assert!(delay > Duration::from_secs(50));
    let due = two.due();
    assert!(due.channels.is_empty() && due.next.is_some());
    store.sql("UPDATE seawall.relays SET next = 1");
    assert_eq!(two.claimed("t1").attempt, 2);
}

#[test]
fn what_retention_removed_or_a_user_withdrew_is_not_sent() {
    let mut store = Store::start(vec![route()]);
    let mut one = store.instance(1);
    for channel in ["t1", "t2", "t3"] {
        store.ask(question(channel, None, "1"));
        store.ask(question(channel, None, "2"));
    }
    store.sql("UPDATE seawall.channels SET floor = 3 WHERE name = 't1'");
    assert_eq!(one.claimed("t1").question.offset, Offset(3));
    let letters = one.dead();
    assert_eq!(
        (letters.len(), letters[0].cause, letters[0].offset, letters[0].through),
        (1, DeadCause::Expired, Offset(1), Offset(2))
    );
    store.ask(delete("t2", 1));
    assert_eq!(one.claimed("t2").question.offset, Offset(3));
    store.sql("UPDATE seawall.streams SET kept_until = 1 WHERE \"offset\" = 2");
    assert_eq!(one.claimed("t3").question.offset, Offset(3));
    assert_eq!(one.dead().len(), 1);
}

#[test]
fn question_is_a_dead_letter_if_its_answer_ended_because_it_was_not_delivered() {
    let mut store = Store::start(vec![route()]);
    store.ask(question("t1", None, "1"));
    store.sql(
        "UPDATE seawall.streams SET kept_until = 1;
         INSERT INTO seawall.publications (channel, \"offset\", author, time, kind, target, data, stream)
         SELECT id, 3, 'assistant', 1, 1, 2, '{\"text\":\"\",\"cause\":\"not_delivered\"}', 3 FROM seawall.channels WHERE name = 't1'",
    );
    let mut one = store.instance(1);
    assert!(matches!(one.claim("t1"), ClaimOutcome::Nothing));
    assert_eq!(one.dead().iter().map(|it| it.cause).collect::<Vec<_>>(), [DeadCause::NotDelivered]);
}

#[test]
fn serial_route_waits_until_the_answer_has_ended() {
    let mut store = Store::start(vec![RelayRoute { order: ChannelOrder::Answered, ..route() }]);
    let mut one = store.instance(1);
    store.ask(question("t1", None, "1"));
    store.ask(question("t1", None, "2"));
    let first = one.claimed("t1");
    assert!(matches!(one.settled("t1", first.fence, DONE), ClaimOutcome::Waits));
    store.sql("UPDATE seawall.relays SET next = 1");
    assert!(matches!(one.claim("t1"), ClaimOutcome::Waits));
    assert_eq!(store.sql("SELECT next > 1 FROM seawall.relays"), "t", "it is listed again later");
    // An answer whose question is deleted holds up nothing.
    store.sql("UPDATE seawall.publications SET deleted_by = 9 WHERE \"offset\" = 1");
    let second = one.claimed("t1");
    assert_eq!(second.question.offset, Offset(3));
    one.settled("t1", second.fence, RelayOutcome::Release);
    store.sql("UPDATE seawall.publications SET deleted_by = NULL WHERE \"offset\" = 1");
    assert!(matches!(one.claim("t1"), ClaimOutcome::Waits));
    store.sql("UPDATE seawall.streams SET kept_until = 1 WHERE \"offset\" = 2");
    assert_eq!(one.claimed("t1").question.offset, Offset(3));
}

#[test]
fn skip_breaks_a_claim_and_leaves_dead_letters() {
    let mut store = Store::start(vec![route()]);
    let (mut one, mut two) = (store.instance(1), store.instance(2));
    for data in ["1", "2", "3"] {
        store.ask(question("t1", None, data));
    }
    let first = one.claimed("t1");
    let RelayAnswer::Skip(skipped) = two.answered(RelayWork::Skip { channel: name("t1"), to: Offset(3) })
    else {
        panic!("no answer")
    };
    assert_eq!(
        (skipped.dead, skipped.cursor, &skipped.answers[..]),
        (2, Some(Offset(3)), &[Offset(2), Offset(4)][..])
    );
    assert!(matches!(one.settle("t1", first.fence, DONE), SettleOutcome::Lost));
    assert_eq!(one.claimed("t1").question.offset, Offset(5));
    assert_eq!(one.dead().iter().map(|it| it.cause).collect::<Vec<_>>(), [DeadCause::Skipped; 2]);
}

#[test]
fn release_of_all_ends_the_claims_of_one_instance() {
    let mut store = Store::start(vec![silent()]);
    let (mut one, mut two) = (store.instance(1), store.instance(2));
    for channel in ["t1", "t2", "t3"] {
        store.ask(question(channel, None, "1"));
    }
    let first = one.claimed("t1");
    one.claimed("t2");
    let third = two.claimed("t3");
    assert!(matches!(one.answered(RelayWork::ReleaseAll), RelayAnswer::ReleaseAll(2)));
    assert!(matches!(one.settle("t1", first.fence, DONE), SettleOutcome::Lost));
    assert_eq!(two.due().channels.len(), 2);
    assert!(matches!(two.settled("t3", third.fence, DONE), ClaimOutcome::Nothing));
}

#[test]
fn channel_without_a_route_is_left_alone_until_retention_has_removed_all_of_it() {
    let mut store = Store::start(vec![silent()]);
    let mut one = store.instance(1);
    store.ask(question("t1", None, "1"));
    store.ask(question("t2", None, "1"));
    one.table = RouteTable::new(vec![RelayRoute {
        pattern: crate::id::pattern::ChannelPattern::parse("t2").expect("a pattern"),
        ..silent()
    }]);
    assert_eq!(one.due().channels.iter().map(|due| due.channel.as_str()).collect::<Vec<_>>(), ["t2"]);
    assert!(matches!(one.claim("t1"), ClaimOutcome::Unrouted));
    let RelayAnswer::Status(status) = one.answered(RelayWork::Status) else { panic!("no answer") };
    assert_eq!((status.unrouted, status.routes[0].waiting, status.is_complete), (1, 1, true));
    store.sql("UPDATE seawall.channels SET floor = 2, oldest = NULL WHERE name = 't1'; UPDATE seawall.relays SET next = 1");
    one.due();
    assert_eq!(
        one.dead().iter().map(|it| (&*it.route, it.cause)).collect::<Vec<_>>(),
        [("", DeadCause::Expired)]
    );
}

#[test]
fn sweep_deletes_what_is_over() {
    let mut store = Store::start(vec![silent()]);
    let claims = || Some("{\"tenant\":\"a\"}".into());
    for channel in ["t1", "t2", "t3"] {
        store.ask(Append { claims: claims(), ..question(channel, None, "1") });
    }
    store.sql(
        "UPDATE seawall.channels SET floor = 2, oldest = NULL WHERE name = 't1'; UPDATE seawall.relays SET next = 1;
         DELETE FROM seawall.publications p USING seawall.channels c WHERE c.id = p.channel AND c.name IN ('t1', 't2');
         DELETE FROM seawall.channels WHERE name = 't2'",
    );
    assert_eq!(reap(&mut store.appends, 0).expect("swept"), None);
    let mut one = store.instance(1);
    store.sql("INSERT INTO seawall.relay_dead (channel, \"offset\", through, route, cause, time) VALUES ('u1', 1, 1, '', 3, 9000000000000)");
    let dead = one.dead();
    let named: Vec<_> = dead.iter().map(|it| (it.channel.as_str(), &*it.route)).collect();
    assert_eq!(named, [("t1", "assistant"), ("u1", "")], "a channel without a route has none");
    let RelayAnswer::Status(status) = one.answered(RelayWork::Status) else { panic!("no status") };
    assert_eq!(status.routes[0].dead, 1);
    store.sql("DELETE FROM seawall.relay_dead WHERE channel = 'u1'");
    assert_eq!(store.sql("SELECT count(*) FROM seawall.relays"), "2");
    assert_eq!(store.sql("SELECT count(*) FROM seawall.relay_claims"), "1");
    store.sql("UPDATE seawall.relay_dead SET time = 1");
    assert_eq!(reap_dead(&mut store.appends).expect("swept"), 1);
    assert!(one.dead().is_empty());
}

#[test]
fn requests_for_one_channel_in_one_group_see_each_other() {
    let mut store = Store::start(vec![silent()]);
    let mut one = store.instance(1);
    store.ask(question("t1", None, "1"));
    store.ask(question("t2", None, "1"));
    let first = one.claimed("t1");
    let settle = RelayWork::Settle { channel: name("t1"), fence: first.fence, outcome: DONE };
    let answers = one.calls(&[
        settle,
        RelayWork::Claim { channel: name("t1") },
        RelayWork::Claim { channel: name("t2") },
    ]);
    assert!(matches!(answers[0], RelayAnswer::Settle(SettleOutcome::Settled(ClaimOutcome::Nothing))));
    assert!(matches!(answers[1], RelayAnswer::Claim(ClaimOutcome::Nothing)));
    assert!(matches!(answers[2], RelayAnswer::Claim(ClaimOutcome::Claimed(_))));
}

#[test]
fn answer_that_was_interrupted_before_an_attempt_leaves_a_dead_letter() {
    let mut store = Store::start(vec![route()]);
    let mut one = store.instance(1);
    for channel in ["t1", "t2"] {
        store.ask(question(channel, None, "1"));
    }
    let second = one.claimed("t2");
    one.settled("t2", second.fence, RelayOutcome::Later { delay: Duration::ZERO });
    store.sql(
        "UPDATE seawall.streams SET kept_until = 1;
         INSERT INTO seawall.publications (channel, \"offset\", author, time, kind, target, data, stream)
         SELECT id, 3, 'assistant', 1, 1, 2, '{\"cause\":\"producer_lost\"}', 5 FROM seawall.channels",
    );
    for channel in ["t1", "t2"] {
        assert!(matches!(one.claim(channel), ClaimOutcome::Nothing), "{channel}");
    }
    let letters: Vec<_> =
        one.dead().into_iter().map(|it| (it.channel.as_str().to_owned(), it.cause)).collect();
    assert_eq!(letters, [("t1".to_owned(), DeadCause::NotDelivered)], "the backend may have that of t2");
}

#[test]
fn write_over_a_claim_that_is_over_ends_it() {
    let mut store = Store::start(vec![route()]);
    let (mut one, mut two) = (store.instance(1), store.instance(2));
    store.ask(question("t1", None, "1"));
    let first = one.claimed("t1");
    store.expire_claims();
    store.sql("UPDATE seawall.streams SET kept_until = 1");
    assert!(matches!(two.claim("t1"), ClaimOutcome::Nothing), "it was withdrawn");
    assert!(matches!(one.settle("t1", first.fence, DONE), SettleOutcome::Lost));
}

#[test]
fn deleted_stream_of_the_bot_is_no_answer_where_the_route_has_none() {
    let mut store = Store::start(vec![silent()]);
    let mut one = store.instance(1);
    store.ask(question("t1", None, "1"));
    store.sql(
        "INSERT INTO seawall.publications (channel, \"offset\", author, time, kind, deleted_by, stream)
         SELECT id, 2, 'assistant', 1, 0, 3, 1 FROM seawall.channels WHERE name = 't1'",
    );
    let first = one.claimed("t1");
    assert_eq!((first.question.offset, first.answer), (Offset(1), None));
}

#[test]
fn route_that_is_down_hides_no_other() {
    let pattern = |text| crate::id::pattern::ChannelPattern::parse(text).expect("a pattern");
    let other = RelayRoute { name: "other".into(), pattern: pattern("u*"), ..silent() };
    let mut store = Store::start(vec![silent(), other]);
    let mut one = store.instance(1);
    let jobs: Vec<_> = (0..6).map(|number| question(&format!("t{number}"), None, "1")).collect();
    store.commit(&jobs);
    store.ask(question("u1", None, "1"));
    let RelayAnswer::Due(due) = one.answered(RelayWork::Due { limit: 4 }) else { panic!("no answer") };
    let mut names: Vec<_> = due.channels.iter().map(|due| due.channel.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["t0", "t1", "u1"]);
}

#[test]
fn route_with_very_many_channels_hides_no_other() {
    let pattern = |text| crate::id::pattern::ChannelPattern::parse(text).expect("a pattern");
    let other = RelayRoute { name: "other".into(), pattern: pattern("u*"), ..silent() };
    let mut store = Store::start(vec![silent(), other]);
    let mut one = store.instance(1);
    store.ask(question("u1", None, "1"));
    store.sql(
        "INSERT INTO seawall.channels (name) SELECT 't' || n FROM generate_series(1, 17000) AS n;
         INSERT INTO seawall.relays (channel, head, \"cursor\", next)
             SELECT id, 2, 1, id % 7 FROM seawall.channels WHERE name LIKE 't%'",
    );
    let mut finds = || match one.answered(RelayWork::Due { limit: 1_000 }) {
        RelayAnswer::Due(due) => {
            let names: Vec<_> = due.channels.iter().map(|due| due.channel.as_str().to_owned()).collect();
            (names[0].clone(), names.iter().any(|name| name == "u1"))
        }
        other => panic!("{other:?}"),
    };
    let (first, found): (Vec<_>, Vec<bool>) = (0..4).map(|_| finds()).unzip();
    assert_eq!(found, [false, true, false, true], "17,000 channels are more than one look");
    assert!(first.iter().all(|name| *name == first[0]), "each look begins at the front: {first:?}");
}

/// Questions per second that 32 channels in flight get through: `cargo test --release -- --ignored claims_per_second`.
#[test]
#[ignore = "a measurement, to be read and not to pass"]
#[allow(clippy::disallowed_methods, reason = "a measurement needs the clock")]
fn claims_per_second() {
    let mut store = Store::start(vec![silent()]);
    let mut one = store.instance(1);
    for _ in 0..20 {
        let jobs: Vec<_> = (0..32).map(|channel| question(&format!("t{channel}"), None, "\"why\"")).collect();
        store.commit(&jobs);
    }
    let (begun, mut done) = (std::time::Instant::now(), 0);
    let mut works: Vec<RelayWork> =
        (0..32).map(|channel| RelayWork::Claim { channel: name(&format!("t{channel}")) }).collect();
    while !works.is_empty() {
        let answers = one.calls(&works);
        let next = answers.into_iter().filter_map(|answer| match answer {
            RelayAnswer::Claim(outcome) | RelayAnswer::Settle(SettleOutcome::Settled(outcome)) => {
                match outcome {
                    ClaimOutcome::Claimed(claimed) => Some(*claimed),
                    _ => None,
                }
            }
            _ => None,
        });
        works = next
            .map(|claimed| RelayWork::Settle {
                channel: claimed.channel,
                fence: claimed.fence,
                outcome: DONE,
            })
            .collect();
        done += works.len();
    }
    println!("{done} questions, {:.0}/s", f64::from(done as u32) / begun.elapsed().as_secs_f64());
}
