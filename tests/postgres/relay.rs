//! Questions, their answers and the relay's claims over connections that are cut.

use super::rig::{KEEP_ALL, PATIENCE, Rig, append, config, name};
use crate::servers::Postgres;
use crate::support::wait::{SOON, comes_true, until};
use seawall::id::pattern::ChannelPattern;
use seawall::id::{Offset, UserName};
use seawall::job::relay::{
    ClaimOutcome, Claimed, Fence, RelayAnswer, RelayNotice, RelayOutcome, RelayWork, SettleOutcome,
};
use seawall::job::{Attempt, Broadcast};
use seawall::relay::route::{AnswerMode, ChannelOrder, RelayRoute, RelayedKind, RelayedKinds, RouteTable};
use seawall_fault::{Direction, Mode, Proxy};
use std::time::Duration;

/// A commit that is not held up is in the store by then. Its answer must still be awaited.
const UNHELD: Duration = Duration::from_secs(10);

/// A route with answers for channels that begin with `t`.
fn route() -> RelayRoute {
    RelayRoute {
        name: "assistant".into(),
        pattern: ChannelPattern::parse("t*").expect("a pattern"),
        url: "http://127.0.0.1:9/".into(),
        user: UserName::parse("assistant").expect("a user"),
        answers: AnswerMode::Stored,
        kinds: RelayedKinds::NONE.with(RelayedKind::Original),
        skip_users: Vec::new(),
        claims: Vec::new(),
        publish: Vec::new(),
        dependency: None,
        secrets: Vec::new(),
        timeout: Duration::from_secs(10),
        concurrency: 32,
        order: ChannelOrder::Taken,
        give_up: Duration::from_secs(3_600),
        answer: Duration::from_secs(120),
    }
}

impl Rig {
    /// Asks until the store answers.
    fn relay(&self, work: &RelayWork) -> RelayAnswer {
        let mut found = None;
        until(SOON, "the store answers the relay", || {
            let answer = self.relay.call(work.clone(), PATIENCE);
            let is_answered = !matches!(answer, RelayAnswer::Unavailable);
            found = is_answered.then_some(answer);
            is_answered
        });
        found.expect("an answer")
    }

    fn ready_again(&mut self) {
        until(SOON, "the store takes appends", || self.append(append("ready", "ann", None, "1")).is_ok());
    }

    fn claimed(&self, channel: &str) -> Claimed {
        match self.relay(&RelayWork::Claim { channel: name(channel) }) {
            RelayAnswer::Claim(ClaimOutcome::Claimed(claimed)) => *claimed,
            other => panic!("{other:?}"),
        }
    }

    /// The offsets in a channel that were announced.
    fn announced(&self, channel: &str) -> Vec<u64> {
        let mut offsets = Vec::new();
        while let Ok(live) = self.inbox.live.try_recv() {
            if let Broadcast::Published(all) = live {
                offsets.extend(all.iter().filter(|it| it.channel == name(channel)).map(|it| it.offset.0));
            }
        }
        offsets
    }
}

fn settle(channel: &str, fence: Fence, outcome: RelayOutcome) -> RelayWork {
    RelayWork::Settle { channel: name(channel), fence, outcome }
}

#[test]
fn question_whose_commit_is_not_known_is_found_with_its_answer_and_announced() {
    let server = Postgres::start();
    let proxy = Proxy::start(server.address()).expect("a port");
    let mut rig = Rig::postgres_with(config(server.url_through(proxy.address()), KEEP_ALL, 100)).ready();
    rig.routes.replace(RouteTable::new(vec![route()]));
    // Not sent, and so refused, is a question that finds its worker busy with something else whose answer is held.
    let (channel, appended) = (1..=5)
        .find_map(|number| {
            let channel = format!("t{number}");
            proxy.set(Mode::HalfOpen(Direction::Answers));
            let request = rig.send(append(&channel, "ann", Some("k"), "\"why\""));
            comes_true(UNHELD, || server.sql("SELECT count(*) FROM seawall.streams") == "1");
            proxy.reset();
            proxy.set(Mode::Pass);
            let outcome = rig.outcome(request).ok();
            if outcome.is_none() {
                rig.ready_again();
            }
            outcome.map(|appended| (channel, appended))
        })
        .expect("one is stored");
    assert_eq!(
        (appended.offset, appended.answer, appended.attempt),
        (Offset(1), Some(Offset(2)), Attempt::First)
    );
    let mut announced = Vec::new();
    until(SOON, "both are announced", || {
        announced.extend(rig.announced(&channel));
        announced.len() >= 2
    });
    assert_eq!(announced, [1, 2]);
    let waiting = RelayNotice::Waiting { channel: name(&channel) };
    // One that was refused may have been stored all the same, in a channel of its own.
    while rig.relayed.recv_timeout(PATIENCE).expect("a notice") != waiting {}
    let claimed = rig.claimed(&channel);
    assert_eq!((claimed.question.offset, claimed.answer.map(|it| it.offset)), (Offset(1), Some(Offset(2))));
    rig.close();
}

#[test]
fn outcome_whose_commit_is_not_known_is_stored_once() {
    let server = Postgres::start();
    let proxy = Proxy::start(server.address()).expect("a port");
    let mut rig = Rig::postgres_with(config(server.url_through(proxy.address()), KEEP_ALL, 100)).ready();
    rig.routes.replace(RouteTable::new(vec![route()]));
    for data in ["1", "2", "3"] {
        rig.offset(append("t1", "ann", None, data));
    }
    let mut held = rig.claimed("t1");
    for (direction, next) in [(Direction::Answers, 3), (Direction::Requests, 5)] {
        let cursor = "SELECT \"cursor\" FROM seawall.relays";
        let before = server.sql(cursor);
        proxy.set(Mode::HalfOpen(direction));
        let work = settle("t1", held.fence, RelayOutcome::Done);
        let answer = rig.relay.ask(work.clone()).expect("room");
        if direction == Direction::Answers {
            comes_true(UNHELD, || server.sql(cursor) != before);
        }
        proxy.reset();
        proxy.set(Mode::Pass);
        // A request that the server did not get may go out again over the next connection. Behind a look of the worker, whose answer is
        // held as well, that is each request.
        let answer = match answer.recv_timeout(PATIENCE).expect("an answer") {
            RelayAnswer::Unavailable => rig.relay(&work),
            first => first,
        };
        held = match answer {
            RelayAnswer::Settle(SettleOutcome::Settled(ClaimOutcome::Claimed(next))) => *next,
            other => panic!("{direction:?}: {other:?}"),
        };
        assert_eq!((held.question.offset, held.attempt), (Offset(next), 1), "{direction:?}");
    }
    let last = rig.relay(&settle("t1", held.fence, RelayOutcome::Done));
    assert!(matches!(last, RelayAnswer::Settle(SettleOutcome::Settled(ClaimOutcome::Nothing))));
    assert_eq!(server.sql("SELECT count(*) FROM seawall.relay_dead"), "0");
    rig.close();
}
