//! All dependencies of a process, and the snapshot derived from them.
//!
//! The watch worker calls, in a loop: [`Board::due`] until it returns no more probes, [`Board::observe`] with the
//! result of each probe, and [`Board::tick`] no later than [`Board::next_due`]. Other workers call [`Board::admit`]
//! before a call and [`Board::record`] after it. All of these return [`Changes`]: events to log exactly once, and the
//! new snapshot, if there is one to publish.

use super::breaker::{BreakerPosition, BreakerTicket, Forced, Open};
use super::definition::{Criticality, Definition, Use};
use super::dependency::{CallResult, Dependency, ForcedOrder, State, StateChange, Trials};
use super::draw::Draw;
use super::finding::{Cause, Finding};
use super::judge::ProbeReason;
use super::outage::Reference;
pub use super::schedule::Place;
use super::snapshot::{AdmissionMode, Snapshot};
use crate::clock::{Moment, Now};
use std::sync::Arc;
use std::time::Duration;

/// The identity of a dependency on the board. It is kept when other dependencies are added or removed, and never
/// reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DependencyId(usize);

impl DependencyId {
    /// For the initial dependencies, the position in the configuration, from 0.
    pub fn place(self) -> usize {
        self.0
    }
}

/// A probe that must be made now. Its number identifies the result.
#[derive(Clone, Debug)]
pub struct DueProbe {
    /// The dependency to probe.
    pub dependency: DependencyId,
    pub definition: Arc<Definition>,
    /// The reason for the probe. A [`ProbeReason::Reconnect`] opens a new connection.
    pub look: ProbeReason,
    number: u32,
}

/// A call that [`Board::admit`] permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PermittedCall {
    pub dependency: DependencyId,
    pub of: Use,
    /// `None` if no breaker guards the use.
    pub ticket: Option<BreakerTicket>,
}

/// A change of one dependency, to be logged and counted exactly once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The name of the dependency.
    pub dependency: Arc<str>,
    pub criticality: Criticality,
    pub what: HealthEventKind,
}

/// The change that an [`Event`] reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthEventKind {
    /// The dependency went down.
    Down { reference: Reference, cause: Cause },
    Recovered {
        reference: Reference,
        lasted: Duration,
        /// The state after the outage.
        to: State,
    },
    /// Any other change of the state.
    Became { from: State, to: State },
    /// A breaker changed its position.
    Breaker { of: Use, from: BreakerPosition, to: BreakerPosition },
    /// An order of an operator began.
    Forced(Forced),
    /// An order of an operator ended.
    Released,
}

/// The consequences of a call.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Events to log and count, in this order.
    pub events: Vec<Event>,
    /// The new snapshot to publish.
    pub snapshot: Option<Arc<Snapshot>>,
}

/// All dependencies of the process; see the module.
#[derive(Clone, Debug)]
pub struct Board {
    dependencies: Vec<Dependency>,
    /// The identity of each dependency, in the same order.
    ids: Vec<DependencyId>,
    /// The identity of the next new dependency.
    next_id: usize,
    mode: AdmissionMode,
    snapshot: Arc<Snapshot>,
}

impl Board {
    /// Creates a board on which all states are unknown and the first probe of each dependency is due.
    pub fn new(definitions: Vec<Definition>, mode: AdmissionMode, now: Now) -> Board {
        let new = |definition| Dependency::new(Arc::new(definition), now);
        let dependencies: Vec<Dependency> = definitions.into_iter().map(new).collect();
        let snapshot = Arc::new(Snapshot::first(&dependencies, mode, now));
        let next_id = dependencies.len();
        Board { dependencies, ids: (0..next_id).map(DependencyId).collect(), next_id, mode, snapshot }
    }

    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    pub fn mode(&self) -> AdmissionMode {
        self.mode
    }

    /// All dependencies, in the order of the configuration.
    pub fn dependencies(&self) -> impl ExactSizeIterator<Item = &Dependency> {
        self.dependencies.iter()
    }

    /// The trial calls that workers should make. At most one dependency of a process has them: its store.
    pub fn trials(&self) -> Trials {
        self.dependencies
            .iter()
            .map(Dependency::trials)
            .find(|trials| *trials != Trials::None)
            .unwrap_or_default()
    }

    /// Finds a dependency by name, for reports.
    pub fn dependency(&self, name: &str) -> Option<&Dependency> {
        self.dependencies.iter().find(|dependency| *dependency.definition().name == *name)
    }

    /// Finds the identity of a dependency by name.
    pub fn id(&self, name: &str) -> Option<DependencyId> {
        self.dependencies
            .iter()
            .position(|dependency| *dependency.definition().name == *name)
            .and_then(|place| self.ids.get(place).copied())
    }

    /// True exactly while the dependency is on the board.
    pub fn holds(&self, id: DependencyId) -> bool {
        self.ids.contains(&id)
    }

    /// Starts one probe that is due. Call it until it returns none.
    pub fn due(&mut self, now: Moment) -> Option<DueProbe> {
        self.ids.iter().zip(&mut self.dependencies).find_map(|(id, dependency)| {
            let (number, look) = dependency.schedule.start(now)?;
            let definition = dependency.shared_definition();
            Some(DueProbe { dependency: *id, definition, look, number })
        })
    }

    /// The time of the next work for [`Board::due`] or [`Board::tick`]; `None` if there is no dependency.
    pub fn next_due(&self) -> Option<Moment> {
        self.dependencies.iter().map(Dependency::due).min()
    }

    /// Records the result of a probe.
    pub fn observe(&mut self, due: &DueProbe, finding: Finding, now: Now, random: u64) -> Changes {
        self.change(due.dependency, now, random, |dependency, draw| {
            dependency.observe(due.number, finding, now, draw);
        })
    }

    /// Asks for permission to call. A refusal contains a retry time. `Ok(None)` means that no breaker guards this
    /// use.
    pub fn admit(
        &mut self,
        id: DependencyId,
        of: Use,
        now: Now,
        random: u64,
    ) -> Result<Option<BreakerTicket>, Open> {
        match self.dependency_mut(id) {
            Some(dependency) => dependency.admit(of, now, &mut Draw::new(random)),
            None => Ok(None),
        }
    }

    /// Records the result and the duration of a call, with the ticket that permitted it.
    pub fn record(&mut self, call: PermittedCall, result: CallResult, now: Now, random: u64) -> Changes {
        let PermittedCall { dependency, of, ticket } = call;
        self.change(dependency, now, random, |dependency, draw| {
            dependency.record(of, ticket, result, now, draw);
        })
    }

    /// Records a fault that occurred outside of a call, such as the loss of an idle connection.
    pub fn suspect(&mut self, id: DependencyId, cause: Cause, now: Now, random: u64) -> Changes {
        self.change(id, now, random, |dependency, _| dependency.suspect(cause, now))
    }

    /// Records that a part of a dependency fails, or that none does.
    pub fn note_part(&mut self, id: DependencyId, part: Option<Cause>, now: Now, random: u64) -> Changes {
        self.change(id, now, random, |dependency, _| dependency.note_part(part))
    }

    /// Advances time.
    pub fn tick(&mut self, now: Now, random: u64) -> Changes {
        let mut draw = Draw::new(random);
        let mut changes = Changes::default();
        for at in 0..self.ids.len() {
            let Some(id) = self.ids.get(at).copied() else { break };
            self.change_one(id, now, &mut draw, &mut changes.events, |dependency, draw| {
                dependency.tick(now, draw);
            });
        }
        changes.snapshot = self.renew(now, &changes.events);
        changes
    }

    /// Schedules a probe now, at an operator's request.
    pub fn ask(&mut self, id: DependencyId, now: Now) {
        if let Some(dependency) = self.dependency_mut(id) {
            dependency.schedule.request(ProbeReason::Probe, now.at);
        }
    }

    /// Sets an operator's order that forces a dependency open or closed for a while; `None` ends it.
    pub fn order(&mut self, id: DependencyId, order: Option<ForcedOrder>, now: Now, random: u64) -> Changes {
        self.change(id, now, random, |dependency, _| dependency.order(order, now))
    }

    /// Sets the admission mode, at an operator's request.
    pub fn set_mode(&mut self, mode: AdmissionMode, now: Now) -> Changes {
        self.mode = mode;
        Changes { events: Vec::new(), snapshot: self.publish(now) }
    }

    /// Replaces the dependencies, in this order. `place` tells for each dependency that stays if its address is the
    /// same. A dependency with the same name and kind stays with everything known of it; any other starts from
    /// scratch.
    pub fn revise(
        &mut self,
        definitions: Vec<(Definition, Place)>,
        mode: AdmissionMode,
        now: Now,
    ) -> Changes {
        let ids = std::mem::take(&mut self.ids);
        let mut before: Vec<_> = ids.into_iter().zip(std::mem::take(&mut self.dependencies)).collect();
        for (definition, place) in definitions {
            let definition = Arc::new(definition);
            let same = |(_, old): &(DependencyId, Dependency)| {
                (&old.definition().name, old.definition().kind) == (&definition.name, definition.kind)
            };
            let (id, dependency) = match before.iter().position(same) {
                Some(at) => {
                    let (id, mut dependency) = before.swap_remove(at);
                    if place == Place::Other || *dependency.definition() != *definition {
                        dependency.revise(definition, place, now);
                    }
                    (id, dependency)
                }
                None => {
                    self.next_id += 1;
                    (DependencyId(self.next_id - 1), Dependency::new(definition, now))
                }
            };
            self.ids.push(id);
            self.dependencies.push(dependency);
        }
        self.mode = mode;
        Changes { events: Vec::new(), snapshot: self.publish(now) }
    }

    fn dependency_mut(&mut self, id: DependencyId) -> Option<&mut Dependency> {
        // Until the first revision, each identity is its position.
        let at = match self.ids.get(id.0) {
            Some(there) if *there == id => id.0,
            Some(_) | None => self.ids.iter().position(|own| *own == id)?,
        };
        self.dependencies.get_mut(at)
    }

    fn change(
        &mut self,
        id: DependencyId,
        now: Now,
        random: u64,
        act: impl FnOnce(&mut Dependency, &mut Draw),
    ) -> Changes {
        let mut draw = Draw::new(random);
        let mut changes = Changes::default();
        self.change_one(id, now, &mut draw, &mut changes.events, act);
        changes.snapshot = self.renew(now, &changes.events);
        changes
    }

    fn change_one(
        &mut self,
        id: DependencyId,
        now: Now,
        draw: &mut Draw,
        events: &mut Vec<Event>,
        act: impl FnOnce(&mut Dependency, &mut Draw),
    ) {
        let Some(dependency) = self.dependency_mut(id) else { return };
        let before = Before::of(dependency);
        act(dependency, draw);
        let settled = dependency.settle(now, draw);
        before.compare(dependency, settled, now, |event| events.push(event));
    }

    /// The snapshot changes only if a state changed, and every state change is an event.
    fn renew(&mut self, now: Now, events: &[Event]) -> Option<Arc<Snapshot>> {
        if events.is_empty() { None } else { self.publish(now) }
    }

    fn publish(&mut self, now: Now) -> Option<Arc<Snapshot>> {
        self.snapshot = Arc::new(self.snapshot.next(&self.dependencies, self.mode, now)?);
        Some(Arc::clone(&self.snapshot))
    }
}

/// The most breakers that a kind of dependency has.
const USES_MAX: usize = 2;

/// The values before a call, for comparison. They are on the stack, because this runs for every call of every worker.
struct Before {
    breakers: [Option<(Use, BreakerPosition)>; USES_MAX],
    forced: Option<Forced>,
}

impl Before {
    fn of(dependency: &Dependency) -> Before {
        let mut breakers = dependency.breakers();
        Before {
            breakers: std::array::from_fn(|_| breakers.next()),
            forced: dependency.forced().map(|order| order.to),
        }
    }

    fn compare(
        self,
        dependency: &Dependency,
        settled: Option<StateChange>,
        now: Now,
        mut report: impl FnMut(Event),
    ) {
        let definition = dependency.definition();
        let mut report = |what| {
            report(Event {
                dependency: Arc::clone(&definition.name),
                criticality: definition.criticality,
                what,
            });
        };
        match (self.forced, dependency.forced().map(|order| order.to)) {
            (before, Some(to)) if before != Some(to) => report(HealthEventKind::Forced(to)),
            (Some(_), None) => report(HealthEventKind::Released),
            (None, None) | (_, Some(_)) => {}
        }
        for ((of, from), (_, to)) in self.breakers.into_iter().flatten().zip(dependency.breakers()) {
            if from != to {
                report(HealthEventKind::Breaker { of, from, to });
            }
        }
        match settled {
            Some(StateChange { to: State::Down, outage: Some(outage), .. }) => {
                report(HealthEventKind::Down { reference: outage.reference, cause: outage.cause });
            }
            Some(StateChange { from: State::Down, to, outage: Some(outage) }) => {
                let lasted = now.at.since(outage.began.at);
                report(HealthEventKind::Recovered { reference: outage.reference, lasted, to });
            }
            Some(StateChange { from, to, .. }) => report(HealthEventKind::Became { from, to }),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests;
