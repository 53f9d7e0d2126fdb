//! A process that is to end: it leads through the timetable of `drain`, and its reactors follow as those of
//! `src/reactor/drain.rs` do. Times are short, so that a few fit in a run.

use super::reactor::Reactor;
use super::world::World;
use fastrand::Rng;
use seawall::clock::Moment;
use seawall::close::CloseReason;
use seawall::drain::{Ending, Left, Phase, Plan, Timetable, slot, whole_ms};
use seawall::wire::push;
use std::time::Duration;

const PLAN: Plan = Plan {
    accept: Duration::from_millis(300),
    spread: Duration::from_millis(2_000),
    close: Duration::from_millis(3_000),
    exit: Duration::from_millis(4_500),
    returns: Duration::from_millis(1_000),
};
/// Connections that are told, or closed, in a turn.
const TELLS: usize = 3;
const LATE_PERIOD: Duration = Duration::from_millis(100);
/// Who is open for so long and had room all the time was told when to move: some steps, and a turn that did not come.
const TOLD_WITHIN: Duration = Duration::from_millis(1_000);
/// Steps are at most 150 ms, and one reactor in ten misses its turn.
const LATE: Duration = Duration::from_millis(900);

/// Where a process stands that was told to end.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    pub phase: Phase,
    pub timetable: Timetable,
    /// Of the closing, once it began.
    pub ending: Option<Ending>,
}

impl Drain {
    fn close(&mut self, ending: Ending) {
        let earlier = self.ending.unwrap_or(ending);
        self.phase = Phase::Closing;
        self.ending = Some(Ending {
            answer_by: ending.answer_by.min(earlier.answer_by),
            end_by: ending.end_by.min(earlier.end_by),
            gone_by: ending.gone_by.min(earlier.gone_by),
        });
    }
}

/// How far one reactor followed.
#[derive(Debug)]
pub struct Draining {
    pub process: Option<Drain>,
    pub phase: Phase,
    rng: Rng,
    /// The earliest slots last.
    planned: Vec<(Moment, u64)>,
    late: Vec<u64>,
    again: Moment,
    open: Vec<u64>,
    awaiting: Vec<u64>,
    closed: usize,
    to_close: usize,
}

impl Draining {
    pub fn new(seed: u64) -> Draining {
        Draining {
            process: None,
            phase: Phase::Serving,
            rng: Rng::with_seed(seed),
            planned: Vec::new(),
            late: Vec::new(),
            again: Moment::ZERO,
            open: Vec::new(),
            awaiting: Vec::new(),
            closed: 0,
            to_close: 0,
        }
    }

    /// True exactly while newcomers are taken in.
    pub fn listens(&self) -> bool {
        matches!(self.phase, Phase::Serving | Phase::Accepting)
    }
}

impl Reactor {
    pub fn drain(&mut self) {
        let Some(process) = self.draining.process else { return };
        if process.phase != self.draining.phase {
            self.draining.phase = process.phase;
            match process.phase {
                Phase::Serving | Phase::Accepting => {}
                Phase::Moving => self.plan_slots(process.timetable),
                Phase::Closing => {
                    self.draining.open = self.serials();
                    self.draining.to_close = self.draining.open.len();
                }
            }
        }
        match self.draining.phase {
            Phase::Serving | Phase::Accepting => {}
            Phase::Moving => self.give_slots(process.timetable),
            Phase::Closing => self.close_next(process),
        }
    }

    fn plan_slots(&mut self, timetable: Timetable) {
        let mut serials = self.serials();
        let draining = &mut self.draining;
        draining.rng.shuffle(&mut serials);
        let is_open = |serial: &u64| {
            let mut all = self.connections.iter().flatten();
            all.any(|connection| connection.serial == *serial && connection.session.is_open())
        };
        let (open, rest): (Vec<u64>, Vec<u64>) = serials.into_iter().partition(is_open);
        let spread = timetable.slots_until().since(self.now.at);
        let rng = &mut draining.rng;
        let all = open.iter().enumerate().rev();
        let at = |(index, serial): (usize, &u64)| {
            (self.now.at + slot(index, open.len(), spread, rng.f32()), *serial)
        };
        draining.planned = all.map(at).collect();
        draining.late = rest;
        draining.again = self.now.at;
    }

    fn give_slots(&mut self, timetable: Timetable) {
        let from = self.draining.planned.len().saturating_sub(TELLS);
        for (at, serial) in self.draining.planned.split_off(from).into_iter().rev() {
            self.give_slot(serial, at, timetable);
        }
        if self.draining.again > self.now.at {
            return;
        }
        self.draining.again = self.now.at + LATE_PERIOD;
        let left = timetable.slots_until().since(self.now.at);
        for serial in std::mem::take(&mut self.draining.late) {
            let at = self.now.at + left.mul_f32(self.draining.rng.f32());
            self.give_slot(serial, at, timetable);
        }
    }

    fn give_slot(&mut self, serial: u64, at: Moment, timetable: Timetable) {
        let (now, bytes_max) = (self.now.at, self.policy.limits.outbox_bytes as usize);
        let Some((index, connection)) = self.open(serial) else { return };
        if !connection.session.is_open() || connection.outbox.bytes() >= bytes_max {
            return self.draining.late.push(serial);
        }
        let deadline_ms = whole_ms(timetable.close_at().since(now));
        let mut out = Vec::new();
        push::drain(&mut out, "deploy", whole_ms(at.since(now)), deadline_ms);
        if let Some(connection) = &mut self.connections[index] {
            connection.write(&mut self.arena, &out);
        }
    }

    fn close_next(&mut self, process: Drain) {
        let given_up = process.ending.is_some_and(|ending| ending.answer_by <= self.now.at);
        if given_up {
            for _ in 0..self.pending.all() {
                let Some(request) = self.pending.pop_late(Moment::from_micros(u64::MAX)) else { break };
                self.answer_late(request);
            }
        }
        let from = self.draining.open.len().saturating_sub(TELLS);
        let next = self.draining.open.split_off(from);
        for serial in next.into_iter().chain(std::mem::take(&mut self.draining.awaiting)) {
            let Some((_, connection)) = self.open(serial) else { continue };
            if connection.session.awaits_answers() && !given_up {
                self.draining.awaiting.push(serial);
                continue;
            }
            let draining = &mut self.draining;
            let (index, count) = (draining.closed, draining.to_close);
            let wait = slot(index, count, process.timetable.plan.returns, draining.rng.f32());
            draining.closed += 1;
            self.close(serial, CloseReason::Restart { retry_ms: whole_ms(wait) });
        }
    }

    fn is_drained(&self, end_by: Moment) -> bool {
        self.draining.phase == Phase::Closing
            && (self.connections.iter().all(Option::is_none) || end_by <= self.now.at)
    }
}

impl World {
    /// A signal comes: the first begins a drain, the next one ends it at once.
    pub fn signal(&mut self, index: usize) {
        let now = self.now.at;
        let instance = &mut self.instances[index];
        if !instance.up {
            return;
        }
        self.trace.note(self.now, || format!("gw-{index} is to end: {:?}", instance.drain));
        match &mut instance.drain {
            Some(drain) => drain.close(Ending::hurried(now)),
            None => {
                let timetable = Timetable { since: now, plan: PLAN };
                instance.drain = Some(Drain { phase: Phase::Accepting, timetable, ending: None });
            }
        }
    }

    /// Enters the phases that are due, and ends the process whose reactors are done.
    pub fn lead(&mut self, index: usize) {
        let (now, instance) = (self.now.at, &mut self.instances[index]);
        let Some(drain) = &mut instance.drain else { return };
        let connections = instance.reactors.iter().map(|reactor| reactor.serials().len() as u64).sum();
        let listeners = instance.reactors.iter().filter(|reactor| reactor.draining.listens()).count();
        let was = drain.phase;
        while let Some(next) = drain.timetable.next(drain.phase, now, Left { listeners, connections }) {
            match next {
                Phase::Closing => drain.close(drain.timetable.ending(now)),
                Phase::Serving | Phase::Accepting | Phase::Moving => drain.phase = next,
            }
        }
        let drain = *drain;
        if drain.phase != was {
            self.trace.note(self.now, || format!("gw-{index} {was:?} {connections}: {:?}", drain.phase));
            if drain.phase == Phase::Closing {
                self.check_told(index);
            }
        }
        let Some(ending) = drain.ending else { return };
        assert!(now <= drain.timetable.exit_at() + LATE && now <= ending.gone_by + LATE, "it does not end");
        let reactors = &self.instances[index].reactors;
        if reactors.iter().all(|reactor| reactor.is_drained(ending.end_by)) || ending.gone_by <= now {
            self.exit(index);
        }
    }

    /// Who could be told when to move was told, before anybody is closed.
    fn check_told(&self, index: usize) {
        let now = self.now.at;
        for reactor in &self.instances[index].reactors {
            for connection in reactor.connections.iter().flatten() {
                let Some(shadow) = self.shadows.get(&(index, connection.serial)) else { continue };
                let since = shadow.moves_since(PLAN.accept).max(connection.crowded_at);
                assert!(
                    shadow.is_told() || since.is_none_or(|since| now < since + TOLD_WITHIN),
                    "#{} was never told to move, and had room since {since:?}",
                    connection.serial
                );
            }
        }
    }

    /// The process is gone. What it gave the store is committed all the same.
    fn exit(&mut self, index: usize) {
        self.trace.note(self.now, || format!("gw-{index} exits"));
        for shadow in self.shadows.iter().filter(|((instance, _), _)| *instance == index) {
            shadow.1.check_left();
        }
        self.instances[index].crash();
        self.shadows.retain(|(instance, _), _| *instance != index);
        self.queue.forget(index, || true);
    }
}
