//! A process that ends: it leads through the timetable of `drain`, and its engines follow. Times are short, so that a few drains
//! fit in a run.

use super::world::World;
use seawall::clock::Moment;
use seawall::drain::{DrainCause, DrainPhase, Ending, Plan, Remaining, Timetable};
use std::time::Duration;

pub const PLAN: Plan = Plan {
    accept: Duration::from_millis(300),
    spread: Duration::from_millis(2_000),
    close: Duration::from_millis(3_000),
    exit: Duration::from_millis(4_500),
    returns: Duration::from_millis(1_000),
};
/// A client that was connected for this long, with room all the time, has its slot: some steps, and a turn that did not come.
const SLOT_WITHIN: Duration = Duration::from_millis(1_000);
/// Steps are at most 150 ms, and one reactor in ten misses its turn.
const LATE: Duration = Duration::from_millis(900);
/// A slot is sent in whole milliseconds, relative to a turn.
const ROUNDED: Duration = Duration::from_millis(1);

/// The progress of a process that ends.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    pub phase: DrainPhase,
    pub timetable: Timetable,
    /// Set once the closing began.
    pub ending: Option<Ending>,
}

impl Drain {
    fn close(&mut self, ending: Ending) {
        let earlier = self.ending.unwrap_or(ending);
        self.phase = DrainPhase::Closing;
        self.ending = Some(Ending {
            answer_by: ending.answer_by.min(earlier.answer_by),
            end_by: ending.end_by.min(earlier.end_by),
            gone_by: ending.gone_by.min(earlier.gone_by),
        });
    }
}

/// The slots that an engine tells in the turn in which it plans them: each client has a part of the time of its own.
#[derive(Debug, Default)]
pub struct Slots {
    planned_at: Option<Moment>,
    /// Clients that are connected, and have a slot each.
    open: usize,
    sent_ms: Vec<u64>,
    /// The moment of a plan that is complete.
    complete_at: Option<Moment>,
}

impl Slots {
    pub fn begin(&mut self, now: Moment, open: usize) {
        (self.planned_at, self.open) = (Some(now), open);
    }

    pub fn sent(&mut self, slot_ms: u64) {
        if self.planned_at.is_some() {
            self.sent_ms.push(slot_ms);
        }
    }

    pub fn end(&mut self) {
        self.complete_at = self.planned_at.take();
    }

    /// Slots are uniform: of n clients, the k-th moves in the k-th of n equal parts of the time. A client whose outbox was full
    /// got no slot, and its part may be any.
    fn check(&mut self, timetable: Timetable) {
        let Some(at) = self.complete_at.take() else { return };
        let mut sent = std::mem::take(&mut self.sent_ms);
        sent.sort_unstable();
        let (spread, count) = (timetable.slots_until().since(at), self.open as u32);
        let missing = count.checked_sub(sent.len() as u32).expect("only connected clients get slots");
        for (index, slot_ms) in (0u32..).zip(sent) {
            let slot = Duration::from_millis(slot_ms);
            let (from, to) = (spread * index / count, spread * (index + 1 + missing) / count);
            assert!(
                from <= slot + ROUNDED && slot <= to + ROUNDED,
                "slot {index} of {count} at {slot:?}, its part is {from:?} to {to:?}"
            );
        }
    }
}

impl World {
    /// A signal comes: the first begins a drain, the next one ends it at once.
    pub fn signal(&mut self, index: usize) {
        let now = self.now;
        let instance = &mut self.instances[index];
        if !instance.up {
            return;
        }
        self.trace.note(now, || format!("gw-{index} is to end: {:?}", instance.drain));
        let process = &instance.setup.vitals.drain;
        match &mut instance.drain {
            Some(drain) => {
                let ending = Ending::hurried(now.at);
                drain.close(ending);
                process.close(ending);
            }
            None => {
                process.begin(DrainCause::Operator, now);
                let timetable = Timetable { since: now.at, plan: PLAN };
                instance.drain = Some(Drain { phase: DrainPhase::Accepting, timetable, ending: None });
            }
        }
    }

    /// Enters the phases that are due, and ends the process whose engines are done.
    pub fn lead(&mut self, index: usize) {
        let (now, instance) = (self.now.at, &mut self.instances[index]);
        let Some(drain) = &mut instance.drain else { return };
        for shell in &mut instance.shells {
            shell.slots.check(drain.timetable);
        }
        let connections = instance.shells.iter().map(|shell| shell.engine.len() as u64).sum();
        let listeners = instance.shells.iter().filter(|shell| listens(shell.engine.phase())).count();
        let was = drain.phase;
        let process = &instance.setup.vitals.drain;
        while let Some(next) = drain.timetable.next(drain.phase, now, Remaining { listeners, connections }) {
            match next {
                DrainPhase::Closing => {
                    let ending = drain.timetable.ending(now);
                    drain.close(ending);
                    process.close(ending);
                }
                DrainPhase::Serving | DrainPhase::Accepting | DrainPhase::Moving => {
                    drain.phase = next;
                    process.enter(next);
                }
            }
        }
        let drain = *drain;
        if drain.phase != was {
            self.trace.note(self.now, || format!("gw-{index} {was:?} {connections}: {:?}", drain.phase));
            if drain.phase == DrainPhase::Closing {
                self.check_slotted(index);
            }
        }
        let Some(ending) = drain.ending else { return };
        assert!(now <= drain.timetable.exit_at() + LATE && now <= ending.gone_by + LATE, "it does not end");
        let shells = &self.instances[index].shells;
        if shells.iter().all(|shell| shell.engine.is_drained()) || ending.gone_by <= now {
            self.exit(index);
        }
    }

    /// Every client with room in its outbox got a slot before any client is closed.
    fn check_slotted(&self, index: usize) {
        let now = self.now.at;
        for line in self.instances[index].shells.iter().flat_map(|shell| &shell.lines) {
            let Some(shadow) = self.shadows.get(&(index, line.serial)) else { continue };
            let Some(since) = shadow.moves_since(PLAN.accept) else { continue };
            let since = line.crowded_at.map_or(since, |crowded_at| since.max(crowded_at));
            assert!(
                shadow.has_slot() || now < since + SLOT_WITHIN,
                "#{} never got a slot, and had room since {since:?}",
                line.serial
            );
        }
    }

    /// The process is gone. Appends that it gave the store are committed all the same.
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

/// True exactly while newcomers are taken in.
pub fn listens(phase: DrainPhase) -> bool {
    match phase {
        DrainPhase::Serving | DrainPhase::Accepting => true,
        DrainPhase::Moving | DrainPhase::Closing => false,
    }
}
