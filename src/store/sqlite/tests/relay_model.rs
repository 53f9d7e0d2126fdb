//! Seeded turns of everything that may happen to the relay, on a real log: questions, claims, outcomes, commits of unknown outcome,
//! kills, withdrawals and retention. Afterwards each question was sent, in order, or is a dead letter, or was withdrawn.

use super::relay_support::{Desk, route};
use super::stream_support::{BOT, id, user};
use super::support::{KEEP_ALL, Shelf, append, name};
use crate::job::relay::{
    ClaimOutcome, DeadCause, Fence, RelayAnswer, RelayOutcome, RelayWork, SettleOutcome,
};
use crate::random::Random;
use crate::store::Retention;
use crate::store::open_streams::Output;
use crate::stream::{CancelRight, Known, StreamSender};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const CHANNELS: u64 = 3;
const STEPS: u32 = 300;

#[derive(Default)]
struct Seen {
    /// Questions by channel, in order.
    asked: BTreeMap<u64, Vec<u64>>,
    /// First deliveries by channel, in order.
    sent: BTreeMap<u64, Vec<u64>>,
    withdrawn: BTreeSet<(u64, u64)>,
    /// Claims that this process has: the fence and the question.
    held: BTreeMap<u64, (Fence, u64)>,
    keys: u64,
}

struct World {
    desk: Desk,
    random: Random,
    seen: Seen,
}

fn channel(number: u64) -> String {
    format!("t{number}")
}

impl World {
    fn draw(&mut self, below: u64) -> u64 {
        self.random.u64() % below
    }

    fn step(&mut self) {
        let at = self.draw(CHANNELS);
        match self.draw(20) {
            0..=5 => self.ask(at),
            6..=10 => self.claim(at),
            11..=15 => self.settle(at),
            16 => self.withdraw(at),
            17 => {
                self.seen.held.clear();
                self.desk.restart();
            }
            18 => self.desk.shelf.retain(self.desk.now_ms),
            _ => self.desk.now_ms += 500,
        }
    }

    fn ask(&mut self, at: u64) {
        self.seen.keys += 1;
        let key = format!("k{}", self.seen.keys);
        let job = || append(&channel(at), "ann", Some(&key), "\"why\"");
        let (outcomes, announced) = self.desk.append(&[job()]);
        let Ok(appended) = &outcomes[0] else { return };
        assert_eq!(appended.answer, Some(appended.offset.next()), "R4");
        assert_eq!(announced[0].offset, appended.offset.next());
        assert_eq!(self.desk.ask(job()), (appended.offset.0, Some(appended.offset.0 + 1)), "the repeat");
        self.seen.asked.entry(at).or_default().push(appended.offset.0);
    }

    fn claim(&mut self, at: u64) {
        if self.seen.held.contains_key(&at) {
            return;
        }
        if self.draw(8) == 0 {
            self.desk.lose(RelayWork::Claim { channel: name(&channel(at)) });
        }
        let outcome = self.desk.claim(&channel(at));
        self.note(at, outcome);
    }

    /// The request goes out at once.
    fn note(&mut self, at: u64, outcome: ClaimOutcome) {
        let ClaimOutcome::Claimed(claimed) = outcome else { return };
        let offset = claimed.question.offset.0;
        assert!(claimed.attempt > 0 && claimed.answer.is_some_and(|answer| answer.offset.0 == offset + 1));
        assert!(!self.seen.withdrawn.contains(&(at, offset)), "{offset} was withdrawn");
        let sent = self.seen.sent.entry(at).or_default();
        if !sent.contains(&offset) {
            sent.push(offset);
        }
        self.seen.held.insert(at, (claimed.fence, offset));
    }

    fn settle(&mut self, at: u64) {
        let Some((fence, _)) = self.seen.held.remove(&at) else { return };
        let outcome = match self.draw(6) {
            0 => RelayOutcome::Later { delay: Duration::from_millis(700) },
            1 => RelayOutcome::Dead { cause: DeadCause::Refused, status: Some(400) },
            2 => RelayOutcome::Release,
            _ => RelayOutcome::Done,
        };
        let work = RelayWork::Settle { channel: name(&channel(at)), fence, outcome };
        for _ in 0..self.draw(3) {
            self.desk.lose(work.clone());
        }
        match self.desk.call(work) {
            RelayAnswer::Settle(SettleOutcome::Settled(next)) => self.note(at, next),
            other => panic!("{other:?}"),
        }
    }

    /// The asker withdraws a question that was not sent.
    fn withdraw(&mut self, at: u64) {
        let held = self.seen.held.get(&at).map(|(_, offset)| *offset);
        let sent = self.seen.sent.get(&at).cloned().unwrap_or_default();
        let asked = self.seen.asked.get(&at).cloned().unwrap_or_default();
        let Some(offset) = asked.into_iter().find(|it| Some(*it) != held && !sent.contains(it)) else {
            return;
        };
        let (ann, mut out) = (user("ann"), Output::default());
        let sender = StreamSender { producer: BOT, user: &ann, ticket: None };
        let answer = id(&channel(at), offset + 1);
        let known = self
            .desk
            .shelf
            .open()
            .order(|ledger, now| ledger.cancel(&answer, sender, CancelRight::Own, now, &mut out));
        self.desk.flush();
        if known == Known::Open {
            self.seen.withdrawn.insert((at, offset));
        }
    }

    /// Delivers all that waits.
    fn drain(&mut self) {
        self.desk.restart();
        self.seen.held.clear();
        for at in 0..CHANNELS {
            self.desk.now_ms += 10_000;
            let mut next = self.desk.claim(&channel(at));
            while let ClaimOutcome::Claimed(claimed) = next {
                let fence = claimed.fence;
                self.note(at, ClaimOutcome::Claimed(claimed));
                next = self.desk.settled(&channel(at), fence, RelayOutcome::Done);
            }
            self.seen.held.clear();
        }
    }

    fn check(&mut self, seed: u64) {
        let dead = self.desk.dead();
        for at in 0..CHANNELS {
            let sent = self.seen.sent.get(&at).cloned().unwrap_or_default();
            assert!(sent.is_sorted(), "R2, seed {seed}: {sent:?}");
            for offset in self.seen.asked.get(&at).into_iter().flatten() {
                let is_dead = dead.iter().any(|letter| {
                    letter.channel == name(&channel(at))
                        && (letter.offset.0..=letter.through.0).contains(offset)
                });
                let is_withdrawn = self.seen.withdrawn.contains(&(at, *offset));
                assert!(sent.contains(offset) || is_dead || is_withdrawn, "R1, seed {seed}: {at}/{offset}");
            }
        }
        assert_eq!(
            self.desk.shelf.count("SELECT count(*) FROM relays WHERE cursor < head"),
            0,
            "seed {seed}"
        );
    }
}

#[test]
fn every_question_is_sent_in_order_or_dead_or_withdrawn() {
    for seed in 1..=4 {
        let retention = Retention { publications: if seed % 2 == 0 { 0 } else { 12 }, age: None };
        let shelf = Shelf::new(super::super::log::LogBounds { retention, ..KEEP_ALL });
        let desk = Desk::on(shelf, vec![route()]);
        let mut world = World { desk, random: Random::seeded(seed), seen: Seen::default() };
        for _ in 0..STEPS {
            world.step();
        }
        world.drain();
        world.check(seed);
    }
}
