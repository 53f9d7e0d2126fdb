//! All dependencies of a process, and the one snapshot that follows from them.
//!
//! Whoever probes calls, in a circle: [`Board::due`] until it has nothing more, the probes themselves,
//! [`Board::observe`] with each result, and [`Board::tick`] not later than [`Board::next_due`]. Whoever works
//! calls [`Board::admit`] before and [`Board::record`] after. Each of these answers with [`Changes`]: what
//! there is to log, once, and the snapshot, if there is a new one to publish.

use super::breaker::{Forced, Open, Position, Ticket};
use super::definition::{Criticality, Definition, Use};
use super::dependency::{Dependency, Order, Settled, State, Work};
use super::draw::Draw;
use super::finding::{Cause, Finding};
use super::judge::Look;
use super::outage::Reference;
pub use super::schedule::Place;
use super::snapshot::{AdmissionMode, Snapshot};
use crate::clock::{Moment, Now};
use std::sync::Arc;
use std::time::Duration;

/// A dependency on the board. It stays its own when others come and go, and no later one gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DependencyId(usize);

impl DependencyId {
    /// Of those that a board began with: its place in the order of the configuration, from 0.
    pub fn place(self) -> usize {
        self.0
    }
}

/// A look that is to be made now; its number comes back with what it found.
#[derive(Clone, Debug)]
pub struct Due {
    /// Whom to look at.
    pub dependency: DependencyId,
    /// Its name, kind and timeout.
    pub definition: Arc<Definition>,
    /// How it came about. A [`Look::Reconnect`] makes a new connection.
    pub look: Look,
    number: u32,
}

/// What happened to one dependency: to be logged and counted, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its name.
    pub dependency: Arc<str>,
    /// Whether it is critical.
    pub criticality: Criticality,
    /// What happened.
    pub what: What,
}

/// See [`Event`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It went down.
    Down {
        /// The outage.
        reference: Reference,
        /// Why.
        cause: Cause,
    },
    /// Its outage ended.
    Recovered {
        /// The outage.
        reference: Reference,
        /// How long it was.
        lasted: Duration,
        /// What it is now.
        to: State,
    },
    /// Any other change of its state.
    Became {
        /// What it was.
        from: State,
        /// What it is.
        to: State,
    },
    /// A breaker moved.
    Breaker {
        /// Of which use.
        of: Use,
        /// What it let through.
        from: Position,
        /// What it lets through.
        to: Position,
    },
    /// An operator's order began.
    Forced(Forced),
    /// It ended.
    Released,
}

/// What follows from a call.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// To be logged and counted, in this order.
    pub events: Vec<Event>,
    /// To be published.
    pub snapshot: Option<Arc<Snapshot>>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Board {
    dependencies: Vec<Dependency>,
    /// Of each of them, in the same order.
    ids: Vec<DependencyId>,
    /// The next newcomer's.
    next_id: usize,
    mode: AdmissionMode,
    snapshot: Arc<Snapshot>,
}

impl Board {
    /// Nothing is known of any; the first look at each is due.
    pub fn new(definitions: Vec<Definition>, mode: AdmissionMode, now: Now) -> Board {
        let new = |definition| Dependency::new(Arc::new(definition), now);
        let dependencies: Vec<Dependency> = definitions.into_iter().map(new).collect();
        let snapshot = Arc::new(Snapshot::first(&dependencies, mode, now));
        let next_id = dependencies.len();
        Board { dependencies, ids: (0..next_id).map(DependencyId).collect(), next_id, mode, snapshot }
    }

    /// The snapshot that was last published.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Whether verdicts are carried out.
    pub fn mode(&self) -> AdmissionMode {
        self.mode
    }

    /// All, in the order of the configuration.
    pub fn dependencies(&self) -> impl ExactSizeIterator<Item = &Dependency> {
        self.dependencies.iter()
    }

    /// The dependency of this name, for reports.
    pub fn dependency(&self, name: &str) -> Option<&Dependency> {
        self.dependencies.iter().find(|dependency| *dependency.definition().name == *name)
    }

    /// The place of the dependency of this name.
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

    /// One look that is due; call it until there is none.
    pub fn due(&mut self, now: Moment) -> Option<Due> {
        self.ids.iter().zip(&mut self.dependencies).find_map(|(id, dependency)| {
            let (number, look) = dependency.schedule.start(now)?;
            let definition = dependency.shared_definition();
            Some(Due { dependency: *id, definition, look, number })
        })
    }

    /// When [`Board::due`] and [`Board::tick`] have something again; `None` when there is no dependency.
    pub fn next_due(&self) -> Option<Moment> {
        self.dependencies.iter().map(Dependency::due).min()
    }

    /// Takes what a look found.
    pub fn observe(&mut self, due: &Due, finding: Finding, now: Now, random: u64) -> Changes {
        self.change(due.dependency, now, random, |dependency, draw| {
            dependency.observe(due.number, finding, now, draw);
        })
    }

    /// Asks for a call; a refusal says when to come back. `Ok(None)`: nothing guards this use.
    pub fn admit(
        &mut self,
        id: DependencyId,
        of: Use,
        now: Now,
        random: u64,
    ) -> Result<Option<Ticket>, Open> {
        match self.dependency_mut(id) {
            Some(dependency) => dependency.admit(of, now, &mut Draw::new(random)),
            None => Ok(None),
        }
    }

    /// Takes what a call met and how long it took, with the ticket it was let through with.
    pub fn record(
        &mut self,
        (id, of, ticket): (DependencyId, Use, Option<Ticket>),
        met: (Work, Duration),
        now: Now,
        random: u64,
    ) -> Changes {
        self.change(id, now, random, |dependency, draw| dependency.record(of, ticket, met, now, draw))
    }

    /// Takes a fault that was met outside of a call: a connection that was lost while it rested.
    pub fn suspect(&mut self, id: DependencyId, cause: Cause, now: Now, random: u64) -> Changes {
        self.change(id, now, random, |dependency, _| dependency.suspect(cause, now))
    }

    /// Lets time pass.
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

    /// An operator wants a look now.
    pub fn ask(&mut self, id: DependencyId, now: Now) {
        if let Some(dependency) = self.dependency_mut(id) {
            dependency.schedule.want(Look::Probe, now.at);
        }
    }

    /// An operator holds a dependency open or closed for a while; `None` ends that.
    pub fn order(&mut self, id: DependencyId, order: Option<Order>, now: Now, random: u64) -> Changes {
        self.change(id, now, random, |dependency, _| dependency.order(order, now))
    }

    /// An operator has verdicts carried out, or only counted.
    pub fn set_mode(&mut self, mode: AdmissionMode, now: Now) -> Changes {
        self.mode = mode;
        Changes { events: Vec::new(), snapshot: self.publish(now) }
    }

    /// These are the dependencies from here on, in this order; `place` says of each that stays whether it is where it was.
    /// One of the same name and kind stays, with all that is known of it; any other begins anew.
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
        // Until the first revision each stands at its own place.
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

    /// Only a state that changed changes the snapshot, and that is an event.
    fn renew(&mut self, now: Now, events: &[Event]) -> Option<Arc<Snapshot>> {
        if events.is_empty() { None } else { self.publish(now) }
    }

    fn publish(&mut self, now: Now) -> Option<Arc<Snapshot>> {
        self.snapshot = Arc::new(self.snapshot.next(&self.dependencies, self.mode, now)?);
        Some(Arc::clone(&self.snapshot))
    }
}

/// Breakers of one dependency: no kind has more.
const USES_MAX: usize = 2;

/// What is compared with after a call: on the stack, since this runs for every call of every worker.
struct Before {
    breakers: [Option<(Use, Position)>; USES_MAX],
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
        settled: Option<Settled>,
        now: Now,
        mut tell: impl FnMut(Event),
    ) {
        let definition = dependency.definition();
        let mut tell = |what| {
            tell(Event {
                dependency: Arc::clone(&definition.name),
                criticality: definition.criticality,
                what,
            });
        };
        match (self.forced, dependency.forced().map(|order| order.to)) {
            (before, Some(to)) if before != Some(to) => tell(What::Forced(to)),
            (Some(_), None) => tell(What::Released),
            (None, None) | (_, Some(_)) => {}
        }
        for ((of, from), (_, to)) in self.breakers.into_iter().flatten().zip(dependency.breakers()) {
            if from != to {
                tell(What::Breaker { of, from, to });
            }
        }
        match settled {
            Some(Settled { to: State::Down, outage: Some(outage), .. }) => {
                tell(What::Down { reference: outage.reference, cause: outage.cause });
            }
            Some(Settled { from: State::Down, to, outage: Some(outage) }) => {
                let lasted = now.at.since(outage.began.at);
                tell(What::Recovered { reference: outage.reference, lasted, to });
            }
            Some(Settled { from, to, .. }) => tell(What::Became { from, to }),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests;
