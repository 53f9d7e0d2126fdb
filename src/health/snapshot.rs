//! The state of the dependencies, as one value that is replaced as a whole.
//!
//! Everything derived from it is computed when the state changes: the bytes of `status`, the decision on handshakes,
//! and the frames of a refusal. Readers only read.

use super::definition::Criticality;
use super::dependency::{Dependency, State};
use super::template::Template;
use crate::clock::Now;
use crate::wire::json;
use std::sync::Arc;

/// The overall level, as in `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Nothing is lost.
    Ok,
    /// An optional dependency is down, or a critical one is degraded.
    Degraded,
    /// A critical dependency is down.
    Down,
}

impl Level {
    /// The name in `status`, reports and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Degraded => "degraded",
            Level::Down => "down",
        }
    }

    /// Computes the level. An unknown state does not count as down, so that no client is refused at the start before
    /// the first probes.
    fn of<'a>(dependencies: impl Iterator<Item = &'a Dependency>) -> Level {
        let level = |dependency: &Dependency| match (dependency.state(), dependency.definition().criticality)
        {
            (State::Ok | State::Unknown, _) => Level::Ok,
            (State::Degraded, _) | (State::Down, Criticality::Optional) => Level::Degraded,
            (State::Down, Criticality::Critical) => Level::Down,
        };
        dependencies.map(level).max().unwrap_or(Level::Ok)
    }
}

/// The handling of decisions to refuse. An operator may change it at run time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AdmissionMode {
    /// Clients are refused if a critical dependency is down.
    #[default]
    Enforce,
    /// Those clients are admitted and counted instead, for when an operator doubts the decision.
    Observe,
}

impl AdmissionMode {
    /// The name in the configuration and in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            AdmissionMode::Enforce => "enforce",
            AdmissionMode::Observe => "observe",
        }
    }
}

/// The decision on a handshake, as far as it depends on dependencies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Availability {
    Admit,
    /// Complete the upgrade, send these bytes as the reason, and close.
    Refuse(Arc<Template>),
    /// Admit and count: the client would be refused if decisions were enforced.
    Observe(Arc<Template>),
}

/// The state of the dependencies. Reading it costs only the load of a pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Grows with every change of `status` on this instance.
    pub revision: u64,
    /// The `status` object as JSON.
    pub status: Arc<str>,
    pub level: Level,
    /// The beginning of the current level.
    pub since: Now,
    pub availability: Availability,
    pub mode: AdmissionMode,
    /// All dependencies that are down, critical or not. Connected clients stay, and requests that need one of these
    /// are answered `unavailable` at once, with a retry time.
    pub outages: Arc<[Arc<Template>]>,
    /// The end of the last outage that refused clients; `None` during one, or if there was none.
    pub recovered: Option<Now>,
}

impl Snapshot {
    /// A snapshot with no dependencies.
    pub fn ok() -> Snapshot {
        Snapshot::first(&[], AdmissionMode::Enforce, Now::default())
    }

    /// The first snapshot of a process.
    pub fn first(dependencies: &[Dependency], mode: AdmissionMode, now: Now) -> Snapshot {
        let level = Level::of(dependencies.iter());
        let outages = outages(dependencies);
        Snapshot {
            revision: 1,
            status: status(1, level, dependencies),
            level,
            since: now,
            availability: availability(dependencies, &outages, mode),
            mode,
            outages,
            recovered: None,
        }
    }

    /// The outage of a dependency, while it is down.
    pub fn outage_of(&self, dependency: &str) -> Option<&Arc<Template>> {
        self.outages.iter().find(|outage| **outage.dependency() == *dependency)
    }

    /// The next snapshot; `None` if nothing would change.
    pub fn next(&self, dependencies: &[Dependency], mode: AdmissionMode, now: Now) -> Option<Snapshot> {
        let level = Level::of(dependencies.iter());
        let outages = outages(dependencies);
        let availability = availability(dependencies, &outages, mode);
        let same_status = *self.status == *status(self.revision, level, dependencies);
        let same_verdict = self.availability == availability && self.mode == mode;
        if same_status && same_verdict && self.outages == outages {
            return None;
        }
        let revision = if same_status { self.revision } else { self.revision + 1 };
        Some(Snapshot {
            revision,
            status: if same_status {
                Arc::clone(&self.status)
            } else {
                status(revision, level, dependencies)
            },
            level,
            since: if level == self.level { self.since } else { now },
            availability,
            mode,
            outages,
            recovered: match (self.level, level) {
                (_, Level::Down) => None,
                (Level::Down, Level::Ok | Level::Degraded) => Some(now),
                (Level::Ok | Level::Degraded, Level::Ok | Level::Degraded) => self.recovered,
            },
        })
    }
}

/// The outages of all dependencies that are down, in the order of the configuration.
fn outages(dependencies: &[Dependency]) -> Arc<[Arc<Template>]> {
    let template = |dependency: &Dependency| {
        let definition = dependency.definition();
        Some(Arc::new(Template::new(&definition.name, &definition.sentence, dependency.outage()?)))
    };
    dependencies.iter().filter_map(template).collect()
}

/// The decision on handshakes. If several outages stop them, the oldest is the reason, so that the reason stays the
/// same.
fn availability(dependencies: &[Dependency], outages: &[Arc<Template>], mode: AdmissionMode) -> Availability {
    let stops = |outage: &&Arc<Template>| {
        dependencies.iter().any(|dependency| {
            let definition = dependency.definition();
            definition.gate.stops_handshakes(definition.criticality)
                && definition.name == *outage.dependency()
        })
    };
    let Some(template) = outages.iter().filter(stops).min_by_key(|outage| outage.began()) else {
        return Availability::Admit;
    };
    match mode {
        AdmissionMode::Enforce => Availability::Refuse(Arc::clone(template)),
        AdmissionMode::Observe => Availability::Observe(Arc::clone(template)),
    }
}

fn status(revision: u64, level: Level, dependencies: &[Dependency]) -> Arc<str> {
    let listed = || dependencies.iter().filter(|dependency| dependency.state() != State::Ok);
    let down = || dependencies.iter().filter(|dependency| dependency.state() == State::Down);
    let mut out = Vec::with_capacity(128);
    json::object(&mut out, |out| {
        json::integer(out, "revision", revision);
        json::text(out, "level", level.as_str());
        json::key(out, "dependencies");
        list(out, listed(), |out, dependency| json::object(out, |out| entry(out, dependency)));
        json::key(out, "lost");
        let mut lost: Vec<&str> = Vec::new();
        for capability in down().flat_map(|dependency| &dependency.definition().lost) {
            if !lost.contains(&&**capability) {
                lost.push(capability);
            }
        }
        list(out, lost.into_iter(), json::string);
        let message = message(down());
        if !message.is_empty() {
            json::text(out, "message", &message);
        }
    });
    Arc::from(String::from_utf8_lossy(&out))
}

/// Joins the sentences for people, those of critical dependencies first.
fn message<'a>(down: impl Iterator<Item = &'a Dependency> + Clone) -> String {
    let of = |criticality| {
        down.clone().filter(move |dependency| dependency.definition().criticality == criticality)
    };
    let mut sentences: Vec<&str> = Vec::new();
    for dependency in of(Criticality::Critical).chain(of(Criticality::Optional)) {
        let sentence: &str = &dependency.definition().sentence;
        if !sentence.is_empty() && !sentences.contains(&sentence) {
            sentences.push(sentence);
        }
    }
    sentences.join(" ")
}

fn entry(out: &mut Vec<u8>, dependency: &Dependency) {
    let definition = dependency.definition();
    json::text(out, "name", &definition.name);
    json::text(out, "state", dependency.state().as_str());
    json::truth(out, "critical", definition.criticality == Criticality::Critical);
    json::integer(out, "since", dependency.since().unix_ms);
}

/// Appends a JSON list.
pub(super) fn list<T>(
    out: &mut Vec<u8>,
    items: impl Iterator<Item = T>,
    mut item: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (place, each) in items.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        item(out, each);
    }
    out.push(b']');
}
